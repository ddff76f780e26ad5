"""An HTTP proxy on loopback that counts: it forwards, tunnels, and brings every name to one port of this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class FakeProxy:
    """A running proxy: the first line of each request, and what it was given to log in with."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    refuses: str = ""

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def fake_proxy(to_port: int, refuses: str = "", delay_s: float = 0.0) -> Iterator[FakeProxy]:
    """Serve until the block ends; ``refuses`` is a status line to answer instead, ``delay_s`` the way's length."""
    listener = socket.create_server(("127.0.0.1", 0))
    state = FakeProxy(listener.getsockname()[1], refuses=refuses)
    open_sockets: list[socket.socket] = [listener]

    def pump(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                time.sleep(delay_s)
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65_536)
                if not data:
                    return
                head += data
            lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
            state.asked.append(lines[0])
            state.logins += [line.partition(":")[2].strip() for line in lines if line.lower().startswith("proxy-auth")]
            if state.refuses:
                client.sendall(f"HTTP/1.1 {state.refuses}\r\nContent-Length: 0\r\n\r\n".encode())
                client.close()
                return
            server = socket.create_connection(("127.0.0.1", to_port))
            open_sockets.append(server)
            if lines[0].startswith("CONNECT "):
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                # The server reads the path of an absolute address; every further request of the connection goes on.
                server.sendall(head)
            threading.Thread(target=pump, args=(client, server), daemon=True).start()
            pump(server, client)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                open_sockets.append(client)
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        for one in open_sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        thread.join(5)
