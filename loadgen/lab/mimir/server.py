"""The embedded Mimir: remote write 1.0 in, PromQL out, blocks in S3.

``python -m loadgen.lab.mimir.server CONFIG.json``

It answers as Mimir 3.0 does. One tenant: whatever ``X-Scope-OrgID`` says, all data belongs to the tenant of the
configuration (``anonymous`` by default, as Mimir calls it where there are no tenants). With ``multitenancy`` the header
is needed and judged as Mimir does, and must name that tenant.
"""

from __future__ import annotations

import contextlib
import logging
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from loadgen.lab.defects import ADDED, LABEL, STORE_KINDS, DefectKind, Defects
from loadgen.lab.exposition import Exposition
from loadgen.lab.mimir.ingest import Ingester, IngestResult
from loadgen.lab.mimir.query import QueryApi, server_timing
from loadgen.lab.mimir.store import SampleStore
from loadgen.lab.mimir.validate import SampleRefusal, check_tenant, printable, too_large
from loadgen.lab.processes.serve import application, main, plain
from loadgen.lab.s3.opening import open_store
from loadgen.lab.s3.store import StoreError
from loadgen.lab.settings import ServerSettings

_LOG = logging.getLogger("loadgen.lab.mimir")
_DEFAULT_TENANT = "anonymous"
_RETRY_AFTER_S = 6
_LONGEST_PAUSE_S = 5.0
_OPERATIONS = {"S3.PutObject": "upload", "S3.GetObject": "get", "S3.List": "iter", "S3.DeleteObject": "delete"}

_PUSH = "/api/v1/push"
_WITHOUT_TENANT = ("/ready", "/metrics", "/ingester/flush", "/api/v1/status/buildinfo")
_CARDINALITY = tuple(
    f"/prometheus/api/v1/cardinality/{what}"
    for what in ("label_names", "label_values", "active_series", "active_native_histogram_metrics")
)

Endpoint = Callable[[Request], Awaitable[Response]]


