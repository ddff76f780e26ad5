"""What a unit of load costs, by the line through the steps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from made_steps import flow, step, usage

from loadgen.capacity.cost import MB_S, QUERIES, costs_of
from loadgen.capacity.model import Cost, Ending, SearchKind, Step
from loadgen.capacity.scales.logs import STREAMS
from loadgen.capacity.scales.metrics import SERIES

LOADS = st.lists(st.integers(1, 400), min_size=3, max_size=12, unique=True)
FIGURES = st.floats(0, 1e9, allow_nan=False, allow_subnormal=False)


def logs_steps(cores: dict[float, float]) -> list[Step]:
    return [step(n, flow(mb_s=x), usage(cores=y)) for n, (x, y) in enumerate(cores.items(), 1)]


def only(costs: tuple[Cost, ...], resource: str, unit: str) -> Cost:
    (cost,) = [one for one in costs if one.resource == resource and one.unit == unit]
    return cost


@given(loads=LOADS, slope=FIGURES, idle=FIGURES)
def test_a_line_without_noise_is_found_as_it_is(loads, slope, idle):
    # Loads that differ by just the share from which they count as different are told apart by rounding alone.
    assume(not any(math.isclose(abs(x - y), 0.03 * max(loads)) for x in loads for y in loads))
    steps = [step(n, flow(mb_s=x * 2.0), usage(cores=idle + slope * x * 2.0)) for n, x in enumerate(loads)]
    distinct = []
    for x in loads:
        if all(abs(x - y) > 0.03 * max(loads) for y in distinct):
            distinct.append(x)
    costs = costs_of(steps)
    if len(distinct) < 3 or max(loads) - min(loads) <= 0.15 * max(loads):
        assert not costs
        return
    (cost,) = costs
    scale = abs(idle) + abs(slope) * max(loads) * 2.0
    assert cost.per_unit == pytest.approx(slope, abs=1e-9 * scale + 1e-300)
    assert cost.idle == pytest.approx(idle, abs=1e-9 * scale + 1e-300)
    assert cost.fit > 0.999 or abs(slope) * max(loads) < 1e-9 * abs(idle)
    assert (cost.low, cost.high) == (pytest.approx(min(loads) * 2.0), pytest.approx(max(loads) * 2.0))
    assert cost.steps == len(loads)


@given(
    rows=st.lists(
        st.tuples(st.floats(0, 1e4), st.integers(0, 10**6), st.floats(0, 1e3), st.floats(-1e12, 1e12)), max_size=12
    )
)
def test_any_steps_give_finite_costs_and_a_fit_between_nothing_and_all(rows):
    steps = [
        step(
            n,
            flow("metrics", mb_s=x, series=series),
            usage("mimir", cores=y, memory_bytes=y, wal_bytes=y, s3_requests_per_s=y),
            queries_per_s=queries,
        )
        for n, (x, series, queries, y) in enumerate(rows)
    ]
    for cost in costs_of(steps):
        assert 0 <= cost.fit <= 1
        assert 0 <= cost.per_unit < float("inf") and 0 <= cost.idle < float("inf")
        assert cost.low < cost.high


@given(loads=LOADS, ratio=st.floats(0.1, 1e4))
def test_loads_that_rise_together_are_one_cost(loads, ratio):
    steps = [
        step(
            n,
            flow("metrics", mb_s=float(x), series=round(x * ratio * 1000)),
            usage("mimir", cores=0.2 + 0.01 * x, memory_bytes=1e8 + 1e6 * x),
        )
        for n, x in enumerate(loads)
    ]
    by_resource = {}
    for cost in costs_of(steps):
        by_resource.setdefault(cost.resource, []).append(cost.unit)
    assert by_resource in ({}, {"cores": [MB_S], "memory_bytes": [SERIES]})


@given(load=st.floats(0, 1e3), used=st.lists(FIGURES, min_size=1, max_size=10))
def test_a_constant_load_has_no_cost(load, used):
    steps = [step(n, flow(mb_s=load), usage(cores=y, streams=300.0), queries_per_s=2.0) for n, y in enumerate(used)]
    assert costs_of(steps) == ()


def test_what_does_not_grow_costs_nothing_more():
    (cost,) = costs_of(logs_steps({1: 0.25, 2: 0.25, 4: 0.25}))
    assert (cost.per_unit, cost.idle, cost.fit) == (0.0, 0.25, 1.0)


def test_two_loads_are_too_few_for_a_line():
    assert costs_of(logs_steps({1: 0.1, 2: 0.2})) == ()
    assert costs_of(logs_steps({1: 0.1, 2: 0.2, 2.01: 0.21})) == ()
    assert costs_of(logs_steps({1: 0.1, 2: 0.2, 3: 0.3}))


def test_a_resource_that_shrinks_with_the_load_costs_nothing_and_the_line_explains_nothing():
    (cost,) = costs_of(logs_steps({1: 0.9, 2: 0.8, 4: 0.6}))
    assert (cost.per_unit, cost.fit) == (0.0, 0.0)
    assert cost.idle == pytest.approx(2.3 / 3)


def test_nothing_is_used_less_than_not_at_all_without_load():
    (cost,) = costs_of(logs_steps({1: 0.1, 2: 0.5, 4: 1.1}))
    assert cost.idle == 0.0
    assert cost.per_unit == pytest.approx((0.1 + 1.0 + 4.4) / 21)
    assert 0.9 < cost.fit < 1


def test_a_load_that_seems_to_save_something_leaves_the_others_their_cost():
    steps = [
        step(n, flow(mb_s=x), usage(cores=0.1 + 0.05 * x), queries_per_s=q, kind=kind)
        for n, (x, q, kind) in enumerate(
            [*((x, 1, SearchKind.LOGS) for x in (1, 2, 4)), *((1, q, SearchKind.QUERIES) for q in (5, 10, 20))]
        )
    ]
    steps[-1] = replace(steps[-1], usage=(usage(cores=0.14),))
    costs = costs_of(steps)
    assert only(costs, "cores", QUERIES).per_unit == 0.0
    assert only(costs, "cores", MB_S).per_unit == pytest.approx(0.05, rel=0.1)


def test_noise_shows_in_the_fit():
    (cost,) = costs_of(logs_steps({1: 0.9, 2: 0.1, 4: 0.8, 8: 0.2, 12: 0.9}))
    assert cost.fit < 0.2


def test_loads_that_vary_on_their_own_share_a_plane():
    steps = [
        step(n, flow(mb_s=x), usage(cores=0.1 + 0.05 * x + 0.02 * q), queries_per_s=q, kind=kind)
        for n, (x, q, kind) in enumerate(
            [*((x, 1, SearchKind.LOGS) for x in (1, 2, 4)), *((1, q, SearchKind.QUERIES) for q in (5, 10, 20))]
        )
    ]
    costs = costs_of(steps)
    assert only(costs, "cores", MB_S).per_unit == pytest.approx(0.05)
    # 0.02 CPU seconds a query are 20 for 1,000 of them.
    assert only(costs, "cores", QUERIES).per_unit == pytest.approx(20.0)
    assert [cost.idle for cost in costs] == [pytest.approx(0.1)] * 2
    assert [cost.fit for cost in costs] == [pytest.approx(1.0)] * 2


def test_queries_that_nobody_raised_explain_nothing():
    # The more is sent, the fewer queries are answered.
    steps = [
        step(n, flow(mb_s=x), usage(cores=y, memory_bytes=1e8 * y), queries_per_s=q)
        for n, (x, y, q) in enumerate([(1, 0.2, 4.0), (2, 0.4, 3.9), (3, 0.8, 2.0), (2.9, 0.6, 0.1), (2.4, 0.9, 0.0)])
    ]
    assert {cost.unit for cost in costs_of(steps)} == {MB_S}


def test_memory_goes_to_the_series_that_the_component_says_it_holds():
    # Series of earlier steps are still in memory, so what was sent tells too little.
    sent, held = (1000, 2000, 4000, 8000), (1000, 3000, 7000, 15_000)
    steps = [
        step(n, flow("metrics", mb_s=s / 1e4, series=s), usage("mimir", memory_bytes=5e7 + 8000.0 * h, series=float(h)))
        for n, (s, h) in enumerate(zip(sent, held, strict=True))
    ]
    cost = only(costs_of(steps), "memory_bytes", SERIES)
    assert cost.per_unit == pytest.approx(8e6)
    assert cost.idle == pytest.approx(5e7)
    assert (cost.low, cost.high) == (1.0, 15.0)


def test_one_step_without_the_held_series_makes_all_count_by_what_was_sent():
    steps = [
        step(n, flow("metrics", mb_s=1.0, series=s), usage("mimir", memory_bytes=1e4 * s, series=9.0 if n else None))
        for n, s in enumerate((1000, 2000, 4000))
    ]
    assert only(costs_of(steps), "memory_bytes", SERIES).per_unit == pytest.approx(1e7)


def test_streams_take_the_memory_of_loki_where_they_vary():
    steps = [
        step(n, flow(mb_s=2.0, users=users), usage(memory_bytes=1e8 + 5e4 * users))
        for n, users in enumerate((100, 400, 800))
    ]
    assert only(costs_of(steps), "memory_bytes", STREAMS).per_unit == pytest.approx(5e7)


@pytest.mark.parametrize(
    "change",
    [
        {"ending": Ending.INTERRUPTED},
        {"ending": Ending.GENERATOR},
        {"crashed": ("tempo",)},
        {"usage": (usage(cores=77.0, starts=1),)},
        {"usage": (usage(cores=float("nan")),)},
        {"usage": ()},
    ],
)
def test_a_step_that_was_no_steady_load_does_not_count(change):
    good = logs_steps({1: 0.1, 2: 0.2, 4: 0.4})
    bad = replace(step(9, flow(mb_s=9.0), usage(cores=77.0)), **change)
    (cost,) = costs_of([*good, bad])
    assert cost.per_unit == pytest.approx(0.1)
    assert (cost.steps, cost.high) == (3, 4.0)


def test_a_step_that_broke_a_promise_counts_by_what_was_accepted():
    good = logs_steps({1: 0.1, 2: 0.2, 4: 0.4})
    refused = step(4, replace(flow(mb_s=8.0), accepted_bytes_per_s=5e6), usage(cores=0.5), ending=Ending.BROKEN)
    (cost,) = costs_of([*good, refused])
    assert cost.per_unit == pytest.approx(0.1)
    assert (cost.steps, cost.high) == (4, 5.0)


def test_figures_of_different_sources_are_not_mixed():
    steps = [
        step(n, flow(mb_s=float(x)), usage(cores=0.1 * x), usage(source="prometheus", cores=5 + 0.3 * x))
        for n, x in enumerate((1, 2, 4))
    ]
    steps.append(step(9, flow(mb_s=8.0), usage(source="prometheus", cores=7.4)))
    (cost,) = costs_of(steps)
    assert (cost.per_unit, cost.steps) == (pytest.approx(0.3), 4)


def test_a_component_that_nothing_was_sent_to_shows_its_idle_use():
    steps = [step(n, flow("traces", mb_s=float(n)), usage("tempo", cores=0.1 * n + 0.05)) for n in range(1, 4)]
    steps.append(step(4, flow("logs", mb_s=1.0), usage("tempo", cores=0.05)))
    (cost,) = costs_of(steps)
    assert (cost.component, cost.low, cost.steps) == ("tempo", 0.0, 4)
    assert cost.idle == pytest.approx(0.05)


def test_no_steps_have_no_costs():
    assert costs_of([]) == ()
