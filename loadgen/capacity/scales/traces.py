"""Capacity of traces: how their load is raised, and Tempo's limits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loadgen.capacity.model import OwnLoad
from loadgen.capacity.scales.known import known
from loadgen.capacity.scales.need import KEPT_ROOM, MIB, OWN_ROOM, Carried, Need, burst_of, times_of
from loadgen.capacity.scales.scale import Ladder, Scale, Settings, more_users, rate_most, shared
from loadgen.config import Profile
from loadgen.kinds.traces.kind import TRACES as _KIND
from loadgen.kinds.traces.source import SPANS_PER_TRACE

_STORE = _KIND.store
# The most that one message of OTLP/gRPC brings, unless receivers are told otherwise.
_PUSH_BYTES = 4 * MIB
# A trace is live for up to 30 s in Tempo 3, and for 20 s in Tempo 2, unless that is set otherwise.
_LIVE_S = 30.0


def _ladder(profile: Profile, rate: float) -> Ladder:
    return Ladder("B/s", rate, profile.capacity.max_rate, lambda level: _times(profile, level / rate))


def _times(profile: Profile, factor: float) -> Settings:
    traces = profile.traces
    more = more_users(traces.users, factor)
    return {"users": more, **shared(traces.rate, "traces_per_s", traces.traces_per_s, traces.users, more, factor)}


def _given(number: Callable[[str], float | None]) -> OwnLoad:
    return OwnLoad(_KIND.signal.value, number("traces"), None, None, "")


def _needs(own: OwnLoad | None, kept: Carried | None, push_every_s: float | None) -> Iterator[Need]:
    mean = times_of(own.bytes_per_s if own else None, OWN_ROOM)
    flow = kept.flow if kept else None
    rate = times_of(flow.accepted_bytes_per_s if flow else None, KEPT_ROOM)
    burst = burst_of(rate, flow.accepted_bytes_per_s if flow else None, push_every_s, _PUSH_BYTES)
    yield Need("overrides.defaults.ingestion.rate_limit_bytes", mean, rate)
    own_burst = burst_of(mean, None, None, _PUSH_BYTES)
    yield Need("overrides.defaults.ingestion.burst_size_bytes", own_burst, burst)
    live = None
    if kept is not None:
        live = kept.held("streams", 0.0) or kept.flow.accepted_items_per_s / SPANS_PER_TRACE * _LIVE_S
    yield Need("overrides.defaults.ingestion.max_traces_per_user", None, times_of(live, KEPT_ROOM))


def _not_told(own: OwnLoad | None, kept: Carried | None) -> Iterator[str]:  # noqa: ARG001
    if kept is not None and not kept.held("streams", 0.0):
        yield (
            f"overrides.defaults.ingestion.max_traces_per_user: traces a second, each live for {_LIVE_S:g} s, which "
            "is the longest that Tempo keeps one by default, as its /metrics do not tell how many were"
        )


# The patterns follow the texts of Tempo 2 and 3 (modules/distributor, modules/overrides).
_KNOWN = (
    known(
        _STORE,
        "overrides.defaults.ingestion.rate_limit_bytes",
        r"RATE_LIMITED(?:.*?\(local: (\d+) bytes/s)?|ingestion rate limit",
        "bytes/s",
    ),
    known(
        _STORE,
        "overrides.defaults.ingestion.max_traces_per_user",
        r"LIVE_TRACES_EXCEEDED(?:.*?actual local: (\d+))?|max live traces exceeded",
        "live traces",
    ),
    known(
        _STORE,
        "overrides.defaults.global.max_bytes_per_trace",
        r"TRACE_TOO_LARGE(?:.*?max size of trace \((\d+)\))?",
        "bytes",
    ),
    known(
        _STORE,
        "distributor.receivers.otlp.protocols.grpc.max_recv_msg_size_mib",
        r"received message larger than max \(\d+ vs\. (\d+)\)",
        "bytes",
    ),
)
TRACES = Scale(
    signal=_KIND.signal,
    ladder=_ladder,
    times=_times,
    most=rate_most,
    given=_given,
    needs=_needs,
    not_told=_not_told,
    known=_KNOWN,
)
