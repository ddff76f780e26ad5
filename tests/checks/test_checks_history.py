"""A run of days ago: judged by its last reading back, and only once it is old enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from made_history import Made, empty_run, good_run

from loadgen.model import NS, Outcome, Result

CHECK = "history.reach"
DAY_S = 86_400


def read_back_after(made: Made, age_s: float, **info: Any) -> Made:
    made.info = replace(made.info, verified_ns=made.info.load_ended_ns + round(age_s * NS), **info)
    return made


def test_a_run_of_three_days_ago_that_is_all_there_passes() -> None:
    verdict = read_back_after(good_run(), 3 * DAY_S).verdict(CHECK)
    assert verdict.result is Result.PASS
    assert verdict.value == 0
    assert verdict.samples > 0
    assert verdict.measured == "0 items missing after 3 d"


@pytest.mark.parametrize("signal", ["logs", "traces", "metrics"])
def test_one_item_that_is_gone_after_three_days_fails_and_says_where(signal: str) -> None:
    made = read_back_after(good_run(), 3 * DAY_S)
    made.change("sightings", lambda s: (s.signal, s.phase, s.user, s.n) == (signal, "verify", 1, 3), missing=1)
    verdict = made.verdict(CHECK)
    assert verdict.result is Result.FAIL
    assert verdict.value == 1
    assert any("user 1, batch 3" in text for text in verdict.evidence)
    assert "retention" in verdict.remedy


def test_a_bound_of_the_profile_is_kept_to_and_marked() -> None:
    changes = {"objectives": {"all": {"history_missing": 1, "history_after": "1h"}}}
    made = read_back_after(good_run(changes), 2 * 3600)
    made.change("sightings", lambda s: (s.signal, s.phase, s.user, s.n) == ("logs", "verify", 1, 3), missing=1)
    verdict = made.verdict(CHECK)
    assert verdict.result is Result.PASS
    assert verdict.objective.overridden


@pytest.mark.parametrize("age_s", [0, 60, DAY_S - 1])
def test_a_young_run_is_skipped_and_told_when_it_is_old_enough(age_s: float) -> None:
    verdict = read_back_after(good_run(), age_s).verdict(CHECK)
    assert verdict.result is Result.SKIPPED
    assert "24 h" in verdict.remedy


def test_data_beyond_its_retention_is_no_loss() -> None:
    made = read_back_after(good_run(), 31 * DAY_S)
    made.change("sightings", lambda s: s.phase == "verify", missing=1)
    verdict = made.verdict(CHECK)
    assert verdict.result is Result.SKIPPED
    assert "30 d" in verdict.evidence[0]


def test_queries_that_failed_days_later_prove_no_loss_and_no_pass() -> None:
    made = read_back_after(good_run(), 3 * DAY_S)
    made.change("sightings", lambda s: (s.signal, s.phase) == ("traces", "verify"), unreadable=True)
    verdict = made.verdict(CHECK)
    assert verdict.result is Result.UNKNOWN
    assert any(text.startswith("traces:") for text in verdict.evidence)


def test_batches_that_were_not_read_back_prove_nothing() -> None:
    made = read_back_after(good_run(), 3 * DAY_S)
    made.drop("sightings", lambda s: (s.signal, s.phase, s.n) == ("logs", "verify", 3))
    assert made.result(CHECK) is Result.UNKNOWN


def test_a_signal_of_which_nothing_was_accepted_proves_nothing() -> None:
    made = read_back_after(good_run(), 3 * DAY_S)
    made.change("receipts", lambda r: r.signal == "metrics", outcome=Outcome.REJECTED.value)
    assert made.result(CHECK) is Result.UNKNOWN


def test_without_data_or_reading_back_it_cannot_be_told() -> None:
    assert read_back_after(empty_run(), 3 * DAY_S).result(CHECK) is Result.UNKNOWN
    assert empty_run(verified_ns=0).result(CHECK) is Result.UNKNOWN


def test_a_signal_that_nobody_sends_is_not_asked_for() -> None:
    made = read_back_after(good_run({"traces": {"users": 0}, "faults": []}), 3 * DAY_S)
    assert made.result(CHECK) is Result.PASS
