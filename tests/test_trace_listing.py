"""Traces are searched for second by second, each second once, and nothing of a failed search is kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from loadgen.model import NS
from loadgen.reading.traces import Listing
from loadgen.targets.reading import Reply
from loadgen.targets.tempo import TempoReader, TraceHit


class _Searches:
    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []
        self.error = ""

    def search(self, query: str, start_ns: int, end_ns: int, limit: int, listed_spans: int) -> Reply[Any]:
        self.asked.append((start_ns // NS, end_ns // NS, limit))
        at_ns = len(self.asked)
        if self.error:
            return Reply(None, self.error, 503, at_ns, at_ns)
        one = (start_ns // NS).to_bytes(16, "big")
        return Reply({one: TraceHit(one, 2, (b"b", b"a"))}, "", 200, at_ns, at_ns)


def listing(per_s: float = 10) -> tuple[Listing, _Searches]:
    searches = _Searches()
    return Listing(cast(TempoReader, searches), "run", per_s), searches


def test_windows_within_the_same_second_share_one_search() -> None:
    made, searches = listing()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: made.of(100 * NS + n, 101 * NS + n), range(40)))
    assert sorted(second for second, _, _ in searches.asked) == [100, 101]
    assert all(end == second + 1 for second, end, _ in searches.asked)


def test_a_window_lists_the_spans_of_all_its_seconds_in_order_with_the_times_of_all_searches() -> None:
    made, searches = listing()
    reply = made.of(100 * NS + 5, 102 * NS + 1)
    assert reply.value is not None and len(reply.value) == len(searches.asked) == 3
    assert [part[second.to_bytes(16, "big")] for part, second in zip(reply.value, (100, 101, 102), strict=True)] == [
        b"ab"
    ] * 3
    assert (reply.sent_ns, reply.done_ns) == (1, 3)


def test_a_search_that_failed_is_made_again() -> None:
    made, searches = listing()
    searches.error = "away"
    assert made.of(100 * NS, 101 * NS).error == "away"
    searches.error = ""
    assert made.of(100 * NS, 101 * NS).value is not None
    assert len(searches.asked) == 2


def test_what_is_looked_for_again_is_searched_for_again() -> None:
    made, searches = listing()
    made.of(100 * NS, 101 * NS)
    assert made.fresh(100 * NS, 101 * NS).value is not None
    assert len(searches.asked) == 2


def test_only_the_last_seconds_are_kept() -> None:
    made, searches = listing()
    for second in range(100, 200):
        made.of(second * NS, (second + 1) * NS)
    assert len(made._seconds) < 20
    made.of(100 * NS, 101 * NS)
    assert len(searches.asked) == 101


def test_the_first_limit_has_room_for_what_is_expected() -> None:
    made, searches = listing(per_s=9_000)
    made.of(100 * NS, 101 * NS)
    assert searches.asked[0][2] > 9_000
