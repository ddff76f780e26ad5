import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.history.recorder import MAX_ROWS, MAX_ROWS_BYTES, ProgressKeeper, Recorder, read_progress, rows_of, to_ipc
from loadgen.history.values import schema_of, table_of
from loadgen.model import Receipt, StackSample


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
    assert rows_of({"table": "receipts", "rows": to_ipc(table)}) == ("receipts", table)


SENT = to_ipc(table_of([receipt(1), receipt(2)], Receipt))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (None, "no table"),
        ([], "no table"),
        ({"rows": SENT}, "no table"),
        ({"table": "../../../x", "rows": SENT}, "no table '../../../x'"),
        ({"table": "objects", "rows": SENT}, "no table"),
        ({"table": ["receipts"], "rows": SENT}, "no table"),
        ({"table": "receipts"}, "no rows"),
        ({"table": "receipts", "rows": "text"}, "no rows"),
        ({"table": "receipts", "rows": b""}, "damaged"),
        ({"table": "receipts", "rows": SENT[:50]}, "damaged"),
        ({"table": "receipts", "rows": SENT[:-300]}, "damaged"),
        ({"table": "receipts", "rows": b"x" * (MAX_ROWS_BYTES + 1)}, "bytes at once"),
        ({"table": "queries", "rows": SENT}, "columns"),
        ({"table": "receipts", "rows": to_ipc(pa.table({"n": [1]}))}, "columns"),
    ],
)
def test_what_no_worker_sends_is_refused_in_words(message, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        rows_of(message)


def test_columns_of_another_type_or_order_are_refused():
    table = table_of([receipt(1)], Receipt)
    for other in (
        table.cast(table.schema.set(2, pa.field("n", pa.int32()))),
        table.select(table.schema.names[::-1]),
    ):
        with pytest.raises(ValueError, match="columns"):
            rows_of({"table": "receipts", "rows": to_ipc(other)})


def test_missing_values_unknown_words_and_too_many_rows_are_refused():
    table = table_of([receipt(1)], Receipt)
    empty = table.set_column(2, table.schema.field(2), pa.array([None], table.schema.field(2).type))
    wild = table_of([receipt(1, outcome="wild")], Receipt)
    many = table_of([receipt(n) for n in range(MAX_ROWS + 1)], Receipt)
    for other, said in ((empty, "missing"), (wild, "outcome"), (many, "rows at once")):
        with pytest.raises(ValueError, match=said):
            rows_of({"table": "receipts", "rows": to_ipc(other)})


@given(st.data())
def test_a_message_with_any_bytes_changed_is_sound_or_a_value_error(data):
    content = bytearray(SENT)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        _, rows = rows_of({"table": "receipts", "rows": bytes(content)})
    except ValueError:
        return
    assert rows.schema.equals(schema_of(Receipt))
    rows.to_pylist()


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
