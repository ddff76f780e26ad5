"""Numbers and times as text of a constant width, for whole batches at once.

Every function returns an array of fixed-width byte items (numpy ``V`` types), which a template writes into its holes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.kinds.hashing import Words
from loadgen.model import NS

Texts = NDArray[Any]

SEQ_DIGITS = 10
SEQ_LIMIT = 10**SEQ_DIGITS
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _table(texts: list[str], dtype: str) -> Texts:
    return np.frombuffer("".join(texts).encode(), dtype=dtype)


def _durations() -> list[int]:
    """2,048 durations in µs, evenly on a logarithmic scale from 0.5 ms to under 1 s; integer arithmetic only."""
    durations, scaled = [], 500 << 16
    for _ in range(2048):
        durations.append(scaled >> 16)
        scaled += scaled // 271
    return durations


_TWO = _table([f"{n:02d}" for n in range(100)], "<u2")
_HIGH = _table([f"{100 + n}" for n in range(512)], "V3")
_LOW = _table([f"{n * 1000 // 1024:03d}" for n in range(1024)], "V3")
_FOUR = _table([f"{n:04d}" for n in range(10_000)], "<u4")
_SIZES = _table([f"{1000 + n}" for n in range(8192)], "V4")
_HEX = _table([f"{n & 255:02x}{n >> 8:02x}" for n in range(1 << 16)], "<u4")
_MILLIS = _table([f"{us / 1000:.4f}"[:5] for us in _durations()], "V5")
_SECONDS = _table([f"0.{us // 1000:03d}" for us in _durations()], "V5")

_SEQ = np.dtype([("high", "<u4"), ("middle", "<u4"), ("low", "<u2")])
_SIX = np.dtype([("high", "V3"), ("low", "V3")])


def sequence(first: int, count: int) -> Texts:
    """``first``, ``first + 1``, … as ten digits each. Raises ValueError beyond ten digits."""
    if first < 0 or first + count > SEQ_LIMIT:
        raise ValueError(f"sequence numbers {first}…{first + count - 1} do not fit into {SEQ_DIGITS} digits")
    numbers = np.arange(first, first + count, dtype=np.int64)
    out = np.empty(count, _SEQ)
    hundreds = numbers // 100
    high = hundreds // 10_000
    out["low"] = _TWO.take(numbers - hundreds * 100)
    out["middle"] = _FOUR.take(hundreds - high * 10_000)
    out["high"] = _FOUR.take(high)
    return out.view(f"V{SEQ_DIGITS}")


def hexadecimal(ids: NDArray[np.uint8]) -> Texts:
    """Rows of an even number of bytes as lower-case hex."""
    rows, width = ids.shape
    pairs = np.ascontiguousarray(ids).reshape(-1).view("<u2")
    return _HEX.take(pairs).view(f"V{2 * width}").reshape(rows)


def _bits(words: Words, lowest: int, count: int) -> NDArray[np.int64]:
    shifted = words >> np.uint64(lowest)
    shifted &= np.uint64((1 << count) - 1)
    return shifted.view(np.int64)


def millis(words: Words) -> Texts:
    """A duration in ms as five characters, e.g. ``12.41``, by each word's low eleven bits."""
    return _MILLIS.take(_bits(words, 0, 11))


def seconds(words: Words) -> Texts:
    """A duration in s as five characters, e.g. ``0.012``, by each word's low eleven bits."""
    return _SECONDS.take(_bits(words, 0, 11))


def six_digits(words: Words) -> Texts:
    """A number from 100000 to 611999 by each word's bits 11 to 29."""
    out = np.empty(len(words), _SIX)
    out["high"] = _HIGH.take(_bits(words, 11, 9))
    out["low"] = _LOW.take(_bits(words, 20, 10))
    return out.view("V6")


def four_digits(words: Words) -> Texts:
    """A number from 1000 to 9191 by each word's bits 11 to 23."""
    return _SIZES.take(_bits(words, 11, 13))


def clock(times_ns: NDArray[np.int64]) -> Texts:
    """Ascending times as web servers log them, UTC, whole seconds: ``23/Nov/2026:08:20:25``."""
    return _per_second(times_ns, _clock, 20)


def _clock(second: int) -> str:
    t = dt.datetime.fromtimestamp(second, dt.UTC)
    return f"{t.day:02d}/{MONTHS[t.month - 1]}/{t.year:04d}:{t.hour:02d}:{t.minute:02d}:{t.second:02d}"


def _per_second(times_ns: NDArray[np.int64], write: Callable[[int], str], width: int) -> Texts:
    whole = times_ns // NS
    begins = np.flatnonzero(np.diff(whole, prepend=whole[:1] - 1))
    texts = np.frombuffer("".join(write(int(second)) for second in whole[begins]).encode(), dtype=f"V{width}")
    return texts.repeat(np.diff(begins, append=len(whole)))
