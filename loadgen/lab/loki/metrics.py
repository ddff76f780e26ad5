"""The metrics of the embedded Loki, under the real one's names."""

from __future__ import annotations

from loadgen.lab.exposition import Exposition
from loadgen.lab.loki.store import LokiStore
from loadgen.lab.wal import WriteAheadLog


def declare(metrics: Exposition, store: LokiStore, wal: WriteAheadLog, tenant: str) -> None:
    """Declares all of them; counters begin at 0 so that the first increase can be seen."""
    metrics.counter("loki_distributor_bytes_received_total", "Bytes received, uncompressed.", {"tenant": tenant})
    metrics.counter("loki_distributor_lines_received_total", "Lines received.", {"tenant": tenant})
    metrics.counter("loki_discarded_samples_total", "Lines that were discarded.")
    metrics.counter("loki_discarded_bytes_total", "Bytes that were discarded.")
    metrics.gauge(
        "loki_ingester_memory_streams", "Streams with entries not in S3.", lambda: float(store.streams_in_memory)
    )
    metrics.gauge("loki_ingester_memory_chunks", "Chunks in memory.", lambda: float(store.chunks_in_memory))
    metrics.gauge("loki_ingester_flush_queue_length", "Chunks on their way to S3.", lambda: float(store.flush_queue))
    metrics.counter("loki_ingester_chunks_flushed_total", "Chunks brought to S3.", {"reason": "max_age"})
    metrics.counter("loki_ingester_chunks_flush_failures_total", "Flushes that failed.", {})
    metrics.counter("loki_ingester_chunk_stored_bytes_total", "Bytes stored in chunks.", {"tenant": tenant})
    metrics.histogram(
        "loki_ingester_chunk_age_seconds", "Age of chunks when stored.", (1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600)
    )
    metrics.gauge("loki_ingester_wal_replay_active", "Whether the write-ahead log is being read.", lambda: 0.0)
    metrics.gauge("loki_ingester_wal_replay_duration_seconds", "How long reading the write-ahead log took.")
    metrics.counter("loki_ingester_wal_recovered_entries_total", "Entries from the write-ahead log.", {})
    metrics.counter("loki_ingester_wal_corruptions_total", "Unreadable records in the write-ahead log.", {})
    metrics.gauge(
        "prometheus_tsdb_wal_storage_size_bytes", "Size of the write-ahead log.", lambda: float(wal.size_bytes)
    )
    metrics.histogram("loki_s3_request_duration_seconds", "Requests to S3.")
    metrics.histogram("loki_request_duration_seconds", "Requests to this server.")
