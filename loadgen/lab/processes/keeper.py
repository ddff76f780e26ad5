"""Starts parts of the lab again that ended by themselves, as Kubernetes does with containers, and remembers which."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from loadgen.lab.processes.manager import Lab
from loadgen.lab.state import LabError
from loadgen.model import Component

EVERY_S = 0.5


class LabKeeper:
    """Watches the parts of a lab in a thread of its own while it is open."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._crashed: list[str] = []
        self._over = threading.Event()

    @contextlib.contextmanager
    def open(self) -> Iterator[LabKeeper]:
        """Watch for a while."""
        thread = threading.Thread(target=self._watch, name="keeper", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join(timeout=90)

    def crashed(self) -> tuple[str, ...]:
        """What ended by itself since this was asked last, in order."""
        found = tuple(dict.fromkeys(self._crashed))
        self._crashed.clear()
        return found

    def _watch(self) -> None:
        known = {component.value for component in Component}
        while not self._over.wait(EVERY_S):
            # What cannot be started again stays away, and the stack does not recover: the search tells that.
            with contextlib.suppress(LabError):
                for status in self._lab.status():
                    if not status.running and status.name in known and not self._over.is_set():
                        self._crashed.append(status.name)
                        self._lab.start(status.name, until_ready=False)
