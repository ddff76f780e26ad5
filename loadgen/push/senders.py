"""Who sends what how: from a target to the senders of the virtual users."""

from __future__ import annotations

from loadgen.clock import Clock
from loadgen.config import ConfigError, Target
from loadgen.model import Batch, Body, Signal
from loadgen.plan import Plan
from loadgen.push.grpc import GrpcPusher
from loadgen.push.http import HttpPusher, loki_pusher, mimir_pusher, tempo_grpc_pusher, tempo_http_pusher
from loadgen.push.retry import PushPolicy, PushResult
from loadgen.push.sdk import SdkProbe, Transport
from loadgen.push.stream import Sender


class Senders:
    """The connections of one process; users of a transport share its pool."""

    def __init__(self, plan: Plan, target: Target, clock: Clock) -> None:
        self._plan, self._target, self._clock = plan, target, clock
        self._policy = PushPolicy(timeout_s=plan.profile.run.timeout, retry_for_s=plan.profile.run.retry_for)
        self._open: dict[tuple[Signal, str], HttpPusher | GrpcPusher] = {}
        self._sdk: SdkProbe | None = None

    def of(self, signal: Signal, user: int) -> Sender:
        """The sender of a user: traces go by gRPC for the configured share of the users, spread evenly."""
        transport = "grpc" if signal is Signal.TRACES and self._by_grpc(user) else "http"
        key = (signal, transport)
        if key not in self._open:
            self._open[key] = self._pusher(signal, transport)
        pusher = self._open[key]
        return Sender(transport, self._plan.body, lambda _, body: pusher.push(body.wire))

    def _by_grpc(self, user: int) -> bool:
        tempo = self._target.tempo
        if not tempo.otlp_grpc or not tempo.otlp_http:
            return bool(tempo.otlp_grpc)
        share = self._plan.profile.traces.grpc_share
        return int((user + 1) * share) > int(user * share)

    def _pusher(self, signal: Signal, transport: str) -> HttpPusher | GrpcPusher:
        if signal is Signal.LOGS:
            return loki_pusher(self._target, self._policy, self._clock)
        if signal is Signal.METRICS:
            return mimir_pusher(self._target, self._policy, self._clock)
        if transport == "grpc":
            return tempo_grpc_pusher(self._target, self._policy, self._clock)
        return tempo_http_pusher(self._target, self._policy, self._clock)

    def sdk(self) -> Sender:
        """The sender that goes through the OpenTelemetry SDK and its own exporters."""
        if self._sdk is None:
            transport: Transport = "http" if self._target.tempo.otlp_http else "grpc"
            if not (self._target.tempo.otlp_http or self._target.tempo.otlp_grpc):
                raise ConfigError("target: [tempo] needs otlp_http or otlp_grpc")
            self._sdk = SdkProbe(self._target, transport, self._policy, self._clock)
        probe, traces, run = self._sdk, self._plan.traces, self._plan.key.run

        def push(batch: Batch, _: Body) -> PushResult:
            resource = {"loadgen.run": run, "loadgen.user": f"{batch.user:05d}"}
            return probe.push(traces.spans(batch), resource)

        return Sender("sdk", self._plan.body, push)

    def close(self) -> None:
        """Close all connections."""
        for pusher in self._open.values():
            pusher.close()
        if self._sdk is not None:
            self._sdk.close()
