"""Answers of reading back that were successes, and wrong: without data that was there. Pure.

Reading back asks again for what it misses. What appears then was either late, or the answer before was wrong. It was
wrong when something that it left out had been seen before, by a freshness probe or by another query of the same look.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import EXAMPLES, ITEMS, Case, counted, records
from loadgen.checks.restart_losses import probes_of
from loadgen.model import Signal


def appeared(case: Case, signal: Signal) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """What reading back found only when it asked again, and for which of these rows the answer before was wrong."""
    rows = case.sightings(signal, "verify")
    rows = rows[rows["late"] > 0]
    if rows.empty:
        return rows, np.zeros(0, np.bool_)
    absent_ns = rows["late_absent_ns"].to_numpy(np.int64)
    seen = probes_of(case, signal).first_seen_ns
    keys = zip(rows["user"].tolist(), rows["n"].tolist(), strict=True)
    seen_ns = np.array([seen.get(key, 0) for key in keys], np.int64)
    # The rows of one look have its time. Where no time is kept, the look itself knew better.
    contradicted = np.unique(absent_ns[(seen_ns > 0) & (seen_ns < absent_ns)])
    return rows, np.isin(absent_ns, contradicted) | (absent_ns == 0)


def wrong_answers(case: Case, signal: Signal) -> list[str]:
    """One text for each look that a wrong answer spoiled, the first ones; empty if there was none."""
    rows, wrong = appeared(case, signal)
    texts = []
    rows = rows[wrong]
    looks = np.unique(rows["late_absent_ns"].to_numpy(np.int64))
    for at_ns in looks[:EXAMPLES].tolist():
        missed = rows[rows["late_absent_ns"] == at_ns]
        first = next(records(missed))
        when = f"a look at {case.at(at_ns)}" if at_ns else "a look"
        texts.append(
            f"{when} was answered without {counted(int(missed['late'].sum()), ITEMS[signal])} in "
            f"{counted(len(missed), 'batches')} that were there, e.g. of user {first['user']}, batch {first['n']}; the "
            "next one had them"
        )
    if len(looks) > EXAMPLES:
        texts.append(f"and {counted(len(looks) - EXAMPLES, 'looks')} more")
    return texts
