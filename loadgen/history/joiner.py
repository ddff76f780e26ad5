"""Joins the parts of a run beside the load, so that a day's run is some dozens of files at its end and not 86,400."""

from __future__ import annotations

import contextlib
import threading

from loadgen.history.directory import RunDir, RunDirError

EVERY_S = 60.0


class Joiner:
    """A thread that joins every minute. A full disk does not end it: the parts are kept, and tried again."""

    def __init__(self, run: RunDir, every_s: float = EVERY_S) -> None:
        self._run, self._every_s = run, every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._join, name="join", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after what is being joined."""
        self._over.set()
        self._thread.join()

    def _join(self) -> None:
        while not self._over.wait(self._every_s):
            with contextlib.suppress(RunDirError):  # told by whoever writes the next rows
                self._run.join()
