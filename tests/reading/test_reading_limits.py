"""What a server refuses as too much for one query is read back in parts."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from fake_stack import small_plan

from loadgen.model import Outcome, Signal
from loadgen.reading.cases import Found, SentBatch
from loadgen.reading.limits import is_too_much, look_in_parts

SERIES = (
    "mimir: 422, the query exceeded the maximum number of series (limit: 2 series) (err-mimir-max-series-per-query)"
)
RANGE = "loki: 400, 'the query time range exceeds the limit (query length: 2h0m0s, limit: 1h)'"


class Limited:
    """Finds everything, of at most so many users and batches of each at a time."""

    signal = Signal.LOGS

    def __init__(self, users: int, batches: int) -> None:
        self.users, self.batches, self.asked = users, batches, list[tuple[int, int]]()

    def look(self, cases: Sequence[SentBatch], again: bool) -> list[Found]:
        assert [case.batch.due_ns for case in cases] == sorted(case.batch.due_ns for case in cases)
        users = {case.batch.user for case in cases}
        ns = {case.batch.n for case in cases}
        self.asked.append((len(users), len(ns)))
        error = SERIES if len(users) > self.users else RANGE if len(ns) > self.batches else ""
        return [Found(case, 1, 2, found=0 if error else case.batch.items, error=error) for case in cases]


def cases(users: int, batches: int) -> list[SentBatch]:
    source = small_plan().logs
    made = [
        SentBatch(source.batch(user, n), Outcome.ACCEPTED, 1, True) for user in range(users) for n in range(batches)
    ]
    return sorted(made, key=lambda case: case.batch.due_ns)


@pytest.mark.parametrize(("users", "batches"), [(1, 1), (2, 5), (3, 1), (8, 8)])
def test_all_of_a_group_is_found_within_any_limit(users: int, batches: int) -> None:
    auditor = Limited(users, batches)
    wanted = cases(5, 8)
    found = look_in_parts(auditor, wanted, False)  # type: ignore[arg-type]
    assert sorted((one.case.batch.user, one.case.batch.n) for one in found) == sorted(
        (case.batch.user, case.batch.n) for case in wanted
    )
    assert not any(one.error for one in found)
    assert len(auditor.asked) <= 2 * len(wanted)


def test_what_is_too_much_even_alone_stays_unreadable_with_the_servers_words() -> None:
    found = look_in_parts(Limited(1, 0), cases(2, 2), False)  # type: ignore[arg-type]
    assert [one.error for one in found] == [RANGE] * 4


def test_other_failures_are_not_asked_for_in_parts() -> None:
    class Away(Limited):
        def look(self, cases: Sequence[SentBatch], again: bool) -> list[Found]:
            self.asked.append((0, 0))
            return [Found(case, 1, 2, error="loki: connection refused") for case in cases]

    auditor = Away(1, 1)
    assert len(look_in_parts(auditor, cases(2, 3), False)) == 6  # type: ignore[arg-type]
    assert auditor.asked == [(0, 0)]


@pytest.mark.parametrize(
    ("text", "too_much"),
    [
        ("max entries limit per query exceeded, limit > max_entries_limit_per_query (5001 > 5000)", True),
        ("the query time range exceeds the limit (query length: 800h0m0s, limit: 30d1h)", True),
        ("[interval] value exceeds limit: [10m] > [5m]", True),
        ("maximum number of series (2) reached for a single query; consider reducing query cardinality", True),
        ("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution", True),
        ("the total query time range exceeds the limit (query length: 2h0m0s, limit: 1h0m0s)", True),
        ("the raw query size in bytes exceeds the limit (query size: 326, limit: 200)", True),
        ("the query exceeded the maximum number of series (limit: 2 series) (err-mimir-max-series-per-query)", True),
        ("range specified by start and end exceeds 168h0m0s. received start=1795357740 end=1796077740", True),
        ("http://loki:3100/loki/api/v1/query_range: 414; the query is too long for the server", True),
        ("too many outstanding requests", False),
        ("context deadline exceeded: query timed out", False),
        ("too many tenant IDs present in the request. max: 1 actual: 2", False),
        ("no org id", False),
        ("parse error at line 1, col 4: syntax error: unexpected IDENTIFIER", False),
    ],
)
def test_refusals_for_size_are_told_from_others(text: str, too_much: bool) -> None:
    assert is_too_much(f"http://x: 400, {json.dumps(text)}; the server refuses this request") == too_much
