"""A real Prometheus that scrapes the embedded stack and writes on to the embedded Mimir."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen.acceptance.facts import Parity
from loadgen.acceptance.parity import compare
from loadgen.config import MimirTarget
from loadgen.lab.processes.manager import Lab
from loadgen.lab.state import LabState
from loadgen.model import MS, NS, Component
from loadgen.targets.http import HttpClient
from loadgen.targets.mimir import MimirReader
from loadgen.targets.reading import Asker

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="there is no prometheus on PATH"),
]

# What a scrape asks of everybody, a counter, a gauge and a histogram.
SELECTORS = ('{__name__="up"}', '{__name__=~"prometheus_tsdb_head_.*"}', '{__name__=~".*_duration_seconds.*"}')


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabState]:
    lab = Lab.open(tmp_path_factory.mktemp("prometheus") / "lab")
    try:
        yield lab.up(engines={"prometheus": "native"})
    finally:
        lab.wipe()


def reader(base: str) -> MimirReader:
    client = HttpClient(base, MimirTarget(), timeout_s=10.0)
    return MimirReader(Asker(Component.MIMIR, client, "", "direct", "verify", None))


def compared(lab: LabState, selector: str, start_ms: int, end_ms: int) -> Parity:
    here = reader(lab.url("prometheus")).raw(selector, start_ms, end_ms)
    there = reader(lab.url("mimir") + "/prometheus").raw(selector, start_ms, end_ms)
    assert here.value is not None, here.error
    assert there.value is not None, there.error
    return compare(here.value, there.value)


def test_mimir_has_every_sample_that_prometheus_has(lab: LabState, tmp_path: Path) -> None:
    began_ms = time.time_ns() // MS
    give_up_ns = time.time_ns() + 60 * NS
    found: list[Parity] = []
    # Two scrapes at least, and the lag of remote write: until then something may be missing.
    while time.time_ns() < give_up_ns:
        time.sleep(3)
        end_ms = time.time_ns() // MS - 6_000
        if end_ms - began_ms < 12_000:
            continue
        found = [compared(lab, selector, began_ms, end_ms) for selector in SELECTORS]
        if all(one.same for one in found):
            break
    assert all(one.same for one in found), found
    assert {one.external for one in found} == {(("cluster", "lab"),)}
    assert all(one.series >= 4 for one in found)
