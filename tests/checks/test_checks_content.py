"""Loss, duplicates, alterations and order: what reading back found, and what that is worth."""

from __future__ import annotations

import pytest
from made_history import Made, empty_run, good_run

from loadgen.history.sampling import bound_text
from loadgen.model import Outcome, Result, Signal

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


def sampled(share: float, run: str = "made", duration_s: int = 60) -> Made:
    return good_run({"verify": {"sample": share}, "run": {"duration": duration_s}, "faults": []}, run)


def compared_of(made: Made, signal: str = "logs") -> list[tuple[int, int]]:
    rows = [s for s in made.sightings if s.signal == signal and s.phase == "verify" and s.compared]
    return [(row.user, row.n) for row in rows]


@pytest.mark.parametrize("check", COMPARED)
def test_a_sampled_comparison_says_what_its_sample_is_worth(check: str) -> None:
    made = sampled(0.5)
    verdict = made.verdict(check)
    k = len(compared_of(made, check.split(".")[0]))
    assert 40 < k < 80
    assert verdict.result is Result.PASS
    assert any(f"k = {k}" in text and "95 % confidence" in text for text in verdict.evidence)
    assert f"fewer than {bound_text(k)} of the batches" in verdict.measured


def test_a_weak_sample_says_so_beside_the_verdict() -> None:
    made = sampled(0.2)
    k = len(compared_of(made))
    verdict = made.verdict("logs.altered")
    assert 10 <= k < 30 and verdict.result is Result.PASS
    assert f"a weak sample of {k} batches: fewer than {bound_text(k)}" in verdict.measured


def test_batches_read_because_their_count_was_wrong_make_the_sample_no_larger() -> None:
    made = sampled(0.2)
    before, drawn = made.verdict("logs.altered"), set(compared_of(made))
    made.change(
        "sightings",
        lambda s: s.signal == "logs" and s.phase == "verify" and s.user == 1 and (1, s.n) not in drawn,
        compared=lambda s: s.found,
    )
    beside = len(compared_of(made)) - len(drawn)
    after = made.verdict("logs.altered")
    assert beside > 30
    assert f"k = {len(drawn)} " in after.evidence[0] and f"{beside} further batches compared" in after.evidence[0]
    assert after.measured.split(";")[1] == before.measured.split(";")[1]


def test_what_is_wrong_beside_the_sample_fails_too() -> None:
    made = sampled(0.2)
    drawn = set(compared_of(made))
    other = next(n for n in range(60) if (1, n) not in drawn)
    made.change(
        "sightings",
        lambda s: (s.signal, s.phase, s.user, s.n) == ("logs", "verify", 1, other),
        compared=lambda s: s.found,
        altered=1,
    )
    assert made.result("logs.altered") is Result.FAIL


def test_pushes_without_a_clear_answer_are_no_part_of_the_sample() -> None:
    made = sampled(0.2)
    drawn = compared_of(made)
    unclear = drawn[0]
    made.change("receipts", lambda r: (r.signal, r.user, r.n) == ("logs", *unclear), outcome=Outcome.UNKNOWN.value)
    verdict = made.verdict("logs.altered")
    assert f"k = {len(drawn) - 1} " in verdict.evidence[0] and "1 further batch compared" in verdict.evidence[0]


def test_a_drawn_batch_that_could_not_be_read_leaves_it_unknown() -> None:
    made = sampled(0.5)
    drawn = compared_of(made)[3]
    made.change(
        "sightings",
        lambda s: (s.signal, s.phase, s.user, s.n) == ("logs", "verify", *drawn),
        unreadable=True,
        compared=0,
        detail="502",
    )
    verdict = made.verdict("logs.altered")
    assert verdict.result is Result.UNKNOWN
    assert "502" in verdict.evidence[0] and "loadgen verify" in verdict.remedy


def test_a_batch_outside_the_sample_that_could_not_be_read_does_not_concern_the_comparison() -> None:
    made = sampled(0.5)
    drawn = set(compared_of(made))
    other = next(n for n in range(60) if (1, n) not in drawn)
    made.change(
        "sightings", lambda s: (s.signal, s.phase, s.user, s.n) == ("logs", "verify", 1, other), unreadable=True
    )
    assert made.result("logs.altered") is Result.PASS
    assert made.result("logs.loss") is Result.UNKNOWN


def test_a_batch_that_is_lost_altogether_cannot_be_compared_and_is_a_matter_of_loss() -> None:
    made = good_run({"faults": []})
    made.change(
        "sightings",
        lambda s: (s.signal, s.phase, s.user, s.n) == ("logs", "verify", 1, 3),
        found=0,
        compared=0,
        missing=lambda s: s.expected,
    )
    assert made.result("logs.altered") is Result.PASS
    assert made.result("logs.loss") is Result.FAIL


