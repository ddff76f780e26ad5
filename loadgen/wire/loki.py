"""Loki's push body: a snappy block of ``logproto.PushRequest`` with one stream.

Messages by number (grafana/loki ``pkg/push/push.proto``): PushRequest{streams=1}, Stream{labels=1, entries=2},
Entry{timestamp=1 {seconds=1, nanos=2}, line=2}.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.model import NS
from loadgen.wire.proto import VARINT, key, message_field, text_field, varints5
from loadgen.wire.snappy import lay_block
from loadgen.wire.template import Hole, Layout, Piece

_SECONDS_LIMIT = 1 << 35
_NANOS_KEY = key(2, VARINT)

# Both numbers are five bytes whatever their value, so that an entry's length never changes.
TIME = Hole("time", 5 + len(_NANOS_KEY) + 5)
_AFTER_SECONDS = np.uint64(_NANOS_KEY[0] << 40)
_STAMP = np.dtype([("low", "<u8"), ("middle", "<u2"), ("high", "u1")])


_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def quoted(text: str) -> str:
    """A label's value as Loki's selector syntax wants it: Go's quoting."""
    return f'"{text.translate(_ESCAPES)}"'


def label_text(labels: Iterable[tuple[str, str]]) -> str:
    """A stream's labels as a push has them: ``{a="x", b="y"}``, sorted by name."""
    return "{" + ", ".join(f"{name}={quoted(value)}" for name, value in sorted(labels)) + "}"


def stream_pieces(labels: str, lines: Iterable[Sequence[Piece]]) -> list[Piece]:
    """The PushRequest of one stream, uncompressed; every entry's time is a hole named ``time``."""
    content: list[Piece] = [text_field(1, labels)]
    stamp = message_field(1, [key(1, VARINT), TIME])
    for line in lines:
        content += message_field(2, [*stamp, *message_field(2, line)])
    return message_field(1, content)


def lay(labels: str, lines: Iterable[Sequence[Piece]]) -> Layout:
    """The compressed push body of one stream whose lines are given as pieces; see `stream_pieces`."""
    return lay_block(stream_pieces(labels, lines))


def stamps(times_ns: NDArray[np.int64]) -> NDArray[Any]:
    """Times as the holes named ``time`` want them.

    Raises:
        ValueError: if one lies before 1970 or after the year 3058, which five bytes do not hold.
    """
    seconds = times_ns // NS
    if len(times_ns) and not 0 <= int(seconds.min()) <= int(seconds.max()) < _SECONDS_LIMIT:
        raise ValueError(
            f"times from {int(times_ns.min())} to {int(times_ns.max())} ns: a Loki entry's place holds "
            f"0 to {_SECONDS_LIMIT} s since 1970; check the beginning of the run and the interval"
        )
    nanos = varints5((times_ns - seconds * NS).view(np.uint64))
    out = np.empty(len(times_ns), _STAMP)
    low = nanos << np.uint64(48)
    low |= _encoded_seconds(seconds)
    out["low"] = low
    nanos >>= np.uint64(16)
    out["middle"] = nanos
    nanos >>= np.uint64(16)
    out["high"] = nanos
    return out


def _encoded_seconds(seconds: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Seconds as varints, with the key of the nanoseconds after them."""
    # A batch spans few seconds, whatever the number of its lines: encode each of them once.
    first, last = (int(seconds.min()), int(seconds.max())) if len(seconds) else (0, 0)
    if last - first >= len(seconds):
        encoded: NDArray[np.uint64] = varints5(seconds.astype(np.uint64))
        return encoded | _AFTER_SECONDS
    table = varints5(np.arange(first, last + 1, dtype=np.uint64)) | _AFTER_SECONDS
    return table.take(seconds - first)
