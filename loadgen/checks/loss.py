"""What was accepted can be read back."""

from __future__ import annotations

from functools import partial

import pandas as pd

from loadgen.checks.case import (
    EXAMPLES,
    ITEMS,
    RUN_LONGER,
    VERIFY_AGAIN,
    Case,
    RunCheck,
    counted,
    near_fault,
    nobody_sends,
    records,
    share_text,
    unknown,
)
from loadgen.checks.discarded import discards_of
from loadgen.checks.restart_losses import lost_by_restart, probes_of
from loadgen.judging import Finding
from loadgen.kinds import KINDS, kind_of
from loadgen.kinds.kind import Kind
from loadgen.model import Outcome, Result, Signal


def _judge(case: Case, kind: Kind) -> Finding:
    signal = kind.signal
    limit, what = case.bounds(signal).loss, ITEMS[signal]
    objective = case.objective(f"{signal}.loss", f"≤ {limit} {what} missing", limit, what)
    if not case.profile.users(signal):
        return nobody_sends(objective, signal)
    both = case.verified(signal)
    accepted = both[both["outcome"] == Outcome.ACCEPTED.value]
    if accepted.empty:
        return unknown(objective, "no push was accepted, so nothing could be lost", RUN_LONGER)
    if not accepted["seen"].any():
        return unknown(objective, "nothing was read back", VERIFY_AGAIN, len(accepted))
    readable = accepted[accepted["seen"] & ~accepted["unreadable"]]
    missing, items = int(readable["missing"].sum()), int(readable["items"].sum())
    # Drilling down to single items can leave a part unread; the batch says so, but what is missing is proven.
    missing += int(accepted.loc[accepted["unreadable"], "missing"].sum())
    evidence = [f"{counted(len(readable), 'batches')} with {counted(items, what)}: all of them are counted"]
    if (readable["compared"] == 0).any():
        evidence.append(kind.counted_by)
    evidence += _shadows(both)
    hurt = accepted[accepted["missing"] > 0]
    evidence += examples(case, signal, hurt, "missing")
    evidence += _history(case, signal, accepted)
    measured = f"{count_of(missing, items, what)} missing"
    if missing > limit:
        discards = discards_of(case, signal)
        evidence += discards.evidence()
        advice = discards.advice(missing, kind.loss.advice)
        return Finding(Result.FAIL, objective, measured, missing, len(readable), tuple(evidence), advice)
    gaps = gaps_text(accepted)
    if gaps:
        return Finding(Result.UNKNOWN, objective, measured, missing, len(readable), (gaps, *evidence), VERIFY_AGAIN)
    return Finding(Result.PASS, objective, measured, missing, len(readable), tuple(evidence))


def count_of(part: int, whole: int, what: str) -> str:
    """``0 of 1,200 lines``, with a percentage when there is a part."""
    return f"{part:,} of {whole:,} {what}" + (f" ({share_text(part, whole)})" if part else "")


def gaps_text(accepted: pd.DataFrame) -> str:
    """Which accepted batches could not be read back, in words; empty if none."""
    unseen, unreadable = int((~accepted["seen"]).sum()), int(accepted["unreadable"].sum())
    texts = []
    if unseen:
        texts.append(f"{counted(unseen, 'batches')} of {len(accepted):,} accepted were not read back")
    if unreadable:
        first = next((text for text in accepted.loc[accepted["unreadable"], "what"] if text), "")
        texts.append(
            f"the queries for {counted(unreadable, 'batches')} of {len(accepted):,} accepted failed"
            + (f", first: {first}" if first else "")
        )
    return "; ".join(texts)


def examples(case: Case, signal: Signal, hurt: pd.DataFrame, column: str) -> list[str]:
    """The first batches with something in ``column``, so that a person can look them up."""
    texts = []
    for row in records(hurt.sort_values("due_ns").head(EXAMPLES)):
        near = near_fault(case, kind_of(signal).store, row["done_ns"]) if row["done_ns"] else ""
        text = f"user {row['user']}, batch {row['n']}, due {case.at(row['due_ns'])}: {row[column]:,} {column}"
        text += f" of {counted(row['items'], ITEMS[signal])}" if column == "missing" else ""
        texts.append(text + (f", acknowledged {near}" if near else "") + (f": {row['what']}" if row["what"] else ""))
    if len(hurt) > EXAMPLES:
        texts.append(f"and {counted(len(hurt) - EXAMPLES, 'batches')} more")
    return texts


def _history(case: Case, signal: Signal, accepted: pd.DataFrame) -> list[str]:
    """When what is missing was lost, as far as that is known."""
    hurt = accepted[accepted["missing"] > 0]
    if hurt.empty:
        return []
    texts = []
    by_restart = lost_by_restart(case, signal, accepted) > 0
    if by_restart.any():
        lost = int(accepted.loc[by_restart, "missing"].sum())
        texts.append(
            f"{counted(lost, ITEMS[signal])} of them were lost by a restart; see {kind_of(signal).store}.persistence"
        )
    probes = probes_of(case, signal).first_seen_ns
    keys = zip(hurt["user"].tolist(), hurt["n"].tolist(), strict=True)
    seen = sum(probes.get(key, 0) > 0 for key in keys)
    if seen:
        texts.append(
            f"{counted(seen, 'batches')} of these had been seen complete before: lost since, or hidden by wrong answers"
        )
    return texts


def _shadows(both: pd.DataFrame) -> list[str]:
    """Items of pushes that were not accepted and are there all the same: worth knowing, not a loss."""
    texts = []
    for outcome in (Outcome.REJECTED.value, Outcome.UNKNOWN.value):
        rows = both[(both["outcome"] == outcome) & (both["found"] > 0)]
        if len(rows):
            texts.append(f"{counted(len(rows), 'pushes')} with the outcome {outcome} can be read back all the same")
    return texts


CHECKS = tuple(
    RunCheck(
        f"{kind.signal}.loss",
        f"every {kind.item} that was accepted can be read back",
        partial(_judge, kind=kind),
        ("receipts", "sightings"),
    )
    for kind in KINDS
)
