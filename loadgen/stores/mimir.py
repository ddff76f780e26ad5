"""Mimir: what is true of it without asking it."""

from __future__ import annotations

from loadgen.model import Component
from loadgen.stores.store import Accepts, InGrafana, Received, Store

MIMIR = Store(
    component=Component.MIMIR,
    tenant="anonymous",
    other_tenant="fake",  # Cortex
    beside=frozenset({"bucket-index.json.gz", "markers"}),
    promised_s=7 * 86_400.0,
    # Its creation_grace_period is 10 min unless set; its head takes what is an hour behind the tenant's newest.
    ahead_s=600.0,
    behind_s=3_600.0,
    discards="cortex_discarded_samples_total",
    accepts=Accepts(
        what="a sample",
        address="the way in is mimir-nginx:80 (mimir-gateway:80 from chart 6 on), path /api/v1/push",
        due_s=14_400.0,
        due="a block is written 2 to 3.5 h after its first sample unless the ingesters are asked to flush",
    ),
    datasource=InGrafana(
        plugin="prometheus",
        links=(),
        address="http://mimir-nginx/prometheus (port 80)",
        answers_s=3.0,
        title="Active series",
        panel="timeseries",
        query={
            "expr": 'count({__name__=~".+"})',
            "range": True,
            "instant": False,
            "format": "time_series",
            "intervalMs": 15_000,
            "maxDataPoints": 241,
        },
    ),
    received=Received(
        items="cortex_distributor_received_samples_total",
        held="cortex_ingester_memory_series",
        copies="cortex_distributor_replication_factor",
        what="series",
        sent="prometheus_remote_storage_samples_total",
        sent_held="prometheus_tsdb_head_series",
    ),
)
