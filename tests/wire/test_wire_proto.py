import numpy as np
import pytest
from decoding import PushRequest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.wire.proto import (
    bytes_field,
    double_field,
    hole_field,
    message_field,
    number_field,
    text_field,
    varint,
    varints5,
)
from loadgen.wire.template import Hole, lay_plain, size_of


def _read(encoded: bytes) -> int:
    assert all(byte & 0x80 for byte in encoded[:-1]) and not encoded[-1] & 0x80
    return sum((byte & 0x7F) << 7 * i for i, byte in enumerate(encoded))


@given(st.integers(0, (1 << 64) - 1))
def test_a_varint_decodes_to_its_number_in_the_fewest_bytes(number: int) -> None:
    assert _read(varint(number)) == number
    assert len(varint(number)) == max(1, -(-number.bit_length() // 7))


@given(st.integers(0, (1 << 35) - 1), st.integers(5, 10))
def test_a_padded_varint_has_its_width_and_the_same_number(number: int, width: int) -> None:
    assert len(varint(number, width)) == width
    assert _read(varint(number, width)) == number


@given(st.integers(0, (1 << 35) - 1))
def test_official_parsers_read_a_padded_varint(number: int) -> None:
    stamp = number_field(1, 1)[:1] + varint(number, 9)
    request = PushRequest.FromString(bytes_field(1, bytes_field(2, bytes_field(1, stamp))))
    assert request.streams[0].entries[0].timestamp.seconds == number


@pytest.mark.parametrize(("number", "width"), [(-1, 0), (1 << 64, 0), (128, 1), (1 << 42, 6)])
def test_a_number_that_does_not_fit_a_varint_is_refused(number: int, width: int) -> None:
    with pytest.raises(ValueError, match=str(number)):
        varint(number, width)


@given(st.lists(st.integers(0, (1 << 35) - 1), max_size=20))
def test_many_varints_at_once_equal_single_ones(numbers: list[int]) -> None:
    words = varints5(np.array(numbers, dtype=np.uint64))
    rows = words.view(np.uint8).reshape(-1, 8)
    assert [row[:5].tobytes() for row in rows] == [varint(number, 5) for number in numbers]
    assert not rows[:, 5:].any()


def test_fields_nest_with_lengths_that_count_their_holes() -> None:
    pieces = message_field(1, [text_field(1, "x"), *message_field(2, hole_field(2, Hole("line", 300)))])
    layout = lay_plain(pieces)
    assert size_of(pieces) == layout.plain_bytes == len(layout.data)
    request = PushRequest.FromString(bytes(layout.data))
    assert request.streams[0].labels == "x"
    assert request.streams[0].entries[0].line == "\0" * 300
    assert layout.offsets == {"line": [len(layout.data) - 300]}


def test_a_double_field_is_little_endian() -> None:
    assert double_field(1, 1.0) == b"\x09\0\0\0\0\0\0\xf0\x3f"
