"""Protobuf messages of requests, in which times are moved and names are changed, whatever they are packed in."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
from captured import Request

from loadgen.wire.proto import varint

Fields = dict[int, "Fields | Callable[[Any], Any]"]
Shift = Callable[[int], Callable[[int], int]]
Rename = Callable[[bytes], bytes]

PROTOBUF = ("application/x-protobuf", "application/octet-stream", "application/protobuf")
"""Content types of answers that are messages: a status, or what was partly taken."""


def layout_of(file: str, request: Request) -> str | None:
    """Which message a request of a file holds; None for one that is left as it is."""
    path = request.path.partition("?")[0]
    if path == "/otlp/v1/metrics":
        return "otlp metrics"
    if path == "/otlp/v1/logs":
        return "otlp logs"
    if path == "/v1/traces":
        return "otlp traces"
    if file.startswith("loki"):
        return "loki push" if path.endswith("/push") else None
    if path.endswith("/push"):
        return "remote write 2" if "write.v2" in request.headers.get("Content-Type", "") else "remote write"
    return None


def unpacked(request: Request) -> bytes:
    """The message of a request. Raises ValueError for one that is packed in another way than it says."""
    body = request.body
    assert isinstance(body, bytes)
    try:
        return bytes(_CODECS[_codec(request)][0](body))
    except (cramjam.DecompressionError, OSError, EOFError, KeyError) as error:
        raise ValueError(str(error)) from error


def packed(request: Request, message: bytes) -> bytes:
    """The message as the request had it packed."""
    return bytes(_CODECS[_codec(request)][1](message))


def _codec(request: Request) -> str:
    path, said = request.path.partition("?")[0], request.headers.get("Content-Encoding", "")
    if not path.endswith("/push"):
        body = request.body
        framed = isinstance(body, bytes) and body.startswith(b"\xff\x06\x00\x00sNaPpY")
        return "snappy framed" if framed else said
    return said if said == "gzip" else "snappy"


def _plain(content: bytes) -> bytes:
    return content


_CODECS: dict[str, tuple[Callable[[bytes], Any], Callable[[bytes], Any]]] = {
    "": (_plain, _plain),
    "identity": (_plain, _plain),
    "gzip": (gzip.decompress, gzip.compress),
    "zstd": (cramjam.zstd.decompress, cramjam.zstd.compress),
    "lz4": (cramjam.lz4.decompress, cramjam.lz4.compress),
    "snappy": (cramjam.snappy.decompress_raw, cramjam.snappy.compress_raw),
    "snappy framed": (cramjam.snappy.decompress, cramjam.snappy.compress),
}


def _nanos(by: Shift) -> Callable[[bytes], bytes]:
    return lambda value: by(10**9)(int.from_bytes(value, "little")).to_bytes(8, "little")


def _resource(named: Rename) -> Fields:
    return {1: {2: {1: named}}}


def _remote_write(by: Shift, named: Rename, _id: Rename) -> Fields:
    ms = by(1_000)
    series: Fields = {1: {2: named}, 2: {2: ms}, 3: {1: {2: named}, 3: ms}, 4: {15: ms}}
    return {1: series, 3: {2: named}}


def _remote_write_2(by: Shift, named: Rename, _id: Rename) -> Fields:
    ms = by(1_000)
    return {4: named, 5: {2: {2: ms, 3: ms}, 3: {15: ms}, 4: {3: ms}, 6: ms}}


def _loki_push(by: Shift, named: Rename, _id: Rename) -> Fields:
    return {1: {1: named, 2: {1: {1: by(1)}, 2: named}}}


def _traces(by: Shift, named: Rename, trace_id: Rename) -> Fields:
    span: Fields = {1: trace_id, 7: _nanos(by), 8: _nanos(by), 11: {1: _nanos(by)}}
    return {1: {1: _resource(named), 2: {2: span}}}


def _logs(by: Shift, named: Rename, _id: Rename) -> Fields:
    return {1: {1: _resource(named), 2: {2: {1: _nanos(by), 11: _nanos(by)}}}}


def _metrics(by: Shift, named: Rename, _id: Rename) -> Fields:
    nanos = _nanos(by)

    def points(exemplars: int) -> Fields:
        return {1: {2: nanos, 3: nanos, exemplars: {2: nanos}}}

    metric: Fields = {1: named, 5: points(5), 7: points(5), 9: points(8), 10: points(11), 11: {1: {2: nanos, 3: nanos}}}
    return {1: {1: _resource(named), 2: {2: metric}}}


MESSAGES: dict[str, Callable[[Shift, Rename, Rename], Fields]] = {
    "remote write": _remote_write,
    "remote write 2": _remote_write_2,
    "loki push": _loki_push,
    "otlp traces": _traces,
    "otlp logs": _logs,
    "otlp metrics": _metrics,
}


def rewritten(message: bytes, fields: Fields) -> bytes:
    """A protobuf message with these fields changed, by number, in messages inside of it too.

    Raises:
        ValueError, IndexError: it is no message.
    """
    out, at = bytearray(), 0
    while at < len(message):
        tag, at = _number(message, at)
        number, kind = tag >> 3, tag & 7
        out += varint(tag)
        change = fields.get(number)
        if kind == 0:
            value, at = _number(message, at)
            out += varint(change(value) if callable(change) else value)
            continue
        size = {1: 8, 5: 4}.get(kind, 0)
        if kind == 2:
            size, at = _number(message, at)
        elif size == 0:
            raise ValueError(f"wire type {kind}")
        part = message[at : at + size]
        at += size
        if len(part) < size:
            raise ValueError("it ends too early")
        if isinstance(change, dict):
            part = rewritten(part, change)
        elif change is not None:
            part = change(part)
        out += (varint(len(part)) if kind == 2 else b"") + part
    return bytes(out)


def _number(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message.

    Raises:
        ValueError, IndexError: it is no message.
    """
    at = 0
    while at < len(message):
        tag, at = _number(message, at)
        if tag & 7 == 0:
            value, at = _number(message, at)
            yield tag >> 3, value
        elif tag & 7 == 2:
            size, at = _number(message, at)
            if at + size > len(message):
                raise ValueError("it ends too early")
            yield tag >> 3, message[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {tag & 7}")
