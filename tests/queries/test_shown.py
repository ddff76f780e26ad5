"""An empty success is no answer when data is known to be there."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from fake_stack import BEGAN_NS, small_plan

from loadgen.config import Target
from loadgen.model import NS, Component, QueryTiming
from loadgen.queries.dashboard import panels
from loadgen.queries.expected import Shown
from loadgen.queries.panel import Panel, Shows
from loadgen.targets.readers import open_readers
from loadgen.targets.reading import Reply

INTERVALS = {Component.LOKI: 1.0, Component.MIMIR: 2.0, Component.TEMPO: 0.5}


def panel(kind: str = "logs", range_s: float = 300.0, shows: Shows = Shows.ALWAYS, name: str = "lines") -> Panel:
    return Panel(
        Component.LOKI, name, kind, range_s, lambda _, __: Reply(None, "", 200, 0, 0), shows, stepped=kind == "range"
    )


def timing(at_s: float, items: int = 0, ok: bool = True) -> QueryTiming:
    at_ns = BEGAN_NS + round(at_s * NS)
    return QueryTiming("loki", "logs", "grafana", "viewer", 300.0, at_ns, at_ns, at_ns + 1000, ok, 200, items, "")


@pytest.fixture
def shown() -> Shown:
    return Shown(BEGAN_NS, INTERVALS)


def test_nothing_is_expected_before_anything_was_seen(shown: Shown) -> None:
    assert shown.judged(panel(), timing(5)).ok


def test_series_of_runs_before_are_no_data_of_this_one_until_a_probe_has_seen_some() -> None:
    shown = Shown(BEGAN_NS, INTERVALS, (Component.LOKI,))
    assert shown.judged(panel(), timing(5, items=3)).ok
    # They may have fallen out of the range since.
    assert shown.judged(panel(), timing(6)).ok
    shown.seen(Component.LOKI, "reader", BEGAN_NS + 7 * NS)
    assert "a probe had seen data" in shown.judged(panel(), timing(8)).detail
    assert shown.judged(panel(shows=Shows.AGAIN), timing(8, items=3)).ok
    assert "had shown data before" in shown.judged(panel(shows=Shows.AGAIN), timing(9)).detail


@pytest.mark.parametrize("shows", [Shows.ALWAYS, Shows.AGAIN])
def test_what_a_panel_showed_once_it_must_show_again(shown: Shown, shows: Shows) -> None:
    assert shown.judged(panel(shows=shows), timing(5, items=3)).ok
    empty = shown.judged(panel(shows=shows), timing(6))
    assert (empty.ok, "had shown data before" in empty.detail) == (False, True)
    assert shown.judged(panel(shows=shows, name="another"), timing(6)).ok


def test_a_query_that_was_sent_before_another_was_answered_need_not_show_the_same(shown: Shown) -> None:
    shown.judged(panel(), replace(timing(5, items=3), done_ns=BEGAN_NS + 7 * NS))
    assert shown.judged(panel(), timing(6)).ok
    assert not shown.judged(panel(), timing(7)).ok


def test_what_a_probe_saw_a_panel_must_show_unless_it_asks_for_a_part_only(shown: Shown) -> None:
    shown.seen(Component.LOKI, "grafana", BEGAN_NS + 2 * NS)
    assert not shown.judged(panel(), timing(3)).ok
    assert shown.judged(panel(shows=Shows.AGAIN), timing(3)).ok
    assert shown.judged(panel(shows=Shows.MAYBE), timing(3)).ok


def test_a_search_must_show_what_a_search_saw_only(shown: Shown) -> None:
    shown.seen(Component.LOKI, "grafana", BEGAN_NS)
    assert shown.judged(panel("search"), timing(3)).ok
    shown.seen(Component.LOKI, "search", BEGAN_NS)
    assert not shown.judged(panel("search"), timing(3)).ok


def test_a_range_of_steps_is_given_the_time_of_a_step_and_two_pushes(shown: Shown) -> None:
    shown.seen(Component.LOKI, "grafana", BEGAN_NS)
    assert shown.judged(panel("range", 3600.0), timing(16)).ok
    assert not shown.judged(panel("range", 3600.0), timing(18)).ok


def test_a_run_older_than_the_range_may_have_left_it(shown: Shown) -> None:
    shown.judged(panel(), timing(5, items=3))
    shown.seen(Component.LOKI, "grafana", BEGAN_NS)
    assert shown.judged(panel(), timing(301)).ok


def test_a_failed_query_stays_what_it_is(shown: Shown) -> None:
    shown.seen(Component.LOKI, "grafana", BEGAN_NS)
    failed = timing(5, ok=False)
    assert shown.judged(panel(), failed) is failed


def test_panels_that_ask_for_a_part_or_for_a_trace_nobody_saw_may_be_empty() -> None:
    readers = open_readers(Target(), time.time_ns, None, 1.0, "probe")
    for seen in (False, True):
        made = panels(small_plan(), readers, BEGAN_NS, bytes(range(16)), seen)
        rows = {(one.kind, one.name): one.shows for one in made}
        assert rows[("search", "failed requests")] is rows[("search", "slow payments")] is Shows.AGAIN
        assert rows[("trace", "one trace")] is (Shows.ALWAYS if seen else Shows.MAYBE)
        assert {shows for (kind, _), shows in rows.items() if kind == "labels"} == {Shows.AGAIN, Shows.MAYBE}
        assert rows[("search", "recent traces")] is rows[("logs", "log lines")] is Shows.ALWAYS
