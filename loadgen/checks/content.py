"""The common part of two promises that only a comparison of content can tell: unaltered, and in order.

Content may be compared on a sample of the batches. What that is worth is a statement about batches, and it needs a
random choice: batches that were read because their count was wrong, or because their push had no clear answer, are
judged like all others, but they do not make the sample any larger.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadgen.checks.case import ITEMS, RUN_LONGER, VERIFY_AGAIN, Case, counted, nobody_sends, unknown
from loadgen.checks.loss import examples, gaps_text
from loadgen.history.sampling import WEAK_BELOW, bound_text, draw_of
from loadgen.judging import Finding
from loadgen.model import Objective, Outcome, Result, Signal

# Fewer compared batches than this say next to nothing, unless they are all there are.
MIN_COMPARED = 10
_LARGER = f"raise verify.sample or verify.max_compared, then {VERIFY_AGAIN}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What of one signal was compared in content.

    Attributes:
        accepted: batches that were accepted.
        k: compared batches of the random sample; all accepted ones belong to it where everything is compared.
        k_items: items compared in them.
        in_part: how many of them were not complete.
        beside: compared batches that are not of the sample.
        items: items compared in all.
        everything: no accepted batch of which anything is there was left out.
        gaps: why batches of the sample were not compared; empty if all were.
    """

    accepted: int
    k: int
    k_items: int
    in_part: int
    beside: int
    items: int
    everything: bool
    gaps: str

    @property
    def weak(self) -> bool:
        """Too small a sample to exclude much."""
        return not self.everything and self.k < WEAK_BELOW

    def text(self, wrong: int, what: str) -> str:
        """What the comparison is worth, in one sentence; ``wrong`` items were found in it."""
        head = f"compared: {counted(self.k_items, what)} in {counted(self.k, 'batches')} of {self.accepted:,} accepted"
        if self.everything:
            return f"{head}, which is all of them, " + (
                f"as far as they are there ({self.in_part:,} were not complete)" if self.in_part else "in full"
            )
        parts = [f"{head}, drawn at random"]
        if not wrong and self.k:
            rule = "1 - 0.05^(1/k)" if self.k < WEAK_BELOW else "3/k"
            parts.append(
                f"0 wrong in k = {self.k:,} compared batches means with 95 % confidence that fewer than "
                f"{bound_text(self.k)} of the batches are wrong ({rule})"
                + (", which is a weak sample" if self.weak else "")
            )
        if self.beside:
            parts.append(
                f"{counted(self.beside, 'further batches')} compared because a count was wrong or a push had no clear "
                "answer; they are no part of the sample"
            )
        return "; ".join(parts)


def comparison_of(case: Case, signal: Signal) -> Comparison:
    """What was compared of a signal, split into the random sample and the rest."""
    both = case.verified(signal)
    verify = case.profile.verify
    items_sent = len(both) * case.plan.source(signal).batch(0, 0).items
    draw = draw_of(case.plan.key, signal, items_sent, verify.sample, verify.max_compared)
    accepted = both[both["outcome"] == Outcome.ACCEPTED.value]
    users, ns = accepted["user"].tolist(), accepted["n"].tolist()
    drawn = accepted[np.array([draw.has(user, n) for user, n in zip(users, ns, strict=True)], dtype=bool)]
    there = accepted[accepted["found"] > 0]
    everything = bool(len(there)) and bool((there["compared"] > 0).all()) and not gaps_text(accepted)
    sample = accepted if everything else drawn
    compared = sample[sample["compared"] > 0]
    skipped = sample["seen"] & ~sample["unreadable"] & (sample["found"] > 0) & (sample["compared"] == 0)
    gaps = [text for text in (gaps_text(sample),) if text]
    if skipped.any():
        gaps.append(f"{counted(int(skipped.sum()), 'batches')} of the sample were counted but not compared")
    return Comparison(
        accepted=len(accepted),
        k=len(compared),
        k_items=int(compared["compared"].sum()),
        in_part=int((compared["compared"] < compared["items"]).sum()),
        beside=int((both["compared"] > 0).sum()) - len(compared),
        items=int(both["compared"].sum()),
        everything=everything,
        gaps="; ".join(gaps),
    )


def judge_compared(
    case: Case, signal: Signal, column: str, objective: Objective, wrong_text: str, advice: str
) -> Finding:
    """Judge the sum of ``column`` over the batches whose content was compared."""
    limit, what = objective.limit, ITEMS[signal]
    if not case.profile.users(signal):
        return nobody_sends(objective, signal)
    both = case.verified(signal)
    if both.empty:
        return unknown(objective, "nothing was sent", RUN_LONGER)
    hurt = both[both[column] > 0]
    wrong = int(hurt[column].sum())
    compared = comparison_of(case, signal)
    evidence = [compared.text(wrong, what), *examples(case, signal, hurt, column)]
    measured = f"{wrong:,} of {compared.items:,} compared {what} {wrong_text}"

    def finding(result: Result, remedy: str = "", why: str = "") -> Finding:
        texts = (why, *evidence) if why else tuple(evidence)
        return Finding(result, objective, measured, wrong, compared.items, texts, remedy)

    if wrong > limit:
        return finding(Result.FAIL, advice)
    if not compared.k:
        return unknown(
            objective,
            compared.gaps or "no batch was compared in content",
            f"{VERIFY_AGAIN}; verify.sample and verify.max_compared must be above 0, and large enough to draw a batch",
        )
    if compared.gaps:
        return finding(Result.UNKNOWN, VERIFY_AGAIN, compared.gaps)
    if compared.everything:
        return finding(Result.PASS)
    if wrong:
        why = f"{wrong:,} {wrong_text} in a sample; how many there are in all cannot be told from it"
        return finding(Result.UNKNOWN, _LARGER, why)
    weak = f"a weak sample of {counted(compared.k, 'batches')}" if compared.weak else "a sample"
    measured += f"; {weak}: fewer than {bound_text(compared.k)} of the batches are wrong, with 95 % confidence"
    if compared.k < MIN_COMPARED:
        why = f"only {counted(compared.k, 'batches')} compared, too few to judge by"
        return finding(Result.UNKNOWN, _LARGER, why)
    return finding(Result.PASS)
