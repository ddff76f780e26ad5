"""The audit: a directory of manifests becomes verdicts, without a cluster. Pure, but for `tree`, which reads the files.

To add a rule, write a file with its `Rule` and add a line to `RULES`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from loadgen.audit import (
    buckets,
    datasources,
    flux_pattern,
    https_s3,
    memory,
    modes,
    promises_possible,
    remote_write,
    secret_from_env,
    secret_keys,
    single_replica,
    sops,
    values_only,
)
from loadgen.audit.node import Place
from loadgen.audit.resolve import stack_of
from loadgen.audit.rule import FINE, NOTE, UNSURE, WRONG, Remark, Rule
from loadgen.audit.stack import Stack
from loadgen.audit.tree import Tree, read_tree
from loadgen.mistakes import REPORT_IT, mistake
from loadgen.model import Objective, Result, Verdict
from loadgen.plans import Expected, default_plan

RULES: tuple[Rule, ...] = (
    sops.RULE,
    secret_keys.RULE,
    secret_from_env.RULE,
    https_s3.RULE,
    flux_pattern.RULE,
    values_only.RULE,
    single_replica.RULE,
    memory.RULE,
    buckets.RULE,
    modes.RULE,
    datasources.RULE,
    remote_write.RULE,
    promises_possible.RULE,
)
_OBJECTIVE = Objective("nothing wrong", 0.0, "findings")
# Remedies that stand together; all of them stand beside their findings.
_MOST = 3
_ORDER = (WRONG, UNSURE, NOTE, FINE)


def audit(
    tree: Tree,
    strict: bool = False,
    skip: Collection[str] = (),
    rules: Sequence[Rule] = RULES,
    expected: Expected | None = None,
) -> tuple[Verdict, ...]:
    """A verdict for every rule, in order. ``strict`` holds templates of secrets for mistakes; ``skip`` names rules.

    ``expected``: what a plan says of modes and replicas; the shipped plan if none is given.
    """
    stack = stack_of(tree, strict, expected or default_plan().audit)
    return tuple(_left_out(rule) if rule.name in skip else _verdict(rule, stack) for rule in rules)


def _left_out(rule: Rule) -> Verdict:
    return _made(rule, Result.SKIPPED, "", (), ("left out by --skip",), "")


def _verdict(rule: Rule, stack: Stack) -> Verdict:
    try:
        remarks = tuple(rule.judge(stack))
    except Exception as problem:  # noqa: BLE001 - one rule that cannot be judged must not cost the others
        # The text of the problem may hold what was read.
        return _made(
            rule,
            Result.UNKNOWN,
            "",
            (),
            (f"judging it failed: {mistake(problem, with_text=False)}",),
            REPORT_IT,
        )
    remarks = tuple(sorted(remarks, key=lambda remark: _ORDER.index(remark.kind)))
    kinds = {remark.kind for remark in remarks}
    if WRONG in kinds:
        return _made(rule, Result.FAIL, "", remarks, *_said(remarks, WRONG))
    if stack.tree.problems:
        remarks = (
            *(Remark(UNSURE, one.place, f"not read: {one.what}", "mend this file") for one in stack.tree.problems),
            *remarks,
        )
        kinds.add(UNSURE)
    if not kinds - {NOTE} and NOTE not in kinds:
        remarks = (
            Remark(UNSURE, Place(".", 0), "there is nothing here that this rule is about", "audit the whole tree"),
        )
        kinds = {UNSURE}
    if UNSURE in kinds:
        return _made(rule, Result.UNKNOWN, "", remarks, *_said(remarks, UNSURE))
    return _made(rule, Result.PASS, "", remarks, tuple(map(str, remarks)), "")


def _said(remarks: tuple[Remark, ...], kind: str) -> tuple[tuple[str, ...], str]:
    """Evidence and remedy: what is to be done stands beside each finding, and once for all in the remedy."""
    of_kind = [remark for remark in remarks if remark.kind == kind]
    remedies = list(dict.fromkeys(remark.remedy for remark in of_kind if remark.remedy))
    texts = [
        f"{remark} → {remark.remedy}" if remark.remedy and len(remedies) > 1 else str(remark) for remark in of_kind
    ]
    others = [str(remark) for remark in remarks if remark.kind in (UNSURE, NOTE) and remark.kind != kind]
    more = f"; and {len(remedies) - _MOST} more, beside each finding" if len(remedies) > _MOST else ""
    return (*texts, *others), "; ".join(remedies[:_MOST]) + more


def _made(
    rule: Rule, result: Result, measured: str, remarks: tuple[Remark, ...], evidence: tuple[str, ...], remedy: str
) -> Verdict:
    count = sum(remark.kind == WRONG for remark in remarks)
    doubts = sum(remark.kind == UNSURE for remark in remarks)
    notes = [remark for remark in remarks if remark.kind == NOTE]
    files = len({remark.place.file for remark in remarks if remark.kind == WRONG})
    if not measured and remarks:
        parts = [f"{count} wrong in {files} {'file' if files == 1 else 'files'}"] if count else []
        parts += [f"{doubts} not told"] if doubts else []
        parts += (
            [f"{len(notes)} to note: {notes[0].text}" + (", …" if notes[1:] else "")] if notes and not count else []
        )
        measured = ", ".join(parts) or "nothing wrong"
    return Verdict(
        check=rule.name,
        promise=rule.promise,
        result=result,
        objective=_OBJECTIVE,
        measured=measured,
        value=float(count) if result in (Result.PASS, Result.FAIL) else None,
        samples=len(remarks),
        evidence=evidence,
        remedy=remedy,
    )


__all__ = ["RULES", "Rule", "Tree", "audit", "read_tree"]
