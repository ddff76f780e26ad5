"""What blocks of Tempo hold."""

from __future__ import annotations

from loadgen.buckets.asking import Asking, Listed
from loadgen.buckets.blocks import Opened, Rows
from loadgen.buckets.tempo.keys import KEYS
from loadgen.buckets.tempo.own_ids import own_traces
from loadgen.buckets.wanted import Wanted
from loadgen.targets.blocks import BlockError, tempo_block, trace_ids

_META, _COMPACTED, _DATA = "meta.json", "meta.compacted.json", "data.parquet"


class TempoBlocks:
    """Blocks of Tempo: what they hold is told by the trace ids in them."""

    keys = KEYS
    by_time = False

    def after(self, began_ns: int) -> str:  # noqa: ARG002 - names are random
        """Nothing can be left out."""
        return ""

    def meta(self, rows: Rows) -> Listed | None:
        """A block that was compacted into another one still holds its data for a while."""
        return rows.get(_META) or (rows.get(_COMPACTED) if _DATA in rows else None)

    def open(self, asking: Asking, rows: Rows, meta: Listed, wanted: Wanted, now_ns: int) -> Opened | None:
        """The metadata and, if it is of the run's time, the trace ids."""
        content = tempo_block(asking.read(meta.key))
        if not wanted.may_hold(content.from_ns, content.through_ns, now_ns):
            return None
        data = rows.get(_DATA)
        if data is None:
            raise BlockError("there is a meta.json without a data.parquet beside it")
        ids = trace_ids(data.size_bytes, lambda offset, length: asking.read(data.key, offset, length))
        # The renamed metadata is as young as the compaction; the data keeps its time.
        dated = meta if meta.key.endswith(f"/{_META}") else data
        ours = own_traces(ids, wanted, content.from_ns, content.through_ns)
        return Opened(content, dated, data.size_bytes, ours) if ours else None
