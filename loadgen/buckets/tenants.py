"""Under which prefixes of a bucket the run's data can be: one for each tenant.

A component may keep all of its data below a prefix, which the target can name. Where it does not, folders are walked
through, breadth first, a request each, until the run's data was found at one place; from then on only that is asked.
What a folder is, its first page tells, and a tenant is never entered, so a bucket's size does not matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from loadgen.buckets.asking import Asking, Page
from loadgen.buckets.keys import Names
from loadgen.buckets.layout import described, is_index, owner_of
from loadgen.model import Component
from loadgen.stores import store_of

_DEEPEST = 6
_MOST_FOLDERS = 300
"""So many folders are looked into in one walk."""
_SHOWN = 6


class Tenants:
    """Where tenants' data lies, until the run's was found at one of these places, and then only there.

    Args:
        asking: the bucket.
        component: whose data is looked for.
        tenant: the configured one; empty, or not there: whatever is there.
        prefix: what comes before tenants; empty: nothing, or a prefix that shows up by itself.
    """

    def __init__(self, asking: Asking, component: Component, tenant: str, prefix: str = "") -> None:
        self._asking = asking
        self._component = component
        self._tenant = tenant
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._settled = self._found_in = ""
        self._kept = bool(tenant and self._prefix)
        self._mine: dict[str, None] = {}
        self._assumed: set[str] = set()
        self._looks = 0
        self._others: dict[str, Component] = {}
        self._seen: dict[str, str] = {}
        self._cut = False
        self._empty = False
        self._walked = False
        self.names: tuple[str, ...] = (f"{self._prefix}{tenant}",) if self._kept else ()

    def look(self, everywhere: bool = False) -> Iterator[int]:
        """Look at the folders once more, if that can still tell something; yields rows after each request.

        Args:
            everywhere: nothing of the run is where it should be, so nothing is taken for granted any more: neither
                the prefix, nor the tenant, nor that a folder with the name of a tenant is one.
        """
        if self._settled or (self._kept and not everywhere):
            return
        self._seen, self._cut = {}, False
        # A folder with the name of a tenant is taken for one, until nothing was found in it.
        sure = everywhere or self._looks > 0
        self._looks += 1
        if sure:
            for one in self._assumed:
                self._mine.pop(one, None)
            self._assumed.clear()
        root = "" if everywhere else self._prefix
        queue = deque([(root, 0)])
        asked = 0
        while queue:
            place, depth = queue.popleft()
            if asked >= _MOST_FOLDERS:
                self._cut = True
                break
            pages = self._asking.pages(place, delimiter="/")
            folders: list[str] = []
            for number, page in enumerate(pages):
                asked += 1
                yield page.rows
                names = Names.of(place, page)
                folders += names.folders
                # Of a folder that is none of the root's the first page is enough.
                if number == 0 and self._know(place, page):
                    folders = []
                    break
                if place != root or asked >= _MOST_FOLDERS:
                    break
            if place == root and self._tenant in folders and not everywhere:
                self._kept, self.names = True, (f"{root}{self._tenant}",)
                return
            if depth < _DEEPEST:
                queue.extend((one, depth + 1) for one in self._to_enter(place, folders, everywhere, sure))
        self._walked = everywhere or self._walked
        self._name(everywhere)

    def settle(self, tenant: str) -> None:
        """The run's data was found here."""
        self._settled = self._found_in = tenant
        self.names = (tenant,)

    def found_in(self, tenant: str) -> None:
        """Something of the run was found here, which need not be the only place."""
        self._found_in = tenant

    # -- for people ------------------------------------------------------------------------------------------------

    @property
    def note(self) -> str:
        """What a reader should know of where the data was found; empty if it is where the target says."""
        before = self._found_in.rpartition("/")[0]
        if not self._found_in or before == self._prefix.rstrip("/"):
            return ""
        where = f"{self._component}'s data lies below {before or 'the root'} in {self._asking.bucket}"
        return f'{where}; set {self._component}_prefix = "{before}" in [s3] of the target'

    @property
    def understood(self) -> bool:
        """Whether the bucket looks as it must, after a look everywhere: then what is not there was not written."""
        if self._found_in or not self._walked or self._empty:
            return True
        there = [one for one in self._mine if one.startswith(self._prefix)]
        return any(not self._tenant or one.rpartition("/")[2] == self._tenant for one in there)

    @property
    def seen(self) -> str:
        """What there is in the bucket instead."""
        parts = [f"{one}/ with data of {self._component}" for one in self._mine]
        parts += [f"{one}/ with data of {whose}" for one, whose in self._others.items()]
        parts += list(self._seen.values())
        more = len(parts) - _SHOWN
        text = "; ".join(parts[:_SHOWN]) + (f"; and {more} folders more" if more > 0 else "")
        return text + ("; not all folders were looked into" if self._cut else "")

    # -- inside ----------------------------------------------------------------------------------------------------

    def _know(self, place: str, page: Page) -> bool:
        """Learn what a folder is; whether it is a tenant's, so that there is no more to see in it."""
        names = Names.of(place, page)
        if not place:
            self._empty = not names
        owner = owner_of(place, names)
        if owner is None:
            if names:
                self._seen[place] = described(place, names)
            return False
        component, tenant = owner
        if component is self._component:
            self._mine[tenant] = None
        else:
            self._others[tenant] = component
        return True

    def _to_enter(self, place: str, folders: list[str], everywhere: bool, sure: bool) -> Iterator[str]:
        """The folders in a folder that may be, or hold, what is looked for."""
        taken = (self._tenant, store_of(self._component).tenant)
        for name in folders:
            whole = f"{place}{name}"
            if whole in self._mine or whole in self._others or (is_index(name) and not everywhere):
                continue
            if is_index(name):
                self._seen[whole] = f"{whole}/ (an index)"
            elif name in taken and not sure:
                self._mine[whole] = None
                self._assumed.add(whole)
            else:
                yield f"{whole}/"

    def _name(self, everywhere: bool) -> None:
        """Decide where to look for data."""
        named = [one for one in self._mine if one.rpartition("/")[2] == self._tenant]
        self.names = tuple(self._mine) if everywhere or not named else tuple(named)
