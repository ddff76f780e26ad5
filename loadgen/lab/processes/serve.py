"""What the embedded HTTP servers share: errors in the style of the real ones, and a process that stops cleanly."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute

from loadgen.lab.limits import watch_memory
from loadgen.lab.s3.store import StoreError
from loadgen.lab.settings import ServerSettings, SettingsError, load_settings

_LOG = logging.getLogger("loadgen.lab")

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def plain(status: int, text: str) -> Response:
    """An answer as Go's ``http.Error`` gives it: plain text that nothing may take for HTML."""
    return PlainTextResponse(text, status, {"X-Content-Type-Options": "nosniff"})


async def _not_found(_request: Request, _error: Exception) -> Response:
    return plain(404, "404 page not found\n")


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    # Go's routers answer a wrong method with an empty 405.
    return Response(status_code=405) if status == 405 else plain(status, f"{error}\n")


async def _store_error(request: Request, error: Exception) -> Response:
    _LOG.warning("%s %s: %s", request.method, request.url.path, error)
    return plain(500, f"{error}\n")


async def _crash(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return plain(500, f"internal error: {type(error).__name__}; the server's log tells more\n")


def application(routes: Sequence[BaseRoute], lifespan: Lifespan | None = None) -> Starlette:
    """A Starlette application with the real servers' 404 and 405, 500 for `StoreError`, and gzip where accepted."""
    app = Starlette(
        routes=list(routes),
        lifespan=lifespan,
        middleware=[Middleware(GZipMiddleware, minimum_size=1400, compresslevel=1)],
        exception_handlers={404: _not_found, HTTPException: _http_error, StoreError: _store_error, Exception: _crash},
    )
    app.router.redirect_slashes = False
    return app


class _Server(uvicorn.Server):
    """A server that ends with exit code 0 on SIGTERM and SIGINT (uvicorn would raise the signal again)."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, _frame: FrameType | None) -> None:
            self.force_exit = self.should_exit and number == signal.SIGINT
            self.should_exit = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        loop="asyncio",
        lifespan="on",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        server_header=False,
        ws="none",
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises SettingsError naming the address if it is taken or not ours."""
    # Without the protocol named, asyncio leaves Nagle's algorithm on, and answers wait for a delayed ACK.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(512)
    except (OSError, OverflowError) as error:
        sock.close()
        raise SettingsError(f"{host}:{port}: cannot listen ({error}); choose a free port or stop who has it") from error
    sock.set_inheritable(True)
    return sock


def run(app: Starlette, settings: ServerSettings) -> int:
    """Serves until SIGTERM or SIGINT; returns the process's exit code (0: stopped as told)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.getLogger("boto3").setLevel(logging.WARNING)
    sock = listen(settings.host, settings.port)
    if settings.limits.max_memory_bytes:
        watch_memory(settings.limits.max_memory_bytes)
    server = _Server(_config(app))
    # Who reads that it listens may stop it at once, before uvicorn itself has looked at signals.
    with server.capture_signals():
        _LOG.info("%s listens on %s:%d", settings.component, settings.host, sock.getsockname()[1])
        server.run(sockets=[sock])
    return 0 if server.started or server.should_exit else 1


def main(component: str, build: Callable[[ServerSettings], Starlette], argv: Sequence[str]) -> int:
    """``python -m loadgen.lab.<component> CONFIG.json``: exit 0 after a clean stop, 2 on unusable configuration."""
    try:
        if len(argv) != 2:
            raise SettingsError(f"usage: python -m loadgen.lab.{component}.server CONFIG.json")
        settings = load_settings(Path(argv[1]))
        if settings.component != component:
            raise SettingsError(f"{argv[1]}: is for '{settings.component}', not for '{component}'; give the right file")
        return run(build(settings), settings)
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"{component}: {error}\n")
        return 2


@contextlib.contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """Serves in a thread of this process while the block runs; gives the base URL. For tests and experiments."""
    sock = listen("127.0.0.1", 0)
    server = _Server(_config(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.002)
    if not server.started:
        raise RuntimeError("the server did not start; its log tells why")
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        sock.close()
