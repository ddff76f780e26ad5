"""The HTTP client: answers are values, trouble is a sentence, and secrets stay out of it."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from scripted import Reply, free_port, scripted

from loadgen.config import ConfigError, GrafanaTarget
from loadgen.targets.hiding import url_without_secrets
from loadgen.targets.http import HttpClient, json_of


def login(**values: object) -> GrafanaTarget:
    return GrafanaTarget.model_validate(values)


def test_get_sends_query_login_and_tenant() -> None:
    with scripted(Reply(200, b'{"a": 1}', {"Content-Type": "application/json; charset=UTF-8"})) as server:
        client = HttpClient(server.url + "/prefix/", login(user="me", password="secret1", tenant="t1"))
        answer = client.get("/x", {"query": '{run="a b"}'})
    assert (answer.status, answer.error, answer.content_type) == (200, "", "application/json")
    assert json_of(answer, "here") == ({"a": 1}, "")
    request = server.requests[0]
    assert request.path == "/prefix/x?query=%7Brun%3D%22a+b%22%7D"
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"me:secret1").decode()
    assert request.headers["X-Scope-OrgID"] == "t1"
    assert request.headers["User-Agent"].startswith("loadgen/")


def test_bearer_token_from_a_file_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("glsa_abc\n")
    with scripted(Reply(204)) as server:
        assert HttpClient(server.url, login(bearer_token_file=str(file))).get("/").ok
    assert server.requests[0].headers["Authorization"] == "Bearer glsa_abc"


def test_unreadable_secret_file_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        HttpClient("http://127.0.0.1:1", login(user="a", password_file="/nowhere/at/all"))


def test_connections_are_kept_alive() -> None:
    with scripted(Reply(200, b"ok")) as server:
        client = HttpClient(server.url)
        for _ in range(5):
            assert client.post("/push", memoryview(b"abc"), {}).ok
    assert len(server.connections) == 1
    assert [request.body for request in server.requests] == [b"abc"] * 5


def test_compressed_answers_are_decoded() -> None:
    content = json.dumps(list(range(100_000))).encode()
    with scripted(Reply(200, gzip.compress(content), {"Content-Encoding": "gzip"})) as server:
        answer = HttpClient(server.url).get("/")
    assert answer.body == content
    assert server.requests[0].headers["Accept-Encoding"] == "gzip"


def test_times_surround_the_request() -> None:
    ticks = iter(range(100, 200))
    with scripted(Reply(200, b"ok")) as server:
        answer = HttpClient(server.url, clock=lambda: next(ticks)).get("/")
    assert (answer.sent_ns, answer.done_ns) == (100, 101)


def test_refused_connection_is_not_delivered_and_says_where() -> None:
    port = free_port()
    answer = HttpClient(f"http://127.0.0.1:{port}").get("/ready")
    assert answer.status == 0 and not answer.delivered
    assert f"http://127.0.0.1:{port}/ready: connection refused; check that the server runs" in answer.error


def test_unknown_host_is_told() -> None:
    answer = HttpClient("http://no-such-host.invalid").get("/")
    assert not answer.delivered and "cannot be resolved" in answer.error


def test_slow_answer_is_a_time_out_that_may_have_arrived() -> None:
    with scripted(Reply(200, b"late", delay_s=0.5)) as server:
        answer = HttpClient(server.url, timeout_s=0.1).post("/push", b"x", {})
    assert answer.status == 0 and answer.delivered and "within 0.1 s" in answer.error


def test_dripping_answer_does_not_outlast_the_time_limit() -> None:
    with scripted(Reply(200, b"x" * 200, drip_s=0.02)) as server:
        answer = HttpClient(server.url, timeout_s=0.2).get("/")
    assert "within 0.2 s" in answer.error
    assert answer.done_ns - answer.sent_ns < 1_000_000_000


def test_reset_and_cut_answers_are_errors() -> None:
    with scripted(Reply(reset=True), Reply(200, b"x" * 100, cut=10), Reply(200, b"fine")) as server:
        client = HttpClient(server.url)
        for _ in range(2):
            answer = client.get("/a")
            assert answer.status == 0 and answer.delivered and "/a: the connection broke" in answer.error
        assert client.get("/a").body == b"fine"


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "password"),
        (403, "not allowed"),
        (404, "base URL"),
        (413, "too large"),
        (429, "limits"),
        (503, "not ready"),
    ],
)
def test_statuses_come_with_advice(status: int, hint: str) -> None:
    with scripted(Reply(status, b"the server's words", {"Content-Type": "text/plain"})) as server:
        answer = HttpClient(server.url).get("/a")
    assert answer.status == status and hint in answer.error and "the server's words" in answer.error


def test_html_page_of_a_proxy_is_recognised() -> None:
    page = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
    with scripted(Reply(502, page, {"Content-Type": "text/html"}), Reply(200, page)) as server:
        client = HttpClient(server.url)
        assert "an HTML page titled '502 Bad Gateway', so from a proxy" in client.get("/a").error
        value, error = json_of(client.get("/a"), "http://here/a")
    assert value is None and "http://here/a: 200 with an HTML page instead of JSON" in error


@pytest.mark.parametrize("body", [b"", b'{"status":"succ', b"[" * 100_000])
def test_malformed_json_is_an_error(body: bytes) -> None:
    with scripted(Reply(200, body)) as server:
        value, error = json_of(HttpClient(server.url).get("/a"), "w")
    assert value is None and "malformed JSON" in error


def test_redirects_are_not_followed_but_explained() -> None:
    with scripted(Reply(302, b"", {"Location": "https://u:pw12345@sso/login?x=1"})) as server:
        answer = HttpClient(server.url).get("/a")
    assert "302, redirected to https://sso/login;" in answer.error and len(server.requests) == 1


def test_secrets_are_not_repeated_from_the_servers_words() -> None:
    with scripted(Reply(400, b"bad header Basic for hunter22")) as server:
        url = server.url.replace("//", "//bob:hunter22@")
        client = HttpClient(url)
        answer = client.get("/a?password=x")
    assert "hunter22" not in answer.error + client.where and "bob" not in client.where
    assert server.requests[0].headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("url", ["", "loki:3100", "ftp://x/", "http://", "http://[::1", "http://a:99999999/"])
def test_unusable_urls_are_answers_not_exceptions(url: str) -> None:
    answer = HttpClient(url).get("/")
    assert answer.status == 0 and not answer.delivered and "http" in answer.error


def test_plain_http_server_behind_https_url_is_told() -> None:
    with scripted(Reply(200, b"ok")) as server:
        answer = HttpClient(server.url.replace("http", "https"), timeout_s=3).get("/")
    assert "begin with http://" in answer.error and not answer.delivered


def test_missing_ca_file_is_told() -> None:
    answer = HttpClient("https://127.0.0.1:1", login(ca_file="/no/ca.pem")).get("/")
    assert "ca_file /no/ca.pem cannot be used" in answer.error


def test_url_without_secrets_strips_user_and_query() -> None:
    assert url_without_secrets("https://u:p@h:1/a?token=x#y") == "https://h:1/a"


def test_threads_share_a_client() -> None:
    with scripted(answer=lambda request: Reply(200, request.path.encode())) as server:
        client = HttpClient(server.url)
        wrong: list[str] = []

        def ask(number: int) -> None:
            for i in range(20):
                path = f"/{number}/{i}"
                if client.get(path).body != path.encode():
                    wrong.append(path)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_works_in_patched_greenlets() -> None:
    with scripted(Reply(200, b"ok", delay_s=0.3)) as server:
        code = f"""
from gevent import monkey; monkey.patch_all()
import gevent, time
from loadgen.targets.http import HttpClient
client = HttpClient({server.url!r})
began = time.monotonic()
jobs = [gevent.spawn(client.get, "/") for _ in range(5)]
gevent.joinall(jobs)
assert all(job.value.ok for job in jobs), [job.value for job in jobs]
assert time.monotonic() - began < 1.0
killed = gevent.spawn(client.get, "/"); gevent.sleep(0.05); killed.kill()
assert client.get("/").body == b"ok"
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
