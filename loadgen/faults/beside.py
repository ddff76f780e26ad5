"""The faults of a run in a thread beside the load, and their certain end: afterwards nothing writes any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from loadgen.model import FaultWindow

_LOOK_EVERY_S = 0.25


class FaultsBeside:
    """Keeps the windows that a timeline tells of, while it works in a thread.

    Args:
        store: takes all windows whenever one has changed; never called after the end.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self, store: Callable[[Sequence[FaultWindow]], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._monotonic = store, monotonic
        self._windows: list[FaultWindow] = []
        self._lock = threading.Lock()
        self._closed = False
        self._problem = ""
        self._thread: threading.Thread | None = None

    def keep(self, window: FaultWindow) -> None:
        """A fault is about to be injected (an unfinished window), or over (the same, complete)."""
        with self._lock:
            if self._closed:
                return
            same = [place for place, one in enumerate(self._windows) if _continues(window, one)]
            if same:
                self._windows[same[-1]] = window
            else:
                self._windows.append(window)
            self._store(tuple(self._windows))

    def start(self, run: Callable[[], None]) -> None:
        """Work through the faults."""
        self._thread = threading.Thread(target=self._work, args=(run,), name="faults", daemon=True)
        self._thread.start()

    def end(self, within_s: float, hurry: Callable[[], bool] = lambda: False) -> tuple[FaultWindow, ...]:
        """Wait for the fault that lasts, at most so long, and not at all once there is a ``hurry``; its windows.

        A thread that still heals something goes on with that, but tells nobody any more: its window stays unfinished.
        """
        give_up_s = self._monotonic() + within_s
        while self._thread is not None and self._thread.is_alive() and not hurry():
            left_s = give_up_s - self._monotonic()
            if left_s <= 0:
                break
            self._thread.join(min(_LOOK_EVERY_S, left_s))
        return self.close()

    def close(self) -> tuple[FaultWindow, ...]:
        """From now on nothing is kept; the windows so far."""
        with self._lock:
            self._closed = True
            return tuple(self._windows)

    @property
    def problems(self) -> tuple[str, ...]:
        """What a person has to know, or to do: a fault that is not over, not healed, or could not go on."""
        texts = [f"the faults ended before their time: {self._problem}"] if self._problem else []
        for window in self.close():
            what = f"the {window.fault} of {window.component}"
            if window.unfinished:
                texts.append(
                    f"{what} was not over when the load had ended, so nobody knows how it went on; see that "
                    f"{window.component} runs (in the lab: loadgen lab up)"
                )
            elif window.error:
                texts.append(f"{what} could not be healed: {window.error}")
        return tuple(texts)

    def _work(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as problem:  # noqa: BLE001 - it ends the faults and not the run; in a thread nobody would see it
            self._problem = f"{type(problem).__name__}: {problem}"


def _continues(window: FaultWindow, begun: FaultWindow) -> bool:
    """Whether a window tells how a begun one went on."""
    return begun.unfinished and (window.component, window.began_ns) == (begun.component, begun.began_ns)
