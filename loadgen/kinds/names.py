"""Checks that all sources share."""

from __future__ import annotations

import re

from loadgen.model import MS, Batch, RunKey, Signal

# What six bytes hold of milliseconds; other places are wider.
_DUE_LIMIT_NS = (1 << 42) * MS
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def checked(key: RunKey) -> RunKey:
    """The key itself. Raises ValueError if a run's name in it cannot stand unquoted in labels and lines."""
    for name in (key.run, key.series_run):
        if not _RUN.fullmatch(name):
            raise ValueError(
                f"run name {name!r}: use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit"
            )
    return key


def expect(batch: Batch, signal: Signal) -> Batch:
    """The batch itself. Raises ValueError if it is of another signal, or due when no wire format can say it."""
    if batch.signal is not signal:
        raise ValueError(f"a batch of {batch.signal} was given to the source of {signal}")
    if not 0 <= batch.due_ns < _DUE_LIMIT_NS:
        raise ValueError(
            f"batch {batch.n} of user {batch.user} is due at {batch.due_ns} ns: only times from 1970 to "
            "2109 can be sent; check the beginning of the run and the interval"
        )
    return batch
