"""The sweep of each store's bucket. To add a store, write a folder with its keys and its sweep, and name both here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loadgen.buckets.blocks import BlockSweep
from loadgen.buckets.loki.keys import KEYS as LOKI_KEYS
from loadgen.buckets.loki.streams import StreamSweep
from loadgen.buckets.mimir.blocks import MimirBlocks
from loadgen.buckets.mimir.keys import KEYS as MIMIR_KEYS
from loadgen.buckets.sweep import Searched, Sweep
from loadgen.buckets.tempo.blocks import TempoBlocks
from loadgen.buckets.tempo.keys import KEYS as TEMPO_KEYS
from loadgen.model import Component

SWEEPS: Mapping[Component, Callable[[Searched], Sweep]] = {
    LOKI_KEYS.component: StreamSweep,
    TEMPO_KEYS.component: lambda searched: BlockSweep(searched, TempoBlocks()),
    MIMIR_KEYS.component: lambda searched: BlockSweep(searched, MimirBlocks()),
}
