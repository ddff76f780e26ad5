"""A run whose objects lie in buckets in memory, and the watcher of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from botocore.exceptions import ClientError
from fake_s3 import FakeS3, put_mimir_block, put_tempo_block

from loadgen.buckets.watcher import S3Watcher
from loadgen.config import S3Target, parse_profile
from loadgen.history.directory import RunDir
from loadgen.history.values import RunInfo
from loadgen.kinds.logs.source import fingerprint
from loadgen.kinds.metrics.source import Labels
from loadgen.model import MS, NS, RunKey
from loadgen.plan import Plan, plan_of

BEGAN_NS = 1_800_000_000 * NS
BEGAN_S = BEGAN_NS // NS
PROFILE: dict[str, Any] = {
    "logs": {"users": 3, "lines_per_s": 10},
    "metrics": {"users": 2, "series": 4},
    "traces": {"users": 1},
}
UUID = "31c02576-dc82-45d2-9619-d7c4039f0667"


class Bench:
    def __init__(self, path: Path, profile: dict[str, Any], target: dict[str, Any]) -> None:
        self.s3 = FakeS3(BEGAN_NS + 10 * NS)
        info = RunInfo(RunKey("r", 1, BEGAN_NS), {**PROFILE, **profile}, (), target, "test", {}, {})
        self.run = RunDir.create(path / "run", info)
        self.plan: Plan = plan_of(info.key, parse_profile(info.profile, "test"))
        self.ids = [one.tobytes() for one in self.plan.traces.trace_ids(self.plan.traces.batch(0, 2))[:3]]
        self.watcher = self.another()

    def another(self) -> S3Watcher:
        target = S3Target(endpoint="http://s3:9000", poll=0.01)
        return S3Watcher(target, self.run, self.s3.clock, BEGAN_NS, client=lambda _: self.s3)

    def end_load(self, after_s: float) -> None:
        self.run.write_info(replace(self.run.info(), load_ended_ns=BEGAN_NS + round(after_s * NS)))

    def put_chunk(self, user: int = 0, first_s: float = 0, last_s: float = 9, tenant: str = "fake", **more: Any) -> str:
        first, last = (BEGAN_NS // MS + round(at * 1000) for at in (first_s, last_s))
        added, content = more.pop("added", {}), more.pop("content", b"c" * 538)
        stream = fingerprint((*self.plan.logs.labels(user), *added.items()))
        key = f"{tenant}/{stream}/{first:x}:{last:x}:{len(self.s3.buckets['loki-chunks']):x}"
        self.s3.put("loki-chunks", key, content, **more)
        return key

    def put_traces(self, name: str = UUID, **more: Any) -> str:
        return put_tempo_block(self.s3, name, self.ids, BEGAN_S, BEGAN_S + 5, **more)

    def series(self, *users: int, **others: str) -> list[Labels]:
        rows = [labels for user in users for labels in self.plan.metrics.series(user)]
        return [tuple((name, others.get(name, value)) for name, value in labels) for labels in rows]

    def put_metrics(self, series: list[Labels] | None = None, from_s: float = BEGAN_S, **more: Any) -> str:
        rows = self.series(0, 1) if series is None else series
        return put_mimir_block(self.s3, rows, from_s, from_s + more.pop("length_s", 5), **more)

    def objects(self) -> pd.DataFrame:
        rows, damaged = self.run.rows("objects")
        assert not damaged
        return rows.sort_values("component", ignore_index=True)

    def requests(self) -> int:
        """Requests of one poll of the running watcher."""
        before = len(self.s3.lists) + len(self.s3.gets)
        self.watcher._poll(whole=False)
        self.watcher._store(force=True)
        return len(self.s3.lists) + len(self.s3.gets) - before


def made(path: Path, target: dict[str, Any] | None = None, **profile: Any) -> Bench:
    return Bench(path, profile, target or {})


def refused(code: str, status: int = 403) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetObject")
