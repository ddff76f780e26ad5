"""Loki: what is true of it without asking it."""

from __future__ import annotations

from loadgen.model import Component
from loadgen.stores.store import Accepts, InGrafana, Received, Store

LOKI = Store(
    component=Component.LOKI,
    tenant="fake",
    keepers=("write", "single-binary", "ingester"),
    promised_s=86_400.0,
    # Its creation_grace_period is 10 min and reject_old_samples_max_age a week unless they are set.
    ahead_s=600.0,
    behind_s=7 * 86_400.0,
    discards="loki_discarded_samples_total",
    accepts=Accepts(
        what="a log line",
        address="Loki's gateway listens on port 80 (loki-gateway:80), not on 3100",
        due_s=300.0,
        due="a chunk is written when it is idle or old (chunk_idle_period 30m, max_chunk_age 2h unless set)",
    ),
    datasource=InGrafana(
        plugin="loki",
        links=("derivedFields",),
        address="http://loki-gateway (port 80)",
        answers_s=3.0,
        title="Log lines",
        panel="logs",
        query={"expr": '{job=~".+"}', "queryType": "range", "maxLines": 100, "direction": "backward"},
    ),
    received=Received(
        items="loki_distributor_lines_received_total",
        plain_bytes="loki_distributor_bytes_received_total",
        held="loki_ingester_memory_streams",
        copies="loki_distributor_replication_factor",
        what="streams",
    ),
)
