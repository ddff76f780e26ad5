"""Tempo: what is true of it without asking it."""

from __future__ import annotations

from loadgen.model import Component
from loadgen.stores.store import Accepts, InGrafana, Received, Store

TEMPO = Store(
    component=Component.TEMPO,
    tenant="single-tenant",
    keepers=("ingester", "live-store"),
    beside=frozenset({"index.json.gz", "index.pb.zst"}),
    discards="tempo_discarded_spans_total",
    # Seen of Tempo 3.1, and so it stands in its modules/livestore/instance.go.
    counts_more="; it counts all spans of a trace once for each resource in it, so there may be fewer",
    accepts=Accepts(
        what="a trace by gRPC and by HTTP",
        address="OTLP is 4317 (gRPC) and 4318 (HTTP) of the service tempo",
        due_s=600.0,
        due="a block is written after max_block_duration (30m in Tempo 2 unless set)",
    ),
    datasource=InGrafana(
        plugin="tempo",
        links=("tracesToLogsV2", "tracesToMetrics"),
        address="http://tempo:3100, from chart 1.23.1 on http://tempo:3200",
        answers_s=5.0,
        title="Recent traces",
        panel="table",
        query={"query": "{}", "queryType": "traceql", "limit": 20, "tableType": "traces"},
    ),
    received=Received(
        items="tempo_distributor_spans_received_total", plain_bytes="tempo_distributor_bytes_received_total"
    ),
)