class MimirServer:
    """One server: its storage, its API, and the thread that flushes."""

    def __init__(self, settings: ServerSettings, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """Opens the data directory; raises OSError if that is not possible."""
        self._settings = settings
        self._tenant = settings.tenant or _DEFAULT_TENANT
        self._metrics = Exposition(settings.limits.max_memory_bytes)
        self._stop = threading.Event()
        self._wanted = threading.Event()
        self._flusher = threading.Thread(target=self._flush_loop, name="mimir-flush", daemon=True)
        # A store that keeps samples by time has no order that could be changed.
        kinds = [kind for kind in STORE_KINDS if kind is not DefectKind.REORDER]
        self.defects = Defects(kinds, clock_ns, {DefectKind.ALTER: ("value", LABEL, ADDED)})
        self._metrics.counter("thanos_objstore_bucket_operations_total", "Requests to the bucket.")
        sizes = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8)
        self._metrics.histogram("thanos_objstore_bucket_operation_transferred_bytes", "Bytes of requests.", sizes)
        bucket = open_store(settings, self._observe_s3)
        self.store = SampleStore(Path(settings.data_dir), self._tenant, bucket, clock_ns, self.defects)
        self._ingester = Ingester(self.store, self._tenant, settings.limits, self.defects, clock_ns)
        self._api = QueryApi(self.store, clock_ns)
        self._declare_metrics()

    def _observe_s3(self, operation: str, _status: str, _seconds: float, size_bytes: int) -> None:
        name = _OPERATIONS[operation]
        self._metrics.add("thanos_objstore_bucket_operations_total", operation=name)
        if size_bytes:
            self._metrics.observe("thanos_objstore_bucket_operation_transferred_bytes", size_bytes, operation=name)

    def app(self) -> Starlette:
        """The application; the flushing thread runs while it is served."""
        return application(self._routes(), self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._flusher.start()
        try:
            yield
        finally:
            self._stop.set()
            self._wanted.set()
            await run_in_threadpool(self._flusher.join, 30)
            self.store.close()

    def _routes(self) -> list[BaseRoute]:
        routes: list[BaseRoute] = [
            Route(_PUSH, self._push, methods=["POST"]),
            *self._api.routes(),
            *(Route(path, self._no_cardinality, methods=["GET", "POST"]) for path in _CARDINALITY),
            Route("/ingester/flush", self._flush, methods=["GET", "POST"]),
            Route("/ready", _ready, methods=["GET"]),
            Route("/metrics", self._scrape, methods=["GET"]),
            Route("/api/v1/status/buildinfo", _unprefixed_buildinfo(self._api), methods=["GET"]),
            *self.defects.routes(),
        ]
        return [self._timed(self._for_a_tenant(route)) for route in routes]

    def _for_a_tenant(self, route: BaseRoute) -> BaseRoute:
        """The route, which needs a tenant's name where there are tenants."""
        assert isinstance(route, Route)
        if not self._settings.multitenancy or route.path in _WITHOUT_TENANT or route.path.startswith("/lab/"):
            return route
        inner: Endpoint = route.endpoint

        async def endpoint(request: Request) -> Response:
            header = request.headers.get("x-scope-orgid")
            refusal = check_tenant(header)
            if refusal is None and header != self._tenant:
                text = f"the embedded Mimir has the tenant '{self._tenant}' only, not '{header}'"
                refusal = SampleRefusal(400, text, "")
            if refusal is None:
                return await inner(request)
            response = plain(refusal.status, refusal.text + "\n")
            if route.path != _PUSH:
                response.headers["Vary"] = "Accept-Encoding"
            return response

        return Route(route.path, endpoint, methods=sorted(route.methods or ()))

    def _timed(self, route: BaseRoute) -> BaseRoute:
        """The route with its requests observed in ``cortex_request_duration_seconds``."""
        assert isinstance(route, Route)
        inner: Endpoint = route.endpoint
        name = "".join(c if c.isalnum() else "_" for c in route.path.strip("/")).replace("__", "_").strip("_")

        async def endpoint(request: Request) -> Response:
            began = time.perf_counter()
            response = await inner(request)
            self._metrics.observe(
                "cortex_request_duration_seconds",
                time.perf_counter() - began,
                method=request.method,
                route=name,
                status_code=str(response.status_code),
                ws="false",
            )
            return response

        return Route(route.path, endpoint, methods=sorted(route.methods or ()))

    async def _push(self, request: Request) -> Response:
        refusal = _unreadable(request)
        if refusal is not None:
            return plain(refusal.status, refusal.text + "\n")
        limit = self._settings.limits.max_body_bytes
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > limit:
                refusal = too_large(len(body), limit, compressed=True)
                return plain(refusal.status, refusal.text + "\n")
        try:
            result = await run_in_threadpool(self._ingester.push, bytes(body))
        except OSError as error:
            _LOG.error("the write-ahead log cannot be written: %s", error)
            return plain(500, f"the write-ahead log cannot be written: {error}\n")
        self._count(result)
        if result.refusal is None:
            return Response(status_code=200)
        response = plain(result.refusal.status, printable(result.refusal.text) + "\n")
        # Mimir asks for a pause with its own 5xx too; the one here stands for an answer that was lost on its way.
        if result.refusal.status == 429:
            # Mimir's shortest pause, with its jitter.
            response.headers["Retry-After"] = str(_RETRY_AFTER_S + random.randint(0, _RETRY_AFTER_S // 2))
        return response

    def _count(self, result: IngestResult) -> None:
        metrics, user = self._metrics, self._tenant
        metrics.add("cortex_distributor_requests_in_total", user=user)
        metrics.add("cortex_distributor_samples_in_total", result.received, user=user)
        metrics.add("cortex_distributor_received_samples_total", result.stored, user=user)
        metrics.add("cortex_ingester_ingested_samples_total", result.stored, user=user)
        metrics.add("cortex_ingester_ingested_samples_failures_total", result.received - result.stored, user=user)
        for reason, count in result.discarded.items():
            metrics.add("cortex_discarded_samples_total", count, group="", reason=reason, user=user)

    async def _flush(self, request: Request) -> Response:
        if request.query_params.get("wait") == "true":
            await run_in_threadpool(self._flush_now)
        else:
            self._wanted.set()
        return Response(status_code=204, headers={"Vary": "Accept-Encoding"})

    async def _no_cardinality(self, _request: Request) -> Response:
        response = plain(400, f"cardinality analysis is disabled for the tenant: {self._tenant}\n")
        response.headers.update({"Vary": "Accept-Encoding", "Server-Timing": server_timing(0.0)})
        return response

    async def _scrape(self, _request: Request) -> Response:
        return self._metrics.response()

    def _flush_loop(self) -> None:
        pause_s = self._settings.flush_check_s
        while not self._stop.is_set():
            forced = self._wanted.wait(pause_s)
            self._wanted.clear()
            if self._stop.is_set():
                return
            age_s = self.store.age_s()
            due = age_s is not None and (forced or age_s >= self._settings.flush_age_s)
            if due and not self._flush_now():
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
            else:
                pause_s = self._settings.flush_check_s

    def _flush_now(self) -> bool:
        try:
            blocks = self.store.flush()
        except (StoreError, OSError) as error:
            self._metrics.add("cortex_ingester_shipper_upload_failures_total")
            _LOG.warning("flush failed, the data stays in memory and on disk: %s", error)
            return False
        if blocks:
            self._metrics.add("cortex_ingester_shipper_uploads_total", blocks)
            self._metrics.add("cortex_ingester_tsdb_compactions_total", blocks)
        return True

    def _declare_metrics(self) -> None:
        metrics, store, user = self._metrics, self.store, {"user": self._tenant}
        for name, text in (
            ("cortex_distributor_requests_in_total", "Push requests that came in."),
            ("cortex_distributor_samples_in_total", "Samples that came in, refused ones included."),
            ("cortex_distributor_received_samples_total", "Samples received, refused ones excluded."),
            ("cortex_ingester_ingested_samples_total", "Samples stored."),
            ("cortex_ingester_ingested_samples_failures_total", "Samples that were not stored."),
        ):
            metrics.counter(name, text, user)
        metrics.counter("cortex_discarded_samples_total", "Samples that were refused, by reason.")
        metrics.counter("cortex_ingester_shipper_uploads_total", "Blocks uploaded.", {})
        metrics.counter("cortex_ingester_shipper_upload_failures_total", "Uploads of blocks that failed.", {})
        metrics.counter("cortex_ingester_tsdb_compactions_total", "Blocks made of the head.", {})
        metrics.gauge("cortex_ingester_memory_series", "Series known.", lambda: store.series_count)
        metrics.gauge("cortex_ingester_memory_users", "Tenants known.", lambda: 1)
        metrics.gauge(
            "cortex_bucket_store_blocks_loaded",
            "Blocks known to be in the bucket.",
            lambda: 0 if store.bucket is None else store.bucket.count,
        )
        metrics.gauge("loadgen_lab_wal_bytes", "Size of the write-ahead log.", lambda: store.wal_bytes)
        metrics.gauge("loadgen_head_samples", "Samples that are not in the bucket yet.", lambda: store.head_samples)
        metrics.gauge("loadgen_replayed_samples", "Samples brought back at the start.", lambda: store.replayed_samples)
        metrics.histogram("cortex_request_duration_seconds", "Time to answer requests.")


def _unreadable(request: Request) -> SampleRefusal | None:
    """Refuses a message type that this server does not take, before the body is read."""
    media, _, parameters = request.headers.get("content-type", "").partition(";")
    if media.strip() != "application/x-protobuf":
        # Mimir never looked at other types; whatever the body is called, it is read as remote write 1.0.
        return None
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "proto" and value == "io.prometheus.write.v2.Request":
            text = "remote write 2.0 is not supported by the embedded Mimir; send prometheus.WriteRequest"
            return SampleRefusal(415, text, "")
        if name == "proto" and value != "prometheus.WriteRequest":
            kind = request.headers["content-type"]
            text = f"got {kind} content type; expected prometheus.WriteRequest or io.prometheus.write.v2.Request"
            return SampleRefusal(400, text, "")
    return None


def _unprefixed_buildinfo(api: QueryApi) -> Endpoint:
    routes = [r for r in api.routes() if isinstance(r, Route) and r.path.endswith("/status/buildinfo")]
    endpoint: Endpoint = routes[0].endpoint
    return endpoint


async def _ready(_request: Request) -> Response:
    return PlainTextResponse("ready", headers={"Content-Type": "text/plain"})


def build(settings: ServerSettings) -> Starlette:
    """The application of a server with these settings; raises OSError if its data directory cannot be used."""
    return MimirServer(settings).app()


if __name__ == "__main__":
    sys.exit(main("mimir", build, sys.argv))
