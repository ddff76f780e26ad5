"""What a folder of a bucket is, told by the names in it: a tenant of Loki, Tempo or Mimir, or something else."""

from __future__ import annotations

import re

from loadgen.buckets.keys import Keys, Names
from loadgen.buckets.loki.keys import KEYS as LOKI
from loadgen.buckets.mimir.keys import KEYS as MIMIR
from loadgen.buckets.tempo.keys import KEYS as TEMPO
from loadgen.model import Component

LAYOUTS: tuple[Keys, ...] = (LOKI, TEMPO, MIMIR)
"""How each store's keys look; the first one that recognises a folder has it."""
_INDEX_TABLE = re.compile(r".*_?\d{5}")


def keys_of(component: Component) -> Keys:
    """How a store's keys look; KeyError for a component that stores no signal."""
    return {keys.component: keys for keys in LAYOUTS}[component]


def owner_of(place: str, names: Names) -> tuple[Component, str] | None:
    """Whose data this folder tells of, and which folder is the tenant's; None if it says nothing.

    ``place`` ends with a slash, unless it is the root.
    """
    for keys in LAYOUTS:
        tenant = keys.tenant_in(place, names)
        if tenant is not None:
            return keys.component, tenant
    return None


def described(place: str, names: Names) -> str:
    """A folder that says nothing, for people."""
    examples = [f"{name}/" for name in names.folders[:3]] + list(names.files[:3])
    shown = ", ".join(one if len(one) <= 40 else f"{one[:37]}…" for one in examples[:4])
    return f"{place or 'the root'} ({shown or 'nothing'})"


def is_index(name: str) -> bool:
    """Whether a folder is Loki's index, or a table of it."""
    return name == "index" or _INDEX_TABLE.fullmatch(name) is not None
