"""Is everything there that a run needs? Asked before anything is sent, so that a mistake costs seconds, not the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from loadgen.config import ConfigError, Target
from loadgen.kinds import KINDS
from loadgen.model import Signal
from loadgen.push.ways import WAYS, ways_of
from loadgen.targets.failures import s3_errors
from loadgen.targets.http import HttpClient, json_of
from loadgen.targets.readers import open_readers
from loadgen.targets.reading import Patience
from loadgen.targets.s3 import explain_s3, list_page, s3_client


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
    lacking = ["no url of [grafana]"] if target.via == "grafana" and not target.grafana.url else []
    for signal in (kind.signal for kind in KINDS if kind.signal in signals):
        ways = ways_of(signal)
        if not any(way.address(target) for way in ways):
            first, *others = (way.setting for way in ways)
            settings = f"neither {first} nor {' nor '.join(others)}" if others else f"no {first}"
            lacking.append(f"{settings} of [{ways[0].store}]")
    return [f"{name} is set; the run needs it, so add it to the target" for name in lacking]


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
    stores = [kind.store for kind in KINDS if kind.signal in signals]
    replies = {store: reader.trivial(clock()) for store in stores if (reader := readers.of(store)) is not None}
    refused = {reply.status for reply in replies.values() if reply.error}
    if target.via == "grafana" and replies and refused == {401} and all(reply.error for reply in replies.values()):
        return [f"Grafana refuses the login: {next(iter(replies.values())).error}"]
    way = "through Grafana" if target.via == "grafana" else "directly"
    return [f"{store} cannot be queried {way}: {reply.error}" for store, reply in replies.items() if reply.error]


def _pushing(target: Target, signals: Collection[Signal], timeout_s: float) -> list[str]:
    ways = [way for way in WAYS if way.signal in signals and way.address(target)]
    problems = [(way, way.probe(target, timeout_s)) for way in ways]
    return [f"{way.store} does not take pushes: {problem}" for way, problem in problems if problem]


def _s3(target: Target, signals: Collection[Signal], timeout_s: float) -> list[str]:
    if not target.s3.endpoint:
        return []
    problems: list[str] = []
    for component in (kind.store for kind in KINDS if kind.signal in signals):
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
