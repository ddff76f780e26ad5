import pytest

from loadgen.model import Receipt, StackSample
from loadgen.recorder import ProgressKeeper, Recorder, from_ipc, read_progress, to_ipc
from loadgen.rundir import table_of


def receipt(n: int, outcome: str = "accepted", signal: str = "logs") -> Receipt:
    return Receipt(signal, 0, n, 1, 10, outcome, "http", 1, 1, 1, 2, 1, 0, 100, 50, 204, "")


def test_rows_are_handed_on_once():
    seen = []
    recorder = Recorder(lambda table, rows: seen.append((table, rows.num_rows)))
    recorder.add(receipt(1))
    recorder.add(receipt(2))
    recorder.add(StackSample("loadgen", "cpu", "", 1, 1.0))
    recorder.flush()
    recorder.flush()
    assert seen == [("receipts", 2), ("stack", 1)]


def test_rows_that_the_sink_refuses_are_kept_for_the_next_time():
    seen = []

    def sink(table, rows):
        if not seen:
            seen.append("refused")
            raise OSError("disk full")
        seen.append(rows.num_rows)

    recorder = Recorder(sink)
    recorder.add(receipt(1))
    with pytest.raises(OSError, match="disk full"):
        recorder.flush()
    recorder.add(receipt(2))
    recorder.flush()
    assert seen == ["refused", 2]


def test_a_table_survives_the_way_to_another_process():
    table = table_of([receipt(1), receipt(2)], Receipt)
    assert from_ipc(to_ipc(table)).equals(table)


def test_a_damaged_table_is_a_value_error():
    with pytest.raises(ValueError, match="damaged"):
        from_ipc(to_ipc(table_of([receipt(1)], Receipt))[:50])


def test_progress_counts_what_was_accepted_and_what_was_not(tmp_path):
    keeper = ProgressKeeper(tmp_path, 7)
    rows = [receipt(1), receipt(2), receipt(3, "rejected"), receipt(1, "unknown", "traces")]
    keeper.count(table_of(rows, Receipt))
    keeper.write(9, 3)
    progress = read_progress(tmp_path)
    assert progress is not None
    assert (progress.began_ns, progress.users) == (7, 3)
    assert progress.items == {"logs": 20, "metrics": 0, "traces": 0}
    assert progress.failed == {"logs": 1, "metrics": 0, "traces": 1}
    assert keeper.accepted_batches == 2


def test_progress_that_is_not_there_or_damaged_is_none(tmp_path):
    assert read_progress(tmp_path) is None
    (tmp_path / "progress.json").write_text("{")
    assert read_progress(tmp_path) is None
