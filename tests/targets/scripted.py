"""A small HTTP server whose answers a test scripts, including those that break the protocol."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What goes back. ``cut`` sends so many bytes of the body and closes; ``reset`` closes with RST before anything."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: int | None = None
    reset: bool = False
    drip_s: float = 0.0


@dataclass
class Scripted:
    """A running server: ``replies`` are given in order, the last one for ever; or ``answer`` decides."""

    url: str
    port: int
    requests: list[Request]
    connections: list[int]


@contextlib.contextmanager
def scripted(*replies: Reply, answer: Callable[[Request], Reply] | None = None) -> Iterator[Scripted]:
    """Serve until the block ends."""
    left = list(replies)
    lock = threading.Lock()
    state = Scripted("", 0, [], [])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            state.connections.append(1)

        def log_message(self, *_: Any) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle()

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers), body)
            with lock:
                state.requests.append(request)
                reply = answer(request) if answer else (left.pop(0) if len(left) > 1 else left[0])
            time.sleep(reply.delay_s)
            if reply.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            # A date of the reply stands alone: real servers send one.
            (self.send_response_only if "Date" in reply.headers else self.send_response)(reply.status)
            if reply.status != 204:
                self.send_header("Content-Length", str(len(reply.body)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.drip_s:
                for i in range(len(reply.body)):
                    self.wfile.write(reply.body[i : i + 1])
                    time.sleep(reply.drip_s)
            elif reply.cut is not None:
                self.wfile.write(reply.body[: reply.cut])
                self.close_connection = True
            else:
                self.wfile.write(reply.body)

        do_POST = do_PUT = do_GET

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    state.url = f"http://127.0.0.1:{state.port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
