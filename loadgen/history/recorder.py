"""Rows on their way to the run directory: collected in memory for a moment, then handed on as one Arrow table.

The same recorder serves a process that writes the run directory itself and a Locust worker that sends its rows to the
master: only the sink differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from loadgen.history.directory import RunDir, to_ipc, unsound_columns, write_atomically
from loadgen.history.values import ROWS, Row, schema_of, table_of
from loadgen.model import Outcome, Signal

__all__ = [
    "Progress",
    "ProgressKeeper",
    "Recorder",
    "Sink",
    "from_ipc",
    "read_progress",
    "rows_of",
    "run_sink",
    "to_ipc",
]

Sink = Callable[[str, pa.Table], None]

# What a process sends at once: more rows go in several messages, and no row is larger than a few kilobytes.
MAX_ROWS = 10_000
MAX_ROWS_BYTES = 24 << 20
FROM_WORKERS = frozenset(("receipts", "queries", "sightings", "stack"))
_TABLES = {row: table for table, row in ROWS.items()}


class Recorder:
    """Collects rows; `flush` gives them to the sink. Not for several threads; greenlets are fine."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._rows: dict[str, list[Row]] = {table: [] for table in ROWS}

    def add(self, row: Row) -> None:
        """Keep a row until the next flush."""
        self._rows[_TABLES[type(row)]].append(row)

    def flush(self) -> None:
        """Hand everything on. Rows that the sink refuses are kept for the next time, and the error goes up."""
        for table, rows in self._rows.items():
            if rows:
                self._rows[table] = []
                try:
                    self._sink(table, table_of(rows, ROWS[table]))
                except BaseException:
                    # Also when a greenlet is ended here: what was not handed on is kept.
                    self._rows[table] = rows + self._rows[table]
                    raise


def from_ipc(content: bytes, schema: pa.Schema) -> pa.Table:
    """The table that `to_ipc` was given; ValueError when the bytes are damaged or hold another table."""
    try:
        with pa.ipc.open_stream(content) as reader:
            if not reader.schema.equals(schema):
                raise ValueError("the columns are not those of this table; are both of the same version?")
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, MemoryError) as problem:
        raise ValueError(f"damaged ({' '.join(str(problem).split())[:100]})") from problem
    return table


def rows_of(message: object) -> tuple[str, pa.Table]:
    """The table and rows in a worker's message; ValueError when it is anything else than a worker sends.

    The name becomes a file's, so only the known ones will do, each with its columns.
    """
    table, content = (message.get("table"), message.get("rows")) if isinstance(message, dict) else (None, None)
    if not isinstance(table, str) or table not in FROM_WORKERS:
        raise ValueError(f"workers have no table {str(table)[:40]!r}")
    if not isinstance(content, bytes):
        raise ValueError(f"{table}: no rows in it")
    if len(content) > MAX_ROWS_BYTES:
        raise ValueError(f"{table}: {len(content):,} bytes at once, more than {MAX_ROWS_BYTES:,}")
    try:
        rows = from_ipc(content, schema_of(ROWS[table]))
    except ValueError as problem:
        raise ValueError(f"{table}: {problem}") from problem
    if len(rows) > MAX_ROWS:
        raise ValueError(f"{table}: {len(rows):,} rows at once, more than {MAX_ROWS:,}")
    unsound = unsound_columns(rows)
    if unsound:
        raise ValueError(f"{table}: values are missing or unknown in {', '.join(unsound)}")
    return table, rows


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load has come, for display.

    ``began_ns`` is 0 until the first user may start. Counts are per signal.
    """

    began_ns: int
    at_ns: int
    users: int
    items: dict[str, int]
    plain_bytes: dict[str, int]
    batches: dict[str, int]
    failed: dict[str, int]
    ended: bool = False


class ProgressKeeper:
    """Counts receipts as they pass and writes ``progress.json``."""

    def __init__(self, path: Path, began_ns: int) -> None:
        self._path = path / "progress.json"
        self._began_ns = began_ns
        zero = {str(signal): 0 for signal in Signal}
        self._items, self._bytes, self._batches, self._failed = dict(zero), dict(zero), dict(zero), dict(zero)

    @property
    def accepted_batches(self) -> int:
        """Batches accepted so far, of all signals."""
        return sum(self._batches.values()) - sum(self._failed.values())

    def count(self, table: pa.Table) -> None:
        """Add a table of receipts."""
        grouped = table.group_by(["signal", "outcome"]).aggregate(
            [("items", "sum"), ("plain_bytes", "sum"), ("n", "count")]
        )
        for row in grouped.to_pylist():
            signal = row["signal"]
            self._batches[signal] += row["n_count"]
            if row["outcome"] == Outcome.ACCEPTED:
                self._items[signal] += row["items_sum"]
                self._bytes[signal] += row["plain_bytes_sum"]
            else:
                self._failed[signal] += row["n_count"]

    def write(self, now_ns: int, users: int, ended: bool = False) -> None:
        """Store the counts."""
        progress = Progress(self._began_ns, now_ns, users, self._items, self._bytes, self._batches, self._failed, ended)
        write_atomically(self._path, json.dumps(asdict(progress)).encode())


def read_progress(path: Path) -> Progress | None:
    """What `ProgressKeeper` stored last, or None when there is nothing (yet)."""
    try:
        return Progress(**json.loads((path / "progress.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def run_sink(run: RunDir, progress: ProgressKeeper) -> Sink:
    """A sink that stores rows in the run directory and counts receipts."""

    def sink(table: str, rows: pa.Table) -> None:
        run.append_table(table, rows)
        if table == "receipts":
            progress.count(rows)

    return sink
