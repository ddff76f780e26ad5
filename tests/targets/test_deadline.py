"""One deadline for a whole request, whatever drips or stalls, and the one case in which a query is sent again."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from scripted import Reply, scripted

from loadgen.config import S3Target
from loadgen.targets import connection
from loadgen.targets.http import HttpClient
from loadgen.targets.s3 import s3_client

LIMIT_S = 0.3
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def raw_server(answer: Answer) -> Iterator[str]:
    """A server of bytes: ``answer`` gets each connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                taken.append(client)
                threading.Thread(target=one, args=(client,), daemon=True).start()

    def one(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            answer(client)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        for sock in (listener, *taken):
            sock.close()
        thread.join(5)


def drip(what: bytes, every_s: float) -> Answer:
    def answer(client: socket.socket) -> None:
        client.recv(65_536)
        for byte in what:
            client.sendall(bytes((byte,)))
            time.sleep(every_s)

    return answer


def stall(client: socket.socket) -> None:
    """Take the first bytes and nothing more."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.recv(1)
    time.sleep(3)


LARGE = b"x" * (32 << 20)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 100 + b"\r\n\r\n", 0.05), b""),
        (drip(OK.replace(b"2\r\n", b"100\r\n") + b"z" * 100, 0.02), b""),
        (drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nz\r\n" * 100, 0.02), b""),
        (drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 30, 0.02), b""),
        (stall, b""),
        (stall, LARGE),
    ],
    ids=["headers drip", "body drips", "chunks drip", "only continues", "nothing comes", "the body is not taken"],
)
def test_the_limit_holds_for_all_of_a_request(answer: Answer, body: bytes) -> None:
    with raw_server(answer) as url:
        began_s = time.monotonic()
        found = HttpClient(url, timeout_s=LIMIT_S).post("/push", body, {})
        took_s = time.monotonic() - began_s
    assert found.status == 0 and found.delivered and f"within {LIMIT_S:g} s" in found.error
    assert took_s < LIMIT_S + 1.0


def test_phases_that_are_each_within_the_limit_are_not_over_it_together() -> None:
    def answer(client: socket.socket) -> None:
        client.recv(65_536)
        for part in (OK[:20], OK[20:45], OK[45:]):
            time.sleep(0.2)
            client.sendall(part)

    with raw_server(answer) as url:
        found = HttpClient(url, timeout_s=LIMIT_S).get("/")
        assert HttpClient(url, timeout_s=5.0).get("/").body == b"ok"
    assert "no complete answer within" in found.error


def test_a_tls_handshake_that_drips_ends_at_the_limit() -> None:
    with raw_server(drip(b"\x16\x03\x03\x40\x00" + b"\x02" * 100, 0.05)) as url:
        found = HttpClient(url.replace("http:", "https:"), timeout_s=LIMIT_S).get("/")
    assert not found.delivered and found.done_ns - found.sent_ns < 1_300_000_000


def test_a_look_up_of_the_name_that_hangs_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*_: object) -> list[object]:
        release.wait(5)
        return []

    monkeypatch.setattr(connection.socket, "getaddrinfo", hang)
    found = HttpClient("http://stack.test", timeout_s=LIMIT_S).get("/")
    release.set()
    assert not found.delivered and f"no connection within {LIMIT_S:g} s" in found.error
    assert found.done_ns - found.sent_ns < 1_300_000_000


def test_every_address_of_a_name_gets_a_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(Reply(200, b"ok")) as server, socket.socket() as full:
        # A listener whose queue is full does not answer, as behind a firewall.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(full.getsockname())
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
            for port in (full.getsockname()[1], server.port)
        ]
        monkeypatch.setattr(connection.socket, "getaddrinfo", lambda *_: found)
        answer = HttpClient("http://stack.test", timeout_s=1.0).get("/")
        for one in waiting:
            one.close()
    assert answer.ok, answer.error


def test_the_limit_holds_in_patched_greenlets() -> None:
    with raw_server(drip(OK.replace(b"2\r\n", b"100\r\n") + b"z" * 100, 0.05)) as url:
        code = f"""
from gevent import monkey; monkey.patch_all()
import time
from loadgen.targets.http import HttpClient
began_s = time.monotonic()
answer = HttpClient({url!r}, timeout_s={LIMIT_S}).get("/")
assert "within {LIMIT_S:g} s" in answer.error, answer
assert time.monotonic() - began_s < {LIMIT_S} + 1.0
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_the_limit_holds_for_s3() -> None:
    with raw_server(drip(OK.replace(b"2\r\n", b"100\r\n") + b"z" * 100, 0.05)) as url:
        target = S3Target.model_validate({"endpoint": url, "access_key_id": "a", "secret_access_key": "b"})
        began_s = time.monotonic()
        with pytest.raises(Exception, match="Read timeout"):
            s3_client(target, timeout_s=LIMIT_S, attempts=1).list_objects_v2(Bucket="x")
        assert time.monotonic() - began_s < LIMIT_S + 2.0


# -- sent again ------------------------------------------------------------------------------------------------------


def forgets(connections: list[int], second: bytes | None = None) -> Answer:
    """Answers one request a connection, then resets; ``second`` comes before that, an empty one closes in order."""
    count = itertools.count(1)

    def answer(client: socket.socket) -> None:
        connections.append(next(count))
        client.recv(65_536)
        client.sendall(OK)
        client.recv(65_536)
        if second:
            client.sendall(second)
        if second is None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    return answer


@pytest.mark.parametrize("second", [None, b""], ids=["reset", "closed"])
def test_a_query_on_a_forgotten_connection_is_asked_again_at_once(second: bytes | None) -> None:
    connections: list[int] = []
    ticks = itertools.count(100)
    with raw_server(forgets(connections, second)) as url:
        client = HttpClient(url, timeout_s=5.0, clock=lambda: next(ticks))
        assert client.get("/").ok
        answer = client.get("/")
        assert answer.ok and (answer.sent_ns, answer.done_ns) == (102, 103) and len(connections) == 2
        assert client.post_query("/api/ds/query", b"{}", {}).ok and len(connections) == 3


def test_a_push_on_a_forgotten_connection_is_not_sent_again() -> None:
    connections: list[int] = []
    with raw_server(forgets(connections)) as url:
        client = HttpClient(url, timeout_s=5.0)
        assert client.get("/").ok
        answer = client.post("/push", b"x", {})
    assert answer.status == 0 and answer.delivered and "the connection broke" in answer.error and len(connections) == 1


def test_a_query_that_broke_after_its_first_byte_is_not_asked_again() -> None:
    connections: list[int] = []
    with raw_server(forgets(connections, b"HTTP/1.1 2")) as url:
        client = HttpClient(url, timeout_s=5.0)
        assert client.get("/").ok
        assert "the connection broke" in client.get("/").error
    assert len(connections) == 1


def test_a_query_on_a_new_connection_is_not_asked_again() -> None:
    connections: list[int] = []

    def answer(client: socket.socket) -> None:
        connections.append(1)
        client.recv(65_536)
        client.close()

    with raw_server(answer) as url:
        assert "the connection broke" in HttpClient(url, timeout_s=5.0).get("/").error
    assert len(connections) == 1


def test_a_time_out_on_a_kept_connection_is_not_asked_again() -> None:
    connections: list[int] = []

    def answer(client: socket.socket) -> None:
        connections.append(1)
        client.recv(65_536)
        client.sendall(OK)
        client.recv(65_536)
        time.sleep(3)

    with raw_server(answer) as url:
        client = HttpClient(url, timeout_s=LIMIT_S)
        assert client.get("/").ok
        assert "within" in client.get("/").error
    assert len(connections) == 1


def test_the_second_try_has_only_what_is_left_of_the_time() -> None:
    calls = itertools.count()

    def answer(client: socket.socket) -> None:
        if next(calls):
            time.sleep(3)
        client.recv(65_536)
        client.sendall(OK)
        client.recv(65_536)
        time.sleep(LIMIT_S / 2)
        client.close()

    with raw_server(answer) as url:
        client = HttpClient(url, timeout_s=LIMIT_S)
        assert client.get("/").ok
        found = client.get("/")
    assert "within" in found.error and found.done_ns - found.sent_ns < (LIMIT_S + 1.0) * 1e9


def test_an_answer_that_ends_with_its_connection_is_read_whole() -> None:
    def answer(client: socket.socket) -> None:
        client.recv(65_536)
        client.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"y" * 300_000)
        client.close()

    with raw_server(answer) as url:
        assert len(HttpClient(url, timeout_s=5.0).get("/").body) == 300_000


def test_a_refusal_before_the_body_was_taken_is_an_answer_and_not_a_broken_connection() -> None:
    def answer(client: socket.socket) -> None:
        head = client.recv(65_536)
        client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        assert b"Expect: 100-continue" in head
        time.sleep(0.2)

    with raw_server(answer) as url:
        target = S3Target.model_validate({"endpoint": url, "access_key_id": "a", "secret_access_key": "b"})
        with pytest.raises(Exception, match="403"):
            s3_client(target, timeout_s=5.0).put_object(Bucket="x", Key="k", Body=LARGE)
