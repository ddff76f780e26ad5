import numpy as np
import pytest
import snappy
from decoding import elements
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.wire.snappy import copies, lay_block, literal_header
from loadgen.wire.template import Hole, Layout, Piece, Template, lay_plain

_WIDTHS = {"a": 1, "b": 8, "c": 70}
_words = st.sampled_from([b"loadgen_requests_total", b"instance", b"host-00001", b"x", b"xxxxxxxxxxxx", b"\0" * 20])
_pieces = st.lists(
    st.one_of(
        st.sampled_from([Hole(field, width) for field, width in _WIDTHS.items()]),
        st.lists(_words, min_size=1, max_size=4).map(b"".join),
        st.binary(max_size=100),
        st.binary(min_size=1, max_size=3).map(lambda unit: unit * 100),
    ),
    max_size=40,
)


def _plain_holes(pieces: list[Piece]) -> set[int]:
    positions, at = set(), 0
    for piece in pieces:
        size = piece.width if isinstance(piece, Hole) else len(piece)
        if isinstance(piece, Hole):
            positions.update(range(at, at + size))
        at += size
    return positions


def _fill(layout: Layout, seed: int) -> bytes:
    template, rng = Template(layout), np.random.default_rng(seed)
    for field in template.fields():
        count, width = len(layout.offsets[field]), layout.widths[field]
        template.write(field, rng.integers(0, 256, (count, width), dtype=np.uint8).view(f"V{width}"))
    return bytes(layout.data)


@settings(max_examples=200, deadline=None)
@given(_pieces, st.integers(0, 1000))
def test_a_block_unpacks_to_the_plain_bytes_whatever_is_in_the_holes(pieces: list[Piece], seed: int) -> None:
    compressed, plain = lay_block(pieces), lay_plain(pieces)
    assert snappy.decompress(bytes(compressed.data)) == bytes(plain.data)
    for round_ in range(3):
        assert snappy.decompress(_fill(compressed, seed + round_)) == _fill(plain, seed + round_)


@settings(max_examples=200, deadline=None)
@given(_pieces)
def test_no_copy_reads_or_writes_a_hole(pieces: list[Piece]) -> None:
    _, found = elements(bytes(lay_block(pieces).data))
    holes = _plain_holes(pieces)
    for element in found:
        if element.offset:
            touched = range(element.at - element.offset, element.at + element.size - element.offset)
            assert holes.isdisjoint(touched)
            assert holes.isdisjoint(range(element.at, element.at + element.size))


def test_repeated_text_is_copied_rather_than_repeated() -> None:
    pieces: list[Piece] = []
    for _ in range(100):
        pieces += [b"some text that comes again and again", Hole("b", 8)]
    assert len(lay_block(pieces).data) < 100 * (8 + 6) + 60


@pytest.mark.parametrize("size", [1, 59, 60, 61, 255, 256, 257, 65_535, 65_536, 65_537, 200_000])
def test_text_of_any_size_without_repetition_becomes_literals(size: int) -> None:
    data = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8).tobytes()
    plain, _ = elements(bytes(lay_block([data]).data))
    assert plain == data


@pytest.mark.parametrize("distance", [60_000, 65_530, 65_535, 65_536, 70_000, 200_000])
def test_blocks_beyond_64_kib_unpack(distance: int) -> None:
    text = b"a label set that is far from its like"
    filler = np.random.default_rng(2).integers(0, 256, distance, dtype=np.uint8).tobytes()
    pieces = [text, Hole("b", 8), filler, text, Hole("b", 8), text]
    compressed, plain = lay_block(pieces), lay_plain(pieces)
    assert snappy.decompress(_fill(compressed, 3)) == _fill(plain, 3)
    elements(bytes(compressed.data))


def test_many_adjacent_holes_fill_more_than_one_literal() -> None:
    pieces = [Hole("c", 70)] * 3000
    compressed, plain = lay_block(pieces), lay_plain(pieces)
    assert snappy.decompress(_fill(compressed, 4)) == _fill(plain, 4)


def test_nothing_at_all_is_an_empty_block() -> None:
    assert snappy.decompress(bytes(lay_block([]).data)) == b""


def test_a_hole_that_no_literal_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="'big'"):
        lay_block([Hole("big", 70_000)])


@pytest.mark.parametrize("size", [0, 65_537])
def test_a_literal_of_an_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=str(size)):
        literal_header(size)


@pytest.mark.parametrize("offset", [0, 65_536])
def test_a_copy_from_an_impossible_distance_is_refused(offset: int) -> None:
    with pytest.raises(ValueError, match=str(offset)):
        copies(offset, 10)
