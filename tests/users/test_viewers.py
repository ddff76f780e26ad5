"""Every panel that a viewer planned leaves a row, whatever became of it, and a stall shows in all that fell into it."""

from __future__ import annotations

import contextlib

import gevent
import numpy as np
import pytest
from gevent.pool import Group
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import BEGAN_NS, Choice, Stack, Told, VirtualTime, dues, load_of, planned

from loadgen.checks.case import nearest_rank
from loadgen.model import NS, Component, QueryEnd, QueryTiming
from loadgen.queries.panel import Panel
from loadgen.users import DashboardViewer, people
from loadgen.users.looking import MAX_OPEN, MAX_WAITING, ViewerLooks

THREE = (Component.LOKI, Component.MIMIR, Component.TEMPO)


class Sofa:
    """A viewer who looks at one panel of each component in turn."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, refresh_s: float, components=THREE, choice: Choice | None = None
    ):
        self.time = VirtualTime()
        self.stack = Stack(self.time)
        self.refresh_s = refresh_s
        everything = [self.stack.panel(component) for component in components]
        monkeypatch.setattr(people, "panels", choice or (lambda *_: everything))

        class InTime(Group):
            """Its patience is virtual, too."""

            def join(group, timeout=None, raise_error=False):
                over_s = self.time.now_s + timeout
                while len(group) and self.time.now_s < over_s:
                    self.time.sleep(0.1)

        monkeypatch.setattr(people, "Group", InTime)
        self.load = load_of(self.time, refresh_s)
        self.told = Told(self.load)
        self.viewer = DashboardViewer(self.told)

    @property
    def rows(self) -> list[QueryTiming]:
        return self.load.rows

    def watch(self, until_s: float, pause: tuple[float, float] | None = None) -> list[QueryTiming]:
        """Look until then and stop, as Locust does it; in ``pause`` this process itself does not come to run."""

        def life() -> None:
            self.viewer.on_start()
            try:
                while True:
                    with contextlib.suppress(ValueError):  # Locust logs it and goes on
                        self.viewer.look()
                    self.time.sleep(self.viewer.wait_time())
            finally:
                self.viewer.on_stop()

        user = gevent.spawn(life)
        if pause is not None:
            self.time.run_until(pause[0])
            self.time.now_ns = BEGAN_NS + round(pause[1] * NS)
        self.time.run_until(until_s)
        user.kill(block=False)
        self.time.run_until(until_s + 30)
        assert user.dead
        return self.rows


def waited_s(rows: list[QueryTiming]) -> list[float]:
    return [(row.done_ns - row.due_ns) / NS for row in rows]


def test_half_an_hour_with_a_stall_of_a_minute_has_a_row_for_each_planned_panel_and_tells_the_stall(monkeypatch):
    sofa = Sofa(monkeypatch, 6.0, components=(Component.LOKI,))
    sofa.stack.stalls[Component.LOKI] = (600.0, 660.0)
    rows = sofa.watch(1799.0)
    assert dues(rows) == planned(6.0, 1799.0) and len(rows) == 300
    took_s = np.array(waited_s(rows))
    assert int((took_s > 3).sum()) == 10
    assert nearest_rank(took_s, 0.99) == pytest.approx(42, abs=1)
    assert sofa.stack.most_open == 1 and len(sofa.stack.asked) < 300, "nobody asks more and more of what does not load"
    assert {row.end for row in rows} == {QueryEnd.ASKED.value, QueryEnd.MISSED.value}
    missed = [row for row in rows if row.end == QueryEnd.MISSED]
    assert all(row.sent_ns == 0 and not row.ok and "never asked" in row.detail for row in missed)


def test_a_component_that_stalls_costs_the_others_nothing(monkeypatch):
    sofa = Sofa(monkeypatch, 2.0)
    sofa.stack.stalls[Component.TEMPO] = (100.0, 200.0)
    rows = sofa.watch(400.0)
    assert dues(rows) == planned(2.0, 400.0)
    assert all(row.ok for row in rows if row.component != "tempo")
    assert max(waited_s([row for row in rows if row.component != "tempo"])) < 0.1
    slow = [row for row in rows if row.component == "tempo" and 100 <= (row.due_ns - BEGAN_NS) / NS < 196]
    assert len(slow) == 16 and min(waited_s(slow)) > 3


@pytest.mark.parametrize("component", THREE)
def test_a_stall_to_the_very_end_is_told_though_none_of_it_was_answered(monkeypatch, component):
    sofa = Sofa(monkeypatch, 1.0)
    sofa.stack.stalls[component] = (60.0, 10_000.0)
    rows = sofa.watch(90.0)
    assert dues(rows) == planned(1.0, 90.0)
    stalled = [row for row in rows if row.component == component.value and row.due_ns >= BEGAN_NS + 60 * NS]
    assert {row.end for row in stalled} == {QueryEnd.CUT.value}
    assert sum(row.sent_ns > 0 for row in stalled) == 1, "one was under way, the others were never asked"
    assert sum(took > 3 for took in waited_s(stalled)) >= len(stalled) - 1
    assert max(waited_s(stalled)) >= 30


def test_what_waits_for_a_component_that_answers_after_the_end_does_not_wait_for_another(monkeypatch):
    sofa = Sofa(monkeypatch, 0.1)
    sofa.stack.stalls = {Component.LOKI: (8.0, 10.2), Component.TEMPO: (8.0, 10_000.0)}
    rows = sofa.watch(10.0)
    loki = [row for row in rows if row.component == "loki" and row.end == QueryEnd.CUT]
    assert loki and max(waited_s(loki)) < 2.5


def test_a_generator_that_stands_still_has_a_row_for_each_time_that_it_passed_over(monkeypatch):
    sofa = Sofa(monkeypatch, 0.5)
    rows = sofa.watch(60.0, pause=(20.0, 29.0))
    assert dues(rows) == planned(0.5, 60.0)
    assert max(waited_s(rows)) > 8


def test_a_generator_that_stands_still_at_the_end_has_a_row_for_each_time_too(monkeypatch):
    sofa = Sofa(monkeypatch, 0.5)
    rows = sofa.watch(29.2, pause=(20.1, 29.2))
    assert dues(rows) == planned(0.5, 29.2)
    assert max(waited_s(rows)) > 8


def test_where_there_is_nothing_to_look_at_there_is_a_row_all_the_same(monkeypatch):
    sofa = Sofa(monkeypatch, 1.0, choice=lambda *_: [])
    rows = sofa.watch(10.0)
    assert dues(rows) == planned(1.0, 10.0)
    assert {row.end for row in rows} == {QueryEnd.UNABLE.value}


def test_a_panel_that_raises_leaves_a_row_that_blames_nobody_else(monkeypatch):
    sofa = Sofa(monkeypatch, 1.0)
    sofa.stack.raises = IndexError("list index out of range")
    monkeypatch.setattr(gevent.get_hub(), "print_exception", lambda *_: None)
    rows = sofa.watch(10.0)
    assert dues(rows) == planned(1.0, 10.0)
    assert {(row.end, row.ok) for row in rows} == {(QueryEnd.UNABLE.value, False)}
    assert "IndexError" in rows[0].detail


def test_a_plan_that_raises_leaves_a_row_and_the_viewer_looks_on(monkeypatch):
    def broken(*_) -> list[Panel]:
        raise ValueError("no such panel")

    sofa = Sofa(monkeypatch, 1.0, choice=broken)
    rows = sofa.watch(5.0)
    assert dues(rows) == planned(1.0, 5.0)
    assert "no such panel" in rows[0].detail


def test_locust_hears_of_every_row(monkeypatch):
    sofa = Sofa(monkeypatch, 1.0)
    sofa.stack.stalls[Component.LOKI] = (20.0, 40.0)
    rows = sofa.watch(60.0)
    assert len(sofa.told.requests) == len(rows)
    failed = [told for told in sofa.told.requests if told["exception"] is not None]
    assert len(failed) == sum(row.end != QueryEnd.ASKED for row in rows) > 0


@settings(max_examples=40, deadline=None)
@given(
    refresh_s=st.sampled_from((0.1, 0.7, 2.0)),
    stalls=st.dictionaries(
        st.sampled_from(THREE), st.tuples(st.floats(0, 25), st.floats(0, 60)).map(lambda t: (t[0], t[0] + t[1]))
    ),
    takes_s=st.sampled_from((0.01, 0.5, 3.0)),
    until_s=st.floats(1, 40),
)
def test_rows_are_those_planned_whatever_stalls_when_for_how_long(refresh_s, stalls, takes_s, until_s):
    with pytest.MonkeyPatch.context() as monkeypatch:
        sofa = Sofa(monkeypatch, refresh_s)
        sofa.stack.stalls, sofa.stack.takes_s = stalls, takes_s
        rows = sofa.watch(until_s)
        assert dues(rows) == planned(refresh_s, until_s)
        assert sofa.stack.most_open <= 1
        assert all(row.done_ns >= row.due_ns for row in rows)
        answered = [row for row in rows if row.end == QueryEnd.ASKED]
        for row in (row for row in rows if row.end == QueryEnd.MISSED):
            after = [one for one in answered if one.component == row.component and one.due_ns > row.due_ns]
            assert row.done_ns in {one.done_ns for one in after}, "it counts until a later one was answered"


def test_what_is_remembered_of_a_component_that_never_answers_is_bounded():
    time, rows = VirtualTime(), []
    stack = Stack(time, {Component.LOKI: (0.0, 1e9)})
    greenlets = Group()
    looks = ViewerLooks(lambda panel, due_ns: panel.ask(None, due_ns), rows.append, time.clock, greenlets, "grafana")
    panel = stack.panel(Component.LOKI)
    for n in range(2 * MAX_WAITING):
        looks.plan(panel, BEGAN_NS + n * NS)
        time.run_until(n)
    assert len(greenlets) == MAX_OPEN
    assert len(rows) == MAX_WAITING - MAX_OPEN
    assert min(waited_s(rows)) >= MAX_WAITING - 1
    greenlets.kill()
    looks.end(0)
    assert len(rows) == 2 * MAX_WAITING


def test_a_look_that_is_ended_before_it_began_has_its_row():
    time, rows = VirtualTime(), []
    looks = ViewerLooks(lambda panel, due_ns: panel.ask(None, due_ns), rows.append, time.clock, Group(), "grafana")
    looks.plan(Stack(time).panel(Component.LOKI), BEGAN_NS)
    looks._greenlets.kill()  # before its greenlet has run
    looks.end(0)
    assert [(row.end, row.sent_ns) for row in rows] == [(QueryEnd.CUT.value, 0)]
