"""What blocks of Mimir hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from loadgen.buckets.asking import Asking, Listed
from loadgen.buckets.blocks import CLOCKS_NS, Opened, Rows
from loadgen.buckets.mimir.keys import KEYS
from loadgen.buckets.wanted import Wanted
from loadgen.model import MS, NOTHING_CERTAIN_NS, Signal
from loadgen.targets.blocks import BlockError, mimir_block, ulid_at
from loadgen.targets.tsdb_index import series_counts

_META, _INDEX = "meta.json", "index"


class MimirBlocks:
    """Blocks of Mimir: what they hold is told by their time range and the series that their index lists."""

    keys = KEYS
    by_time = True

    def __init__(self) -> None:
        self._users: dict[str, int] = {}
        self._late: set[str] = set()

    def after(self, began_ns: int) -> str:
        """That time as a name."""
        return ulid_at((began_ns - CLOCKS_NS) // MS)

    def meta(self, rows: Rows) -> Listed | None:
        """It is uploaded last."""
        return rows.get(_META)

    def open(self, asking: Asking, rows: Rows, meta: Listed, wanted: Wanted, now_ns: int) -> Opened | None:
        """The metadata and, if it is of the run's time, how many series of each user the index lists."""
        content = mimir_block(asking.read(meta.key))
        if not content.proves or not self._late.isdisjoint(content.sources):
            # What is made of samples that came out of order says no more than they do.
            self._late.add(meta.key.split("/")[-2])
            content = replace(content, cut_ns=NOTHING_CERTAIN_NS)
        if not wanted.may_hold(content.from_ns, content.through_ns, now_ns):
            return None
        index = rows.get(_INDEX)
        if index is None:
            raise BlockError("there is a meta.json without an index beside it")
        if len(self._users) != len(wanted.users[Signal.METRICS]):
            self._users = {wanted.plan.metrics.instance(user): user for user in wanted.users[Signal.METRICS]}
        counts = series_counts(
            index.size_bytes,
            lambda offset, length: asking.read(index.key, offset, length),
            ("run", wanted.plan.key.series_run),
            "instance",
            self._users,
        )
        if not counts:
            return None
        held = sorted((self._users[instance], count) for instance, count in counts.items())
        content = replace(content, ids=np.array(held, "<u4").tobytes())
        return Opened(content, meta, KEYS.counted_bytes({n: row.size_bytes for n, row in rows.items()}))
