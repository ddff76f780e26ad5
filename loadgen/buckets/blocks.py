"""The buckets of Tempo and Mimir: new blocks are found by their names, and only those are opened.

A listing with a delimiter has one row a block. Names of Mimir's blocks sort by the time when they were made, so those
from before the run are never listed. Tempo's names are random: all are listed, and the names that need no second look
are kept in a compact form. Which of them were there before the run is seen once, from LastModified in a whole listing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.buckets.asking import Asking, Listed
from loadgen.buckets.keys import BlockKeys
from loadgen.buckets.sweep import Searched
from loadgen.buckets.wanted import GRACE_NS, Wanted
from loadgen.model import NS, StoredObject
from loadgen.targets.blocks import Content
from loadgen.targets.failures import s3_errors
from loadgen.targets.s3 import is_about_object

_TRIES = 3
_DETAIL_CHARS = 300
CLOCKS_NS = 600 * NS
"""By how much the names of blocks may be off: they are made by other machines' clocks."""
_Names = NDArray[np.bytes_]

Rows = Mapping[str, Listed]
"""The objects of one block by the last part of their keys."""
_Fresh = dict[str, Rows | None]


@dataclass(frozen=True, slots=True)
class Opened:
    """What a block holds, and the object whose LastModified tells when it was there; ``traces`` as they are packed."""

    content: Content
    dated: Listed
    size_bytes: int
    traces: bytes = b""


class BlockKind(Protocol):
    """What differs between Tempo and Mimir.

    Attributes:
        keys: how their keys look.
        by_time: whether names of blocks sort by time.
    """

    keys: BlockKeys
    by_time: bool

    def after(self, began_ns: int) -> str:
        """What the names of all blocks of a run that began then sort after."""

    def meta(self, rows: Rows) -> Listed | None:
        """The object that makes a block complete."""

    def open(self, asking: Asking, rows: Rows, meta: Listed, wanted: Wanted, now_ns: int) -> Opened | None:
        """What is in the block; None if nothing of the run can be. Raises `BlockError` and S3's errors."""


