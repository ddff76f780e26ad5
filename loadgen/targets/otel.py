"""Traces through the real OpenTelemetry SDK and its exporters: the path that an instrumented program takes.

Much slower than pushing serialized bytes, so it is meant for a batch now and then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import grpc
import requests
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from loadgen.config import ConfigError, Target, TempoTarget
from loadgen.model import GRPC_STATUS, Outcome
from loadgen.targets.grpc_push import channel_credentials, split_address
from loadgen.targets.hiding import url_without_secrets
from loadgen.targets.http import login_headers
from loadgen.targets.push import OTLP_PATH, PushPolicy, PushResult

Transport = Literal["http", "grpc"]
_EXPORTER_LOGGER = "opentelemetry.exporter.otlp"
_REJECTING_GRPC = frozenset(("INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED"))


class SpanPlan(Protocol):
    """What one span must look like; `loadgen.signals.traces.SpanFacts` is one."""

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

    The exporter retries by its own rules and hides partial successes, so "accepted" here is what a program that uses
    the SDK would believe.

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
        self._exporter, self._where = _exporter(target.tempo, transport, policy.timeout_s)

    def push(self, traces: Sequence[Sequence[SpanPlan]], resource: Mapping[str, str]) -> PushResult:
        """Emit the traces in one export; ``resource`` are resource attributes beside ``service.name``."""
        with self._lock, _LogOfThisThread() as log:
            ended = self._make([span for trace in traces for span in trace], resource)
            sent_ns = self._clock()
            try:
                result = self._exporter.export(ended)
            except Exception as problem:  # noqa: BLE001 - an exporter's own mistake must not end the run
                log.say(f"{type(problem).__name__}: {problem}")
                result = SpanExportResult.FAILURE
            done_ns = self._clock()
        attempts = 1 + log.retries
        if result is SpanExportResult.SUCCESS:
            status = GRPC_STATUS if self._where.startswith("grpc") else 200
            return PushResult(Outcome.ACCEPTED, status, "", attempts, log.retries, sent_ns, sent_ns, done_ns)
        outcome = Outcome.REJECTED if log.rejected and not log.retries else Outcome.UNKNOWN
        detail = f"{self._where}: the SDK's exporter gave up: {log.last or 'no reason given'}"
        return PushResult(outcome, log.status, detail[:400], attempts, log.retries, sent_ns, sent_ns, done_ns)

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
            provider = TracerProvider(
                resource=Resource.create(dict(attributes)), id_generator=self._ids, shutdown_on_exit=False
            )
            provider.add_span_processor(self._ended)
            self._tracers[key] = provider.get_tracer("loadgen")
        return self._tracers[key]


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


class _LogOfThisThread(logging.Handler):
    """What the exporters log in this thread or greenlet, which is the only place where they say why they failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self._logger = logging.getLogger(_EXPORTER_LOGGER)
        self.retries = 0
        self.status = 0
        self.rejected = False
        self.last = ""

    def __enter__(self) -> _LogOfThisThread:
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self._thread:
            return
        self.say(record.getMessage())
        self.retries += self.last.startswith("Transient")
        for value in record.args if isinstance(record.args, Iterable) else ():
            if isinstance(value, grpc.StatusCode):
                self.status = GRPC_STATUS + value.value[0]
                self.rejected = value.name in _REJECTING_GRPC
            elif type(value) is int and 100 <= value < 600:
                self.status = value
                self.rejected = 400 <= value < 500 and value != 429

    def say(self, text: str) -> None:
        self.last = " ".join(text.split())[:300]


class _UnverifiedSession(requests.Session):
    """Does not verify certificates, whatever the exporter sets: the target says so by name."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        settings = super().merge_environment_settings(url, proxies, stream, verify, cert)
        settings["verify"] = False
        return settings


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


def _exporter(target: TempoTarget, transport: Transport, timeout_s: float) -> tuple[SpanExporter, str]:
    if transport == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        address, secure = split_address(target.otlp_grpc)
        metadata = tuple((name.lower(), value) for name, value in login_headers(target).items())
        credentials = channel_credentials(target) if secure else None
        grpc_exporter = GrpcExporter(
            endpoint=address, insecure=not secure, credentials=credentials, headers=metadata, timeout=timeout_s
        )
        return grpc_exporter, f"grpc://{address}"
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    if not target.otlp_http:
        raise ConfigError("[tempo] otlp_http: is empty; write it like http://tempo:4318")
    http_exporter = HttpExporter(
        endpoint=target.otlp_http.rstrip("/") + OTLP_PATH,
        certificate_file=target.ca_file or None,
        headers=login_headers(target),
        timeout=timeout_s,
        session=requests.Session() if target.verify_tls else _UnverifiedSession(),
    )
    return http_exporter, url_without_secrets(target.otlp_http)
