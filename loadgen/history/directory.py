"""The only reader and writer of ``reports/<run>/``: phases of a run meet here and nowhere else.

Rows are kept as Parquet, one table a kind of row. While a run goes on every writer appends small part files
(``parts/<table>-<writer>-<number>-<checksum>.arrow``: an Arrow stream, because a Parquet file of a few rows costs
twenty times as much to write and read), each written under another name and then renamed, so that a killed
process loses what it had not yet handed over and nothing else. A day makes 86,400 parts a table, so `RunDir.join` puts
them together while the run goes on, a minute and then an hour to a file, and `RunDir.compact` makes ``<table>.parquet``
of what there is. Readers read all of these, leave out files that are damaged, and say so.

A file that was joined names the parts that it holds, so a process that is killed before it removed them leaves nothing
that counts twice. Processes and threads that join take turns by a lock on a file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import itertools
import json
import os
import secrets
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from loadgen.history.values import ROWS, History, Row, RunInfo, schema_of, table_of
from loadgen.model import (
    ClockReading,
    FaultWindow,
    Outcome,
    QueryEnd,
    Result,
    RunKey,
    Signal,
    Verdict,
    WorkerGap,
)

_TABLE_OF: dict[type[Row], str] = {row: table for table, row in ROWS.items()}
_JOINED = "loadgen.joined"  # metadata of a joined file: the parts that it holds
JOIN_AT = 64
"""So many files of one size are joined into one of the next: parts of a second, files of a minute, files of an hour."""
_LEVELS = (".arrow", ".minute.parquet", ".hour.parquet")
GROUP_ROWS = 131_072
"""Rows of a row group: enough that a footer is small against its data, few enough that one fits into memory."""
_TRIES = 5
_WORDS = {"signal": frozenset(Signal), "outcome": frozenset(Outcome), "end": frozenset(QueryEnd)}


class RunDirError(Exception):
    """A run directory cannot be used; the text says which, why and what to do."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as problem:
        raise RunDirError(
            f"{path.parent}: cannot write here ({problem.strerror}); choose another folder with --out"
        ) from problem
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as problem:
        Path(name).unlink(missing_ok=True)
        raise RunDirError(
            f"{path}: cannot be written ({problem.strerror}); free some space or choose another folder with --out"
        ) from problem


