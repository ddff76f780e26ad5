"""All transports get to a server by the same way: the same authorities, certificates, proxies and headers."""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import grpc
import pytest
from fake_proxy import FakeProxy, fake_proxy
from pki import Pki, make_pki

from loadgen.acceptance.probes.s3 import ask_tls
from loadgen.config import ConfigError, S3Target, Target
from loadgen.kinds.load import TraceLoad
from loadgen.kinds.traces.source import TraceSource
from loadgen.model import NS, Outcome, RunKey
from loadgen.push.http import HttpPusher
from loadgen.push.retry import PushPolicy
from loadgen.push.sdk import SdkProbe
from loadgen.push.ways import OTLP_GRPC
from loadgen.push.ways.way import Pushing
from loadgen.targets.cluster import api_client
from loadgen.targets.s3 import explain_s3, list_page, s3_client

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
POLICY = PushPolicy(timeout_s=5.0, retry_for_s=0.0)
LISTING = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name></ListBucketResult>'
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "grpc_proxy", "no_grpc_proxy")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@dataclass
class Servers:
    """One for HTTP/1.1, one for gRPC, and what arrived at them."""

    http_port: int
    grpc_port: int
    seen: list[dict[str, str]]


@contextlib.contextmanager
def serving(pki: Pki | None, wants_certificate: bool = False) -> Iterator[Servers]:
    """With TLS when there are certificates."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append({name.lower(): value for name, value in self.headers.items()})
            body = LISTING if self.command == "GET" else b""
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that do not trust us break off."""

    class Export(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            seen.append({item.key: str(item.value) for item in details.invocation_metadata})
            return grpc.unary_unary_rpc_method_handler(lambda _body, _context: b"")

    server = Server(("127.0.0.1", 0), Handler)
    rpc = grpc.server(ThreadPoolExecutor(2), handlers=(Export(),))
    if pki is None:
        rpc_port = rpc.add_insecure_port("127.0.0.1:0")
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.path("server.pem"), pki.path("server.key"))
        if wants_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(pki.path("ca.pem"))
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        pair = Path(pki.path("server.key")).read_bytes(), Path(pki.path("server.pem")).read_bytes()
        trusted = Path(pki.path("ca.pem")).read_bytes() if wants_certificate else None
        rpc_port = rpc.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials((pair,), trusted, wants_certificate))
    rpc.start()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Servers(server.server_address[1], rpc_port, seen)
    finally:
        server.shutdown()
        server.server_close()
        rpc.stop(None).wait(5)
        thread.join(5)


Way = Callable[[str, int, dict[str, Any]], str]


def by_http(base: str, port: int, section: dict[str, Any]) -> str:
    target = Target.model_validate({"tempo": {"otlp_http": f"{base}:{port}", **section}})
    pusher = HttpPusher(target.tempo.otlp_http, target.tempo, {}, POLICY)
    result = pusher.push(b"x")
    pusher.close()
    return "" if result.outcome is Outcome.ACCEPTED else result.detail


def by_grpc(base: str, port: int, section: dict[str, Any]) -> str:
    pusher = OTLP_GRPC.open(
        Target.model_validate({"tempo": {"otlp_grpc": f"{base}:{port}", **section}}), Pushing(POLICY)
    )
    result = pusher.push(b"x")
    pusher.close()
    return "" if result.outcome is Outcome.ACCEPTED else result.detail


def by_sdk(transport: Any) -> Way:
    def way(base: str, port: int, section: dict[str, Any]) -> str:
        source = TraceSource(RunKey("way", 1, 1_800_000_000 * NS), TraceLoad(1, NS))
        target = Target.model_validate({"tempo": {f"otlp_{transport}": f"{base}:{port}", **section}})
        probe = SdkProbe(target, transport, PushPolicy(2.0, 0.0))
        result = probe.push(source.spans(source.batch(0, 0)), {})
        probe.close()
        return "" if result.outcome is Outcome.ACCEPTED else result.detail

    return way


def by_s3(base: str, port: int, section: dict[str, Any]) -> str:
    keys = {"access_key_id": "a", "secret_access_key": "example"}
    target = S3Target.model_validate({"endpoint": f"{base}:{port}", **keys, **section})
    try:
        list_page(s3_client(target, 5.0, attempts=1), "b")
    except ConfigError:
        raise
    except Exception as problem:  # noqa: BLE001 - whatever it is, it must be worded
        return explain_s3(problem, target, "b")
    return ""


