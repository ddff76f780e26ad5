"""How soon an acknowledged batch can be seen by people: looked for from its acknowledgement until it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from loadgen.config import Freshness
from loadgen.model import NS, Batch, Receipt, Sighting, Signal
from loadgen.plan import Plan
from loadgen.reading.kinds import READINGS
from loadgen.reading.looks import Look
from loadgen.targets.readers import Readers


class Prober:
    """Watches single batches become visible. Several probes may run at a time, each in its own thread or greenlet.

    Args:
        plan: what was sent.
        readers: whom to ask.
        settings: pause between two looks, which is the resolution of the result, and when to give up.
        clock: epoch nanoseconds.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        plan: Plan,
        readers: Readers,
        settings: Freshness,
        clock: Callable[[], int],
        sleep: Callable[[float], None],
    ) -> None:
        self._plan = plan
        self._readers = readers
        self._settings = settings
        self._clock = clock
        self._sleep = sleep

    def probe(self, receipt: Receipt, stop: Callable[[], bool] = lambda: False) -> tuple[Sighting, ...]:
        """Look for an acknowledged batch until all its items are visible, or the time for it is over, or ``stop()``.

        Gives one sighting for logs and metrics, and two for traces: by id, and by search. ``found`` is what the last
        successful look showed. Ended by ``stop()`` a sighting says so, and counts nothing as missing; if every look
        failed it is unreadable.
        """
        watching = self.watching(receipt)
        watching.look(stop)
        return watching.sightings()

    def watching(self, receipt: Receipt) -> Watching:
        """The same in two steps, so that what was seen can be told also of a probe that is ended in the middle."""
        batch = self._plan.source(Signal(receipt.signal)).batch(receipt.user, receipt.n)
        watches = tuple(_Watch(where, look) for where, look in self._looks(batch))
        give_up_ns = receipt.done_ns + round(self._settings.give_up * NS)
        return Watching(receipt, batch, watches, give_up_ns, self._settings.poll, self._clock, self._sleep)

    def not_made(self, receipt: Receipt, why: str, ended: bool = False) -> tuple[Sighting, ...]:
        """The sightings of a planned probe that nobody makes, so that it is not forgotten.

        ``ended``: because the load is over, which says nothing of the stack.
        """
        batch = self._plan.source(Signal(receipt.signal)).batch(receipt.user, receipt.n)
        detail = f"not made: {why}"
        return tuple(
            replace(_Watch(where, look).sighting(receipt, batch, True), unreadable=not ended, detail=detail)
            for where, look in self._looks(batch)
        )

    def _looks(self, batch: Batch) -> Sequence[tuple[str, Look]]:
        """Where a batch is looked for, and how."""
        return READINGS[batch.signal].looks(self._plan, self._readers, batch, self._clock)


@dataclass(slots=True)
class Watching:
    """One probe: the looks at a batch by all ways. ``sightings`` may be asked for at any time."""

    receipt: Receipt
    batch: Batch
    watches: Sequence[_Watch]
    give_up_ns: int
    poll_s: float
    clock: Callable[[], int]
    sleep: Callable[[float], None]
    over: bool = False

    def look(self, stop: Callable[[], bool]) -> None:
        """Look until all is visible, or the time for it is over, or ``stop()``."""
        while True:
            began_ns = self.clock()
            for watch in self.watches:
                if not watch.seen:
                    watch.look_again(self.batch.items)
            if all(watch.seen for watch in self.watches) or self.clock() >= self.give_up_ns:
                self.over = True
                return
            if stop():
                return
            self.sleep(max(0.0, self.poll_s - (self.clock() - began_ns) / NS))
            if stop():
                return

    def sightings(self) -> tuple[Sighting, ...]:
        """What was seen so far."""
        return tuple(watch.sighting(self.receipt, self.batch, stopped=not self.over) for watch in self.watches)


@dataclass(slots=True)
class _Watch:
    """The looks at one batch by one way."""

    where: str
    look: Look
    looked: int = 0
    succeeded: int = 0
    found: int = 0
    last_absent_ns: int = 0
    first_seen_ns: int = 0
    error: str = ""

    @property
    def seen(self) -> bool:
        return self.first_seen_ns > 0

    def look_again(self, expected: int) -> None:
        self.looked += 1  # also one that is ended in the middle was made
        reply = self.look()
        if reply.value is None:
            self.error = reply.error
            return
        self.succeeded += 1
        self.found = min(reply.value, expected)
        if self.found >= expected:
            self.first_seen_ns = reply.done_ns
        else:
            self.last_absent_ns = reply.sent_ns

    def sighting(self, receipt: Receipt, batch: Batch, stopped: bool) -> Sighting:
        missing = 0 if self.seen or stopped or not self.succeeded else batch.items - self.found
        detail = ""
        if not self.seen:
            ended = "stopped before it was visible" if stopped else "given up before it was visible"
            waited_s = (max(self.last_absent_ns, receipt.done_ns) - receipt.done_ns) / NS
            detail = f"{ended}, {self.found} of {batch.items} after {waited_s:.1f} s"
            if self.error:
                detail = f"{detail}; {self.error}"[:300]
        return Sighting(
            signal=receipt.signal,
            user=receipt.user,
            n=receipt.n,
            where=self.where,
            phase="probe",
            acked_ns=receipt.done_ns,
            last_absent_ns=self.last_absent_ns,
            first_seen_ns=self.first_seen_ns,
            looked=self.looked,
            expected=batch.items,
            found=self.found,
            missing=missing,
            late=0,
            late_absent_ns=0,
            doubled=0,
            altered=0,
            reordered=0,
            compared=0,
            unreadable=not self.succeeded,
            detail=detail,
        )
