"""Series are counted from parts of an index; what is damaged is an error, never a smaller number."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from loadgen.kinds.metrics.source import Labels
from loadgen.lab.mimir.index import encode_index
from loadgen.targets import tsdb_index
from loadgen.targets.blocks import BlockError
from loadgen.targets.tsdb_index import series_counts

HOSTS = ["host-00000", "host-00001", "host-00002"]


def series(host: str, count: int, run: str = "mine") -> list[Labels]:
    return [(("__name__", "x"), ("instance", host), ("run", run), ("series", f"{n:05d}")) for n in range(count)]


def reader(content: bytes, asked: list[tuple[int, int]] | None = None) -> Callable[[int, int], bytes]:
    def read(offset: int, length: int) -> bytes:
        if asked is not None:
            asked.append((offset, length))
        return content[offset : offset + length]

    return read


def counts(content: bytes, asked: list[tuple[int, int]] | None = None) -> dict[str, int]:
    return series_counts(len(content), reader(content, asked), ("run", "mine"), "instance", HOSTS)


def test_only_series_with_both_labels_count() -> None:
    rows = [*series("host-00000", 5), *series("host-00001", 7, "other"), *series("host-00001", 3), *series("else", 2)]
    assert counts(encode_index(rows, b"payload")) == {"host-00000": 5, "host-00001": 3}


def test_an_index_without_the_run_or_without_any_series_counts_nothing() -> None:
    assert counts(encode_index(series("host-00000", 5, "other"), b"")) == {}
    assert counts(encode_index([], b"")) == {}


def test_a_large_index_is_read_in_few_parts_and_not_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tsdb_index, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(tsdb_index, "_PART_BYTES", 4096)
    rows = [row for n in range(50) for row in series(f"node-{n}", 200, f"run-{n}")] + series("host-00002", 150)
    content = encode_index(rows, b"p" * 200_000)
    asked: list[tuple[int, int]] = []
    assert counts(content, asked) == {"host-00002": 150}
    assert len(asked) < 12 and sum(length for _, length in asked) < len(content) // 4


@pytest.mark.parametrize("part", [1, 7, 64])
def test_entries_across_the_parts_are_read_whole(monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    monkeypatch.setattr(tsdb_index, "WHOLE_BYTES", 10)
    monkeypatch.setattr(tsdb_index, "_PART_BYTES", part)
    assert counts(encode_index([*series("host-00000", 3), *series("host-00001", 2)], b"")) == {
        "host-00000": 3,
        "host-00001": 2,
    }


def test_an_index_that_is_cut_anywhere_is_an_error() -> None:
    content = encode_index(series("host-00000", 3), b"")
    for end in range(len(content)):
        with pytest.raises(BlockError):
            counts(content[:end])


def test_an_index_whose_end_was_lost_behind_a_sound_listing_is_an_error() -> None:
    content = encode_index(series("host-00000", 3), b"")
    with pytest.raises(BlockError, match="missing"):
        series_counts(len(content), reader(content[:-20]), ("run", "mine"), "instance", HOSTS)


@pytest.mark.parametrize("place", ["table", "entry", "list"])
def test_a_damaged_index_is_an_error(place: str) -> None:
    content = bytearray(encode_index(series("host-00000", 3), b""))
    table = struct.unpack(">6QI", content[-52:])[5]
    if place == "table":
        content[-52:] = struct.pack(">6QI", 0, 5, 0, 0, 5, 2**40, 0)
    elif place == "entry":
        content[table + 8] = 7
    else:
        content[5:9] = struct.pack(">I", 1_000_000)
        content[5 + 4 : 5 + 8] = struct.pack(">I", 9)
        at = content.index(b"run" + bytes([4]) + b"mine") + 8
        content[at : at + 1] = bytes([5])
    with pytest.raises(BlockError, match="damaged|no postings offset table"):
        counts(bytes(content))


def test_a_table_of_absurd_size_is_not_read() -> None:
    content = bytearray(encode_index(series("host-00000", 3), b""))
    table = struct.unpack(">6QI", content[-52:])[5]
    content[table : table + 4] = struct.pack(">I", 2**31)
    with pytest.raises(BlockError, match="too many label values"):
        counts(bytes(content))
