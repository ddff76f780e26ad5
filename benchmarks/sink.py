"""A null HTTP sink: takes any POST, throws the body away and answers 204.

Run: ``python -m benchmarks.sink [--port 0]``; it prints its URL and serves until it is stopped (SIGTERM or Ctrl-C).
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import sys
import threading

_ANSWER = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
_REFUSAL = b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_BUFFER_BYTES = 1 << 20
_HEADERS_LIMIT = 1 << 16


def _content_length(headers: bytes) -> int | None:
    """The length of the body, or None if the headers do not tell."""
    for line in headers.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value) if value.strip().isdigit() else None
    return None if b"chunked" in headers.lower() else 0


def _serve(connection: socket.socket) -> None:
    buffer = bytearray(_BUFFER_BYTES)
    view = memoryview(buffer)
    pending = b""
    with connection, contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            while b"\r\n\r\n" not in pending:
                got = connection.recv_into(view)
                if not got or len(pending) > _HEADERS_LIMIT:
                    return
                pending += view[:got]
            headers, _, rest = pending.partition(b"\r\n\r\n")
            length = _content_length(headers)
            if length is None:
                connection.sendall(_REFUSAL)
                return
            left = length - len(rest)
            while left > 0:
                got = connection.recv_into(view[: min(left, _BUFFER_BYTES)])
                if not got:
                    return
                left -= got
            pending = rest[length:]
            connection.sendall(_ANSWER)


def main() -> int:
    """Serve until stopped; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one (default)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        listener = socket.create_server(("127.0.0.1", arguments.port))
    except (OSError, OverflowError) as error:
        print(f"sink: cannot listen on 127.0.0.1:{arguments.port}: {error}; choose another --port", file=sys.stderr)
        return 2
    with listener, contextlib.suppress(KeyboardInterrupt):
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()
    return 0


if __name__ == "__main__":
    sys.exit(main())
