"""What Mimir tells of itself: the figures of its ``/metrics``, and its reasons to discard something. Pure.

The reasons are those of pkg/ingester and pkg/distributor of Mimir 2 and 3, and Cortex. Some are written
with dashes and some with underscores.
"""

from __future__ import annotations

from loadgen.model import Component
from loadgen.scrape.discard import Discard, amount, bad
from loadgen.scrape.figure import Figure, Source, counter, discarded, gauge, process

_STORE = Component.MIMIR
_LIMITS = "limits"
_ONE_WRITER = "let one agent only write a series"

DISCARDS: tuple[Discard, ...] = (
    amount(_STORE, "rate_limited", f"{_LIMITS}.ingestion_rate"),
    amount(_STORE, "per_user_series_limit", f"{_LIMITS}.max_global_series_per_user"),
    amount(_STORE, "per_metric_series_limit", f"{_LIMITS}.max_global_series_per_metric"),
    amount(_STORE, "per_user_active_series_limit", f"{_LIMITS}.max_active_series_per_user"),
    bad(_STORE, "sample-out-of-order", f"{_LIMITS}.out_of_order_time_window"),
    bad(_STORE, "sample-too-old", f"{_LIMITS}.out_of_order_time_window"),
    bad(_STORE, "sample-timestamp-too-old", f"{_LIMITS}.out_of_order_time_window"),
    bad(_STORE, "sample-too-far-in-future", f"{_LIMITS}.creation_grace_period"),
    bad(_STORE, "too_far_in_future", f"{_LIMITS}.creation_grace_period"),
    bad(_STORE, "too_far_in_past", f"{_LIMITS}.past_grace_period"),
    bad(_STORE, "new-value-for-timestamp", advice=_ONE_WRITER),
    # The same time twice in one request: the first one stays, and the answer is 200.
    Discard(_STORE, "sample_duplicate_timestamp", silent=True, advice=_ONE_WRITER),
    bad(_STORE, "max_native_histogram_buckets", f"{_LIMITS}.max_native_histogram_buckets"),
    bad(_STORE, "max_label_names_per_series", f"{_LIMITS}.max_label_names_per_series"),
    bad(_STORE, "label_name_too_long", f"{_LIMITS}.max_label_name_length"),
    bad(_STORE, "label_value_too_long", f"{_LIMITS}.max_label_value_length"),
    bad(_STORE, "too_many_ha_clusters", f"{_LIMITS}.ha_max_clusters"),
)
"""The reasons whose setting is known."""

FIGURES: tuple[Figure, ...] = (
    *process(_STORE),
    gauge(_STORE, "wal_bytes", "loadgen_lab_wal_bytes"),
    counter(_STORE, "s3_requests_per_s", Source(("thanos_objstore_bucket_operations_total",))),
    counter(
        _STORE,
        "s3_written_bytes_per_s",
        Source(("thanos_objstore_bucket_operation_transferred_bytes_sum",), ("operation", "upload")),
    ),
    gauge(_STORE, "series", "cortex_ingester_memory_series"),
    gauge(_STORE, "chunks", "cortex_ingester_tsdb_head_chunks", "cortex_ingester_memory_chunks"),
    discarded(_STORE),
)
