import json
import os
import threading
from collections import Counter
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from loadgen.history.directory import GROUP_ROWS, JOIN_AT, RunDir, RunDirError
from loadgen.history.joiner import Joiner
from loadgen.history.values import RunInfo, table_of
from loadgen.model import FaultWindow, Objective, QueryEnd, QueryTiming, Result, RunKey, StackSample, Verdict


def info(name: str = "r1", series_of: str = "") -> RunInfo:
    return RunInfo(
        RunKey(name, 1, 2, series_of),
        {"run": {}},
        ("logs.loss",),
        {"name": "x"},
        "lab",
        {"loki": "embedded"},
        {"loadgen": "0"},
    )


def sample(n: int) -> StackSample:
    return StackSample("loki", "m", "", n, float(n))


@pytest.fixture
def run(tmp_path):
    return RunDir.create(tmp_path / "run", info())


def test_what_is_stored_of_a_run_comes_back(run):
    assert run.info() == info()


def test_whose_series_a_run_goes_on_with_comes_back_and_older_runs_went_on_with_none(tmp_path):
    run = RunDir.create(tmp_path / "run", info("r2", series_of="r1"))
    assert run.info().key.series_run == "r1"
    stored = json.loads((run.path / "run.json").read_text())
    del stored["key"]["series_of"]
    (run.path / "run.json").write_text(json.dumps(stored))
    assert run.info().key.series_run == "r2"


def test_rows_of_parts_and_of_the_whole_file_are_read_together(run):
    run.append([sample(1)])
    run.append([sample(2)])
    run.compact()
    run.append([sample(3)])
    frame, damaged = run.rows("stack")
    assert list(frame.at_ns) == [1, 2, 3]
    assert damaged == ()
    assert len(list((run.path / "parts").glob("stack-*"))) == 1


def test_a_table_without_rows_has_its_columns(run):
    frame, _ = run.rows("receipts")
    assert len(frame) == 0
    assert {"due_ns", "outcome"} <= set(frame.columns)


def test_a_damaged_part_is_left_out_and_named(run):
    run.append([sample(1)])
    run.append([sample(2)])
    victim = sorted((run.path / "parts").glob("stack-*"))[0]
    victim.write_bytes(victim.read_bytes()[:-20])
    history = run.history()
    assert list(history.stack.at_ns) == [2]
    assert history.damaged == (f"parts/{victim.name}",)


def test_rows_of_a_version_that_did_not_know_a_column_have_its_default(run):
    query = QueryTiming("loki", "range", "grafana", "viewer", 60.0, 1, 2, 3, True, 200, 5, "")
    run.append_table("queries", table_of([query], QueryTiming).drop_columns(["end"]))
    run.append([replace(query, end=QueryEnd.MISSED.value)])
    for _ in range(2):
        frame, damaged = run.rows("queries")
        assert (sorted(frame.end), damaged) == (["asked", "missed"], ())
        run.compact()


def test_a_query_with_an_end_that_nobody_knows_is_damage(run):
    query = QueryTiming("loki", "range", "grafana", "viewer", 60.0, 1, 2, 3, True, 200, 5, "", end="gone")
    run.append([query])
    frame, damaged = run.rows("queries")
    assert len(frame) == 0 and len(damaged) == 1


def test_a_damaged_part_survives_compaction_and_is_still_named(run):
    run.append([sample(1)])
    (run.path / "parts" / "stack-x-000001.parquet").write_bytes(b"PAR1 not")
    run.compact()
    frame, damaged = run.rows("stack")
    assert list(frame.at_ns) == [1]
    assert damaged == ("parts/stack-x-000001.parquet",)


def test_a_process_killed_between_writing_and_removing_parts_leaves_no_doubled_rows(run):
    run.append([sample(1)])
    part = next((run.path / "parts").glob("stack-*"))
    content = part.read_bytes()
    run.compact()
    part.write_bytes(content)
    assert list(run.rows("stack")[0].at_ns) == [1]


def test_a_leftover_temporary_file_is_no_part(run):
    run.append([sample(1)])
    (run.path / "parts" / ".stack-1-000009.parquet.abc").write_bytes(b"half")
    assert run.rows("stack")[1] == ()


def test_replacing_a_table_leaves_only_the_new_rows(run):
    run.append([sample(1)])
    run.compact()
    run.append([sample(2)])
    run.replace("stack", [sample(9)])
    assert list(run.rows("stack")[0].at_ns) == [9]
    run.replace("stack", [])
    assert len(run.rows("stack")[0]) == 0


def file_names(run):
    return sorted(path.name for path in (run.path / "parts").iterdir())


def test_parts_are_joined_by_the_minute_and_the_hour_in_their_order(run):
    for n in range(JOIN_AT * JOIN_AT + 3):
        run.append([sample(n)])
        if n % JOIN_AT == JOIN_AT - 1:
            run.join()
    endings = Counter(name.split(".", 1)[1] for name in file_names(run))
    assert endings == {"hour.parquet": 1, "arrow": 3}
    frame, damaged = run.rows("stack")
    assert (list(frame.at_ns), damaged) == (list(range(JOIN_AT * JOIN_AT + 3)), ())
    run.compact()
    assert list(run.rows("stack")[0].at_ns) == list(range(JOIN_AT * JOIN_AT + 3))
    assert file_names(run) == []


