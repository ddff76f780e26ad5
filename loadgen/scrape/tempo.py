"""What Tempo tells of itself: the figures of its ``/metrics``, and its reasons to discard something. Pure.

The reasons are those of modules/overrides of Tempo 2 and 3.
"""

from __future__ import annotations

from loadgen.model import Component
from loadgen.scrape.discard import Discard, amount
from loadgen.scrape.figure import Figure, Source, counter, discarded, gauge, process

_STORE = Component.TEMPO
_LIMITS = "overrides.defaults"

DISCARDS: tuple[Discard, ...] = (
    amount(_STORE, "rate_limited", f"{_LIMITS}.ingestion.rate_limit_bytes"),
    amount(_STORE, "live_traces_exceeded", f"{_LIMITS}.ingestion.max_traces_per_user", silent=True),
    amount(_STORE, "trace_too_large", f"{_LIMITS}.global.max_bytes_per_trace", silent=True),
    Discard(_STORE, "trace_too_large_to_compact", f"{_LIMITS}.global.max_bytes_per_trace", silent=True),
    Discard(_STORE, "unknown_error", silent=True),
)
"""The reasons whose setting is known."""

FIGURES: tuple[Figure, ...] = (
    *process(_STORE),
    # Neither Tempo nor Mimir tells how large its log is; the embedded ones do.
    gauge(_STORE, "wal_bytes", "loadgen_lab_wal_bytes"),
    counter(_STORE, "s3_requests_per_s", Source(("tempodb_backend_request_duration_seconds_count",))),
    counter(
        _STORE,
        "s3_written_bytes_per_s",
        Source(("tempo_live_store_local_flush_size_bytes_sum", "tempodb_compaction_bytes_written_total")),
        Source(("tempo_ingester_flush_size_bytes_sum", "tempodb_compaction_bytes_written_total")),
    ),
    counter(_STORE, "received_bytes_per_s", Source(("tempo_distributor_bytes_received_total",))),
    # Traces in memory are to Tempo what streams are to Loki.
    gauge(_STORE, "streams", "tempo_live_store_live_traces", "tempo_ingester_live_traces"),
    gauge(_STORE, "flush_queue", "tempo_live_store_complete_queue_length", "tempo_ingester_flush_queue_length"),
    discarded(_STORE),
)
