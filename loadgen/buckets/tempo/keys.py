"""The keys of Tempo's objects: ``<tenant>/<block>/data.parquet`` and what lies beside it."""

from __future__ import annotations

import re

from loadgen.buckets.keys import BlockKeys
from loadgen.model import Component
from loadgen.stores import store_of
from loadgen.targets.blocks import TEMPO_BLOCK

KEYS = BlockKeys(
    Component.TEMPO,
    TEMPO_BLOCK,
    store_of(Component.TEMPO).beside,
    needs=(("data.parquet",), ("meta.json", "meta.compacted.json")),
    counted=re.compile(r"data\.parquet"),
)
