"""OTLP for traces, as serialized protobuf: by HTTP and by gRPC."""

from __future__ import annotations

from loadgen.config import Target
from loadgen.kinds.traces.kind import TRACES
from loadgen.push.grpc import GrpcPusher
from loadgen.push.http import HttpPusher, joined
from loadgen.push.ways.way import Pushing, Way, probed_by

HEADERS = {"Content-Type": "application/x-protobuf"}
PATH = "/v1/traces"


def _by_http(target: Target, pushing: Pushing) -> HttpPusher:
    return HttpPusher(joined(target.tempo.otlp_http, PATH), target.tempo, HEADERS, *pushing.arguments, otlp=True)


def _by_grpc(target: Target, pushing: Pushing) -> GrpcPusher:
    return GrpcPusher(target.tempo.otlp_grpc, target.tempo, *pushing.arguments)


OTLP_HTTP = Way("OTLP/HTTP", "http", TRACES.signal, TRACES.store, "otlp_http", _by_http, probed_by(_by_http, b""))
OTLP_GRPC = Way(
    "OTLP/gRPC",
    "grpc",
    TRACES.signal,
    TRACES.store,
    "otlp_grpc",
    _by_grpc,
    probed_by(_by_grpc, b""),
    share=lambda profile: profile.traces.grpc_share,
)
