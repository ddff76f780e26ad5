"""Pushing: what is retried, for how long, and what is known afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Reply, free_port, scripted

from loadgen.config import Target
from loadgen.model import NS, Outcome
from loadgen.push.http import HttpPusher
from loadgen.push.retry import Attempt, AttemptStep, PushPolicy, push_with_retries
from loadgen.push.ways import LOKI_PUSH, OTLP_HTTP, REMOTE_WRITE
from loadgen.push.ways.way import Pushing

POLICY = PushPolicy(timeout_s=0.3, retry_for_s=2.0)


@dataclass
class FakeTime:
    """A clock that only sleeping moves."""

    now_ns: int = 1_000 * NS
    slept: list[float] = field(default_factory=list)

    def clock(self) -> int:
        return self.now_ns

    def sleep(self, wait_s: float) -> None:
        self.slept.append(wait_s)
        self.now_ns += round(wait_s * NS)


def pusher(url: str, time: FakeTime, otlp: bool = False, retry_for_s: float = 2.0) -> HttpPusher:
    policy = PushPolicy(POLICY.timeout_s, retry_for_s)
    return HttpPusher(url, None, {}, policy, time.clock, time.sleep, lambda: 0.5, otlp)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.ACCEPTED),
        (204, Outcome.ACCEPTED),
        (400, Outcome.UNKNOWN),
        (401, Outcome.REJECTED),
        (403, Outcome.REJECTED),
        (404, Outcome.REJECTED),
        (405, Outcome.REJECTED),
        (413, Outcome.REJECTED),
        (415, Outcome.REJECTED),
        (422, Outcome.REJECTED),
        (302, Outcome.REJECTED),
        (418, Outcome.UNKNOWN),
    ],
)
def test_one_answer_decides_without_retry(status: int, outcome: Outcome) -> None:
    time = FakeTime()
    with scripted(Reply(status)) as server:
        result = pusher(server.url, time).push(b"x")
    assert (result.outcome, result.status, result.attempts, result.ambiguous_attempts) == (outcome, status, 1, 0)
    assert bool(result.detail) == (outcome is not Outcome.ACCEPTED)
    assert not time.slept


def test_otlp_400_stored_nothing() -> None:
    with scripted(Reply(400)) as server:
        assert pusher(server.url, FakeTime(), otlp=True).push(b"x").outcome is Outcome.REJECTED


@pytest.mark.parametrize(("failure", "ambiguous"), [(Reply(503), 1), (Reply(429), 0), (Reply(reset=True), 1)])
def test_trouble_that_passes_is_retried(failure: Reply, ambiguous: int) -> None:
    time = FakeTime()
    with scripted(failure, Reply(204)) as server:
        result = pusher(server.url, time).push(b"body")
    assert (result.outcome, result.attempts, result.ambiguous_attempts) == (Outcome.ACCEPTED, 2, ambiguous)
    assert time.slept == [0.2] and result.last_sent_ns - result.sent_ns == 200_000_000
    assert [request.body for request in server.requests] == [b"body", b"body"]


def test_retry_after_is_honoured_beyond_the_backoff() -> None:
    time = FakeTime()
    with scripted(Reply(429, headers={"Retry-After": "1.5"}), Reply(204)) as server:
        assert pusher(server.url, time).push(b"x").outcome is Outcome.ACCEPTED
    assert time.slept == [1.5]


def test_retry_after_beyond_the_time_for_retries_gives_up_at_once() -> None:
    time = FakeTime()
    with scripted(Reply(429, headers={"Retry-After": "3600"})) as server:
        result = pusher(server.url, time).push(b"x")
    assert (result.outcome, result.attempts, time.slept) == (Outcome.REJECTED, 1, [])


def test_exhausted_429_and_refused_connections_are_rejected() -> None:
    with scripted(Reply(429)) as server:
        limited = pusher(server.url, FakeTime()).push(b"x")
    refused = pusher(f"http://127.0.0.1:{free_port()}", FakeTime()).push(b"x")
    for result in (limited, refused):
        assert result.outcome is Outcome.REJECTED and result.attempts > 3 and "given up after" in result.detail


@pytest.mark.parametrize("failure", [Reply(500), Reply(reset=True), Reply(200, delay_s=0.5)])
def test_given_up_after_trouble_that_may_have_stored_is_unknown(failure: Reply) -> None:
    with scripted(failure) as server:
        result = pusher(server.url, FakeTime(), retry_for_s=0.5).push(b"x")
    assert result.outcome is Outcome.UNKNOWN and result.ambiguous_attempts == result.attempts - 1


def test_rejection_after_an_ambiguous_attempt_is_unknown() -> None:
    with scripted(Reply(502), Reply(413)) as server:
        result = pusher(server.url, FakeTime()).push(b"x")
    assert (result.outcome, result.status, result.ambiguous_attempts) == (Outcome.UNKNOWN, 413, 1)


def test_login_page_with_status_200_is_not_an_acceptance() -> None:
    with scripted(Reply(200, b"<!DOCTYPE html><html>sign in", {"Content-Type": "text/html"})) as server:
        result = pusher(server.url, FakeTime()).push(b"x")
    assert result.outcome is Outcome.UNKNOWN and "HTML page" in result.detail


def test_the_reason_in_an_otlp_refusal_is_told_as_text() -> None:
    protobuf = {"Content-Type": "application/x-protobuf"}
    body = b"\x08\x08\x12\x84\x01" + b"RATE_LIMITED: ingestion rate limit" + b"." * 98
    with scripted(Reply(400, body, protobuf), Reply(400, b"\xff\xff?", protobuf)) as server:
        push = pusher(server.url, FakeTime(), otlp=True)
        assert ": 400, 'RATE_LIMITED: ingestion rate limit..." in push.push(b"x").detail
        assert ": 400, '\ufffd\ufffd?'" in push.push(b"x").detail


def test_otlp_partial_success_is_unknown_and_told() -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 3
    answer.partial_success.error_message = "too old"
    with scripted(Reply(200, answer.SerializeToString()), Reply(200, b"\n\x00")) as server:
        push = pusher(server.url, FakeTime(), otlp=True)
        result = push.push(b"x")
        assert push.push(b"x").outcome is Outcome.ACCEPTED
    assert result.outcome is Outcome.UNKNOWN and "3 spans refused: too old" in result.detail


def test_factories_use_each_components_path_and_headers() -> None:
    with scripted(Reply(200)) as server:
        target = Target.model_validate(
            {
                "loki": {"url": server.url},
                "mimir": {"url": server.url + "/", "tenant": "me"},
                "tempo": {"otlp_http": server.url},
            }
        )
        LOKI_PUSH.open(target, Pushing(POLICY)).push(b"l")
        REMOTE_WRITE.open(target, Pushing(POLICY)).push(b"m")
        OTLP_HTTP.open(target, Pushing(POLICY)).push(b"t")
    logs, metrics, traces = server.requests
    assert (logs.path, logs.headers["Content-Type"]) == ("/loki/api/v1/push", "application/x-protobuf")
    assert metrics.path == "/api/v1/push" and metrics.headers["X-Scope-OrgID"] == "me"
    assert metrics.headers["Content-Encoding"] == "snappy"
    assert metrics.headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert (traces.path, traces.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
    assert all(request.headers["User-Agent"].startswith("loadgen/") for request in server.requests)


@given(steps=st.lists(st.sampled_from(list(AttemptStep)), min_size=1, max_size=12))
def test_rejected_is_only_said_when_no_attempt_may_have_stored_anything(steps: list[AttemptStep]) -> None:
    time = FakeTime()
    script = iter(steps + [AttemptStep.AGAIN] * 200)
    made: list[AttemptStep] = []

    def attempt() -> Attempt:
        made.append(next(script))
        return Attempt(made[-1], 1, "x", time.clock(), time.clock())

    result = push_with_retries(attempt, POLICY, time.sleep, lambda: 0.5)
    unsure = sum(step in (AttemptStep.AGAIN_UNSURE, AttemptStep.UNKNOWN) for step in made)
    assert result.attempts == len(made)
    assert result.ambiguous_attempts == sum(step is AttemptStep.AGAIN_UNSURE for step in made[:-1])
    assert (result.outcome is Outcome.ACCEPTED) == (made[-1] is AttemptStep.ACCEPTED)
    if result.outcome is Outcome.REJECTED:
        assert not unsure
    if result.outcome is Outcome.UNKNOWN:
        assert unsure
    assert sum(time.slept) <= POLICY.retry_for_s


@given(attempts=st.integers(1, 500), random=st.floats(0, 1, exclude_max=True))
def test_waits_stay_within_half_of_the_backoff(attempts: int, random: float) -> None:
    wait_s = POLICY.wait_s(attempts, random, 0.0)
    assert 0.1 <= wait_s <= 7.5
