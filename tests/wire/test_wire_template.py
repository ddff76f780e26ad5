import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.wire.template import Hole, IndexPool, Places, Template, lay_plain, merge


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=30),
    st.integers(1, 40),
    st.integers(0, 7),
)
def test_values_land_in_their_holes_and_nowhere_else(gaps: list[int], width: int, before: int) -> None:
    offsets, at = [], before
    for gap in gaps:
        offsets.append(at)
        at += width + gap
    buffer = bytearray(b"\xaa" * (at + 3))
    values = np.random.default_rng(1).integers(0, 256, (len(gaps), width), dtype=np.uint8)
    Places(buffer, offsets, width).write(values.view(f"V{width}"))
    expected = bytearray(b"\xaa" * (at + 3))
    for offset, value in zip(offsets, values, strict=True):
        expected[offset : offset + width] = value.tobytes()
    assert buffer == expected


def test_regular_holes_are_written_by_stride_and_irregular_ones_by_index() -> None:
    buffer = bytearray(100)
    assert Places(buffer, [3, 13, 23], 8).index is None
    assert Places(buffer, [3, 13, 24], 8).index is not None


@pytest.mark.parametrize("offsets", [[-1], [93], [0, 200]])
def test_a_hole_outside_of_the_buffer_is_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="do not lie within"):
        Places(bytearray(100), offsets, 8)


@pytest.mark.parametrize("values", [np.zeros(2, "<u8"), np.zeros(3, "<u4"), np.zeros(6, "<u4")])
def test_values_that_do_not_fit_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Places(bytearray(100), [3, 13, 23], 8).write(values)


def test_holes_of_one_field_have_to_be_equally_wide() -> None:
    with pytest.raises(ValueError, match="'a'"):
        lay_plain([Hole("a", 2), b"x", Hole("a", 3)])


def test_neighbouring_constants_are_joined() -> None:
    assert merge([b"a", b"", b"b", Hole("x", 1), b"", Hole("x", 1), b"c"]) == [b"ab", Hole("x", 1), Hole("x", 1), b"c"]


def test_equal_indexes_of_two_templates_are_kept_once() -> None:
    pieces = [Hole("x", 1), b"a", Hole("x", 1), b"bc", Hole("x", 1)]
    pool = IndexPool()
    first, second = (Template(lay_plain(pieces), pool) for _ in range(2))
    assert first._places["x"].index is second._places["x"].index
    second.write("x", np.frombuffer(b"123", dtype="V1"))
    assert (bytes(first.wire), bytes(second.wire)) == (b"\0a\0bc\0", b"1a2bc3")


def test_a_template_without_holes_is_its_constant_bytes() -> None:
    template = Template(lay_plain([b"abc"]))
    assert bytes(template.wire) == b"abc"
    assert template.fields() == ()
