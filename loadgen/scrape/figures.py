"""Which figures of ``/metrics`` are kept, and what each of them tells of a component. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from loadgen.model import Component
from loadgen.scrape.discards import COUNTERS, LABEL


class Shape(StrEnum):
    """How the samples of a figure become one number."""

    COUNTER = "counter"
    """Its increase per second."""
    GAUGE = "gauge"
    """Its peak."""


@dataclass(frozen=True, slots=True)
class Source:
    """One way to a figure.

    Attributes:
        names: metrics that are added up, as far as they are there.
        only: a label and the value that it must have; empty if all series count.
    """

    names: tuple[str, ...]
    only: tuple[str, str] | tuple[()] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A field of the capacity search's ``Usage`` and where it is found.

    Attributes:
        component: whose.
        field: of ``Usage``; for a counter the field holds the increase per second.
        shape: counter or gauge.
        sources: the first one of which anything was scraped counts; all its series are added up.
        by: a label whose values are told apart; empty if they are added up.
    """

    component: str
    field: str
    shape: Shape
    sources: tuple[Source, ...]
    by: str = ""


STARTED = "process_start_time_seconds"
"""Tells one process from the next; the time of the server's own clock."""
NO_LIMIT_BYTES = 2.0**60
"""Go tells a limit of memory that nobody set as almost 2^63."""


def _gauge(component: str, field: str, *names: str) -> Figure:
    return Figure(component, field, Shape.GAUGE, tuple(Source((name,)) for name in names))


def _counter(component: str, field: str, *sources: Source) -> Figure:
    return Figure(component, field, Shape.COUNTER, sources)


def _process(component: str) -> tuple[Figure, ...]:
    return (
        _counter(component, "cores", Source(("process_cpu_seconds_total",))),
        _gauge(component, "memory_bytes", "process_resident_memory_bytes"),
        _gauge(component, "memory_limit_bytes", "loadgen_lab_memory_limit_bytes", "go_gc_gomemlimit_bytes"),
        _gauge(component, "goroutines", "go_goroutines"),
    )


def _discarded(component: Component) -> Figure:
    return Figure(component.value, "discarded", Shape.COUNTER, (Source((COUNTERS[component],)),), by=LABEL)


FIGURES: tuple[Figure, ...] = (
    *_process("loki"),
    _gauge("loki", "wal_bytes", "prometheus_tsdb_wal_storage_size_bytes"),
    _counter(
        "loki",
        "s3_requests_per_s",
        Source(("loki_s3_request_duration_seconds_count",)),
        Source(("loki_objstore_bucket_operations_total",)),
    ),
    # Chunks only: no metric tells how large the index is.
    _counter("loki", "s3_written_bytes_per_s", Source(("loki_ingester_chunk_stored_bytes_total",))),
    _counter("loki", "received_bytes_per_s", Source(("loki_distributor_bytes_received_total",))),
    _gauge("loki", "streams", "loki_ingester_memory_streams"),
    _gauge("loki", "chunks", "loki_ingester_memory_chunks"),
    _gauge("loki", "flush_queue", "loki_ingester_flush_queue_length"),
    _discarded(Component.LOKI),
    *_process("tempo"),
    # Neither Tempo nor Mimir tells how large its log is; the embedded ones do.
    _gauge("tempo", "wal_bytes", "loadgen_lab_wal_bytes"),
    _counter("tempo", "s3_requests_per_s", Source(("tempodb_backend_request_duration_seconds_count",))),
    _counter(
        "tempo",
        "s3_written_bytes_per_s",
        Source(("tempo_live_store_local_flush_size_bytes_sum", "tempodb_compaction_bytes_written_total")),
        Source(("tempo_ingester_flush_size_bytes_sum", "tempodb_compaction_bytes_written_total")),
    ),
    _counter("tempo", "received_bytes_per_s", Source(("tempo_distributor_bytes_received_total",))),
    # Traces in memory are to Tempo what streams are to Loki.
    _gauge("tempo", "streams", "tempo_live_store_live_traces", "tempo_ingester_live_traces"),
    _gauge("tempo", "flush_queue", "tempo_live_store_complete_queue_length", "tempo_ingester_flush_queue_length"),
    _discarded(Component.TEMPO),
    *_process("mimir"),
    _gauge("mimir", "wal_bytes", "loadgen_lab_wal_bytes"),
    _counter("mimir", "s3_requests_per_s", Source(("thanos_objstore_bucket_operations_total",))),
    _counter(
        "mimir",
        "s3_written_bytes_per_s",
        Source(("thanos_objstore_bucket_operation_transferred_bytes_sum",), ("operation", "upload")),
    ),
    _gauge("mimir", "series", "cortex_ingester_memory_series"),
    _gauge("mimir", "chunks", "cortex_ingester_tsdb_head_chunks", "cortex_ingester_memory_chunks"),
    _discarded(Component.MIMIR),
    *_process("grafana"),
)
"""Every figure of every component."""

_RECEIVED = (
    "loki_distributor_bytes_received_total",
    "loki_distributor_lines_received_total",
    "tempo_distributor_bytes_received_total",
    "tempo_distributor_spans_received_total",
    "cortex_distributor_received_samples_total",
)


def _kept() -> dict[str, tuple[str, ...]]:
    kept: dict[str, tuple[str, ...]] = dict.fromkeys((STARTED, *_RECEIVED), ())
    for figure in FIGURES:
        for source in figure.sources:
            labels = {figure.by, *source.only[:1]} - {""}
            for name in source.names:
                kept[name] = tuple(sorted({*kept.get(name, ()), *labels}))
    return kept


KEPT: dict[str, tuple[str, ...]] = _kept()
"""Every name that is kept, with the labels that are told apart; over all others is summed."""

_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"')


def labels_of(text: str) -> dict[str, str]:
    """The labels in ``reason="rate_limited",tenant="fake"``; values stay escaped as they are."""
    return dict(_PAIR.findall(text))