def test_few_parts_are_left_as_they_are(run):
    for n in range(JOIN_AT - 1):
        run.append([sample(n)])
    before = file_names(run)
    run.join()
    assert file_names(run) == before


def test_a_damaged_part_is_not_joined_and_still_named(run):
    for n in range(JOIN_AT):
        run.append([sample(n)])
    victim = sorted((run.path / "parts").iterdir())[5]
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    run.join()
    frame, damaged = run.rows("stack")
    assert damaged == (f"parts/{victim.name}",)
    assert list(frame.at_ns) == [n for n in range(JOIN_AT) if n != 5]


def test_parts_that_a_killed_joiner_left_never_count_again(run):
    for n in range(JOIN_AT):
        run.append([sample(n)])
    first = sorted((run.path / "parts").iterdir())[0]
    content = first.read_bytes()
    run.join()
    first.write_bytes(content)
    assert len(run.rows("stack")[0]) == JOIN_AT
    run.compact()  # forgets which parts are in the file of the minute
    assert (len(run.rows("stack")[0]), file_names(run)) == (JOIN_AT, [])


def test_a_whole_file_that_is_damaged_is_kept_and_named_and_what_comes_after_stays_beside_it(run):
    run.append([sample(1)])
    run.compact()
    whole = run.path / "stack.parquet"
    whole.write_bytes(whole.read_bytes()[:-30])
    run.append([sample(2)])
    run.compact()
    frame, damaged = run.rows("stack")
    assert (list(frame.at_ns), damaged) == ([2], ("stack.parquet",))


def test_row_groups_are_large_whatever_the_parts_were(run):
    for n in range(200):
        run.append([sample(n)] * 1000)
    run.compact()
    footer = pq.read_metadata(run.path / "stack.parquet")
    sizes = [footer.row_group(n).num_rows for n in range(footer.num_row_groups)]
    assert (sum(sizes), len(sizes), sizes[0] >= GROUP_ROWS) == (200_000, 2, True)


def test_rows_are_read_whole_while_another_joins(run):
    for n in range(3 * JOIN_AT):
        run.append([sample(n)])
    joiner = threading.Thread(target=lambda: (run.join(), run.compact()))
    joiner.start()
    counts = {len(run.rows("stack")[0])}
    while joiner.is_alive():
        counts.add(len(run.rows("stack")[0]))
    joiner.join()
    assert counts | {len(run.rows("stack")[0])} == {3 * JOIN_AT}


def test_several_joiners_take_turns(run):
    for n in range(5 * JOIN_AT):
        run.append([sample(n)])
    threads = [threading.Thread(target=work) for work in (run.join, run.compact, RunDir(run.path).compact, run.join)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.rows("stack")[0].at_ns) == list(range(5 * JOIN_AT))


def test_a_joiner_ends_when_it_is_told(run):
    joiner = Joiner(run, every_s=3600)
    joiner.start()
    joiner.stop()
    assert "join" not in {thread.name for thread in threading.enumerate()}


def test_a_run_is_not_created_over_another(run):
    with pytest.raises(RunDirError, match="already holds a run"):
        RunDir.create(run.path, info())


def test_a_folder_without_a_run_names_the_runs_beside_it(run):
    with pytest.raises(RunDirError, match="no run here.*runs here: run"):
        RunDir.open(run.path.parent / "other")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": {}}', "null"])
def test_a_damaged_run_json_is_a_clear_error(run, content):
    (run.path / "run.json").write_text(content)
    with pytest.raises(RunDirError, match="damaged"):
        run.info()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_a_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunDirError, match="cannot write here"):
            RunDir.create(tmp_path / "run", info())
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunDirError, match="cannot write here"):
        RunDir.create(tmp_path / "file" / "run", info())


def test_faults_come_back_and_damaged_ones_are_named(run):
    window = FaultWindow("kill", "loki", 1, 2, 3, 4, "")
    run.write_faults([window])
    assert run.history().faults == (window,)
    (run.path / "faults.json").write_text('[{"fault": 1}]')
    history = run.history()
    assert history.faults == ()
    assert "faults.json" in history.damaged[0]


def test_verdicts_are_stored_with_the_promised_keys(run):
    verdict = Verdict(
        "logs.loss", "p", Result.FAIL, Objective("0 missing", 0, "lines"), "1", 1.0, 5, (), "r", ("TASK-022",)
    )
    run.write_verdicts([verdict], Result.FAIL)
    stored = json.loads((run.path / "verdicts.json").read_text())
    assert (stored["run"], stored["outcome"]) == ("r1", "fail")
    assert {"check", "outcome", "objective", "measured", "samples", "requirements", "remedy"} <= set(
        stored["verdicts"][0]
    )
