"""The clock that everything measured is read from."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]


def steady_clock() -> Clock:
    """Epoch nanoseconds that never jump: the wall clock's time at the start, moved on by the monotonic clock.

    Latencies stay right when the wall clock is set while a run goes on.
    """
    anchor_ns = time.time_ns() - time.monotonic_ns()
    return lambda: anchor_ns + time.monotonic_ns()
