"""Traces are searched for second by second, each second once, and nothing of a failed search is kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from loadgen.model import NS
from loadgen.reading.traces import Listing
from loadgen.targets.reading import Reply
from loadgen.targets.tempo import CANNOT_LIST, TempoReader, TraceHit

LATER_NS = 1_000 * NS
NEWEST = (110).to_bytes(16, "big")
OLDER = (90).to_bytes(16, "big")


@dataclass
class Clock:
    now_ns: int

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS)


class _Searches:
    """Every second holds one trace; a cut-off, if set, hides what is younger as Tempo 3 does."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[tuple[int, int, int]] = []
        self.error = ""
        self.hidden_s = 0

    def search(self, query: str, start_ns: int, end_ns: int, limit: int, listed_spans: int) -> Reply[Any]:
        self.asked.append((start_ns // NS, end_ns // NS, limit))
        at_ns = len(self.asked)
        if self.error:
            return Reply(None, self.error, 503, at_ns, at_ns)
        if self.clock.now_ns < end_ns + self.hidden_s * NS:
            now_ns = self.clock.now_ns
            if start_ns // NS == now_ns // NS - self.hidden_s:
                return Reply(None, "start must be before end", 400, now_ns, now_ns)
            return Reply({OLDER: TraceHit(OLDER, 1, (b"c",))}, "", 200, now_ns, now_ns)
        if self.hidden_s:
            at_ns = self.clock.now_ns
        one = (start_ns // NS).to_bytes(16, "big")
        return Reply({one: TraceHit(one, 2, (b"b", b"a"))}, "", 200, at_ns, at_ns)


def listing(
    per_s: float = 10, hidden_s: int = 0, now_ns: int = LATER_NS, stopped: bool = False
) -> tuple[Listing, _Searches]:
    clock = Clock(now_ns)
    searches = _Searches(clock)
    searches.hidden_s = hidden_s
    reader = cast(TempoReader, searches)
    return Listing(reader, "run", per_s, 110 * NS, frozenset([NEWEST]), clock, clock.sleep, lambda: stopped), searches


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


def test_nothing_is_hidden_where_the_newest_second_is_listed() -> None:
    made, searches = listing(now_ns=112 * NS)
    assert not made.hides(105 * NS) and not made.hides(111 * NS)
    assert [second for second, _, _ in searches.asked] == [110]


def test_a_search_that_leaves_out_the_newest_is_made_again_when_it_hides_nothing_more() -> None:
    made, searches = listing(now_ns=112 * NS, hidden_s=30)
    early = made.of(105 * NS, 106 * NS)
    assert early.value == ({OLDER: b"c"},) and made.hides(106 * NS)
    settled = made.of(105 * NS, 106 * NS, settled=True)
    assert settled.value is not None and settled.value[0] and settled.sent_ns >= 136 * NS
    asked = len(searches.asked)
    assert made.of(105 * NS, 106 * NS, settled=True).value == settled.value and len(searches.asked) == asked


def test_what_is_older_than_any_cut_off_is_not_hidden_and_not_asked_about() -> None:
    made, searches = listing(now_ns=200 * NS, hidden_s=30)
    assert not made.hides(106 * NS) and not searches.asked


def test_a_search_that_fails_is_no_sign_that_something_is_hidden() -> None:
    made, searches = listing(now_ns=112 * NS)
    searches.error = "away"
    assert not made.hides(106 * NS)


def test_a_person_who_wants_the_end_does_not_wait_for_hidden_traces() -> None:
    made, searches = listing(now_ns=112 * NS, hidden_s=30, stopped=True)
    assert made.of(105 * NS, 106 * NS, settled=True).value is not None
    assert searches.clock.now_ns == 112 * NS


def test_a_search_that_is_refused_where_the_cut_off_falls_onto_its_start_hides_it() -> None:
    made, _ = listing(now_ns=140 * NS, hidden_s=30)
    assert made.of(110 * NS, 111 * NS).status == 400 and made.hides(111 * NS)


class _Crowded(_Searches):
    """More traces of the run in each second than Tempo lists, and few of each user."""

    def search(self, query: str, start_ns: int, end_ns: int, limit: int, listed_spans: int) -> Reply[Any]:
        self.queries.append(query)
        if "loadgen.user" not in query:
            return Reply(None, f"more than 5 traces within one second; {CANNOT_LIST}", 200, 1, 2)
        if self.error:
            return Reply(None, self.error, 503, 3, 4)
        one = query.encode()[-10:].rjust(16)
        return Reply({one: TraceHit(one, 2, (b"b", b"a"))}, "", 200, 3, 4)

    queries: list[str]


def crowded(stopped: bool = False) -> tuple[Listing, _Crowded]:
    searches = _Crowded(Clock(LATER_NS))
    searches.queries = []
    clock, reader = searches.clock, cast(TempoReader, searches)
    return Listing(reader, "run", 9.0, 0, frozenset(), clock, clock.sleep, lambda: stopped, [3, 7]), searches


def test_what_search_cannot_list_in_one_second_is_listed_user_by_user() -> None:
    made, searches = crowded()
    reply = made.of(100 * NS, 101 * NS)
    assert reply.value is not None and len(reply.value[0]) == 2 and set(reply.value[0].values()) == {b"ab"}
    assert [query.partition("loadgen.user")[2][:11] for query in searches.queries] == ["", ' = "00003" ', ' = "00007" ']


def test_a_part_of_the_users_is_no_list() -> None:
    made, searches = crowded()
    searches.error = "away"
    assert made.of(100 * NS, 101 * NS).error == "away"
    made, _ = crowded(stopped=True)
    assert CANNOT_LIST in made.of(100 * NS, 101 * NS).error
