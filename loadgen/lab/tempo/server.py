"""``python -m loadgen.lab.tempo.server CONFIG.json``: a small Tempo, one process with three ports.

``port`` serves the query API, ``otlp_port`` OTLP/HTTP and ``grpc_port`` OTLP/gRPC; 0 picks a free port. The environment
variable ``LOADGEN_TEMPO_SEARCH_DELAY_S`` makes searches see a trace only that long after its last piece arrived, as the
real Tempo 3 does with its ``query_end_cutoff``; lookups by id are not affected.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from starlette.applications import Starlette

from loadgen.lab.exposition import Exposition
from loadgen.lab.processes.serve import application, listen, main
from loadgen.lab.s3.opening import open_store
from loadgen.lab.s3.store import BucketStore
from loadgen.lab.settings import ServerSettings, SettingsError
from loadgen.lab.tempo.api import Api
from loadgen.lab.tempo.otlp import OtlpHttp, grpc_server
from loadgen.lab.tempo.store import TraceStore

SEARCH_DELAY = "LOADGEN_TEMPO_SEARCH_DELAY_S"
RETRY_S = 1.0

_LOG = logging.getLogger("loadgen.lab.tempo")


class Flusher:
    """The thread that writes blocks and learns which ones S3 has."""

    def __init__(self, store: TraceStore, check_s: float) -> None:
        self._store = store
        self._check_s = check_s
        self._wake = threading.Event()
        self._forced = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="flush", daemon=True)
        self._warmer = threading.Thread(target=self._warm, name="warm", daemon=True)

    def start(self) -> None:
        """Begins; returns at once."""
        self._thread.start()
        self._warmer.start()

    def force(self) -> None:
        """Asks for a flush of all that is there now; returns at once."""
        self._forced = True
        self._wake.set()

    def stop(self) -> None:
        """Ends after the object that is being written."""
        self._stopping = True
        self._wake.set()
        self._thread.join(10)
        self._warmer.join(10)

    def _run(self) -> None:
        while not self._stopping:
            try:
                listed = self._store.load_block_list()
                forced, self._forced = self._forced, False
                flushed = self._store.flush(forced)
                self._forced |= forced and not flushed
                self._store.write_block_list(time.monotonic())
                pause_s = self._check_s if listed and flushed else RETRY_S
            except Exception:  # noqa: BLE001 - the thread must outlive any surprise
                # The data is safe in the log, and the next look tries again.
                _LOG.exception("flush failed")
                pause_s = RETRY_S
            self._wake.wait(pause_s)
            self._wake.clear()
        self._store.write_block_list(time.monotonic(), force=True)

    def _warm(self) -> None:
        with contextlib.suppress(Exception):  # it only makes later queries quicker
            self._store.warm(lambda: not self._stopping)


class _OtlpServer(uvicorn.Server):
    """A second server in the process: signals belong to the first one."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Tempo:
    """The whole server. ``otlp_port`` and ``grpc_port`` are the ports that it really has."""

    def __init__(self, settings: ServerSettings, store: BucketStore | None = None, search_delay_s: float = 0.0) -> None:
        """Takes the OTLP ports and replays the log. ``store`` replaces the one that the settings name, for tests.

        Raises:
            SettingsError: a port is taken. OSError: the data directory cannot be used.
        """
        metrics = Exposition(settings.limits.max_memory_bytes)

        def observe(operation: str, status: str, seconds: float, _size_bytes: int) -> None:
            name = "tempodb_backend_request_duration_seconds"
            verb = operation.removeprefix("S3.").removesuffix("Object").upper()
            metrics.observe(name, seconds, operation=verb, status_code=status)

        self._socket: socket.socket = listen(settings.host, settings.otlp_port)
        # Connections inherit it; without it an answer in two packets waits 40 ms for the client's delayed ACK.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._executor = ThreadPoolExecutor(8, "ingest")
        self.otlp_port: int = self._socket.getsockname()[1]
        self.store = TraceStore(settings, store or open_store(settings, observe), metrics)
        self._grpc, self.grpc_port = grpc_server(self.store, settings.host, settings.grpc_port, self._executor)
        self.flusher = Flusher(self.store, settings.flush_check_s)
        api = Api(self.store, metrics, self.flusher.force, search_delay_s)
        self._otlp = _OtlpServer(
            uvicorn.Config(
                OtlpHttp(self.store, settings.limits, self._executor),
                access_log=False,
                log_level="warning",
                loop="asyncio",
                lifespan="off",
                timeout_keep_alive=75,
                timeout_graceful_shutdown=5,
                server_header=False,
                ws="none",
            )
        )
        self.app = application(api.routes(), self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        otlp = asyncio.create_task(self._otlp.serve(sockets=[self._socket]))
        self._grpc.start()
        self.flusher.start()
        _LOG.info("OTLP/HTTP on port %d, OTLP/gRPC on port %d", self.otlp_port, self.grpc_port)
        try:
            yield
        finally:
            self._otlp.should_exit = True
            await otlp
            stopped = self._grpc.stop(2)
            await asyncio.to_thread(stopped.wait, 5)
            await asyncio.to_thread(self.flusher.stop)
            self._executor.shutdown(wait=True)
            self.store.close()
            self._socket.close()


def build(settings: ServerSettings) -> Starlette:
    """The application of the query API, which brings the receivers up and down with it."""
    # Short turns: a search must not hold up a lookup by id for the default 5 ms at a time.
    sys.setswitchinterval(0.001)
    # Spans are many and form no cycles: looking for cycles among them all the time only costs pauses.
    gc.set_threshold(100_000, 20, 50)
    text = os.environ.get(SEARCH_DELAY, "0")
    try:
        delay_s = float(text)
    except ValueError:
        raise SettingsError(f"{SEARCH_DELAY}={text}: must be a number of seconds; correct or unset it") from None
    return Tempo(settings, search_delay_s=delay_s).app


if __name__ == "__main__":
    sys.exit(main("tempo", build, sys.argv))
