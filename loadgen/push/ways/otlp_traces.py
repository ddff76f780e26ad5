"""OTLP for traces, as serialized protobuf: by HTTP and by gRPC."""

from __future__ import annotations

from loadgen.config import Target
from loadgen.kinds.traces.kind import TRACES
from loadgen.push.grpc import GrpcPusher
from loadgen.push.http import HttpPusher, joined
from loadgen.push.retry import PushPolicy
from loadgen.push.ways.way import Pushing, Way

HEADERS = {"Content-Type": "application/x-protobuf"}
PATH = "/v1/traces"


def _by_http(target: Target, pushing: Pushing) -> HttpPusher:
    return HttpPusher(joined(target.tempo.otlp_http, PATH), target.tempo, HEADERS, *pushing.arguments, otlp=True)


def _by_grpc(target: Target, pushing: Pushing) -> GrpcPusher:
    return GrpcPusher(target.tempo.otlp_grpc, target.tempo, *pushing.arguments)


def _probe_http(target: Target, timeout_s: float) -> str:
    pusher = _by_http(target, Pushing(PushPolicy(timeout_s, 0.0)))
    try:
        return pusher.push(b"").detail
    finally:
        pusher.close()


def _probe_grpc(target: Target, timeout_s: float) -> str:
    pusher = _by_grpc(target, Pushing(PushPolicy(timeout_s, 0.0)))
    try:
        return pusher.push(b"").detail
    finally:
        pusher.close()


OTLP_HTTP = Way("OTLP/HTTP", "http", TRACES.signal, TRACES.store, "otlp_http", _by_http, _probe_http)
OTLP_GRPC = Way(
    "OTLP/gRPC",
    "grpc",
    TRACES.signal,
    TRACES.store,
    "otlp_grpc",
    _by_grpc,
    _probe_grpc,
    share=lambda profile: profile.traces.grpc_share,
)
