"""A search against a lab with limits at known places finds them, names them, and can be cut and taken up again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen.capacity.model import Capacity, Ending, Search, SearchKind, Why
from loadgen.capacity.store import load
from loadgen.lab.defects import DefectOrder
from loadgen.lab.processes.manager import Lab

pytestmark = pytest.mark.e2e

LOKI_BYTES_PER_S = 600_000.0
SERIES = 900
PROFILE = """
[run]
duration = "{seconds}s"
warmup = "1s"
retry_for = "2s"
max_late = "5s"
[logs]
users = 4
rate = "{rate}"
push_every = "200ms"
[metrics]
users = 2
series = 250
push_every = "500ms"
[traces]
users = 2
traces_per_s = 10
push_every = "250ms"
[dashboards]
users = 2
refresh = "150ms"
[freshness]
every = "1s"
poll = "200ms"
[verify]
settle = 0.3
patience = "5s"
max_compared = 1000
s3_wait = 0
[capacity]
precision = {precision}
max_rate = "{ceiling}"
max_series = 4000
max_minutes = 10
s3_wait = "15s"
"""


def write_profile(place: Path, **values: object) -> None:
    text = PROFILE
    for name, value in {"seconds": 6, "rate": "560kB/s", "ceiling": "800kB/s", "precision": 0.1, **values}.items():
        text = text.replace(f"{{{name}}}", str(value))
    (place / "steps.toml").write_text(text)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    write_profile(tmp_path)
    lab = Lab.open(tmp_path / "lab")
    try:
        yield tmp_path
    finally:
        lab.wipe()


def environment(place: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOADGEN_")}
    return {**kept, "LOADGEN_LAB_DIR": str(place / "lab"), "COLUMNS": "160"}


def command(place: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "loadgen", "capacity", "--profile", str(place / "steps.toml"), *arguments]


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(place, *arguments), env=environment(place), capture_output=True, text=True, timeout=240, check=False
    )


def search_of(capacity: Capacity, kind: SearchKind) -> Search:
    return next(search for search in capacity.searches if search.kind is kind)


def test_limits_at_known_places_are_found_named_and_reported(place: Path) -> None:
    # A bucket of one second's worth hides a rate of a tenth above the limit for ten seconds.
    write_profile(place, seconds=12)
    # Nothing would reach S3 by itself in this time.
    Lab.open(place / "lab").up(flush_age_s=600.0, limits={"loki.rate": LOKI_BYTES_PER_S, "mimir.series": SERIES})
    done = run(place, "--signal", "logs", "--signal", "metrics", "--flush", "--out", str(place / "found"))
    assert done.returncode == 0, done.stdout + done.stderr
    capacity = load(place / "found")

    logs = search_of(capacity, SearchKind.LOGS)
    assert logs.why is Why.FOUND and logs.kept is not None and logs.broke is not None
    assert logs.broke <= 1.1 * logs.kept
    broke = next(step for step in capacity.steps if step.level == logs.broke and step.ending is Ending.BROKEN)
    assert "logs.throughput" in [one.check for one in broke.broken]
    named = [one.limit for one in broke.refusals if one.limit is not None]
    assert {one.setting for one in named} == {"limits_config.ingestion_rate_mb"}
    assert {one.number for one in named} == {LOKI_BYTES_PER_S}
    # What the component counted in the steps tells the limit in its own unit.
    text_share = lines_share(place / "found" / broke.folder)
    assert logs.kept * text_share <= LOKI_BYTES_PER_S * 1.1 and logs.broke * text_share >= LOKI_BYTES_PER_S * 0.95

    metrics = search_of(capacity, SearchKind.METRICS)
    assert metrics.why is Why.FOUND and metrics.counted is not None
    assert metrics.counted == pytest.approx(SERIES, rel=0.1)

    page = (place / "found" / "capacity.html").read_text()
    assert "limits_config.ingestion_rate_mb" in page and "limits.max_global_series_per_user" in page
    assert json.loads((place / "found" / "sizing.json").read_text())["knees"]
    assert {one.signal for one in capacity.stored} == {"logs", "metrics"}
    assert all(one.ratio and "flushed early" in one.note for one in capacity.stored)
    assert (place / "found" / capacity.steps[0].folder / "report.html").is_file()


def lines_share(folder: Path) -> float:
    """Which share of a plain byte of logs is text of lines."""
    from loadgen.config import parse_profile
    from loadgen.history.directory import RunDir
    from loadgen.plan import plan_of

    info = RunDir.open(folder).info()
    logs = plan_of(info.key, parse_profile(info.profile, "x")).logs
    batch = logs.batch(0, 1)
    text = sum(len(line.encode() if isinstance(line, str) else line) for line in logs.lines(batch))
    return text / logs.body(batch).plain_bytes


def test_a_component_that_runs_out_of_memory_is_the_finding_and_the_search_comes_to_an_end(place: Path) -> None:
    write_profile(place, rate="3MB/s", ceiling="6MB/s")
    lab = Lab.open(place / "lab")
    # Nothing is flushed, so that memory grows with what was sent.
    lab.up(flush_age_s=600.0)
    idle = next(status.memory_bytes for status in lab.status() if status.name == "loki")
    lab.up(limits={"loki.memory": idle + 50e6})
    done = run(place, "--signal", "logs", "--max-minutes", "0.5", "--out", str(place / "found"))
    assert done.returncode == 1, done.stdout + done.stderr
    capacity = load(place / "found")
    crashed = [step for step in capacity.steps if step.crashed]
    assert crashed and crashed[0].crashed == ("loki",) and crashed[0].ending is Ending.BROKEN
    assert "loki went down" in (place / "found" / "capacity.md").read_text()


def test_ctrl_c_keeps_the_steps_and_resume_goes_on(place: Path) -> None:
    Lab.open(place / "lab").up()
    found = place / "found"
    arguments = ("--signal", "queries", "--out", str(found))
    with subprocess.Popen(
        command(place, *arguments), env=environment(place), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        give_up_s = time.monotonic() + 90
        while not (found / "capacity.json").is_file() or not load(found).steps:
            assert time.monotonic() < give_up_s and process.poll() is None, "no step was made"
            time.sleep(0.2)
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and "--resume" in output and "Traceback" not in output
    first = load(found)
    assert search_of(first, SearchKind.QUERIES).why is Why.INTERRUPTED and (found / "capacity.html").is_file()
    (found / "capacity.html").unlink()
    written = subprocess.run(
        [sys.executable, "-m", "loadgen", "report", str(found)], capture_output=True, text=True, timeout=60, check=False
    )
    assert written.returncode == 2 and (found / "capacity.html").is_file(), written.stderr
    again = run(place, "--resume", str(found), "--max-minutes", "0.01")
    assert again.returncode == 2, again.stdout
    second = load(found)
    assert second.steps == first.steps
    # No kind that nobody asked for.
    assert [(one.kind, one.why) for one in second.searches] == [(SearchKind.QUERIES, Why.MINUTES)]


def test_a_stack_that_is_failing_already_is_not_loaded(place: Path) -> None:
    lab = Lab.open(place / "lab")
    lab.up()
    lab.order_defect("grafana", DefectOrder("unavailable", count=1000, match="tempo"))
    done = run(place, "--out", str(place / "found"))
    assert done.returncode == 2 and not (place / "found").exists()
    assert "failing already" in done.stderr and "tempo" in done.stderr


def test_a_dry_run_shows_the_steps_and_their_bytes_and_needs_no_stack(place: Path) -> None:
    done = run(place, "--dry-run", "--signal", "logs", "--signal", "metrics")
    assert done.returncode == 0 and "800 kB/s" in done.stdout and "4,000 series" in done.stdout
    assert "max_s3_bytes" in done.stdout
    wrong = run(place, "--dry-run", "--signal", "lgos")
    assert wrong.returncode == 2 and "lgos" in wrong.stderr
