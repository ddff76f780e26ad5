"""What real servers wrote: a run of 24 s against Loki 3.7.6, Tempo 3.0.3 and Cortex 1.21 on SeaweedFS, flushed.

``data/s3`` holds the listing of the three buckets a minute later and the contents that the watcher reads. Tempo had
compacted its three blocks into one by then; of the originals, the last one is kept, as when the others have been
cleared away.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_s3 import FakeS3

from loadgen.buckets.watcher import S3Watcher
from loadgen.checks.s3_match import Coverage, s3_coverage
from loadgen.config import S3Target, parse_profile
from loadgen.history.directory import RunDir
from loadgen.history.values import RunInfo
from loadgen.model import NS, Outcome, Receipt, RunKey, Signal
from loadgen.plan import Plan, plan_of

DATA = Path(__file__).parents[1] / "data" / "s3"
RAW: dict[str, Any] = json.loads((DATA / "bucket.json").read_text())
KEY = RunKey(**RAW["key"])
PLAN = plan_of(KEY, parse_profile(RAW["profile"], "bucket.json"))


def bucket() -> FakeS3:
    s3 = FakeS3(max(row["modified_s"] for row in RAW["objects"]) * NS + 2 * NS)
    for row in RAW["objects"]:
        content = (DATA / row["file"]).read_bytes() if row["file"] else b"x" * row["size"]
        assert len(content) == row["size"]
        s3.put(row["bucket"], row["key"], content)
        s3.buckets[row["bucket"]][row["key"]] = (content, row["modified_s"] * NS)
    return s3


def receipts(plan: Plan) -> list[Receipt]:
    """Every planned batch, accepted soon after it was due."""
    rows = []
    ended_ns = plan.key.began_ns + round(plan.profile.run.duration * NS) - 1
    for signal in Signal:
        for user in range(plan.users(signal)):
            for n in range(plan.pace(signal, user).last_at(ended_ns) + 1):
                batch = plan.source(signal).batch(user, n)
                due, done = batch.due_ns, batch.due_ns + NS // 20
                names = (signal.value, user, n, due, batch.items, Outcome.ACCEPTED.value, "http")
                rows.append(Receipt(*names, due, due, due, done, 1, 0, 1, 1, 200, ""))
    return rows


def watched(path: Path, s3: FakeS3, began_ns: int = KEY.began_ns, run: str = KEY.run) -> RunDir:
    key = RunKey(run, KEY.seed, began_ns)
    info = RunInfo(key, RAW["profile"], (), {}, "test", {}, {}, load_ended_ns=RAW["load_ended_ns"])
    folder = RunDir.create(path / "run", info)
    watcher = S3Watcher(S3Target(endpoint="http://s3:9000"), folder, s3.clock, began_ns, client=lambda _: s3)
    for _ in range(3):
        watcher.poll_once()
    assert not watcher.problems
    return folder


@pytest.fixture
def coverages(tmp_path: Path) -> dict[Signal, Coverage]:
    run = watched(tmp_path, bucket())
    run.append(receipts(PLAN))
    history = run.history()
    return {signal: s3_coverage(history, PLAN, signal) for signal in Signal}


@pytest.mark.parametrize(("signal", "batches", "objects"), [("logs", 48, 5), ("traces", 24, 2), ("metrics", 48, 1)])
def test_every_batch_is_found_in_the_real_objects(
    coverages: dict[Signal, Coverage], signal: str, batches: int, objects: int
) -> None:
    coverage = coverages[Signal(signal)]
    assert (coverage.accepted, coverage.pending, coverage.objects) == (batches, 0, objects)
    assert coverage.unreadable == 0 and coverage.strangers == 0
    assert 0 < (coverage.delay_ns / NS).max() < 75


def test_chunks_and_cortex_blocks_tell_the_moment_itself(coverages: dict[Signal, Coverage]) -> None:
    assert coverages[Signal.LOGS].exact.all() and coverages[Signal.METRICS].exact.all()


def test_only_traces_of_the_original_that_is_left_are_dated_exactly(coverages: dict[Signal, Coverage]) -> None:
    coverage = coverages[Signal.TRACES]
    newest = np.sort(coverage.done_ns)[-4:]
    assert coverage.exact.sum() == 4 and set(coverage.done_ns[coverage.exact]) == set(newest)
    compacted = next(row for row in RAW["objects"] if "52cf47c5" in row["key"] and row["key"].endswith("/meta.json"))
    assert set(coverage.stored_ns[~coverage.exact]) == {compacted["modified_s"] * NS}


def test_the_same_objects_prove_nothing_for_another_run(tmp_path: Path) -> None:
    run = watched(tmp_path, bucket(), run="another")
    plan = plan_of(RunKey("another", KEY.seed, KEY.began_ns), PLAN.profile)
    run.append(receipts(plan))
    history = run.history()
    assert history.objects.empty
    for signal in Signal:
        coverage = s3_coverage(history, plan, signal)
        assert coverage.pending == coverage.accepted
    assert s3_coverage(history, plan, Signal.LOGS).strangers == 2


def test_a_run_that_begins_later_opens_none_of_them(tmp_path: Path) -> None:
    s3 = bucket()
    run = watched(tmp_path, s3, began_ns=KEY.began_ns + 3600 * NS)
    assert run.rows("objects")[0].empty and not s3.gets
