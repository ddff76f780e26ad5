"""Servers and requests for the tests of the embedded Mimir."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cramjam
import requests
from opentelemetry.exporter.prometheus_remote_write.gen.remote_pb2 import WriteRequest

from loadgen.lab.mimir.server import MimirServer
from loadgen.lab.processes.serve import serving
from loadgen.lab.settings import Limits, ServerSettings

NEVER_S = 1e9
PROMETHEUS = shutil.which("prometheus")


@dataclass(frozen=True, slots=True)
class Series:
    """A series to push: labels and samples (milliseconds, value)."""

    labels: dict[str, str]
    samples: Sequence[tuple[int, float]]


def message(*series: Series) -> bytes:
    """A write request, made with the official messages."""
    request = WriteRequest()
    for one in series:
        row = request.timeseries.add()
        for name, value in one.labels.items():
            row.labels.add(name=name, value=value)
        for time_ms, value in one.samples:
            row.samples.add(timestamp=time_ms, value=value)
    content: bytes = request.SerializeToString()
    return content


def packed(plain: bytes) -> bytes:
    """A snappy block."""
    return bytes(cramjam.snappy.compress_raw(plain))


class Client:
    """Talks to a server under test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()

    def push(self, *series: Series) -> requests.Response:
        return self.push_body(packed(message(*series)))

    def push_body(self, body: bytes, content_type: str = "application/x-protobuf") -> requests.Response:
        headers = {
            "Content-Type": content_type,
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        return self._session.post(f"{self.url}/api/v1/push", data=body, headers=headers, timeout=20)

    def get(self, path: str, **parameters: Any) -> requests.Response:
        return self._session.get(f"{self.url}{path}", params=parameters, timeout=60)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self._session.post(f"{self.url}{path}", timeout=60, **options)

    def delete(self, path: str) -> requests.Response:
        return self._session.delete(f"{self.url}{path}", timeout=60)

    def flush(self) -> None:
        assert self.get("/ingester/flush", wait="true").status_code == 204

    def defect(self, kind: str, count: int = 1, delay_s: float = 90.0, what: str = "") -> None:
        answer = self.post("/lab/defects", json={"kind": kind, "count": count, "delay_s": delay_s, "what": what})
        assert answer.status_code == 201, answer.text

    def query(self, query: str, **parameters: Any) -> Any:
        answer = self.get("/prometheus/api/v1/query", query=query, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["result"]

    def samples(self, selector: str, at_ms: int, window: str = "1h") -> dict[str, list[tuple[int, float]]]:
        """The raw samples of each series, by its labels as JSON."""
        return {
            json.dumps(row["metric"], sort_keys=True): [(round(at * 1000), float(value)) for at, value in row["values"]]
            for row in self.query(f"{selector}[{window}]", time=at_ms / 1000)
        }

    def only(self, selector: str, at_ms: int, window: str = "1h") -> list[tuple[int, float]]:
        """The raw samples of the one series, none if there is no such series."""
        found = self.samples(selector, at_ms, window)
        assert len(found) <= 1
        return next(iter(found.values()), [])


def settings_for(directory: Path, **changes: Any) -> ServerSettings:
    """A server that keeps its objects in files and flushes only when told."""
    fields: dict[str, Any] = {
        "component": "mimir",
        "data_dir": str(directory / "data"),
        "s3_endpoint": f"file://{directory / 'bucket'}",
        "s3_bucket": "mimir-blocks",
        "flush_age_s": NEVER_S,
        "flush_check_s": 0.05,
    }
    return ServerSettings(**{**fields, **changes})


@contextlib.contextmanager
def served(directory: Path, **changes: Any) -> Iterator[Client]:
    """A server in this process, over real HTTP."""
    with serving(MimirServer(settings_for(directory, **changes)).app()) as url:
        yield Client(url)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def prometheus(directory: Path) -> Iterator[str]:
    """A real Prometheus that takes remote write; gives its URL."""
    port = free_port()
    config = directory / "prometheus.yml"
    config.write_text("global: {}\n")
    process = subprocess.Popen(
        [
            str(PROMETHEUS),
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
            "--log.level=error",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(400):
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{url}/-/ready", timeout=2).status_code == 200:
                    break
            assert process.poll() is None
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(20)


class Process:
    """A server in a process of its own, which can be killed and started again."""

    def __init__(self, directory: Path, **changes: Any) -> None:
        self.port = free_port()
        self._config = directory / "mimir.json"
        settings_for(directory, port=self.port, **changes).save(self._config)
        self._process: subprocess.Popen[bytes] | None = None
        self.client = Client(f"http://127.0.0.1:{self.port}")

    def start(self) -> float:
        """Starts it and waits until it is ready; gives the seconds that took."""
        began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadgen.lab.mimir.server", str(self._config)], env=os.environ
        )
        while time.monotonic() - began < 20:
            with contextlib.suppress(requests.RequestException):
                if self.client.get("/ready").status_code == 200:
                    return time.monotonic() - began
            assert self._process.poll() is None, "the server ended at once"
            time.sleep(0.02)
        raise AssertionError("the server was not ready after 20 s")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and waits for the end; gives the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(20)
        self._process = None
        self.client = Client(self.client.url)
        return code

    def __enter__(self) -> Process:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)


def limits(**changes: Any) -> Limits:
    return Limits(**changes)
