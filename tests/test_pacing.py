import itertools

from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import MS, NS
from loadgen.pacing import pace_of

BEGAN = 1_795_000_000_000_000_000


@given(user=st.integers(0, 10**6), interval_ms=st.integers(1, 10**6), now_ms=st.integers(-(10**6), 10**9))
def test_the_first_operation_at_a_time_is_due_then_or_later_and_the_one_before_is_not(user, interval_ms, now_ms):
    pace = pace_of(user, BEGAN, interval_ms * MS)
    now_ns = BEGAN + now_ms * MS
    n = pace.first_at(now_ns)
    assert pace.due(n) >= now_ns
    assert n == 0 or pace.due(n - 1) < now_ns
    last = pace.last_at(now_ns)
    assert pace.due(last) <= now_ns < pace.due(last + 1)


@given(user=st.integers(0, 10**6), interval_ms=st.integers(1, 10**6))
def test_a_phase_is_a_whole_millisecond_within_the_interval(user, interval_ms):
    pace = pace_of(user, BEGAN, interval_ms * MS)
    assert 0 <= pace.phase_ns < interval_ms * MS
    assert pace.phase_ns % MS == 0


def test_phases_of_many_users_fill_the_interval_evenly():
    phases = sorted(pace_of(user, BEGAN, NS).phase_ns for user in range(100))
    gaps = [after - before for before, after in itertools.pairwise(phases)]
    assert max(gaps) <= 20 * MS


def test_a_plan_does_not_depend_on_what_happened_before():
    pace = pace_of(3, BEGAN, NS)
    assert [pace.due(n) - pace.due(0) for n in (5, 1, 5)] == [5 * NS, NS, 5 * NS]
