"""Probes measure from the acknowledgement to the first look that shows everything, and know what they do not know."""

from __future__ import annotations

from typing import Any, cast

import pytest
from fake_stack import ITEMS, FakeStack, FakeTime, receipt_of, small_plan

from loadgen.model import NS, Receipt, Sighting, Signal
from loadgen.reading.freshness import Prober
from loadgen.targets.readers import Readers


class Bench:
    def __init__(self) -> None:
        self.plan = small_plan()
        self.time = FakeTime()
        self.stack = FakeStack(self.plan, self.time)
        self.prober = Prober(
            self.plan, cast(Readers, self.stack), self.plan.profile.freshness, self.time.clock, self.time.sleep
        )

    def receipt(self, signal: Signal, put: bool = True) -> Receipt:
        batch = self.plan.source(signal).batch(1, 3)
        for n in (2, 3, 4) if put else ():
            self.stack.put(self.plan.source(signal).batch(1, n))
        return receipt_of(batch, done_ns=self.time.now_ns)

    def hide(self, signal: Signal, wait_s: float) -> None:
        """Let one item of the batch be shown only later."""
        source: Any = self.plan.source(signal)
        batch = source.batch(1, 3)
        if signal is Signal.LOGS:
            item: Any = source.lines(batch)[4]
        elif signal is Signal.METRICS:
            item = (source.series(1)[4], int(source.times_ms(batch)[0]))
        else:
            item = source.trace_ids(batch)[1].tobytes()
        self.stack.hidden[item] = self.time.now_ns + round(wait_s * NS)

    def probe(self, receipt: Receipt, stop: Any = lambda: False) -> dict[str, Sighting]:
        return {sighting.where: sighting for sighting in self.prober.probe(receipt, stop)}


WAYS = {Signal.LOGS: {"grafana"}, Signal.METRICS: {"grafana"}, Signal.TRACES: {"grafana", "search"}}


@pytest.mark.parametrize("signal", Signal)
def test_what_is_there_at_the_first_look_is_seen_at_once(signal: Signal) -> None:
    bench = Bench()
    receipt = bench.receipt(signal)
    sightings = bench.probe(receipt)
    assert sightings.keys() == WAYS[signal] and not bench.time.slept
    for sighting in sightings.values():
        assert (sighting.phase, sighting.acked_ns, sighting.looked) == ("probe", receipt.done_ns, 1)
        assert sighting.last_absent_ns == 0 < sighting.first_seen_ns - receipt.done_ns < NS // 100
        assert (sighting.found, sighting.expected, sighting.missing) == (ITEMS[signal], ITEMS[signal], 0)
        assert not sighting.unreadable and not sighting.detail


@pytest.mark.parametrize("signal", Signal)
def test_a_late_item_delays_the_batch_within_one_poll(signal: Signal) -> None:
    bench = Bench()
    receipt = bench.receipt(signal)
    bench.hide(signal, 2.2)
    for sighting in bench.probe(receipt).values():
        absent_s = (sighting.last_absent_ns - receipt.done_ns) / NS
        seen_s = (sighting.first_seen_ns - receipt.done_ns) / NS
        assert absent_s < 2.2 <= seen_s and seen_s - absent_s <= 0.51
        assert sighting.missing == 0 and sighting.found == sighting.expected


@pytest.mark.parametrize("signal", Signal)
def test_what_never_shows_is_given_up_and_missing(signal: Signal) -> None:
    bench = Bench()
    receipt = bench.receipt(signal)
    bench.hide(signal, 1000)
    lost = 8 if signal is Signal.TRACES else 1
    for sighting in bench.probe(receipt).values():
        assert sighting.first_seen_ns == 0 and sighting.missing == lost
        assert 9.4 <= (sighting.last_absent_ns - receipt.done_ns) / NS <= 10.1
        assert "given up before it was visible" in sighting.detail


def test_stopping_says_so_and_blames_nothing() -> None:
    bench = Bench()
    receipt = bench.receipt(Signal.LOGS, put=False)
    sighting = bench.probe(receipt, stop=lambda: bool(bench.time.slept))["grafana"]
    assert (sighting.first_seen_ns, sighting.missing, sighting.found) == (0, 0, 0)
    assert sighting.last_absent_ns > 0 and "stopped before it was visible" in sighting.detail


def test_failing_queries_are_unreadable_and_no_absence() -> None:
    bench = Bench()
    receipt = bench.receipt(Signal.METRICS)
    bench.stack.fails = lambda _: "503, away"
    sighting = bench.probe(receipt)["grafana"]
    assert sighting.unreadable and sighting.missing == 0 and sighting.last_absent_ns == 0
    assert sighting.looked > 10 and "503, away" in sighting.detail


def test_queries_that_fail_for_a_while_only_delay_the_sighting() -> None:
    bench = Bench()
    receipt = bench.receipt(Signal.METRICS)
    until_ns = bench.time.now_ns + 3 * NS
    bench.stack.fails = lambda _: "away" if bench.time.now_ns < until_ns else ""
    sighting = bench.probe(receipt)["grafana"]
    assert not sighting.unreadable and sighting.last_absent_ns == 0
    assert 3 <= (sighting.first_seen_ns - receipt.done_ns) / NS < 3.6


def test_search_may_be_late_while_the_trace_is_there_by_id() -> None:
    bench = Bench()
    receipt = bench.receipt(Signal.TRACES)
    trace_id = bench.plan.traces.trace_ids(bench.plan.traces.batch(1, 3))[0].tobytes()
    bench.stack.unlisted.add(trace_id)
    sightings = bench.probe(receipt)
    assert sightings["grafana"].first_seen_ns > 0 and sightings["grafana"].looked == 1
    assert sightings["search"].first_seen_ns == 0 and sightings["search"].missing == 8


def test_traces_seen_once_are_not_asked_for_again() -> None:
    bench = Bench()
    receipt = bench.receipt(Signal.TRACES)
    bench.hide(Signal.TRACES, 2.0)
    bench.probe(receipt)
    assert bench.stack.asked.count("trace") == 2 + 5


def test_direct_reading_is_named_as_such() -> None:
    bench = Bench()
    bench.stack.via = "direct"
    assert bench.probe(bench.receipt(Signal.LOGS)).keys() == {"direct"}
