"""Whether Prometheus and the Mimir that it writes to hold the same samples. Pure.

Both are asked for the raw samples of the same selector in the same range. What Prometheus has and Mimir does not is
missing, whatever the reason: the caller ends the range early enough for the lag of remote write. Mimir's series carry
Prometheus' external labels besides their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadgen.acceptance.facts import Parity
from loadgen.targets.mimir import RawSeries
from loadgen.targets.reading import Labels

_EXAMPLES = 5


def external_labels(prometheus: Sequence[RawSeries], mimir: Sequence[RawSeries]) -> Labels:
    """The labels that every series of Mimir has with one value, and no series of Prometheus has."""
    if not mimir:
        return ()
    common = set(mimir[0].labels)
    for one in mimir[1:]:
        common &= set(one.labels)
    known = {name for one in prometheus for name, _ in one.labels}
    return tuple(sorted(label for label in common if label[0] not in known))


def compare(prometheus: Sequence[RawSeries], mimir: Sequence[RawSeries]) -> Parity:
    """Hold the samples of both against each other, series by series and time by time."""
    external = external_labels(prometheus, mimir)
    theirs = {tuple(label for label in one.labels if label not in external): one for one in mimir}
    missing_series = missing = surplus = differing = samples = 0
    examples: list[str] = []
    for one in prometheus:
        samples += len(one.times_ms)
        other = theirs.pop(one.labels, None)
        if other is None:
            missing_series += 1
            missing += len(one.times_ms)
            examples.append(f"{_name(one.labels)} is not in Mimir")
            continue
        _, mine, yours = np.intersect1d(one.times_ms, other.times_ms, return_indices=True)
        missing += len(one.times_ms) - len(mine)
        surplus += len(other.times_ms) - len(yours)
        a, b = one.values[mine], other.values[yours]
        wrong = np.flatnonzero(~((a == b) | (np.isnan(a) & np.isnan(b))))
        differing += len(wrong)
        if len(wrong):
            at = int(wrong[0])
            examples.append(f"{_name(one.labels)} at {one.times_ms[mine[at]]} ms: {a[at]!r} and {b[at]!r} in Mimir")
        elif len(mine) < len(one.times_ms):
            at_ms = int(np.setdiff1d(one.times_ms, other.times_ms)[0])
            examples.append(f"{_name(one.labels)} at {at_ms} ms is not in Mimir")
    surplus += sum(len(one.times_ms) for one in theirs.values())
    examples += [f"{_name(labels)} is only in Mimir" for labels in theirs]
    return Parity(
        external, len(prometheus), samples, missing_series, missing, surplus, differing, tuple(examples[:_EXAMPLES])
    )


def _name(labels: Labels) -> str:
    metric = dict(labels).get("__name__", "")
    return metric + "{" + ", ".join(f'{name}="{value}"' for name, value in labels if name != "__name__") + "}"
