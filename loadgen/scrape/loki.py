"""What Loki tells of itself: the figures of its ``/metrics``, and its reasons to discard something. Pure.

The reasons are those of pkg/validation of Loki 3.
"""

from __future__ import annotations

from loadgen.model import Component
from loadgen.scrape.discard import Discard, amount, bad
from loadgen.scrape.figure import Figure, Source, counter, discarded, gauge, process

_STORE = Component.LOKI
_LIMITS = "limits_config"
_BLOCKED = f"take {_LIMITS}.block_ingestion_until away (or block_ingestion_policy_until)"

DISCARDS: tuple[Discard, ...] = (
    amount(_STORE, "rate_limited", f"{_LIMITS}.ingestion_rate_mb"),
    amount(_STORE, "per_stream_rate_limit", f"{_LIMITS}.per_stream_rate_limit"),
    amount(_STORE, "stream_limit", f"{_LIMITS}.max_global_streams_per_user"),
    bad(_STORE, "line_too_long", f"{_LIMITS}.max_line_size"),
    bad(_STORE, "greater_than_max_sample_age", f"{_LIMITS}.reject_old_samples_max_age"),
    bad(_STORE, "too_far_behind", "ingester.max_chunk_age"),
    bad(_STORE, "too_far_in_future", f"{_LIMITS}.creation_grace_period"),
    bad(_STORE, "max_label_names_per_series", f"{_LIMITS}.max_label_names_per_series"),
    bad(_STORE, "label_name_too_long", f"{_LIMITS}.max_label_name_length"),
    bad(_STORE, "label_value_too_long", f"{_LIMITS}.max_label_value_length"),
    bad(_STORE, "structured_metadata_too_large", f"{_LIMITS}.max_structured_metadata_size"),
    bad(_STORE, "structured_metadata_too_many", f"{_LIMITS}.max_structured_metadata_entries_count"),
    bad(
        _STORE,
        "disallowed_structured_metadata",
        f"{_LIMITS}.allow_structured_metadata",
        f"set {_LIMITS}.allow_structured_metadata to true",
    ),
    bad(_STORE, "missing_enforced_labels", f"{_LIMITS}.enforced_labels", "push the labels that it enforces"),
    # Answered with 260 by default, and with whatever status the operator wants: also with 200.
    Discard(_STORE, "blocked_ingestion", f"{_LIMITS}.block_ingestion_until", silent=True, advice=_BLOCKED),
    Discard(
        _STORE, "blocked_ingestion_policy", f"{_LIMITS}.block_ingestion_policy_until", silent=True, advice=_BLOCKED
    ),
)
"""The reasons whose setting is known."""

FIGURES: tuple[Figure, ...] = (
    *process(_STORE),
    gauge(_STORE, "wal_bytes", "prometheus_tsdb_wal_storage_size_bytes"),
    counter(
        _STORE,
        "s3_requests_per_s",
        Source(("loki_s3_request_duration_seconds_count",)),
        Source(("loki_objstore_bucket_operations_total",)),
    ),
    # Chunks only: no metric tells how large the index is.
    counter(_STORE, "s3_written_bytes_per_s", Source(("loki_ingester_chunk_stored_bytes_total",))),
    counter(_STORE, "received_bytes_per_s", Source(("loki_distributor_bytes_received_total",))),
    gauge(_STORE, "streams", "loki_ingester_memory_streams"),
    gauge(_STORE, "chunks", "loki_ingester_memory_chunks"),
    gauge(_STORE, "flush_queue", "loki_ingester_flush_queue_length"),
    discarded(_STORE),
)
