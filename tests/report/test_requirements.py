"""The traceability matrix names every requirement, every check and every rule, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.acceptance.checks import CHECKS as ACCEPTANCE
from loadgen.audit import RULES
from loadgen.checks import CHECKS
from loadgen.model import Objective, Result, Verdict
from loadgen.plans import Requirement, default_plan
from loadgen.report.requirements import traced
from loadgen.report.sections.requirements import matrix

IDS = (Path(__file__).parent / "requirement_ids.txt").read_text().split()
REQUIREMENTS, PLANNED = default_plan().requirements, default_plan().planned
REGISTRIES = {"run": CHECKS, "check": ACCEPTANCE, "audit": RULES}


def verdict(check: str, result: Result) -> Verdict:
    return Verdict(check, "a promise", result, Objective("", 0.0, ""), "", None, 1)


def rows_of(*verdicts: Verdict) -> dict[str, tuple[str, ...]]:
    part = matrix(verdicts, default_plan())
    return {row[0]: row[1:] for row in part.blocks[1].rows}


def test_every_id_is_in_the_matrix_once_and_no_other_is():
    assert sorted(requirement.id for requirement in REQUIREMENTS) == sorted(IDS)
    assert len(IDS) == 66


@pytest.mark.parametrize("command", REGISTRIES)
def test_every_check_and_rule_shows_something(command):
    shown = {name for requirement in REQUIREMENTS for name in getattr(requirement, command)}
    assert {check.name for check in REGISTRIES[command]} - shown == set()


@pytest.mark.parametrize("command", REGISTRIES)
def test_every_name_in_the_matrix_is_a_check_or_rule_of_its_command(command):
    known = {check.name for check in REGISTRIES[command]} | (set(PLANNED) if command == "run" else set())
    shown = {name for requirement in REQUIREMENTS for name in getattr(requirement, command)}
    assert shown - known == set()


def test_a_planned_check_leaves_the_list_when_it_is_there():
    there = {check.name for registry in REGISTRIES.values() for check in registry}
    assert set(PLANNED) & there == set(), "take these out of planned in loadgen/plans/lgtm-homelab.toml"


def test_nothing_is_shown_by_nothing():
    assert [requirement.id for requirement in REQUIREMENTS if not requirement.names] == []


def test_the_worst_result_counts_and_says_how_much_stands_behind_it():
    rows = rows_of(
        verdict("memory", Result.PASS), verdict("single_replica", Result.FAIL), verdict("k8s.pods", Result.PASS)
    )
    assert rows["NFR-SCALE-002"][1] == "✗ FAIL (3 of 5)"
    assert rows["NFR-SCALE-002"][2] == "✓ k8s.pods, ✓ memory, ✗ single_replica"
    assert rows["NFR-SCALE-002"][3] == "loadgen run: stack.memory, stack.cpu"


def test_a_pass_is_one_only_when_all_that_shows_it_was_judged():
    requirement = [Requirement(id="AC-1", title="x", run=("a", "b"))]
    whole, part, gap = (
        traced(
            [verdict("a", Result.PASS), verdict("b", result)] if result else [verdict("a", Result.PASS)], requirement
        )[0]
        for result in (Result.PASS, None, Result.SKIPPED)
    )
    assert (whole.whole, part.whole, gap.whole) == (True, False, False)
    assert {row.result for row in (whole, part, gap)} == {Result.PASS}
    assert rows_of(verdict("memory", Result.PASS))["NFR-SCALE-002"][1] == "✓ pass so far (1 of 5)"
    assert rows_of(verdict("values_only", Result.PASS))["NFR-OPS-002"][1] == "✓ pass"


def test_an_unknown_among_passes_is_not_a_pass():
    (row,) = traced(
        [verdict("a", Result.PASS), verdict("b", Result.UNKNOWN)], [Requirement(id="AC-1", title="x", run=("a", "b"))]
    )
    assert row.result is Result.UNKNOWN


def test_what_was_not_judged_says_so_and_names_who_judges_it():
    rows = rows_of()
    assert rows["AC-001-01"][1:] == ("not judged here", "–", "loadgen check: s3.versioning")
    assert rows["TASK-001"][1] == "manual"
    assert rows["TASK-001"][3] == "by hand: create the buckets; proven by loadgen check: s3.buckets, s3.versioning"


def test_the_sentence_above_counts_and_names_what_is_broken():
    part = matrix([verdict("values_only", Result.FAIL), verdict("sops", Result.PASS)], default_plan())
    words = "Of 66 requirements, 1 FAIL, 5 pass so far, 55 not judged here, 5 manual. Broken: NFR-OPS-002."
    assert part.blocks[0].text == words
    assert part.blocks[1].folded
