"""HTTP/1.1 over sockets of our own, because one deadline has to hold for all of a request.

From the look-up of the name to the last byte of the answer, whatever drips or stalls between: sockets are non-blocking,
and every wait is for what is left. A request that fails is never repeated here but in one case, which every client
knows: a kept connection that was closed meanwhile, told by nothing coming back on it. Works with threads, and with
greenlets once gevent has patched the standard library.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, NoReturn, cast

from urllib3.util import wait_for_read, wait_for_write

from loadgen.targets.proxies import Proxy, is_this_machine

_CHUNK_BYTES = 1 << 18
MAX_BODY_BYTES = 512 << 20  # an answer larger than this is a mistake of the query, and would fill the memory
_EXPECT_S = 1.0
_WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class ConnectionKind(Enum):
    """What kept a request from being answered."""

    NAME = "the name cannot be resolved"
    REFUSED = "connection refused"
    UNREACHABLE = "no connection"
    CONNECT_TIMEOUT = "no connection in time"
    PROXY = "the proxy refuses"
    TLS = "TLS failed"
    TIMEOUT = "no complete answer in time"
    BROKEN = "the connection broke"
    ANSWER = "the answer cannot be used"


class Trouble(Exception):
    """A request without an answer.

    Attributes:
        kind: what happened.
        said: the details, in the words of those who know them.
        delivered: the server may have received the request.
        at_proxy: it happened on the way to the proxy.
        after_handshake: nothing came back on a new TLS connection, as when the server did not like who we are.
    """

    def __init__(
        self,
        kind: ConnectionKind,
        said: object = "",
        delivered: bool = False,
        at_proxy: bool = False,
        after_handshake: bool = False,
    ) -> None:
        super().__init__(f"{kind.value}: {said}" if said else kind.value)
        self.kind, self.said, self.delivered, self.at_proxy = kind, said, delivered, at_proxy
        self.after_handshake = after_handshake


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer of any status."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(frozen=True, slots=True)
class Server:
    """Where requests go.

    Attributes:
        host: name or address, without brackets.
        port: its port.
        context: for TLS; None for none.
        proxy: to go by; None for none.
        server_name: the name that the certificate is for; empty: the host's.
    """

    host: str
    port: int
    context: ssl.SSLContext | None = None
    proxy: Proxy | None = None
    server_name: str = ""

    @property
    def netloc(self) -> str:
        """Host and port as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.context else 80) else f"{host}:{self.port}"


