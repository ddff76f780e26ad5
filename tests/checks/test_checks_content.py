"""Loss, duplicates, alterations and order: what reading back found, and what that is worth."""

from __future__ import annotations

import pytest
from made_history import Made, empty_run, good_run

from loadgen.model import Outcome, Result

SIGNALS = ("logs", "traces", "metrics")
COUNTED = tuple(f"{signal}.{promise}" for signal in SIGNALS for promise in ("loss", "duplicates"))
COMPARED = (*(f"{signal}.altered" for signal in SIGNALS), "logs.order", "metrics.order")
COLUMN = {"loss": "missing", "duplicates": "doubled", "altered": "altered", "order": "reordered"}


def spoil(made: Made, check: str, amount: int, n: int = 3) -> None:
    """Let one accepted batch have something wrong with it."""
    signal, promise = check.split(".")
    made.change(
        "sightings",
        lambda s: (s.signal, s.phase, s.where, s.user, s.n) == (signal, "verify", "grafana", 1, n),
        **{COLUMN[promise]: amount},
        detail="seq 31 is not as it should be",
    )


@pytest.mark.parametrize("signal", ["logs", "traces", "metrics"])
def test_when_nothing_is_found_nothing_can_be_said_of_copies(signal: str) -> None:
    made = good_run()
    made.change(
        "sightings",
        lambda s: (s.signal, s.phase) == (signal, "verify"),
        found=0,
        missing=lambda s: s.expected,
        compared=0,
    )
    assert made.result(f"{signal}.loss") is Result.FAIL
    assert made.result(f"{signal}.duplicates") is Result.UNKNOWN
    assert made.result(f"{signal}.altered") is Result.UNKNOWN


@pytest.mark.parametrize("check", [*COUNTED, *COMPARED])
def test_a_run_without_defects_passes(check: str) -> None:
    verdict = good_run().verdict(check)
    assert verdict.result is Result.PASS
    assert verdict.value == 0
    assert verdict.samples > 0
    assert verdict.remedy == ""


@pytest.mark.parametrize("check", [*COUNTED, *COMPARED])
def test_one_wrong_item_fails_its_own_check_and_says_where(check: str) -> None:
    made = good_run()
    spoil(made, check, 1)
    verdicts = made.verdicts()
    assert verdicts[check].result is Result.FAIL
    assert verdicts[check].value == 1
    assert verdicts[check].remedy
    assert any("user 1, batch 3" in text and "seq 31" in text for text in verdicts[check].evidence)
    fine = (Result.PASS, Result.SKIPPED)
    others = {name for name, verdict in verdicts.items() if verdict.result not in fine and name != check}
    component = {"logs": "loki", "traces": "tempo", "metrics": "mimir"}[check.split(".")[0]]
    assert others <= ({f"{component}.persistence"} if check.endswith(".loss") else set())


@pytest.mark.parametrize("check", [*COUNTED, *COMPARED])
def test_without_data_it_cannot_be_told(check: str) -> None:
    verdict = empty_run().verdict(check)
    assert verdict.result is Result.UNKNOWN
    assert verdict.remedy


@pytest.mark.parametrize("check", [*COUNTED, *COMPARED])
def test_without_reading_back_it_cannot_be_told(check: str) -> None:
    made = good_run()
    made.drop("sightings", lambda s: s.phase == "verify")
    assert made.result(check) is Result.UNKNOWN
    assert "loadgen verify" in made.verdict(check).remedy


@pytest.mark.parametrize("check", [*COUNTED, *COMPARED])
def test_a_signal_without_users_is_skipped_with_the_reason(check: str) -> None:
    signal = check.split(".")[0]
    verdict = good_run({signal: {"users": 0}, "faults": []}).verdict(check)
    assert verdict.result is Result.SKIPPED
    assert f"no {signal} users" in verdict.evidence[0]


@pytest.mark.parametrize("check", COUNTED)
def test_an_unreadable_batch_makes_it_unknown(check: str) -> None:
    made = good_run()
    signal = check.split(".")[0]
    made.change(
        "sightings", lambda s: s.signal == signal and s.phase == "verify" and s.n == 5, unreadable=True, detail="502"
    )
    verdict = made.verdict(check)
    assert verdict.result is Result.UNKNOWN
    assert "502" in verdict.evidence[0]


def test_an_accepted_batch_that_nobody_read_back_makes_loss_unknown() -> None:
    made = good_run()
    made.drop("sightings", lambda s: s.signal == "logs" and s.phase == "verify" and s.n == 5)
    assert made.result("logs.loss") is Result.UNKNOWN