def test_few_wrong_items_in_a_sample_do_not_tell_how_many_there_are_in_all() -> None:
    made = good_run({"verify": {"sample": 0.5}, "objectives": {"logs": {"altered": 5}}, "faults": []})
    user, n = compared_of(made)[0]
    made.change("sightings", lambda s: (s.signal, s.phase, s.user, s.n) == ("logs", "verify", user, n), altered=2)
    verdict = made.verdict("logs.altered")
    assert verdict.result is Result.UNKNOWN and "sample" in verdict.evidence[0]
    everything = good_run({"objectives": {"logs": {"altered": 5}}, "faults": []})
    everything.change("sightings", lambda s: (s.signal, s.phase, s.user, s.n) == ("logs", "verify", 1, 3), altered=2)
    assert everything.result("logs.altered") is Result.PASS


def test_a_limit_of_items_makes_a_sample_too() -> None:
    made = good_run({"verify": {"max_compared": 600}, "faults": []})
    k = len(compared_of(made))
    assert 40 < k < 80 and f"k = {k} " in made.verdict("logs.altered").evidence[0]


def test_counts_are_said_to_be_complete_whatever_the_sample() -> None:
    texts = " ".join(sampled(0.1).verdict("logs.loss").evidence)
    assert (
        "120 batches with 1,200 lines: all of them are counted" in texts and "does not make up for a lost one" in texts
    )


@pytest.mark.parametrize("check", COMPARED)
def test_nothing_compared_is_unknown(check: str) -> None:
    made = good_run()
    made.change("sightings", lambda s: s.phase == "verify", compared=0)
    assert made.result(check) is Result.UNKNOWN


def test_too_small_a_sample_is_unknown() -> None:
    made = sampled(0.05)
    assert 0 < len(compared_of(made)) < 10
    verdict = made.verdict("logs.altered")
    assert verdict.result is Result.UNKNOWN and "too few to judge by" in verdict.evidence[0]


@pytest.mark.parametrize("check", COMPARED)
def test_a_sample_that_drew_nothing_is_unknown(check: str) -> None:
    verdict = sampled(0.0).verdict(check)
    assert verdict.result is Result.UNKNOWN and "verify.sample" in verdict.remedy


def test_few_batches_of_which_all_are_compared_are_enough() -> None:
    made = good_run({"run": {"duration": 4, "warmup": 1}, "logs": {"users": 1}, "faults": []})
    assert len(compared_of(made)) == 4
    verdict = made.verdict("logs.altered")
    assert verdict.result is Result.PASS and "all of them, in full" in verdict.evidence[0]


@pytest.mark.parametrize("signal", Signal)
def test_what_was_added_on_the_way_is_told_once_with_its_name_and_breaks_nothing(signal: Signal) -> None:
    made = good_run()
    of = signal.value
    added = 'label cluster="home"\nlabel detected_level="info"'
    made.change("sightings", lambda row: row.signal == of and row.compared and row.n % 2, added=added)
    made.change("sightings", lambda row: row.signal == of and row.compared and not row.n % 2, added='label cluster="x"')
    verdict = made.verdict(f"{of}.altered")
    told = [text for text in verdict.evidence if "added on the way" in text]
    assert verdict.result is Result.PASS
    assert told == ['added on the way: label cluster="home", label detected_level="info"']


def test_nothing_is_told_to_be_added_where_nothing_was() -> None:
    assert not [text for text in good_run().verdict("logs.altered").evidence if "added" in text]


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.REJECTED])
@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("share", [1, 2])
def test_a_refused_push_of_which_a_part_or_all_is_found_is_no_loss_copy_or_alteration(
    signal: str, outcome: Outcome, share: int
) -> None:
    made = good_run()
    made.change(
        "receipts", lambda r: (r.signal, r.user, r.n) == (signal, 1, 3), outcome=outcome.value, status=400, detail="400"
    )
    made.change(
        "sightings",
        lambda s: (s.signal, s.phase, s.user, s.n) == (signal, "verify", 1, 3),
        found=lambda s: s.expected // share,
        missing=lambda s: s.expected - s.expected // share,
        compared=lambda s: s.expected // share,
    )
    for promise in ("loss", "duplicates", "altered"):
        assert made.result(f"{signal}.{promise}") is Result.PASS
    shadow = f"1 push with the outcome {outcome.value} can be read back all the same"
    assert shadow in made.verdict(f"{signal}.loss").evidence
