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
from loadgen.audit.resolve import stack_of
from loadgen.audit.rule import Rule
from loadgen.audit.tree import Tree, read_tree
from loadgen.judging import Finding
from loadgen.model import Result, Verdict
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
    return tuple(
        # The text of a mistake may hold what was read.
        _left_out(rule) if rule.name in skip else rule.verdict(stack, told=False)
        for rule in rules
    )


def _left_out(rule: Rule) -> Verdict:
    return rule.as_verdict(Finding(Result.SKIPPED, evidence=("left out by --skip",)))


__all__ = ["RULES", "Rule", "Tree", "audit", "read_tree"]
