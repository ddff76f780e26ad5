"""Which users' data is looked for in S3."""

from __future__ import annotations

from dataclasses import replace

from loadgen.buckets.wanted import wanted_of
from loadgen.config import Target, parse_profile
from loadgen.history.naming import new_info
from loadgen.model import RunKey, Signal

PROFILE = parse_profile({"logs": {"users": 3}, "metrics": {"users": 2}, "traces": {"users": 1}}, "test")
INFO = new_info(RunKey("r", 1, 1), PROFILE, Target(), "test")


def test_one_process_numbers_its_users_without_gaps() -> None:
    assert wanted_of(INFO, 1).users[Signal.LOGS] == (0, 1, 2)


def test_several_workers_may_leave_gaps_in_the_numbers_of_their_users() -> None:
    # Two workers take every second number each, whoever of them gets how many users.
    assert set(wanted_of(replace(INFO, workers=2), 1).users[Signal.LOGS]) >= {0, 1, 3}


def test_once_it_is_known_who_sent_only_those_are_looked_for() -> None:
    sent = {Signal.LOGS: (0, 1, 3), Signal.METRICS: (0, 3), Signal.TRACES: ()}
    assert wanted_of(replace(INFO, workers=2), 1, sent).users == sent
