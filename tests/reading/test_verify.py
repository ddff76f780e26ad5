"""Verification tells lost, late, doubled, altered, reordered and unreadable apart, and blames the right batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
from fake_stack import ITEMS, FakeStack, FakeTime, receipt_of, small_plan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadgen.config import Target
from loadgen.history.directory import RunDir
from loadgen.history.values import RunInfo
from loadgen.model import NS, Batch, Outcome, QueryTiming, Receipt, Sighting, Signal
from loadgen.plan import Plan
from loadgen.reading.verify import VerifySummary, verify
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Reply

BATCHES = 6


class Bench:
    """A run with everything stored as it was sent, ready to be spoiled and verified."""

    def __init__(self, path: Path, plan: Plan, batches: int = BATCHES) -> None:
        self.plan = plan
        self.time = FakeTime()
        self.stack = FakeStack(plan, self.time)
        info = RunInfo(plan.key, plan.profile.model_dump(mode="json"), (), {}, "test", {}, {})
        self.run = RunDir.create(path / "run", info)
        self.receipts: dict[tuple[Signal, int, int], Receipt] = {}
        for signal in Signal:
            for user in range(plan.users(signal)):
                for n in range(batches):
                    batch = plan.source(signal).batch(user, n)
                    self.stack.put(batch)
                    self.receipts[(signal, user, n)] = receipt_of(batch)
        self.progress: list[tuple[str, int, int]] = []

    def set(self, signal: Signal, user: int, n: int, **values: Any) -> None:
        key = (signal, user, n)
        self.receipts[key] = replace(self.receipts[key], **values)

    def verify(self, stop: Callable[[], bool] = lambda: False) -> VerifySummary:
        self.run.replace("receipts", list(self.receipts.values()))
        return verify(
            self.run,
            self.plan,
            Target(),
            clock=self.time.clock,
            sleep=self.time.sleep,
            progress=lambda *step: self.progress.append(step),
            stop=stop,
            readers=cast(Readers, self.stack),
        )

    def sightings(self, phase: str = "verify") -> pd.DataFrame:
        rows, damaged = self.run.rows("sightings")
        assert not damaged
        return rows[rows["phase"] == phase]

    def wrong(self) -> list[tuple[str, int, int]]:
        """Batches of which anything is wrong."""
        rows = self.sightings()
        bad = rows[(rows[["missing", "doubled", "altered", "reordered"]].sum(axis=1) > 0) | rows["unreadable"]]
        return sorted(bad[["signal", "user", "n"]].itertuples(index=False, name=None))

    def row(self, signal: Signal, user: int, n: int) -> Any:
        rows = self.sightings()
        [row] = rows[(rows["signal"] == signal) & (rows["user"] == user) & (rows["n"] == n)].itertuples()
        return row

    # What to spoil: the second user's batch 3, item 4.

    def batch(self, signal: Signal) -> Batch:
        return self.plan.source(signal).batch(1, 3)

    def line(self, place: int = 4) -> tuple[list[tuple[int, str]], int]:
        logs = self.plan.logs
        entries = self.stack.lines[dict(logs.labels(1))["pod"]]
        return entries, entries.index(
            (int(logs.line_times(self.batch(Signal.LOGS))[place]), logs.lines(self.batch(Signal.LOGS))[place])
        )

    def sample(self) -> tuple[list[tuple[int, float]], int, Any]:
        labels = self.plan.metrics.series(1)[4]
        samples = self.stack.samples[labels]
        time_ms = int(self.plan.metrics.times_ms(self.batch(Signal.METRICS))[0])
        return samples, [at for at, _ in samples].index(time_ms), labels

    def trace(self) -> bytes:
        return cast(bytes, self.plan.traces.trace_ids(self.batch(Signal.TRACES))[1].tobytes())


@pytest.fixture(params=[1.0, 0.0, 0.4], ids=["all compared", "counted", "sampled"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(tmp_path, small_plan(verify={"sample": request.param}))


@pytest.fixture
def compared(tmp_path: Path) -> Bench:
    return Bench(tmp_path, small_plan())


def test_a_complete_run_has_one_clean_sighting_of_every_batch(bench: Bench) -> None:
    summary = bench.verify()
    rows = bench.sightings()
    assert len(rows) == len(bench.receipts) and not bench.wrong()
    assert (rows["found"] == rows["expected"]).all() and (rows["first_seen_ns"] > 0).all()
    assert (rows["last_absent_ns"] == 0).all() and (rows["looked"] == 1).all() and (rows["detail"] == "").all()
    assert {one.signal: one.found for one in summary.signals} == {s: ITEMS[s] * 2 * BATCHES for s in Signal}
    share = {1.0: (1.0, 1.0), 0.0: (0.0, 0.0), 0.4: (0.05, 0.95)}[bench.plan.profile.verify.sample]
    assert share[0] <= rows["compared"].sum() / rows["expected"].sum() <= share[1]
    assert [step for step in bench.progress if step[1] == step[2]] == [(s.value, 12, 12) for s in Signal]


def test_each_lost_item_is_missing_from_its_batch(bench: Bench) -> None:
    entries, i = bench.line()
    del entries[i]
    samples, j, _ = bench.sample()
    del samples[j]
    del bench.stack.spans[bench.trace()][2]
    summary = bench.verify()
    assert bench.wrong() == [("logs", 1, 3), ("metrics", 1, 3), ("traces", 1, 3)]
    assert [one.missing for one in summary.signals] == [1, 1, 1]
    for signal in Signal:
        row = bench.row(signal, 1, 3)
        assert row.missing == 1 and row.found == row.expected - 1 and row.first_seen_ns == 0
        assert row.looked >= 3 and row.last_absent_ns > 0 and "missing" in row.detail


def test_each_doubled_item_is_found_in_its_batch(bench: Bench) -> None:
    entries, i = bench.line()
    entries.append(entries[i])
    samples, j, _ = bench.sample()
    samples.append((samples[j][0] + 1, samples[j][1]))
    samples.sort()
    spans = bench.stack.spans[bench.trace()]
    spans.append(spans[2])
    bench.verify()
    assert bench.wrong() == [("logs", 1, 3), ("metrics", 1, 3), ("traces", 1, 3)]
    for signal in Signal:
        row = bench.row(signal, 1, 3)
        assert (row.doubled, row.missing, row.altered, row.found) == (1, 0, 0, row.expected)


def test_a_whole_batch_stored_twice_is_doubled_item_by_item(compared: Bench) -> None:
    compared.stack.put(compared.batch(Signal.LOGS))
    compared.stack.put(compared.batch(Signal.TRACES))
    compared.verify()
    assert [compared.row(s, 1, 3).doubled for s in (Signal.LOGS, Signal.TRACES)] == [10, 24]
    assert compared.row(Signal.LOGS, 1, 3).reordered == 0


def test_each_altered_item_is_found_in_its_batch(compared: Bench) -> None:
    entries, i = compared.line()
    entries[i] = (entries[i][0], entries[i][1].replace("a", "b"))
    samples, j, _ = compared.sample()
    samples[j] = (samples[j][0], samples[j][1] + 1)
    spans = compared.stack.spans[compared.trace()]
    spans[2] = replace(spans[2], name="SELECT carta")
    compared.verify()
    assert compared.wrong() == [("logs", 1, 3), ("metrics", 1, 3), ("traces", 1, 3)]
    for signal in Signal:
        row = compared.row(signal, 1, 3)
        assert (row.altered, row.missing, row.doubled, row.found) == (1, 0, 0, row.expected)
        assert " is " in row.detail and "instead of" in row.detail


@pytest.mark.parametrize("digits", ["0000000001", "0000000036", "0000000077", "9999999999", "99999999999999999999"])
def test_a_line_with_another_sequence_number_is_altered_at_its_time(compared: Bench, digits: str) -> None:
    entries, i = compared.line()
    entries[i] = (entries[i][0], entries[i][1].replace("0000000034", digits))
    compared.verify()
    row = compared.row(Signal.LOGS, 1, 3)
    assert compared.wrong() == [("logs", 1, 3)] and (row.altered, row.missing) == (1, 0)


def test_line_with_another_time_is_altered(compared: Bench) -> None:
    entries, i = compared.line()
    entries[i] = (entries[i][0] + 5, entries[i][1])
    compared.verify()
    row = compared.row(Signal.LOGS, 1, 3)
    assert (row.altered, row.missing, row.reordered) == (1, 0, 0) and "has the time" in row.detail


def test_swapped_lines_are_reordered_and_nothing_else(compared: Bench) -> None:
    entries, i = compared.line()
    (first_ns, first), (second_ns, second) = entries[i], entries[i + 1]
    entries[i], entries[i + 1] = (first_ns, second), (second_ns, first)
    compared.verify()
    assert compared.wrong() == [("logs", 1, 3)]
    row = compared.row(Signal.LOGS, 1, 3)
    assert row.reordered == 2 and (row.missing, row.altered, row.doubled) == (0, 0, 0)


def test_lines_swapped_across_two_batches_are_reordered(compared: Bench) -> None:
    entries, i = compared.line(9)
    (first_ns, first), (second_ns, second) = entries[i], entries[i + 1]
    entries[i], entries[i + 1] = (first_ns, second), (second_ns, first)
    compared.verify()
    assert compared.wrong() == [("logs", 1, 3), ("logs", 1, 4)]
    rows = compared.sightings()
    assert rows["reordered"].sum() == 2 and rows[["missing", "altered", "doubled"]].to_numpy().sum() == 0


def test_foreign_lines_in_the_stream_are_ignored(compared: Bench) -> None:
    entries, i = compared.line()
    entries.append((entries[i][0] + 1, "somebody else was here"))
    compared.verify()
    assert not compared.wrong()


@pytest.mark.parametrize(
    "change",
    [
        {"span_id": b"\x01" * 8},
        {"parent_id": b"\x01" * 8},
        {"kind": 5},
        {"status": 1},
        {"end_ns": 17},
        {"start_ns": 17},
        {"attributes": {}},
        {"resource": {"service.name": "other"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_changed_field_of_a_span_is_an_alteration(compared: Bench, change: dict[str, Any]) -> None:
    spans = compared.stack.spans[compared.trace()]
    spans[3] = replace(spans[3], **change)
    compared.verify()
    row = compared.row(Signal.TRACES, 1, 3)
    assert (row.altered, row.missing) == (1, 0) and row.found == row.expected


def test_a_lost_trace_is_missing_with_all_its_spans(bench: Bench) -> None:
    del bench.stack.spans[bench.trace()]
    bench.verify()
    assert bench.wrong() == [("traces", 1, 3)] and bench.row(Signal.TRACES, 1, 3).missing == 8


def test_a_trace_that_only_search_does_not_show_is_not_lost(bench: Bench) -> None:
    bench.stack.unlisted.add(bench.trace())
    bench.verify()
    assert not bench.wrong()
    assert "not found by search: 1 of 3" in bench.row(Signal.TRACES, 1, 3).detail


def test_late_items_are_told_from_lost_ones_by_asking_again(bench: Bench) -> None:
    now_ns = bench.time.now_ns
    entries, i = bench.line()
    _, j, labels = bench.sample()
    sample_ms = bench.stack.samples[labels][j][0]
    bench.stack.hidden = {
        entries[i][1]: now_ns + 3 * NS,
        (labels, sample_ms): now_ns + 3 * NS,
        bench.trace(): now_ns + 3 * NS,
    }
    for signal in Signal:
        bench.set(signal, 1, 3, done_ns=now_ns - NS)
    bench.verify()
    assert not bench.wrong()
    # Samples are counted without regard to ``hidden``, so that only reading finds them late.
    for signal in (Signal.LOGS, Signal.TRACES):
        row = bench.row(signal, 1, 3)
        assert row.looked > 1 and now_ns < row.late_absent_ns < now_ns + 3 * NS <= row.first_seen_ns
        assert row.late == (8 if signal is Signal.TRACES else 1)


def test_of_two_items_of_one_batch_the_late_one_is_late_and_the_lost_one_is_missing(bench: Bench) -> None:
    now_ns = bench.time.now_ns
    entries, i = bench.line()
    bench.stack.hidden = {entries[i][1]: now_ns + 3 * NS}
    del entries[i - 1]
    bench.set(Signal.LOGS, 1, 3, done_ns=now_ns - NS)
    bench.verify()
    row = bench.row(Signal.LOGS, 1, 3)
    assert (row.missing, row.late, row.first_seen_ns) == (1, 1, 0)
    assert now_ns < row.late_absent_ns < now_ns + 3 * NS


def fetched(bench: Bench) -> list[bytes]:
    """Traces that are fetched by id from now on."""
    lookup, asked = bench.stack.tempo.trace, list[bytes]()

    def trace(trace_id: bytes) -> Reply[Any]:
        asked.append(trace_id)
        return lookup(trace_id)

    bench.stack.tempo.trace = trace  # type: ignore[method-assign]
    return asked


def test_what_search_lists_at_the_second_attempt_is_not_fetched_by_id(tmp_path: Path) -> None:
    bench = Bench(tmp_path, small_plan(verify={"sample": 0}))
    asked, search, failed = fetched(bench), bench.stack.tempo.search, set[int]()

    def once_refused(query: str, start_ns: int, *rest: Any, **options: Any) -> Reply[Any]:
        if start_ns not in failed:
            failed.add(start_ns)
            return Reply(None, "too many requests", 429, 0, 0)
        return search(query, start_ns, *rest, **options)

    bench.stack.tempo.search = once_refused  # type: ignore[method-assign]
    bench.verify()
    assert failed and not asked and not bench.wrong()


def test_what_search_hides_for_half_a_minute_is_waited_for_and_only_the_lost_is_fetched_by_id(tmp_path: Path) -> None:
    bench = Bench(tmp_path, small_plan(verify={"sample": 0}))
    # The load has just ended.
    bench.time.now_ns = bench.plan.traces.batch(1, BATCHES - 1).due_ns + 3 * NS
    for key in [key for key in bench.receipts if key[0] is Signal.TRACES]:
        bench.set(*key, done_ns=bench.plan.traces.batch(*key[1:]).due_ns + NS)
    lost = [row.tobytes() for row in bench.plan.traces.trace_ids(bench.batch(Signal.TRACES))]
    for one in lost:
        del bench.stack.spans[one]
    asked, search = fetched(bench), bench.stack.tempo.search

    def cut_off(query: str, start_ns: int, end_ns: int, *rest: Any, **options: Any) -> Reply[Any]:
        reply = search(query, start_ns, end_ns, *rest, **options)
        return reply if end_ns <= bench.time.now_ns - 30 * NS else reply.with_value({})

    bench.stack.tempo.search = cut_off  # type: ignore[method-assign]
    bench.verify()
    assert bench.wrong() == [("traces", 1, 3)] and set(asked) == set(lost)


@pytest.mark.parametrize("for_ever", [False, True])
def test_a_lookup_that_finds_nothing_of_what_search_lists_does_not_prove_it_late(
    compared: Bench, for_ever: bool
) -> None:
    lookup, asked = compared.stack.tempo.trace, 0

    def empty(trace_id: bytes) -> Reply[Any]:
        nonlocal asked
        reply = lookup(trace_id)
        asked += trace_id == compared.trace()
        return reply.with_value(()) if trace_id == compared.trace() and (for_ever or asked == 1) else reply

    compared.stack.tempo.trace = empty  # type: ignore[method-assign]
    compared.verify()
    row = compared.row(Signal.TRACES, 1, 3)
    assert (row.missing, row.late, row.late_absent_ns) == ((8, 0, 0) if for_ever else (0, 8, 0))
    assert ("search lists all of it" in row.detail) is for_ever


def test_what_was_late_stays_late_when_the_run_is_verified_again(bench: Bench) -> None:
    now_ns = bench.time.now_ns
    entries, i = bench.line()
    bench.stack.hidden = {entries[i][1]: now_ns + 3 * NS}
    bench.set(Signal.LOGS, 1, 3, done_ns=now_ns - NS)
    bench.verify()
    before = bench.row(Signal.LOGS, 1, 3)
    bench.verify()
    again = bench.row(Signal.LOGS, 1, 3)
    assert before.late == again.late == 1
    assert before.late_absent_ns == again.late_absent_ns > 0


def test_what_was_called_lost_and_is_found_later_is_late(bench: Bench) -> None:
    entries, i = bench.line()
    lost = entries.pop(i)
    bench.verify()
    missed_ns = bench.row(Signal.LOGS, 1, 3).last_absent_ns
    entries.insert(i, lost)
    bench.verify()
    row = bench.row(Signal.LOGS, 1, 3)
    assert (row.missing, row.late, row.late_absent_ns) == (0, 1, missed_ns)


def test_patience_ends_some_time_after_the_acknowledgement(bench: Bench) -> None:
    began_ns = bench.time.now_ns
    entries, i = bench.line()
    bench.set(Signal.LOGS, 1, 3, done_ns=began_ns - 5 * NS)
    del entries[i]
    bench.verify()
    assert bench.row(Signal.LOGS, 1, 3).missing == 1
    waited_s = sum(bench.time.slept)
    assert 25 <= waited_s <= 25 + 6, "patience is 30 s, of which 5 s had passed"


def test_missing_items_of_an_unknown_push_are_not_lost(bench: Bench) -> None:
    entries, i = bench.line()
    del entries[i]
    samples, j, _ = bench.sample()
    del samples[j]
    del bench.stack.spans[bench.trace()]
    for signal in Signal:
        bench.set(signal, 1, 3, outcome=Outcome.UNKNOWN.value)
    bench.verify()
    assert not bench.wrong() and not bench.time.slept
    row = bench.row(Signal.LOGS, 1, 3)
    assert row.found == 9 and row.first_seen_ns == 0 and "the push was unknown; 9 of 10 are there" in row.detail


def test_an_unknown_push_that_was_stored_does_not_hide_a_loss(bench: Bench) -> None:
    # One accepted line is lost and one line of an unknown push is there: the counts agree by chance.
    entries, i = bench.line()
    del entries[i]
    bench.set(Signal.LOGS, 1, 4, outcome=Outcome.UNKNOWN.value)
    unknown = set(bench.plan.logs.lines(bench.plan.logs.batch(1, 4))[1:])
    entries[:] = [entry for entry in entries if entry[1] not in unknown]
    bench.verify()
    assert bench.wrong() == [("logs", 1, 3)]


@pytest.mark.parametrize("apart", [1, 4, 25], ids=["the next item", "the same batch", "another batch"])
def test_an_item_that_came_twice_does_not_make_up_for_a_lost_one(bench: Bench, apart: int) -> None:
    """The counts are right: only which items they are tells."""
    entries, i = bench.line()
    lost, twice = entries[i], entries[i - apart]
    entries.remove(lost)
    entries.append((twice[0] + 1, twice[1]))
    samples, j, _ = bench.sample()
    at_ms, value = samples[j - min(apart, 3)]
    del samples[j]
    samples.append((at_ms + 1, value))
    samples.sort()
    spans = bench.stack.spans[bench.trace()]
    spans[2] = spans[5]
    bench.verify()
    rows = bench.sightings()
    for signal in Signal:
        assert bench.row(signal, 1, 3).missing == 1
        mine = rows[rows["signal"] == signal.value]
        assert mine[["missing", "doubled"]].sum().tolist() == [1, 1]


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_loss_hides_behind_a_double_or_a_rejected_push_when_only_counts_are_asked_for(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    bench = Bench(tmp_path_factory.mktemp("run"), small_plan(verify={"sample": 0.0}))
    pod = dict(bench.plan.logs.labels(1))["pod"]
    entries = bench.stack.lines[pod]
    lost = data.draw(st.integers(0, len(entries) - 1), "lost")
    make_up = data.draw(st.sampled_from(["double", "rejected"]), "what makes up for it")
    if make_up == "double":
        twice = data.draw(st.integers(0, len(entries) - 1).filter(lambda one: one != lost), "doubled")
        entries.append((entries[twice][0] + 1, entries[twice][1]))
    else:
        # Of a push that was refused, one line is there all the same.
        n = data.draw(st.integers(0, BATCHES - 1).filter(lambda one: one != lost // 10), "rejected batch")
        kept = data.draw(st.integers(0, 9), "kept line")
        bench.set(Signal.LOGS, 1, n, outcome=Outcome.REJECTED.value)
        for place in reversed([10 * n + i for i in range(10) if i != kept]):
            entries[place] = (0, "")
    entries[lost] = (0, "")
    bench.stack.lines[pod] = [entry for entry in entries if entry[0]]
    bench.verify()
    assert bench.row(Signal.LOGS, 1, lost // 10).missing == 1


def test_rejected_data_that_is_there_all_the_same_is_noted(bench: Bench) -> None:
    bench.set(Signal.METRICS, 1, 3, outcome=Outcome.REJECTED.value)
    bench.verify()
    assert not bench.wrong()
    assert "the push was rejected; 20 of 20 are there" in bench.row(Signal.METRICS, 1, 3).detail


def test_dropped_batches_are_not_looked_for(bench: Bench) -> None:
    bench.set(Signal.LOGS, 1, 3, outcome=Outcome.DROPPED.value)
    bench.stack.lines[dict(bench.plan.logs.labels(1))["pod"]][30:40] = []
    bench.verify()
    assert not bench.wrong() and len(bench.sightings()) == len(bench.receipts) - 1


def test_a_query_that_fails_now_and_then_costs_nothing(bench: Bench) -> None:
    failures = iter(["503, try again", "timeout"] * 2)
    bench.stack.fails = lambda _: next(failures, "")
    bench.verify()
    assert not bench.wrong() and (bench.sightings()["found"] == bench.sightings()["expected"]).all()


def test_queries_that_fail_for_ever_make_unreadable_and_not_missing(bench: Bench) -> None:
    bench.stack.fails = lambda query: "" if query.startswith(("raw", "counts {__name__")) else "503, away"
    summary = bench.verify()
    rows = bench.sightings()
    assert rows["missing"].sum() == 0
    assert (rows["unreadable"] == (rows["signal"] != "metrics")).all()
    assert (rows[rows["unreadable"]]["detail"] == "503, away").all()
    assert (rows[rows["unreadable"]]["looked"] >= 3).all()
    assert [one.unreadable for one in summary.signals] == [12, 0, 12]


def test_a_component_that_is_away_is_not_asked_for_every_window(tmp_path: Path) -> None:
    bench = Bench(tmp_path, small_plan(metrics={"users": 0}, logs={"users": 0}), batches=300)
    bench.stack.fails = lambda _: "timeout"
    bench.verify()
    assert len(bench.sightings()) == 600 and bench.sightings()["unreadable"].all()
    assert len(bench.stack.asked) < 150


def test_a_loss_seen_once_stays_known_when_later_queries_fail(compared: Bench) -> None:
    entries, i = compared.line()
    del entries[i]
    seen = [0]

    def fails(query: str) -> str:
        seen[0] += query.startswith("streams")
        return "away" if query.startswith("streams") and seen[0] > 1 else ""

    compared.stack.fails = fails
    compared.verify()
    row = compared.row(Signal.LOGS, 1, 3)
    assert row.last_absent_ns > 0 and (row.unreadable or row.missing == 1)


def test_stopping_keeps_what_was_found_and_calls_the_rest_unreadable(compared: Bench) -> None:
    entries, i = compared.line()
    del entries[i]
    compared.set(Signal.LOGS, 1, 3, done_ns=compared.time.now_ns)
    summary = compared.verify(stop=lambda: any(phase == "metrics" for phase, *_ in compared.progress))
    rows = compared.sightings()
    assert summary.stopped and len(rows) == len(compared.receipts)
    assert (rows["unreadable"] == ((rows["signal"] != "logs") | ((rows["user"] == 1) & (rows["n"] == 3)))).all()
    assert rows["missing"].sum() == 0
    assert "1 were missing when the verification was stopped" in compared.row(Signal.LOGS, 1, 3).detail


def test_an_earlier_verification_is_replaced_and_probes_are_kept(compared: Bench) -> None:
    probe = Sighting("logs", 0, 0, "grafana", "probe", 1, 0, 2, 1, 10, 10, 0, 0, 0, 0, 0, 0, 0, False, "")
    query = QueryTiming("loki", "logs", "grafana", "viewer", 60.0, 1, 1, 2, True, 200, 1, "")
    compared.run.append([probe])
    compared.run.append([query, replace(query, source="verify")])
    compared.verify()
    compared.verify()
    assert len(compared.sightings()) == len(compared.receipts)
    assert len(compared.sightings("probe")) == 1
    queries, _ = compared.run.rows("queries")
    assert queries["source"].tolist() == ["viewer"]


def test_a_run_without_receipts_verifies_to_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, small_plan(), batches=0)
    assert bench.verify().signals == ()


def test_only_users_that_really_sent_are_looked_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, small_plan())
    logs = bench.plan.logs
    for n in range(3):
        batch = logs.batch(900_000, n)
        bench.stack.put(batch)
        bench.receipts[(Signal.LOGS, 900_000, n)] = receipt_of(batch)
    bench.verify()
    assert not bench.wrong() and len(bench.sightings()) == len(bench.receipts)


def test_many_streams_are_counted_in_few_queries(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path, small_plan(logs={"users": 300}, metrics={"users": 0}, traces={"users": 0}, verify={"sample": 0}), 3
    )
    bench.verify()
    assert not bench.wrong() and len(bench.sightings()) == 900
    assert len(bench.stack.asked) <= 4


# -- labels and attributes -------------------------------------------------------------------------------------------


def relabelled(labels: Any, **changes: str | None) -> Any:
    """Labels with some set to another value, or taken out (None)."""
    changed = {**dict(labels), **changes}
    return tuple(sorted((name, value) for name, value in changed.items() if value is not None))


def relabel_all(bench: Bench, **changes: str | None) -> None:
    """As an agent or a gateway before the stack does it: of every stream, series and resource."""
    stack = bench.stack
    stack.labels = {pod: relabelled(labels, **changes) for pod, labels in stack.labels.items()}
    stack.samples = {relabelled(labels, **changes): samples for labels, samples in stack.samples.items()}
    for spans in stack.spans.values():
        spans[:] = [
            replace(one, resource={n: v for n, v in {**one.resource, **changes}.items() if v is not None})
            for one in spans
        ]


def test_what_is_added_on_the_way_is_told_and_held_against_nobody(bench: Bench) -> None:
    relabel_all(bench, cluster="home")
    bench.verify()
    assert not bench.wrong()
    rows = bench.sightings()
    told = {one.signal: one.added for one in rows.itertuples() if one.compared}
    names = {"logs": 'label cluster="home"', "metrics": 'label cluster="home"'}
    assert told.items() <= {**names, "traces": 'resource attribute cluster="home"'}.items()
    assert set(rows.loc[rows["compared"] == 0, "added"]) <= {""}


@pytest.mark.parametrize(
    ("signal", "name"),
    [
        *((Signal.LOGS, name) for name, _ in small_plan().logs.labels(1) if name not in ("run", "pod")),
        *((Signal.METRICS, name) for name in ("job",)),
        *((Signal.TRACES, name) for name, _ in small_plan().traces.resource(1, "cart")),
    ],
)
@pytest.mark.parametrize("value", ["other", None])
def test_a_label_or_resource_attribute_that_was_sent_and_is_changed_or_gone_is_altered_and_never_lost(
    compared: Bench, signal: Signal, name: str, value: str | None
) -> None:
    relabel_all(compared, **{name: value})
    compared.verify()
    rows = compared.sightings()
    rows = rows[rows["signal"] == signal]
    assert len(rows) and (rows["altered"] == rows["expected"]).all()
    assert (rows["missing"] == 0).all() and (rows["found"] == rows["expected"]).all()
    assert rows["detail"].str.contains(name).all()


def test_a_label_that_one_series_lacks_alters_that_series_alone_and_once(compared: Bench) -> None:
    samples, _, labels = compared.sample()
    samples[0] = (samples[0][0], -1.0)  # the wrong value is of a sample that is altered already
    compared.stack.samples[relabelled(labels, job=None)] = compared.stack.samples.pop(labels)
    compared.verify()
    rows = compared.sightings()
    mine = rows[(rows["signal"] == Signal.METRICS) & (rows["user"] == 1)]
    each = len(compared.plan.metrics.times_ms(compared.batch(Signal.METRICS)))
    assert (mine["altered"] == each).all() and (mine["missing"] == 0).all()
    assert compared.wrong() == [("metrics", 1, n) for n in range(BATCHES)]


def test_two_senders_of_the_same_series_that_a_label_tells_apart_are_duplicates(bench: Bench) -> None:
    _, _, labels = bench.sample()
    for replica in ("a", "b"):
        bench.stack.samples[relabelled(labels, replica=replica)] = list(bench.stack.samples[labels])
    del bench.stack.samples[labels]
    bench.verify()
    row = bench.row(Signal.METRICS, 1, 3)
    each = len(bench.plan.metrics.times_ms(bench.batch(Signal.METRICS)))
    assert (row.doubled, row.missing, row.altered) == (each, 0, 0)
    assert "replica='a'" in row.detail and "replica='b'" in row.detail


def split_by_label(bench: Bench, begins: Callable[[int], str | None], name: str = "replica") -> None:
    """Store every sample and line with one more label, or another value of one, that depends on its second."""
    stack = bench.stack
    for labels, samples in list(stack.samples.items()):
        del stack.samples[labels]
        for at_ms, value in samples:
            stack.samples.setdefault(relabelled(labels, **{name: begins(at_ms // 1000)}), []).append((at_ms, value))


def test_samples_that_two_agents_wrote_in_turn_under_a_label_of_their_own_are_all_there(bench: Bench) -> None:
    split_by_label(bench, lambda second: "ab"[second // 2 % 2])
    bench.verify()
    told = bench.sightings()
    assert not bench.wrong() and (told["looked"] == 1).all()
    assert set(told.loc[(told["signal"] == Signal.METRICS) & (told["compared"] > 0), "added"]) <= {'label replica="a"'}


def test_a_label_that_is_added_from_some_moment_on_loses_and_doubles_nothing(bench: Bench) -> None:
    middle_s = bench.batch(Signal.METRICS).due_ns // NS
    split_by_label(bench, lambda second: "home" if second >= middle_s else None, "cluster")
    bench.verify()
    assert not bench.wrong() and (bench.sightings()["looked"] == 1).all()


def test_a_label_that_is_changed_from_some_moment_on_alters_what_came_after_and_loses_nothing(compared: Bench) -> None:
    times_ms = compared.plan.metrics.times_ms(compared.batch(Signal.METRICS))
    split_by_label(
        compared, lambda second: "other" if second * 1000 >= times_ms[0] // 1000 * 1000 else "loadgen", "job"
    )
    compared.verify()
    rows = compared.sightings()
    rows = rows[(rows["signal"] == Signal.METRICS) & (rows["user"] == 1)].sort_values("n")
    assert (rows[["missing", "late", "doubled"]] == 0).all(axis=None)
    assert rows["altered"].tolist() == [0, 0, 0, 20, 20, 20]
    assert "label job is 'other' instead of 'loadgen'" in compared.row(Signal.METRICS, 1, 3).detail


def test_of_what_two_agents_wrote_at_once_for_a_while_only_that_while_is_duplicated(compared: Bench) -> None:
    _, _, labels = compared.sample()
    mine = set(compared.plan.metrics.times_ms(compared.batch(Signal.METRICS)).tolist())
    samples = compared.stack.samples.pop(labels)
    last_ms = max(mine)
    compared.stack.samples[relabelled(labels, replica="a")] = [one for one in samples if one[0] <= last_ms]
    compared.stack.samples[relabelled(labels, replica="b")] = [one for one in samples if one[0] >= min(mine)]
    compared.verify()
    assert compared.wrong() == [("metrics", 1, 3)]
    row = compared.row(Signal.METRICS, 1, 3)
    assert (row.doubled, row.missing, row.altered) == (len(mine), 0, 0)


@pytest.mark.parametrize("value", [1.0, True, "1"])
def test_an_attribute_that_came_back_as_another_type_is_altered(compared: Bench, value: object) -> None:
    spans = compared.stack.spans[compared.trace()]
    sent = dict(spans[3].attributes)
    name = next(name for name, was in sent.items() if isinstance(was, int))
    spans[3] = replace(spans[3], attributes={**sent, name: type(value)(sent[name])})  # type: ignore[call-arg]
    compared.verify()
    row = compared.row(Signal.TRACES, 1, 3)
    assert row.altered == 1 and name in row.detail


def test_another_scope_is_an_alteration_and_an_answer_without_one_is_none(compared: Bench) -> None:
    spans = compared.stack.spans[compared.trace()]
    spans[3], spans[4] = replace(spans[3], scope="other"), replace(spans[4], scope=None)
    compared.verify()
    assert compared.row(Signal.TRACES, 1, 3).altered == 1
