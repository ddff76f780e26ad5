"""Planned queries that were not simply asked and answered: what each of them tells. Pure.

A query that nobody came to ask, because the ones before had no answer, counts as long as it waited: left out, it would
hide the stall that it fell into. It is late, not failed. What the end of the load cut off would have taken at least as
long as it had waited, so it tells something only beyond the bound. What loadgen itself could not ask tells nothing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import counted
from loadgen.model import NS, QueryEnd

Mask = NDArray[np.bool_]

UNABLE_SHARE = 0.01
"""When more than this of what was planned could not be asked by loadgen's own fault, nothing passes on the rest."""


def is_asked(queries: pd.DataFrame) -> Mask:
    """Asked, and answered or failed by itself."""
    return _ended(queries, QueryEnd.ASKED)


def is_failed(queries: pd.DataFrame) -> Mask:
    """Asked, and failed."""
    failed: Mask = is_asked(queries) & ~queries["ok"].to_numpy(bool)
    return failed


def tells(queries: pd.DataFrame, limit_s: float) -> Mask:
    """Whether it is known of a query if it kept the bound."""
    late: Mask = waited_s(queries) > limit_s
    told: Mask = is_asked(queries) | _ended(queries, QueryEnd.MISSED) | (_ended(queries, QueryEnd.CUT) & late)
    return told


def waited_s(queries: pd.DataFrame) -> NDArray[np.float64]:
    """From planned to done, or to when it was given up."""
    took_ns = queries["done_ns"].to_numpy(np.int64) - queries["due_ns"].to_numpy(np.int64)
    took: NDArray[np.float64] = np.maximum(0, took_ns) / float(NS)
    return took


def ending_text(row: dict[str, object]) -> str:
    """How a query ended that was not answered; empty for one that was asked and ended by itself."""
    if row["end"] == QueryEnd.CUT and row["sent_ns"]:
        return "without an answer when the load ended"
    return "" if row["end"] == QueryEnd.ASKED else "never asked"


def planned_texts(queries: pd.DataFrame, limit_s: float) -> list[str]:
    """How many of the planned queries were never asked or never answered, and how they count."""
    texts = []
    missed = int(_ended(queries, QueryEnd.MISSED).sum())
    if missed:
        texts.append(
            f"{counted(missed, 'queries')} of {len(queries):,} planned were never asked, because those before had no "
            "answer yet; they count until the next one was answered"
        )
    cut = _ended(queries, QueryEnd.CUT)
    if cut.any():
        late = int((waited_s(queries[cut]) > limit_s).sum())
        texts.append(
            f"{counted(int(cut.sum()), 'queries')} had no answer when the load ended; the {late:,} that had waited "
            "beyond the bound by then count as that late, the others are left out"
        )
    return texts


def unable_text(queries: pd.DataFrame) -> str:
    """Why nothing passes on the rest, when loadgen itself could not ask too much of what was planned; else empty."""
    unable = queries[_ended(queries, QueryEnd.UNABLE)]
    if len(unable) <= UNABLE_SHARE * len(queries):
        return ""
    first = next((text for text in unable["detail"].astype(str) if text), "")
    return f"{counted(len(unable), 'queries')} of {len(queries):,} planned could not be asked: {first}"


UNABLE = "this is a mistake in loadgen, not in the stack; please report it with the text above and locust.log"


def _ended(queries: pd.DataFrame, end: QueryEnd) -> Mask:
    return np.asarray(queries["end"] == end.value, np.bool_)
