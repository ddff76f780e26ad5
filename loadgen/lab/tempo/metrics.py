"""The metrics of the embedded Tempo, under the real one's names: those of Tempo 2 and of Tempo 3."""

from __future__ import annotations

from collections.abc import Callable

from loadgen.lab.exposition import Exposition


def declare(
    metrics: Exposition,
    tenant: str,
    live_traces: Callable[[], int],
    blocks: Callable[[], int],
    wal_bytes: Callable[[], int],
) -> None:
    """Declares all of them; counters begin at 0 so that the first increase can be seen."""
    for name, text in (
        ("tempo_distributor_spans_received_total", "Spans received."),
        ("tempo_distributor_bytes_received_total", "Bytes received, before compression."),
        ("tempo_ingester_traces_created_total", "Traces created."),
        ("tempo_ingester_blocks_flushed_total", "Blocks written to the object store."),
        ("tempo_ingester_failed_flushes_total", "Failed attempts to write a block."),
        ("tempo_live_store_traces_created_total", "Traces created."),
        ("tempo_live_store_blocks_completed_total", "Blocks completed."),
        ("tempo_live_store_local_blocks_flushed_total", "Blocks written to the object store."),
        ("tempo_live_store_local_failed_flushes_total", "Failed attempts to write a block."),
    ):
        metrics.counter(name, text, {"tenant": tenant})
    metrics.counter("tempo_discarded_spans_total", "Spans refused, by reason.")
    metrics.gauge("tempo_ingester_live_traces", "Traces in memory.", live_traces)
    metrics.gauge("tempo_live_store_live_traces", "Traces in memory.", live_traces)
    metrics.gauge("tempodb_blocklist_length", "Blocks known.", blocks)
    metrics.gauge("loadgen_lab_wal_bytes", "Size of the write-ahead log.", wal_bytes)
    metrics.histogram(
        "tempo_live_store_local_flush_size_bytes", "Size of the blocks written.", (1e4, 1e5, 1e6, 1e7, 1e8)
    )
    metrics.histogram("tempodb_backend_request_duration_seconds", "Time of requests to the object store.")
