"""Every probe that was planned leaves a row: seen, not seen, ended with the load, or not made and why."""

from __future__ import annotations

from typing import Any, cast

import gevent
import pytest
from fake_stack import BEGAN_NS, FakeStack, FakeTime, receipt_of, small_plan
from gevent.event import Event

from loadgen.config import OwnQuery, Target
from loadgen.kinds.traces.source import SDK_USER
from loadgen.model import NS, Outcome, Receipt, Sighting, Signal
from loadgen.reading.freshness import Prober
from loadgen.targets.readers import Readers
from loadgen.users import load as load_module
from loadgen.users.load import MAX_PROBES, Load

PLACES = {Signal.LOGS: {"grafana"}, Signal.METRICS: {"grafana"}, Signal.TRACES: {"grafana", "search"}}


class Watched:
    """What the users of a process share, in front of a stack that answers nothing about some signals before it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plan, self.time = small_plan(), FakeTime()
        self.stack = FakeStack(self.plan, self.time)
        self.hanging: set[Signal] = set()
        self.answers = Event()
        self.rows: list[Sighting] = []
        target = Target.model_validate({"grafana": {"url": "http://127.0.0.1:1"}})
        recorder: Any = self
        self.load = Load(self.plan.key, self.plan.profile, target, recorder, 0, 1)
        self.load.prober = Prober(
            self.plan, cast(Readers, self.stack), self.plan.profile.freshness, self.time.clock, self.sleep
        )
        self.stack.fails = self._hang
        monkeypatch.setattr(load_module, "JOIN_WITHIN_S", 0.05)

    def add(self, row: Sighting) -> None:
        self.rows.append(row)

    def sleep(self, wait_s: float) -> None:
        self.time.sleep(wait_s)
        gevent.sleep(0)

    def _hang(self, asked: str) -> str:
        if any(asked.startswith(_ASKED[signal]) for signal in self.hanging):
            self.answers.wait()
        return ""

    def push(self, signal: Signal, n: int, user: int = 1, outcome: Outcome = Outcome.ACCEPTED) -> Receipt:
        batch = self.plan.source(signal).batch(user, n)
        self.stack.put(batch)
        receipt = receipt_of(batch, outcome, done_ns=self.time.now_ns)
        self.load.probe(receipt)
        return receipt

    def of(self, signal: Signal) -> list[Sighting]:
        return [row for row in self.rows if row.signal == signal]


_ASKED = {Signal.LOGS: ("streams",), Signal.METRICS: ("raw",), Signal.TRACES: ("trace", "search")}


@pytest.mark.parametrize("slow", Signal)
def test_a_signal_whose_probes_wait_keeps_no_other_from_being_probed(monkeypatch, slow):
    watched = Watched(monkeypatch)
    watched.hanging = {slow}
    for n in range(MAX_PROBES + 40):
        for signal in Signal:
            watched.push(signal, n)
        gevent.sleep(0)
    watched.load.close()
    for signal in Signal:
        rows = watched.of(signal)
        assert len(rows) == (MAX_PROBES + 40) * len(PLACES[signal]), "one for each that was planned"
        assert {row.where for row in rows} == PLACES[signal]
        if signal is not slow:
            assert all(row.first_seen_ns for row in rows)
    not_made = [row for row in watched.of(slow) if not row.looked and "not made" in row.detail]
    assert len(not_made) == 40 * len(PLACES[slow])
    assert all(row.unreadable and row.acked_ns and not row.first_seen_ns and not row.missing for row in not_made)
    assert f"{MAX_PROBES} probes of {slow}" in not_made[0].detail


@pytest.mark.parametrize("signal", Signal)
def test_a_probe_that_is_ended_with_the_load_while_it_waits_for_an_answer_leaves_a_row(monkeypatch, signal):
    watched = Watched(monkeypatch)
    watched.hanging = {signal}
    receipt = watched.push(signal, 3)
    gevent.sleep(0)
    assert not watched.rows
    watched.load.close()
    assert {row.where for row in watched.rows} == PLACES[signal]
    assert all((row.acked_ns, row.first_seen_ns, row.unreadable) == (receipt.done_ns, 0, True) for row in watched.rows)


@pytest.mark.parametrize("signal", Signal)
def test_what_is_acknowledged_after_the_end_has_a_row_that_blames_nobody(monkeypatch, signal):
    watched = Watched(monkeypatch)
    watched.load.stop()
    watched.push(signal, 3)
    assert {row.where for row in watched.rows} == PLACES[signal]
    assert all(not row.looked and not row.unreadable and "load was over" in row.detail for row in watched.rows)
    watched.load.close()


def test_what_was_not_accepted_was_not_planned_to_be_probed(monkeypatch):
    watched = Watched(monkeypatch)
    for n, outcome in enumerate((Outcome.REJECTED, Outcome.UNKNOWN, Outcome.DROPPED)):
        watched.push(Signal.LOGS, n, outcome=outcome)
    watched.load.close()
    assert not watched.rows


def test_batches_of_the_sdk_are_probed_like_all_others(monkeypatch):
    watched = Watched(monkeypatch)
    watched.hanging = {Signal.TRACES}
    for n in range(MAX_PROBES + 3):
        watched.push(Signal.TRACES, n, user=SDK_USER)
    watched.load.close()
    assert len({(row.user, row.n) for row in watched.rows}) == MAX_PROBES + 3


def test_own_queries_that_hang_when_the_load_ends_leave_their_rows_and_none_is_planned_after_the_end(monkeypatch):
    watched = Watched(monkeypatch)
    now = [BEGAN_NS]
    hangs = Event()
    monkeypatch.setattr(load_module.own, "ask", lambda *_: hangs.wait())
    query = OwnQuery.model_validate({"component": "mimir", "query": "up", "every": 10})
    watched.load.clock = lambda: now[0]
    watched.load.profile = watched.load.profile.model_copy(update={"queries": (query,)})
    told: list[Any] = []
    watched.load.start_own_queries(told.append)
    gevent.sleep(0)
    now[0] = BEGAN_NS + 35 * NS
    watched.load.stop()
    now[0] = BEGAN_NS + 60 * NS  # it takes long to end
    watched.load.close()
    assert [(row.due_ns - BEGAN_NS) / NS for row in told] == [0, 10, 20, 30]
    assert {row.end for row in told} == {"cut"} and watched.rows == told
