"""Tempo's OTLP receivers: HTTP ``POST /v1/traces`` (protobuf and JSON, gzip) and the gRPC TraceService.

Statuses, content types and bodies are those of the OpenTelemetry Collector's receiver that Tempo embeds: an error of
the data is a google.rpc.Status in the request's own encoding, an error of the request itself is plain text.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.types import Message, Receive, Scope, Send

from loadgen.lab.settings import Limits, SettingsError
from loadgen.lab.tempo.ingest import (
    INTERNAL,
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    RETRY_AFTER_S,
    UNAVAILABLE,
    IngestError,
    UnreadableError,
)
from loadgen.lab.tempo.store import TraceStore

GRPC_MAX_BYTES = 16 * 1024 * 1024
METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# An empty partial_success, which the receiver writes out.
OK_BODY = b"\x0a\x00"
OK_JSON = b'{"partialSuccess":{}}'

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_HTTP = {INVALID_ARGUMENT: 400, RESOURCE_EXHAUSTED: 429, UNAVAILABLE: 503, INTERNAL: 500}
_GRPC = {
    INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    INTERNAL: grpc.StatusCode.INTERNAL,
}


class OtlpHttp:
    """The ASGI application of the HTTP receiver."""

    def __init__(self, store: TraceStore, limits: Limits, executor: ThreadPoolExecutor) -> None:
        self._store = store
        self._max_body_bytes = limits.max_body_bytes
        self._executor = executor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] != "/v1/traces":
            await _answer(send, 404, "text/plain; charset=utf-8", b"404 page not found\n")
        elif scope["method"] != "POST":
            await _answer(send, 405, "text/plain", b"405 method not allowed, supported: [POST]")
        else:
            await self._export(scope, receive, send)

    async def _export(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        content_type = headers.get(b"content-type", "").split(";")[0].strip().lower()
        if content_type not in (_PROTOBUF, _JSON):
            text = b"415 unsupported media type, supported: [application/json, application/x-protobuf]"
            await _answer(send, 415, "text/plain", text)
            return
        raw = await self._body(receive)
        if raw is None:
            await _answer(
                send, 400, content_type, _status_body(INVALID_ARGUMENT, "http: request body too large", content_type)
            )
            return
        encoding = headers.get(b"content-encoding", "").strip().lower()
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._executor, self._ingest, raw, encoding, content_type)
        except _UnknownEncoding as error:
            await _answer(send, 400, "text/plain; charset=utf-8", f"{error}\n".encode())
        except IngestError as error:
            extra = [(b"retry-after", str(RETRY_AFTER_S).encode())] if error.code == RESOURCE_EXHAUSTED else []
            body = _status_body(error.code, str(error), content_type)
            await _answer(send, _HTTP[error.code], content_type, body, extra)
        else:
            await _answer(send, 200, content_type, OK_BODY if content_type == _PROTOBUF else OK_JSON)

    async def _body(self, receive: Receive) -> bytes | None:
        """The body, None if it is too large."""
        parts: list[bytes] = []
        size = 0
        while True:
            message: Message = await receive()
            if message["type"] != "http.request":
                return b"".join(parts)
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_body_bytes:
                return None
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    def _ingest(self, raw: bytes, encoding: str, content_type: str) -> None:
        data = _decompressed(raw, encoding, self._max_body_bytes)
        self._store.ingest(data if content_type == _PROTOBUF else _json_to_protobuf(data))


class _UnknownEncoding(Exception):
    """A Content-Encoding that the receiver does not know."""


def grpc_server(store: TraceStore, host: str, port: int, executor: ThreadPoolExecutor) -> tuple[grpc.Server, int]:
    """The gRPC receiver, not started yet, and its port. Raises SettingsError if the port is taken."""

    def export(data: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            store.ingest(data)
        except IngestError as error:
            _abort(context, error)
        return OK_BODY

    server = grpc.server(
        executor,
        options=[("grpc.max_receive_message_length", GRPC_MAX_BYTES), ("grpc.so_reuseport", 0)],
    )
    service, _, method = METHOD[1:].rpartition("/")
    # Bytes in, bytes out: the store decodes, and the answer is always the same.
    handlers = {method: grpc.unary_unary_rpc_method_handler(export)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise SettingsError(f"{host}:{port}: cannot listen ({error}); choose a free port or stop who has it") from error
    return server, bound


def _abort(context: grpc.ServicerContext, error: IngestError) -> None:
    if error.code == RESOURCE_EXHAUSTED:
        status = _status(error.code, str(error))
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    if isinstance(error, UnreadableError):
        context.abort(grpc.StatusCode.INTERNAL, f"grpc: error unmarshalling request: {error}")
    context.abort(_GRPC[error.code], str(error))


async def _answer(
    send: Send, status: int, content_type: str, body: bytes, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _status(code: int, text: str) -> Status:
    """A status; one for what may be tried again says when."""
    status = Status(code=code, message=text)
    if code == RESOURCE_EXHAUSTED:
        status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=RETRY_AFTER_S)))
    return status


def _status_body(code: int, text: str, content_type: str) -> bytes:
    if content_type != _JSON:
        return bytes(_status(code, text).SerializeToString())
    content: dict[str, object] = {"code": code, "message": text}
    if code == RESOURCE_EXHAUSTED:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        content["details"] = [{"@type": kind, "retryDelay": f"{RETRY_AFTER_S}s"}]
    return json.dumps(content, separators=(",", ":")).encode()


def _decompressed(raw: bytes, encoding: str, bound_bytes: int) -> bytes:
    if encoding in ("", "identity"):
        return raw
    bits = {"gzip": 31, "zlib": 15, "deflate": 15}.get(encoding)
    if bits is None:
        raise _UnknownEncoding(f'unsupported "Content-Encoding": {encoding}')
    try:
        decompressor = zlib.decompressobj(bits)
        data = decompressor.decompress(raw, bound_bytes + 1)
    except zlib.error as error:
        raise IngestError(INVALID_ARGUMENT, f"{encoding}: invalid data: {error}") from None
    if len(data) > bound_bytes:
        raise IngestError(INVALID_ARGUMENT, "http: request body too large")
    if not decompressor.eof:
        raise IngestError(INVALID_ARGUMENT, "unexpected EOF")
    return data


def _json_to_protobuf(data: bytes) -> bytes:
    """OTLP's JSON writes ids in hex where protobuf's own JSON mapping wants base64."""
    try:
        document = json.loads(data)
        _ids_to_base64(document)
        request = json_format.ParseDict(document, ExportTraceServiceRequest(), ignore_unknown_fields=True)
        return request.SerializeToString()
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, json_format.Error) as error:
        raise IngestError(INVALID_ARGUMENT, f"cannot parse the JSON: {error}"[:300]) from None


def _ids_to_base64(document: Any) -> None:
    for resource in document.get("resourceSpans") or ():
        for part in resource.get("scopeSpans") or ():
            for span in part.get("spans") or ():
                for holder in (span, *(span.get("links") or ())):
                    # The real decoder of JSON passes them over.
                    holder.pop("flags", None)
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if key in holder:
                            holder[key] = b64encode(bytes.fromhex(holder[key])).decode()
