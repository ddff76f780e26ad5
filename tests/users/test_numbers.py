import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.kinds.traces.source import SDK_USER
from loadgen.users.numbers import MOST, NoNumberLeft, user_number


def given_numbers(workers, places, counts, planned):
    """All numbers that these workers give to so many users each; where none is left, none is given."""
    numbers = []
    for worker in places:
        for k in range(counts):
            try:
                numbers.append(user_number(worker, workers, k, planned))
            except NoNumberLeft:
                break
    return numbers


@given(
    workers=st.integers(1, 30),
    places=st.sets(st.integers(0, 400), max_size=25),
    counts=st.integers(1, 400),
    planned=st.integers(0, MOST),
)
def test_no_two_users_have_the_same_number_and_none_that_of_the_sdk_probe(workers, places, counts, planned):
    numbers = given_numbers(workers, places, counts, planned)
    assert len(set(numbers)) == len(numbers)
    assert SDK_USER not in numbers
    assert all(0 <= number < MOST for number in numbers)


@given(
    workers=st.integers(1, 200),
    first=st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)),
    second=st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)),
    planned=st.integers(0, MOST),
)
def test_any_two_users_whatever_their_worker_and_count_differ(workers, first, second, planned):
    try:
        numbers = {user_number(place, workers, k, planned) for place, k in (first, second)}
    except NoNumberLeft:
        return
    assert len(numbers) == len({first, second})


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_workers_that_were_there_first_number_without_gaps(workers):
    numbers = given_numbers(workers, range(workers), 50, planned=50 * workers)
    assert sorted(numbers) == list(range(50 * workers))


def test_a_worker_that_joins_as_the_tenth_does_not_have_the_number_of_the_sdk_probe():
    assert user_number(worker=9, workers=1, k=0, planned=3) not in (SDK_USER, 0, 1, 2)


def test_all_that_were_planned_have_numbers_even_if_they_are_as_many_as_there_can_be():
    assert user_number(0, 1, MOST - 1, planned=MOST) == MOST - 1
    with pytest.raises(NoNumberLeft, match="with all workers present"):
        user_number(1, 1, 0, planned=MOST)
