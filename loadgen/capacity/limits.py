"""Which configured limit a server names when it refuses a push. Pure.

The patterns follow the texts of Loki 2.9 to 3.7 (pkg/validation), Tempo 2 and 3 (modules/distributor,
modules/overrides), Mimir 2 and 3 (pkg/distributor, pkg/ingester; with their ``err-mimir-…`` ids), Cortex, and nginx in
front of them. A text that matches none names no limit: then nothing is said of one. Refusals for an order or an age of
samples are none: how old a sample may be is configured too, but raising that carries no more load.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from loadgen.capacity.model import Limit
from loadgen.model import Component
from loadgen.scrape.discards import COUNTERS, discard_of
from loadgen.units import bytes_text, size_bytes

MAX_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class _Known:
    """A limit as servers speak of it. ``group`` of the pattern, if any, holds its value in ``unit``."""

    component: Component
    setting: str
    pattern: re.Pattern[str]
    unit: str


def _known(component: Component, setting: str, pattern: str, unit: str) -> _Known:
    return _Known(component, setting, re.compile(pattern, re.IGNORECASE), unit)


_LOKI, _TEMPO, _MIMIR = Component.LOKI, Component.TEMPO, Component.MIMIR
KNOWN: tuple[_Known, ...] = (
    _known(
        _LOKI,
        "limits_config.per_stream_rate_limit",
        r"per stream rate limit exceeded(?: \(limit: (\S+)/sec\))?",
        "size",
    ),
    _known(
        _LOKI,
        "limits_config.ingestion_rate_mb",
        r"ingestion rate limit exceeded(?:.*?limit: (\d+) bytes/sec)?",
        "bytes/s",
    ),
    _known(
        _LOKI,
        "limits_config.max_global_streams_per_user",
        r"(?:active stream|streams) limit exceeded(?:.*?(?:calculated )?limit: (\d+))?",
        "streams",
    ),
    _known(_LOKI, "limits_config.max_line_size", r"max entry size '?(\d+)'? bytes exceeded", "bytes"),
    _known(
        _LOKI,
        "limits_config.max_structured_metadata_entries_count",
        r"has too many structured metadata labels: '\d+', limit: '(\d+)'",
        "labels",
    ),
    _known(
        _LOKI,
        "limits_config.max_structured_metadata_size",
        r"has structured metadata too large: '\d+' bytes, limit: '(\d+)' bytes",
        "bytes",
    ),
    _known(_LOKI, "limits_config.max_label_names_per_series", r"has \d+ label names; limit (\d+)", "labels"),
    _known(_LOKI, "limits_config.max_label_value_length", r"has label value too long: '", "bytes"),
    _known(_LOKI, "limits_config.max_label_name_length", r"has label name too long: '", "bytes"),
    _known(
        _TEMPO,
        "overrides.defaults.ingestion.rate_limit_bytes",
        r"RATE_LIMITED(?:.*?\(local: (\d+) bytes/s)?|ingestion rate limit",
        "bytes/s",
    ),
    _known(
        _TEMPO,
        "overrides.defaults.ingestion.max_traces_per_user",
        r"LIVE_TRACES_EXCEEDED(?:.*?actual local: (\d+))?|max live traces exceeded",
        "live traces",
    ),
    _known(
        _TEMPO,
        "overrides.defaults.global.max_bytes_per_trace",
        r"TRACE_TOO_LARGE(?:.*?max size of trace \((\d+)\))?",
        "bytes",
    ),
    _known(
        _TEMPO,
        "distributor.receivers.otlp.protocols.grpc.max_recv_msg_size_mib",
        r"received message larger than max \(\d+ vs\. (\d+)\)",
        "bytes",
    ),
    # Before the rate: both have the same id, and more of a rate does not help a request larger than the burst.
    _known(_MIMIR, "limits.ingestion_burst_size", r"ingestion burst size limit, set to ([\d.e+]+)", "samples"),
    _known(_MIMIR, "limits.request_rate", r"request rate limit, set to ([\d.e+-]+)", "requests/s"),
    _known(
        _MIMIR,
        "limits.ingestion_rate",
        r"ingestion rate limit(?:, set to ([\d.e+]+)| \(([\d.e+]+)\) exceeded)|err-mimir-tenant-max-ingestion-rate",
        "samples/s",
    ),
    _known(
        _MIMIR,
        "limits.max_global_series_per_user",
        r"per-user series limit of (\d+) exceeded|err-mimir-max-series-per-user|per-user series limit exceeded",
        "series",
    ),
    _known(_MIMIR, "limits.max_global_series_per_metric", r"per-metric series limit of (\d+) exceeded", "series"),
    _known(
        _MIMIR,
        "limits.max_label_names_per_series",
        r"number of labels exceeds the limit \(actual: \d+, limit: (\d+)\)",
        "labels",
    ),
    _known(
        _MIMIR,
        "limits.max_label_value_length",
        r"label value length (?:of \d+ )?exceeds the limit(?: of (\d+))?",
        "bytes",
    ),
    _known(_MIMIR, "limits.max_label_name_length", r"label name length exceeds the limit", "bytes"),
    _known(
        _MIMIR,
        "limits.max_native_histogram_buckets",
        r"native histogram sample with too many buckets,.* limit: (\d+)",
        "buckets",
    ),
    _known(
        _MIMIR,
        "distributor.max_otlp_request_size",
        r"OTLP request has been rejected because its message size .* the allowed limit of (\d+) bytes",
        "bytes",
    ),
    _known(
        _MIMIR,
        "distributor.max_recv_msg_size",
        r"push request has been rejected because its message size .* the allowed limit of (\d+) bytes",
        "bytes",
    ),
    _known(
        _MIMIR,
        "ingester.instance_limits.max_series",
        r"ingester exceeded the allowed number of in-memory series|err-mimir-ingester-max-series",
        "series",
    ),
    _known(
        _MIMIR,
        "distributor.instance_limits.max_ingestion_rate",
        r"distributor exceeded the ingestion rate limit|err-mimir-distributor-max-ingestion-rate",
        "samples/s",
    ),
    _known(
        _MIMIR,
        "distributor.instance_limits.max_inflight_push_requests_bytes",
        r"distributor exceeded the allowed total size in bytes of inflight push requests",
        "bytes",
    ),
)
# What Mimir says of every limit, also of those that are not listed above; the grace periods are no limits of a load.
_FLAG = re.compile(
    r"[Tt]o adjust the related (?:per-tenant )?limits?, configure "
    r"(-(?!validation\.(?:create|past)-grace-period)[\w.-]+\w)"
)
# The number alone would not do: Mimir's refusals tell sizes, times and values of samples.
_PROXY = re.compile(
    r"request entity too large|(?:payload|content) too large|client intended to send too large body", re.IGNORECASE
)


def limit_of(component: Component, status: int, message: str) -> Limit | None:
    """The limit that an answer names; None if it names none.

    Args:
        component: who was pushed to.
        status: as in `Receipt`.
        message: the answer's text.
    """
    short = message[:MAX_MESSAGE]
    for known in KNOWN:
        found = known.pattern.search(message) if known.component is component else None
        if found is not None:
            text = next((group for group in found.groups() if group), "")
            number = _number(text, known.unit)
            return Limit(component.value, known.setting, _value_text(number, known.unit), number, short)
    flag = _FLAG.search(message) if component is _MIMIR else None
    if flag is not None:
        return Limit(component.value, flag[1], "", None, short)
    if status == 413 or (status // 100 == 4 and _PROXY.search(message)):
        return Limit(
            component.value, "client_max_body_size of the proxy in front, or the largest message", "", None, short
        )
    return None


def limit_of_reason(component: str, reason: str, per_s: float) -> Limit | None:
    """The limit behind a reason of a component's own counter of discarded items; None if it is no limit on how much."""
    if component not in {one.value for one in COUNTERS}:
        return None
    known = discard_of(Component(component), reason)
    if not known.amount:
        return None
    said = f"{component} counts {per_s:,.0f} items a second as discarded, reason {reason}"
    return Limit(component, known.setting, "", None, said)


def _number(text: str, unit: str) -> float | None:
    try:
        # Loki's sizes are powers of two, whatever they are called.
        return size_bytes(re.sub(r"(?i)([kmg])b$", r"\1ib", text)) if unit == "size" else float(text)
    except ValueError:
        return None


def _value_text(number: float | None, unit: str) -> str:
    if number is None:
        return ""
    if unit in ("bytes/s", "size"):
        return f"{bytes_text(number)}/s"
    if unit == "bytes":
        return bytes_text(number)
    return f"{number:,.0f} {unit}" if number == int(number) else f"{number:g} {unit}"
