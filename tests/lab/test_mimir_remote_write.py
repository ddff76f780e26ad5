"""The parser of write requests decodes what the official messages encode, and survives everything else."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mimir_harness import Series, message
from opentelemetry.exporter.prometheus_remote_write.gen.remote_pb2 import WriteRequest

from loadgen.lab.mimir.labels import WriteRequestError, decode_labels, encode_labels
from loadgen.lab.mimir.remote_write import WriteParser

LABELS = st.dictionaries(st.text(max_size=200), st.text(max_size=200), max_size=6)
TIMES = st.integers(-(2**63), 2**63 - 1)
SAMPLES = st.lists(st.tuples(TIMES, st.floats()), max_size=4)
SERIES = st.lists(st.builds(Series, LABELS, SAMPLES), max_size=6)

Row = tuple[tuple[tuple[str, str], ...], int, bytes]


def rows(parser: WriteParser, data: bytes) -> list[Row]:
    columns = parser.parse(data)
    return [
        (parser.labels(slot), time_ms, struct.pack("<d", value))
        for slot, time_ms, value in zip(
            columns.slots.tolist(), columns.times_ms.tolist(), columns.values.tolist(), strict=True
        )
    ]


def expected(series: list[Series]) -> list[Row]:
    return [
        (tuple(one.labels.items()), time_ms, struct.pack("<d", value))
        for one in series
        for time_ms, value in one.samples
    ]


@given(SERIES)
def test_requests_decode_to_what_was_encoded(series: list[Series]) -> None:
    parser = WriteParser()
    data = message(*series)
    for _ in range(2):
        assert rows(parser, data) == expected(series)


@settings(deadline=None)
@given(
    st.integers(16, 40),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(2**35, 2**42 - 1), st.floats(allow_nan=False)), min_size=2, max_size=4),
)
def test_requests_that_differ_in_samples_only_are_read_by_their_template(
    count: int, width: int, pushes: list[tuple[int, float]]
) -> None:
    parser = WriteParser()
    for time_ms, value in pushes:
        series = [
            Series({"__name__": "m", "i": str(i)}, [(time_ms + j, value + i + j or 1.0) for j in range(width)])
            for i in range(count)
        ]
        assert rows(parser, message(*series)) == expected(series)
    assert parser.slot_count == count


def test_a_request_that_differs_from_the_last_in_a_label_is_not_taken_for_it() -> None:
    parser = WriteParser()
    for turn in range(3):
        series = [Series({"__name__": "m", "i": f"{i}{turn if i == 20 else 0}"}, [(2**40, 1.5)]) for i in range(30)]
        assert rows(parser, message(*series)) == expected(series)


@settings(max_examples=400)
@given(st.binary(max_size=300))
@example(b"\x0a")
@example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\x0a\x02\x0a\xff")
@example(b"\x0a\x05\x0a\x03\x0a\x01\xff")
@example(b"\x0a\x0d\x12\x0b\x09" + b"\x00" * 8 + b"\x10\x80")
def test_any_bytes_are_read_or_refused_with_the_parsers_own_error(data: bytes) -> None:
    try:
        WriteParser().parse(data)
    except WriteRequestError as error:
        assert str(error)


@settings(max_examples=300)
@given(SERIES, st.data())
def test_damaged_requests_are_read_or_refused(series: list[Series], data: st.DataObject) -> None:
    good = bytearray(message(*series))
    parser = WriteParser()
    parser.parse(bytes(good))
    for _ in range(data.draw(st.integers(1, 4))):
        if good:
            good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    try:
        found = parser.parse(cut)
    except WriteRequestError:
        return
    try:
        official = WriteRequest.FromString(cut)
    except DecodeError:
        # Python's decoder wants UTF-8, Go's does not: which series have other bytes is told by their labels.
        labels = [parser.labels(slot) for slot in range(parser.slot_count)]
        assert any("\udc80" <= char <= "\udcff" for pairs in labels for pair in pairs for char in "".join(pair))
        return
    assert len(found.slots) == sum(len(row.samples) for row in official.timeseries)


@given(st.lists(st.tuples(st.text(max_size=200), st.text(max_size=200)), max_size=8))
def test_labels_decode_to_what_was_encoded(pairs: list[tuple[str, str]]) -> None:
    assert decode_labels(encode_labels(tuple(pairs))) == tuple(pairs)


def test_missing_values_and_times_are_zero() -> None:
    parser = WriteParser()
    ((_, time_ms, value),) = rows(parser, message(Series({"__name__": "m"}, [(0, 0.0)])))
    assert (time_ms, value) == (0, struct.pack("<d", 0.0))


def test_the_staleness_marker_keeps_its_bits() -> None:
    marker = np.array([0x7FF0000000000002], dtype=np.uint64).view(np.float64)
    series = Series({"__name__": "m"}, [(2**40, float(marker[0]))])
    columns = WriteParser().parse(message(series))
    assert math.isnan(columns.values[0])
    assert columns.values.view(np.uint64)[0] == 0x7FF0000000000002


def test_histograms_exemplars_and_metadata_are_counted() -> None:
    request = WriteRequest()
    request.metadata.add(metric_family_name="m")
    row = request.timeseries.add()
    row.labels.add(name="__name__", value="m")
    row.exemplars.add(value=1.0)
    # A second series with TimeSeries.histograms, field 4.
    columns = WriteParser().parse(request.SerializeToString() + b"\x0a\x04\x22\x02\x08\x01")
    assert (len(columns.histogram_slots), columns.metadata, columns.exemplars) == (1, 1, 1)
    assert (columns.items, columns.nameless) == (3, 0)


def test_metadata_without_a_name_is_counted() -> None:
    request = WriteRequest()
    request.metadata.add(help="of nothing")
    request.metadata.add(metric_family_name="m")
    columns = WriteParser().parse(request.SerializeToString())
    assert (columns.metadata, columns.nameless) == (2, 1)


@pytest.mark.parametrize(("data", "name"), [(b"\x22\x00", "Symbols"), (b"\x2a\x00", "Timeseries")])
def test_a_message_of_the_second_version_is_refused_by_the_field_that_tells_it(data: bytes, name: str) -> None:
    with pytest.raises(WriteRequestError, match=f"Remote Write 2.0 field {name} in non-Remote Write 2.0 message"):
        WriteParser().parse(data)


@pytest.mark.parametrize("data", [b"\x08\x01", b"\x0a\x02\x08\x01", b"\x0a\x04\x12\x02\x0a\x00", b"\x00\x01", b"\x0b"])
def test_known_fields_of_a_wrong_type_are_refused(data: bytes) -> None:
    with pytest.raises(WriteRequestError, match="proto: "):
        WriteParser().parse(data)


def test_a_reset_parser_numbers_from_zero_again() -> None:
    parser = WriteParser()
    data = message(Series({"__name__": "m"}, [(2**40, 1.0)]))
    parser.parse(data)
    parser.reset()
    assert parser.slot_count == 0
    assert parser.parse(data).slots.tolist() == [0]
