"""Grafana's own API: panels by ``/api/ds/query``, and data sources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadgen.model import NS, Component
from loadgen.stores import store_of
from loadgen.targets.http import Answer
from loadgen.targets.reading import Absence, Asker, MalformedAnswer, Record, Reply, Sized

_ABSENT_TRACE = re.compile(rb'"error":\s*"failed to get trace with id: [0-9a-fA-F]+ Status: 404')


@dataclass(frozen=True, slots=True)
class Datasource:
    """A data source as Grafana describes it."""

    uid: str
    type: str
    name: str
    url: str


class GrafanaReader:
    """Grafana's own API. ``askers`` go to Grafana's root, one per component, so that timings name the component."""

    def __init__(self, askers: Mapping[Component, Asker], uids: Mapping[Component, str]) -> None:
        self._askers = askers
        self._uids = uids

    def recording(self, record: Record | None) -> GrafanaReader:
        """The same, with timings handed to ``record``."""
        askers = {component: asker.recording(record) for component, asker in self._askers.items()}
        return GrafanaReader(askers, self._uids)

    def uid(self, component: Component) -> str:
        """The uid of a component's data source."""
        return self._uids[component]

    def panel(
        self, component: Component, query: Mapping[str, Any], start_ns: int, end_ns: int, due_ns: int = 0
    ) -> Reply[int]:
        """One panel's query by ``POST /api/ds/query``; gives the number of rows.

        ``query`` is what the plugin understands: ``expr`` and ``queryType`` for Loki, ``expr``, ``range`` and
        ``instant`` for Prometheus, ``query`` and ``queryType`` for Tempo. A trace that Tempo does not have (yet) has no
        rows, as it has none through the proxy.
        """
        datasource = {"uid": self._uids[component], "type": store_of(component).datasource.plugin}
        body = {
            "from": str(start_ns // 1_000_000),
            "to": str(end_ns // 1_000_000),
            "queries": [{"refId": "A", "datasource": datasource, **query}],
        }
        absence = _NO_TRACE if query.get("queryType") == "traceId" else None
        asker = self._askers[component]
        return asker.post("panel", "/api/ds/query", body, (end_ns - start_ns) / NS, _rows_of, due_ns, absence)


def datasource_of(raw: Any) -> Sized[Datasource]:
    """A data source as ``GET /api/datasources/uid/<uid>`` describes it."""
    if not isinstance(raw, dict) or "uid" not in raw or "type" not in raw:
        raise MalformedAnswer("the answer describes no data source; is this Grafana?")
    return Sized(Datasource(str(raw["uid"]), str(raw["type"]), str(raw.get("name", "")), str(raw.get("url", ""))), 1)


def _says_no_trace(answer: Answer) -> bool:
    """Grafana makes an error of a trace that Tempo does not have; its status differs between releases."""
    return _ABSENT_TRACE.search(answer.body) is not None


_NO_TRACE = Absence(Sized(0, 0), _says_no_trace)


def _rows_of(raw: Any) -> Sized[int]:
    try:
        result = raw["results"]["A"]
    except (KeyError, TypeError) as problem:
        raise MalformedAnswer("the answer has no results.A; is this Grafana?") from problem
    if result.get("error"):
        raise MalformedAnswer(f"the data source failed: {str(result['error'])[:200]}")
    if int(result.get("status", 200)) >= 400:
        raise MalformedAnswer(f"the query's own status is {result['status']}")
    if not isinstance(result.get("frames"), list):
        raise MalformedAnswer("the answer has no frames")
    rows = 0
    for frame in result["frames"]:
        values = (frame.get("data") or {}).get("values") or []
        rows += max((len(column) for column in values), default=0)
    return Sized(rows, rows)
