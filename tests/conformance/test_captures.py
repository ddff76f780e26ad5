"""Every recorded case of the real servers, asked again of the stack."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from captured import SERVER_OF, load
from known import EMBEDDED, REAL
from replaying import Replay

CASES = [(file, case.name) for file in SERVER_OF for case in load(file)]


@pytest.mark.parametrize(("file", "name"), CASES, ids=lambda value: value)
def test_the_answer_is_the_recorded_one(
    file: str, name: str, replay: Replay, count: Callable[[str, str, str], None]
) -> None:
    reason = replay.missing(file)
    if reason:
        count(file, "skipped", reason)
        pytest.skip(reason)
    outcome = replay.outcomes(file)[name]
    if outcome.skipped:
        count(file, "skipped", outcome.skipped)
        pytest.skip(outcome.skipped)
    if outcome.problem:
        count(file, "different", "")
    elif outcome.found and outcome.known is not None:
        count(file, "different, known", f"{name}: {outcome.known.reason}")
    elif outcome.missing is not None:
        count(file, "not built", outcome.missing.reason)
    else:
        count(file, "same", "")
    assert not outcome.problem


def test_every_known_difference_is_of_a_case_that_there_is() -> None:
    entries = [(one.engine, one.file, one.case) for one in (*EMBEDDED, *REAL)]
    assert len(set(entries)) == len(entries)
    assert {(file, name) for _, file, name in entries} <= set(CASES)
    assert all(one.reason and one.aspects for one in (*EMBEDDED, *REAL))
    assert all((one.engine == "embedded") == (one in EMBEDDED) for one in (*EMBEDDED, *REAL))
