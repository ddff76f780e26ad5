"""The readers of a whole target: by Grafana's data-source proxy, or directly."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from loadgen.config import Target
from loadgen.model import Component, RunKey
from loadgen.stores import STORES
from loadgen.targets.datasources import Datasources
from loadgen.targets.grafana import GrafanaReader
from loadgen.targets.http import HttpClient
from loadgen.targets.loki import LokiReader
from loadgen.targets.mimir import MimirReader
from loadgen.targets.reading import Asker, Patience, Record
from loadgen.targets.tempo import TempoReader

StoreReader = LokiReader | MimirReader | TempoReader
_STORING = frozenset(store.component for store in STORES)


@dataclass(frozen=True, slots=True)
class Readers:
    """How a run reads: ``grafana`` is None when it reads directly."""

    via: str
    loki: LokiReader
    tempo: TempoReader
    mimir: MimirReader
    grafana: GrafanaReader | None

    def of(self, component: Component) -> StoreReader | None:
        """The reader of a component; None for those that store nothing."""
        reader: StoreReader | None = getattr(self, component.value, None) if component in _STORING else None
        return reader

    def recording(self, record: Record | None) -> Readers:
        """The same readers, with timings handed to ``record``; None drops them."""
        grafana = self.grafana.recording(record) if self.grafana is not None else None
        return Readers(
            self.via, self.loki.recording(record), self.tempo.recording(record), self.mimir.recording(record), grafana
        )


def open_readers(
    target: Target,
    clock: Callable[[], int],
    record: Record | None,
    timeout_s: float,
    source: str,
    connections: int = 16,
    patience: Patience | None = None,
) -> Readers:
    """Readers of all components of a target, by the way that the target names.

    Args:
        target: where to read and whom to log in as.
        clock: epoch nanoseconds.
        record: takes the timing of every query, from whichever thread made it; None drops them.
        timeout_s: limit of one query.
        source: who asks, for the timings: ``viewer``, ``probe`` or ``verify``.
        connections: connections kept open to each server.
        patience: with a server that has too many questions; None: what it answers first counts.

    Raises:
        ConfigError: a file with a secret cannot be read.
    """
    if target.via == "grafana":
        client = HttpClient(target.grafana.url, target.grafana, timeout_s, clock, connections)
        uids = datasources_of(target)

        sources = Datasources(client)

        def through(component: Component, prefix: str) -> Asker:
            lacking = sources.of(component, uids[component])
            return Asker(component, client, prefix, "grafana", source, record, lacking, patience)

        def proxied(component: Component) -> Asker:
            return through(component, proxy_path(uids[component]))

        roots = {component: through(component, "") for component in uids}
        return _made("grafana", proxied, GrafanaReader(roots, uids))

    def direct(component: Component) -> Asker:
        section = target.store(component)
        client = HttpClient(section.read_address, section, timeout_s, clock, connections)
        return Asker(component, client, "", "direct", source, record, None, patience)

    return _made("direct", direct, None)


def _made(via: str, asker: Callable[[Component], Asker], grafana: GrafanaReader | None) -> Readers:
    """Each store's reader with its own asker."""
    return Readers(
        via,
        LokiReader(asker(LokiReader.component)),
        TempoReader(asker(TempoReader.component)),
        MimirReader(asker(MimirReader.component)),
        grafana,
    )


def datasources_of(target: Target) -> dict[Component, str]:
    """The uid of each component's data source."""
    return {store.component: target.store(store.component).datasource for store in STORES}


def proxy_path(uid: str) -> str:
    """Grafana's proxy to a data source; what the data source's own URL ends with must not be repeated after it."""
    return f"/api/datasources/proxy/uid/{quote(uid, safe='')}"


def ping(readers: Readers, component: Component, key: RunKey, now_ns: int = 0) -> str:
    """One small query of a run's data; empty when it works, else what is wrong.

    Only Loki, Tempo and Mimir can be asked. It looks at the last minute before ``now_ns`` (0: the present).
    """
    reader = readers.of(component)
    if reader is None:
        return f"{component} has no data to ask for"
    return reader.ping(key, now_ns or time.time_ns()).error
