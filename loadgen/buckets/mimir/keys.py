"""The keys of Mimir's objects: ``<tenant>/<block>/index`` and what lies beside it."""

from __future__ import annotations

import re

from loadgen.buckets.keys import BlockKeys
from loadgen.model import Component
from loadgen.stores import store_of
from loadgen.targets.blocks import MIMIR_BLOCK

KEYS = BlockKeys(
    Component.MIMIR,
    MIMIR_BLOCK,
    store_of(Component.MIMIR).beside,
    needs=(("meta.json",), ("index",)),
    counted=re.compile(r"index|meta\.json|chunks/.*", re.DOTALL),
)
