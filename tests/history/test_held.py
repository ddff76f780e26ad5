"""Which traces an object holds, as bits."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.history.held import pack, unpack


def test_what_is_packed_comes_back_user_by_user() -> None:
    numbers = {7: np.array([3, 4, 5, 900]), 2: np.array([10**9]), 4: np.zeros(0, np.int64)}
    back = {held.user: held.numbers.tolist() for held in unpack(pack(numbers))}
    assert back == {2: [10**9], 7: [3, 4, 5, 900]}


def test_one_user_can_be_asked_for_alone() -> None:
    packed = pack({user: np.arange(user, user + 20) for user in range(5)})
    assert [held.first for held in unpack(packed, 3)] == [3]
    assert not list(unpack(packed, 9))


def test_whole_stretches_take_next_to_nothing_and_any_choice_at_most_a_bit_a_trace() -> None:
    many = 1_000_000
    assert len(pack({1: np.arange(many)})) < 3000
    some = np.flatnonzero(np.random.default_rng(1).random(many) < 0.5)
    assert len(pack({1: some})) < many / 8 * 1.01


def test_nothing_is_packed_as_nothing() -> None:
    assert pack({}) == b"" and not list(unpack(b""))


def test_damage_is_told() -> None:
    packed = pack({1: np.arange(100)})
    for damaged in (packed[:-3], packed[:10], packed[:28] + b"xx" + packed[30:]):
        with pytest.raises(ValueError, match="damaged"):
            list(unpack(damaged))