class Deadline:
    """The moment when a request must be over."""

    def __init__(self, limit_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._end_s = now_s() + limit_s

    def left_s(self) -> float:
        """What is left; TimeoutError when it is over."""
        left_s = self._end_s - self._now_s()
        if left_s <= 0:
            raise TimeoutError
        return left_s


class _Line:
    """A connected socket on which every wait ends at the deadline; what `http.client` needs of a socket, no more."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        sock.settimeout(0)
        self.sock = sock
        self.deadline = deadline
        self.heard = False
        self._ahead = b""
        self._readers = 0
        self._closing = False

    def start_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        sock = context.wrap_socket(self.sock, server_hostname=server_name, do_handshake_on_connect=False)
        self.sock = sock
        self._until(sock.do_handshake, for_read=True)

    def sendall(self, data: Any) -> None:
        left = memoryview(data).cast("B")
        while left:
            left = left[self._until(partial(self.sock.send, left), for_read=False) :]

    def recv_into(self, buffer: Any) -> int:
        if self._ahead:
            size = min(len(buffer), len(self._ahead))
            buffer[:size], self._ahead = self._ahead[:size], self._ahead[size:]
            return size
        size = self._until(lambda: self.sock.recv_into(buffer), for_read=True)
        self.heard = self.heard or size > 0
        return int(size)

    def is_refused_early(self, wait_s: float) -> bool:
        """Whether an answer comes instead of the ``100 Continue`` that the body waits for; some never say either."""
        try:
            if not wait_for_read(self.sock, min(wait_s, self.deadline.left_s())):
                return False
            head = bytearray()
            while b"\r\n\r\n" not in head and len(head) < 65_536:
                piece = bytearray(4096)
                size = self.recv_into(piece)
                if not size:
                    break
                head += piece[:size]
        except _WANTS:
            return False
        if head.startswith(b"HTTP/1.1 100"):
            self._ahead = bytes(head.partition(b"\r\n\r\n")[2])
            return False
        self._ahead = bytes(head)
        return True

    def makefile(self, *_: object) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Reader(self), 1 << 16)

    def reader_closed(self) -> None:
        """An answer was read."""
        self._readers -= 1
        if self._closing and not self._readers:
            self.sock.close()

    def close(self) -> None:
        """Close, but not under an answer that ends with the connection: `http.client` closes before it is read."""
        self._closing = True
        if not self._readers:
            self.sock.close()

    def abort(self) -> None:
        """Close now."""
        self.sock.close()

    def _until(self, act: Callable[[], Any], for_read: bool) -> Any:
        while True:
            try:
                return act()
            except ssl.SSLWantWriteError:
                ready = wait_for_write(self.sock, self.deadline.left_s())
            except (BlockingIOError, ssl.SSLWantReadError) as want:
                wait = wait_for_read if for_read or isinstance(want, ssl.SSLError) else wait_for_write
                ready = wait(self.sock, self.deadline.left_s())
            if not ready:
                raise TimeoutError


class _Reader(io.RawIOBase):
    """The bytes that come in on a line. Closing it leaves the line open, for the next request."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._line.reader_closed()

    def readinto(self, buffer: Any) -> int:
        return self._line.recv_into(buffer)


class _Connection(http.client.HTTPConnection):
    """Never connects by itself."""

    auto_open = 0

    def __init__(self, server: Server, line: _Line) -> None:
        super().__init__(server.host, server.port, blocksize=_CHUNK_BYTES)
        # What decides whether the Host header has a port.
        self.default_port = 443 if server.context else 80
        self.sock = cast(Any, line)
        self.line = line
        self.body_held_back = False
        self.is_new = True


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: Any


class Transport:
    """Requests to one server, by kept connections where there are some.

    Args:
        server: where to.
        connections: idle connections that are kept.
    """

    def __init__(self, server: Server, connections: int = 16) -> None:
        self._server = server
        self._most = connections
        self._idle: deque[_Connection] = deque()

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Any = None,
        limit_s: float = 30.0,
        repeatable: bool = False,
        decode: bool = True,
    ) -> Response:
        """One request.

        Args:
            method, target, headers, body: of the request; with ``Expect`` the body waits for the server's word.
            limit_s: from now to the last byte of the answer.
            repeatable: whether it may be sent again if a kept connection turns out to be closed.
            decode: whether a compressed answer is unpacked.

        Raises:
            Trouble: no answer, or half of one.
        """
        deadline = Deadline(limit_s)
        request = _Request(method, target, headers, body)
        kept = self._kept()
        if kept is not None:
            try:
                return self._exchange(kept, deadline, request, decode)
            except Trouble as trouble:
                if not repeatable or trouble.kind is not ConnectionKind.BROKEN or kept.line.heard:
                    raise
        return self._exchange(self._connected(deadline), deadline, request, decode)

    def handshake(self, limit_s: float) -> None:
        """Connect, and speak TLS where that is wanted, no more; raises Trouble."""
        self._connected(Deadline(limit_s)).line.abort()

    def close(self) -> None:
        """Close the idle connections; the transport can still be used."""
        while self._idle:
            self._idle.pop().line.abort()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _kept(self) -> _Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            # Nothing may come in between two requests: what does is the end of the connection.
            if not wait_for_read(connection.line.sock, 0.0):
                return connection
            connection.line.abort()

    def _exchange(self, connection: _Connection, deadline: Deadline, request: _Request, decode: bool) -> Response:
        line = connection.line
        line.deadline, line.heard = deadline, False
        is_first, connection.is_new = connection.is_new, False
        try:
            response = self._send(connection, request)
            content = _read(response, decode)
        except BaseException as problem:  # noqa: BLE001 - raised again, once the connection cannot be used any more
            # Also when a greenlet is killed here: a connection in the middle of an answer must not be used again.
            line.abort()
            _raise_broken(problem, line.heard, is_first and self._server.context is not None)
        if response.will_close or connection.body_held_back or len(self._idle) >= self._most:
            line.abort()
        else:
            self._idle.append(connection)
        return Response(response.status, response.reason, response.headers, content)

    def _send(self, connection: _Connection, request: _Request) -> http.client.HTTPResponse:
        target, headers, body = request.target, request.headers, request.body
        proxy = self._server.proxy
        if proxy is not None and self._server.context is None:
            target, headers = f"http://{self._server.netloc}{target}", {**headers, **proxy.headers()}
        wait = body is not None and any(name.lower() == "expect" for name in headers)
        try:
            if not wait:
                connection.request(request.method, target, body, dict(headers))
            else:
                connection.putrequest(request.method, target, skip_accept_encoding=True)
                for name, value in headers.items():
                    connection.putheader(name, value)
                connection.endheaders()
                connection.body_held_back = connection.line.is_refused_early(_EXPECT_S)
                if not connection.body_held_back:
                    connection.send(body)
        except ConnectionError:
            # A server that refuses a large body need not read it; its answer may be here all the same.
            if connection.sock is None:
                raise
        return connection.getresponse()

    def _connected(self, deadline: Deadline) -> _Connection:
        server, proxy = self._server, self._server.proxy
        at_proxy = proxy is not None
        place = (proxy.host, proxy.port) if proxy is not None else (server.host, server.port)
        line: _Line | None = None
        try:
            line = _Line(_open(*place, deadline), deadline)
            if proxy is not None and server.context is not None:
                _tunnel(line, server, proxy)
            at_proxy = False
            if server.context is not None:
                line.start_tls(server.context, server.server_name or server.host.rstrip("."))
            return _Connection(server, line)
        except BaseException as problem:  # noqa: BLE001 - raised again, once the connection is closed
            if line is not None:
                line.abort()
            _raise_unconnected(problem, at_proxy)


