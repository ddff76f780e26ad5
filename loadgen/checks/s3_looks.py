"""What is known of the looks at the buckets, apart from what they found. Pure.

The S3 watcher leaves samples: of every complete listing, of every look that failed, of a bucket that looks otherwise
than it must, and of every look whether what was found is still there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from loadgen.history.values import History
from loadgen.model import KEPT_LOOK, LAYOUT, LISTING_FAILED, PARTS_LOOK, Component, why_of

LISTING = "last_listing"
STRANGERS = "other_streams"


@dataclass(frozen=True, slots=True)
class Looks:
    """What is known of the looks at the bucket of a component.

    Attributes:
        listed_ns: the last moment that it is known to have been listed; 0: never.
        failed: why the looks since then failed; empty: they did not.
        kind: whose fault that was: ``ours``, ``clocks`` or ``s3``.
        strange: what the bucket holds, if nothing of it is where and as the component's data should be.
    """

    listed_ns: int
    failed: str
    kind: str
    strange: str


def looks_of(history: History, component: Component) -> Looks:
    """The looks at a component's bucket."""
    listed_ns = listed_ns_of(history, component)
    failed = _last_sample(history, component, LISTING_FAILED)
    layout = _last_sample(history, component, LAYOUT)
    kind, why = why_of(str(failed["labels"])) if failed is not None and failed["at_ns"] > listed_ns else ("", "")
    strange = why_of(str(layout["labels"]))[1] if layout is not None and not layout["value"] else ""
    return Looks(listed_ns, why, kind, strange)


def kept_looked_ns(history: History, component: Component) -> int:
    """When everything that had been found was looked for again, for the last time; 0: never."""
    looks = _samples(history, component, KEPT_LOOK)
    return int(looks["at_ns"].max()) if len(looks) else 0


def _samples(history: History, component: Component, metric: str) -> pd.DataFrame:
    """The samples of a kind that the S3 watcher left of a component's bucket."""
    stack = history.stack
    mine = stack[(stack["component"] == Component.S3.value) & (stack["metric"] == metric)]
    return mine[mine["labels"].str.split(",").str[0] == f"component={component}"]


def _last_sample(history: History, component: Component, metric: str) -> pd.Series | None:
    """The newest of them."""
    mine = _samples(history, component, metric)
    return None if mine.empty else mine.iloc[int(mine["at_ns"].to_numpy(np.int64).argmax())]


def listed_ns_of(history: History, component: Component) -> int:
    """When the component's bucket was listed last.

    The watcher leaves a sample of every complete listing. Without any, the object that was seen last tells it; what
    other buckets showed says nothing, because a credential may be good for one bucket only.
    """
    looks = _samples(history, component, LISTING)
    objects = history.objects
    seen = objects.loc[objects["component"] == component.value, "first_seen_ns"]
    return max(int(looks["at_ns"].max()) if len(looks) else 0, int(seen.max()) if len(seen) else 0)


def parts_looked_ns(history: History, component: Component) -> int:
    """When what lacked in Loki's bucket was looked for in parts of split streams too, for the last time; 0: never."""
    looks = _samples(history, component, PARTS_LOOK)
    return int(looks["at_ns"].max()) if len(looks) else 0


def first_look_ns(history: History, component: Component, objects: pd.DataFrame) -> int:
    """When the bucket is known to have been looked at for the first time; 0: never."""
    looks = _samples(history, component, LISTING)
    return int(min([*looks["at_ns"].tolist(), *objects["first_seen_ns"].tolist()], default=0))


def strangers_of(history: History, component: Component) -> int:
    """Loki: how many other streams may be the run's under other labels, as it was counted last."""
    counts = _samples(history, component, STRANGERS)
    return int(counts.sort_values("at_ns")["value"].iloc[-1]) if len(counts) else 0
