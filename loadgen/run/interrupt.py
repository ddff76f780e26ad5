"""What Ctrl-C and SIGTERM mean for a run, and for several runs in a row."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Self


class Interrupt:
    """What SIGINT and SIGTERM ask for: each one ends the phase that runs, the third one ends everything.

    Before the first phase there is nothing to keep, so one is enough; while the program cleans up, none counts.
    """

    def __init__(self) -> None:
        self.count = 0
        self.changed = threading.Event()
        self._level = 0
        self._begun = self._leaving = False

    def __call__(self, *_: object) -> None:
        if self._leaving:
            return
        self.count += 1
        self.changed.set()
        if self.count >= 3 or not self._begun:
            self._leaving = True
            raise KeyboardInterrupt

    @property
    def requested(self) -> bool:
        """The person asked to come to an end at least once."""
        return self.count > 0

    def next_phase(self) -> None:
        """A new phase begins; it ends early when the person asks once more."""
        self._begun = True
        self._level = self.count
        self.changed.clear()

    def end_phase(self) -> bool:
        """The person asked to end the phase that began last."""
        return self.count > self._level

    def sleep(self, s: float) -> None:
        """Wait, or return at once when the phase is to end."""
        if not self.end_phase():
            self.changed.wait(s)

    @contextlib.contextmanager
    def installed(self) -> Iterator[Self]:
        """Handle both signals for a while; only possible in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Stop(Interrupt):
    """For several runs: once asked to stop, every phase of every run ends at once, but in order."""

    def __init__(self) -> None:
        super().__init__()
        # There is something to bring to an end from the start, a lab or what other runs found.
        self._begun = True

    def next_phase(self) -> None:
        """A new phase begins; it ends at once if the person asked to stop."""
        if not self.count:
            self.changed.clear()

    def end_phase(self) -> bool:
        """The person asked to stop."""
        return self.count > 0
