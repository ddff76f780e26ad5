"""Messages of Loki's push API and of Prometheus remote write 1.0, built from descriptors made here.

Only the fields that the embedded servers use are declared; others are kept as unknown fields. Text that need not be
valid UTF-8 (log lines) is declared as bytes, as the real servers do not check it either.
"""

from __future__ import annotations

from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_FIELD = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _FIELD.LABEL_OPTIONAL, _FIELD.LABEL_REPEATED

_MESSAGES: dict[str, tuple[tuple[int, str, int, int, str], ...]] = {
    "Timestamp": ((1, "seconds", _FIELD.TYPE_INT64, _ONE, ""), (2, "nanos", _FIELD.TYPE_INT32, _ONE, "")),
    "LabelPair": ((1, "name", _FIELD.TYPE_STRING, _ONE, ""), (2, "value", _FIELD.TYPE_STRING, _ONE, "")),
    "Entry": (
        (1, "timestamp", _FIELD.TYPE_MESSAGE, _ONE, "Timestamp"),
        (2, "line", _FIELD.TYPE_BYTES, _ONE, ""),
        (3, "structured_metadata", _FIELD.TYPE_MESSAGE, _MANY, "LabelPair"),
    ),
    "Stream": (
        (1, "labels", _FIELD.TYPE_STRING, _ONE, ""),
        (2, "entries", _FIELD.TYPE_MESSAGE, _MANY, "Entry"),
        (3, "hash", _FIELD.TYPE_UINT64, _ONE, ""),
    ),
    "PushRequest": ((1, "streams", _FIELD.TYPE_MESSAGE, _MANY, "Stream"),),
    "Sample": ((1, "value", _FIELD.TYPE_DOUBLE, _ONE, ""), (2, "timestamp", _FIELD.TYPE_INT64, _ONE, "")),
    "TimeSeries": (
        (1, "labels", _FIELD.TYPE_MESSAGE, _MANY, "LabelPair"),
        (2, "samples", _FIELD.TYPE_MESSAGE, _MANY, "Sample"),
    ),
    "WriteRequest": ((1, "timeseries", _FIELD.TYPE_MESSAGE, _MANY, "TimeSeries"),),
}


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="loadgen/lab.proto", package="loadgen.lab", syntax="proto3")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for number, name, kind, label, of in fields:
            field = message.field.add(name=name, number=number, type=kind, label=label)
            if of:
                field.type_name = f".loadgen.lab.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"loadgen.lab.{n}")) for n in _MESSAGES}


_CLASSES = _build()
PushRequest: Any = _CLASSES["PushRequest"]
WriteRequest: Any = _CLASSES["WriteRequest"]


class WireError(Exception):
    """A body that cannot be decoded; the text is what the real server answers."""


def unsnappy(body: bytes, max_bytes: int) -> bytes:
    """The content of a snappy block; raises WireError, also if it would be larger than ``max_bytes``."""
    size = shift = 0
    for byte in body[:5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if size > max_bytes:
        raise WireError(f"message decompressed size too large than max ({size} vs {max_bytes})")
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except Exception as error:
        # cramjam's own error and the panics of its Rust code have no common type that could be named here.
        raise WireError("snappy: corrupt input") from error


def snappy(data: bytes) -> bytes:
    """``data`` as a snappy block."""
    return bytes(cramjam.snappy.compress_raw(data))


def parse_push(data: bytes) -> Any:
    """A ``PushRequest`` from its bytes; raises WireError."""
    try:
        return PushRequest.FromString(data)
    except DecodeError as error:
        raise WireError("unexpected EOF") from error


def parse_write(data: bytes) -> Any:
    """A ``WriteRequest`` from its bytes; raises WireError."""
    try:
        return WriteRequest.FromString(data)
    except DecodeError as error:
        raise WireError("unexpected EOF") from error
