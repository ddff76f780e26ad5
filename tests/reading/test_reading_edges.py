"""Cutting time where no item lies, and counting what lies between two cuts."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.reading.edges import free_range, rhythm_of

rhythms = st.builds(
    lambda firsts, interval, count, spread: rhythm_of(
        firsts, interval, np.arange(count, dtype=np.int64) * max(1, interval // count) - spread
    ),
    st.lists(st.integers(0, 5_000), min_size=1, max_size=5),
    st.integers(2, 2_000),
    st.integers(1, 20),
    st.integers(0, 1_000),
)


@settings(deadline=None)
@given(rhythm=rhythms, at=st.integers(10_000, 20_000))
def test_distance_is_that_of_the_nearest_possible_item(rhythm, at):  # type: ignore[no-untyped-def]
    items = [
        int(first) + n * rhythm.interval + int(offset)
        for first in rhythm.firsts
        for n in range(-10, 30_000 // rhythm.interval + 10)
        for offset in rhythm.offsets
    ]
    [distance] = rhythm.distance(np.array([at], dtype=np.int64))
    assert distance == min(abs(at - item) for item in items)


@settings(deadline=None)
@given(rhythm=rhythms, first=st.integers(10_000, 20_000), length=st.integers(0, 5_000))
def test_free_range_holds_what_it_must_and_has_no_item_on_its_edges(rhythm, first, length):  # type: ignore[no-untyped-def]
    span = free_range(rhythm, first, first + length, 1_000)
    if span is None:
        return
    start, end = span
    assert start < first and first + length < end and (end - start) % 1_000 == 0
    assert (rhythm.distance(np.array([start, end], dtype=np.int64)) > 0).all()


@settings(deadline=None)
@given(rhythm=rhythms, ns=st.sets(st.integers(0, 40)), start=st.integers(0, 9_000), length=st.integers(1, 9_000))
def test_the_items_between_are_counted_and_told_apart(rhythm, ns, start, length):  # type: ignore[no-untyped-def]
    first, size = int(rhythm.firsts[0]), len(rhythm.offsets)
    batches = np.array(sorted(ns), dtype=np.int64)
    items = {
        n * size + i: first + n * rhythm.interval + int(offset) for n in ns for i, offset in enumerate(rhythm.offsets)
    }
    between = {number: at for number, at in items.items() if start < at < start + length}
    span = (start, start + length)
    assert rhythm.counted(first, batches, *span) == len(between)
    assert rhythm.numbers(first, batches, *span) == sum(between)
    assert sorted(rhythm.times(first, batches, *span).tolist()) == sorted(between.values())
