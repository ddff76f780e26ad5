"""Loki's own push: snappy-compressed protobuf by HTTP."""

from __future__ import annotations

from loadgen.config import Target
from loadgen.kinds.logs.kind import LOGS
from loadgen.push.http import HttpPusher, joined
from loadgen.push.refusals import dropped_text, step_of
from loadgen.push.retry import AttemptStep
from loadgen.push.ways.way import Pushing, Way
from loadgen.targets.http import HttpClient, looks_like_html

HEADERS = {"Content-Type": "application/x-protobuf"}
PATH = "/loki/api/v1/push"


def _open(target: Target, pushing: Pushing) -> HttpPusher:
    return HttpPusher(joined(target.loki.url, PATH), target.loki, HEADERS, *pushing.arguments)


def _probe(target: Target, timeout_s: float) -> str:
    """A push without streams: Loki stores nothing, and answers 422 (3.7) or 204 (before)."""
    client = HttpClient(target.loki.url, target.loki, timeout_s)
    answer = client.post(PATH, b'{"streams": []}', {"Content-Type": "application/json"})
    if looks_like_html(answer.content_type, answer.body) and not answer.error:
        return f"{client.where}{PATH}: an HTML page answered; check the URL"
    if answer.ok and step_of(answer.status, answer.body, otlp=False) is not AttemptStep.ACCEPTED:
        return dropped_text(client.where + PATH, answer.status, answer.body)
    return "" if answer.ok or answer.status in (400, 422) else answer.error


LOKI_PUSH = Way("push", "http", LOGS.signal, LOGS.store, "url", _open, _probe)
