"""Reads the body of a push: content types and encodings, JSON and protobuf, and what Loki says about bad ones."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadgen.lab.loki.chunks import Entries
from loadgen.lab.loki.labels import LabelError, Labels, format_labels, parse_labels, with_service_name
from loadgen.lab.loki.level import Metadata
from loadgen.lab.loki.store import StreamEntries
from loadgen.lab.protobuf import PushRequest, WireError, parse_push, unsnappy

_NS = 1_000_000_000
_MAX_STREAM_LABELS_BYTES = 65_536


class PushError(Exception):
    """A push that is refused as a whole, with status and text as Loki answers."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Push:
    """A decoded push: ``streams`` have Loki's own labels added; ``wire`` is the protobuf body if it came as one."""

    streams: list[StreamEntries]
    wire: bytes


def read_push(body: bytes, headers: Mapping[str, str], max_bytes: int) -> Push:
    """The entries of a request. ``headers`` has lower-case names. Raises PushError."""
    encoding = headers.get("content-encoding", "")
    if encoding in {"gzip", "deflate"}:
        body = _inflate(body, encoding, max_bytes)
    elif encoding not in {"", "snappy"}:
        raise PushError(400, f'Content-Encoding "{encoding}" not supported')
    content_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if not content_type:
        raise PushError(400, "mime: no media type")
    if content_type == "application/json":
        return Push(_from_json(body), b"")
    try:
        plain = unsnappy(body, max_bytes)
    except WireError as error:
        raise PushError(413 if "too large" in str(error) else 400, _too_large(str(error))) from error
    return Push(streams_of(plain), plain)


def _too_large(text: str) -> str:
    return f"request body too large: {text}" if "too large" in text else text


def streams_of(plain: bytes) -> list[StreamEntries]:
    """The entries of a protobuf ``PushRequest``; raises PushError."""
    try:
        message = parse_push(plain)
    except WireError as error:
        raise PushError(400, str(error)) from error
    streams: dict[Labels, Entries] = {}
    for stream in message.streams:
        times: list[int] = []
        lines: list[bytes] = []
        metadata: list[Metadata] = []
        for entry in stream.entries:
            timestamp = entry.timestamp
            times.append(timestamp.seconds * _NS + timestamp.nanos)
            lines.append(entry.line)
            own = entry.structured_metadata
            metadata.append(tuple((pair.name, pair.value) for pair in own) if own else ())
        _merge(streams, _labels(stream.labels), Entries(times, lines, metadata))
    return [StreamEntries(labels, entries) for labels, entries in streams.items()]


def to_wire(streams: Sequence[StreamEntries]) -> bytes:
    """The protobuf ``PushRequest`` of these entries."""
    message = PushRequest()
    for item in streams:
        stream = message.streams.add(labels=format_labels(item.labels))
        entries = item.entries
        for time_ns, line, metadata in zip(entries.times_ns, entries.lines, entries.metadata, strict=True):
            seconds, nanos = divmod(time_ns, _NS)
            entry = stream.entries.add(line=line)
            entry.timestamp.seconds = seconds
            entry.timestamp.nanos = nanos
            for name, value in metadata:
                entry.structured_metadata.add(name=name, value=value)
    data: bytes = message.SerializeToString()
    return data


def _labels(text: str) -> Labels:
    if len(text) > _MAX_STREAM_LABELS_BYTES:
        raise PushError(413, f"request body too large: stream labels size {len(text)} B exceeds limit of 66 kB")
    try:
        return with_service_name(parse_labels(text))
    except LabelError as error:
        raise PushError(400, str(error)) from error


def _merge(streams: dict[Labels, Entries], labels: Labels, entries: Entries) -> None:
    # One label set may come in several pieces; storing looks at a stream once per push.
    known = streams.get(labels)
    if known is None:
        streams[labels] = entries
    else:
        known.times_ns.extend(entries.times_ns)
        known.lines.extend(entries.lines)
        known.metadata.extend(entries.metadata)


