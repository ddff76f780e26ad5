"""Comparing Prometheus with the Mimir that it writes to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from loadgen.acceptance.parity import compare, external_labels
from loadgen.targets.mimir import RawSeries


def series(name: str, times: list[int], values: list[float], **labels: str) -> RawSeries:
    all_labels = tuple(sorted({"__name__": name, **labels}.items()))
    return RawSeries(all_labels, np.array(times, np.int64), np.array(values, np.float64))


HERE = [series("up", [1, 2, 3], [1, 1, 0], job="a"), series("up", [1, 2], [1, float("nan")], job="b")]
THERE = [replace(one, labels=tuple(sorted((*one.labels, ("cluster", "lab"))))) for one in HERE]


def test_the_same_samples_under_external_labels_are_the_same() -> None:
    assert external_labels(HERE, THERE) == (("cluster", "lab"),)
    found = compare(HERE, THERE)
    assert found.same
    assert (found.series, found.samples, found.examples) == (2, 5, ())


def test_nothing_on_both_sides_proves_nothing() -> None:
    assert not compare([], []).same
    assert not compare([], THERE).same


def test_a_series_that_never_arrived_is_missing_with_all_its_samples() -> None:
    found = compare(HERE, THERE[:1])
    assert (found.missing_series, found.missing, found.same) == (1, 2, False)
    assert 'job="b"' in found.examples[0]


def test_one_sample_that_never_arrived_is_named() -> None:
    short = replace(THERE[0], times_ms=THERE[0].times_ms[:2], values=THERE[0].values[:2])
    found = compare(HERE, [short, THERE[1]])
    assert (found.missing, found.differing, found.surplus) == (1, 0, 0)
    assert "at 3 ms is not in Mimir" in found.examples[0]


def test_another_value_at_the_same_time_differs() -> None:
    other = replace(THERE[0], values=np.array([1, 1, 1], np.float64))
    found = compare(HERE, [other, THERE[1]])
    assert (found.differing, found.missing) == (1, 0)


def test_samples_that_only_mimir_has_are_surplus() -> None:
    found = compare(HERE[:1], THERE)
    assert (found.surplus, found.missing, found.same) == (2, 0, False)
