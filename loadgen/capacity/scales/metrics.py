"""Capacity of metrics: how their load is raised, and Mimir's limits. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from loadgen.capacity.model import OwnLoad
from loadgen.capacity.scales.known import known
from loadgen.capacity.scales.need import KEPT_ROOM, OWN_ROOM, Carried, Need, burst_of, times_of
from loadgen.capacity.scales.scale import HeldLoad, Ladder, Scale, Settings
from loadgen.config import Profile
from loadgen.config.capacity import CapacitySection
from loadgen.kinds.metrics.kind import METRICS as _KIND
from loadgen.model import NS
from loadgen.plan import Plan

_STORE = _KIND.store
SERIES = "1,000 series"


def _ladder(profile: Profile, rate: float) -> Ladder:  # noqa: ARG001 - series are raised
    return Ladder("series", _series(profile), profile.capacity.max_series, lambda level: _agents(profile, level))


def _agents(profile: Profile, series: float) -> Settings:
    users = max(1, math.ceil(series / profile.metrics.series - 1e-9))
    # The interval between pushes stays, so that samples per second rise with the series.
    return {"users": users, "series": max(1, round(series / users)), "rate": None}


def _times(profile: Profile, factor: float) -> Settings:
    return _agents(profile, _series(profile) * factor)


def _series(profile: Profile) -> int:
    return profile.metrics.users * profile.metrics.series


def _most(profile: Profile, limits: CapacitySection, rate: float) -> float | None:  # noqa: ARG001
    return limits.max_series / series if (series := _series(profile)) else None


def _given(number: Callable[[str], float | None]) -> OwnLoad:
    return OwnLoad(_KIND.signal.value, None, number("metrics_samples"), number("metrics_series"), "")


def _needs(own: OwnLoad | None, kept: Carried | None, push_every_s: float | None) -> Iterator[Need]:
    mean = times_of(own.items_per_s if own else None, OWN_ROOM)
    flow = kept.flow if kept else None
    rate = times_of(flow.accepted_items_per_s if flow else None, KEPT_ROOM)
    # All agents may scrape, and so push, at the same moment.
    series = times_of((own.series or None) if own else None, OWN_ROOM)
    burst = burst_of(rate, flow.accepted_items_per_s if flow else None, push_every_s, flow.series if flow else 0)
    yield Need("limits.ingestion_rate", mean, rate)
    own_burst = burst_of(mean, None, None, series) if series is not None else None
    yield Need("limits.ingestion_burst_size", own_burst, burst)
    held = KEPT_ROOM * kept.held("series", kept.flow.series) if kept else None
    yield Need("limits.max_global_series_per_user", series, held)


def _not_told(own: OwnLoad | None, kept: Carried | None) -> Iterator[str]:  # noqa: ARG001
    if own is not None and own.items_per_s is not None and own.series is None:
        yield (
            "limits.ingestion_burst_size for your own load: a scrape of all series may come at one moment, and their "
            "number is not known; set capacity.own.metrics_series in the profile"
        )


def _reach_s(plan: Plan) -> float:
    if not plan.users(_KIND.signal):
        return 0.0
    load = plan.metrics.load
    return load.interval_ns / NS * (load.samples_per_push - 1) / load.samples_per_push


# The patterns follow the texts of Mimir 2 and 3 (pkg/distributor, pkg/ingester; with their ``err-mimir-…`` ids) and of
# Cortex.
_KNOWN = (
    # Before the rate: both have the same id, and more of a rate does not help a request larger than the burst.
    known(_STORE, "limits.ingestion_burst_size", r"ingestion burst size limit, set to ([\d.e+]+)", "samples"),
    known(_STORE, "limits.request_rate", r"request rate limit, set to ([\d.e+-]+)", "requests/s"),
    known(
        _STORE,
        "limits.ingestion_rate",
        r"ingestion rate limit(?:, set to ([\d.e+]+)| \(([\d.e+]+)\) exceeded)|err-mimir-tenant-max-ingestion-rate",
        "samples/s",
    ),
    known(
        _STORE,
        "limits.max_global_series_per_user",
        r"per-user series limit of (\d+) exceeded|err-mimir-max-series-per-user|per-user series limit exceeded",
        "series",
    ),
    known(_STORE, "limits.max_global_series_per_metric", r"per-metric series limit of (\d+) exceeded", "series"),
    known(
        _STORE,
        "limits.max_label_names_per_series",
        r"number of labels exceeds the limit \(actual: \d+, limit: (\d+)\)",
        "labels",
    ),
    known(
        _STORE,
        "limits.max_label_value_length",
        r"label value length (?:of \d+ )?exceeds the limit(?: of (\d+))?",
        "bytes",
    ),
    known(_STORE, "limits.max_label_name_length", r"label name length exceeds the limit", "bytes"),
    known(
        _STORE,
        "limits.max_native_histogram_buckets",
        r"native histogram sample with too many buckets,.* limit: (\d+)",
        "buckets",
    ),
    known(
        _STORE,
        "distributor.max_otlp_request_size",
        r"OTLP request has been rejected because its message size .* the allowed limit of (\d+) bytes",
        "bytes",
    ),
    known(
        _STORE,
        "distributor.max_recv_msg_size",
        r"push request has been rejected because its message size .* the allowed limit of (\d+) bytes",
        "bytes",
    ),
    known(
        _STORE,
        "ingester.instance_limits.max_series",
        r"ingester exceeded the allowed number of in-memory series|err-mimir-ingester-max-series",
        "series",
    ),
    known(
        _STORE,
        "distributor.instance_limits.max_ingestion_rate",
        r"distributor exceeded the ingestion rate limit|err-mimir-distributor-max-ingestion-rate",
        "samples/s",
    ),
    known(
        _STORE,
        "distributor.instance_limits.max_inflight_push_requests_bytes",
        r"distributor exceeded the allowed total size in bytes of inflight push requests",
        "bytes",
    ),
)
METRICS = Scale(
    signal=_KIND.signal,
    ladder=_ladder,
    times=_times,
    most=_most,
    given=_given,
    needs=_needs,
    not_told=_not_told,
    known=_KNOWN,
    series=lambda profile, users: users * profile.metrics.series,
    series_bound=True,
    held=(HeldLoad(SERIES, "series", "series"),),
    no_bytes="Mimir counts samples",
    reach_s=_reach_s,
)
