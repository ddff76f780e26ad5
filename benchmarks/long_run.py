"""What a long run costs to keep, to judge and to report: a run directory of the real writer, by a simulated clock.

    python -m benchmarks.long_run --profile soak --hours 24

Every second of the run hands its rows on as the load does, and the parts are joined every minute as a run does. Rows
are those of a stack that keeps its promises. Prints one line of JSON: batches, files (left in the directory at the end
of the load, before the last join), write_s, join_s (all joining, also that while the run goes on), judge_s, report_s,
peak_mb (of judging and reporting, in a process of their own) and report_bytes.
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

from loadgen.checks import judge, outcome
from loadgen.config import Profile, load_profile, parse_profile, parse_target
from loadgen.history.directory import RunDir
from loadgen.history.naming import new_info
from loadgen.history.sampling import draw_of
from loadgen.history.values import Row, schema_of
from loadgen.model import (
    HELD_DATA,
    MS,
    NS,
    Outcome,
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
        if not isinstance(value, np.ndarray | list):
            value = [value] * count
        arrays.append(pa.array(value, field.type))
    return pa.table(arrays, schema=schema)


class Simulated:
    """The rows of a run, second by second, without anything that was sent."""

    def __init__(self, plan: Plan, hours: float) -> None:
        self.plan = plan
        self.profile: Profile = plan.profile
        self.ended_ns = BEGAN_NS + round(hours * 3600 * NS)
        self._rng = np.random.default_rng(3)
        self._bytes = {
            one: round(push_bytes_of(plan, one, self.profile.users(one))) for one in Signal if self.profile.users(one)
        }
        self.batches = 0

    def pushes(self, begin_ns: int, end_ns: int) -> Iterator[tuple[Signal, Columns, int]]:
        """Of each signal the columns of the receipts that fall due in a time."""
        for signal, size in self._bytes.items():
            users, ns, dues = [], [], []
            for one in range(self.profile.users(signal)):
                pace = self.plan.pace(signal, one)
                n = np.arange(pace.first_at(begin_ns), pace.last_at(end_ns - 1) + 1, dtype=np.int64)
                users.append(np.full(len(n), one))
                ns.append(n)
                dues.append(pace.due(0) + n * pace.interval_ns)
            user, n, due = (np.concatenate(parts) for parts in (users, ns, dues))
            sent = due + self._rng.integers(0, 2 * MS, len(n))
            done = sent + (self._rng.lognormal(1.5, 0.6, len(n)) * MS).astype(np.int64)
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
        verify, items = self.profile.verify, pushed["items"]
        total = items * round(self.profile.users(signal) * self.profile.run.duration)
        draw = draw_of(self.plan.key, signal, total, verify.sample, verify.max_compared)
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
            seen = pushed["done_ns"][probed] + self._rng.integers(20 * MS, 400 * MS, int(probed.sum()))
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
            sent = np.array(dues) + MS
            done = sent + (self._rng.lognormal(3.5, 0.7, len(rows)) * MS).astype(np.int64)
            columns: Columns = {
                "component": components, "kind": kinds, "source": sources, "range_s": spans, "due_ns": dues,
                "sent_ns": sent, "done_ns": done, "ok": True, "status": 200, "items": 100, "via": "grafana",
            }  # fmt: skip
            yield table(QueryTiming, len(rows), columns)

    def objects(self, begin_ns: int, end_ns: int) -> Iterator[pa.Table]:
        """What reached S3 of the data of a time: a chunk of every stream, a block of traces, a block of metrics."""
        for signal in self._bytes:
            users = range(self.profile.users(signal))
            modified = end_ns + 20 * NS
            columns: Columns = {
                "component": str(signal.component), "bucket": f"{signal.component}-bucket", "size_bytes": 40_000,
                "modified_ns": modified, "first_seen_ns": modified + NS, "from_ns": begin_ns, "through_ns": end_ns,
                "items": 100, "compacted": False,
            }  # fmt: skip
            if signal is Signal.LOGS:
                streams = [self.plan.logs.fingerprint(user) for user in users]
                keys = [f"fake/{one}/{begin_ns // MS:x}:{end_ns // MS:x}:0" for one in streams]
                yield table(StoredObject, len(streams), columns | {"stream": streams, "key": keys})
                continue
            if signal is Signal.TRACES:
                ids = [self._ids(user, begin_ns, end_ns) for user in users]
            else:
                series = self.plan.metrics.load.series
                ids = [b"".join(np.array([user, series], "<u4").tobytes() for user in users)]
                columns |= {"cut_ns": modified - NS}
            yield table(StoredObject, 1, columns | {"key": f"tenant/{begin_ns}", "ids": [b"".join(ids)]})

    def _ids(self, user: int, begin_ns: int, end_ns: int) -> bytes:
        source = self.plan.traces
        pace = source.pace(user)
        each = source.load.traces_per_batch
        seqs = np.arange(pace.first_at(begin_ns) * each, (pace.last_at(end_ns - 1) + 1) * each, dtype=np.int64)
        return source.ids_of(user, seqs).tobytes()

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
            StackSample("s3", "last_listing", f"component={one},bucket={one}-bucket", self.ended_ns + 60 * NS, 12.0)
            for one in PANELS
        ]
        return rows + [
            StackSample(one.component, HELD_DATA, one.title, self.ended_ns, 1.0) for one in self.profile.queries
        ]


def write(path: Path, name: str, hours: float) -> dict[str, Any]:
    """Make the run directory; gives what it holds and what joining took."""
    profile = load_profile(find_profile(name), {"run.duration": f"{round(hours * 3600)}s"})
    key = RunKey(f"{name}-simulated", profile.run.seed, BEGAN_NS)
    made = Simulated(plan_of(key, profile), hours)
    info = new_info(key, profile, parse_target(TARGET, "simulated"), "simulated")
    run = RunDir.create(path, replace(info, load_ended_ns=made.ended_ns, verified_ns=made.ended_ns + 60 * NS))
    began_s, join_s, batches = time.monotonic(), 0.0, 0
    pending: list[list[pa.Table]] = []
    chunk_ns = BEGAN_NS
    for second in range(round(hours * 3600)):
        begin_ns = BEGAN_NS + second * NS
        seen: list[pa.Table] = []
        receipts = []
        for signal, columns, count in made.pushes(begin_ns, begin_ns + NS):
            if count:
                receipts.append(table(Receipt, count, columns))
                seen += made.sightings(signal, columns, count)
                batches += count
        if receipts:
            run.append_table("receipts", pa.concat_tables(receipts))
        for asked in made.asked(begin_ns, begin_ns + NS):
            run.append_table("queries", asked)
        run.append(made.figures(begin_ns))
        pending.append(seen)
        if begin_ns + NS - chunk_ns >= FLUSH_CHUNKS_S * NS:
            for stored in made.objects(chunk_ns, begin_ns + NS):
                run.append_table("objects", stored)
            chunk_ns = begin_ns + NS
        if second % JOIN_EVERY_S == JOIN_EVERY_S - 1:
            join_s += _timed(run.join)
    for stored in made.objects(chunk_ns, made.ended_ns) if chunk_ns < made.ended_ns else ():
        run.append_table("objects", stored)
    files = sum(1 for _ in (path / "parts").iterdir())
    # Reading back hands its sightings on a window at a time.
    for start in range(0, len(pending), 60):
        some = [one for seen in pending[start : start + 60] for one in seen]
        if some:
            run.append_table("sightings", pa.concat_tables(some))
    run.append(made.last())
    run.write_faults([])
    last_s = _timed(run.compact)
    return {
        "batches": batches,
        "files": files,
        "write_s": round(time.monotonic() - began_s - join_s - last_s, 1),
        "join_s": round(join_s + last_s, 1),
        "last_join_s": round(last_s, 1),
    }


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
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
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
    parser.add_argument("--keep", type=Path, help="make the directory here, and keep it")
    parser.add_argument("--read", type=Path, help="only judge and report a directory that was kept")
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(arguments.read)))
        return
    with tempfile.TemporaryDirectory(prefix="loadgen-long-") as folder:
        path = arguments.keep or Path(folder) / "run"
        written = write(path, arguments.profile, arguments.hours)
        command = [sys.executable, "-m", "benchmarks.long_run", "--read", str(path)]
        print(json.dumps({**written, **json.loads(subprocess.run(command, check=True, capture_output=True).stdout)}))


if __name__ == "__main__":
    main()
