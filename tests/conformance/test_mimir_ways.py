"""What is peculiar about Mimir, asked of whatever stands in its place."""

from __future__ import annotations

from collections.abc import Callable

from asking import fresh, matrix, now_ns, write
from stacks import Stack

Need = Callable[..., Stack]
MS = 10**6


def test_the_same_sample_again_is_accepted_and_another_value_for_its_time_is_not(need: Need) -> None:
    stack, name, at_ms = need("mimir"), fresh("again_"), now_ns() // MS
    labels = {"__name__": name, "job": "loadgen"}
    assert [write(stack, labels, [(at_ms, 4.0)]).status for _ in range(2)] == [200, 200]
    refused = write(stack, labels, [(at_ms, 5.0)])
    assert (refused.status, refused.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    (series,) = matrix(stack, f"{name}[1m]", at_ms)
    assert series["values"] == [[at_ms / 1000, "4"]]


def test_an_instant_query_of_a_range_returns_the_raw_samples_with_their_own_times(need: Need) -> None:
    stack, name, at_ms = need("mimir"), fresh("raw_"), now_ns() // MS
    samples = [(at_ms - 61_007, 0.1), (at_ms - 30_001, -2.5e-300), (at_ms - 29_990, 3.0), (at_ms, 1e21)]
    assert write(stack, {"__name__": name, "job": "loadgen"}, samples).status == 200
    (series,) = matrix(stack, f"{name}[5m]", at_ms)
    assert series["metric"] == {"__name__": name, "job": "loadgen"}
    assert [(round(at * 1000), float(value)) for at, value in series["values"]] == samples