WAYS = {"http": by_http, "grpc": by_grpc, "sdk http": by_sdk("http"), "sdk grpc": by_sdk("grpc"), "s3": by_s3}
every_way = pytest.mark.parametrize("name", WAYS)


def go(name: str, servers: Servers, base: str, **section: Any) -> str:
    return WAYS[name](base, servers.grpc_port if "grpc" in name else servers.http_port, section)


@every_way
def test_a_homes_authority_without_key_usage_is_trusted_by_name(name: str, pki: Pki) -> None:
    with serving(pki) as servers:
        assert go(name, servers, "https://localhost", ca_file=pki.path("ca.pem")) == ""


@every_way
def test_an_authority_of_the_systems_store_is_trusted(name: str, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", pki.path("ca.pem"))
    with serving(pki) as servers:
        assert go(name, servers, "https://localhost") == ""


@every_way
@pytest.mark.parametrize(
    "variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"]
)
def test_no_librarys_own_variable_adds_an_authority(
    name: str, variable: str, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, pki.path("ca.pem"))
    with serving(pki) as servers:
        assert go(name, servers, "https://localhost") != ""


@every_way
def test_a_certificate_of_ours_is_shown(name: str, pki: Pki) -> None:
    own = {"cert_file": pki.path("client.pem"), "key_file": pki.path("client.key")}
    with serving(pki, wants_certificate=True) as servers:
        assert go(name, servers, "https://localhost", ca_file=pki.path("ca.pem"), **own) == ""
        assert go(name, servers, "https://localhost", ca_file=pki.path("ca.pem")) != ""


@pytest.mark.parametrize("name", ["http", "s3"])
def test_a_missing_certificate_of_ours_is_told(name: str, pki: Pki) -> None:
    with serving(pki, wants_certificate=True) as servers:
        assert "cert_file and key_file" in go(name, servers, "https://localhost", ca_file=pki.path("ca.pem"))


@every_way
def test_a_key_that_does_not_fit_is_told(name: str, pki: Pki) -> None:
    own = {"cert_file": pki.path("client.pem"), "key_file": pki.path("server.key")}
    with serving(pki) as servers:
        try:
            told = go(name, servers, "https://localhost", ca_file=pki.path("ca.pem"), **own)
        except ConfigError as problem:
            told = str(problem)
    assert f"the cert_file {pki.path('client.pem')} with the key_file {pki.path('server.key')} cannot be used" in told


@every_way
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("by", ["variable", "setting"])
def test_a_deployed_server_is_reached_by_the_proxy(
    name: str, secure: bool, by: str, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(pki if secure else None) as servers:
        port = servers.grpc_port if "grpc" in name else servers.http_port
        with fake_proxy(port) as proxy:
            section = {"ca_file": pki.path("ca.pem")}
            url = proxy.url.replace("//", "//me:hunter%4022@")
            if by == "setting":
                section["proxy"] = url
                # gRPC reads these, and nothing else may be decided by them.
                monkeypatch.setenv("no_grpc_proxy", "stack.test")
                monkeypatch.setenv("no_proxy", "stack.test")
            else:
                monkeypatch.setenv("HTTPS_PROXY" if secure else "HTTP_PROXY", url)
            scheme = "https" if secure else "http"
            assert go(name, servers, f"{scheme}://stack.test", **section) == ""
            assert proxy.asked and set(proxy.logins) == {"Basic bWU6aHVudGVyQDIy"}
            if secure or "grpc" in name:
                assert set(proxy.asked) == {f"CONNECT stack.test:{port} HTTP/1.1"}


@every_way
def test_this_machine_and_what_is_excepted_are_reached_directly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(None) as servers, fake_proxy(servers.http_port) as proxy:
        for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "grpc_proxy", "https_proxy"):
            monkeypatch.setenv(variable, proxy.url)
        assert go(name, servers, "http://127.0.0.1") == go(name, servers, "http://localhost") == ""
        monkeypatch.setenv("NO_PROXY", "stack.test")
        assert "the proxy" not in go(name, servers, "http://stack.test")
        monkeypatch.delenv("NO_PROXY")
        assert "the proxy" not in go(name, servers, "http://stack.test", proxy="none")
    assert proxy.asked == []


