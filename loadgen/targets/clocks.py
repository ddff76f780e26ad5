"""What time the servers of a target have, by the dates of their answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from loadgen.config import ConfigError, Target
from loadgen.config.target import Login
from loadgen.kinds import kind_of
from loadgen.model import ClockReading, Signal
from loadgen.skew import AGREE_NS, reading_of
from loadgen.targets.http import HttpClient, date_of
from loadgen.targets.s3 import s3_client

# Answers are dated in whole seconds: looks that are spread over one narrow the difference down.
LOOKS = 3
_APART_S = 0.35

Date = tuple[int, int, int]
"""The date of an answer, and our times of sending and receiving; in ns."""


def read_clocks(
    target: Target,
    signals: Collection[Signal] = tuple(Signal),
    timeout_s: float = 5.0,
    clock: Callable[[], int] = time.time_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[ClockReading, ...]:
    """The clocks of Grafana, of the components that the signals go to, and of S3, as far as they can be asked.

    Who does not answer, or does not date its answers, is left out. Asked once where clocks agree, else a few times.
    """
    asking = {**_servers(target, signals, timeout_s, clock), **_storage(target, timeout_s, clock)}
    dates: dict[str, list[Date]] = {name: [] for name in asking}
    for look in range(LOOKS):
        if look:
            sleep(_APART_S)
        for name, ask in list(asking.items()):
            found = ask()
            if found is None:
                del asking[name]
            else:
                dates[name].append(found)
        readings = tuple(one for name, found in dates.items() if (one := reading_of(name, found)) is not None)
        if not any(abs(one.ahead_ns) > AGREE_NS // 2 for one in readings):
            break
    return readings


def _servers(
    target: Target, signals: Collection[Signal], timeout_s: float, clock: Callable[[], int]
) -> dict[str, Callable[[], Date | None]]:
    """How to ask each server that speaks HTTP; any answer will do, also that there is nothing."""
    places: list[tuple[str, str, Login, str]] = [("Grafana", target.grafana.url, target.grafana, "/api/health")]
    for component in dict.fromkeys(kind_of(signal).store for signal in Signal if signal in signals):
        section = target.store(component)
        places.append((component.title(), section.http_address, section, "/ready"))
    if target.prometheus.url:
        places.append(("Prometheus", target.prometheus.url, target.prometheus, "/-/ready"))

    def by(client: HttpClient, path: str) -> Callable[[], Date | None]:
        def ask() -> Date | None:
            answer = client.get(path)
            return (answer.date_ns, answer.sent_ns, answer.done_ns) if answer.date_ns else None

        return ask

    found = {}
    for name, url, login, path in places:
        try:
            if url:
                found[name] = by(HttpClient(url, login, timeout_s, clock), path)
        except ConfigError:  # a secret that cannot be read: the checks that need it say so
            continue
    return found


def _storage(target: Target, timeout_s: float, clock: Callable[[], int]) -> dict[str, Callable[[], Date | None]]:
    if not target.s3.endpoint:
        return {}
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client = s3_client(target.s3, timeout_s)
    except (BotoCoreError, ConfigError, OSError, ValueError):  # who needs S3 explains what is wrong with it
        return {}

    def ask() -> Date | None:
        sent_ns = clock()
        try:
            said: dict[str, Any] = client.list_objects_v2(Bucket=target.s3.loki_bucket, MaxKeys=1)
        except ClientError as problem:  # refusals are dated too, also the one of a clock that is wrong
            said = problem.response
        except BotoCoreError:
            return None
        done_ns = clock()
        date_ns = date_of(said.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))
        return (date_ns, sent_ns, done_ns) if date_ns else None

    return {"S3": ask}