def test_a_proven_loss_fails_even_if_other_batches_are_unreadable() -> None:
    made = good_run()
    spoil(made, "logs.loss", 2)
    made.change("sightings", lambda s: s.signal == "logs" and s.phase == "verify" and s.n == 5, unreadable=True)
    verdict = made.verdict("logs.loss")
    assert verdict.result is Result.FAIL
    assert verdict.value == 2


def test_what_is_proven_missing_in_a_batch_that_was_read_in_part_counts() -> None:
    made = good_run()
    spoil(made, "logs.loss", 2)
    made.change("sightings", lambda s: (s.signal, s.phase, s.user, s.n) == ("logs", "verify", 1, 3), unreadable=True)
    assert made.verdict("logs.loss").value == 2


def test_what_was_not_accepted_cannot_be_lost() -> None:
    made = good_run()
    made.change("receipts", lambda r: (r.signal, r.user, r.n) == ("logs", 1, 3), outcome=Outcome.UNKNOWN.value)
    spoil(made, "logs.loss", 1)
    assert made.result("logs.loss") is Result.PASS


def test_a_rejected_push_that_is_there_all_the_same_is_told() -> None:
    made = good_run()
    made.change("receipts", lambda r: (r.signal, r.user, r.n) == ("logs", 1, 3), outcome=Outcome.REJECTED.value)
    assert any("outcome rejected" in text for text in made.verdict("logs.loss").evidence)


def test_loss_within_an_own_objective_passes_and_the_objective_is_marked() -> None:
    made = good_run({"objectives": {"logs": {"loss": 5}}})
    spoil(made, "logs.loss", 5)
    verdict = made.verdict("logs.loss")
    assert verdict.result is Result.PASS
    assert verdict.objective.overridden
    assert not made.verdict("metrics.loss").objective.overridden


def test_a_loss_says_how_it_lies_to_a_restart() -> None:
    made = good_run()
    spoil(made, "logs.loss", 1, n=18)
    assert any("before the kill of loki" in text for text in made.verdict("logs.loss").evidence)


def test_a_trace_that_only_search_does_not_list_is_not_lost() -> None:
    made = good_run()
    by_id = next(s for s in made.sightings if s.signal == "traces" and s.phase == "verify")
    made.sightings.append(
        type(by_id)(**{f: getattr(by_id, f) for f in by_id.__slots__} | {"where": "search", "missing": 8})
    )
    assert made.result("traces.loss") is Result.PASS


def test_the_last_look_at_a_batch_decides() -> None:
    made = good_run()
    spoil(made, "logs.loss", 1)
    found = next(s for s in made.sightings if (s.signal, s.phase, s.user, s.n) == ("logs", "verify", 0, 3))
    later = {"user": 1, "first_seen_ns": found.first_seen_ns + 10**9}
    made.sightings.append(type(found)(**{f: getattr(found, f) for f in found.__slots__} | later))
    assert made.result("logs.loss") is Result.PASS


@pytest.mark.parametrize("signal", SIGNALS)
def test_copies_of_a_push_that_was_retried_after_an_ambiguous_attempt_are_told_but_no_failure(signal: str) -> None:
    made = good_run()
    made.change("receipts", lambda r: (r.signal, r.user, r.n) == (signal, 1, 3), ambiguous_attempts=1, attempts=2)
    spoil(made, f"{signal}.duplicates", 8)
    verdict = made.verdict(f"{signal}.duplicates")
    assert verdict.result is Result.PASS
    assert any("8 surplus copies" in text and "at-least-once" in text for text in verdict.evidence)


def test_a_full_comparison_says_that_it_was_full() -> None:
    assert any("all of them, in full" in text for text in good_run().verdict("logs.altered").evidence)


def test_a_sampled_comparison_says_what_its_sample_is_worth() -> None:
    made = good_run()
    made.change("sightings", lambda s: s.phase == "verify" and s.signal == "logs" and s.n % 4 != 0, compared=0)
    verdict = made.verdict("logs.altered")
    compared = sum(1 for r in made.receipts if r.signal == "logs" and r.n % 4 == 0)
    assert verdict.result is Result.PASS
    assert any(f"k = {compared}" in text and "95 % confidence" in text for text in verdict.evidence)
    assert any(f"{300 / compared:.2g} %" in text for text in verdict.evidence)


@pytest.mark.parametrize("check", COMPARED)
def test_nothing_compared_is_unknown(check: str) -> None:
    made = good_run()
    made.change("sightings", lambda s: s.phase == "verify", compared=0)
    assert made.result(check) is Result.UNKNOWN


def test_too_small_a_sample_is_unknown() -> None:
    made = good_run()
    made.change("sightings", lambda s: s.phase == "verify" and (s.user, s.n) != (0, 1), compared=0)
    assert made.result("logs.altered") is Result.UNKNOWN