def refused(name: str, proxy: FakeProxy) -> str:
    with serving(None) as servers:
        return go(name, servers, "http://stack.test" if "grpc" in name else "https://stack.test", proxy=proxy.url)


@every_way
def test_an_error_names_the_proxy_and_who_set_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with serving(None) as servers:
        told = go(name, servers, "http://stack.test")
    assert "by way of the proxy http://127.0.0.1:9 of ALL_PROXY" in told


@pytest.mark.parametrize("name", ["http", "s3"])
def test_a_proxy_that_refuses_is_told_with_the_remedy(name: str) -> None:
    with fake_proxy(9, refuses="407 Proxy Authentication Required") as proxy:
        assert "407" in refused(name, proxy) and "set proxy_user and proxy_password" in refused(name, proxy)
    with fake_proxy(9, refuses="403 Forbidden") as proxy:
        told = refused(name, proxy)
    assert "the proxy does not let us through (403 Forbidden)" in told and "NO_PROXY" in told


@every_way
def test_headers_of_the_section_arrive_and_those_of_the_environment_do_not(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-foreign=1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-foreign=1")
    (tmp_path / "headers").write_text("# of the access proxy\nCF-Access-Client-Id: id1\n\n")
    with serving(None) as servers:
        headers = {"headers": {"CF-Access-Client-Secret": "s1"}, "headers_file": str(tmp_path / "headers")}
        assert go(name, servers, "http://127.0.0.1", **headers) == ""
        assert go(name, servers, "http://127.0.0.1") == ""
    first, second = servers.seen
    assert (first["cf-access-client-id"], first["cf-access-client-secret"]) == ("id1", "s1")
    assert "x-foreign" not in first | second and "cf-access-client-id" not in second


@pytest.mark.parametrize("name", ["http", "grpc", "sdk http", "sdk grpc"])
def test_no_login_comes_from_netrc(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("default login foreign password example\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with serving(None) as servers:
        assert go(name, servers, "http://127.0.0.1") == ""
    assert "authorization" not in servers.seen[0]


def test_the_certificate_of_s3_is_checked_by_the_same_way(pki: Pki) -> None:
    with serving(pki) as servers, fake_proxy(servers.http_port) as proxy:
        settings = {"endpoint": f"https://stack.test:{servers.http_port}", "ca_file": pki.path("ca.pem")}
        assert ask_tls(S3Target.model_validate({**settings, "proxy": proxy.url})).value == "verified"
        assert ask_tls(S3Target.model_validate({**settings, "proxy": proxy.url, "ca_file": ""})).value == (
            "refused: unable to get local issuer certificate"
        )
        unreachable = ask_tls(S3Target.model_validate({**settings, "proxy": "http://127.0.0.1:9"}))
    assert "the proxy does not take connections" in unreachable.error


def test_the_clusters_api_is_asked_by_the_same_way(pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.client import VersionApi

    with serving(pki) as servers, fake_proxy(servers.http_port) as proxy:
        server = {"server": f"https://stack.test:{servers.http_port}", "certificate-authority": pki.path("ca.pem")}
        kubeconfig = {
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": server}],
            "users": [{"name": "it", "user": {"token": "example"}}],
        }
        (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        target = Target.model_validate({"kubernetes": {"kubeconfig": str(tmp_path / "kubeconfig")}}).kubernetes
        VersionApi(api_client(target)).get_code_with_http_info(_preload_content=False)
    assert len(proxy.asked) == 1 and servers.seen[0]["authorization"] == "Bearer example"


def test_a_slow_way_to_a_grpc_server_is_no_refusal(pki: Pki) -> None:
    with serving(pki) as servers, fake_proxy(servers.grpc_port, delay_s=0.1) as proxy:
        section = {"ca_file": pki.path("ca.pem"), "proxy": proxy.url}
        assert by_grpc("https://stack.test", servers.grpc_port, section) == ""


def test_grpc_says_that_it_cannot_leave_out_verification() -> None:
    target = Target.model_validate({"tempo": {"otlp_grpc": "https://tempo:4317", "verify_tls": False}})
    with pytest.raises(ConfigError, match=r"verify_tls = false: not possible by gRPC"):
        OTLP_GRPC.open(target, Pushing(POLICY))