class BlockSweep:
    """The blocks of one bucket that can hold data of the run; ``kind`` is Tempo's or Mimir's."""

    parted = renamed = False
    note = ""

    def __init__(self, searched: Searched, kind: BlockKind) -> None:
        self._asking = searched.asking
        self._clock = searched.clock
        self._kind = kind
        self._tenants = searched.tenants
        self._found = searched.found
        self._unreadable = searched.unreadable
        self._stored: set[str] = set()
        self._any = False
        self._foreign: dict[str, _Names] = {}
        self._tries: dict[str, int] = {}
        self.undecided = 0
        self.patient = True

    def recall(self, wanted: Wanted, stored: pd.DataFrame) -> None:  # noqa: ARG002 - names are enough
        """Blocks that an earlier watcher of the run stored; what it could not read is tried again."""
        known = [key.rsplit("/", 1)[0] for key in stored.loc[stored["detail"] == "", "key"]]
        self._stored.update(known)
        if known:
            self._any = True
            self._tenants.settle(known[-1].rpartition("/")[0])

    def cycle(self, wanted: Wanted) -> Iterator[int]:
        """Look for new blocks once; yields after each request or opened block how many rows it brought.

        ``undecided`` counts the new blocks that could not be read and will be tried again, as long as the sweep is
        ``patient``.
        """
        self.undecided = 0
        yield from self._tenants.look(everywhere=wanted.is_over(self._clock()) and not self._any)
        for tenant in self._tenants.names:
            known = self._foreign.get(tenant)
            if known is None and not self._kind.by_time:
                fresh, foreign = yield from self._by_age(wanted, tenant)
            else:
                fresh, foreign = yield from self._by_name(wanted, tenant, known)
            for name, rows in fresh.items():
                prefix = f"{tenant}/{name}"
                if rows is None:
                    rows = yield from self._rows(prefix)
                if self._is_foreign(wanted, tenant, prefix, rows):
                    foreign.append(np.array([name], "S"))
                yield 0
            self._foreign[tenant] = np.sort(np.concatenate(foreign)) if foreign else np.zeros(0, "S1")

    def strangers(self, wanted: Wanted) -> None:
        """Blocks tell themselves whose they are."""

    # -- inside ----------------------------------------------------------------------------------------------------

    def _by_name(
        self, wanted: Wanted, tenant: str, known: _Names | None
    ) -> Generator[int, None, tuple[_Fresh, list[_Names]]]:
        """Names that were not there before, and those that are there and need no look."""
        fresh: _Fresh = {}
        foreign: list[_Names] = []
        prefix = f"{tenant}/"
        for page in self._asking.pages(prefix, f"{prefix}{self._kind.after(wanted.began_ns)}", "/"):
            children = [one[len(prefix) : -1] for one in page.prefixes]
            names = [
                one for one in children if self._kind.keys.name.fullmatch(one) and prefix + one not in self._stored
            ]
            if names and known is not None:
                listed = np.array(names, "S")
                old = _among(listed, known)
                foreign.append(listed[old])
                names = [name for name, is_old in zip(names, old, strict=True) if not is_old]
            fresh |= dict.fromkeys(names)
            yield page.rows
        return fresh, foreign

    def _by_age(self, wanted: Wanted, tenant: str) -> Generator[int, None, tuple[_Fresh, list[_Names]]]:
        """The same from a listing of all objects: blocks of which none is as young as the run need no look."""
        fresh: _Fresh = {}
        foreign: list[_Names] = []
        name, rows = "", dict[str, Listed]()

        def decide() -> None:
            if name and f"{tenant}/{name}" not in self._stored:
                if self._is_old(wanted, rows):
                    foreign.append(np.array([name], "S"))
                else:
                    fresh[name] = rows

        for page in self._asking.pages(f"{tenant}/"):
            for listed in page.objects:
                block, *rest = listed.key[len(tenant) + 1 :].split("/")
                if not self._kind.keys.name.fullmatch(block):
                    continue
                if block != name:
                    decide()
                    name, rows = block, {}
                rows["/".join(rest)] = listed
            if len(foreign) > 1:
                foreign = [np.concatenate(foreign)]
            yield page.rows
        decide()
        return fresh, foreign

    def _rows(self, prefix: str) -> Generator[int, None, Rows]:
        rows: dict[str, Listed] = {}
        for page in self._asking.pages(f"{prefix}/"):
            rows |= {listed.key[len(prefix) + 1 :]: listed for listed in page.objects}
            yield page.rows
        return rows

    def _is_old(self, wanted: Wanted, rows: Rows) -> bool:
        latest_ns = max((row.modified_ns for row in rows.values()), default=wanted.began_ns)
        return latest_ns - self._asking.server.ahead_ns < wanted.began_ns - GRACE_NS

    def _is_foreign(self, wanted: Wanted, tenant: str, prefix: str, rows: Rows) -> bool:
        """Whether the block needs no further look though it is none of the run; one of the run is handed on."""
        if self._is_old(wanted, rows):
            return True
        meta = self._kind.meta(rows)
        if meta is None:  # it is being written, or just gone
            return False
        now_ns = self._clock()
        detail = ""
        try:
            opened = self._kind.open(self._asking, rows, meta, wanted, now_ns)
        except Exception as problem:
            # What others wrote may be odd in ways that nobody thought of: that block is unreadable then, by a mistake
            # of ours, which is told as one, and the others are watched all the same.
            if isinstance(problem, s3_errors()) and not is_about_object(problem):
                raise
            self._tries[prefix] = self._tries.get(prefix, 0) + 1
            if self.patient and self._tries[prefix] < _TRIES:
                self.undecided += 1
                return False
            detail = self._unreadable(problem, self._asking.bucket, meta.key)
            opened = Opened(Content(), meta, sum(row.size_bytes for row in rows.values()))
        self._tries.pop(prefix, None)
        if opened is None:
            return True
        if self._kind.by_time and not detail:
            self._tenants.settle(tenant)
        self._stored.add(prefix)
        if not detail:
            self._any = True
            self._tenants.found_in(tenant)
        self._found(self._object(meta.key, opened, now_ns, detail))
        return False

    def _object(self, key: str, opened: Opened, seen_ns: int, detail: str) -> StoredObject:
        content = opened.content
        return StoredObject(
            component=self._kind.keys.component.value,
            bucket=self._asking.bucket,
            key=key,
            size_bytes=opened.size_bytes,
            modified_ns=opened.dated.modified_ns - self._asking.server.ahead_ns,
            first_seen_ns=seen_ns,
            stream="",
            from_ns=content.from_ns,
            through_ns=content.through_ns,
            items=content.items,
            ids=content.ids,
            compacted=content.compacted,
            cut_ns=content.cut_ns,
            detail=detail[:_DETAIL_CHARS],
            traces=opened.traces,
        )


def _among(names: _Names, known: _Names) -> NDArray[np.bool_]:
    """Which of the names are in a sorted array."""
    if not len(known):
        return np.zeros(len(names), np.bool_)
    place = np.minimum(np.searchsorted(known, names), len(known) - 1)
    same: NDArray[np.bool_] = known[place] == names
    return same