def _raise_broken(problem: BaseException, heard: bool, is_first_by_tls: bool) -> NoReturn:
    """A request that failed on its connection, as `Trouble`; what is none of ours goes on as it is."""
    if isinstance(problem, TimeoutError):
        raise Trouble(ConnectionKind.TIMEOUT, "", True) from problem
    if isinstance(problem, ssl.SSLError) and not isinstance(problem, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        # Since TLS 1.3 a server that does not like our certificate says so here.
        raise Trouble(ConnectionKind.TLS, problem, heard) from problem
    if isinstance(problem, (OSError, http.client.HTTPException)):
        raise Trouble(
            ConnectionKind.BROKEN, _named(problem), True, after_handshake=is_first_by_tls and not heard
        ) from problem
    if isinstance(problem, (ValueError, zlib.error)):
        raise Trouble(ConnectionKind.ANSWER, problem, True) from problem
    raise problem


def _raise_unconnected(problem: BaseException, at_proxy: bool) -> NoReturn:
    """A connection that did not come about, as `Trouble`; what is none of ours goes on as it is."""
    if isinstance(problem, socket.gaierror):
        raise Trouble(ConnectionKind.NAME, problem.strerror or problem, at_proxy=at_proxy) from problem
    if isinstance(problem, TimeoutError):
        raise Trouble(ConnectionKind.CONNECT_TIMEOUT, at_proxy=at_proxy) from problem
    if isinstance(problem, ConnectionRefusedError):
        raise Trouble(ConnectionKind.REFUSED, at_proxy=at_proxy) from problem
    if isinstance(problem, ssl.SSLError):
        raise Trouble(ConnectionKind.TLS, problem) from problem
    if isinstance(problem, (OSError, UnicodeError)):
        raise Trouble(ConnectionKind.UNREACHABLE, _named(problem), at_proxy=at_proxy) from problem
    raise problem


def _named(problem: Exception) -> str:
    return str(problem) or type(problem).__name__


def _open(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connected socket. Every address of the host gets an equal part of the time that is left."""
    found = _resolved(host, port, deadline)
    last: OSError = OSError("the name has no address")
    for number, (family, kind, protocol, _, address) in enumerate(found):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as problem:  # a family that this machine does not speak
            last = problem
            continue
        try:
            sock.settimeout(deadline.left_s() / (len(found) - number))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
            return sock
        except OSError as problem:
            sock.close()
            last = problem
        except BaseException:  # also when a greenlet is killed here
            sock.close()
            raise
    raise last


def _resolved(host: str, port: int, deadline: Deadline) -> list[Any]:
    """The addresses of a host. Nothing else can limit the time of a look-up than to leave it behind."""
    if is_this_machine(host) and host.rstrip(".").lower().endswith(".localhost"):
        host = "localhost"  # RFC 6761; many resolvers do not know it
    found: list[Any] = []
    failed: list[Exception] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))
        except (OSError, UnicodeError) as problem:
            failed.append(problem)
        done.set()

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    if not done.wait(deadline.left_s()):
        raise TimeoutError
    if failed:
        raise failed[0]
    return found


def _tunnel(line: _Line, server: Server, proxy: Proxy) -> None:
    host = f"[{server.host}]" if ":" in server.host else server.host
    place = f"{host}:{server.port}"
    lines = (f"CONNECT {place} HTTP/1.1", f"Host: {place}", *(f"{n}: {v}" for n, v in proxy.headers().items()), "", "")
    line.sendall("\r\n".join(lines).encode("latin-1"))
    response = http.client.HTTPResponse(cast(Any, line), method="CONNECT")
    try:
        response.begin()
    except http.client.HTTPException as problem:
        raise Trouble(ConnectionKind.PROXY, f"no answer to CONNECT ({_named(problem)})", at_proxy=True) from problem
    if not 200 <= response.status < 300:
        raise Trouble(ConnectionKind.PROXY, f"{response.status} {response.reason}".strip(), at_proxy=True)


def _read(response: http.client.HTTPResponse, decode: bool) -> bytes:
    """The whole body."""
    parts: list[bytes] = []
    size_bytes = 0
    while part := response.read1(_CHUNK_BYTES):
        parts.append(part)
        size_bytes += len(part)
        if size_bytes > MAX_BODY_BYTES:
            raise ValueError(_TOO_LARGE)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    response.close()
    content = parts[0] if len(parts) == 1 else b"".join(parts)
    encoding = (response.headers.get("Content-Encoding") or "").strip().lower()
    return _gunzipped(content) if decode and content and encoding in ("gzip", "x-gzip") else content


_TOO_LARGE = f"the answer is larger than {MAX_BODY_BYTES >> 20} MiB; ask for less at a time"


def _gunzipped(content: bytes) -> bytes:
    plain = bytearray()
    while content:
        one = zlib.decompressobj(16 + zlib.MAX_WBITS)
        plain += one.decompress(content, MAX_BODY_BYTES + 1 - len(plain))
        if len(plain) > MAX_BODY_BYTES:
            raise ValueError(_TOO_LARGE)
        if not one.eof:
            raise ValueError("its gzip is cut short; ask again")
        content = one.unused_data
    return bytes(plain)
