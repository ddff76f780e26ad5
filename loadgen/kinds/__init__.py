"""The kinds of signals: what is true of each, and a source that makes any batch of it, again and again the same.

To add a kind, write a folder with a `Kind` and its source, and put it into `KINDS`.
"""

from __future__ import annotations

from loadgen.kinds.kind import Kind
from loadgen.kinds.logs.kind import LOGS
from loadgen.kinds.metrics.kind import METRICS
from loadgen.kinds.traces.kind import TRACES
from loadgen.model import Component, Signal

KINDS: tuple[Kind, ...] = (LOGS, METRICS, TRACES)
SIGNALS: tuple[Signal, ...] = tuple(kind.signal for kind in KINDS)
COMPONENTS: tuple[Component, ...] = tuple(dict.fromkeys(kind.store for kind in KINDS))
"""The components that keep them, in the same order."""
_BY_NAME = {kind.signal: kind for kind in KINDS}


def kind_of(signal: Signal) -> Kind:
    """The kind of a signal."""
    return _BY_NAME[signal]


def kinds_in(component: Component) -> tuple[Kind, ...]:
    """The kinds that a component keeps; none for Grafana and S3."""
    return tuple(kind for kind in KINDS if kind.store is component)
