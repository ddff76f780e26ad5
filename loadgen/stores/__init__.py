"""The stores: what is true of Loki, Mimir and Tempo. To add one, write a file and put it into `STORES`."""

from __future__ import annotations

from loadgen.model import Component
from loadgen.stores.loki import LOKI
from loadgen.stores.mimir import MIMIR
from loadgen.stores.store import Store
from loadgen.stores.tempo import TEMPO

STORES: tuple[Store, ...] = (LOKI, MIMIR, TEMPO)
_BY_NAME = {store.component: store for store in STORES}


def store_of(component: Component) -> Store:
    """What is true of a component that stores signals."""
    return _BY_NAME[component]


def promised_range_s(component: Component) -> float:
    """The range that the promise about queries of a component speaks of; 0 if it speaks of none."""
    store = _BY_NAME.get(component)
    return store.promised_s if store is not None else 0.0
