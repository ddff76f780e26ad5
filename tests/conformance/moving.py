"""Recorded requests and answers, moved to another time and given names of their own.

Servers refuse data that is too old, and keep what earlier sessions sent. So all times move by one offset (whole
minutes, such that steps of queries fall as they did), and the run, the metric, the traced service and the traces get
fresh names: in text, in addresses, and inside of protobuf messages.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import cramjam
from captured import Answer, Case, Request

from loadgen.wire.proto import varint

RECORDED_S = 1_795_414_024
"""When the cases were recorded, in seconds since 1970."""

_TRACES = ("000102030405060708090a0b0c0d0e0f", "5b8efff798038103d269b633813fc60c")
# Seconds, milliseconds or nanoseconds of the weeks before the recording; only the seconds change.
_NUMBER = re.compile(r"(?<![\w.])(179[25]\d{6})(?=(?:\d{3}|\d{9})?(?!\w))")
TIME_IN_WORDS = re.compile(r"(20\d\d-\d\d-\d\d)([T ])(\d\d:\d\d:\d\d)")

Fields = dict[int, "Fields | Callable[[Any], Any]"]


@dataclass(slots=True)
class Mover:
    """Moves by ``offset_s`` and renames.

    Attributes:
        offset_s: whole minutes.
        names: file to old and new names.
        trace_ids: old to new, 16 bytes each.
        run: the new name of the run.
    """

    offset_s: int
    run: str
    trace_ids: dict[bytes, bytes]
    names: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def to_now(cls, now_s: float) -> Mover:
        """The newest time of the recording lies within the last minute."""
        run = "conf" + secrets.token_hex(4)
        # The first stays one with leading zeros: searches drop them.
        fresh = [_TRACES[0][:6] + secrets.token_hex(13), secrets.token_hex(16)]
        ids = {bytes.fromhex(old): bytes.fromhex(new) for old, new in zip(_TRACES, fresh, strict=True)}
        traced: list[tuple[str, str]] = [("cap1", run), ("checkout", f"checkout-{run}")]
        for old, new in ids.items():
            traced.append((old.hex(), new.hex()))
            traced.append((base64.b64encode(old).decode(), base64.b64encode(new).decode()))
            traced.append((old.hex().lstrip("0"), new.hex().lstrip("0")))
        names = {
            "loki": [("cap1", run)],
            "mimir-like-cortex": [("cap1", run), ("cap_requests_total", f"cap_{run}_requests_total")],
            "tempo": traced,
            "tempo-otlp-http": traced,
        }
        return cls(int(now_s - RECORDED_S) // 60 * 60, run, ids, names)

    def case(self, case: Case) -> Case:
        """The same case, moved."""
        asked = case.request
        body = self._message(case.file, asked) if isinstance(asked.body, bytes) else self.text(case.file, asked.body)
        request = Request(asked.method, self.text(case.file, asked.path), asked.headers, body)
        got = case.answer
        if got.headers.get("content-type") == "application/x-protobuf":
            return replace(case, request=request)
        moved = self.text(case.file, got.body.decode()).encode()
        return replace(case, request=request, answer=Answer(got.status, got.headers, moved))

    def text(self, file: str, text: str) -> str:
        """Text, addresses and JSON, moved and renamed."""
        for old, new in self.names[file]:
            text = text.replace(old, new)
        text = _NUMBER.sub(lambda match: str(self._second(int(match[1]))), text)
        return TIME_IN_WORDS.sub(self._words, text)

    def _words(self, match: re.Match[str]) -> str:
        second = seconds_of(match)
        if abs(second - RECORDED_S) > 90 * 86_400:
            return match[0]
        moment = datetime.fromtimestamp(self._second(second), UTC)
        return f"{moment:%Y-%m-%d}{match[2]}{moment:%H:%M:%S}"

    def _second(self, second: int) -> int:
        return second + self.offset_s

    def _message(self, file: str, request: Request) -> bytes:
        body = request.body
        assert isinstance(body, bytes)

        def named(value: bytes) -> bytes:
            for old, new in self.names[file]:
                value = value.replace(old.encode(), new.encode())
            return value

        def by(per_second: int) -> Callable[[int], int]:
            return lambda value: value + self.offset_s * per_second

        def nanos(value: bytes) -> bytes:
            return by(10**9)(int.from_bytes(value, "little")).to_bytes(8, "little")

        def trace_id(value: bytes) -> bytes:
            return self.trace_ids.get(value, value)

        span: Fields = {1: trace_id, 7: nanos, 8: nanos}
        layout: dict[str, Fields] = {
            "loki": {1: {1: named, 2: {1: {1: by(1)}, 2: named}}},
            "mimir-like-cortex": {1: {1: {2: named}, 2: {2: by(1_000)}}},
            "tempo-otlp-http": {1: {1: {1: {2: {1: named}}}, 2: {2: span}}},
        }
        packed = file != "tempo-otlp-http"
        try:
            plain = bytes(cramjam.snappy.decompress_raw(body)) if packed else body
            plain = rewritten(plain, layout[file])
        except (ValueError, IndexError, cramjam.DecompressionError):
            return body  # broken on purpose
        return bytes(cramjam.snappy.compress_raw(plain)) if packed else plain


def seconds_of(match: re.Match[str]) -> int:
    """What `TIME_IN_WORDS` found, in seconds since 1970."""
    return int(datetime.fromisoformat(f"{match[1]}T{match[3]}+00:00").timestamp())


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
