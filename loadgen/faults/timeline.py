"""The faults of a profile, one after the other, each with its window: injected, healed, queries work again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from loadgen.clock import Clock
from loadgen.faults import Around, Disruptor, DisruptorError, Fault, FaultSettings, fault_of
from loadgen.model import NS, Component, FaultWindow

PING_EVERY_S = 0.1
# A recovery that takes longer than it may is still worth knowing: how long it took, and when the component was back.
GIVE_UP_FACTOR = 3
# Once the run is being ended, a component that was healed a moment ago gets so long to answer.
PING_AFTER_END_S = 10.0


class Timeline:
    """Runs faults when they are due.

    Args:
        faults: what to do; times count from ``began_ns``.
        disruptor: how; None when there is no way to disturb the target: then nothing happens.
        ping: a small query of a component through the way that people use; returns an empty text when it worked.
        sleep: waits; may return early when the run is being ended.
        stop: the run is being ended: no new fault begins, a begun one is healed.
        give_up_s: a recovery may take so long, of each component or of all; three times that is waited for, or until
            a moment after the run is ended.
        on_window: told of every fault right before it is injected, with an unfinished window, and once more when the
            window is complete. Whatever ends loadgen in between, the queries that fail then have their reason.
    """

    def __init__(
        self,
        faults: Sequence[FaultSettings],
        disruptor: Disruptor | None,
        ping: Callable[[Component], str],
        clock: Clock,
        sleep: Callable[[float], None],
        stop: Callable[[], bool],
        on_window: Callable[[FaultWindow], None],
        give_up_s: float | Callable[[Component], float],
    ) -> None:
        self._faults = sorted(faults, key=lambda fault: fault.at)
        self._disruptor, self._ping = disruptor, ping
        self._clock, self._sleep, self._stop = clock, sleep, stop
        self._on_window = on_window
        self._give_up_s = give_up_s if callable(give_up_s) else lambda _: give_up_s

    def run(self, began_ns: int) -> None:
        """Work through the faults; returns after the last window is complete or the run is being ended."""
        disruptor = self._disruptor
        if disruptor is None:
            return
        for fault in self._faults:
            due_ns = began_ns + round(fault.at * NS)
            while self._clock() < due_ns and not self._stop():
                self._sleep(min(0.2, (due_ns - self._clock()) / NS))
            if self._stop():
                return
            self._one(fault, fault_of(fault, Around(disruptor, self._ping)))

    def _one(self, settings: FaultSettings, fault: Fault) -> None:
        began_ns = self._clock()
        windows = [FaultWindow(settings.kind, one, began_ns, 0, 0, 0, "", unfinished=True) for one in fault.affects]
        for window in windows:
            self._on_window(window)
        healed_ns, error, what = 0, "", settings.kind
        try:
            what = fault.inject()
            try:
                up_again_ns = self._clock() + round(settings.down * NS)
                while self._clock() < up_again_ns and not self._stop():
                    self._sleep(max(0.0, min(0.2, (up_again_ns - self._clock()) / NS)))
            finally:
                fault.heal()
            healed_ns = self._clock()
        except DisruptorError as problem:
            error = str(problem)
        for window in windows:
            done = replace(window, fault=what, healed_ns=healed_ns, error=error, unfinished=False)
            self._on_window(self._until_it_answers(done, fault))

    def _until_it_answers(self, window: FaultWindow, fault: Fault) -> FaultWindow:
        """A window with the first query that worked. It is asked also when healing is said to have failed: somebody
        else may have healed it.
        """
        component, failed, answered_ns = Component(window.component), 0, 0
        give_up_ns = window.began_ns + round(GIVE_UP_FACTOR * self._give_up_s(component) * NS)
        ending = False
        while not answered_ns and self._clock() < give_up_ns:
            if not ending and self._stop():
                ending, give_up_ns = True, min(give_up_ns, self._clock() + round(PING_AFTER_END_S * NS))
            if fault.ping(component) == "":
                answered_ns = self._clock()
            else:
                failed += 1
                self._sleep(PING_EVERY_S)
        return replace(window, query_ok_ns=answered_ns, query_failed=failed)
