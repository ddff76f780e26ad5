"""An embedded Grafana in this process, with a component behind it that answers as it is told."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loadgen.lab.grafana.server import build
from loadgen.lab.processes.serve import serving
from loadgen.lab.settings import LabDatasource, ServerSettings, User

USERS = (User("admin", "secret", "Admin"), User("ed", "edits", "Editor"), User("view", "looks", "Viewer"))


@dataclass(slots=True)
class Component:
    """What stands behind the data sources: answers by path, and the requests that came."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    async def handle(self, request: Request) -> Response:
        raw = request.scope["raw_path"].decode()
        query = request.scope["query_string"].decode()
        path = f"{raw}?{query}" if query else raw
        self.seen.append((request.method, path, dict(request.headers), await request.body()))
        status, content = self.answers.get(request.url.path, (404, "404 page not found\n"))
        if isinstance(content, str):
            return Response(content, status, {"Set-Cookie": "a=b", "X-Kept": "yes"}, "text/plain")
        body = json.dumps(content).encode()
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(gzip.compress(body), status, {"Content-Encoding": "gzip"}, "application/json")
        return Response(body, status, media_type="application/json")


@dataclass(frozen=True, slots=True)
class Client:
    """Asks a Grafana as one of its users."""

    url: str
    component: Component
    login: str = "admin:secret"

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        own = urllib3.make_headers(basic_auth=self.login) if self.login else {}
        more: dict[str, Any] = {"body": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        return urllib3.request(
            method, self.url + path, headers={**own, **(headers or {})}, retries=False, timeout=20, **more
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.ask("GET", path, headers=headers)

    def query(self, *queries: dict[str, Any], start: Any = 1_000_000, end: Any = 1_600_000) -> tuple[int, Any]:
        answer = self.ask("POST", "/api/ds/query", {"from": str(start), "to": str(end), "queries": list(queries)})
        return answer.status, answer.json()


def settings(directory: Path, component_url: str) -> ServerSettings:
    return ServerSettings(
        "grafana",
        str(directory),
        users=USERS,
        datasources=(
            LabDatasource("loki", "loki", "Loki", component_url, '{"maxLines": 5}'),
            LabDatasource("tempo", "tempo", "Tempo", component_url + "/"),
            LabDatasource("mimir", "prometheus", "Mimir", component_url + "/prometheus"),
            LabDatasource("gone", "loki", "Gone", "http://127.0.0.1:1"),
            LabDatasource("odd", "mysql", "Odd", component_url),
        ),
    )


@contextmanager
def grafana(directory: Path) -> Iterator[Client]:
    component = Component()
    methods = ["GET", "POST", "PUT", "DELETE"]
    behind = Starlette(routes=[Route("/{path:path}", component.handle, methods=methods)])
    with serving(behind) as address, serving(build(settings(directory, address))) as url:
        yield Client(url, component)
