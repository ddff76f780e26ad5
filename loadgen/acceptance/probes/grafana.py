"""Asking Grafana: its health, the three data sources, how it tells an error, and the dashboard."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from loadgen.acceptance.facts import DashboardFacts, DatasourceFacts, ErrorAnswer, Told
from loadgen.config import Target
from loadgen.model import NS, Component
from loadgen.stores import STORES
from loadgen.stores.store import Store
from loadgen.targets.datasources import Datasources
from loadgen.targets.hiding import url_without_secrets
from loadgen.targets.http import Answer, HttpClient, json_of
from loadgen.targets.readers import Readers, datasources_of

DASHBOARD_UID = "loadgen-lgtm"
_JSON = {"Content-Type": "application/json"}
_LINKS = ("tracesToLogsV2", "tracesToLogs", "tracesToMetrics", "serviceMap", "lokiSearch")
# Nothing of this name can be there, and the query language cannot read it.
_BROKEN = "sum(("
_HOUR_NS = 3600 * NS


def ask_grafana(client: HttpClient) -> Told[str]:
    """Grafana's version."""
    health, error = json_of(client.get("/api/health"), f"{client.where}/api/health")
    if error:
        return Told(error=error)
    if not isinstance(health, dict) or "version" not in health:
        return Told(error=f"{client.where}: answers, but not as Grafana does; check [grafana] url")
    if health.get("database") != "ok":
        return Told(error=f"{client.where}: Grafana's own database is {health.get('database')!r}; see its log")
    return Told(str(health["version"]))


def ask_uids(client: HttpClient) -> Told[tuple[str, ...]]:
    """The uids of all data sources; a Viewer may not see them."""
    rows, error = json_of(client.get("/api/datasources"), f"{client.where}/api/datasources")
    if error or not isinstance(rows, list):
        return Told(error=error or f"{client.where}/api/datasources: no list came back")
    return Told(tuple(str(row.get("uid", "")) for row in rows if isinstance(row, dict)))


def ask_datasources(
    client: HttpClient, target: Target, readers: Readers
) -> tuple[tuple[Component, Told[DatasourceFacts]], ...]:
    """The data source of each component, with its own check and one small query."""
    return tuple(
        (component, _datasource(client, component, uid, readers)) for component, uid in datasources_of(target).items()
    )


def _datasource(client: HttpClient, component: Component, uid: str, readers: Readers) -> Told[DatasourceFacts]:
    path = f"/api/datasources/uid/{quote(uid, safe='')}"
    answer = client.get(path)
    raw, error = json_of(answer, client.where + path)
    error = Datasources(client).of(component, uid)(answer) or error
    if not error and (not isinstance(raw, dict) or "type" not in raw):
        error = f"{client.where}{path}: the answer describes no data source"
    health, query = _health(client, path), _query(component, readers)
    if error:
        # A Viewer may query and not see the settings: what the query shows is worth something all the same.
        return Told(DatasourceFacts(component, uid, "", "", "", (), health, query), error=error)
    data = raw.get("jsonData") or {}
    return Told(
        DatasourceFacts(
            component=component,
            uid=str(raw.get("uid", "")),
            type=str(raw["type"]),
            access=str(raw.get("access", "")),
            url=url_without_secrets(str(raw.get("url", ""))),
            links=tuple(_links(data)),
            health=health,
            query_s=query,
        )
    )


def _links(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where a data source names another one, and its uid."""
    found = [
        (name, str(data[name]["datasourceUid"]))
        for name in _LINKS
        if isinstance(data.get(name), dict) and data[name].get("datasourceUid")
    ]
    fields = data.get("derivedFields") or ()
    return found + [
        ("derivedFields", str(field["datasourceUid"]))
        for field in fields
        if isinstance(field, dict) and field.get("datasourceUid")
    ]


def _health(client: HttpClient, path: str) -> Told[str]:
    """Empty when the data source's own check passes; a version of Grafana without one for a plugin is no failure."""
    answer = client.get(f"{path}/health")
    if answer.ok:
        return Told("")
    message = _message(answer)
    if answer.status == 404 or "not registered" in message or "not implemented" in message.lower():
        return Told(skipped=f"this Grafana has no such check ({message or answer.status})")
    if answer.status == 400:
        return Told(message or "the check failed without a message")
    return Told(error=answer.error)


def _message(answer: Answer) -> str:
    try:
        raw = json.loads(answer.body)
        return str(raw.get("message", "")) if isinstance(raw, dict) else ""
    except ValueError:
        return ""


def _query(component: Component, readers: Readers) -> Told[float]:
    """How long one small query through the data source took."""
    reader = readers.of(component)
    if reader is None:
        return Told(error=f"{component} stores nothing that could be asked for")
    reply = reader.small(time.time_ns())
    return Told((reply.done_ns - reply.sent_ns) / NS) if reply.ok else Told(error=reply.error)


def ask_error(client: HttpClient, target: Target) -> Told[ErrorAnswer]:
    """How a query that no server understands comes back from Mimir's data source."""
    uid = target.mimir.datasource
    path = f"/api/datasources/proxy/uid/{quote(uid, safe='')}/api/v1/query"
    answer = client.get(path, {"query": _BROKEN})
    if not answer.status:
        return Told(error=answer.error)
    return Told(ErrorAnswer(answer.status, answer.body[:400].decode("utf-8", "replace").strip()))


def ask_dashboard(client: HttpClient, target: Target, readers: Readers, create: bool) -> Told[DashboardFacts]:
    """loadgen's dashboard and whether each of its panels' queries returns rows; made first when ``create``."""
    path = f"/api/dashboards/uid/{DASHBOARD_UID}"
    raw, error = json_of(client.get(path), client.where + path)
    if error and create:
        body = json.dumps({"dashboard": _dashboard(datasources_of(target)), "overwrite": True}).encode()
        made = client.post("/api/dashboards/db", body, _JSON)
        if not made.ok:
            return Told(error=f"the dashboard could not be created: {made.error}")
        raw, error = json_of(client.get(path), client.where + path)
    if error:
        return Told(error=error)
    title = str(((raw or {}).get("dashboard") or {}).get("title", ""))
    now_ns = time.time_ns()
    panels = []
    for store in STORES:
        component, query = store.component, store.datasource.query
        if readers.grafana is None:
            return Told(skipped="reading is direct, not through Grafana")
        reply = readers.grafana.panel(component, query, now_ns - _HOUR_NS, now_ns)
        panels.append((component, Told(reply.value) if reply.value is not None else Told(error=reply.error)))
    return Told(DashboardFacts(DASHBOARD_UID, title, tuple(panels)))


def _reference(store: Store, uids: Mapping[Component, str]) -> dict[str, str]:
    return {"uid": uids[store.component], "type": store.datasource.plugin}


def _dashboard(uids: Mapping[Component, str]) -> dict[str, Any]:
    panels = [
        {
            "id": number,
            "title": store.datasource.title,
            "type": store.datasource.panel,
            "gridPos": {"x": 0, "y": 8 * (number - 1), "w": 24, "h": 8},
            "datasource": _reference(store, uids),
            "targets": [{"refId": "A", "datasource": _reference(store, uids), **store.datasource.query}],
        }
        for number, store in enumerate(STORES, 1)
    ]
    return {
        "uid": DASHBOARD_UID,
        "title": "loadgen: logs, traces and metrics",
        "tags": ["loadgen"],
        "timezone": "browser",
        "schemaVersion": 39,
        "time": {"from": "now-1h", "to": "now"},
        "panels": panels,
    }
