"""What lies between two steps of a search."""

from __future__ import annotations

import pytest
from fake_stack import BEGAN_NS, small_plan

from loadgen.capacity.session import reach_s
from loadgen.model import MS


@pytest.mark.parametrize("samples", [1, 4, 15])
def test_no_first_push_holds_a_sample_from_before_the_reach(samples: int) -> None:
    plan = small_plan(metrics={"users": 60, "push_every": 60, "samples_per_push": samples})
    source = plan.metrics
    oldest_ms = min(int(source.times_ms(source.batch(user, 0))[0]) for user in range(60))
    before_s = BEGAN_NS / MS / 1000 - oldest_ms / 1000
    # Users begin at different times, so the oldest sample lies within the reach by a share of the interval at most.
    assert before_s <= reach_s(plan) <= max(0, before_s) + 2


def test_without_metrics_nothing_reaches_back() -> None:
    assert reach_s(small_plan(metrics={"users": 0, "push_every": 60, "samples_per_push": 4})) == 0.0
