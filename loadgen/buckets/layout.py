"""What a folder of a bucket is, told by the names in it: a tenant of Loki, Tempo or Mimir, or something else.

Keys are read from their end, so it does not matter below which prefix a component keeps its data.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from loadgen.buckets.asking import Page
from loadgen.model import Component
from loadgen.stores import store_of
from loadgen.targets.blocks import MIMIR_BLOCK, TEMPO_BLOCK, chunk_place

# The fingerprint of a stream has 64 bits: one in 65,536 has fewer digits, and words of hex digits are shorter.
_STREAM = re.compile(r"[0-9a-f]{12,16}")
_INDEX_TABLE = re.compile(r".*_?\d{5}")
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


def owner_of(place: str, names: Names) -> tuple[Component, str] | None:
    """Whose data this folder tells of, and which folder is the tenant's; None if it says nothing.

    ``place`` ends with a slash, unless it is the root.
    """
    for read in (_streams, _blocks):
        found = read(place, names)
        if found is not None:
            return found
    return None


def described(place: str, names: Names) -> str:
    """A folder that says nothing, for people."""
    examples = [f"{name}/" for name in names.folders[:3]] + list(names.files[:3])
    shown = ", ".join(one if len(one) <= 40 else f"{one[:37]}…" for one in examples[:4])
    return f"{place or 'the root'} ({shown or 'nothing'})"


def _streams(place: str, names: Names) -> tuple[Component, str] | None:
    """Loki's tenant has a folder for each stream, or, up to schema v11, a file for each chunk."""
    if not place:
        return None
    tenant = place.rstrip("/")
    if any(_STREAM.fullmatch(name) for name in names.folders):
        return Component.LOKI, tenant
    for name in names.files[:50]:
        chunk = chunk_place(place + name)
        if chunk is not None:
            return Component.LOKI, chunk.tenant
    return None


def _blocks(place: str, names: Names) -> tuple[Component, str] | None:
    """A tenant of Tempo or Mimir has a folder for each block."""
    patterns: tuple[tuple[Component, Callable[[str], object]], ...] = (
        (Component.TEMPO, TEMPO_BLOCK.fullmatch),
        (Component.MIMIR, MIMIR_BLOCK.fullmatch),
    )
    for component, is_block in patterns:
        beside = store_of(component).beside.intersection((*names.folders, *names.files))
        if place and (beside or any(is_block(name) for name in names.folders)):
            return component, place.rstrip("/")
    return None


def is_index(name: str) -> bool:
    """Whether a folder is Loki's index, or a table of it."""
    return name == "index" or _INDEX_TABLE.fullmatch(name) is not None
