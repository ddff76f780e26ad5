"""Which limits a stack needs: the smallest for the user's own load, and for the highest load that was kept. Pure.

A limit on a rate is a mean, so it gets room above the load; what may come at one moment is the burst. Loki counts its
``…_mb`` in units of 1,048,576 bytes; limits in bytes are given as plain numbers, which nobody can misread.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from loadgen.capacity.model import Advice, Capacity, Flow, OwnLoad, Usage
from loadgen.kinds.traces.source import SPANS_PER_TRACE
from loadgen.model import Component, Signal

OWN_ROOM = 2.0
"""Above the mean of the user's own load: days have their peaks."""
KEPT_ROOM = 1.1
"""Above a load that was sent evenly."""

LOKI_FRAME_BYTES = 20
"""What a push has for each line beside its text: its time, lengths and tags. Loki counts the text alone."""

_MIB = 1 << 20
# The agents' own bound of one push of logs; a smaller burst would refuse it however long it waits.
_LOG_PUSH_BYTES = _MIB
# The most that one message of OTLP/gRPC brings, unless receivers are told otherwise.
_TRACE_PUSH_BYTES = 4 * _MIB
# A trace is live for up to 30 s in Tempo 3, and for 20 s in Tempo 2, unless that is set otherwise.
_LIVE_S = 30.0


@dataclass(frozen=True, slots=True)
class Carried:
    """What a component carried in a step that kept every promise.

    Attributes:
        flow: of its signal.
        usage: what it used, from all sources.
    """

    flow: Flow
    usage: tuple[Usage, ...]

    def held(self, field: str, sent: float) -> float:
        """What it held in memory, earlier steps included, at least what was sent; its limits count all of it.

        ``streams`` of Tempo are live traces.
        """
        held: list[float] = [getattr(one, field) for one in self.usage if getattr(one, field) is not None]
        return max([sent, *held])


@dataclass(frozen=True, slots=True)
class _Need:
    """Values that a limit must not be below, in the unit of the setting; None: not known."""

    setting: str
    own: float | None
    kept: float | None
    whole: bool = True

    def text(self, value: float | None) -> str:
        """As it is written into the configuration."""
        if value is None:
            return ""
        up = rounded_up(value)
        return str(max(1, math.ceil(up))) if self.whole else f"{max(0.1, up):g}"


def advice_of(
    capacity: Capacity, own: Mapping[Signal, OwnLoad], carried: Mapping[Signal, Carried]
) -> tuple[tuple[Advice, ...], tuple[str, ...]]:
    """Limits, and what cannot be told of them. A signal of which nothing is known has no advice."""
    advice: list[Advice] = []
    notes: list[str] = []
    for signal, needs in ((Signal.LOGS, _loki), (Signal.TRACES, _tempo), (Signal.METRICS, _mimir)):
        component = signal.component
        mine, kept = own.get(signal), carried.get(signal)
        for need in needs(mine, kept, _push_every_s(capacity, signal)):
            if need.own is None and need.kept is None:
                continue
            today = _today(capacity, component, need.setting)
            advice.append(Advice(component.value, need.setting, need.text(need.own), need.text(need.kept), today))
            if need.own is not None and need.kept is not None and need.own > need.kept:
                notes.append(
                    f"{need.setting}: what your own load needs is more than what {component.title()} was seen to "
                    "carry; raise it only after a search that went so far"
                )
        notes += _not_told(signal, mine, kept)
    return tuple(advice), tuple(notes)


