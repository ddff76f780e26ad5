"""The panels of a run's dashboard: what is asked, in which order, and how its latency is counted."""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from fake_stack import BEGAN_NS, small_plan
from scripted import Reply, scripted

from loadgen.config import Target
from loadgen.model import NS, Component, QueryTiming
from loadgen.plan import plan_of
from loadgen.queries.dashboard import panels
from loadgen.queries.panel import step_s
from loadgen.targets.readers import Readers, open_readers

NOW_NS = BEGAN_NS + 3600 * NS

TRACE = bytes(range(16))


def readers(via: str = "grafana", record: list[QueryTiming] | None = None) -> Readers:
    # Nobody listens: what is asked is seen in the errors.
    target = Target.model_validate({"via": via, "grafana": {"url": "http://127.0.0.1:1"}})
    return open_readers(target, time.time_ns, record.append if record is not None else None, 1.0, "probe")


def test_panels_cover_every_component_kind_and_range() -> None:
    made = panels(small_plan(), readers(), NOW_NS, TRACE)
    covered = {(panel.component, panel.kind, panel.range_s) for panel in made}
    for range_s in (300, 3600, 86_400):
        assert (Component.LOKI, "logs", range_s) in covered and (Component.LOKI, "range", range_s) in covered
    for range_s in (3600, 86_400, 7 * 86_400):
        assert (Component.MIMIR, "range", range_s) in covered
    assert (Component.MIMIR, "instant", 0.0) in covered
    assert {(Component.TEMPO, "trace", 0.0), (Component.TEMPO, "search", 3600.0)} <= covered
    for component in (Component.LOKI, Component.MIMIR, Component.TEMPO):
        assert {"labels", "panel"} <= {kind for one, kind, _ in covered if one is component}


def test_components_take_turns_and_the_order_is_fixed() -> None:
    made = panels(small_plan(), readers(), NOW_NS, TRACE)
    assert [panel.component.value for panel in made[:6]] == ["loki", "mimir", "tempo"] * 2
    again = panels(small_plan(), readers(), NOW_NS, TRACE)
    assert [(p.name, p.range_s) for p in made] == [(p.name, p.range_s) for p in again]


def test_components_without_load_have_no_panels() -> None:
    made = panels(small_plan(logs={"users": 0}, traces={"users": 0}), readers(), NOW_NS)
    assert {panel.component for panel in made} == {Component.MIMIR}


def test_viewers_of_a_run_that_goes_on_with_series_ask_for_those_of_its_own_users() -> None:
    plan = small_plan(logs={"users": 0}, traces={"users": 0}, metrics={"users": 12})
    with scripted(Reply(200, b"{}")) as server:
        target = Target.model_validate({"via": "direct", "mimir": {"url": server.url}})
        r = open_readers(target, time.time_ns, None, 1.0, "probe")
        for key in (plan.key, replace(plan.key, series_of="before")):
            for panel in panels(plan_of(key, plan.profile), r, NOW_NS):
                panel.ask(r, NOW_NS)
    asked = [parse_qs(urlsplit(one.path).query).get("query", [""])[0] for one in server.requests]
    asked = [text for text in asked if text]
    own, then = asked[: len(asked) // 2], asked[len(asked) // 2 :]
    assert own and all('{run="run1"}' in text for text in own)
    assert all('{run="before", instance=~"host-(000[0-0][0-9]|0001[0-1])"}' in text for text in then)


def test_direct_reading_has_no_panels_of_grafanas_own_api() -> None:
    assert "panel" not in {panel.kind for panel in panels(small_plan(), readers("direct"), NOW_NS, TRACE)}


def test_without_a_known_trace_there_is_no_panel_for_one() -> None:
    kinds = {p.kind for p in panels(small_plan(), readers(), NOW_NS) if p.component is Component.TEMPO}
    assert "trace" not in kinds and "search" in kinds


@pytest.mark.parametrize("range_s", [300, 3600, 86_400, 7 * 86_400, 365 * 86_400])
def test_steps_stay_far_below_the_servers_limit_of_points(range_s: int) -> None:
    assert range_s / step_s(range_s) <= 240


def test_latency_counts_from_the_planned_time_and_is_recorded_by_the_caller_only() -> None:
    recorded: list[QueryTiming] = []
    r = readers(record=recorded)
    for panel in panels(small_plan(), r, NOW_NS, TRACE):
        timing = panel.ask(r, 123)
        assert (timing.due_ns, timing.source, timing.kind) == (123, "viewer", panel.kind)
        assert (timing.component, timing.range_s, timing.ok) == (panel.component.value, panel.range_s, False)
        assert "connection refused" in timing.detail
    assert not recorded
