"""What the SDK's probe sends, and says of it, follows from the plan and the server, not from its surroundings."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import opentelemetry.environment_variables as api_names
import opentelemetry.sdk.environment_variables as sdk_names
import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from scripted import Reply, scripted
from test_grpc_push import POLICY, otlp_server, planned, tempo

from loadgen.model import Outcome
from loadgen.push import sdk as otel
from loadgen.push.sdk import SdkProbe

VARIABLES = sorted(
    value
    for module in (api_names, sdk_names)
    for name, value in vars(module).items()
    if "OTEL_" in name and isinstance(value, str)
)
REFUSED = ExportTraceServiceResponse(
    partial_success=ExportTracePartialSuccess(rejected_spans=2, error_message="too large")
).SerializeToString()

CHILD = """
import sys
from test_grpc_push import POLICY, planned, tempo
from loadgen.push.sdk import SdkProbe
transport, address = sys.argv[1:]
probe = SdkProbe(tempo(otlp_http=address, otlp_grpc=address), transport, POLICY)
result = probe.push([planned()[1]], {"loadgen.run": "sdk1", "loadgen.user": "00003"})
probe.close()
print(result.outcome, result.status, result.attempts)
"""


def push_from_elsewhere(transport: str, address: str, hostile: dict[str, str]) -> str:
    """Push by a process that was started in such an environment; gives what it says of it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | hostile
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", CHILD, transport, address]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def sent_by(transport: str, hostile: dict[str, str]) -> tuple[str, str]:
    """What arrives, and what is said of it."""
    bodies: list[bytes] = []

    def export(body: bytes, _: Any) -> bytes:
        bodies.append(body)
        return b""

    if transport == "grpc":
        with otlp_server(export) as address:
            said = push_from_elsewhere(transport, address, hostile)
    else:
        with scripted(Reply(200, b"")) as server:
            said = push_from_elsewhere(transport, server.url, hostile)
            requests = server.requests
        bodies = [request.body for request in requests]
        assert all("x-mine" not in {name.lower() for name in request.headers} for request in requests)
    assert len(bodies) == 1
    return MessageToJson(ExportTraceServiceRequest.FromString(bodies[0])), said


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_no_otel_variable_changes_what_is_sent(transport: str) -> None:
    as_planned = sent_by(transport, {})
    assert as_planned[1].startswith("accepted")
    for value in ("true", "1", "no-such-thing", "x-mine=1,service.name=mine"):
        assert sent_by(transport, dict.fromkeys(VARIABLES, value)) == as_planned


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_a_partial_success_is_not_accepted(transport: Any) -> None:
    with otlp_server(lambda *_: REFUSED) as address, scripted(Reply(200, REFUSED)) as server:
        probe = SdkProbe(tempo(otlp_http=server.url, otlp_grpc=address), transport, POLICY)
        result = probe.push([planned()[1]], {})
        probe.close()
    assert result.outcome is Outcome.UNKNOWN and "2 spans refused: too large" in result.detail


def test_a_page_that_a_proxy_gives_in_place_of_an_answer_is_not_accepted() -> None:
    with scripted(Reply(200, b"<html><title>Log in</title>", {"Content-Type": "text/html"})) as server:
        probe = SdkProbe(tempo(otlp_http=server.url), "http", POLICY)
        result = probe.push([planned()[1]], {})
        probe.close()
    assert result.outcome is Outcome.UNKNOWN


def test_spans_that_the_sdk_does_not_make_are_dropped_by_loadgen_and_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otel, "ALWAYS_ON", ALWAYS_OFF)
    with scripted(Reply(200, b"")) as server:
        probe = SdkProbe(tempo(otlp_http=server.url), "http", POLICY)
        spans = planned()[1]
        result = probe.push([spans], {})
        probe.close()
    assert result.outcome is Outcome.DROPPED and f"made 0 of {len(spans)} planned spans" in result.detail
    assert not server.requests


def test_an_answer_that_nobody_saw_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel.Answers, "watch_session", lambda _, session: session)
    with scripted(Reply(200, b"")) as server:
        probe = SdkProbe(tempo(otlp_http=server.url), "http", POLICY)
        result = probe.push([planned()[1]], {})
        probe.close()
    assert result.outcome is Outcome.UNKNOWN and "no request of the SDK's exporter was seen" in result.detail


def test_retries_of_the_exporter_are_counted_and_those_that_may_have_stored_it() -> None:
    with scripted(Reply(503, b"soon"), Reply(200, b"")) as server:
        probe = SdkProbe(tempo(otlp_http=server.url), "http", POLICY.__class__(timeout_s=20.0, retry_for_s=5.0))
        result = probe.push([planned()[1]], {})
        probe.close()
    assert (result.outcome, result.attempts, result.ambiguous_attempts) == (Outcome.ACCEPTED, 2, 1)
    assert "503" in result.detail