def rounded_up(value: float) -> float:
    """Up to two significant digits, so that a limit is no smaller than what it must let through."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    # A product such as 1.1 * 10 must not become 12 by its last binary digit.
    return float(f"{math.ceil(value / step - 1e-9) * step:.12g}")


# -- what each component needs -------------------------------------------------------------------------------------


def _loki(own: OwnLoad | None, kept: Carried | None, push_every_s: float | None) -> Iterator[_Need]:
    mean = _times(own.bytes_per_s if own else None, OWN_ROOM)
    flow = kept.flow if kept else None
    text = flow.accepted_bytes_per_s - LOKI_FRAME_BYTES * flow.accepted_items_per_s if flow else None
    rate = _times(text, KEPT_ROOM)
    burst = _burst(rate, text, push_every_s, _LOG_PUSH_BYTES)
    own_burst = _burst(mean, None, None, _LOG_PUSH_BYTES)
    yield _Need("limits_config.ingestion_rate_mb", _times(mean, 1 / _MIB), _times(rate, 1 / _MIB), False)
    yield _Need("limits_config.ingestion_burst_size_mb", _times(own_burst, 1 / _MIB), _times(burst, 1 / _MIB))
    each = rate / flow.users if rate is not None and flow is not None and flow.users else None
    yield _Need("limits_config.per_stream_rate_limit", None, each)
    # None in memory at the moment that was looked at says nothing of how many there can be.
    streams = _times((own.series or None) if own else None, OWN_ROOM)
    held = KEPT_ROOM * kept.held("streams", kept.flow.users) if kept else None
    yield _Need("limits_config.max_global_streams_per_user", streams, held)


def _tempo(own: OwnLoad | None, kept: Carried | None, push_every_s: float | None) -> Iterator[_Need]:
    mean = _times(own.bytes_per_s if own else None, OWN_ROOM)
    flow = kept.flow if kept else None
    rate = _times(flow.accepted_bytes_per_s if flow else None, KEPT_ROOM)
    burst = _burst(rate, flow.accepted_bytes_per_s if flow else None, push_every_s, _TRACE_PUSH_BYTES)
    yield _Need("overrides.defaults.ingestion.rate_limit_bytes", mean, rate)
    own_burst = _burst(mean, None, None, _TRACE_PUSH_BYTES)
    yield _Need("overrides.defaults.ingestion.burst_size_bytes", own_burst, burst)
    live = None
    if kept is not None:
        live = kept.held("streams", 0.0) or kept.flow.accepted_items_per_s / SPANS_PER_TRACE * _LIVE_S
    yield _Need("overrides.defaults.ingestion.max_traces_per_user", None, _times(live, KEPT_ROOM))


def _mimir(own: OwnLoad | None, kept: Carried | None, push_every_s: float | None) -> Iterator[_Need]:
    mean = _times(own.items_per_s if own else None, OWN_ROOM)
    flow = kept.flow if kept else None
    rate = _times(flow.accepted_items_per_s if flow else None, KEPT_ROOM)
    # All agents may scrape, and so push, at the same moment.
    series = _times((own.series or None) if own else None, OWN_ROOM)
    burst = _burst(rate, flow.accepted_items_per_s if flow else None, push_every_s, flow.series if flow else 0)
    yield _Need("limits.ingestion_rate", mean, rate)
    own_burst = _burst(mean, None, None, series) if series is not None else None
    yield _Need("limits.ingestion_burst_size", own_burst, burst)
    held = KEPT_ROOM * kept.held("series", kept.flow.series) if kept else None
    yield _Need("limits.max_global_series_per_user", series, held)


def _times(value: float | None, factor: float) -> float | None:
    return value * factor if value is not None else None


def _burst(rate: float | None, sent: float | None, every_s: float | None, least: float) -> float | None:
    """What may come at one moment: a second of the limit's rate, or a push of every sender, or one whole push."""
    if rate is None:
        return None
    return max(rate, least, sent * every_s if sent is not None and every_s is not None else 0.0)


# -- words ---------------------------------------------------------------------------------------------------------


def _not_told(signal: Signal, own: OwnLoad | None, kept: Carried | None) -> Iterator[str]:
    """What a reader may miss, and how to get it."""
    if signal is Signal.LOGS and own is not None and own.bytes_per_s is not None:
        yield (
            "limits_config.per_stream_rate_limit for your own load: the largest stream is not known; ask Grafana for "
            "topk(1, sum by (pod) (bytes_rate({pod=~'.+'}[5m]))), and set twice that"
        )
    if signal is Signal.TRACES and kept is not None and not kept.held("streams", 0.0):
        yield (
            f"overrides.defaults.ingestion.max_traces_per_user: traces a second, each live for {_LIVE_S:g} s, which "
            "is the longest that Tempo keeps one by default, as its /metrics do not tell how many were"
        )
    if signal is Signal.METRICS and own is not None and own.items_per_s is not None and own.series is None:
        yield (
            "limits.ingestion_burst_size for your own load: a scrape of all series may come at one moment, and their "
            "number is not known; set capacity.own.metrics_series in the profile"
        )


def _push_every_s(capacity: Capacity, signal: Signal) -> float | None:
    """Time between two pushes of a virtual user, as the profile says."""
    section = capacity.profile.get(signal.value)
    value = section.get("push_every") if isinstance(section, Mapping) else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _today(capacity: Capacity, component: Component, setting: str) -> str:
    """The value that the server told when it refused, the last time that it did."""
    name = setting.rpartition(".")[2]
    told = [
        refusal.limit.value
        for step in capacity.steps
        for refusal in step.refusals
        if refusal.limit is not None
        and refusal.limit.component == component.value
        and refusal.limit.setting.rpartition(".")[2] == name
        and refusal.limit.value
    ]
    return told[-1] if told else ""


def best_carried(steps: Sequence[Carried]) -> Carried | None:
    """The one that brought the most."""
    return max(steps, key=lambda one: (one.flow.accepted_bytes_per_s, one.flow.series), default=None)
