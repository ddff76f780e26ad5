"""How soon an acknowledged batch can be seen by people: looked for from its acknowledgement until it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from loadgen.config import Freshness
from loadgen.kinds.traces.source import SPANS_PER_TRACE
from loadgen.model import NS, Batch, Receipt, Sighting, Signal
from loadgen.plan import Plan
from loadgen.reading import logs, metrics, traces
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Reply, selector

Look = Callable[[], Reply[int]]
SEARCH = "search"
# A trace belongs to a search's range by its start; nothing of it is later than this.
_TRACE_NS = NS


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
        """Where a batch is looked for, and how: by a method for each kind that has its name."""
        looks: Sequence[tuple[str, Look]] = getattr(self, f"_{batch.signal}_looks")(batch)
        return looks

    def _logs_looks(self, batch: Batch) -> Sequence[tuple[str, Look]]:
        return ((self._readers.via, lambda: self._logs(batch)),)

    def _metrics_looks(self, batch: Batch) -> Sequence[tuple[str, Look]]:
        return ((self._readers.via, lambda: self._metrics(batch)),)

    def _traces_looks(self, batch: Batch) -> Sequence[tuple[str, Look]]:
        waiting = {row.tobytes() for row in self._plan.traces.trace_ids(batch)}
        return (
            (self._readers.via, lambda: self._traces_by_id(batch, waiting)),
            (SEARCH, lambda: self._traces_by_search(batch)),
        )

    def _logs(self, batch: Batch) -> Reply[int]:
        source = self._plan.logs
        labels = dict(source.labels(batch.user))
        times = source.line_times(batch)
        reply = self._readers.loki.streams(
            selector(run=labels["run"], pod=labels[logs.POD]), int(times[0]), int(times[-1]) + 1, (logs.POD,)
        )
        if reply.value is None:
            return reply.failed()
        return reply.with_value(sum(logs.count_of_present(source, batch, stream) for stream in reply.value))

    def _metrics(self, batch: Batch) -> Reply[int]:
        source = self._plan.metrics
        labels = dict(source.series(batch.user)[0])
        times = source.times_ms(batch)
        reply = self._readers.mimir.raw(
            selector(run=labels["run"], instance=labels["instance"]), int(times[0]), int(times[-1])
        )
        if reply.value is None:
            return reply.failed()
        return reply.with_value(metrics.count_of_present(source, batch, reply.value))

    def _traces_by_id(self, batch: Batch, waiting: set[bytes]) -> Reply[int]:
        """Traces that were complete once are not asked for again; ``waiting`` are the others."""
        total = batch.items // SPANS_PER_TRACE
        partly = 0
        sent_ns = 0
        reply: Reply[int] | None = None
        for trace_id in sorted(waiting):
            came = self._readers.tempo.trace(trace_id)
            if came.value is None:
                return came.failed()
            spans = len({span.span_id for span in came.value})
            if spans >= SPANS_PER_TRACE:
                waiting.discard(trace_id)
            else:
                partly += spans
            sent_ns = sent_ns or came.sent_ns
            reply = Reply(0, "", came.status, sent_ns, came.done_ns)
        found = (total - len(waiting)) * SPANS_PER_TRACE + partly
        now_ns = self._clock()
        return reply.with_value(found) if reply is not None else Reply(found, "", 0, now_ns, now_ns)

    def _traces_by_search(self, batch: Batch) -> Reply[int]:
        """A trace that search lists counts as visible, whatever of it search has seen yet."""
        interval_ns = self._plan.traces.load.interval_ns
        query = traces.run_query(self._plan.key.run, batch.user)
        reply = self._readers.tempo.search(query, batch.due_ns, batch.due_ns + interval_ns + _TRACE_NS)
        if reply.value is None:
            return reply.failed()
        ids = {row.tobytes() for row in self._plan.traces.trace_ids(batch)}
        return reply.with_value(len(ids & reply.value.keys()) * SPANS_PER_TRACE)


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
