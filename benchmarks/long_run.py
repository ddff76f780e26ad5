"""What a long run costs to keep, to judge and to report: a run directory of the real writer, by a simulated clock.

    python -m benchmarks.long_run --profile soak --hours 24
    python -m benchmarks.long_run --profile nfr --hours 24 --part 30 --keep DIR

Every second of the run hands its rows on as the load does (or every so many, with ``--part``: a day of a fast profile
is written sooner then, and judged alike), and the parts are joined every minute as a run does. Rows are those of a
stack that keeps its promises. Prints one line of JSON: batches, files (left in the directory at the end of the load,
before the last join), write_s, join_s (all joining, also that while the run goes on), write_mb (the peak of writing),
judge_s, report_s, peak_mb (of judging and reporting, in a process of their own) and report_bytes. With ``--read`` a
directory that was kept is judged and reported again.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadgen.checks import judge, outcome
from loadgen.config import Profile, load_profile, parse_profile, parse_target
from loadgen.history.directory import RunDir
from loadgen.history.held import pack
from loadgen.history.naming import new_info
from loadgen.history.sampling import Draw, draw_of
from loadgen.history.values import Row, schema_of
from loadgen.kinds import kind_of
from loadgen.model import (
    HELD_DATA,
    KEPT_LOOK,
    MS,
    NS,
    PARTS_LOOK,
    Outcome,
    QueryEnd,
    QueryTiming,
    Receipt,
    RunKey,
    Sighting,
    Signal,
    StackSample,
    StoredObject,
)
from loadgen.plan import Plan, plan_of, push_bytes_of
from loadgen.report import write_report
from loadgen.run.locate import find_profile

BEGAN_NS = 1_790_000_000 * NS
JOIN_EVERY_S = 60
READ_BACK_S = 60
FLUSH_CHUNKS_S = 240
PANELS = {
    "loki": (("newest lines", 300.0), ("rate", 86_400.0)),
    "tempo": (("trace", 0.0), ("search", 3_600.0)),
    "mimir": (("instant", 0.0), ("range", 86_400.0), ("range", 604_800.0)),
}
TARGET = {
    "name": "simulated",
    "s3": {"endpoint": "http://127.0.0.1:1", "access_key_id": "x"},
    "loki": {"url": "http://127.0.0.1:1"},
}

Columns = dict[str, Any]


def table(row: type[Row], count: int, columns: Columns) -> pa.Table:
    """An Arrow table of ``count`` rows; a column that is one value is that value in every row."""
    schema = schema_of(row)
    arrays = []
    for field in schema:
        value = columns.get(field.name, "" if field.type == pa.string() else b"" if field.type == pa.binary() else 0)
        many = isinstance(value, np.ndarray | list)
        arrays.append(pa.array(value, field.type) if many else pa.repeat(pa.scalar(value, field.type), count))
    return pa.table(arrays, schema=schema)


class Simulated:
    """The rows of a run, second by second, without anything that was sent."""

    def __init__(self, plan: Plan, hours: float) -> None:
        self.plan = plan
        self.profile: Profile = plan.profile
        self.ended_ns = BEGAN_NS + round(hours * 3600 * NS)
        self._bytes = {
            one: round(push_bytes_of(plan, one, self.profile.users(one))) for one in Signal if self.profile.users(one)
        }
        self._draws = {one: self._draw(one) for one in self._bytes}

    def _draw(self, signal: Signal) -> Draw:
        """Which batches are compared in content, as reading back decides when it knows how many were sent."""
        paces = [self.plan.pace(signal, user) for user in range(self.profile.users(signal))]
        sent = sum(pace.last_at(self.ended_ns - 1) + 1 for pace in paces)
        items, verify = sent * self.plan.source(signal).batch(0, 0).items, self.profile.verify
        return draw_of(self.plan.key, signal, items, verify.sample, verify.max_compared)

    def pushes(self, begin_ns: int, end_ns: int) -> Iterator[tuple[Signal, Columns, int]]:
        """Of each signal the columns of the receipts that fall due in a time: the same whenever they are asked for."""
        rng = np.random.default_rng([3, begin_ns])
        for signal, size in self._bytes.items():
            users, ns, dues = [], [], []
            for one in range(self.profile.users(signal)):
                pace = self.plan.pace(signal, one)
                n = np.arange(pace.first_at(begin_ns), pace.last_at(end_ns - 1) + 1, dtype=np.int64)
                users.append(np.full(len(n), one))
                ns.append(n)
                dues.append(pace.due(0) + n * pace.interval_ns)
            user, n, due = (np.concatenate(parts) for parts in (users, ns, dues))
            sent = due + rng.integers(0, 2 * MS, len(n))
            done = sent + (rng.lognormal(1.5, 0.6, len(n)) * MS).astype(np.int64)
            yield (
                signal,
                {
                    "signal": str(signal), "user": user, "n": n, "due_ns": due, "sent_ns": sent, "last_sent_ns": sent,
                    "done_ns": done, "free_ns": due - MS, "attempts": 1, "plain_bytes": size, "wire_bytes": size // 3,
                    "items": self.plan.source(signal).batch(0, 0).items, "status": 204, "transport": "http",
                    "outcome": Outcome.ACCEPTED.value,
                },
                len(n),
            )  # fmt: skip

    def sightings(self, signal: Signal, pushed: Columns, count: int) -> Iterator[pa.Table]:
        """What reading back says of pushes, and the probes among them."""
        items, draw = pushed["items"], self._draws[signal]
        rng = np.random.default_rng([4, int(pushed["due_ns"][0])])
        compared = [items if draw.has(int(u), int(n)) else 0 for u, n in zip(pushed["user"], pushed["n"], strict=True)]
        whole: Columns = {
            "signal": str(signal), "user": pushed["user"], "n": pushed["n"], "where": "grafana", "phase": "verify",
            "acked_ns": pushed["done_ns"], "first_seen_ns": self.ended_ns + 3 * NS, "looked": 1, "expected": items,
            "found": items, "compared": compared, "unreadable": False,
        }  # fmt: skip
        yield table(Sighting, count, whole)
        each = max(1, round(self.profile.freshness.every * NS / self.plan.pace(signal, 0).interval_ns))
        probed = pushed["n"] % each == 0
        if probed.any():
            seen = pushed["done_ns"][probed] + rng.integers(20 * MS, 400 * MS, int(probed.sum()))
            for where in ("grafana", "search") if signal is Signal.TRACES else ("grafana",):
                some = {**whole, "user": pushed["user"][probed], "n": pushed["n"][probed], "phase": "probe"}
                some |= {"acked_ns": pushed["done_ns"][probed], "first_seen_ns": seen, "where": where, "compared": 0}
                yield table(Sighting, int(probed.sum()), some | {"last_absent_ns": pushed["done_ns"][probed]})

    def asked(self, begin_ns: int, end_ns: int) -> Iterator[pa.Table]:
        """Panels of the viewers and the profile's own queries that fall due in a time."""
        panels = [(component, *panel) for component, some in PANELS.items() for panel in some]
        refresh_ns = round(self.profile.dashboards.refresh * NS)
        rows: list[tuple[str, str, str, float, int]] = []
        for viewer in range(self.profile.dashboards.users):
            first = -(-(begin_ns - BEGAN_NS) // refresh_ns)
            for turn in range(first, -(-(end_ns - BEGAN_NS) // refresh_ns)):
                component, kind, span = panels[(viewer + turn) % len(panels)]
                rows.append((component, kind, "viewer", span, BEGAN_NS + turn * refresh_ns))
        for query in self.profile.queries:
            every_ns = round(query.every * NS)
            turns = range(-(-(begin_ns - BEGAN_NS) // every_ns), -(-(end_ns - BEGAN_NS) // every_ns))
            rows += [(query.component, query.title, "own", query.range, BEGAN_NS + turn * every_ns) for turn in turns]
        if rows:
            components, kinds, sources, spans, dues = (list(column) for column in zip(*rows, strict=True))
            rng = np.random.default_rng([5, begin_ns])
            sent = np.array(dues) + MS
            done = sent + (rng.lognormal(3.5, 0.7, len(rows)) * MS).astype(np.int64)
            columns: Columns = {
                "component": components, "kind": kinds, "source": sources, "range_s": spans, "due_ns": dues,
                "sent_ns": sent, "done_ns": done, "ok": True, "status": 200, "items": 100, "via": "grafana",
                "end": QueryEnd.ASKED.value,
            }  # fmt: skip
            yield table(QueryTiming, len(rows), columns)

    def objects(self, begin_ns: int, end_ns: int) -> Iterator[pa.Table]:
        """What reached S3 of the data of a time: a chunk of every stream, a block of traces, a block of metrics."""
        for signal in self._bytes:
            users = range(self.profile.users(signal))
            modified = end_ns + 20 * NS
            columns: Columns = {
                "component": str(kind_of(signal).store), "bucket": f"{kind_of(signal).store}-bucket",
                "size_bytes": 40_000,
                "modified_ns": modified, "first_seen_ns": modified + NS, "from_ns": begin_ns, "through_ns": end_ns,
                "items": 100, "compacted": False,
            }  # fmt: skip
            if signal is Signal.LOGS:
                streams = [self.plan.logs.fingerprint(user) for user in users]
                keys = [f"fake/{one}/{begin_ns // MS:x}:{end_ns // MS:x}:0" for one in streams]
                yield table(StoredObject, len(streams), columns | {"stream": streams, "key": keys})
                continue
            if signal is Signal.TRACES:
                held: Columns = {"traces": pack({user: self._numbers(user, begin_ns, end_ns) for user in users})}
            else:
                series = self.plan.metrics.load.series
                ids = b"".join(np.array([user, series], "<u4").tobytes() for user in users)
                held = {"cut_ns": modified - NS, "ids": ids}
            yield table(StoredObject, 1, columns | held | {"key": f"tenant/{begin_ns}"})

    def _numbers(self, user: int, begin_ns: int, end_ns: int) -> NDArray[np.int64]:
        """Of an emitter's traces, those of the batches that fall due in a time."""
        pace, each = self.plan.traces.pace(user), self.plan.traces.load.traces_per_batch
        return np.arange(pace.first_at(begin_ns) * each, (pace.last_at(end_ns - 1) + 1) * each, dtype=np.int64)

    def figures(self, at_ns: int) -> list[StackSample]:
        """What processes use, as it is told every second and scraped every 15 s."""
        second = (at_ns - BEGAN_NS) / NS
        names = ["loadgen"] if second % 15 else ["loadgen", "loki", "tempo", "mimir"]
        return [
            sample
            for name in names
            for sample in (
                StackSample(name, "process_cpu_seconds_total", "", at_ns, 3 + 0.1 * second),
                StackSample(name, "process_resident_memory_bytes", "", at_ns, 150e6),
            )
        ]

    def last(self) -> list[StackSample]:
        """What is known at the end: the buckets were listed, and the own queries had data."""
        rows = [
            StackSample("s3", look, f"component={one},bucket={one}-bucket", self.ended_ns + 600 * NS, 12.0)
            for look in ("last_listing", PARTS_LOOK, KEPT_LOOK)
            for one in PANELS
        ]
        return rows + [
            StackSample(one.component, HELD_DATA, one.title, self.ended_ns, 1.0) for one in self.profile.queries
        ]


def write(path: Path, name: str, hours: float, part_s: int) -> dict[str, Any]:
    """Make the run directory; gives what it holds and what joining took."""
    profile = load_profile(find_profile(name), {"run.duration": f"{round(hours * 3600)}s"})
    key = RunKey(f"{name}-simulated", profile.run.seed, BEGAN_NS)
    made = Simulated(plan_of(key, profile), hours)
    info = new_info(key, profile, parse_target(TARGET, "simulated"), "simulated")
    run = RunDir.create(path, replace(info, load_ended_ns=made.ended_ns, verified_ns=made.ended_ns + 600 * NS))
    began_s, join_s, joined_ns = time.monotonic(), 0.0, BEGAN_NS
    batches = 0
    chunk_ns = BEGAN_NS
    for begin_ns, end_ns in _pieces(made.ended_ns, part_s):
        receipts = [table(Receipt, count, columns) for _, columns, count in made.pushes(begin_ns, end_ns) if count]
        if receipts:
            batches += sum(len(one) for one in receipts)
            run.append_table("receipts", pa.concat_tables(receipts))
        for asked in made.asked(begin_ns, end_ns):
            run.append_table("queries", asked)
        run.append([sample for at_ns in range(begin_ns, end_ns, NS) for sample in made.figures(at_ns)])
        if end_ns - chunk_ns >= FLUSH_CHUNKS_S * NS or end_ns >= made.ended_ns:
            run.append_table("objects", pa.concat_tables(list(made.objects(chunk_ns, end_ns))))
            chunk_ns = end_ns
        if end_ns - joined_ns >= JOIN_EVERY_S * NS:
            join_s += _timed(run.join)
            joined_ns = end_ns
    files = sum(1 for _ in (path / "parts").iterdir())
    join_s += _timed(run.compact)
    # Reading back hands its sightings on a window at a time, and that is joined too.
    for window, (begin_ns, end_ns) in enumerate(_pieces(made.ended_ns, READ_BACK_S)):
        seen = [
            one
            for piece_ns, until_ns in _pieces(end_ns, part_s, begin_ns)
            for signal, columns, count in made.pushes(piece_ns, until_ns)
            if count
            for one in made.sightings(signal, columns, count)
        ]
        if seen:
            run.append_table("sightings", pa.concat_tables(seen))
        if window % 60 == 59:
            join_s += _timed(run.join)
    run.append(made.last())
    run.write_faults([])
    last_s = _timed(run.compact)
    return {
        "batches": batches,
        "files": files,
        "write_s": round(time.monotonic() - began_s - join_s - last_s, 1),
        "join_s": round(join_s + last_s, 1),
        "last_join_s": round(last_s, 1),
        "write_mb": _peak_mb(),
    }


def _pieces(until_ns: int, piece_s: int, begin_ns: int = BEGAN_NS) -> Iterator[tuple[int, int]]:
    """A time in pieces, the last one shorter if need be."""
    for at_ns in range(begin_ns, until_ns, piece_s * NS):
        yield at_ns, min(until_ns, at_ns + piece_s * NS)


def _peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def read(path: Path) -> dict[str, Any]:
    """Judge a run directory and report it, as the end of a run does."""
    run = RunDir.open(path)
    began_s = time.process_time()
    history = run.history()
    plan = plan_of(history.info.key, parse_profile(history.info.profile, "run.json"))
    verdicts = judge(history, plan)
    judged_s = time.process_time()
    run.write_verdicts(verdicts, outcome(verdicts))
    files = write_report(run, history, plan, verdicts)
    report = next(file for file in files if file.name == "report.html")
    return {
        "judge_s": round(judged_s - began_s, 1),
        "report_s": round(time.process_time() - judged_s, 1),
        "peak_mb": _peak_mb(),
        "report_bytes": report.stat().st_size,
        "not_passed": {one.check: one.result.value for one in verdicts if one.result.value not in ("pass", "skipped")},
    }


def _timed(work: Any) -> float:
    began_s = time.monotonic()
    work()
    return time.monotonic() - began_s


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="soak", help="a built-in profile (default: %(default)s)")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--part", type=int, default=1, help="seconds of the run that one part file holds")
    parser.add_argument("--keep", type=Path, help="make the directory here, and keep it")
    parser.add_argument("--read", type=Path, help="only judge and report a directory that was kept")
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(arguments.read)))
        return
    with tempfile.TemporaryDirectory(prefix="loadgen-long-") as folder:
        path = arguments.keep or Path(folder) / "run"
        written = write(path, arguments.profile, arguments.hours, arguments.part)
        command = [sys.executable, "-m", "benchmarks.long_run", "--read", str(path)]
        print(json.dumps({**written, **json.loads(subprocess.run(command, check=True, capture_output=True).stdout)}))


if __name__ == "__main__":
    main()
