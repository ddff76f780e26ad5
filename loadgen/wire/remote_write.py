"""Prometheus remote write 1.0: a snappy block of ``prometheus.WriteRequest``.

Messages by number (prometheus/prometheus ``prompb/types.proto``): WriteRequest{timeseries=1}, TimeSeries{labels=1
{name=1, value=2}, samples=2 {value=1 double, timestamp=2 int64 ms}}.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.wire.proto import FIXED64, VARINT, bytes_field, key, message_field, text_field, varint
from loadgen.wire.snappy import lay_block
from loadgen.wire.template import Hole, Layout, Piece

_TIME_BYTES = 6
_TIME_LIMIT = 1 << 7 * _TIME_BYTES
_TIME_KEY = key(2, VARINT)

# Value and time of a sample lie side by side and are written at once.
SAMPLE = Hole("sample", 8 + len(_TIME_KEY) + _TIME_BYTES)
_SAMPLE = np.dtype([("value", "<f8"), ("key", "u1"), ("time", f"V{_TIME_BYTES}")])


def series_pieces(series: Iterable[Sequence[tuple[str, str]]], samples: int) -> list[Piece]:
    """The WriteRequest, uncompressed: for every series its labels, in the order given, and ``samples`` holes
    ``sample``.
    """
    sample = message_field(2, [key(1, FIXED64), SAMPLE])
    pieces: list[Piece] = []
    # Most labels are the same in many series.
    known: dict[tuple[str, str], bytes] = {}
    for labels in series:
        for label in labels:
            if label not in known:
                known[label] = bytes_field(1, text_field(1, label[0]) + text_field(2, label[1]))
        pieces += message_field(1, [b"".join(known[label] for label in labels), *sample * samples])
    return pieces


def lay(series: Iterable[Sequence[tuple[str, str]]], samples: int) -> Layout:
    """The compressed body; see `series_pieces`."""
    return lay_block(series_pieces(series, samples))


class SampleRows:
    """The content of all holes ``sample`` of a body of ``series`` × ``samples``, reused from push to push."""

    __slots__ = ("_rows",)

    def __init__(self, series: int, samples: int):
        self._rows = np.zeros((series, samples), _SAMPLE)
        self._rows["key"] = _TIME_KEY[0]

    def filled(self, values: NDArray[np.float64], times_ms: NDArray[np.int64]) -> NDArray[Any]:
        """The rows with ``values`` (series × samples) and the times that all series share.

        Raises:
            ValueError: if a time lies before 1970 or after the year 2109, which six bytes do not hold.
        """
        if len(times_ms) and not 0 <= int(times_ms.min()) <= int(times_ms.max()) < _TIME_LIMIT:
            raise ValueError(
                f"times from {int(times_ms.min())} to {int(times_ms.max())} ms: a sample's place holds "
                f"0 to {_TIME_LIMIT - 1} ms since 1970; check the beginning of the run and the interval"
            )
        encoded = b"".join(varint(int(time), _TIME_BYTES) for time in times_ms)
        self._rows["value"] = values
        self._rows["time"] = np.frombuffer(encoded, dtype=f"V{_TIME_BYTES}")
        return self._rows
