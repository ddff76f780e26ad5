"""Notices that this machine stood still: a laptop that slept, a virtual machine that was paused, one short of memory.

Nothing that was timed meanwhile says anything about the stack. A thread that wants to wake up every second is the
witness, because it waits for nobody.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from loadgen.clock import Clock
from loadgen.history.directory import RunDir, RunDirError
from loadgen.model import NS, STOOD_STILL, StackSample

EVERY_S = 1.0
LEAST_S = 5.0
"""So much later than it wanted must the witness wake up; a busy machine makes it late too, but not by as much."""


class StandstillWatch:
    """A thread that leaves a `StackSample` in the run for each time that the machine stood still.

    Args:
        run: takes the samples.
        clock: epoch nanoseconds, one that goes on while the machine stands still.
        wait: waits so many seconds, or less if the watch is over, and says whether it is.
    """

    def __init__(self, run: RunDir, clock: Clock, wait: Callable[[float], bool] | None = None) -> None:
        self._run, self._clock = run, clock
        self._over = threading.Event()
        self._wait = wait or self._over.wait
        self._thread = threading.Thread(target=self._watch, name="standstill", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before_ns, over = self._clock(), False
        while not over:
            over = self._wait(EVERY_S)
            now_ns = self._clock()
            stood_s = (now_ns - before_ns) / NS - EVERY_S
            if stood_s >= LEAST_S:
                with contextlib.suppress(RunDirError):  # a full disk is told by whoever writes the next rows
                    self._run.append([StackSample("loadgen", STOOD_STILL, "", now_ns, stood_s)])
            before_ns = now_ns
