"""Traces through the real OpenTelemetry SDK and its exporters: the path that an instrumented program takes.

Much slower than pushing serialized bytes, so it is meant for a batch now and then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, cast

import grpc

from loadgen.clock import Clock
from loadgen.config import ConfigError, Target, TempoTarget
from loadgen.model import Batch, Body, Outcome
from loadgen.plan import Plan
from loadgen.push.grpc import channel_way, grpc_metadata, split_address
from loadgen.push.http import joined
from loadgen.push.retry import PushPolicy, PushResult
from loadgen.push.sdk_answers import Answers
from loadgen.push.sdk_environment import clean_environment
from loadgen.push.sdk_session import session_for
from loadgen.push.ways.otlp_traces import PATH
from loadgen.targets.hiding import hiding_of, url_without_secrets
from loadgen.targets.http import login_headers

with clean_environment():  # some variables are read when a module is imported
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        SpanKind,
        Status,
        StatusCode,
        TraceFlags,
        set_span_in_context,
    )

Transport = Literal["http", "grpc"]
_NO_LIMITS = SpanLimits(*[SpanLimits.UNSET] * 8)
"""All that is planned is sent, whatever number of attributes that is and however long they are."""


class SpanPlan(Protocol):
    """What one span must look like; `loadgen.kinds.traces.source.SpanFacts` is one."""

    @property
    def trace_id(self) -> bytes:
        """16 bytes."""

    @property
    def span_id(self) -> bytes:
        """8 bytes."""

    @property
    def parent_id(self) -> bytes:
        """8 bytes; empty for the root."""

    @property
    def service(self) -> str:
        """``service.name`` of the resource."""

    @property
    def name(self) -> str:
        """Name of the span."""

    @property
    def kind(self) -> int:
        """Kind as OTLP numbers it: 1 internal, 2 server, 3 client, 4 producer, 5 consumer."""

    @property
    def start_ns(self) -> int:
        """Start, epoch nanoseconds."""

    @property
    def end_ns(self) -> int:
        """End, epoch nanoseconds."""

    @property
    def status(self) -> int:
        """Status as OTLP numbers it: 0 unset, 1 ok, 2 error."""

    @property
    def attributes(self) -> tuple[tuple[str, str | int], ...]:
        """Span attributes."""


class SdkProbe:
    """Emits planned spans through the SDK and one OTLP exporter. One push at a time; others wait.

    The exporter retries by its own rules and hides partial successes; what the server answered is taken from its
    session or channel. No ``OTEL_*`` variable has a say: sampler, limits and resource are set here, and the rest is
    read while there are none.

    Args:
        target: the whole target.
        transport: ``http`` or ``grpc``.
        policy: its ``timeout_s`` limits one export with all the exporter's own retries; the rest is not used.
        clock: epoch nanoseconds.
    """

    def __init__(
        self,
        target: Target,
        transport: Transport,
        policy: PushPolicy,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._clock = clock
        self._ids = _PlannedIds()
        self._ended = _Collector()
        self._tracers: dict[tuple[tuple[str, str], ...], Any] = {}
        self._lock = threading.Lock()
        with clean_environment():
            self._exporter, self._answers = _exporter(target.tempo, transport, policy.timeout_s, clock)

    def push(self, traces: Sequence[Sequence[SpanPlan]], resource: Mapping[str, str]) -> PushResult:
        """Emit the traces in one export; ``resource`` are resource attributes beside ``service.name``.

        Nothing is sent, and the push counts as dropped by loadgen, when the SDK did not make the planned spans.
        """
        with self._lock:
            planned = [span for trace in traces for span in trace]
            ended = self._make(planned, resource)
            sent_ns = self._clock()
            if len(ended) != len(planned):
                text = f"the OpenTelemetry SDK made {len(ended)} of {len(planned)} planned spans; nothing was sent"
                return PushResult(Outcome.DROPPED, 0, text, 0, 0, 0, 0, sent_ns)
            self._answers.begin()
            said = ""
            try:
                succeeded = self._exporter.export(ended) is SpanExportResult.SUCCESS
            except Exception as problem:  # noqa: BLE001 - an exporter's own mistake must not end the run
                succeeded, said = False, f"{type(problem).__name__}: {problem}"
            return self._answers.result(succeeded, said, sent_ns)

    def close(self) -> None:
        """Close the exporter's connection."""
        self._exporter.shutdown()

    def _make(self, spans: Sequence[SpanPlan], resource: Mapping[str, str]) -> list[ReadableSpan]:
        for plan in spans:
            self._ids.plan(plan.trace_id, plan.span_id)
            span = self._tracer({**resource, "service.name": plan.service}).start_span(
                plan.name,
                context=_context_of(plan),
                kind=SpanKind(plan.kind - 1),
                attributes=dict(plan.attributes),
                start_time=plan.start_ns,
            )
            if plan.status:
                span.set_status(Status(StatusCode(plan.status)))
            span.end(plan.end_ns)
        return self._ended.take()

    def _tracer(self, attributes: Mapping[str, str]) -> Any:
        key = tuple(sorted(attributes.items()))
        if key not in self._tracers:
            if len(self._tracers) >= 1000:
                self._tracers.clear()
            with clean_environment():
                provider = TracerProvider(
                    sampler=ALWAYS_ON,
                    resource=Resource(dict(attributes)),
                    span_limits=_NO_LIMITS,
                    id_generator=self._ids,
                    shutdown_on_exit=False,
                )
                provider.add_span_processor(self._ended)
                self._tracers[key] = provider.get_tracer("loadgen")
        return self._tracers[key]


