"""How each store lays out its keys, so that a folder tells whose it is and an object whether it is whole.

Keys are read from their end, so it does not matter below which prefix a store keeps its data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from loadgen.buckets.asking import Page
from loadgen.model import Component

_SEEDS = re.compile(
    r"(?:loki|tempo|mimir|usage_stats|__mimir)\w*(?:seed|cluster)\w*(?:\.json)?|work\.json|work\.pb\.zst"
)


@dataclass(frozen=True, slots=True)
class Names:
    """What lies directly in a folder: the first page of it is enough."""

    folders: tuple[str, ...]
    files: tuple[str, ...]

    @classmethod
    def of(cls, place: str, page: Page) -> Names:
        """The names of a page that was listed below ``place`` with a delimiter."""
        return cls(
            tuple(one[len(place) :].rstrip("/") for one in page.prefixes),
            tuple(one.key[len(place) :] for one in page.objects),
        )

    def __bool__(self) -> bool:
        """Whether something is there that counts: servers leave seed files of their own in buckets."""
        return bool(self.folders) or any(not _SEEDS.fullmatch(name) for name in self.files)


class Keys(Protocol):
    """The keys of one store's objects."""

    @property
    def component(self) -> Component:
        """Whose they are."""

    def tenant_in(self, place: str, names: Names) -> str | None:
        """Which folder is a tenant's, if ``place`` tells of one: it ends with a slash, unless it is the root."""

    def unit(self, key: str) -> str:
        """What must be listed to see whether an object is whole: its key, or the folder around it with a slash."""

    def is_whole(self, size_bytes: int, there: Mapping[str, int]) -> bool:
        """Whether all is there of an object that had so many bytes; ``there`` has sizes by the rest of the keys."""


@dataclass(frozen=True, slots=True)
class BlockKeys:
    """Of a store that keeps blocks, a folder each.

    Attributes:
        component: whose they are.
        name: the name of a block.
        beside: what lies beside the blocks of a tenant, also while there are none.
        needs: of each of these sets one object makes a block complete.
        counted: the objects whose bytes count; marks that come and go do not.
    """

    component: Component
    name: re.Pattern[str]
    beside: frozenset[str]
    needs: tuple[tuple[str, ...], ...]
    counted: re.Pattern[str]

    def tenant_in(self, place: str, names: Names) -> str | None:
        """A tenant has a folder for each block."""
        beside = self.beside.intersection((*names.folders, *names.files))
        here = place and (beside or any(self.name.fullmatch(name) for name in names.folders))
        return place.rstrip("/") if here else None

    def unit(self, key: str) -> str:
        """The folder of the block."""
        return key.rpartition("/")[0] + "/"

    def is_whole(self, size_bytes: int, there: Mapping[str, int]) -> bool:
        """What makes it a block is there, and nothing became smaller."""
        complete = all(any(name in there for name in names) for names in self.needs)
        return complete and self.counted_bytes(there) >= size_bytes

    def counted_bytes(self, sizes: Mapping[str, int]) -> int:
        """The bytes of a block, by the rest of the keys."""
        return sum(size for name, size in sizes.items() if self.counted.fullmatch(name))
