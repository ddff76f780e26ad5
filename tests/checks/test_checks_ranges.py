"""Queries over a day that holds an hour, and the user's own queries."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_history import BEGAN_NS, Made, good_run

from loadgen.model import HELD_DATA, NS, QueryTiming, Result, StackSample

OWN = {
    "faults": [],
    "queries": [
        {"component": "loki", "query": '{namespace="monitoring"}', "range": "24h"},
        {"component": "mimir", "query": "up", "range": "7d", "name": "targets"},
    ],
}


def asked(made: Made, component: str, kind: str, range_s: float, **fields: object) -> None:
    for number in range(10):
        due_ns = BEGAN_NS + (number + 1) * NS
        row = QueryTiming(
            component, kind, "grafana", "own", range_s, due_ns, due_ns, due_ns + NS // 10, True, 200, 5, ""
        )
        made.queries.append(replace(row, **fields))  # type: ignore[arg-type]


def own_run(held_share: float | None = 1.0, **fields: object) -> Made:
    made = good_run(OWN)
    asked(made, "loki", '{namespace="monitoring"}', 86_400.0, **fields)
    asked(made, "mimir", "targets", 604_800.0)
    if held_share is not None:
        for component, label in (("loki", '{namespace="monitoring"}'), ("mimir", "targets")):
            made.stack.append(StackSample(component, HELD_DATA, label, BEGAN_NS, held_share))
    return made


def test_a_young_runs_panels_over_a_day_say_how_little_of_it_held_data() -> None:
    verdict = good_run({"faults": []}).verdict("logs.query")
    assert verdict.result is Result.PASS
    assert "of 24 h held data" in verdict.measured
    assert any("tested on" in text and "of 24 h only" in text for text in verdict.evidence)


def test_own_queries_over_a_full_range_count_for_the_whole_of_it() -> None:
    verdict = own_run().verdict("metrics.query")
    assert verdict.result is Result.PASS
    assert "7 d of 7 d held data" in verdict.measured
    assert not any("tested on" in text for text in verdict.evidence)
    assert any("targets" in text or "own query up" in text for text in verdict.evidence)


def test_a_range_of_which_little_held_data_is_named_with_at_most_so_much() -> None:
    verdict = own_run(0.125).verdict("logs.query")
    assert "at most 3 h of 24 h held data" in verdict.measured
    assert any("tested on 3 h of 24 h only" in text for text in verdict.evidence)


def test_what_could_not_be_told_of_an_own_query_is_said() -> None:
    evidence = own_run(None).verdict("logs.query").evidence
    assert any("could not be told" in text for text in evidence)


def test_an_own_query_that_returned_nothing_proves_nothing_by_its_speed() -> None:
    verdict = own_run(0.0, items=0).verdict("logs.query")
    assert verdict.result is Result.PASS
    assert any("proves nothing" in text for text in verdict.evidence)


def test_an_own_query_that_the_server_refuses_is_the_profiles_mistake_and_makes_the_promise_unknown() -> None:
    made = own_run(ok=False, status=400, items=0, detail="parse error: unexpected )")
    verdict = made.verdict("logs.query")
    assert verdict.result is Result.UNKNOWN
    assert "0 of" in verdict.measured and "[[queries]]" in verdict.remedy
    assert any("parse error" in text for text in verdict.evidence)
    assert made.result("all.query") is Result.PASS


@pytest.mark.parametrize(
    ("status", "detail"), [(502, "bad gateway"), (0, "no answer"), (400, "Authentication to data source failed")]
)
def test_an_own_query_that_fails_for_another_reason_counts_against_the_stack(status: int, detail: str) -> None:
    assert own_run(ok=False, status=status, detail=detail).result("logs.query") is Result.FAIL


def test_slow_own_queries_fail_like_those_of_viewers() -> None:
    made = own_run()
    made.change("queries", lambda q: q.source == "own", done_ns=lambda q: q.due_ns + 9 * NS)
    assert made.result("logs.query") is Result.FAIL
