"""How Loki names the streams of a run: by the labels that it has, which may be others than those that were pushed.

A collector or gateway on the way may add labels, and Loki itself splits streams that are too fast into parts, with a
label for the number of the part. A chunk's header tells its labels, so one chunk of the run tells how all are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from loadgen.buckets.asking import Asking, Listed
from loadgen.buckets.loki.keys import KEYS
from loadgen.buckets.wanted import Wanted
from loadgen.kinds.logs.source import fingerprint
from loadgen.model import NS
from loadgen.targets.blocks import BlockError, chunk_labels, chunk_lines
from loadgen.targets.failures import s3_errors
from loadgen.targets.s3 import is_about_object

PART = "__stream_shard__"
# Loki splits streams above 1536 KB/s by default, counting the size of a push as if one came every second.
_MAY_SPLIT_BYTES = 256 << 10
_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Naming:
    """How the labels that Loki has differ from those that were pushed.

    Attributes:
        added: labels that were added, or have another value.
        removed: names of labels that are gone.
        split: Loki made several streams of one.
    """

    added: Mapping[str, str] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    split: bool = False

    def stream(self, wanted: Wanted, user: int, part: int = 0) -> str:
        """The fingerprint of a user's stream, or of a part of it, from 1."""
        labels = {**dict(wanted.plan.logs.labels(user)), **({PART: str(part - 1)} if part else {})}
        kept = {name: value for name, value in labels.items() if name not in self.removed}
        return fingerprint(tuple({**kept, **self.added}.items()))

    def may_split(self, wanted: Wanted) -> bool:
        """Whether Loki splits, or may split, streams of the run.

        It does so with fast ones. When it starts again it also counts what it replays from its log into the rate of a
        stream, and splits even slow ones for some seconds (seen on Loki 3 at 42 kB/s).
        """
        plan = wanted.plan
        size = plan.logs.body(plan.logs.batch(0, 0)).plain_bytes
        fast = size + size * NS / plan.logs.load.interval_ns >= _MAY_SPLIT_BYTES
        restarted = any(fault.component == KEYS.component for fault in plan.profile.faults)
        return self.split or fast or restarted

    @property
    def text(self) -> str:
        """What a reader of the report should know; empty if labels are as pushed."""
        parts = [f"{name}={value!r} added" for name, value in sorted(self.added.items())]
        parts += [f"{name} removed" for name in sorted(self.removed)]
        changed = ", ".join(parts)[:200]
        return f"Loki has other labels than were pushed ({changed}); chunks were found by those" if parts else ""


def naming_of(labels: Mapping[str, str], stream: str, wanted: Wanted, users: Iterable[int]) -> Naming | None:
    """How a stream with these labels became one of the run's; None if it cannot be told."""
    plain = {name: value for name, value in labels.items() if name != PART}
    if fingerprint(tuple(labels.items())) != stream:
        return None
    for user in users:
        pushed = dict(wanted.plan.logs.labels(user))
        if pushed["pod"] == labels.get("pod"):
            added = {name: value for name, value in plain.items() if pushed.get(name) != value}
            return Naming(added, frozenset(pushed.keys() - plain.keys()), PART in labels)
    return None


def labels_in(asking: Asking, listed: Listed) -> dict[str, str] | None:
    """The labels in a chunk's header; None if it cannot be read. Raises what boto3 raises if S3 does not answer."""
    try:
        found = chunk_labels(asking.read(listed.key, 0, min(_HEAD_BYTES, listed.size_bytes)))
        if isinstance(found, int):
            found = chunk_labels(asking.read(listed.key, 0, min(found, listed.size_bytes)))
    except s3_errors(BlockError) as problem:
        if not isinstance(problem, BlockError) and not is_about_object(problem):
            raise
        return None
    return None if isinstance(found, int) else found


def lines_in(asking: Asking, listed: Listed) -> int:
    """How many lines a chunk holds; 0 if it cannot be read. Raises what boto3 raises if S3 does not answer."""
    try:
        return chunk_lines(listed.size_bytes, lambda offset, length: asking.read(listed.key, offset, length))
    except s3_errors(BlockError) as problem:
        if not isinstance(problem, BlockError) and not is_about_object(problem):
            raise
        return 0
