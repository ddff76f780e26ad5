"""Capacity of logs: how their load is raised, and Loki's limits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loadgen.capacity.model import OwnLoad
from loadgen.capacity.scales.known import known
from loadgen.capacity.scales.need import KEPT_ROOM, MIB, OWN_ROOM, Carried, Need, burst_of, times_of
from loadgen.capacity.scales.scale import HeldLoad, Ladder, Scale, Settings, more_users, rate_most, shared
from loadgen.config import Profile
from loadgen.kinds.logs.kind import LOGS as _KIND

_STORE = _KIND.store
STREAMS = "1,000 streams"
_FRAME_BYTES = 20
# The agents' own bound of one push of logs; a smaller burst would refuse it however long it waits.
_PUSH_BYTES = MIB


def _ladder(profile: Profile, rate: float) -> Ladder:
    logs, limits = profile.logs, profile.capacity
    if limits.logs_by != "streams":
        return Ladder("B/s", rate, limits.max_rate, lambda level: _times(profile, level / rate))

    def at(level: float) -> Settings:
        more = {"rate": logs.rate * level / logs.users} if logs.rate else {}
        return {"users": round(level), **more}

    return Ladder("streams", logs.users, limits.max_streams, at)


def _times(profile: Profile, factor: float) -> Settings:
    logs = profile.logs
    more = more_users(logs.users, factor)
    return {"users": more, **shared(logs.rate, "lines_per_s", logs.lines_per_s, logs.users, more, factor)}


def _given(number: Callable[[str], float | None]) -> OwnLoad:
    return OwnLoad(_KIND.signal.value, number("logs"), None, None, "")


def _needs(own: OwnLoad | None, kept: Carried | None, push_every_s: float | None) -> Iterator[Need]:
    mean = times_of(own.bytes_per_s if own else None, OWN_ROOM)
    flow = kept.flow if kept else None
    text = flow.accepted_bytes_per_s - _FRAME_BYTES * flow.accepted_items_per_s if flow else None
    rate = times_of(text, KEPT_ROOM)
    burst = burst_of(rate, text, push_every_s, _PUSH_BYTES)
    own_burst = burst_of(mean, None, None, _PUSH_BYTES)
    yield Need("limits_config.ingestion_rate_mb", times_of(mean, 1 / MIB), times_of(rate, 1 / MIB), False)
    yield Need("limits_config.ingestion_burst_size_mb", times_of(own_burst, 1 / MIB), times_of(burst, 1 / MIB))
    each = rate / flow.users if rate is not None and flow is not None and flow.users else None
    yield Need("limits_config.per_stream_rate_limit", None, each)
    # None in memory at the moment that was looked at says nothing of how many there can be.
    streams = times_of((own.series or None) if own else None, OWN_ROOM)
    held = KEPT_ROOM * kept.held("streams", kept.flow.users) if kept else None
    yield Need("limits_config.max_global_streams_per_user", streams, held)


def _not_told(own: OwnLoad | None, kept: Carried | None) -> Iterator[str]:  # noqa: ARG001
    if own is not None and own.bytes_per_s is not None:
        yield (
            "limits_config.per_stream_rate_limit for your own load: the largest stream is not known; ask Grafana for "
            "topk(1, sum by (pod) (bytes_rate({pod=~'.+'}[5m]))), and set twice that"
        )


# The patterns follow the texts of Loki 2.9 to 3.7 (pkg/validation).
_KNOWN = (
    known(
        _STORE,
        "limits_config.per_stream_rate_limit",
        r"per stream rate limit exceeded(?: \(limit: (\S+)/sec\))?",
        "size",
    ),
    known(
        _STORE,
        "limits_config.ingestion_rate_mb",
        r"ingestion rate limit exceeded(?:.*?limit: (\d+) bytes/sec)?",
        "bytes/s",
    ),
    known(
        _STORE,
        "limits_config.max_global_streams_per_user",
        r"(?:active stream|streams) limit exceeded(?:.*?(?:calculated )?limit: (\d+))?",
        "streams",
    ),
    known(_STORE, "limits_config.max_line_size", r"max entry size '?(\d+)'? bytes exceeded", "bytes"),
    known(
        _STORE,
        "limits_config.max_structured_metadata_entries_count",
        r"has too many structured metadata labels: '\d+', limit: '(\d+)'",
        "labels",
    ),
    known(
        _STORE,
        "limits_config.max_structured_metadata_size",
        r"has structured metadata too large: '\d+' bytes, limit: '(\d+)' bytes",
        "bytes",
    ),
    known(_STORE, "limits_config.max_label_names_per_series", r"has \d+ label names; limit (\d+)", "labels"),
    known(_STORE, "limits_config.max_label_value_length", r"has label value too long: '", "bytes"),
    known(_STORE, "limits_config.max_label_name_length", r"has label name too long: '", "bytes"),
)
LOGS = Scale(
    signal=_KIND.signal,
    ladder=_ladder,
    times=_times,
    most=rate_most,
    given=_given,
    needs=_needs,
    not_told=_not_told,
    known=_KNOWN,
    held=(HeldLoad(STREAMS, "streams", "users", least=0.1),),
    # Its time, lengths and tags: Loki counts the text alone.
    frame_bytes=_FRAME_BYTES,
)
