"""What the embedded Mimir refuses, in the words of the real one (3.0)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from loadgen.lab.mimir.promql_ops import label_text
from loadgen.lab.mimir.promql_values import METRIC_NAME, Labels

MAX_LABEL_NAMES = 30
MAX_LABEL_NAME_BYTES = 1024
MAX_LABEL_VALUE_BYTES = 2048
MAX_TENANT_CHARS = 150
BEHIND_NEWEST_MS = 3_600_000
"""Half of a block's two hours: no series takes samples that lie further behind the newest of all."""

INSTANCE = "embedded"
"""How the ingester calls itself; a real one goes by its host's name."""

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SERIES = "\x00"
_METRIC = "\x01"
_NOT_UTF8 = re.compile("[\ud800-\udfff]+")
_SHOWN = 200
_COUNTED = (
    "This limit is applied on the total number of samples, exemplars and metadata received across all distributors "
    "(err-mimir-tenant-max-ingestion-rate)"
)
_SAMPLED = " (sampled 1/10)"
_TENANT = re.compile(r"[a-zA-Z0-9!_.*'()-]*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SampleRefusal:
    """Why something was not stored.

    Attributes:
        status: HTTP status of the answer.
        text: the answer.
        reason: label of ``cortex_discarded_samples_total``, with dashes where Mimir has them.
    """

    status: int
    text: str
    reason: str


def check_tenant(header: str | None) -> SampleRefusal | None:
    """Judges the header that names the tenant, as a server with more than one does; None: it names one."""
    if not header:
        return SampleRefusal(401, "no org id", "")
    tenants = sorted(set(header.split("|")))
    for tenant in tenants:
        if len(tenant) > MAX_TENANT_CHARS:
            return SampleRefusal(401, f"tenant ID is too long: max {MAX_TENANT_CHARS} characters", "")
        good = _TENANT.match(tenant)
        if good is not None and good.end() < len(tenant):
            text = f"tenant ID '{tenant}' contains unsupported character '{tenant[good.end()]}'"
            return SampleRefusal(401, text, "")
    if len(tenants) > 1:
        return SampleRefusal(422, f"too many tenant IDs present in the request. max: 1 actual: {len(tenants)}", "")
    return None


def printable(text: str) -> str:
    """The text with a mark for each run of bytes that were not UTF-8."""
    return _NOT_UTF8.sub("\ufffd", text)


def _configurable(flag: str) -> str:
    return f". To adjust the related per-tenant limit, configure -{flag}, or contact your service administrator."


def check_labels(labels: Labels, max_label_names: int = MAX_LABEL_NAMES) -> SampleRefusal | None:
    """Judges the labels of a series (sorted, without empty values) as Mimir's distributor does; None: they are good."""
    name = dict(labels).get(METRIC_NAME, "")
    if not name:
        return SampleRefusal(
            400, "received series has no metric name (err-mimir-missing-metric-name)", "missing_metric_name"
        )
    if not _METRIC_NAME.fullmatch(name):
        text = f"received a series with invalid metric name: '{name[:_SHOWN]}' (err-mimir-metric-name-invalid)"
        return SampleRefusal(400, text, "metric_name_invalid")
    limit = max_label_names or MAX_LABEL_NAMES
    if len(labels) > limit:
        text = (
            "received a series whose number of labels exceeds the limit "
            f"(actual: {len(labels)}, limit: {limit}) series: '{_shortened(metric_text(labels))}' "
            "(err-mimir-max-label-names-per-series)"
        )
        return SampleRefusal(
            400, text + _configurable("validation.max-label-names-per-series"), "max_label_names_per_series"
        )
    before = ""
    for label, value in labels:
        refusal = _check_label(label, value)
        if refusal is not None:
            text = refusal.text.replace(_SERIES, f"series: '{metric_text(labels)[:_SHOWN]}'")
            return SampleRefusal(400, text.replace(_METRIC, f"metric: '{name[:_SHOWN]}'"), refusal.reason)
        if label == before:
            text = f"received a series with duplicate label name, label: '{label[:_SHOWN]}'"
            text += f" series: '{metric_text(labels)[:_SHOWN]}' (err-mimir-duplicate-label-names)"
            return SampleRefusal(400, text, "duplicate_label_names")
        before = label
    return None


# Most labels of a series are those of its neighbours.
@lru_cache(65_536)
def _check_label(label: str, value: str) -> SampleRefusal | None:
    if len(label.encode("utf-8", "surrogateescape")) > MAX_LABEL_NAME_BYTES:
        text = f"received a series whose label name length exceeds the limit, label: '{label[:_SHOWN]}' {_SERIES}"
        text += " (err-mimir-label-name-too-long)" + _configurable("validation.max-length-label-name")
        return SampleRefusal(400, text, "label_name_too_long")
    if not _LABEL_NAME.fullmatch(label):
        text = f"received a series with an invalid label: '{label[:_SHOWN]}' {_SERIES} (err-mimir-label-invalid)"
        return SampleRefusal(400, text, "label_invalid")
    if _NOT_UTF8.search(value):
        text = f"received a series with invalid value in label '{label}': '{printable(value)[:_SHOWN]}' {_METRIC}"
        return SampleRefusal(400, text + " (err-mimir-label-value-invalid)", "label_value_invalid")
    size = len(value.encode())
    if size > MAX_LABEL_VALUE_BYTES:
        text = f"received a series whose label value length of {size} exceeds the limit of {MAX_LABEL_VALUE_BYTES}, "
        text += f"label: '{label}', "
        text += f"value: '{value[:_SHOWN]}' (truncated) {_SERIES} (err-mimir-label-value-too-long)"
        return SampleRefusal(400, text + _configurable("validation.max-length-label-value"), "label_value_too_long")
    return None


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "\u2026"


def metric_text(labels: Labels) -> str:
    """A series as ``name{label="value"}``."""
    rest = tuple(pair for pair in labels if pair[0] != METRIC_NAME)
    name = dict(labels).get(METRIC_NAME, "")
    return name + (label_text(rest) if rest or not name else "")


def too_far_in_future(labels: Labels, time_ms: int) -> SampleRefusal:
    """A sample beyond the grace period."""
    text = (
        f"received a sample whose timestamp is too far in the future, timestamp: {time_ms} "
        f"series: '{dict(labels).get(METRIC_NAME, '')[:_SHOWN]}' (err-mimir-too-far-in-future)"
    )
    return SampleRefusal(400, text + _configurable("validation.create-grace-period"), "too_far_in_future")


def native_histogram(labels: Labels) -> SampleRefusal:
    """A native histogram, which the embedded Mimir cannot store."""
    text = f"received a native histogram for series '{metric_text(labels)[:_SHOWN]}'"
    text += ", which the embedded Mimir cannot store; send classic histograms"
    return SampleRefusal(400, text, "native_histogram_unsupported")


def nameless_metadata() -> SampleRefusal:
    """Metadata that does not say which metric it is of."""
    text = "received a metric metadata with no metric name (err-mimir-metadata-missing-metric-name)"
    return SampleRefusal(400, text, "metric_metadata_missing_metric_name")


def out_of_order(tenant: str, labels: Labels, time_ms: int) -> SampleRefusal:
    """A sample older than the series' newest."""
    text = (
        "the sample has been rejected because another sample with a more recent timestamp has already been ingested "
        "and out-of-order samples are not allowed (err-mimir-sample-out-of-order)"
    )
    return SampleRefusal(400, _of_a_sample(tenant, text, labels, time_ms), "sample-out-of-order")


def too_old(tenant: str, labels: Labels, time_ms: int) -> SampleRefusal:
    """A sample that lies too far behind the newest of all series."""
    text = "the sample has been rejected because its timestamp is too old (err-mimir-sample-timestamp-too-old)"
    return SampleRefusal(400, _of_a_sample(tenant, text, labels, time_ms), "sample-timestamp-too-old")


def duplicate_timestamp(tenant: str, labels: Labels, time_ms: int, there: float, new: float) -> SampleRefusal:
    """A sample with the time of the series' newest and another value."""
    text = (
        f"duplicate sample for timestamp {time_ms}; overrides not allowed: existing {go_float(there)}, "
        f"new value {go_float(new)} (err-mimir-sample-duplicate-timestamp)"
    )
    return SampleRefusal(400, _of_a_sample(tenant, text, labels, time_ms), "new-value-for-timestamp")


def _of_a_sample(tenant: str, text: str, labels: Labels, time_ms: int) -> str:
    affected = f"The affected sample has timestamp {rfc3339(time_ms)} and is from series {metric_text(labels)}"
    return _from_ingester(tenant, f"{text}. {affected}")


def _from_ingester(tenant: str, text: str) -> str:
    return f"send data to ingesters: failed pushing to ingester {INSTANCE}: user={tenant}: {text}{_SAMPLED}"


def too_many_series(tenant: str, limit: int) -> SampleRefusal:
    """A new series beyond the limit; Mimir answers 400 to this one, so that agents do not retry it."""
    text = f"per-user series limit of {limit} exceeded (err-mimir-max-series-per-user)"
    text += _configurable("ingester.max-global-series-per-user")
    return SampleRefusal(400, _from_ingester(tenant, text), "per_user_series_limit")


def rate_limited(rate: float, burst: int, items: int) -> SampleRefusal:
    """More samples, exemplars and metadata than the tenant's token bucket holds, now or ever."""
    if items > burst:
        text = (
            "the request has been rejected because the tenant exceeded the ingestion burst size limit, set to "
            f"{burst}, with {items} items. {_COUNTED}"
        )
        return SampleRefusal(429, text + _configurable("distributor.ingestion-burst-size"), "rate_limited")
    text = (
        "the request has been rejected because the tenant exceeded the ingestion rate limit, set to "
        f"{go_float(rate)} items/s with a maximum allowed burst of {burst}. {_COUNTED}"
    )
    flags = "distributor.ingestion-rate-limit and -distributor.ingestion-burst-size"
    return SampleRefusal(429, text + _configurable(flags).replace("limit,", "limits,", 1), "rate_limited")


def go_float(value: float) -> str:
    """A number as Go prints it: ``50000``, but ``1e+06`` and ``1.5e+06`` from a million on; never rounded."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    number = Decimal(repr(float(value))).normalize()
    exponent = number.adjusted()
    if not number or -4 <= exponent < 6:
        return f"{number:f}"
    sign, whole, _ = number.as_tuple()
    digits = "".join(map(str, whole))
    mantissa = f"{digits[0]}{'.' if len(digits) > 1 else ''}{digits[1:]}"
    return f"{'-' if sign else ''}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def too_large(size_bytes: int, limit_bytes: int, compressed: bool) -> SampleRefusal:
    """A body beyond the limit."""
    kind = "compressed" if compressed else "uncompressed"
    text = (
        f"the incoming push request has been rejected because its message size of {size_bytes} bytes ({kind}) is "
        f"larger than the allowed limit of {limit_bytes} bytes (err-mimir-distributor-max-write-message-size). "
        "To adjust the related limit, configure -distributor.max-recv-msg-size, or contact your service administrator."
    )
    return SampleRefusal(400, text, "")


def rfc3339(time_ms: int) -> str:
    """A time as Go's RFC3339Nano prints it: no trailing zeros; a time beyond the calendar as its milliseconds."""
    try:
        moment = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        return f"{time_ms}ms"
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"
