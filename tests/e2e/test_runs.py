"""Whole runs, as a user starts them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from workplace import REPOSITORY, Workplace

from loadgen.history.directory import RunDir
from loadgen.model import HELD_DATA

pytestmark = pytest.mark.e2e
SHORT = str(Path(__file__).parent / "short.toml")
LOCUSTFILE = str(REPOSITORY / "scenarios" / "lgtm.py")


def outcomes(lab: Workplace, run: str) -> dict[str, str]:
    return {check: verdict["outcome"] for check, verdict in lab.verdicts(lab.path / run).items()}


def test_a_clean_run_keeps_every_promise_and_can_be_verified_and_reported_again(lab: Workplace) -> None:
    done = lab.run("loadgen", "run", "--profile", SHORT, "--out", "clean")
    assert done.returncode == 0, done.stdout + done.stderr
    found = outcomes(lab, "clean")
    assert {check for check, outcome in found.items() if outcome == "skipped"} == {
        *(f"{component}.{what}" for component in ("loki", "tempo", "mimir") for what in ("persistence", "recovery")),
        "history.reach",
    }
    assert set(found.values()) == {"pass", "skipped"}
    html = (lab.path / "clean" / "report.html").read_text()
    assert "embedded" in html
    history = RunDir.open(lab.path / "clean").history()
    own = history.queries[history.queries["source"] == "own"]
    assert set(own["kind"]) == {'{job="loadgen"}', "queue depth", "{}"} and own["ok"].all()
    assert (own.groupby("kind").size() >= 6).all() and (own.groupby("kind")["items"].max() > 0).all()
    held = history.stack[history.stack["metric"] == HELD_DATA]
    assert len(held) == 3 and held["value"].between(0, 0.5, inclusive="left").all()
    assert "Own queries" in html and "of 24 h held data" in html and "of 7 d only" in html
    before = (lab.path / "clean" / "verdicts.json").read_text()
    again = lab.run("loadgen", "report", "clean")
    assert again.returncode == 0
    assert (lab.path / "clean" / "verdicts.json").read_text() == before
    verified = lab.run("loadgen", "verify", "clean")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_planted_defects_are_each_found_by_their_own_check(lab: Workplace, plant: Callable[..., None]) -> None:
    # Late beyond the bound of 45 s: the run has to wait for it, and must call it late and not lost.
    plant("loki", "lose")
    plant("loki", "delay", "--delay", "60s")
    plant("mimir", "double")
    plant("tempo", "alter")
    patience = {"LOADGEN_VERIFY_PATIENCE": "75s", "LOADGEN_VERIFY_S3_WAIT": "2s"}
    done = lab.run("loadgen", "run", "--profile", SHORT, "--out", "defects", **patience)
    assert done.returncode == 1, done.stdout + done.stderr
    found = lab.verdicts(lab.path / "defects")
    failed = {check for check, verdict in found.items() if verdict["outcome"] == "fail"}
    assert failed == {"logs.loss", "logs.freshness", "metrics.duplicates", "traces.altered"}
    assert found["logs.loss"]["value"] == 1
    assert all(found[check]["remedy"] for check in failed)


def test_lines_doubled_and_altered_are_told_apart(lab: Workplace, plant: Callable[..., None]) -> None:
    plant("loki", "double")
    plant("loki", "alter")
    done = lab.run("loadgen", "run", "--profile", SHORT, "--out", "defects2", "--duration", "8s")
    assert done.returncode == 1, done.stdout + done.stderr
    found = lab.verdicts(lab.path / "defects2")
    assert {check for check, verdict in found.items() if verdict["outcome"] == "fail"} == {
        "logs.duplicates",
        "logs.altered",
    }


@pytest.mark.parametrize("processes", [1, 2])
def test_locust_alone_leaves_a_run_that_can_be_verified(lab: Workplace, processes: int) -> None:
    run = f"locust{processes}"
    options = ["--processes", "2"] if processes > 1 else []
    done = lab.run(
        *("locust", "-f", LOCUSTFILE, "--headless", "-u", "20", "-r", "20", "-t", "8s"),
        *("--run-dir", run, "--load-profile", SHORT, *options),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "queue depth" in done.stdout + done.stderr, "Locust's own statistics show them"
    history = RunDir.open(lab.path / run).history()
    own = history.queries[history.queries["source"] == "own"]
    assert len(own) and own["ok"].all()
    assert (own.groupby("kind").size() <= 5).all(), "they are asked once, not once by every worker"
    receipts = history.receipts
    assert not receipts.duplicated(["signal", "user", "n"]).any(), "two users had the same number"
    assert set(receipts.outcome) == {"accepted"}
    lab.run("loadgen", "verify", run)
    stack = RunDir.open(lab.path / run).history().stack
    assert (stack["metric"] == HELD_DATA).sum() == 3, "verifying looks back for a load that ran alone"
    found = outcomes(lab, run)
    for signal_ in ("logs", "metrics", "traces"):
        assert [found[f"{signal_}.{what}"] for what in ("loss", "duplicates", "altered")] == ["pass"] * 3


def test_ctrl_c_in_the_load_still_verifies_judges_and_reports(lab: Workplace) -> None:
    process = lab.start("loadgen", "run", "--profile", SHORT, "--out", "stopped", "--duration", "60s")
    wait_for(lambda: "progress.json" in names(lab.path / "stopped"))
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=90)
    assert "Traceback" not in output
    assert process.returncode in (0, 2), output
    info = json.loads((lab.path / "stopped" / "run.json").read_text())
    assert info["interrupted"]
    found = outcomes(lab, "stopped")
    assert found["logs.loss"] == "pass"
    assert (lab.path / "stopped" / "report.html").exists()


def test_a_run_killed_in_the_middle_can_be_judged(lab: Workplace) -> None:
    process = lab.start("loadgen", "run", "--profile", SHORT, "--out", "killed", "--duration", "6s")
    wait_for(lambda: "progress.json" in names(lab.path / "killed"))
    time.sleep(3)
    process.kill()
    process.communicate(timeout=30)
    wait_for(lambda: '"ended": true' in (lab.path / "killed" / "progress.json").read_text())
    done = lab.run("loadgen", "verify", "killed")
    assert "Traceback" not in done.stderr
    assert outcomes(lab, "killed")["logs.loss"] == "pass"


def test_a_component_that_stalls_does_not_make_the_others_panels_slow(lab: Workplace) -> None:
    status = json.loads(lab.run("loadgen", "lab", "status", "--json").stdout)
    process = lab.start("loadgen", "run", "--profile", SHORT, "--out", "stalled", "--duration", "14s")
    try:
        wait_for(lambda: "progress.json" in names(lab.path / "stalled"))
        time.sleep(4)
        os.kill(status["loki"]["pid"], signal.SIGSTOP)
        time.sleep(6)
    finally:
        os.kill(status["loki"]["pid"], signal.SIGCONT)
        process.communicate(timeout=120)
    queries = RunDir.open(lab.path / "stalled").history().queries
    asked = queries[queries["source"] == "viewer"]
    slowest_s = ((asked["done_ns"] - asked["due_ns"]) / 1e9).groupby(asked["component"]).max()
    assert slowest_s["loki"] > 4
    assert max(slowest_s["mimir"], slowest_s["tempo"]) < 4


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*")}


def wait_for(condition: Callable[[], bool], within_s: float = 40) -> None:
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.2)
