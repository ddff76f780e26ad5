"""Prometheus remote write 1.0: snappy-compressed protobuf by HTTP."""

from __future__ import annotations

import snappy

from loadgen.config import Target
from loadgen.kinds.metrics.kind import METRICS
from loadgen.push.http import HttpPusher, joined
from loadgen.push.ways.way import Pushing, Way, probed_by

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
PATH = "/api/v1/push"


def _open(target: Target, pushing: Pushing) -> HttpPusher:
    return HttpPusher(joined(target.mimir.url, PATH), target.mimir, HEADERS, *pushing.arguments)


REMOTE_WRITE = Way("push", "http", METRICS.signal, METRICS.store, "url", _open, probed_by(_open, snappy.compress(b"")))
