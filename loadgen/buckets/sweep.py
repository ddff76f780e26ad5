"""What finds new objects in one store's bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from loadgen.buckets.asking import Asking
from loadgen.buckets.tenants import Tenants
from loadgen.buckets.wanted import Wanted
from loadgen.model import StoredObject


class Sweep(Protocol):
    """Finds what is new in one bucket.

    Attributes:
        undecided: objects of the last cycle that could not be read and will be tried again.
        patient: there is a next time for what cannot be read.
        parted: something lacks data whose time is over, and the last cycle looked for all of it in parts as well.
        renamed: data is looked for under other names than in the cycles before.
        note: what a reader of the report should know of the names.
    """

    undecided: int
    patient: bool

    @property
    def parted(self) -> bool:
        """See above."""

    @property
    def renamed(self) -> bool:
        """See above."""

    @property
    def note(self) -> str:
        """See above."""

    def recall(self, wanted: Wanted, stored: pd.DataFrame) -> None:
        """Begin with what was stored before: by an earlier watcher of the run, or without what has gone since."""

    def cycle(self, wanted: Wanted) -> Iterator[int]:
        """Look for everything once; yields rows after each request."""

    def strangers(self, wanted: Wanted) -> Iterator[int] | None:
        """How many objects of the run's time may be the run's under names that nobody knows; None: names cannot change.

        Yields after each request how many there are so far.
        """


@dataclass(frozen=True, slots=True)
class Searched:
    """What a sweep works with.

    Attributes:
        asking: the bucket.
        clock: epoch nanoseconds.
        tenants: under which prefixes to look.
        found: takes every object once.
        unreadable: takes the error, bucket and key of an object that stays unreadable, and says it in words.
    """

    asking: Asking
    clock: Callable[[], int]
    tenants: Tenants
    found: Callable[[StoredObject], None]
    unreadable: Callable[[Exception, str, str], str]
