"""Queries over a day that holds an hour, and the user's own queries."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_history import BEGAN_NS, Made, good_run

from loadgen.checks.ranges import HeldRange
from loadgen.model import HELD_DATA, NS, Outcome, QueryTiming, Result, StackSample

LOGS = '{namespace="monitoring"}'
OWN = {
    "faults": [],
    "queries": [
        {"component": "loki", "query": LOGS, "range": "24h"},
        {"component": "mimir", "query": "up", "range": "7d", "name": "targets"},
    ],
}


def asked(made: Made, component: str, kind: str, range_s: float, count: int = 10, **fields: object) -> None:
    for number in range(count):
        due_ns = BEGAN_NS + (number + 1) * NS
        row = QueryTiming(
            component, kind, "grafana", "own", range_s, due_ns, due_ns, due_ns + NS // 10, True, 200, 5, ""
        )
        made.queries.append(replace(row, **fields))  # type: ignore[arg-type]


def held(made: Made, component: str, label: str, share: float) -> None:
    made.stack.append(StackSample(component, HELD_DATA, label, BEGAN_NS, share))


def own_run(held_share: float | None = 1.0, changes: dict[str, object] | None = None, **fields: object) -> Made:
    made = good_run({**OWN, **(changes or {})})
    asked(made, "loki", LOGS, 86_400.0, **fields)
    asked(made, "mimir", "targets", 604_800.0)
    if held_share is not None:
        held(made, "loki", LOGS, held_share)
        held(made, "mimir", "targets", held_share)
    return made


# -- how much of a range held data ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("check", "range_text"), [("logs.query", "24 h"), ("metrics.query", "7 d")])
def test_panels_of_a_young_run_say_how_little_of_their_range_held_data(check: str, range_text: str) -> None:
    verdict = good_run({"faults": []}).verdict(check)
    assert verdict.result is Result.PASS
    assert f"over ranges up to {range_text}, of which 5" in verdict.measured
    assert "s held data of this run" in verdict.measured
    assert "tested on 5" in verdict.evidence[0] and f"of {range_text} only" in verdict.evidence[0]


def test_a_promise_without_a_range_says_how_much_of_what_was_asked_held_data() -> None:
    verdict = good_run({"faults": []}).verdict("traces.query")
    assert "over ranges up to 1 h, of which" in verdict.measured and "s held data of this run" in verdict.measured
    assert not any("tested on" in text for text in verdict.evidence), "there is no range that it falls short of"


def test_the_time_before_the_first_accepted_push_held_no_data() -> None:
    made = good_run({"faults": []})
    made.change(
        "receipts",
        lambda r: r.signal == "logs" and r.due_ns < BEGAN_NS + 40 * NS,
        outcome=Outcome.REJECTED.value,
    )
    measured = made.verdict("logs.query").measured
    held_s = float(measured.split("of which ")[1].split(" s held")[0])
    assert 10 < held_s <= 20


def test_panels_on_no_data_at_all_say_so() -> None:
    made = good_run({"faults": []})
    made.change("receipts", lambda r: r.signal == "logs", outcome=Outcome.REJECTED.value)
    assert "of which nothing held data of this run" in made.verdict("logs.query").measured


@pytest.mark.parametrize("name", ["logs.query", "metrics.query"])
def test_own_queries_over_a_full_range_count_for_the_whole_of_it(name: str) -> None:
    verdict = own_run().verdict(name)
    ranged = {"logs.query": "24 h", "metrics.query": "7 d"}[name]
    assert verdict.result is Result.PASS
    assert f"over ranges up to {ranged}, of which {ranged} held data," in verdict.measured
    assert not any("tested on" in text for text in verdict.evidence)


def test_a_range_of_which_little_held_data_is_named_with_at_most_so_much() -> None:
    verdict = own_run(0.125).verdict("logs.query")
    assert "over ranges up to 24 h, of which at most 3 h held data," in verdict.measured
    assert "tested on at most 3 h of 24 h only" in verdict.evidence[0]


def test_a_shorter_own_query_that_is_full_of_data_counts_for_its_length() -> None:
    made = good_run({"faults": [], "queries": [{"component": "loki", "query": LOGS, "range": "13h"}]})
    asked(made, "loki", LOGS, 13 * 3600.0)
    held(made, "loki", LOGS, 1.0)
    verdict = made.verdict("logs.query")
    assert "over ranges up to 24 h, of which at most 13 h held data" in verdict.measured
    assert not any("tested on" in text for text in verdict.evidence)


def test_a_full_range_that_was_never_answered_counts_for_nothing() -> None:
    verdict = own_run(1.0, ok=False, status=504, items=0).verdict("logs.query")
    assert "s held data of this run" in verdict.measured and "tested on" in verdict.evidence[0]


def test_a_promise_asked_over_short_ranges_only_says_what_it_was_tested_on() -> None:
    made = good_run({"faults": [], "dashboards": {"users": 0}, "queries": [{"component": "mimir", "query": "up"}]})
    asked(made, "mimir", "up", 3600.0, 60)
    held(made, "mimir", "up", 1.0)
    verdict = made.verdict("metrics.query")
    assert verdict.result is Result.PASS
    assert "tested on 1 h of 7 d only" in verdict.evidence[0]


def test_the_promise_for_any_query_names_the_component_with_the_least_data() -> None:
    verdict = own_run().verdict("all.query")
    assert verdict.result is Result.PASS
    assert "held data of this run (" in verdict.measured
    texts = [text for text in verdict.evidence if "tested on" in text]
    assert [text.split(":")[0] for text in texts] == ["mimir", "tempo"], "Loki's own query covers its whole day"
    assert all("of 24 h only" in text for text in texts)


@given(range_s=st.floats(1, 1e7), share=st.floats(0, 1), own=st.booleans())
@settings(max_examples=200)
def test_never_more_is_claimed_than_was_held(range_s: float, share: float, own: bool) -> None:
    one = HeldRange(range_s, share * range_s, own, range_s)
    assert one.thin == bool(one.warnings) == (share * range_s < 0.5 * range_s)
    if own and 0 < one.held_s < range_s:
        assert "at most" in one.amount
    if not one.held_s:
        assert one.amount == "nothing"


# -- the user's own queries ----------------------------------------------------------------------------------------


def test_what_is_not_known_of_an_own_query_is_said() -> None:
    evidence = own_run(None).verdict("logs.query").evidence
    assert any("how much of 24 h held data is not known" in text for text in evidence)


def test_an_own_query_that_returned_nothing_proves_nothing_by_its_speed() -> None:
    verdict = own_run(0.0, items=0).verdict("logs.query")
    assert verdict.result is Result.PASS
    assert any("returned nothing" in text and "0 of 24 h held data" in text for text in verdict.evidence)
    assert any("10 own queries returned nothing" in text and "does not count" in text for text in verdict.evidence)
    assert verdict.samples == good_run({"faults": []}).verdict("logs.query").samples


@pytest.mark.parametrize("check", ["logs.query", "all.query"])
def test_empty_answers_alone_are_no_proof(check: str) -> None:
    made = good_run({**OWN, "dashboards": {"users": 0}})
    asked(made, "loki", LOGS, 86_400.0, 100, items=0)
    assert made.result(check) is Result.UNKNOWN


def test_an_own_query_that_is_slow_to_return_nothing_counts() -> None:
    made = good_run({**OWN, "dashboards": {"users": 0}})
    asked(made, "loki", LOGS, 86_400.0, 100, items=0)
    made.change("queries", lambda q: q.source == "own", done_ns=lambda q: q.due_ns + 9 * NS)
    assert made.result("logs.query") is Result.FAIL


@pytest.mark.parametrize("status", [400, 422])
def test_a_query_that_the_server_refuses_is_the_profiles_mistake_and_makes_the_promise_unknown(status: int) -> None:
    made = own_run(ok=False, status=status, items=0, detail="parse error: unexpected )")
    verdict = made.verdict("logs.query")
    assert verdict.result is Result.UNKNOWN
    assert "0 of" in verdict.measured and "[[queries]]" in verdict.remedy
    assert any("parse error: unexpected )" in text and LOGS in text for text in verdict.evidence)
    assert made.result("all.query") is Result.PASS


def test_a_refusal_excuses_no_broken_promise() -> None:
    made = own_run(ok=False, status=400, items=0, detail="parse error")
    made.change(
        "queries", lambda q: q.component == "loki" and q.source == "viewer", done_ns=lambda q: q.due_ns + 9 * NS
    )
    assert made.result("logs.query") is Result.FAIL


def test_a_query_that_worked_once_is_no_mistake_of_the_profile() -> None:
    made = own_run(ok=False, status=400, items=0, detail="too many outstanding requests")
    position = next(i for i, q in enumerate(made.queries) if q.source == "own")
    made.queries[position] = replace(made.queries[position], ok=True, status=200, items=5, detail="")
    assert made.result("logs.query") is Result.FAIL


@pytest.mark.parametrize(
    ("status", "detail"),
    [(502, "bad gateway"), (0, "no answer"), (429, "too many"), (400, "Authentication to data source failed")],
)
def test_an_own_query_that_fails_for_another_reason_counts_against_the_stack(status: int, detail: str) -> None:
    verdict = own_run(ok=False, status=status, detail=detail).verdict("logs.query")
    assert verdict.result is Result.FAIL
    assert any(detail in text for text in verdict.evidence)


def test_slow_own_queries_fail_like_those_of_viewers() -> None:
    made = own_run()
    made.change("queries", lambda q: q.source == "own", done_ns=lambda q: q.due_ns + 9 * NS)
    assert made.result("logs.query") is Result.FAIL


def test_hundreds_of_quick_panels_do_not_outvote_an_own_query_that_is_slow() -> None:
    made = good_run({**OWN, "dashboards": {"refresh": 0.005}})
    asked(made, "loki", LOGS, 86_400.0, 20)
    made.change("queries", lambda q: q.source == "own", done_ns=lambda q: q.due_ns + 4 * NS)
    verdict = made.verdict("logs.query")
    assert verdict.value is not None and verdict.value < 3.0, "among all queries they are less than one in a hundred"
    assert verdict.result is Result.FAIL
    assert any(f"own query {LOGS} alone: p99 4 s" in text for text in verdict.evidence)


def few_own(*took_s: float, **fields: object) -> Made:
    """Thousands of quick panels, and an own query that was asked a few times."""
    made = good_run({**OWN, "dashboards": {"refresh": 0.01}})
    for one_s in took_s:
        asked(made, "loki", LOGS, 86_400.0, 1, **fields)
        last = made.queries[-1]
        made.queries[-1] = replace(last, done_ns=last.due_ns + round(one_s * NS))
    return made


def test_a_few_own_queries_of_which_more_than_one_is_slow_are_proof_enough() -> None:
    verdict = few_own(0.1, 0.1, 0.1, 4.0, 4.0).verdict("logs.query")
    assert verdict.result is Result.FAIL
    assert any(f"own query {LOGS} alone: p99 4 s; 2 of 5 over 3 s" in text for text in verdict.evidence)


def test_own_queries_that_fail_are_not_outvoted_by_panels_either() -> None:
    verdict = few_own(0.1, 0.1, ok=False, status=502, detail="bad gateway").verdict("logs.query")
    assert verdict.result is Result.FAIL
    assert any("2 of 2 over 3 s or failed" in text for text in verdict.evidence) and "502" in verdict.remedy


def test_one_slow_own_query_of_a_few_can_not_be_told() -> None:
    verdict = few_own(0.1, 0.1, 0.1, 0.1, 4.0).verdict("logs.query")
    assert verdict.result is Result.UNKNOWN
    assert any(f"own query {LOGS}: asked 5 ×, p99 4 s, slowest 4 s" in text for text in verdict.evidence)
    assert any(f"own query {LOGS} alone: p99 4 s; 1 of 5 over 3 s" in text for text in verdict.evidence)


def test_a_few_quick_own_queries_say_how_little_they_exclude() -> None:
    verdict = few_own(*[0.1] * 15).verdict("logs.query")
    assert verdict.result is Result.PASS
    assert any("0 of 15 over 3 s: with 95 % confidence fewer than 19 % are" in text for text in verdict.evidence)


def test_an_own_query_of_another_component_does_not_matter() -> None:
    assert own_run(ok=False, status=502).result("metrics.query") is Result.PASS


# -- what was planned and never asked ------------------------------------------------------------------------------


def never_asked(made: Made, component: str, kind: str, count: int, waited_s: float, end: str = "missed") -> None:
    asked(
        made, component, kind, 86_400.0, count, ok=False, status=0, items=0, sent_ns=0, end=end,
        done_ns=BEGAN_NS + round((count + waited_s) * NS),
    )  # fmt: skip


@pytest.mark.parametrize("end", ["missed", "cut"])
def test_an_own_query_that_stalled_is_slow_by_what_was_never_asked_meanwhile(end: str) -> None:
    made = own_run()
    never_asked(made, "loki", LOGS, 15, 10.0, end)
    verdict = made.verdict("logs.query")
    assert verdict.result is Result.FAIL
    assert any("15 planned and never asked" in text and "0 failed" not in text for text in verdict.evidence)


def test_an_own_query_that_is_a_mistake_stays_one_whatever_was_never_asked() -> None:
    made = own_run(ok=False, status=400, items=0, detail="parse error at line 1")
    never_asked(made, "loki", LOGS, 3, 0.1)
    verdict = made.verdict("logs.query")
    assert verdict.result is Result.UNKNOWN
    assert "[[queries]]" in verdict.remedy
