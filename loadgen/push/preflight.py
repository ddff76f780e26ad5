"""Is everything there that a run needs? Asked before anything is sent, so that a mistake costs seconds, not the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from loadgen.config import ConfigError, Target
from loadgen.model import NS, Component, Signal
from loadgen.push.http import (
    LOKI_PATH,
    PushPolicy,
    PushResult,
    mimir_pusher,
    tempo_grpc_pusher,
    tempo_http_pusher,
)
from loadgen.push.refusals import dropped_text, step_of
from loadgen.push.retry import Step
from loadgen.targets.failures import s3_errors
from loadgen.targets.http import HttpClient, json_of, looks_like_html
from loadgen.targets.readers import Readers, open_readers
from loadgen.targets.reading import Patience, Reply
from loadgen.targets.s3 import explain_s3, list_page, s3_client

_EMPTY_SNAPPY = b"\x00"
_LOOK_BACK_NS = 300 * NS


def check_reachable(
    target: Target,
    signals: Collection[Signal] = tuple(Signal),
    timeout_s: float = 5.0,
    clock: Callable[[], int] = time.time_ns,
    asked: Collection[Signal] = (),
) -> tuple[str, ...]:
    """What is wrong with a target, a sentence each; nothing when a run can start. Stores nothing anywhere.

    ``signals`` are sent and read back, ``asked`` are only queried.
    Asked are: Grafana's health and login, a trivial query of each data source, an empty push to each push endpoint,
    and a listing of each bucket (only when an S3 endpoint is given).
    """
    unset = _unset(target, signals)
    if unset:
        return tuple(unset)
    try:
        return (
            *_reading(target, {*signals, *asked}, timeout_s, clock),
            *_pushing(target, signals, timeout_s),
            *_s3(target, signals, timeout_s),
        )
    except ConfigError as problem:
        return (str(problem),)


def _unset(target: Target, signals: Collection[Signal]) -> list[str]:
    """Addresses that a run needs and the target does not have."""
    needed = {
        "no url of [grafana]": target.grafana.url or target.via != "grafana",
        "no url of [loki]": target.loki.url or Signal.LOGS not in signals,
        "no url of [mimir]": target.mimir.url or Signal.METRICS not in signals,
        "neither otlp_http nor otlp_grpc of [tempo]": (
            target.tempo.otlp_http or target.tempo.otlp_grpc or Signal.TRACES not in signals
        ),
    }
    return [f"{name} is set; the run needs it, so add it to the target" for name, given in needed.items() if not given]


def _reading(target: Target, signals: Collection[Signal], timeout_s: float, clock: Callable[[], int]) -> list[str]:
    if target.via == "grafana":
        client = HttpClient(target.grafana.url, target.grafana, timeout_s, clock)
        health, error = json_of(client.get("/api/health"), f"{client.where}/api/health")
        if error:
            return [f"Grafana does not answer: {error}"]
        if not isinstance(health, dict) or "version" not in health:
            return [f"{client.where}: answers, but not as Grafana does; check [grafana] url"]
    patience = Patience(time.sleep, lambda: False, timeout_s)
    readers = open_readers(target, clock, None, timeout_s, "preflight", patience=patience)
    questions: dict[Signal, Callable[[Readers, int], Reply[Any]]] = {
        Signal.LOGS: lambda r, now_ns: r.loki.labels(now_ns - _LOOK_BACK_NS, now_ns),
        Signal.TRACES: lambda r, now_ns: r.tempo.first_hits("{ }", now_ns - _LOOK_BACK_NS, now_ns, 1),
        Signal.METRICS: lambda r, now_ns: r.mimir.instant("loadgen_requests_total", now_ns // 1_000_000),
    }
    replies = {signal: ask(readers, clock()) for signal, ask in questions.items() if signal in signals}
    refused = {reply.status for reply in replies.values() if reply.error}
    if target.via == "grafana" and replies and refused == {401} and all(reply.error for reply in replies.values()):
        return [f"Grafana refuses the login: {next(iter(replies.values())).error}"]
    way = "through Grafana" if target.via == "grafana" else "directly"
    return [
        f"{signal.component} cannot be queried {way}: {reply.error}" for signal, reply in replies.items() if reply.error
    ]


def _pushing(target: Target, signals: Collection[Signal], timeout_s: float) -> list[str]:
    problems: list[str] = []
    policy = PushPolicy(timeout_s, 0.0)

    def judge(component: Component, result: PushResult) -> None:
        if result.detail:
            problems.append(f"{component} does not take pushes: {result.detail}")

    if Signal.LOGS in signals:
        problems += _loki_push(target, timeout_s)
    if Signal.METRICS in signals:
        judge(Component.MIMIR, mimir_pusher(target, policy).push(_EMPTY_SNAPPY))
    if Signal.TRACES in signals:
        if target.tempo.otlp_http:
            judge(Component.TEMPO, tempo_http_pusher(target, policy).push(b""))
        if target.tempo.otlp_grpc:
            pusher = tempo_grpc_pusher(target, policy)
            judge(Component.TEMPO, pusher.push(b""))
            pusher.close()
    return problems


def _loki_push(target: Target, timeout_s: float) -> list[str]:
    """A push without streams: Loki stores nothing, and answers 422 (3.7) or 204 (before)."""
    client = HttpClient(target.loki.url, target.loki, timeout_s)
    answer = client.post(LOKI_PATH, b'{"streams": []}', {"Content-Type": "application/json"})
    if looks_like_html(answer.content_type, answer.body) and not answer.error:
        return [f"loki does not take pushes: {client.where}{LOKI_PATH}: an HTML page answered; check the URL"]
    if answer.ok and step_of(answer.status, answer.body, otlp=False) is not Step.ACCEPTED:
        return [f"loki does not take pushes: {dropped_text(client.where + LOKI_PATH, answer.status, answer.body)}"]
    return [] if answer.ok or answer.status in (400, 422) else [f"loki does not take pushes: {answer.error}"]


def _s3(target: Target, signals: Collection[Signal], timeout_s: float) -> list[str]:
    if not target.s3.endpoint:
        return []
    problems: list[str] = []
    for component in [signal.component for signal in Signal if signal in signals]:
        bucket = target.s3.bucket(component)
        try:
            list_page(s3_client(target.s3, timeout_s), bucket, MaxKeys=1)
        except ConfigError:
            raise
        except s3_errors(ValueError) as problem:  # a ValueError: the endpoint is no URL
            problems.append(f"{component}'s bucket cannot be listed: {explain_s3(problem, target.s3, bucket)}")
            if not hasattr(problem, "response"):
                break  # nobody answered as S3 does: the other buckets would only say the same again
    return problems
