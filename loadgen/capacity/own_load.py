"""What the stack carries for its user: from the components' own counters, as the Prometheus behind Grafana keeps them.

A rate over a day of which only some hours have data would be far too small, so the day is asked for in quarters of an
hour, and those that have data count. Where no Prometheus has the counters, the component's own ``/metrics`` tell the
mean since its start. Both count everything that came, loadgen's earlier runs too, and the source says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from statistics import median

from loadgen.capacity.model import OwnLoad
from loadgen.clock import Clock
from loadgen.config import ConfigError, Target
from loadgen.kinds import SIGNALS, kind_of
from loadgen.model import NS, Component, Signal
from loadgen.stores import store_of
from loadgen.stores.store import Received
from loadgen.targets.http import HttpClient
from loadgen.targets.mimir import MimirReader
from loadgen.targets.readers import Readers
from loadgen.targets.reading import quoted
from loadgen.units import duration_text

Windows = Callable[[str], tuple[float, ...] | None]
"""The values of a query with one series, at the ends of the windows of the last day that have one; None: no answer."""
Exposition = Callable[[Component], str | None]
"""What a component shows at ``/metrics``; None: nothing."""

DAY_S = 86_400
WINDOW_S = 900
_WINDOWS = DAY_S // WINDOW_S
# A mean of less says more about a start than about a load.
_LEAST_UPTIME_S = 900.0
# A scrape may be missed now and then, and the last window may not have one yet.
_WHOLE_SHARE = 0.97
_TIMEOUT_S = 30.0
_INCLUDED = "runs of loadgen in that time are included"


def measure_own_load(readers: Readers, target: Target, clock: Clock) -> tuple[OwnLoad, ...]:
    """The user's own load of each signal; figures that nobody tells are None, and the source says why. Never raises.

    Args:
        readers: of the target; their Mimir is asked.
        target: where the components' own ``/metrics`` are.
        clock: epoch nanoseconds.
    """
    now_ns = clock()
    windows = windows_of(readers.mimir.recording(None), now_ns)
    return own_load_of(windows, expositions_of(target), now_ns, target.kubernetes.namespace)


def windows_of(reader: MimirReader, now_ns: int) -> Windows:
    """Asks a reader for the day before ``now_ns``."""

    def windows(expression: str) -> tuple[float, ...] | None:
        begin_ns = now_ns - (DAY_S - WINDOW_S) * NS
        reply = reader.range(expression, begin_ns, now_ns, WINDOW_S)
        if reply.value is None:
            return None
        return tuple(value for series in reply.value[:1] for _, value in series.points)

    return windows


def expositions_of(target: Target) -> Exposition:
    """Asks the components of a target; one without a URL shows nothing."""

    def exposition(component: Component) -> str | None:
        login = target.store(component)
        url = login.metrics_address
        if not url:
            return None
        try:
            client = HttpClient(url, login, _TIMEOUT_S)
        except ConfigError:
            return None
        try:
            answer = client.get("/metrics")
        finally:
            client.close()
        return answer.body.decode("utf-8", "replace") if answer.ok else None

    return exposition


def own_load_of(windows: Windows, exposition: Exposition, now_ns: int, namespace: str = "") -> tuple[OwnLoad, ...]:
    """The same from functions that ask; ``namespace`` is looked into first where it is given."""
    return tuple(_own_load(windows, exposition, now_ns, namespace, signal) for signal in SIGNALS)


def _own_load(windows: Windows, exposition: Exposition, now_ns: int, namespace: str, signal: Signal) -> OwnLoad:
    kept = _by_prometheus(windows, signal, f"{{namespace={quoted(namespace)}}}", "") if namespace else None
    kept = kept or _by_prometheus(windows, signal, "", namespace)
    if kept is not None and (kept.items_per_s is not None or kept.bytes_per_s is not None):
        return kept
    shown = _by_exposition(exposition, signal, now_ns)
    if kept is None or shown.series is not None:
        return shown
    return replace(shown, series=kept.series, source=f"{shown.source}; {kept.source}")


# -- as Prometheus keeps it ----------------------------------------------------------------------------------------


def _by_prometheus(windows: Windows, signal: Signal, scope: str, lacking: str) -> OwnLoad | None:
    """Of the series in a scope; ``lacking`` is the namespace that had none. None if there are none here either."""
    names = store_of(kind_of(signal).store).received

    def rates(name: str) -> tuple[float, ...]:
        return _sound(windows(f"sum(rate({name}{scope}[{WINDOW_S}s]))")) if name else ()

    items, plain_bytes = rates(names.items), rates(names.plain_bytes)
    told: list[str] = []
    if not items and not plain_bytes and (items := rates(names.sent)):
        told.append(f"samples by {names.sent}, of every Prometheus that is scraped")
    held, by = _held(windows, names, scope)
    if not items and not plain_bytes and held is None:
        return None
    share = max(len(items), len(plain_bytes)) / _WINDOWS
    if share:
        day = "last 24 h" if share >= _WHOLE_SHARE else f"{duration_text(share * DAY_S)} of the last 24 h"
        told = [f"Prometheus, {day}", _INCLUDED, *told]
    if lacking:
        told.append(f"of all namespaces, as {lacking} has none of it")
    return OwnLoad(
        signal=signal.value,
        bytes_per_s=_mean(plain_bytes),
        items_per_s=_mean(items),
        series=held,
        source="; ".join([*told, *by]),
    )


def _held(windows: Windows, names: Received, scope: str) -> tuple[float | None, tuple[str, ...]]:
    """Series or streams in memory, each once, in the middle of the day's values; and where that is from."""
    if not names.held:
        return None, ()
    held = _sound(windows(f"sum({names.held}{scope})"))
    if held:
        copies = _sound(windows(f"max({names.copies}{scope})"))
        if copies and copies[-1] >= 1:
            return median(held) / copies[-1], (f"{names.what} by {names.held}, each once",)
        return median(held), (f"{names.what} by {names.held}, copies of replicas included",)
    sent = _sound(windows(f"sum({names.sent_held}{scope})")) if names.sent_held else ()
    if sent:
        return median(sent), (f"{names.what} by {names.sent_held}, of every Prometheus that is scraped",)
    return None, ()


