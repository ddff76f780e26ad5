"""The user's own queries: asked in their component's language, timed from when they were due."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.config import ConfigError, OwnQuery, Target, load_profile, parse_profile
from loadgen.history.directory import RunDir
from loadgen.history.values import RunInfo
from loadgen.lab.processes.manager import Lab
from loadgen.lab.target import lab_target
from loadgen.model import HELD_DATA, NS, Component, QueryTiming, RunKey, StackSample
from loadgen.queries import custom as own
from loadgen.queries import loki, tempo
from loadgen.queries.custom import OwnAsking, ask, held_data, look_back
from loadgen.queries.loki import is_log_query
from loadgen.run.locate import find_profile
from loadgen.targets.readers import Readers, open_readers
from loadgen.targets.reading import Reply, Series

NOW_NS = 1_790_000_000 * NS


def query(component: str, text: str, range_s: float = 3600.0, **more: Any) -> OwnQuery:
    return OwnQuery.model_validate({"component": component, "query": text, "range": range_s, **more})


def nobody() -> Readers:
    target = Target.model_validate({"grafana": {"url": "http://127.0.0.1:1"}})
    return open_readers(target, time.time_ns, None, 1.0, "own")


@pytest.mark.parametrize(
    ("component", "text", "path"),
    [
        ("loki", '{namespace="monitoring"}', "/loki/api/v1/query_range"),
        ("loki", 'sum(rate({namespace="monitoring"}[5m]))', "/loki/api/v1/query_range"),
        ("mimir", "up", "/api/v1/query_range"),
        ("tempo", "{}", "/api/search"),
        ("tempo", "{ status = error } | rate()", "/api/metrics/query_range"),
        ("tempo", "{} | quantile_over_time(duration, .99) by (name)", "/api/metrics/query_range"),
    ],
)
def test_each_component_is_asked_in_its_own_way_from_the_due_time(component: str, text: str, path: str) -> None:
    timing = ask(nobody(), query(component, text, name="mine"), NOW_NS, 123)
    assert (timing.component, timing.kind, timing.source, timing.due_ns) == (component, "mine", "own", 123)
    assert not timing.ok and path in timing.detail
    assert timing.range_s == 3600.0


@pytest.mark.parametrize(("text", "lines"), [('  {a="b"} |= "x"', True), ('count_over_time({a="b"}[1m])', False)])
def test_a_query_that_begins_with_a_selector_gives_lines(text: str, lines: bool) -> None:
    assert is_log_query(text) is lines


# -- at their own pace ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("component", "text", "selection"),
    [
        (Component.LOKI, ' {a="b"} |= "x" | json', ' {a="b"} |= "x" | json'),
        (Component.LOKI, 'sum by (c) (rate({a="}{", d=`}`} | json [5m])) / 2', '{a="}{", d=`}`}'),
        (Component.LOKI, "vector(1)", ""),
        (Component.TEMPO, "{ name = `rate(` }", "{ name = `rate(` }"),
        (Component.TEMPO, "{ status = error } | rate() by (name)", "{ status = error }"),
    ],
)
def test_what_a_query_looks_through_is_told_from_its_text(component: Component, text: str, selection: str) -> None:
    of = {Component.LOKI: loki, Component.TEMPO: tempo}[component]
    assert of.selection_of(text) == selection


class _Day:
    """A clock that moves when somebody sleeps or asks, until the day is over."""

    def __init__(self, began_ns: int, length_s: float) -> None:
        self.now_ns, self._end_ns = began_ns, began_ns + round(length_s * NS)

    def clock(self) -> int:
        return self.now_ns

    def sleep(self, wait_s: float) -> None:
        self.now_ns += max(1, round(wait_s * NS))

    def over(self) -> bool:
        return self.now_ns >= self._end_ns


def asked_in(monkeypatch: pytest.MonkeyPatch, answers_s: list[float], number: int = 0) -> list[tuple[float, float]]:
    """When queries were due and how long each took, in seconds; further answers take no time."""
    day, took = _Day(NOW_NS, 100), iter(answers_s)
    rows: list[QueryTiming] = []

    def ask(_readers: Readers, one: OwnQuery, now_ns: int, due_ns: int) -> QueryTiming:
        sent_ns = day.now_ns
        day.now_ns += round(next(took, 0.0) * NS)
        return QueryTiming(one.component, one.title, "grafana", "own", 1, due_ns, sent_ns, day.now_ns, True, 200, 1, "")

    monkeypatch.setattr(own, "ask", ask)
    asking = OwnAsking(nobody(), day.clock, NOW_NS)
    asking.ask_forever(number, query("mimir", "up", every=10), rows.append, day.sleep, day.over)
    return [((row.due_ns - NOW_NS) / NS, (row.done_ns - row.due_ns) / NS) for row in rows]


def test_each_query_is_asked_at_its_own_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_in(monkeypatch, []) == [(10.0 * n, 0.0) for n in range(10)]


def test_queries_of_one_pace_do_not_fall_due_together(monkeypatch: pytest.MonkeyPatch) -> None:
    firsts = {asked_in(monkeypatch, [], number)[0][0] for number in range(4)}
    assert len(firsts) == 4 and all(0 <= first < 10 for first in firsts)


def test_a_slow_answer_does_not_hide_that_the_next_one_had_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    # Due at 10 s it takes until 45 s; those due at 20 and 30 s are never asked, that of 40 s waits until 45 s.
    expected = [(0.0, 0.0), (10.0, 35.0), (20.0, 25.0), (30.0, 15.0), (40.0, 5.0), (50.0, 0.0)]
    assert asked_in(monkeypatch, [0.0, 35.0])[:6] == expected


@given(answers_s=st.lists(st.floats(0, 45), max_size=12), number=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_rows_are_those_planned_however_long_answers_take(answers_s: list[float], number: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        came = asked_in(monkeypatch, answers_s, number)
    first = came[0][0]
    assert [due for due, _ in came] == pytest.approx([first + 10 * n for n in range(len(came))])
    assert first + 10 * len(came) >= 100 and all(took >= 0 for _, took in came)


def rows_of(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[_Day, OwnQuery], None], length_s: float = 100
) -> list[QueryTiming]:
    """The rows of a query due every ten seconds, whose ``answer`` may move the clock, or raise."""
    day = _Day(NOW_NS, length_s)
    rows: list[QueryTiming] = []

    def ask(_readers: Readers, one: OwnQuery, now_ns: int, due_ns: int) -> QueryTiming:
        answer(day, one)
        return QueryTiming(one.component, one.title, "grafana", "own", 1, due_ns, now_ns, day.now_ns, True, 200, 1, "")

    monkeypatch.setattr(own, "ask", ask)
    with suppress(SystemExit):
        asking = OwnAsking(nobody(), day.clock, NOW_NS)
        asking.ask_forever(0, query("mimir", "up", every=10), rows.append, day.sleep, day.over)
    return rows


def test_one_that_was_never_asked_says_so_and_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(monkeypatch, lambda day, _: day.sleep(35.0))
    missed = [row for row in rows if row.end == "missed"]
    assert missed and all(row.sent_ns == 0 and row.status == 0 and "never asked" in row.detail for row in missed)
    assert all((row.kind, row.component, row.source) == ("up", "mimir", "own") for row in missed)


def test_one_that_is_ended_with_the_load_while_it_waits_leaves_a_row_and_so_do_those_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hangs(day: _Day, _: OwnQuery) -> None:
        if day.now_ns >= NOW_NS + 60 * NS:
            day.now_ns += 35 * NS
            raise SystemExit  # as a greenlet is ended

    rows = rows_of(monkeypatch, hangs)
    cut = [((row.due_ns - NOW_NS) / NS, (row.done_ns - row.due_ns) / NS) for row in rows if row.end == "cut"]
    assert cut == [(60.0, 35.0), (70.0, 25.0), (80.0, 15.0), (90.0, 5.0)]


def test_one_that_could_not_be_asked_leaves_a_row_and_the_next_one_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises_once(day: _Day, _: OwnQuery) -> None:
        if day.now_ns < NOW_NS + 10 * NS:
            raise IndexError("list index out of range")

    rows = rows_of(monkeypatch, raises_once)
    assert [row.end for row in rows] == ["unable", *["asked"] * 9]
    assert "IndexError" in rows[0].detail and not rows[0].ok


# -- how far back there was data -----------------------------------------------------------------------------------


@dataclass
class _Held:
    """A component that has data between two moments."""

    from_ns: int
    until_ns: int
    asked: int = 0

    def recording(self, record: object) -> _Held:
        return self

    def range(self, expression: str, start_ns: int, end_ns: int, step_s: int) -> Reply[tuple[Series, ...]]:
        moments = range(start_ns, end_ns + 1, step_s * NS)
        points = tuple((at / NS, 1.0) for at in moments if self.from_ns <= at <= self.until_ns)
        return Reply((Series((), points),) if points else (), "", 200, 1, 2)

    def newest(self, query: str, start_ns: int, end_ns: int, limit: int) -> Reply[int]:
        assert limit == 1, "whether there is anything is all that is asked"
        self.asked += 1
        return Reply(int(start_ns < self.until_ns and end_ns > self.from_ns), "", 200, 1, 2)

    first_hits = newest


def having(from_ns: int, until_ns: int) -> Readers:
    there: Any = _Held(from_ns, until_ns)
    return replace(nobody(), mimir=there, loki=there, tempo=there)


TEXTS = [("mimir", "up"), ("loki", '{a="b"}'), ("loki", 'rate({a="b"}[1m])'), ("tempo", "{}"), ("tempo", "{} | rate()")]


@pytest.mark.parametrize(("component", "text"), TEXTS)
@given(share=st.floats(0, 1), back=st.floats(0, 1), range_s=st.floats(1, 8e5))
@settings(max_examples=60, deadline=None)
def test_what_is_told_is_at_most_two_pieces_off(component, text, share, back, range_s):  # type: ignore[no-untyped-def]
    length_ns = round(range_s * NS)
    until_ns = NOW_NS - round(back * length_ns)
    from_ns = until_ns - round(share * length_ns)
    told = held_data(having(from_ns, until_ns), query(component, text, range_s), NOW_NS)
    true = max(0, until_ns - max(from_ns, NOW_NS - length_ns)) / length_ns
    pieces = min({"tempo": 12}.get(component, 96), max(1, int(range_s) // 2))
    assert told is not None and 0 <= told <= 1
    assert abs(told - true) <= 2.5 / pieces + 1e-6


@pytest.mark.parametrize(("component", "text"), TEXTS)
def test_empty_and_full_ranges_are_told_exactly(component: str, text: str) -> None:
    one = query(component, text, 86_400)
    assert held_data(having(0, 1), one, NOW_NS) == 0.0
    assert held_data(having(0, NOW_NS), one, NOW_NS) == 1.0


def test_what_cannot_be_told_is_left_out() -> None:
    for component, text in TEXTS:
        assert held_data(nobody(), query(component, text), NOW_NS) is None


def test_a_query_that_looks_through_nothing_is_left_out() -> None:
    assert held_data(having(0, NOW_NS), query("loki", "vector(1)"), NOW_NS) is None


def test_looking_back_ends_when_the_person_wants_the_end() -> None:
    readers = having(0, NOW_NS)
    assert held_data(readers, query("loki", '{a="b"}'), NOW_NS, lambda: cast(Any, readers.loki).asked >= 3) is None
    assert cast(Any, readers.loki).asked == 3


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run", RunInfo(RunKey("r", 1, NOW_NS), {}, (), {}, "", {}, {}))


def row(one: OwnQuery, due_ns: int) -> QueryTiming:
    return QueryTiming(one.component, one.title, "grafana", "own", one.range, due_ns, due_ns, due_ns, True, 200, 0, "")


def test_the_range_that_was_asked_is_looked_at_not_that_of_a_later_day(run: RunDir) -> None:
    one = query("mimir", "up", 3600)
    run.append([row(one, NOW_NS - 60 * NS), row(one, NOW_NS)])
    # Data came two days later only: the queries of the run looked at nothing.
    later = having(NOW_NS + 48 * 3600 * NS, NOW_NS + 50 * 3600 * NS)
    [sample] = look_back(run, later, [one], lambda: NOW_NS + 49 * 3600 * NS, lambda: False)
    assert (sample.component, sample.metric, sample.labels, sample.value) == ("mimir", HELD_DATA, "up", 0.0)


def test_what_was_returned_was_there_though_looking_back_misses_it(run: RunDir) -> None:
    one = query("mimir", "up", 86_400)
    run.append([replace(row(one, NOW_NS), items=4)])
    [sample] = look_back(run, having(NOW_NS - 100 * NS, NOW_NS - 50 * NS), [one], lambda: NOW_NS, lambda: False)
    assert 0 < sample.value < 0.02


def test_what_was_told_once_is_not_asked_again(run: RunDir) -> None:
    one, other = query("mimir", "up"), query("mimir", "down")
    run.append([row(one, NOW_NS), row(other, NOW_NS)])
    run.append([StackSample("mimir", HELD_DATA, "up", NOW_NS, 0.25)])
    found = look_back(
        run, having(0, NOW_NS), [one, other, query("mimir", "never asked")], lambda: NOW_NS, lambda: False
    )
    assert [(sample.labels, sample.value) for sample in found] == [("down", 1.0)]


def test_the_embedded_servers_answer_the_queries_of_the_profiles_with_nothing(run: RunDir, tmp_path: Path) -> None:
    queries = load_profile(find_profile("homelab"), env={}).queries
    assert {one.component for one in queries} == {"loki", "mimir", "tempo"}
    lab = Lab.open(tmp_path / "lab")
    try:
        readers = open_readers(lab_target(lab.up()), time.time_ns, None, 10.0, "own")
        for one in queries:
            timing = ask(readers, one, time.time_ns(), time.time_ns())
            assert (timing.ok, timing.items, timing.detail) == (True, 0, "")
            run.append([timing])
        shares = look_back(run, readers, queries, time.time_ns, lambda: False)
        assert [sample.value for sample in shares] == [0.0] * 3
        wrong = {"loki": '{namespace="monitoring"', "mimir": "up{", "tempo": "{ nonsense"}
        for component, text in wrong.items():
            timing = ask(readers, query(component, text), time.time_ns(), time.time_ns())
            assert (timing.ok, timing.status) == (False, 400) and "parse error" in timing.detail
    finally:
        lab.wipe()


# -- in the profile ------------------------------------------------------------------------------------------------


def test_two_queries_of_one_name_cannot_be_told_apart_and_are_refused() -> None:
    twice = [{"component": "mimir", "query": "up"}, {"component": "mimir", "query": "up", "range": "24h"}]
    with pytest.raises(ConfigError, match="a name of its own"):
        parse_profile({"queries": twice}, "test")
    parse_profile({"queries": [twice[0], {**twice[1], "name": "up, a day"}]}, "test")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"query": "  "}, "[queries.0] query: it is empty"),
        ({"component": "grafana"}, "[queries.0] component"),
        ({"every": "soon"}, "'soon' is not a duration"),
        ({"every": 0.1}, "[queries.0] every"),
        ({"range": 0}, "[queries.0] range"),
        ({"intervall": "5m"}, "known here: component, every, name, query, range"),
        ({"query": "x" * 9000}, "[queries.0] query"),
    ],
)
def test_an_invalid_query_is_a_clear_error(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_profile({"queries": [{"component": "mimir", "query": "up", **wrong}]}, "homelab.toml")
    assert "homelab.toml" in str(caught.value) and said in str(caught.value)


def test_a_title_is_one_line_of_bounded_length() -> None:
    assert query("mimir", "sum(\n  up\n)").title == "sum( up )"
    assert len(query("mimir", "x" * 500).title) == 80
    assert query("mimir", "up", name="targets").title == "targets"
