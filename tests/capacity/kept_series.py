"""Stores with the Prometheus API that hold series of a test: the embedded Mimir and, where it is, a real Prometheus."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import requests
from mimir_harness import PROMETHEUS, Series, message, packed, prometheus, served

from loadgen.config import parse_target
from loadgen.targets.readers import Readers, open_readers

STORES = [
    "embedded",
    pytest.param("real", marks=pytest.mark.skipif(PROMETHEUS is None, reason="there is no prometheus on PATH")),
]


@contextlib.contextmanager
def store(kind: str, directory: Path, series: Sequence[Series]) -> Iterator[Readers]:
    """Readers of a store that holds these series."""
    directory.mkdir()
    body = packed(message(*series))
    if kind == "embedded":
        with served(directory) as ours:
            assert ours.push_body(body).status_code == 200
            yield readers_of(f"{ours.url}/prometheus")
        return
    with prometheus(directory) as url:
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        answer = requests.post(f"{url}/api/v1/write", data=body, headers=headers, timeout=20)
        assert answer.status_code == 204, answer.text
        yield readers_of(url)


def readers_of(url: str) -> Readers:
    """Readers of a target whose Prometheus API is here."""
    target = parse_target({"via": "direct", "mimir": {"query_url": url}}, "test")
    return open_readers(target, lambda: 0, None, 20.0, "verify")


def counter(name: str, begin_ms: int, end_ms: int, per_s: float, step_s: int = 60, **labels: str) -> Series:
    """A counter that grows evenly."""
    times = range(begin_ms, end_ms, step_s * 1000)
    return Series({"__name__": name, **labels}, [(at, 1e6 + per_s * (at - begin_ms) / 1000) for at in times])


def gauge(name: str, begin_ms: int, end_ms: int, value: float, step_s: int = 60, **labels: str) -> Series:
    """A value that stays."""
    return Series({"__name__": name, **labels}, [(at, value) for at in range(begin_ms, end_ms, step_s * 1000)])
