"""The embedded Loki: pushes, LogQL queries, labels, series, flush and metrics over HTTP.

Statuses and texts are those of Loki 3.7 in single-binary mode. It has one tenant: ``fake`` without authentication (any
``X-Scope-OrgID`` is then ignored, as by the real one), or the one of its settings, which requests must then name.

Run: ``python -m loadgen.lab.loki.server CONFIG.json`` (see `loadgen.lab.settings.ServerSettings`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loadgen.lab.exposition import Exposition
from loadgen.lab.loki.body import PushError
from loadgen.lab.loki.chunks import ChunkError
from loadgen.lab.loki.http import (
    LokiBadRequest,
    Parameters,
    bounds_of,
    is_forward,
    json_response,
    limit_of,
    lines_response,
    matrix_response,
    parameters_of,
    range_of,
    steps_of,
    time_of,
    vector_response,
)
from loadgen.lab.loki.logql import parse, parse_selector
from loadgen.lab.loki.logql_ast import Literal, LogQLError, LogQuery
from loadgen.lab.loki.metrics import declare
from loadgen.lab.loki.push import Distributor, line_defects
from loadgen.lab.loki.query import Evaluation, range_aggregations
from loadgen.lab.loki.store import LokiStore
from loadgen.lab.loki.streams import HeldStream
from loadgen.lab.processes.serve import application, main, plain
from loadgen.lab.s3.opening import open_store
from loadgen.lab.s3.store import BucketStore
from loadgen.lab.settings import ServerSettings
from loadgen.lab.wal import WriteAheadLog

_LOG = logging.getLogger("loadgen.lab.loki")
_DEFAULT_TENANT = "fake"
_INSTANT_LOGS = "log queries are not supported as an instant query type, please change your query to a range query type"
Handler = Callable[[Request], Awaitable[Response]]
Answer = Callable[[Parameters, int], Awaitable[Response]]


class Loki:
    """The server; ``store`` and ``clock_ns`` stand in for S3 and the clock in tests."""

    def __init__(
        self, settings: ServerSettings, store: BucketStore | None = None, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        """Opens the write-ahead log and reads it; raises OSError if that is not possible."""
        self._settings = settings
        self._limits = settings.limits
        self._clock_ns = clock_ns
        self._metrics = Exposition(settings.limits.max_memory_bytes)
        self._defects = line_defects(clock_ns)
        tenant = settings.tenant or _DEFAULT_TENANT
        self._needs_tenant = "" if tenant == _DEFAULT_TENANT else tenant
        self._wal = WriteAheadLog(Path(settings.data_dir) / "wal")
        self._store = LokiStore(
            tenant,
            self._wal,
            store or open_store(settings, self._observe_s3),
            self._metrics,
            round(self._limits.max_chunk_age_s * 1e9 / 2),
            self._limits.max_streams,
            clock_ns,
            self._defects,
        )
        self._distributor = Distributor(self._store, self._wal, self._limits, self._defects, self._metrics, clock_ns)
        declare(self._metrics, self._store, self._wal, tenant)
        began = time.perf_counter()
        recovered = self._distributor.replay()
        self._metrics.set("loki_ingester_wal_replay_duration_seconds", time.perf_counter() - began)
        _LOG.info("recovered %d entries from the write-ahead log", recovered)
        self._tasks: set[asyncio.Task[None]] = set()

    def app(self) -> Starlette:
        """The application."""
        both = ["GET", "POST"]
        api = "/loki/api/v1"
        routes = [
            Route(f"{api}/push", self._timed("loki_api_v1_push", self._push), methods=["POST"]),
            Route(f"{api}/query_range", self._query("loki_api_v1_query_range", self._query_range), methods=both),
            Route(f"{api}/query", self._query("loki_api_v1_query", self._instant), methods=both),
            Route(f"{api}/labels", self._query("loki_api_v1_labels", self._labels), methods=both),
            Route(f"{api}/label", self._query("loki_api_v1_labels", self._labels), methods=both),
            Route(f"{api}/label/{{name}}/values", self._label_values, methods=both),
            Route(f"{api}/series", self._query("loki_api_v1_series", self._series), methods=both),
            Route(f"{api}/index/stats", self._query("loki_api_v1_index_stats", self._index_stats), methods=both),
            Route(f"{api}/index/volume", self._query("loki_api_v1_index_volume", self._volume), methods=both),
            Route(f"{api}/status/buildinfo", self._buildinfo),
            Route("/ready", self._ready),
            Route("/metrics", self._serve_metrics),
            Route("/flush", self._flush_now, methods=both),
            *self._defects.routes(),
        ]
        return application(routes, self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(self._flush_forever())
        try:
            yield
        finally:
            task.cancel()
            for running in (task, *self._tasks):
                with contextlib.suppress(asyncio.CancelledError):
                    await running
            self._wal.close()

    # --- flush

    async def _flush_forever(self) -> None:
        # So that the first query after a start need not wait for it.
        await self._try("reading the index", self._store.know_index)
        while True:
            await asyncio.sleep(self._settings.flush_check_s)
            older_than_ns = self._clock_ns() - round(self._settings.flush_age_s * 1e9)
            await self._try("flush", lambda at=older_than_ns: self._store.flush(at))  # type: ignore[misc]

    async def _try(self, what: str, action: Callable[[], Awaitable[object]]) -> None:
        try:
            await action()
        except Exception:  # noqa: BLE001 - the loop must go on: the next round may find the disk or S3 well again
            _LOG.exception("%s failed; trying again", what)

    async def _flush_now(self, _request: Request) -> Response:
        task = asyncio.create_task(self._try("flush", lambda: self._store.flush(self._clock_ns())))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Response(status_code=204)

    # --- around every request

    def _observe_s3(self, operation: str, status: str, seconds: float, _size_bytes: int) -> None:
        self._metrics.observe("loki_s3_request_duration_seconds", seconds, operation=operation, status_code=status)

    def _timed(self, route: str, handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            began = time.perf_counter()
            status = 500
            try:
                response = self._refuse_tenant(request) or await handler(request)
                status = response.status_code
                return response
            finally:
                self._metrics.observe(
                    "loki_request_duration_seconds",
                    time.perf_counter() - began,
                    method=request.method,
                    route=route,
                    status_code=str(status),
                    ws="false",
                )

        return handle

    def _refuse_tenant(self, request: Request) -> Response | None:
        if not self._needs_tenant:
            return None
        given = request.headers.get("x-scope-orgid", "")
        if not given:
            return plain(401, "no org id\n")
        if given != self._needs_tenant:
            return plain(403, f"unknown tenant: this embedded Loki serves '{self._needs_tenant}' only\n")
        return None

    def _query(self, route: str, answer: Answer) -> Handler:
        async def handle(request: Request) -> Response:
            try:
                return await answer(await parameters_of(request), self._clock_ns())
            except (LokiBadRequest, LogQLError) as error:
                return plain(400, str(error))
            except ChunkError as error:
                return plain(500, f"{error}\n")

        return self._timed(route, handle)

    # --- push

    async def _push(self, request: Request) -> Response:
        limit = self._limits.max_body_bytes
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                sizes = f"({request.headers.get('content-length', len(body))} vs {limit})"
                return plain(413, f"request body too large: message size too large than max {sizes}\n")
        try:
            await self._distributor.push(bytes(body), dict(request.headers))
        except PushError as error:
            return plain(error.status, f"{error}\n")
        except OSError as error:
            _LOG.error("the write-ahead log cannot be written: %s", error)
            return plain(500, f"the write-ahead log cannot be written: {error.strerror}; free space on its disk\n")
        return Response(status_code=204)

    # --- queries

    async def _query_range(self, parameters: Parameters, now_ns: int) -> Response:
        began = time.perf_counter()
        start_ns, end_ns = range_of(parameters, now_ns)
        limit = limit_of(parameters, self._limits.max_entries_per_query)
        forward = is_forward(parameters)
        query = parse(parameters.get("query"))
        evaluation = Evaluation(self._store.load, now_ns, self._limits.max_query_series)
        if isinstance(query, LogQuery):
            parts = await self._store.select(query.matchers, start_ns, end_ns)

            def answer() -> Response:
                lines = evaluation.lines(query, parts, start_ns, end_ns, limit, forward)
                return lines_response(lines, evaluation.stats, time.perf_counter() - began)

            return await asyncio.to_thread(answer)
        steps = steps_of(parameters, start_ns, end_ns)
        expr = query
        selected = {
            id(e): await self._store.select(
                e.query.matchers, steps[0] - e.range_ns - e.offset_ns, steps[-1] - e.offset_ns + 1
            )
            for e in range_aggregations(expr)
        }

        def answer_metric() -> Response:
            vector = evaluation.metric(expr, selected, steps)
            return matrix_response(vector, steps, evaluation.stats, time.perf_counter() - began)

        return await asyncio.to_thread(answer_metric)

    async def _instant(self, parameters: Parameters, now_ns: int) -> Response:
        began = time.perf_counter()
        at_ns = time_of(parameters.get("time"), now_ns)
        limit_of(parameters, self._limits.max_entries_per_query)
        is_forward(parameters)
        expr = parse(parameters.get("query"))
        if isinstance(expr, LogQuery):
            raise LokiBadRequest(_INSTANT_LOGS)
        evaluation = Evaluation(self._store.load, now_ns, self._limits.max_query_series)
        if isinstance(expr, Literal):
            return vector_response(evaluation.metric(expr, {}, [at_ns]), at_ns, evaluation.stats, 0.0)
        selected = {
            id(e): await self._store.select(e.query.matchers, at_ns - e.range_ns - e.offset_ns, at_ns - e.offset_ns + 1)
            for e in range_aggregations(expr)
        }

        def answer() -> Response:
            vector = evaluation.metric(expr, selected, [at_ns])
            return vector_response(vector, at_ns, evaluation.stats, time.perf_counter() - began)

        return await asyncio.to_thread(answer)

    # --- labels and index

    async def _covering(self, selector: str, parameters: Parameters, now_ns: int) -> list[HeldStream]:
        await self._store.know_index()
        start_ns, end_ns = bounds_of(parameters, now_ns)
        streams = self._store.matching(parse_selector(selector))
        return [s for s in streams if s.oldest_ns <= end_ns and s.newest_ns >= start_ns]

    async def _labels(self, parameters: Parameters, now_ns: int) -> Response:
        streams = await self._covering(parameters.get("query"), parameters, now_ns)
        return _strings({name for s in streams for name, _ in s.labels})

    async def _label_values(self, request: Request) -> Response:
        name = request.path_params["name"]

        async def answer(parameters: Parameters, now_ns: int) -> Response:
            streams = await self._covering(parameters.get("query"), parameters, now_ns)
            return _strings({value for s in streams for n, value in s.labels if n == name})

        return await self._query("loki_api_v1_label_name_values", answer)(request)

    async def _series(self, parameters: Parameters, now_ns: int) -> Response:
        selectors = parameters.all("match[]", "match") or ["{}"]
        found: dict[int, HeldStream] = {}
        for selector in selectors:
            for stream in await self._covering(selector, parameters, now_ns):
                found.setdefault(id(stream), stream)
        return json_response({"status": "success", "data": [dict(s.labels) for s in found.values()]})

    async def _index_stats(self, parameters: Parameters, now_ns: int) -> Response:
        start_ns, end_ns = bounds_of(parameters, now_ns)
        streams = await self._covering(parameters.get("query"), parameters, now_ns)
        chunks = [(id(s), c) for s in streams for c in s.chunks if c.from_ns <= end_ns and c.through_ns >= start_ns]
        return json_response(
            {
                "streams": len({stream for stream, _ in chunks}),
                "chunks": len(chunks),
                "bytes": sum(c.size_bytes for _, c in chunks),
                "entries": sum(c.entries for _, c in chunks),
            }
        )

    async def _volume(self, parameters: Parameters, now_ns: int) -> Response:
        selector = parse_selector(parameters.get("query"))
        start_ns, end_ns = bounds_of(parameters, now_ns)
        targets = [t for t in parameters.get("targetLabels").split(",") if t] or sorted({m.name for m in selector})
        sizes: dict[tuple[tuple[str, str], ...], int] = {}
        for part in await self._store.select(selector, start_ns, end_ns + 1):
            key = tuple((n, v) for n, v in part.stream.labels if not targets or n in targets)
            size = part.chunk.size_bytes if part.chunk else part.head.size_bytes if part.head else 0
            sizes[key] = sizes.get(key, 0) + size
        ranked = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[: limit_of(parameters, 1 << 31)]
        result = [{"metric": dict(k), "value": [end_ns // 1_000_000 / 1000, str(size)]} for k, size in ranked]
        return json_response({"status": "success", "data": {"resultType": "vector", "result": result, "stats": {}}})

    # --- about itself

    async def _ready(self, _request: Request) -> Response:
        return plain(200, "ready\n")

    async def _serve_metrics(self, _request: Request) -> Response:
        return self._metrics.response()

    async def _buildinfo(self, _request: Request) -> Response:
        from loadgen import __version__

        info = {"version": f"{__version__}-embedded", "revision": "", "branch": "", "buildUser": "", "buildDate": ""}
        return Response(json.dumps({**info, "goVersion": ""}) + "\n", media_type="application/json")


def _strings(values: set[str]) -> Response:
    # Loki leaves the key out when there is nothing.
    found: dict[str, str | Sequence[str]] = {"status": "success"}
    if values:
        found["data"] = sorted(values)
    return json_response(found)


def build(settings: ServerSettings) -> Starlette:
    """The application for these settings."""
    return Loki(settings).app()


if __name__ == "__main__":
    sys.exit(main("loki", build, sys.argv))
