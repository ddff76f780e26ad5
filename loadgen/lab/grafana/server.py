"""The embedded Grafana: a small server with the part of Grafana's HTTP API that reading back needs.

    python -m loadgen.lab.grafana.server CONFIG.json

Data sources come from the settings, as if provisioned. Statuses and bodies follow Grafana 12.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadgen.lab.defects import QUERY_KINDS, DefectKind, Defects
from loadgen.lab.exposition import Exposition
from loadgen.lab.grafana import proxy
from loadgen.lab.grafana import query as queries
from loadgen.lab.grafana.auth import ROLES, BasicLogin, Logins
from loadgen.lab.grafana.spoil import asked_sources, emptied, page, without_results
from loadgen.lab.grafana.store import GrafanaStore
from loadgen.lab.grafana.times import QueryError, parse_time
from loadgen.lab.grafana.upstream import Upstream
from loadgen.lab.processes.serve import application, main
from loadgen.lab.settings import ServerSettings, SettingsError

VERSION = "12.3.0"
_COMMIT = "embedded"
_THREADS = 64
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

Handler = Callable[[Request, BasicLogin], Awaitable[Response]]


def message(status: int, text: str, /, **more: Any) -> Response:
    """An error or a short success as Grafana words them."""
    return JSONResponse({"message": text, **more}, status)


class Grafana:
    """The handlers; one instance per server."""

    def __init__(self, settings: ServerSettings, clock_ns: Callable[[], int] = time.time_ns) -> None:
        try:
            self.store = GrafanaStore(Path(settings.data_dir))
            self._rows = {
                source.uid: (proxy.describe(source, number, True), proxy.describe(source, number, False))
                for number, source in enumerate(settings.datasources, 1)
            }
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(f"{settings.data_dir}: {error}; mend or remove grafana.json in it") from error
        self.sources = queries.by_uid(settings.datasources)
        self.logins = Logins(settings.users, self.store)
        self.upstream = Upstream()
        self.defects = Defects(QUERY_KINDS, clock_ns)
        self.metrics = Exposition(settings.limits.max_memory_bytes)
        self.metrics.counter("grafana_http_requests_total", "Requests by handler and status.")
        self._clock_ns = clock_ns

    def routes(self) -> list[Route]:
        """All routes."""
        return [
            Route("/api/health", self._health),
            Route("/healthz", lambda _request: Response("Ok", media_type="text/plain")),
            Route("/metrics", lambda _request: self.metrics.response()),
            self._route("/api/datasources/proxy/uid/{uid}/{path:path}", self._proxy, "Viewer", _METHODS),
            self._route("/api/ds/query", self._query, "Viewer", ["POST"]),
            self._route("/api/datasources", self._datasources, "Admin"),
            self._route("/api/datasources/uid/{uid}", self._datasource, "Admin"),
            self._route("/api/datasources/uid/{uid}/health", self._datasource_health, "Viewer"),
            self._route("/api/annotations", self._annotations, "Viewer"),
            self._route("/api/annotations", self._annotate, "Editor", ["POST"]),
            self._route("/api/annotations/{number:int}", self._remove_annotation, "Editor", ["DELETE"]),
            self._route("/api/serviceaccounts", self._add_account, "Admin", ["POST"]),
            self._route("/api/serviceaccounts/search", self._accounts, "Admin"),
            self._route("/api/serviceaccounts/{number:int}/tokens", self._add_token, "Admin", ["POST"]),
            self._route("/api/dashboards/db", self._save_dashboard, "Editor", ["POST"]),
            self._route("/api/dashboards/uid/{uid}", self._dashboard, "Viewer"),
            self._route("/api/dashboards/uid/{uid}", self._remove_dashboard, "Editor", ["DELETE"]),
            self._route("/api/search", self._search, "Viewer"),
            self._route("/api/user", self._user, "Viewer"),
            self._route("/api/org", self._org, "Viewer"),
            *self.defects.routes(),
            self._route("/{path:path}", self._unknown, "None", _METHODS),
        ]

    def _route(self, path: str, handler: Handler, role: str, methods: list[str] | None = None) -> Route:
        name = path.partition("{")[0].rstrip("/")

        async def checked(request: Request) -> Response:
            login = self.logins.check(request.headers.get("authorization"))
            if not isinstance(login, BasicLogin):
                response = message(
                    401, login.message, messageId=login.message_id, extra=None, statusCode=401, traceID=""
                )
            elif not login.may(role):
                response = message(
                    403, f"You'll need additional permissions to perform this action. Needed is the role {role}",
                    title="Access denied", accessErrorId="ACE0000000000",
                )  # fmt: skip
            else:
                response = await handler(request, login)
            self.metrics.add("grafana_http_requests_total", handler=name, status_code=str(response.status_code))
            return response

        return Route(path, checked, methods=methods or ["GET"])

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"commit": _COMMIT, "database": "ok", "version": VERSION})

    async def _unknown(self, _request: Request, _login: BasicLogin) -> Response:
        return message(404, "Not found")

    # --- data sources -------------------------------------------------------------------------------------------------

    async def _datasources(self, _request: Request, _login: BasicLogin) -> Response:
        return JSONResponse(sorted((short for _, short in self._rows.values()), key=lambda row: str(row["name"])))

    async def _datasource(self, request: Request, _login: BasicLogin) -> Response:
        rows = self._rows.get(request.path_params["uid"])
        return JSONResponse(rows[0]) if rows else message(404, "Data source not found")

    async def _datasource_health(self, request: Request, _login: BasicLogin) -> Response:
        source = self.sources.get(request.path_params["uid"])
        if source is None:
            return message(404, "Data source not found")
        health = await anyio.to_thread.run_sync(proxy.check, source, self.upstream)
        body = {"message": health.message, "status": "OK" if health.ok else "ERROR"}
        return JSONResponse(body, 200 if health.ok else 400)

    async def _proxy(self, request: Request, _login: BasicLogin) -> Response:
        uid = request.path_params["uid"]
        source = self.sources.get(uid)
        if source is None:
            return message(404, "Data source not found")
        # The path as sent: a decoded one would change what %2F means.
        raw = request.scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1")
        path = raw.partition("/api/datasources/proxy/uid/")[2].partition("/")[2]
        refusal = proxy.refusal(source, request.method, path)
        if refusal:
            return message(403, refusal)
        query = request.scope.get("query_string", b"").decode("latin-1")
        spoiled, empty = await self._spoil(f"{uid} {request.method} {path}?{unquote_plus(query)}")
        if spoiled is not None:
            return spoiled
        body = b"" if request.method == "GET" else await request.body()
        status, headers, content = await anyio.to_thread.run_sync(
            proxy.forward, source, self.upstream, request.method, path, query, dict(request.headers), body
        )
        if empty:
            headers, content = emptied(headers, content)
        return Response(content, status, headers)

    async def _spoil(self, item: str) -> tuple[Response | None, bool]:
        """What a defect on order answers to a query instead of the component, and whether it empties the answer."""
        order = self.defects.claim(item, *QUERY_KINDS)
        if order is None:
            return None, False
        if order.kind is DefectKind.SLOW:
            await asyncio.sleep(order.delay_ns / 1e9)
        return page(order.kind), order.kind is DefectKind.EMPTY

    async def _query(self, request: Request, _login: BasicLogin) -> Response:
        body = await request.body()
        spoiled, empty = await self._spoil(f"{asked_sources(body)} POST api/ds/query {body.decode(errors='replace')}")
        if spoiled is not None:
            return spoiled

        def work() -> Response:
            try:
                status, content = queries.answer(json.loads(body), self.sources, self.upstream, self._clock_ns())
            except queries.NoSuchSource:
                return message(404, "Data source not found")
            except QueryError as error:
                return message(error.status, str(error))
            except (ValueError, RecursionError):
                return message(400, "bad request data")
            if empty:
                content = without_results(content)
            text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
            return Response(text.encode("utf-8", "surrogatepass"), status, media_type="application/json")

        return await anyio.to_thread.run_sync(work)

    # --- annotations --------------------------------------------------------------------------------------------------

    async def _annotate(self, request: Request, login: BasicLogin) -> Response:
        data = await _object(request)
        if data is None:
            return message(400, "bad request data")
        text, tags = data.get("text"), data.get("tags") or []
        if not isinstance(text, str) or not text:
            return message(400, "Failed to save annotation", error="text field should not be empty")
        if not isinstance(tags, list):
            return message(400, "bad request data")
        now_ms = self._clock_ns() // 1_000_000
        begin = data.get("time") or now_ms
        end = data.get("timeEnd") or begin
        if not isinstance(begin, int) or not isinstance(end, int):
            return message(400, "bad request data")
        row = {
            "dashboardUID": str(data.get("dashboardUID") or ""), "panelId": data.get("panelId") or 0,
            "time": min(begin, end), "timeEnd": max(begin, end), "tags": [str(tag) for tag in tags], "text": text,
            "login": login.name, "created": now_ms, "updated": now_ms,
        }  # fmt: skip
        number = await anyio.to_thread.run_sync(self.store.add_annotation, row)
        return JSONResponse({"message": "Annotation added", "id": number})

    async def _annotations(self, request: Request, _login: BasicLogin) -> Response:
        parameters = request.query_params
        try:
            now_ns = self._clock_ns()
            begin = parse_time(parameters["from"], now_ns) // 1_000_000 if parameters.get("from") else 0
            end = parse_time(parameters["to"], now_ns) // 1_000_000 if parameters.get("to") else 1 << 62
            limit = int(parameters.get("limit") or 100)
        except (QueryError, ValueError):
            return message(400, "bad request data")
        tags = parameters.getlist("tags")
        any_tag = parameters.get("matchAny", "") == "true"
        uid = parameters.get("dashboardUID")
        found = [
            row
            for row in self.store.annotations()
            if row["time"] <= end and row["timeEnd"] >= begin
            and (not tags or (any if any_tag else all)(tag in row["tags"] for tag in tags))
            and (not uid or row["dashboardUID"] == uid)
        ]  # fmt: skip
        found.sort(key=lambda row: -int(row["time"]))
        return JSONResponse(found[: max(0, limit)])

    async def _remove_annotation(self, request: Request, _login: BasicLogin) -> Response:
        removed = await anyio.to_thread.run_sync(self.store.remove_annotation, request.path_params["number"])
        return message(200, "Annotation deleted") if removed else message(404, "Could not find annotation to delete")

    # --- service accounts ---------------------------------------------------------------------------------------------

    async def _add_account(self, request: Request, _login: BasicLogin) -> Response:
        data = await _object(request)
        name, role = (data or {}).get("name"), (data or {}).get("role") or "Viewer"
        if not isinstance(name, str) or not name:
            return message(400, "bad request data")
        if role not in ROLES:
            return message(400, f"invalid role {role!r}; give one of {', '.join(ROLES)}")
        account = await anyio.to_thread.run_sync(self.store.add_account, name, role)
        if account is None:
            return message(400, "service account already exists", messageId="serviceaccounts.ErrAlreadyExists")
        return JSONResponse({**_account(account), "tokens": 0}, 201)

    async def _accounts(self, request: Request, _login: BasicLogin) -> Response:
        wanted = request.query_params.get("query", "")
        rows = [_account(row) for row in self.store.accounts() if wanted in row["name"]]
        return JSONResponse({"totalCount": len(rows), "serviceAccounts": rows, "page": 1, "perPage": 1000})

    async def _add_token(self, request: Request, _login: BasicLogin) -> Response:
        number = request.path_params["number"]
        if self.store.account(number) is None:
            return message(404, "service account not found", messageId="serviceaccounts.ErrNotFound")
        name = (await _object(request) or {}).get("name")
        if not isinstance(name, str) or not name:
            return message(400, "bad request data")
        made = await anyio.to_thread.run_sync(self.store.add_token, number, name)
        if made is None:
            return message(409, f"service account token with the name {name} already exists in the organization")
        return JSONResponse({"id": made[0], "name": name, "key": made[1]})

    # --- dashboards ---------------------------------------------------------------------------------------------------

    async def _save_dashboard(self, request: Request, _login: BasicLogin) -> Response:
        data = await _object(request)
        dashboard = (data or {}).get("dashboard")
        if data is None or not isinstance(dashboard, dict):
            return message(400, "bad request data")
        if not isinstance(dashboard.get("title"), str) or not dashboard["title"]:
            return message(400, "Dashboard title cannot be empty", status="empty-name")
        folder, overwrite = str(data.get("folderUid") or ""), bool(data.get("overwrite"))
        now = datetime.fromtimestamp(self._clock_ns() / 1e9, UTC).isoformat().replace("+00:00", "Z")
        row = await anyio.to_thread.run_sync(self.store.save_dashboard, dashboard, folder, overwrite, now)
        if row == "name-exists":
            text = "A dashboard with the same name in the folder already exists"
            return message(412, text, status="name-exists")
        if isinstance(row, str):
            return message(412, "The dashboard has been changed by someone else", status=row)
        saved = row["dashboard"]
        return JSONResponse(
            {"id": saved["id"], "uid": saved["uid"], "url": _dashboard_url(saved), "slug": _slug(saved["title"]),
             "status": "success", "version": saved["version"], "folderUid": row["folderUid"]}
        )  # fmt: skip

    async def _dashboard(self, request: Request, _login: BasicLogin) -> Response:
        row = self.store.dashboard(request.path_params["uid"])
        if row is None:
            return message(404, "Dashboard not found")
        saved = row["dashboard"]
        meta = {"type": "db", "canSave": True, "canEdit": True, "slug": _slug(saved["title"]),
                "url": _dashboard_url(saved), "version": saved["version"], "folderUid": row["folderUid"],
                "created": row["created"], "updated": row["updated"], "provisioned": False}  # fmt: skip
        return JSONResponse({"meta": meta, "dashboard": saved})

    async def _remove_dashboard(self, request: Request, _login: BasicLogin) -> Response:
        row = await anyio.to_thread.run_sync(self.store.remove_dashboard, request.path_params["uid"])
        if row is None:
            return message(404, "Dashboard not found")
        title = row["dashboard"]["title"]
        return message(200, f"Dashboard {title} deleted", title=title, id=row["dashboard"]["id"])

    async def _search(self, request: Request, _login: BasicLogin) -> Response:
        parameters = request.query_params
        wanted, tags = parameters.get("query", "").lower(), parameters.getlist("tag")
        uids = parameters.getlist("dashboardUIDs")
        rows = []
        for row in self.store.dashboards():
            saved = row["dashboard"]
            own_tags = saved.get("tags") or []
            if wanted not in saved["title"].lower() or not all(tag in own_tags for tag in tags):
                continue
            if (uids and saved["uid"] not in uids) or parameters.get("type", "dash-db") != "dash-db":
                continue
            rows.append({"id": saved["id"], "uid": saved["uid"], "title": saved["title"], "uri": f"db/{saved['uid']}",
                         "url": _dashboard_url(saved), "slug": "", "type": "dash-db", "tags": own_tags,
                         "isStarred": False})  # fmt: skip
        return JSONResponse(sorted(rows, key=lambda row: str(row["title"])))

    # --- the rest -----------------------------------------------------------------------------------------------------

    async def _user(self, _request: Request, login: BasicLogin) -> Response:
        return JSONResponse({"id": 1, "login": login.name, "name": login.name, "orgId": 1,
                             "isGrafanaAdmin": login.role == "Admin", "isDisabled": False})  # fmt: skip

    async def _org(self, _request: Request, _login: BasicLogin) -> Response:
        return JSONResponse({"id": 1, "name": "Main Org."})


async def _object(request: Request) -> dict[str, Any] | None:
    try:
        data = await request.json()
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _account(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "uid": f"sa{row['id']}", "name": row["name"], "login": f"sa-1-{row['name']}", "orgId": 1,
            "isDisabled": False, "role": row["role"], "avatarUrl": ""}  # fmt: skip


def _slug(title: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())


def _dashboard_url(dashboard: dict[str, Any]) -> str:
    return f"/d/{dashboard['uid']}/{_slug(dashboard['title'])}"


def build(settings: ServerSettings) -> Starlette:
    """The application for these settings. Raises SettingsError if its stored state cannot be read."""
    server = Grafana(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        yield

    return application(server.routes(), lifespan)


if __name__ == "__main__":
    sys.exit(main("grafana", build, sys.argv))