def _sound(values: tuple[float, ...] | None) -> tuple[float, ...]:
    return tuple(value for value in values or () if math.isfinite(value) and value >= 0)


def _mean(values: tuple[float, ...]) -> float | None:
    if 2 < len(values) < _WINDOWS:
        # The counter began somewhere in the first of them, so that one is too small.
        values = values[1:]
    return sum(values) / len(values) if values else None


# -- as the component itself shows it ------------------------------------------------------------------------------


def _by_exposition(exposition: Exposition, signal: Signal, now_ns: int) -> OwnLoad:
    names, component = store_of(kind_of(signal).store).received, kind_of(signal).store
    missing = f"no Prometheus behind Grafana has {names.items}"
    text = exposition(component)
    if text is None:
        return OwnLoad(signal.value, None, None, None, f"{missing}, and {component.title()} shows no /metrics")
    items, plain_bytes = _total(text, names.items), _total(text, names.plain_bytes)
    began_s = _total(text, "process_start_time_seconds")
    held, copies = _total(text, names.held), _total(text, names.copies)
    if held is not None and copies is not None and copies >= 1:
        held /= copies
    uptime_s = now_ns / NS - began_s if began_s else 0.0
    if (items is None and plain_bytes is None) or not began_s:
        return OwnLoad(
            signal.value, None, None, None, f"{missing}, nor has {component.title()}'s /metrics what it takes"
        )
    if uptime_s < _LEAST_UPTIME_S:
        why = f"{missing}, and {component.title()} started too recently for a mean"
        return OwnLoad(signal.value, None, None, None, why)
    return OwnLoad(
        signal=signal.value,
        bytes_per_s=plain_bytes / uptime_s if plain_bytes is not None else None,
        items_per_s=items / uptime_s if items is not None else None,
        series=held,
        source=(
            f"the counters of one {component.title()} process since its start {duration_text(uptime_s)} ago; "
            f"{_INCLUDED}"
        ),
    )


def _total(text: str, name: str) -> float | None:
    """The sum of all samples of a name in a text exposition; None without any."""
    if not name:
        return None
    values = []
    for match in re.finditer(rf"^{name}(?:\{{.*\}})?[ \t]+(\S+)", text, re.MULTILINE):
        try:
            values.append(float(match[1]))
        except ValueError:
            continue
    sound = _sound(tuple(values))
    return sum(sound) if sound else None
