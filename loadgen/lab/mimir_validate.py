"""What the embedded Mimir refuses, in the words of the real one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from loadgen.lab.promql_ops import label_text
from loadgen.lab.promql_values import METRIC_NAME, Labels

MAX_LABEL_NAMES = 30
MAX_LABEL_NAME_BYTES = 1024
MAX_LABEL_VALUE_BYTES = 2048

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SERIES = "\x00"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was not stored.

    Attributes:
        status: HTTP status of the answer.
        text: the answer.
        reason: label of ``cortex_discarded_samples_total``.
    """

    status: int
    text: str
    reason: str


def _configurable(flag: str) -> str:
    return f". To adjust the related per-tenant limit, configure -{flag}, or contact your service administrator."


def check_labels(labels: Labels, max_label_names: int = MAX_LABEL_NAMES) -> Refusal | None:
    """Judges the labels of a series (sorted, without empty values) as Mimir's distributor does; None: they are good."""
    name = dict(labels).get(METRIC_NAME, "")
    if not name:
        return Refusal(400, "received series has no metric name (err-mimir-missing-metric-name)", "missing_metric_name")
    if not _METRIC_NAME.fullmatch(name):
        text = f"received a series with invalid metric name: '{name[:200]}' (err-mimir-metric-name-invalid)"
        return Refusal(400, text, "metric_name_invalid")
    limit = max_label_names or MAX_LABEL_NAMES
    if len(labels) > limit:
        text = (
            "received a series whose number of labels exceeds the limit "
            f"(actual: {len(labels)}, limit: {limit}) series: '{metric_text(labels)[:200]}' "
            "(err-mimir-max-label-names-per-series)"
        )
        return Refusal(400, text + _configurable("validation.max-label-names-per-series"), "max_label_names_per_series")
    before = ""
    for label, value in labels:
        refusal = _check_label(label, value)
        if refusal is not None:
            return Refusal(400, refusal.text.replace(_SERIES, f"series: '{metric_text(labels)[:200]}'"), refusal.reason)
        if label == before:
            text = f"received a series with duplicate label name, label: '{label[:200]}'"
            text += f" series: '{metric_text(labels)[:200]}' (err-mimir-duplicate-label-names)"
            return Refusal(400, text, "duplicate_label_names")
        before = label
    return None


# Most labels of a series are those of its neighbours.
@lru_cache(65_536)
def _check_label(label: str, value: str) -> Refusal | None:
    if len(label.encode()) > MAX_LABEL_NAME_BYTES:
        text = f"received a series whose label name length exceeds the limit, label: '{label[:200]}' {_SERIES}"
        text += " (err-mimir-label-name-too-long)" + _configurable("validation.max-length-label-name")
        return Refusal(400, text, "label_name_too_long")
    if not _LABEL_NAME.fullmatch(label):
        text = f"received a series with an invalid label: '{label[:200]}' {_SERIES} (err-mimir-label-invalid)"
        return Refusal(400, text, "label_invalid")
    if len(value.encode()) > MAX_LABEL_VALUE_BYTES:
        text = f"received a series whose label value length exceeds the limit, label: '{label}', "
        text += f"value: '{value[:200]}' (truncated) {_SERIES} (err-mimir-label-value-too-long)"
        return Refusal(400, text + _configurable("validation.max-length-label-value"), "label_value_too_long")
    return None


def metric_text(labels: Labels) -> str:
    """A series as ``name{label="value"}``."""
    rest = tuple(pair for pair in labels if pair[0] != METRIC_NAME)
    name = dict(labels).get(METRIC_NAME, "")
    return name + (label_text(rest) if rest or not name else "")


def too_far_in_future(labels: Labels, time_ms: int) -> Refusal:
    """A sample beyond the grace period."""
    text = (
        f"received a sample whose timestamp is too far in the future, timestamp: {time_ms} "
        f"series: '{dict(labels).get(METRIC_NAME, '')[:200]}' (err-mimir-too-far-in-future)"
    )
    return Refusal(400, text + _configurable("validation.create-grace-period"), "too_far_in_future")


