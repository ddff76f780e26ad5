"""What a refusal means for what is stored, from the answers that real servers gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Reply, scripted
from test_push import FakeTime, pusher

from loadgen.config import Target
from loadgen.model import Outcome, Signal
from loadgen.push.preflight import check_reachable
from loadgen.push.refusals import step_of
from loadgen.push.retry import AttemptStep

SEEN: list[dict[str, Any]] = json.loads((Path(__file__).parent.parent / "data" / "mimir-refusals.json").read_text())
UNREADABLE = ("write bad snappy", "write bad protobuf", "write proto unknown", "write empty body", "request too large")
BLOCKED = b"ingestion blocked for user 'block' until '2026-12-01T22:19:00Z' with status code '260'\n"
OTHER_REPLICA = b"replicas did not match, rejecting sample: replica=b, elected=a\n"
PER_STREAM = (
    b"entry with timestamp 2026-11-30 22:19:00.09 +0000 UTC ignored, reason: 'Per stream rate limit exceeded (limit: "
    b"100B/sec) while attempting to ingest for stream '{app=\"a\"}' totaling 100B'"
)


def expected(case: dict[str, Any]) -> AttemptStep:
    """As FACTS says it, by the case's name: whether anything of it may be stored, and whether to ask again."""
    status, name = case["status"], case["case"]
    if status == 400:
        unreadable = name.startswith(UNREADABLE) or (name.startswith("RW") and "err-mimir" not in case["body"])
        return AttemptStep.REJECTED if unreadable else AttemptStep.UNKNOWN
    if status in (401, 422):
        return AttemptStep.REJECTED
    if status in (429, 529):
        return AttemptStep.AGAIN
    # Instance limits: of the distributor before anything is handed on (e, f), of one ingester among several (d).
    return AttemptStep.AGAIN if "instance limit e" in name or "instance limit f" in name else AttemptStep.AGAIN_UNSURE


@pytest.mark.parametrize("case", SEEN, ids=lambda case: f"{case['server']}-{case['case']}")
def test_a_refusal_of_mimir_says_what_may_be_stored(case: dict[str, Any]) -> None:
    assert step_of(case["status"], case["body"].encode(), otlp=False) is expected(case)


def by_text(server: str, text: str) -> dict[str, Any]:
    return next(case for case in SEEN if case["server"] == server and text in case["body"])


@pytest.mark.parametrize("server", ["mimir", "mimir-2.16"])
@pytest.mark.parametrize("text", ["per-user series limit", "per-metric series limit", "sample-out-of-order"])
def test_a_series_limit_is_not_asked_again_and_may_have_stored_the_rest(server: str, text: str) -> None:
    case, time = by_text(server, text), FakeTime()
    with scripted(Reply(case["status"], case["body"].encode())) as mimir:
        result = pusher(mimir.url, time).push(b"x")
    assert (result.outcome, result.attempts, time.slept) == (Outcome.UNKNOWN, 1, [])


@pytest.mark.parametrize("server", ["mimir", "mimir-2.16"])
def test_an_oversized_push_is_rejected_at_once_though_it_is_a_400(server: str) -> None:
    case = by_text(server, "max-write-message-size")
    assert case["status"] == 400
    with scripted(Reply(400, case["body"].encode())) as mimir:
        result = pusher(mimir.url, FakeTime()).push(b"x")
    assert (result.outcome, result.attempts) == (Outcome.REJECTED, 1)


@pytest.mark.parametrize("case", [case for case in SEEN if "retry_after" in case], ids=lambda case: case["case"])
def test_mimirs_retry_after_is_waited_for_whatever_the_status(case: dict[str, Any]) -> None:
    time, headers = FakeTime(), {"Retry-After": case["retry_after"]}
    with scripted(Reply(case["status"], case["body"].encode(), headers), Reply(200)) as mimir:
        result = pusher(mimir.url, time, retry_for_s=30.0).push(b"x")
    assert time.slept == [float(case["retry_after"])]
    unsure = expected(case) is AttemptStep.AGAIN_UNSURE
    assert (result.outcome, result.ambiguous_attempts) == (Outcome.ACCEPTED, int(unsure))


def test_every_status_that_mimir_asks_to_wait_for_was_seen() -> None:
    assert {case["status"] for case in SEEN if "retry_after" in case} == {429, 500, 503, 529}


@pytest.mark.parametrize(("server", "outcome"), [("mimir-2.16", Outcome.REJECTED)])
def test_a_rate_limit_that_answers_529_has_stored_nothing(server: str, outcome: Outcome) -> None:
    case = next(case for case in SEEN if case["status"] == 529 and case["server"] == server)
    with scripted(Reply(529, case["body"].encode())) as mimir:
        result = pusher(mimir.url, FakeTime()).push(b"x")
    assert result.outcome is outcome and result.attempts > 1
    with scripted(Reply(529, b"a proxy's own")) as proxy:
        assert pusher(proxy.url, FakeTime()).push(b"x").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (202, OTHER_REPLICA, Outcome.REJECTED),
        (260, BLOCKED, Outcome.REJECTED),
        (299, BLOCKED, Outcome.REJECTED),
        (202, b"some reason or other", Outcome.UNKNOWN),
        (260, b"something else", Outcome.UNKNOWN),
        (202, b"", Outcome.ACCEPTED),
        (201, b"created", Outcome.ACCEPTED),
        (200, b"anything", Outcome.ACCEPTED),
        (204, b"", Outcome.ACCEPTED),
    ],
)
def test_a_success_that_comes_with_a_reason_is_no_acceptance(status: int, body: bytes, outcome: Outcome) -> None:
    time = FakeTime()
    with scripted(Reply(status, body)) as server:
        result = pusher(server.url, time).push(b"x")
    assert (result.outcome, result.status, result.attempts) == (outcome, status, 1)
    assert ("answers success and drops" in result.detail) is (outcome is not Outcome.ACCEPTED)


def test_a_rate_limit_of_one_stream_may_have_stored_the_lines_before_it() -> None:
    with scripted(Reply(429, PER_STREAM), Reply(204)) as loki:
        result = pusher(loki.url, FakeTime()).push(b"x")
    assert (result.outcome, result.ambiguous_attempts) == (Outcome.ACCEPTED, 1)
    with scripted(Reply(429, PER_STREAM)) as loki:
        assert pusher(loki.url, FakeTime()).push(b"x").outcome is Outcome.UNKNOWN


def test_preflight_does_not_start_on_a_loki_whose_ingestion_is_blocked() -> None:
    labels = json.dumps({"status": "success", "data": []}).encode()
    with scripted(answer=lambda r: Reply(260, BLOCKED) if r.method == "POST" else Reply(200, labels)) as loki:
        target = Target.model_validate({"via": "direct", "loki": {"url": loki.url}})
        (problem,) = check_reachable(target, [Signal.LOGS])
    assert "loki does not take pushes" in problem and "block_ingestion_until" in problem


@given(st.integers(100, 599), st.binary(max_size=80), st.booleans())
def test_only_a_success_is_accepted_and_only_429_and_5xx_are_asked_again(status: int, body: bytes, otlp: bool) -> None:
    step = step_of(status, body, otlp)
    assert (step is AttemptStep.ACCEPTED) <= (200 <= status < 300)
    assert (step in (AttemptStep.AGAIN, AttemptStep.AGAIN_UNSURE)) == (status == 429 or status >= 500)
