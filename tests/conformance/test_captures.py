"""Every recorded case of the real servers, asked again of the stack."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from captured import SERVER_OF, load
from known import EMBEDDED, REAL, UNKNOWN
from replaying import Replay
from stacks import Stack

CASES = [(file, case.name) for file in SERVER_OF for case in load(file)]


@pytest.mark.parametrize(("file", "name"), CASES, ids=lambda value: value)
def test_the_answer_is_the_recorded_one(
    file: str, name: str, stack: Stack, replay: Replay, count: Callable[[str, str, str], None]
) -> None:
    reason = stack.missing.get(SERVER_OF[file])
    if reason:
        count(file, "skipped", "")
        pytest.skip(reason)
    outcome = replay.outcomes(file)[name]
    if outcome.known is None:
        count(file, "different" if outcome.found else "same", "")
        assert not outcome.found
        return
    count(file, "different, known" if outcome.found else "same", f"{name}: {outcome.known.reason}")
    if stack.engines[SERVER_OF[file]] == UNKNOWN and not outcome.found:
        return
    assert sorted(outcome.found) == sorted(outcome.known.aspects), f"correct known.py: {outcome.found}"


def test_every_known_difference_is_of_a_case_that_there_is() -> None:
    entries = [(one.engine, one.file, one.case) for one in (*EMBEDDED, *REAL)]
    assert len(set(entries)) == len(entries)
    assert {(file, name) for _, file, name in entries} <= set(CASES)
    assert all(one.reason and one.aspects for one in (*EMBEDDED, *REAL))
    assert all((one.engine == "embedded") == (one in EMBEDDED) for one in (*EMBEDDED, *REAL))