def native_histogram(labels: Labels) -> Refusal:
    """A native histogram, which the embedded Mimir cannot store."""
    text = f"received a native histogram for series '{metric_text(labels)[:200]}'"
    text += ", which the embedded Mimir cannot store; send classic histograms"
    return Refusal(400, text, "native_histogram_unsupported")


def out_of_order(tenant: str, labels: Labels, time_ms: int) -> Refusal:
    """A sample older than the series' newest."""
    text = (
        "the sample has been rejected because another sample with a more recent timestamp has already been ingested "
        "and out-of-order samples are not allowed (err-mimir-sample-out-of-order)"
    )
    return Refusal(400, _from_ingester(tenant, text, labels, time_ms), "sample_out_of_order")


def duplicate_timestamp(tenant: str, labels: Labels, time_ms: int) -> Refusal:
    """A sample with the time of the series' newest and another value."""
    text = (
        "the sample has been rejected because another sample with the same timestamp, but a different value, "
        "has already been ingested (err-mimir-sample-duplicate-timestamp)"
    )
    return Refusal(400, _from_ingester(tenant, text, labels, time_ms), "sample_duplicate_timestamp")


def _from_ingester(tenant: str, text: str, labels: Labels, time_ms: int) -> str:
    affected = f"The affected sample has timestamp {rfc3339(time_ms)} and is from series {label_text(labels)}"
    return f"failed pushing to ingester embedded: user={tenant}: {text}. {affected}"


def too_many_series(tenant: str, limit: int) -> Refusal:
    """A new series beyond the limit; Mimir answers 400 to this one, so that agents do not retry it."""
    text = f"per-user series limit of {limit} exceeded (err-mimir-max-series-per-user)"
    prefix = f"failed pushing to ingester embedded: user={tenant}: "
    return Refusal(400, prefix + text + _configurable("ingester.max-global-series-per-user"), "per_user_series_limit")


def rate_limited(rate: float, burst: int) -> Refusal:
    """More samples than the tenant's token bucket holds."""
    text = (
        "the request has been rejected because the tenant exceeded the ingestion rate limit, set to "
        f"{go_float(rate)} items/s with a maximum allowed burst of {burst}. This limit is applied on the total number "
        "of samples, exemplars and metadata received across all distributors (err-mimir-tenant-max-ingestion-rate)"
    )
    flags = "distributor.ingestion-rate-limit and -distributor.ingestion-burst-size"
    return Refusal(429, text + _configurable(flags).replace("limit,", "limits,", 1), "rate_limited")


def go_float(value: float) -> str:
    """A number as Go prints it: ``50000``, but ``1e+06`` and ``1.5e+06`` from a million on; never rounded."""
    number = Decimal(repr(float(value))).normalize()
    exponent = number.adjusted()
    if exponent < 6:
        return f"{number:f}"
    digits = "".join(map(str, number.as_tuple().digits))
    return f"{digits[0]}{'.' if len(digits) > 1 else ''}{digits[1:]}e+{exponent:02d}"


def too_large(size_bytes: int, limit_bytes: int, compressed: bool) -> Refusal:
    """A body beyond the limit."""
    kind = "compressed" if compressed else "uncompressed"
    text = (
        f"the incoming push request has been rejected because its message size of {size_bytes} bytes ({kind}) is "
        f"larger than the allowed limit of {limit_bytes} bytes (err-mimir-distributor-max-write-message-size). "
        "To adjust the related limit, configure -distributor.max-recv-msg-size, or contact your service administrator."
    )
    return Refusal(413, text, "")


def rfc3339(time_ms: int) -> str:
    """A time as Go's RFC3339Nano prints it: no trailing zeros; a time beyond the calendar as its milliseconds."""
    try:
        moment = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        return f"{time_ms}ms"
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"