class SdkSender:
    """Sends the planned traces of a run through the SDK, by HTTP where the target names an address for that.

    Raises:
        ConfigError: the target names no address for traces.
    """

    def __init__(self, plan: Plan, target: Target, policy: PushPolicy, clock: Clock) -> None:
        if not (target.tempo.otlp_http or target.tempo.otlp_grpc):
            raise ConfigError("target: [tempo] needs otlp_http or otlp_grpc")
        self._traces, self._run = plan.traces, plan.key.run
        self._probe = SdkProbe(target, "http" if target.tempo.otlp_http else "grpc", policy, clock)

    def push(self, batch: Batch, _: Body) -> PushResult:
        """Emit the traces of a batch; its bytes are the SDK's own."""
        resource = {"loadgen.run": self._run, "loadgen.user": f"{batch.user:05d}"}
        return self._probe.push(self._traces.spans(batch), resource)

    def close(self) -> None:
        """Close the exporter."""
        self._probe.close()


class _PlannedIds(IdGenerator):
    """Gives the ids of the next span as planned instead of random ones."""

    def __init__(self) -> None:
        self._trace_id = self._span_id = 0

    def plan(self, trace_id: bytes, span_id: bytes) -> None:
        self._trace_id = int.from_bytes(trace_id, "big")
        self._span_id = int.from_bytes(span_id, "big")

    def generate_span_id(self) -> int:
        return self._span_id

    def generate_trace_id(self) -> int:
        return self._trace_id


class _Collector(SpanProcessor):
    """Keeps ended spans until they are taken."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        """Nothing to do."""

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def shutdown(self) -> None:
        """Nothing to do."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        return True

    def take(self) -> list[ReadableSpan]:
        spans, self._spans = self._spans, []
        return spans


def _context_of(plan: SpanPlan) -> Context:
    if not plan.parent_id or not any(plan.parent_id):
        return Context()
    parent = SpanContext(
        trace_id=int.from_bytes(plan.trace_id, "big"),
        span_id=int.from_bytes(plan.parent_id, "big"),
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _exporter(
    target: TempoTarget, transport: Transport, timeout_s: float, clock: Clock
) -> tuple[SpanExporter, Answers]:
    if transport == "grpc":
        way = channel_way(target.otlp_grpc, target)
        answers = Answers(f"grpc://{split_address(target.otlp_grpc)[0]}{way.told}", clock, hiding_of(target))
        grpc_exporter = _watched_grpc_exporter(answers)(
            endpoint=way.target,
            insecure=way.credentials is None,
            credentials=way.credentials,
            headers=grpc_metadata(target),
            timeout=timeout_s,
            compression=grpc.Compression.NoCompression,
            channel_options=cast(Any, way.options),
        )
        return grpc_exporter, answers
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    if not target.otlp_http:
        raise ConfigError("[tempo] otlp_http: is empty; write it like http://tempo:4318")
    url = joined(target.otlp_http, PATH)
    session, told = session_for(url, target)
    answers = Answers(url_without_secrets(target.otlp_http) + told, clock, hiding_of(target))
    http_exporter = HttpExporter(
        endpoint=url,
        headers=login_headers(target),
        timeout=timeout_s,
        compression=Compression.NoCompression,
        session=answers.watch_session(session),
    )
    return http_exporter, answers


def _watched_grpc_exporter(answers: Answers) -> Any:
    """The exporter's class, whose channels are watched, also those that it opens again after a broken connection."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    class Watched(OTLPSpanExporter):
        def _initialize_channel_and_stub(self) -> None:
            super()._initialize_channel_and_stub()  # type: ignore[no-untyped-call]
            self._channel = answers.watch_channel(self._channel)
            self._client = self._stub(self._channel)

    return Watched
