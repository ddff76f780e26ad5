import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ENCODE = Path(__file__).parents[2] / "benchmarks" / "encode.py"


def encode(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ENCODE), "--seconds", "0.05", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        check=False,
    )


def test_json_output_is_one_object_with_both_ways_of_all_signals(tmp_path: Path) -> None:
    done = encode("--json", "--sink", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert set(figures) == {"metrics", "logs", "traces"}
    for rates in figures.values():
        assert rates["items_per_s"] > rates["baseline_items_per_s"] > 0
        assert rates["http_items_per_s"] > 0


def test_the_table_names_every_signal() -> None:
    done = encode()
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["metrics", "logs", "traces"]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://x", "http://", "http://x:notaport"])
def test_an_address_that_is_no_url_is_named_without_a_traceback(url: str) -> None:
    done = encode("--json", "--send", url)
    assert done.returncode == 2
    assert "http://127.0.0.1:8080" in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout


def test_nobody_listening_is_said_without_a_traceback() -> None:
    done = encode("--json", "--send", f"http://127.0.0.1:{_free_port()}")
    assert done.returncode == 2
    assert "listening" in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout


def test_a_refusal_is_shown_with_what_the_server_said() -> None:
    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(429)
            self.end_headers()
            self.wfile.write(b"slow down")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = encode("--send", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert done.returncode == 2
    assert "429" in done.stderr and "slow down" in done.stderr
