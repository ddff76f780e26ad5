"""Are the objects of the run still there? Known keys held against a listing that begins at each of them.

A page that begins at a known object is read as far as it reaches, and the next one begins at the next known object
after it: never more requests than objects, nor than the pages of the bucket.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from loadgen.buckets.asking import Asking
from loadgen.buckets.keys import Keys
from loadgen.model import GoneObject, StoredObject
from loadgen.targets.blocks import BlockError


@dataclass(frozen=True, slots=True)
class Known:
    """An object of the run, as it was stored: of a block the key is that of its metadata."""

    key: str
    size_bytes: int


def gone_keys(asking: Asking, keys: Keys, known: Iterable[Known]) -> Generator[int, None, tuple[str, ...]]:
    """The keys of which the object, or what makes a block of it, is not there any more as it was.

    Yields after each request how many rows it brought. Raises what `Asking` raises.
    """
    wanted = {keys.unit(one.key): one for one in known}
    roots: dict[str, list[str]] = {}
    for unit in sorted(wanted):
        roots.setdefault(_root(unit), []).append(unit)
    gone: list[str] = []
    for root, units in roots.items():
        rows = yield from _rows(asking, root, units)
        gone += [wanted[unit].key for unit in units if not keys.is_whole(wanted[unit].size_bytes, rows.get(unit, {}))]
    return tuple(gone)


def _root(unit: str) -> str:
    """The folder in which a component's objects lie side by side."""
    parts = unit.rstrip("/").split("/")
    return "/".join(parts[:-1]) + "/" if unit.endswith("/") else "/".join(parts[:-2]) + "/"


def _rows(asking: Asking, root: str, units: list[str]) -> Generator[int, None, dict[str, dict[str, int]]]:
    """The sizes of what is there of each unit, by the rest of its key."""
    found: dict[str, dict[str, int]] = {}
    at, after = 0, ""
    root = root if root != "/" else ""
    while at < len(units):
        # Not the folder's own name: servers that keep folders as such would leave out all that is in it.
        start = max(after, units[at].rstrip("/")[:-1])
        page = asking.page(root, start)
        yield page.rows
        for listed in page.objects:
            place = bisect_right(units, listed.key) - 1
            if place >= 0 and listed.key.startswith(units[place]):
                found.setdefault(units[place], {})[listed.key[len(units[place]) :]] = listed.size_bytes
        if not page.token or not page.objects:
            break
        if page.objects[-1].key <= start:
            raise BlockError("the listing does not begin where it was asked to; it is incomplete")
        after = page.objects[-1].key
        place = bisect_right(units, after) - 1
        at = place if place >= 0 and units[place].endswith("/") and after.startswith(units[place]) else place + 1
    return found


class Keeping:
    """Whether the run's objects in one bucket are still there.

    An object that a look misses counts as gone when the bucket was looked through as a whole since, so that what may
    have taken its place is known, and another look misses it too.

    Args:
        asking: the bucket.
        keys: how the keys of its store look.
        clock: epoch nanoseconds.
        stored: objects that earlier watchers of the run stored.
        gone: those of which they saw that they have gone.
    """

    def __init__(
        self, asking: Asking, keys: Keys, clock: Callable[[], int], stored: pd.DataFrame, gone: pd.DataFrame
    ) -> None:
        self._asking = asking
        self._keys = keys
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._seen_ns: dict[str, int] = {}
        self._missed_ns: dict[str, int] = {}
        self._back: set[str] = set()
        self.looked_ns = self.looked_for = 0
        readable = stored[stored["detail"] == ""]
        for key, size_bytes, seen_ns in zip(
            *(readable[n] for n in ("key", "size_bytes", "first_seen_ns")), strict=True
        ):
            self._remember(str(key), int(size_bytes), int(seen_ns))
        mine = gone[(gone["component"] == keys.component.value) & (gone["bucket"] == asking.bucket)]
        last = mine.drop_duplicates("key", keep="last")
        self.gone: set[str] = set(last.loc[last["missed_ns"] > 0, "key"].tolist())

    @property
    def missed(self) -> bool:
        """Whether the last look missed something of which nobody knows yet."""
        return bool(self._missed_ns.keys() - self.gone)

    @property
    def away(self) -> frozenset[str]:
        """The keys of everything that is not there, as far as is known."""
        return frozenset(self._missed_ns.keys() | self.gone)

    def add(self, objects: Iterable[StoredObject]) -> None:
        """Objects that were just found."""
        for one in objects:
            if not one.detail:
                self._remember(one.key, one.size_bytes, one.first_seen_ns)

    def look(self) -> Iterator[int]:
        """Look for everything once; yields after each request. Raises what `Asking` raises."""
        began_ns, known = self._clock(), dict(self._known)
        if known:
            away = yield from gone_keys(self._asking, self._keys, known.values())
        else:
            away = ()
        for key in known.keys() - set(away):
            self._seen_ns[key] = began_ns
            self._missed_ns.pop(key, None)
            if key in self.gone:
                self._back.add(key)
        for key in away:
            self._missed_ns.setdefault(key, began_ns)
        self.looked_ns, self.looked_for = began_ns, len(known)

    def told(self, listed_ns: int) -> list[GoneObject]:
        """What has changed since this was asked before; ``listed_ns``: when the last complete listing began."""
        sure = {key: at for key, at in self._missed_ns.items() if at < listed_ns and at < self.looked_ns}
        fresh = sorted(sure.keys() - self.gone)
        rows = [self._row(key, self._seen_ns.get(key, 0), sure[key]) for key in fresh]
        rows += [self._row(key, self._seen_ns[key], 0) for key in sorted(self._back)]
        self.gone = (self.gone | set(fresh)) - self._back
        self._back.clear()
        return rows

    def _remember(self, key: str, size_bytes: int, seen_ns: int) -> None:
        self._known[key] = Known(key, size_bytes)
        self._seen_ns[key] = max(seen_ns, self._seen_ns.get(key, 0))

    def _row(self, key: str, seen_ns: int, missed_ns: int) -> GoneObject:
        return GoneObject(self._keys.component.value, self._asking.bucket, key, seen_ns, missed_ns)
