"""Slow and independent decoders: the official protobuf messages, python-snappy, and a reader of snappy's own
elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import snappy
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.exporter.prometheus_remote_write.gen.remote_pb2 import WriteRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "logproto"


def _push_request_class() -> Any:
    """Loki's PushRequest from its definition (``pkg/push/push.proto``)."""
    file = descriptor_pb2.FileDescriptorProto(name="push.proto", package=_PACKAGE, syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, str]) -> None:
        described = file.message_type.add(name=name)
        for field, number, kind, of in fields:
            repeated = of.endswith("*")
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            added = described.field.add(name=field, number=number, type=kind, label=label)
            if of.rstrip("*"):
                added.type_name = f".{_PACKAGE}.{of.rstrip('*')}"

    message("Timestamp", ("seconds", 1, _FIELD.TYPE_INT64, ""), ("nanos", 2, _FIELD.TYPE_INT32, ""))
    message("LabelPair", ("name", 1, _FIELD.TYPE_STRING, ""), ("value", 2, _FIELD.TYPE_STRING, ""))
    message(
        "Entry",
        ("timestamp", 1, _FIELD.TYPE_MESSAGE, "Timestamp"),
        ("line", 2, _FIELD.TYPE_STRING, ""),
        ("structuredMetadata", 3, _FIELD.TYPE_MESSAGE, "LabelPair*"),
    )
    message(
        "Stream",
        ("labels", 1, _FIELD.TYPE_STRING, ""),
        ("entries", 2, _FIELD.TYPE_MESSAGE, "Entry*"),
        ("hash", 3, _FIELD.TYPE_UINT64, ""),
    )
    message("PushRequest", ("streams", 1, _FIELD.TYPE_MESSAGE, "Stream*"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.PushRequest"))


PushRequest = _push_request_class()


def push_request(wire: bytes | memoryview) -> Any:
    return PushRequest.FromString(snappy.decompress(bytes(wire)))


def write_request(wire: bytes | memoryview) -> Any:
    return WriteRequest.FromString(snappy.decompress(bytes(wire)))


def trace_request(wire: bytes | memoryview) -> Any:
    return ExportTraceServiceRequest.FromString(bytes(wire))


@dataclass(frozen=True)
class Element:
    """A literal (offset 0) or a copy of ``size`` bytes to ``at`` in the plain bytes; ``data_at`` is in the block."""

    at: int
    size: int
    offset: int
    data_at: int


def elements(block: bytes) -> tuple[bytes, list[Element]]:
    """What a block unpacks to and what it is made of; asserts that it keeps to the format description."""
    size = shift = at = 0
    while True:
        byte = block[at]
        size |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    plain, found = bytearray(), []
    while at < len(block):
        tag = block[at]
        at += 1
        if tag & 3 == 0:
            length = tag >> 2
            if length >= 60:
                extra = length - 59
                length = int.from_bytes(block[at : at + extra], "little")
                at += extra
            length += 1
            found.append(Element(len(plain), length, 0, at))
            plain += block[at : at + length]
            assert at + length <= len(block)
            at += length
            continue
        if tag & 3 == 1:
            length, offset, width = (tag >> 2 & 7) + 4, tag >> 5 << 8 | block[at], 1
        else:
            width = 2 if tag & 3 == 2 else 4
            length, offset = (tag >> 2) + 1, int.from_bytes(block[at : at + width], "little")
        at += width
        assert 1 <= offset <= len(plain)
        found.append(Element(len(plain), length, offset, 0))
        for _ in range(length):
            plain.append(plain[-offset])
    assert len(plain) == size
    return bytes(plain), found
