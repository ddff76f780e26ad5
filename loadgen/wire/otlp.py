"""OTLP traces: an ``ExportTraceServiceRequest``, uncompressed, with one ResourceSpans per service.

Messages by number (open-telemetry/opentelemetry-proto ``trace/v1/trace.proto``):
ExportTraceServiceRequest{resource_spans=1}, ResourceSpans{resource=1 {attributes=1}, scope_spans=2 {scope=1 {name=1},
spans=2}}, Span{trace_id=1, span_id=2, parent_span_id=4, name=5, kind=6, start=7, end=8, attributes=9, status=15
{code=3}}, KeyValue{key=1, value=2 {string=1, int=3}}.

All traces of a body have the same shape, so that every field of a span recurs at a constant distance. The holes of
the span in ``slot`` j are named ``trace<j>``, ``span<j>``, ``parent<j>``, ``start<j>``, ``end<j>`` and, where the
shape has them, ``seq<j>``, ``http<j>`` and ``status<j>``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.wire.proto import (
    FIXED64,
    VARINT,
    bytes_field,
    hole_field,
    key,
    message_field,
    number_field,
    text_field,
    varint,
    varints5,
)
from loadgen.wire.template import Hole, Layout, Piece, lay_plain

SCOPE = "loadgen"
_SEQ_LIMIT = 1 << 35
_HTTP_STATUS_BYTES = 2


class Changing(Enum):
    """A number that is a hole: a sequence number, an HTTP status, or the code of a span's status."""

    SEQ = "seq"
    HTTP_STATUS = "http"
    STATUS = "status"


SEQ, HTTP_STATUS, STATUS = Changing.SEQ, Changing.HTTP_STATUS, Changing.STATUS
_WIDTHS = {SEQ: 5, HTTP_STATUS: _HTTP_STATUS_BYTES, STATUS: 1}

Attribute = tuple[str, str | int | Changing]


@dataclass(frozen=True, slots=True)
class SpanShape:
    """A span of every trace; ``slot`` names its holes, ``parent_slot`` is None for the root, ``status`` is a code."""

    name: str
    kind: int
    slot: int
    parent_slot: int | None
    attributes: tuple[Attribute, ...]
    status: int | Changing


@dataclass(frozen=True, slots=True)
class ServiceSpans:
    """What one service contributes: its resource, and its spans of each of ``traces`` traces."""

    resource: tuple[tuple[str, str], ...]
    spans: tuple[SpanShape, ...]
    traces: int


def _number(slot: int, value: int | Changing) -> list[Piece]:
    if isinstance(value, Changing):
        return [key(3, VARINT), Hole(f"{value.value}{slot}", _WIDTHS[value])]
    return [number_field(3, value)]


def _attribute(number: int, slot: int, name: str, value: str | int | Changing) -> list[Piece]:
    any_value = [text_field(1, value)] if isinstance(value, str) else _number(slot, value)
    return message_field(number, [text_field(1, name), *message_field(2, any_value)])


def _span(shape: SpanShape) -> list[Piece]:
    slot = shape.slot
    parent = [] if shape.parent_slot is None else hole_field(4, Hole(f"parent{slot}", 8))
    return message_field(
        2,
        [
            *hole_field(1, Hole(f"trace{slot}", 16)),
            *hole_field(2, Hole(f"span{slot}", 8)),
            *parent,
            text_field(5, shape.name),
            number_field(6, shape.kind),
            key(7, FIXED64),
            Hole(f"start{slot}", 8),
            key(8, FIXED64),
            Hole(f"end{slot}", 8),
            *(piece for name, value in shape.attributes for piece in _attribute(9, slot, name, value)),
            *message_field(15, _number(slot, shape.status)),
        ],
    )


def request_pieces(services: Iterable[ServiceSpans]) -> list[Piece]:
    """The request: for every service its spans, trace by trace."""
    pieces: list[Piece] = []
    for service in services:
        resource = [piece for name, value in service.resource for piece in _attribute(1, 0, name, value)]
        scope = bytes_field(1, text_field(1, SCOPE))
        spans = [piece for shape in service.spans for piece in _span(shape)] * service.traces
        pieces += message_field(1, [*message_field(1, resource), *message_field(2, [scope, *spans])])
    return pieces


def lay(services: Iterable[ServiceSpans]) -> Layout:
    """The request, laid out; see `request_pieces`."""
    return lay_plain(request_pieces(services))


def sequence(first: int, count: int) -> NDArray[Any]:
    """``first``, ``first + 1``, … as the holes ``seq<j>`` want them. Raises ValueError beyond 2^35."""
    if first < 0 or first + count > _SEQ_LIMIT:
        raise ValueError(f"sequence numbers {first}…{first + count - 1} do not fit into five bytes")
    words = varints5(np.arange(first, first + count, dtype=np.uint64))
    return words.view(np.uint8).reshape(count, 8)[:, :5].copy().view("V5").reshape(count)


def http_statuses(failed: NDArray[np.bool_], good: int, bad: int) -> NDArray[Any]:
    """HTTP statuses (128 to 16383) as the holes ``http<j>`` want them."""
    encoded = b"".join(varint(status, _HTTP_STATUS_BYTES) for status in (good, bad))
    pair = np.frombuffer(encoded, dtype=f"V{_HTTP_STATUS_BYTES}")
    return pair.take(failed.astype(np.intp))