class RunDir:
    """One run's folder. ``writer`` names the part files of this one; threads may append to it at the same time."""

    def __init__(self, path: Path, writer: str = "main") -> None:
        self.path = path
        # The random part tells this writer from an earlier one with its process id, whose parts are joined already.
        self._writer = f"{writer}-{os.getpid()}-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        self._names: dict[Path, tuple[tuple[int, int], frozenset[str]]] = {}

    @classmethod
    def create(cls, path: Path, info: RunInfo, writer: str = "main") -> RunDir:
        """A new run's folder; RunDirError when it cannot be written or holds another run."""
        if (path / "run.json").exists():
            raise RunDirError(f"{path}: already holds a run; choose another folder with --out")
        run = cls(path, writer)
        run.write_info(info)
        return run

    @classmethod
    def open(cls, path: Path, writer: str = "main") -> RunDir:
        """An existing run's folder; RunDirError when there is none."""
        if not (path / "run.json").is_file():
            there = sorted(p.parent.name for p in path.parent.glob("*/run.json"))[-5:] if path.parent.is_dir() else []
            hint = f"; runs here: {', '.join(there)}" if there else ""
            raise RunDirError(f"{path}: no run here (run.json is missing){hint}")
        return cls(path, writer)

    # -- what the run is -------------------------------------------------------------------------------------------

    def write_info(self, info: RunInfo) -> None:
        """Store ``run.json``."""
        text = json.dumps(dataclasses.asdict(info), indent=2, ensure_ascii=False, default=str)
        write_atomically(self.path / "run.json", text.encode() + b"\n")

    def info(self) -> RunInfo:
        """Read ``run.json``; RunDirError when it is damaged."""
        path = self.path / "run.json"
        try:
            raw = json.loads(path.read_bytes())
            key = RunKey(
                str(raw["key"]["run"]),
                int(raw["key"]["seed"]),
                int(raw["key"]["began_ns"]),
                str(raw["key"].get("series_of", "")),
            )
            return RunInfo(
                key=key,
                profile=dict(raw["profile"]),
                overridden=tuple(raw["overridden"]),
                target=dict(raw["target"]),
                target_source=str(raw["target_source"]),
                engines=dict(raw["engines"]),
                versions=dict(raw["versions"]),
                load_ended_ns=int(raw["load_ended_ns"]),
                verified_ns=int(raw["verified_ns"]),
                interrupted=bool(raw["interrupted"]),
                notes=tuple(raw["notes"]),
                workers=int(raw.get("workers", 1)),
                users={str(signal): int(count) for signal, count in dict(raw.get("users", {})).items()},
                clocks=tuple(ClockReading(**one) for one in raw.get("clocks", ())),
                gaps=tuple(WorkerGap(**one) for one in raw.get("gaps", ())),
                deployment=dict(raw.get("deployment", {})),
            )
        except OSError as problem:
            raise RunDirError(f"{path}: cannot be read ({problem.strerror})") from problem
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise RunDirError(f"{path}: damaged ({problem!r}); without it nothing of the run can be told") from problem

    # -- rows ------------------------------------------------------------------------------------------------------

    def append(self, rows: Sequence[Row]) -> None:
        """Store rows of one type as a part; they are on disk when this returns."""
        if rows:
            self.append_table(_TABLE_OF[type(rows[0])], table_of(rows, type(rows[0])))

    def append_table(self, table: str, rows: pa.Table) -> None:
        """Store an Arrow table with the columns of ``table`` as a part."""
        content = to_ipc(rows)
        name = f"{table}-{self._writer}-{next(self._numbers):06d}-{zlib.crc32(content):08x}{_LEVELS[0]}"
        write_atomically(self.path / "parts" / name, content)

    def replace(self, table: str, rows: Sequence[Row]) -> None:
        """Let ``rows`` be all there is of a table."""
        with self._turn():
            self._write(self.path / f"{table}.parquet", table, [table_of(rows, ROWS[table])], self._parts(table))

    def join(self, tables: Sequence[str] = tuple(ROWS)) -> None:
        """Put together what has gathered while the run goes on; quick when it is called about every minute.

        Files of a second become one of a minute when there are `JOIN_AT`, those become one of an hour. The newest
        stay as they are until there are enough of them.
        """
        with self._turn():
            for table in tables:
                for level, above in itertools.pairwise(_LEVELS):
                    self._join_level(table, level, above)

    def _join_level(self, table: str, level: str, above: str) -> None:
        waiting = [path for path in self._parts(table) if path.name.endswith(level)]
        while len(waiting) >= JOIN_AT:
            taken, waiting = waiting[:JOIN_AT], waiting[JOIN_AT:]
            good = [(path, read) for path in taken if (read := _read(path, ROWS[table])) is not None]
            if len(good) > 1:
                first = good[0][0].name.removesuffix(level)
                whole = pa.concat_tables([read for _, read in good])
                self._write(self.path / "parts" / f"{first}{above}", table, [whole], [path for path, _ in good])

    def compact(self, tables: Sequence[str] = tuple(ROWS)) -> None:
        """Join all there is of each table into ``<table>.parquet``; memory holds a row group, not the table.

        A whole file that is damaged stays, and the parts beside it.
        """
        with self._turn():
            for table in tables:
                whole, parts = self.path / f"{table}.parquet", self._parts(table)
                if not parts or (whole.exists() and not _is_whole(whole, ROWS[table])):
                    continue
                joined: list[Path] = []
                self._write(whole, table, self._contents(table, whole, parts, joined), joined)

    def _contents(self, table: str, whole: Path, parts: Sequence[Path], joined: list[Path]) -> Iterator[pa.Table]:
        """What is to be joined, a piece at a time; the parts that could be read are added to ``joined``."""
        if whole.exists():
            with pq.ParquetFile(whole, page_checksum_verification=True) as file:
                for number in range(file.num_row_groups):
                    yield _fitted(file.read_row_group(number), ROWS[table])
        for path in parts:
            read = _read(path, ROWS[table])
            if read is not None:
                joined.append(path)
                yield read

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Only one process or thread joins at a time, and it first removes what one before it left behind."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            lock = (self.path / ".joining").open("wb")
        except OSError as problem:
            raise RunDirError(f"{self.path}: cannot write here ({problem.strerror}); the parts are kept") from problem
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for table in ROWS:
                for path in self._left_behind(table):
                    path.unlink(missing_ok=True)
            yield

    def _write(self, target: Path, table: str, contents: Iterable[pa.Table], joined: Sequence[Path]) -> None:
        """Write a file in row groups of at least `GROUP_ROWS` and remove the parts that it replaces, which it names."""
        temporary = target.with_name(f".{target.name}.new")
        try:
            with pq.ParquetWriter(
                temporary, schema_of(ROWS[table]), compression="zstd", write_page_checksum=True
            ) as writer:
                for group in _groups(contents):
                    writer.write_table(group)
                writer.add_key_value_metadata({_JOINED: json.dumps([path.name for path in joined])})
            temporary.replace(target)
        except OSError as problem:
            temporary.unlink(missing_ok=True)
            raise RunDirError(f"{target}: cannot be written ({problem.strerror}); the parts are kept") from problem
        for path in joined:
            path.unlink(missing_ok=True)
            self._names.pop(path, None)

    def _listed(self, table: str) -> list[Path]:
        return sorted(
            path for path in (self.path / "parts").glob(f"{table}-*") if path.suffix in (_LEVELS[0], ".parquet")
        )

    def _held(self, table: str, listed: Sequence[Path]) -> set[str]:
        """The names of the parts that joined files hold."""
        joined = [self.path / f"{table}.parquet", *(path for path in listed if path.suffix == ".parquet")]
        return {name for path in joined for name in self._names_of(path)}

    def _names_of(self, path: Path) -> frozenset[str]:
        """The parts that a joined file holds; each file is read once, because all of them are asked every minute."""
        try:
            found = path.stat()
        except OSError:
            self._names.pop(path, None)
            return frozenset()
        stamp = (found.st_ino, found.st_mtime_ns)
        known = self._names.get(path)
        if known is None or known[0] != stamp:
            known = self._names[path] = (stamp, _names_of(path))
        return known[1]

    def _left_behind(self, table: str) -> list[Path]:
        """Parts that are in a joined file already, because somebody was killed before they were removed."""
        listed = self._listed(table)
        held = self._held(table, listed)
        return [path for path in listed if path.name in held]

    def _parts(self, table: str) -> list[Path]:
        """The files of a table that are not yet in its whole file."""
        listed = self._listed(table)
        held = self._held(table, listed)
        return [path for path in listed if path.name not in held]

    def rows(self, table: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """All rows of a table, and the names of files that are damaged and were left out."""
        for _ in range(_TRIES):
            good, damaged, gone = self._read_all(table)
            # What vanished while we read has just been joined by another: its rows are in a file not yet seen.
            if not gone:
                break
        joined = pa.concat_tables(good) if good else schema_of(ROWS[table]).empty_table()
        frame: pd.DataFrame = joined.to_pandas()
        return frame, tuple(damaged)

    def _read_all(self, table: str) -> tuple[list[pa.Table], list[str], bool]:
        good: list[pa.Table] = []
        damaged: list[str] = []
        whole = self.path / f"{table}.parquet"
        parts = self._parts(table)
        before = _names_of(whole)
        for path in [whole, *parts] if whole.exists() else parts:
            read = _read(path, ROWS[table])
            if read is None:
                damaged.append(str(path.relative_to(self.path)))
            else:
                good.append(read)
        gone = any(not (self.path / name).exists() for name in damaged) or _names_of(whole) != before
        return good, damaged, gone

    def files(self) -> tuple[Path, ...]:
        """All whole files of the run, without the parts that are not joined yet."""
        return tuple(sorted(path for path in self.path.iterdir() if path.is_file() and not path.name.startswith(".")))

    # -- faults, verdicts, history ---------------------------------------------------------------------------------

    def write_faults(self, faults: Sequence[FaultWindow]) -> None:
        """Store ``faults.json``."""
        text = json.dumps([dataclasses.asdict(fault) for fault in faults], indent=2)
        write_atomically(self.path / "faults.json", text.encode() + b"\n")

    def faults(self) -> tuple[FaultWindow, ...]:
        """Read ``faults.json``; RunDirError when it is damaged."""
        path = self.path / "faults.json"
        if not path.exists():
            return ()
        try:
            return tuple(_fault(raw) for raw in json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError) as problem:
            raise RunDirError(f"{path}: damaged ({problem})") from problem

    def history(self) -> History:
        """Everything stored of the run."""
        info = self.info()
        frames: dict[str, pd.DataFrame] = {}
        damaged: list[str] = []
        for table in ROWS:
            frames[table], bad = self.rows(table)
            damaged += bad
        try:
            faults = self.faults()
        except RunDirError as problem:
            faults, damaged = (), [*damaged, str(problem)]
        return History(info=info, faults=faults, damaged=tuple(damaged), **frames)

    def write_verdicts(self, verdicts: Sequence[Verdict], outcome: Result) -> None:
        """Store ``verdicts.json``."""
        write_atomically(self.path / "verdicts.json", verdicts_json(self.info().key.run, verdicts, outcome))


def _fault(raw: Mapping[str, Any]) -> FaultWindow:
    window = FaultWindow(**raw)
    for name, kind in get_type_hints(FaultWindow).items():
        if not isinstance(getattr(window, name), kind):
            raise TypeError(f"{name} is {getattr(window, name)!r}")
    return window


def to_ipc(rows: pa.Table) -> bytes:
    """A table as an Arrow stream: for a part, or for another process."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _from_stream(path: Path) -> pa.Table:
    """The rows of a part; ValueError when its content is not what its name says."""
    content = path.read_bytes()
    if f"{zlib.crc32(content):08x}" != path.stem.rpartition("-")[2]:
        raise ValueError(f"{path}: damaged")
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


def _fitted(read: pa.Table, row: type[Row]) -> pa.Table:
    """A stored table with the columns of its row type; one that an earlier version did not know has its default."""
    schema = schema_of(row)
    for one in dataclasses.fields(row):
        if one.name not in read.column_names and one.default is not dataclasses.MISSING:
            same = pa.array([one.default] * len(read), type=schema.field(one.name).type)
            read = read.append_column(one.name, same)
    return read.select(schema.names).cast(schema)


def _read(path: Path, row: type[Row]) -> pa.Table | None:
    """A table's file with the expected columns, or None when it is damaged."""
    try:
        is_part = path.suffix == _LEVELS[0]
        read = _from_stream(path) if is_part else pq.read_table(path, page_checksum_verification=True)
        read = _fitted(read, row)
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None
    return None if unsound_columns(read) else read


def unsound_columns(table: pa.Table) -> list[str]:
    """The columns with values that are missing, or with words that nobody knows."""
    return [name for name in table.schema.names if not _is_sound(name, table.column(name))]


def _is_whole(path: Path, row: type[Row]) -> bool:
    """Whether every row group of a file can be read; one at a time, so that memory stays flat."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for number in range(file.num_row_groups):
                _fitted(file.read_row_group(number), row)
    except (OSError, pa.ArrowException, KeyError):
        return False
    return True


def _groups(contents: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in pieces of at least `GROUP_ROWS`, but for the last."""
    gathered: list[pa.Table] = []
    rows = 0
    for content in contents:
        gathered.append(content)
        rows += len(content)
        if rows >= GROUP_ROWS:
            yield pa.concat_tables(gathered)
            gathered, rows = [], 0
    if gathered:
        yield pa.concat_tables(gathered)


def _names_of(path: Path) -> frozenset[str]:
    """The parts that a joined file holds; none where it is damaged, and then every part that is left counts."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return frozenset(json.loads(metadata.get(_JOINED.encode(), b"[]")))
    except (OSError, pa.ArrowException, ValueError):
        return frozenset()


def _is_sound(name: str, column: pa.ChunkedArray) -> bool:
    """No value is missing, and a word that stands for a kind of thing is known."""
    known = _WORDS.get(name)
    return column.null_count == 0 and (known is None or known.issuperset(column.unique().to_pylist()))


def verdicts_json(name: str, verdicts: Sequence[Verdict], outcome: Result) -> bytes:
    """Verdicts as JSON for other programs; ``name`` is the run's."""
    content = {
        "run": name,
        "outcome": outcome.value,
        "verdicts": [
            {
                "check": verdict.check,
                "promise": verdict.promise,
                "outcome": verdict.result.value,
                "objective": verdict.objective.text,
                "overridden": verdict.objective.overridden,
                "measured": verdict.measured,
                "value": verdict.value,
                "unit": verdict.objective.unit,
                "samples": verdict.samples,
                "requirements": list(verdict.requirements),
                "evidence": list(verdict.evidence),
                "remedy": verdict.remedy,
            }
            for verdict in verdicts
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"
