"""TLS: certificates are verified, an authority of one's own can be named, and failures say what to do."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from loadgen.config import GrafanaTarget
from loadgen.targets.http import HttpClient

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, signed by itself; its key is beside it."""
    path = tmp_path_factory.mktemp("tls") / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", f"{path}.key", "-out", str(path)],
        check=True,
        capture_output=True,
    )
    return path


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"hi")

    def log_message(self, *_: object) -> None:
        pass


class _Server(HTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients that do not trust us break off."""


@contextlib.contextmanager
def serving(certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{certificate}.key")
    server = _Server(("127.0.0.1", 0), _Hello)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_certificate_of_a_named_authority_is_trusted(certificate: Path) -> None:
    with serving(certificate) as port:
        client = HttpClient(f"https://localhost:{port}", GrafanaTarget(ca_file=str(certificate)), 5.0)
        answer = client.get("/")
        client.close()
    assert answer.body == b"hi", answer.error


def test_unknown_authority_is_refused_with_the_setting_that_helps(certificate: Path) -> None:
    with serving(certificate) as port:
        answer = HttpClient(f"https://localhost:{port}", None, 5.0).get("/a")
    assert answer.status == 0 and not answer.delivered
    assert f"https://localhost:{port}/a: the TLS certificate cannot be verified" in answer.error
    assert "no ca_file set" in answer.error and "set ca_file" in answer.error


def test_certificate_for_another_name_is_refused(certificate: Path) -> None:
    with serving(certificate) as port:
        answer = HttpClient(f"https://127.0.0.1:{port}", GrafanaTarget(ca_file=str(certificate)), 5.0).get("/")
    assert "cannot be verified" in answer.error and "the host name that the certificate is for" in answer.error


def test_verification_is_off_only_by_name(certificate: Path) -> None:
    with serving(certificate) as port:
        client = HttpClient(f"https://127.0.0.1:{port}", GrafanaTarget(verify_tls=False), 5.0)
        answer = client.get("/")
        client.close()
    assert answer.body == b"hi", answer.error
