"""Parses remote-write 1.0 requests (``prometheus.WriteRequest``) fast, with two caches.

The labels of a series come as the same bytes in every push of a sender, so they are decoded once: a request is parsed
into *slots* (one for each distinct spelling of a label set) with times and values. And a sender's next push usually has
the very bytes of its last one but for the samples: then the places of all samples are known, and are read at once.

Message layout by field number: ``WriteRequest{timeseries=1, metadata=3}``, ``TimeSeries{labels=1, samples=2,
exemplars=3, histograms=4}``, ``Label{name=1, value=2}``, ``Sample{value=1 double, timestamp=2 int64 ms}``,
``MetricMetadata{metric_family_name=2}``. Fields 4 and 5 of a request are those of remote write 2.0.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from loadgen.lab.mimir.labels import WORD, Truncated, WriteRequestError, decode_labels, skip_field, varint
from loadgen.lab.mimir.promql_values import Labels

_DOUBLE = struct.Struct("<d")
_TEMPLATE_BYTES = 64 << 20
_TEMPLATE_LEAST = 16
_MAX_SLOTS = 2_000_000
_SECOND_VERSION = {4: "Symbols", 5: "Timeseries"}


@dataclass(frozen=True, slots=True)
class WriteColumns:
    """The samples of one request in the order in which they came.

    Attributes:
        slots: which label set each sample belongs to, see `WriteParser.labels`.
        times_ms: milliseconds since the epoch.
        values: the numbers.
        histogram_slots: label sets that came with native histograms.
        metadata: number of metric metadata entries.
        nameless: number of those that name no metric.
        exemplars: number of exemplars.
    """

    slots: NDArray[np.int32]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    histogram_slots: tuple[int, ...] = ()
    metadata: int = 0
    exemplars: int = 0
    nameless: int = 0

    @property
    def items(self) -> int:
        """What a rate limit counts."""
        return len(self.slots) + len(self.histogram_slots) + self.metadata + self.exemplars


@dataclass(frozen=True, slots=True)
class _Template:
    """A request that may come again with other samples.

    Attributes:
        skeleton: its bytes with those of the samples zeroed.
        value_at: position of each value; the time's varint is 9 bytes behind.
        time_bytes: length of the varints, the same for all.
        slots: the label set of each sample.
    """

    skeleton: bytes
    value_at: NDArray[np.int64]
    time_bytes: int
    slots: NDArray[np.int32]


@dataclass(slots=True)
class _SampleRows:
    slots: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    histograms: list[int] = field(default_factory=list)
    metadata: int = 0
    exemplars: int = 0
    nameless: int = 0
    plain: bool = True


class WriteParser:
    """Parses requests and remembers label sets. Not thread-safe: one parser belongs to one ingesting thread."""

    def __init__(self) -> None:
        self._slots: dict[bytes, int] = {}
        self._spellings: list[bytes] = []
        self._fresh: dict[int, Labels] = {}
        self._templates: OrderedDict[tuple[int, bytes], _Template] = OrderedDict()
        self._template_bytes = 0

    @property
    def slot_count(self) -> int:
        """Number of label spellings known."""
        return len(self._spellings)

    @property
    def full(self) -> bool:
        """Whether so many spellings are known that `reset` is due; its caller must forget slots too."""
        return len(self._spellings) >= _MAX_SLOTS

    def reset(self) -> None:
        """Forgets all slots and requests."""
        self._slots.clear()
        self._spellings.clear()
        self._fresh.clear()
        self._templates.clear()
        self._template_bytes = 0

    def labels(self, slot: int) -> Labels:
        """The labels of a slot, as they were sent: not sorted, not validated."""
        # Usually asked for once, right after the request that brought the slot.
        labels = self._fresh.pop(slot, None)
        return decode_labels(self._spellings[slot]) if labels is None else labels

    def parse(self, data: bytes) -> WriteColumns:
        """The samples of an uncompressed request.

        Raises:
            WriteRequestError: it is none. Nothing else is raised, whatever the bytes.
        """
        key = (len(data), _first_labels(data))
        template = self._templates.get(key)
        if template is not None:
            columns = _from_template(template, data)
            if columns is not None:
                self._templates.move_to_end(key)
                return columns
        rows = _SampleRows()
        self._walk(data, rows)
        columns = WriteColumns(
            np.array(rows.slots, dtype=np.int32),
            np.array(rows.times, dtype=np.int64),
            np.array(rows.values, dtype=np.float64),
            tuple(rows.histograms),
            rows.metadata,
            rows.exemplars,
            rows.nameless,
        )
        self._remember(key, data, rows, columns)
        return columns

    def _walk(self, data: bytes, rows: _SampleRows) -> None:
        size, position = len(data), 0
        while position < size:
            tag, position = varint(data, position, size)
            if tag == 0x0A:
                length, position = varint(data, position, size)
                end = position + length
                if end > size:
                    raise Truncated
                self._series(data, position, end, rows)
                position = end
            elif tag == 0x1A:
                length, position = varint(data, position, size)
                if position + length > size:
                    raise Truncated
                rows.metadata += 1
                rows.nameless += not _names_a_metric(data[position : position + length])
                position += length
            elif tag >> 3 in _SECOND_VERSION:
                name = _SECOND_VERSION[tag >> 3]
                raise WriteRequestError(f"proto: Remote Write 2.0 field {name} in non-Remote Write 2.0 message")
            elif tag >> 3 in (1, 3):
                raise _wrong_type(tag, "Timeseries" if tag >> 3 == 1 else "Metadata")
            else:
                position = skip_field(data, tag, position, size)

    def _series(self, data: bytes, begin: int, end: int, rows: _SampleRows) -> None:
        # Labels first, samples behind them, lengths below 128: so it comes from every sender; anything else is read by
        # the general way below.
        position = begin
        while position < end and data[position] == 0x0A:
            position += 1
            if position >= end or data[position] > 0x7F:
                return self._series_generally(data, begin, end, rows)
            position += data[position] + 1
        if position > end:
            raise Truncated
        spelling = data[begin:position]
        slot = self._slot(spelling)
        while position < end:
            # 12 len 09 <double> 10 <varint>
            if (
                end - position < 13
                or data[position] != 0x12
                or data[position + 2] != 0x09
                or data[position + 11] != 0x10
            ):
                return self._series_generally(data, begin, end, rows)
            stop = position + 2 + data[position + 1]
            time, after = varint(data, position + 12, end)
            if after != stop:
                return self._series_generally(data, begin, end, rows)
            rows.slots.append(slot)
            rows.values.append(_DOUBLE.unpack_from(data, position + 3)[0])
            rows.times.append(time if time < WORD >> 1 else time - WORD)
            rows.places.append(position + 3)
            rows.ends.append(after)
            position = stop
        return None

    def _series_generally(self, data: bytes, begin: int, end: int, rows: _SampleRows) -> None:
        rows.plain = False
        spelling = bytearray()
        samples: list[tuple[int, float]] = []
        histograms, position = 0, begin
        # The fast way may have taken some samples of this series already.
        while rows.places and rows.places[-1] >= begin:
            for column in (rows.slots, rows.values, rows.times, rows.places, rows.ends):
                column.pop()
        while position < end:
            start = position
            tag, position = varint(data, position, end)
            if tag in (0x0A, 0x12, 0x1A, 0x22):
                length, position = varint(data, position, end)
                stop = position + length
                if stop > end:
                    raise Truncated
                if tag == 0x0A:
                    spelling += data[start:stop]
                elif tag == 0x12:
                    samples.append(_sample(data, position, stop))
                elif tag == 0x1A:
                    rows.exemplars += 1
                else:
                    histograms += 1
                position = stop
            elif tag >> 3 in (1, 2, 3, 4):
                raise _wrong_type(tag, ("Labels", "Samples", "Exemplars", "Histograms")[(tag >> 3) - 1])
            else:
                position = skip_field(data, tag, position, end)
        slot = self._slot(bytes(spelling))
        for time, value in samples:
            rows.slots.append(slot)
            rows.times.append(time)
            rows.values.append(value)
            rows.places.append(-1)
            rows.ends.append(-1)
        rows.histograms.extend([slot] * histograms)

    def _slot(self, spelling: bytes) -> int:
        slot = self._slots.get(spelling)
        if slot is None:
            # A label set that cannot be decoded makes the whole request unreadable, as in the real decoder.
            labels = decode_labels(spelling)
            slot = self._slots[spelling] = len(self._spellings)
            self._spellings.append(spelling)
            self._fresh[slot] = labels
        return slot

    def _remember(self, key: tuple[int, bytes], data: bytes, rows: _SampleRows, columns: WriteColumns) -> None:
        if not rows.plain or rows.metadata or len(rows.slots) < _TEMPLATE_LEAST:
            return
        value_at, ends = np.array(rows.places, dtype=np.int64), np.array(rows.ends, dtype=np.int64)
        lengths = ends - value_at - 9
        if int(lengths.min()) != int(lengths.max()):
            return
        skeleton = np.frombuffer(data, dtype=np.uint8).copy()
        time_bytes = int(lengths[0])
        if time_bytes > 9:
            return
        skeleton[value_at[:, None] + np.arange(8)] = 0
        skeleton[value_at[:, None] + 9 + np.arange(time_bytes)] = 0
        template = _Template(skeleton.tobytes(), value_at, time_bytes, columns.slots)
        old = self._templates.pop(key, None)
        if old is not None:
            self._template_bytes -= len(old.skeleton)
        self._templates[key] = template
        self._template_bytes += len(data)
        while self._template_bytes > _TEMPLATE_BYTES:
            _, dropped = self._templates.popitem(last=False)
            self._template_bytes -= len(dropped.skeleton)


def _first_labels(data: bytes) -> bytes:
    """The bytes up to the first sample; they tell the senders apart."""
    found = data.find(b"\x12\x10\x09", 0, 4096)
    return data[:found] if found > 0 else data[:64]


def _from_template(template: _Template, data: bytes) -> WriteColumns | None:
    """The samples of a request that differs from an earlier one in nothing else; None if it does."""
    raw = np.frombuffer(data, dtype=np.uint8)
    value_places = template.value_at[:, None] + np.arange(8)
    time_places = template.value_at[:, None] + 9 + np.arange(template.time_bytes)
    digits = raw[time_places]
    if not bool((digits[:, :-1] > 0x7F).all()) or not bool((digits[:, -1] < 0x80).all()):
        return None
    rest = raw.copy()
    rest[value_places] = 0
    rest[time_places] = 0
    if rest.tobytes() != template.skeleton:
        return None
    times = np.zeros(len(digits), dtype=np.int64)
    for place in range(template.time_bytes):
        times |= (digits[:, place].astype(np.int64) & 0x7F) << (7 * place)
    values = raw[value_places].reshape(-1).view("<f8").astype(np.float64, copy=False)
    return WriteColumns(template.slots, times, values)


def _names_a_metric(metadata: bytes) -> bool:
    """Whether a ``MetricMetadata`` message has a name (field 2)."""
    position, size, named = 0, len(metadata), False
    while position < size:
        tag, position = varint(metadata, position, size)
        if tag == 0x12:
            length, position = varint(metadata, position, size)
            named, position = length > 0, position + length
            if position > size:
                raise Truncated
        else:
            position = skip_field(metadata, tag, position, size)
    return named


def _wrong_type(tag: int, name: str) -> WriteRequestError:
    return WriteRequestError(f"proto: wrong wireType = {tag & 7} for field {name}")


def _sample(data: bytes, position: int, end: int) -> tuple[int, float]:
    time, value = 0, 0.0
    while position < end:
        tag, position = varint(data, position, end)
        if tag == 0x09:
            if position + 8 > end:
                raise Truncated
            value = _DOUBLE.unpack_from(data, position)[0]
            position += 8
        elif tag == 0x10:
            time, position = varint(data, position, end)
            time = time if time < WORD >> 1 else time - WORD
        elif tag >> 3 in (1, 2):
            raise _wrong_type(tag, "Value" if tag >> 3 == 1 else "Timestamp")
        else:
            position = skip_field(data, tag, position, end)
    return time, value
