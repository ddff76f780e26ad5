"""Samples that the embedded Mimir holds in memory, and their form in the write-ahead log."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadgen.lab.mimir.series import Sids

_MOMENT = struct.Struct("<QI")
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class SampleColumns:
    """Samples in the order of their arrival: series numbers, milliseconds since the epoch, values."""

    sids: Sids
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.sids)

    def only(self, mask: NDArray[np.bool_]) -> SampleColumns:
        """The samples where the mask is true."""
        return SampleColumns(self.sids[mask], self.times_ms[mask], self.values[mask])


def no_samples() -> SampleColumns:
    """No samples at all."""
    return SampleColumns(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float64))


def joined(pieces: Iterable[SampleColumns]) -> SampleColumns:
    """All samples of the pieces."""
    parts = [piece for piece in pieces if len(piece)]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return no_samples()
    return SampleColumns(
        np.concatenate([piece.sids for piece in parts]),
        np.concatenate([piece.times_ms for piece in parts]),
        np.concatenate([piece.values for piece in parts]),
    )


class GrowingColumns:
    """Samples that are appended; a view that was taken stays as it was, at no cost. Appending is not thread-safe."""

    def __init__(self, capacity: int = 8192) -> None:
        self._columns = self._empty(capacity)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, samples: SampleColumns) -> None:
        """Adds the samples behind the others."""
        end = self._size + len(samples)
        if end > len(self._columns.sids):
            bigger = self._empty(max(end, 2 * len(self._columns.sids)))
            for new, old in zip(self._arrays(bigger), self._arrays(self._columns), strict=True):
                new[: self._size] = old[: self._size]
            self._columns = bigger
        for column, added in zip(self._arrays(self._columns), self._arrays(samples), strict=True):
            column[self._size : end] = added
        self._size = end

    def view(self) -> SampleColumns:
        """The samples so far."""
        columns, size = self._columns, self._size
        return SampleColumns(columns.sids[:size], columns.times_ms[:size], columns.values[:size])

    @staticmethod
    def _empty(capacity: int) -> SampleColumns:
        return SampleColumns(
            np.empty(capacity, dtype=np.int32), np.empty(capacity, dtype=np.int64), np.empty(capacity, dtype=np.float64)
        )

    @staticmethod
    def _arrays(columns: SampleColumns) -> tuple[NDArray[np.generic], ...]:
        return columns.sids, columns.times_ms, columns.values


@dataclass(frozen=True, slots=True)
class Hidden:
    """Samples that no read shows before a moment (a defect on order)."""

    until_ns: int
    samples: SampleColumns


def encode_samples(samples: SampleColumns, until_ns: int = 0) -> bytes:
    """A record of the log: samples, hidden until a moment if there is one."""
    head = _MOMENT.pack(until_ns, len(samples))
    return head + samples.sids.tobytes() + samples.times_ms.tobytes() + samples.values.tobytes()


def decode_samples(record: bytes) -> Hidden:
    """The inverse of `encode_samples`; ``until_ns`` is 0 for samples that are not hidden.

    Raises:
        ValueError: the record is none of these.
    """
    if len(record) < _MOMENT.size:
        raise ValueError("the record is too short")
    until_ns, count = _MOMENT.unpack_from(record)
    if len(record) != _MOMENT.size + 20 * count:
        raise ValueError("the record's length does not fit its number of samples")
    at = _MOMENT.size
    return Hidden(
        until_ns,
        SampleColumns(
            np.frombuffer(record, dtype="<i4", count=count, offset=at).astype(np.int32),
            np.frombuffer(record, dtype="<i8", count=count, offset=at + 4 * count).astype(np.int64),
            np.frombuffer(record, dtype="<f8", count=count, offset=at + 12 * count).astype(np.float64),
        ),
    )


def encode_spellings(spellings: Iterable[bytes]) -> bytes:
    """Label bytes of several series, one behind the other, each with its length."""
    return b"".join(_LENGTH.pack(len(spelling)) + spelling for spelling in spellings)


def decode_spellings(data: bytes) -> list[bytes]:
    """The inverse of `encode_spellings`.

    Raises:
        ValueError: the lengths do not fit.
    """
    found: list[bytes] = []
    position = 0
    while position < len(data):
        if position + _LENGTH.size > len(data):
            raise ValueError("series are cut short")
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if position + length > len(data):
            raise ValueError("series are cut short")
        found.append(data[position : position + length])
        position += length
    return found


__all__ = [
    "GrowingColumns",
    "Hidden",
    "SampleColumns",
    "decode_samples",
    "decode_spellings",
    "encode_samples",
    "encode_spellings",
    "joined",
    "no_samples",
]
