"""The detection matrix: it covers every check, judges its rows rightly, and some rows from end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_stack import BEGAN_NS, receipt_of, small_plan

from benchmarks.detection import Outcome, chosen, clean_row, exit_code, expected_of, table
from benchmarks.detection_assess import Came, assess, batches_of
from benchmarks.detection_row import BASE, Row, merged
from benchmarks.detection_rows import KILLS, NO_ROW, OMITTED, ROWS
from benchmarks.detection_run import toml_of
from loadgen.checks import CHECKS
from loadgen.config import load_profile, parse_profile
from loadgen.history.values import History, frame_of
from loadgen.model import NS, Objective, Receipt, Result, Signal, Verdict

REPOSITORY = Path(__file__).parents[1]
NAMES = {check.name for check in CHECKS}


# -- what is planted -----------------------------------------------------------------------------------------------


def test_every_check_is_the_finder_of_a_row_or_has_a_reason_why_not() -> None:
    found = {check for row in ROWS for check in row.finders}
    assert found | NO_ROW.keys() == NAMES
    assert not found & NO_ROW.keys()
    assert all(NO_ROW.values()) and all(omitted.why for omitted in OMITTED)


def test_rows_speak_of_checks_that_exist_and_have_names_of_their_own() -> None:
    names = [row.name for row in ROWS] + [omitted.name for omitted in OMITTED]
    assert len(set(names)) == len(names)
    for row in ROWS:
        mentioned = {*row.finders, *row.also, *row.unsure}
        assert mentioned <= NAMES, row.name
        assert not (row.also.keys() | row.unsure.keys()) & set(row.finders), row.name


@pytest.mark.parametrize("row", [*ROWS, clean_row(1), clean_row(2)], ids=lambda row: row.name)
def test_profiles_of_rows_are_valid_and_can_be_written_as_files(row: Row, tmp_path: Path) -> None:
    raw = merged(BASE, row.profile)
    profile = parse_profile(raw, row.name)
    (tmp_path / "row.toml").write_text(toml_of(raw))
    assert load_profile(tmp_path / "row.toml", env={}) == profile


def test_every_second_clean_run_kills_every_component() -> None:
    assert clean_row(1).profile == {} and clean_row(2).profile == KILLS
    assert {fault.component for fault in parse_profile(merged(BASE, KILLS), "x").faults} == {"loki", "tempo", "mimir"}


# -- how a row is judged -------------------------------------------------------------------------------------------


def verdict(check: str, result: Result, *evidence: str, value: float | None = None) -> Verdict:
    return Verdict(check, "", result, Objective("", 0, ""), "", value, 1, evidence)


def came(*verdicts: Verdict, hits: tuple[str, ...] = (), batches: frozenset[tuple[int, int]] = frozenset()) -> Came:
    all_of_them = {check: verdict(check, Result.PASS) for check in NAMES} | {one.check: one for one in verdicts}
    history = History(*[None] * 6, ())  # type: ignore[arg-type]
    return Came(all_of_them, hits, batches, history, Path(), 1.0)


LOST = Row("logs/lost", "one line", ("logs.loss",), items=1, names_batch=True)
FOUND = verdict("logs.loss", Result.FAIL, "user 1, batch 7, due +3 s: 1 missing of 10 lines", value=1)
HIT = {"hits": ("line",), "batches": frozenset({(1, 7)})}


def test_a_defect_that_its_check_finds_where_it_was_planted_is_as_expected() -> None:
    found = assess(LOST, came(FOUND, **HIT))  # type: ignore[arg-type]
    assert found.ok and found.found_by == ("logs.loss",)


@pytest.mark.parametrize(
    ("verdicts", "what"),
    [
        ((verdict("logs.loss", Result.PASS),), "says pass"),
        ((verdict("logs.loss", Result.UNKNOWN),), "says unknown"),
        ((verdict("logs.loss", Result.FAIL, "user 1, batch 8, due +3 s", value=1),), "names no batch"),
        ((replace(FOUND, value=2),), "counts 2"),
    ],
)
def test_a_defect_that_is_missed_or_found_elsewhere_is_told(verdicts: tuple[Verdict, ...], what: str) -> None:
    found = assess(LOST, came(*verdicts, **HIT))  # type: ignore[arg-type]
    assert not found.ok and any(what in problem for problem in found.problems)


def test_a_defect_that_hit_nothing_is_told() -> None:
    row = replace(chosen(["logs/lost"])[0], items=0)
    assert "hit nothing" in " ".join(assess(row, came(FOUND)).problems)


def test_a_failing_check_that_the_defect_does_not_explain_is_an_alarm() -> None:
    beside = verdict("logs.freshness", Result.FAIL)
    found = assess(LOST, came(FOUND, beside, **HIT))  # type: ignore[arg-type]
    assert found.alarms == ("logs.freshness",) and not found.ok
    explained = replace(LOST, also={"logs.freshness": "because"})
    assert assess(explained, came(FOUND, beside, **HIT)).ok  # type: ignore[arg-type]
    assert not assess(explained, came(FOUND, **HIT)).ok  # type: ignore[arg-type]


def test_a_check_that_cannot_tell_and_has_no_reason_for_it_is_told() -> None:
    beside = verdict("logs.s3_delay", Result.UNKNOWN)
    found = assess(LOST, came(FOUND, beside, **HIT))  # type: ignore[arg-type]
    assert found.doubts == ("logs.s3_delay",) and not found.ok
    assert assess(replace(LOST, unsure={"logs.s3_delay": "because"}), came(FOUND, beside, **HIT)).ok  # type: ignore[arg-type]


def test_a_generator_that_was_late_makes_a_row_busy_unless_that_was_planted() -> None:
    late = verdict("loadgen.health", Result.FAIL, "own lag by signal: logs p99 3 s")
    assert assess(LOST, came(FOUND, late, **HIT)).busy  # type: ignore[arg-type]
    (stalled,) = chosen(["loadgen/stalled"])
    assert not assess(stalled, came(late)).busy and assess(stalled, came(late)).ok


def test_a_stall_that_the_push_latency_does_not_show_is_told() -> None:
    plan = small_plan()
    receipts = [receipt_of(plan.logs.batch(0, n), done_ns=plan.logs.batch(0, n).due_ns + NS) for n in range(20)]
    none = History(*[None] * 6, ())  # type: ignore[arg-type]
    row = Row("logs/stalled", "", (), stalls=Signal.LOGS)
    short = replace(came(), history=replace(none, receipts=frame_of(receipts, Receipt)))
    assert assess(row, short).problems == ("p99 of the push latency is 1.00 s",)
    receipts[3] = replace(receipts[3], done_ns=receipts[3].due_ns + 3 * NS)
    assert assess(row, replace(came(), history=replace(none, receipts=frame_of(receipts, Receipt)))).ok


def test_items_that_were_hit_are_traced_back_to_their_batches() -> None:
    plan = small_plan()
    logs, metrics, traces = plan.logs.batch(1, 3), plan.metrics.batch(1, 4), plan.traces.batch(0, 5)
    labels = ", ".join(f'{name}="{value}"' for name, value in plan.logs.labels(1))
    series = ",".join(f'{name}="{value}"' for name, value in plan.metrics.series(1)[2] if name != "__name__")
    history = History(*[None] * 6, ())  # type: ignore[arg-type]
    history = replace(history, receipts=frame_of([receipt_of(traces)], Receipt))
    hits = (
        f"{{{labels}}} {int(plan.logs.line_times(logs)[2])} {plan.logs.lines(logs)[2]}",
        f"up{{{series}}} @ {int(plan.metrics.times_ms(metrics)[0])}",
        f"trace {plan.traces.trace_ids(traces)[1].tobytes().hex()}",
        "a push",
    )
    assert list(batches_of(hits, plan, history)) == [(1, 3), (1, 4), (0, 5)]
    assert plan.key.began_ns == BEGAN_NS


# -- what is printed -----------------------------------------------------------------------------------------------


def outcome(**changes: object) -> Outcome:
    made = Outcome("logs/lost", "one | line", ("logs.loss",), ("logs.loss",), (), (), (), "ok", {}, 1.0, "")
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_table_is_markdown_with_a_row_for_every_outcome_and_omission() -> None:
    rows = table([outcome(), outcome(name="logs/late", verdict="WRONG", alarms=("logs.query",))]).splitlines()
    assert rows[2] == "| logs/lost | one \\| line | logs.loss | logs.loss | – | ok |"
    assert rows[3].endswith("| logs.query | WRONG |")
    assert sum("not planted" in row for row in rows) == len(OMITTED)
    assert "not planted" not in table([outcome(name="clean/1")])


def test_what_is_expected_of_a_row_says_more_than_a_name_where_it_is_no_failing_check() -> None:
    by_name = {row.name: expected_of(row) for row in ROWS}
    assert by_name["logs/lost"] == ("logs.loss",)
    assert by_name["logs/s3-not-yet"] == ("logs.s3_delay unknown",)
    assert "p99" in by_name["traces/stalled"][0]
    assert by_name["reading/502-once"] == ()


@pytest.mark.parametrize(
    ("verdicts", "interrupted", "code"),
    [
        (["ok", "ok"], False, 0),
        (["ok", "WRONG", "busy"], False, 1),
        (["ok", "busy"], False, 2),
        (["not run"], False, 2),
        ([], False, 2),
        (["ok"], True, 130),
    ],
)
def test_the_exit_code_is_zero_only_if_all_is_as_expected(verdicts: list[str], interrupted: bool, code: int) -> None:
    assert exit_code([outcome(verdict=one) for one in verdicts], interrupted) == code


# -- from end to end -----------------------------------------------------------------------------------------------


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOADGEN_")}
    yield {**kept, "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout.split()
    assert left == [], "processes were left behind"


@pytest.mark.e2e
def test_some_rows_are_found_by_the_check_meant_for_them_and_by_nothing_else(
    tmp_path: Path, env: dict[str, str]
) -> None:
    rows = ["logs/lost", "traces/wrong-duration", "metrics/altered", "reading/page"]
    command = [sys.executable, "-m", "benchmarks.detection", "--json", str(tmp_path / "out.json")]
    command += [part for row in rows for part in ("--only", row)]
    done = subprocess.run(command, env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert (tmp_path / "out.json").is_file(), done.stderr
    found = {row["name"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    assert {name: (row["verdict"], row["problems"], row["alarms"]) for name, row in found.items()} == {
        row: ("ok", [], []) for row in rows
    }, done.stderr
    assert done.returncode == 0
    assert done.stdout.count("| ok |") == len(rows)


@pytest.mark.e2e
def test_ctrl_c_ends_the_matrix_soon_and_leaves_no_process(tmp_path: Path, env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "benchmarks.detection", "--only", "logs/*", "--jobs", "1"]
    with subprocess.Popen(
        command, env=env, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        give_up_s = time.monotonic() + 60
        while not list(tmp_path.glob("**/progress.json")):
            assert time.monotonic() < give_up_s and process.poll() is None, "no load began"
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output and "interrupted" in output