def _inflate(body: bytes, encoding: str, max_bytes: int) -> bytes:
    try:
        inflater = zlib.decompressobj(31 if encoding == "gzip" else -15)
        data = inflater.decompress(body, max_bytes + 1)
        if len(data) > max_bytes:
            sizes = f"({len(data)} vs {max_bytes})"
            raise PushError(413, f"request body too large: message decompressed size too large than max {sizes}")
        if not inflater.eof:
            raise PushError(400, "unexpected EOF")
        return data
    except (zlib.error, gzip.BadGzipFile) as error:
        text = "gzip: invalid header" if encoding == "gzip" else "flate: corrupt input before offset 0"
        raise PushError(400, text) from error


def _from_json(body: bytes) -> list[StreamEntries]:
    try:
        data = json.loads(body)
    except UnicodeDecodeError as error:
        raise PushError(400, f"invalid UTF-8 in JSON at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise PushError(400, _json_error(body, error)) from error
    except (ValueError, RecursionError) as error:
        raise PushError(400, f"loghttp.PushRequest: {error}") from error
    if data is None:
        return []
    if not isinstance(data, dict):
        raise PushError(400, _wanted("loghttp.PushRequest", "ReadObject", "{", data))
    items = [] if data.get("streams") is None else data["streams"]
    if not isinstance(items, list):
        raise PushError(400, _wanted("loghttp.PushRequest.Streams", "decode slice", "[", items))
    streams: dict[Labels, Entries] = {}
    for item in items:
        if not isinstance(item, dict):
            raise PushError(400, _wanted("loghttp.LogProtoStream", "ReadObject", "{", item))
        _merge(streams, _json_labels(item.get("stream")), _json_entries(item.get("values")))
    return [StreamEntries(labels, entries) for labels, entries in streams.items()]


def _wanted(where: str, what: str, expected: str, found: object) -> str:
    return f"{where}: {what}: expect {expected}, but found {json.dumps(found)[:1]}"


def _json_error(body: bytes, error: json.JSONDecodeError) -> str:
    # Loki's JSON decoder shows the ten bytes around the error, and fifty.
    at = len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
    begin, outer = max(0, at - 10), max(0, at - 50)
    near = body[begin : at + 10].decode("utf-8", "replace")
    wide = body[outer : at + 50].decode("utf-8", "replace")
    cause = "Skip: do not know how to skip: 0" if at >= len(body) else error.msg
    return (
        f"loghttp.PushRequest.Streams: []loghttp.LogProtoStream: {cause}, error found in #{at - begin} byte of "
        f"...|{near}|..., bigger context ...|{wide}|..."
    )


def _json_labels(found: object) -> Labels:
    if found is None:
        found = {}
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise PushError(400, _wanted("loghttp.LogProtoStream: stream", "labels", "an object of strings", found))
    return _labels(format_labels(tuple(sorted(found.items()))))


def _json_entries(found: object) -> Entries:
    if not isinstance(found, list):
        found = [] if found is None else [found]
    entries = Entries([], [], [])
    for value in found:
        if not isinstance(value, list) or not 2 <= len(value) <= 3:
            raise PushError(400, _wanted("loghttp.LogProtoStream: values", "entry", "[timestamp, line]", value))
        time_ns, line, own = value[0], value[1], value[2] if len(value) == 3 else {}
        if not isinstance(line, str) or not _is_metadata(own):
            raise PushError(400, _wanted("loghttp.LogProtoStream: values", "entry", "strings", value))
        entries.times_ns.append(_json_time(time_ns))
        entries.lines.append(line.encode("utf-8", "replace"))
        entries.metadata.append(tuple(own.items()) if own else ())
    return entries


def _is_metadata(found: Any) -> bool:
    return found is None or (isinstance(found, dict) and all(isinstance(v, str) for v in found.values()))


def _json_time(found: object) -> int:
    text = found if isinstance(found, str) else json.dumps(found)
    if not isinstance(found, str) or not text.lstrip("-").isdecimal() or len(text) > 20:
        raise PushError(400, f'loghttp.LogProtoStream: strconv.ParseInt: parsing "{text[:40]}": invalid syntax')
    value = int(text)
    if not -(1 << 63) <= value < 1 << 63:
        raise PushError(400, f'loghttp.LogProtoStream: strconv.ParseInt: parsing "{text}": value out of range')
    return value
