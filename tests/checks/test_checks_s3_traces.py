"""Blocks that tell the numbers of the traces they hold say the same as blocks with the ids themselves."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from made_history import Made, good_run

from loadgen.checks.s3_match import s3_coverage
from loadgen.history.held import pack
from loadgen.model import Signal, StoredObject


def packed(made: Made, block: StoredObject) -> StoredObject:
    """The same block as the watcher stores it now."""
    source = made.plan.traces
    held = {}
    there = np.frombuffer(block.ids, "S16")
    for user in range(2):
        ids = np.ascontiguousarray(source.ids_of(user, np.arange(400))).view("S16").ravel()
        held[user] = np.flatnonzero(np.isin(ids, there))
    return replace(block, ids=b"", traces=pack(held))


def shuffled(seed: int) -> Made:
    """A run whose traces are in many blocks, some twice, some nowhere, some compacted, some too old."""
    made = good_run(run="blocks")
    chance = random.Random(seed)
    for number, block in enumerate(list(made.objects)):
        if block.component == "tempo":
            ids = [block.ids[at : at + 16] for at in range(0, len(block.ids), 16)]
            kept = [one for one in ids if chance.random() < 0.97]
            made.objects[number] = replace(
                block,
                ids=b"".join(kept),
                compacted=chance.random() < 0.3,
                modified_ns=block.modified_ns - (30_000_000_000 if chance.random() < 0.2 else 0),
            )
            again = b"".join(one for one in ids if chance.random() < 0.5)
            made.objects.append(
                replace(block, key=f"{block.key}-again", ids=again, modified_ns=block.modified_ns + 10**9)
            )
    return made


@pytest.mark.parametrize("seed", range(6))
def test_batches_are_found_alike_by_numbers_and_by_ids(seed: int) -> None:
    made = shuffled(seed)
    by_id = s3_coverage(made.history(), made.plan, Signal.TRACES)
    made.objects = [packed(made, one) if one.component == "tempo" else one for one in made.objects]
    by_number = s3_coverage(made.history(), made.plan, Signal.TRACES)
    assert 0 < (by_id.stored_ns > 0).sum() < by_id.accepted
    for name in ("user", "n", "stored_ns", "exact", "maybe"):
        assert getattr(by_id, name).tolist() == getattr(by_number, name).tolist()


def test_a_run_verified_again_by_a_later_version_has_blocks_of_both_kinds() -> None:
    made = shuffled(1)
    before = s3_coverage(made.history(), made.plan, Signal.TRACES).stored_ns.tolist()
    made.objects = [
        packed(made, one) if at % 2 and one.component == "tempo" else one for at, one in enumerate(made.objects)
    ]
    assert s3_coverage(made.history(), made.plan, Signal.TRACES).stored_ns.tolist() == before
