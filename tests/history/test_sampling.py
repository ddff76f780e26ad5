"""The sample is a fair draw over batches, and what is claimed from it holds."""

from __future__ import annotations

import math
import random

import pytest
from fake_stack import BEGAN_NS, receipt_of, small_plan
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.history.sampling import WEAK_BELOW, Draw, bound_text, draw_of, wrong_share_below
from loadgen.history.values import frame_of
from loadgen.model import Outcome, Receipt, RunKey, Signal
from loadgen.reading.cases import Ledger

keys = st.builds(
    RunKey, st.text("abcdef0123456789-", min_size=1, max_size=12), st.integers(0, 2**63 - 1), st.just(BEGAN_NS)
)
signals = st.sampled_from(Signal)


def drawn(draw: Draw, users: int, batches: int) -> list[tuple[int, int]]:
    return [(user, n) for n in range(batches) for user in range(users) if draw.has(user, n)]


def usual(count: int, among: int, share: float) -> bool:
    """Within six standard deviations (and three for small numbers): chance leaves them once in many million draws."""
    return abs(count - among * share) < 6 * math.sqrt(among * share * (1 - share)) + 3


@given(key=keys, signal=signals, share=st.floats(0.02, 0.9), users=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_every_batch_has_the_same_chance_wherever_in_the_run_and_whosever_it_is(key, signal, share, users):  # type: ignore[no-untyped-def]
    batches = 600 // users
    sample = drawn(Draw(key, signal, share), users, batches)
    assert usual(len(sample), users * batches, share)
    assert usual(sum(n < batches // 2 for _, n in sample), users * (batches // 2), share)
    assert usual(sum(user == 0 for user, _ in sample), batches, share)
    neighbours = sum((user, n + 1) in set(sample) for user, n in sample if n % 2 == 0)
    assert usual(neighbours, users * (batches // 2), share * share)


@given(key=keys, signal=signals, small=st.floats(0, 1), large=st.floats(0, 1))
def test_a_larger_share_only_adds_batches(key, signal, small, large):  # type: ignore[no-untyped-def]
    small, large = min(small, large), max(small, large)
    assert set(drawn(Draw(key, signal, small), 3, 50)) <= set(drawn(Draw(key, signal, large), 3, 50))


def test_other_runs_and_signals_draw_other_batches() -> None:
    key = RunKey("one", 1, 0)
    draws = [Draw(key, Signal.LOGS, 0.5), Draw(key, Signal.TRACES, 0.5), Draw(RunKey("two", 1, 0), Signal.LOGS, 0.5)]
    assert len({tuple(drawn(draw, 2, 40)) for draw in draws}) == 3


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 150)])
def test_nothing_and_everything_are_exact(share: float, count: int) -> None:
    assert len(drawn(Draw(RunKey("r", 1, 0), Signal.LOGS, share), 3, 50)) == count


@pytest.mark.parametrize(
    ("items", "sample", "most", "share"),
    [(1000, 1.0, 1000, 1.0), (1000, 1.0, 100, 0.1), (1000, 0.05, 100, 0.05), (0, 1.0, 100, 0.0), (1000, 1.0, 0, 0.0)],
)
def test_the_share_is_what_the_profile_says_or_less(items: int, sample: float, most: int, share: float) -> None:
    assert draw_of(RunKey("r", 1, 0), Signal.LOGS, items, sample, most).share == share


@given(
    outcomes=st.lists(st.sampled_from([Outcome.ACCEPTED, Outcome.REJECTED, Outcome.UNKNOWN]), min_size=40, max_size=40)
)
@settings(max_examples=40, deadline=None)
def test_what_became_of_a_push_does_not_change_whether_it_is_drawn(outcomes: list[Outcome]) -> None:
    plan = small_plan(verify={"sample": 0.4})
    batches = [plan.logs.batch(user, n) for n in range(20) for user in range(2)]
    receipts = [receipt_of(batch, outcome) for batch, outcome in zip(batches, outcomes, strict=True)]
    ledger = Ledger(plan, Signal.LOGS, frame_of(receipts, Receipt), 0.4, 10**6)
    compared = {(case.batch.user, case.batch.n) for case in ledger.cases() if case.compare}
    assert compared == set(drawn(Draw(plan.key, Signal.LOGS, 0.4), 2, 20))


# -- the bound -----------------------------------------------------------------------------------------------------


@given(k=st.integers(1, 10**6))
def test_the_bound_is_never_below_the_exact_one(k: int) -> None:
    exact = 1 - 0.05 ** (1 / k)
    assert exact * (1 - 1e-9) <= wrong_share_below(k) <= (exact if k < WEAK_BELOW else 3 / k) * (1 + 1e-9)


@given(k=st.integers(1, 10**7))
def test_the_bound_as_text_never_claims_more_than_the_bound(k: int) -> None:
    shown, unit = bound_text(k).split(" ")
    percent = 100 * wrong_share_below(k)
    assert unit == "%" and percent * (1 - 1e-9) <= float(shown) <= percent * 1.11 + 1e-9


@pytest.mark.parametrize(
    ("k", "text"),
    [(1, "95 %"), (10, "26 %"), (29, "9.9 %"), (30, "10 %"), (100, "3.0 %"), (207, "1.5 %"), (3000, "0.10 %")],
)
def test_bounds_read_well(k: int, text: str) -> None:
    assert bound_text(k) == text


@pytest.mark.parametrize(("total", "share"), [(60, 0.2), (400, 0.1), (400, 0.5), (1000, 0.02)])
def test_at_most_one_run_in_twenty_claims_too_little(total: int, share: float) -> None:
    """Runs with ever other seeds, whose share of wrong batches lies just at what their sample would exclude."""
    chance = random.Random(7)
    runs = claims_wrongly = 0
    for seed in range(1500):
        draw = Draw(RunKey("r", seed, 0), Signal.LOGS, share)
        sample = drawn(draw, 1, total)
        if not sample:
            continue
        runs += 1
        wrong = math.ceil(wrong_share_below(len(sample)) * total)
        hurt = set(chance.sample(range(total), min(total, wrong)))
        claims_wrongly += not any(n in hurt for _, n in sample)
    assert claims_wrongly / runs < 0.05 + 4 * math.sqrt(0.05 * 0.95 / runs)
