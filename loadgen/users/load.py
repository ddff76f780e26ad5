"""What the virtual users of one process share: plan, connections, probes, and their numbers."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Sequence

import gevent
import gevent.pool

from loadgen.clock import Clock, steady_clock
from loadgen.config import Profile, Target
from loadgen.history.recorder import Recorder
from loadgen.kinds import KINDS, kind_of
from loadgen.model import MS, NS, Outcome, QueryTiming, Receipt, RunKey, Sighting, Signal
from loadgen.plan import Plan, plan_of
from loadgen.push.senders import Senders
from loadgen.queries import custom as own
from loadgen.queries.expected import Shown
from loadgen.reading.freshness import Prober
from loadgen.targets.readers import Readers, open_readers
from loadgen.users.known import KnownTraces
from loadgen.users.numbers import user_number

# Probes of one signal and process that may wait for visibility at the same time; further ones are not made, never
# queued, and say so.
MAX_PROBES = 64
# What is under way when the load ends is given a moment, then it is ended and leaves what it knows.
JOIN_WITHIN_S = 5.0
KILL_WITHIN_S = 2.0
# Between the start of a test and its first due time, beside what laying out bodies takes.
START_UP_NS = 300 * MS
MAX_START_UP_NS = 20 * NS


def start_up_ns(profile: Profile, users: int, workers: int, clock: Clock) -> int:
    """How long a process will be busy with laying out the bodies of its users before the first of them is due.

    Estimated from one user of each signal; ``users`` are all users of the test, shared by so many workers.
    """
    planned = sum(profile.users(signal) for signal in Signal) + profile.dashboards.users
    share = max(1.0, users / max(1, planned)) / workers
    plan = plan_of(RunKey("start-up", profile.run.seed, clock() // MS * MS), profile)
    busy_ns = 0.0
    for signal in Signal:
        if profile.users(signal):
            before_ns = clock()
            plan.source(signal).prepare(0)
            busy_ns += (clock() - before_ns) * math.ceil(profile.users(signal) * share)
    return min(MAX_START_UP_NS, START_UP_NS + round(1.5 * busy_ns))


class Load:
    """What the users of one process share. Lives on ``environment.loadgen`` from the start of a test to its end."""

    def __init__(
        self,
        key: RunKey,
        profile: Profile,
        target: Target,
        recorder: Recorder,
        worker: int,
        workers: int,
        clock: Clock | None = None,
    ) -> None:
        self.clock: Clock = clock or steady_clock()
        self.plan: Plan = plan_of(key, profile)
        self.profile = profile
        self.recorder = recorder
        self.worker, self._workers = worker, workers
        self.stopping = False
        self._stopped_ns = 0
        self.senders = Senders(self.plan, target, self.clock)
        self.readers: Readers = open_readers(
            target, self.clock, lambda timing: recorder.add(timing), profile.dashboards.timeout, source="probe"
        )
        self.prober = Prober(self.plan, self.readers, profile.freshness, self.clock, gevent.sleep)
        # A component whose probes wait must not keep those of the others from being made.
        self.probes = {signal: gevent.pool.Pool(MAX_PROBES) for signal in Signal}
        self._counters = {signal: itertools.count() for signal in Signal}
        self._viewers = itertools.count()
        self.known = KnownTraces(self.plan)
        interval_s = {kind.store: self.plan.source(kind.signal).load.interval_ns / NS for kind in KINDS}
        continued = [kind.store for kind in KINDS if kind.continues and key.series_of]
        self.shown = Shown(key.began_ns, interval_s, continued)
        self.sdk_started = False
        self._own = gevent.pool.Group()

    def start_own_queries(self, tell: Callable[[QueryTiming], None]) -> None:
        """Ask the user's own queries beside the load, each at its own pace; ``tell`` hears of each one."""
        asking = own.OwnAsking(self.readers, self.clock, self.plan.key.began_ns)

        def record(timing: QueryTiming) -> None:
            if self._stopped_ns and timing.due_ns > self._stopped_ns:
                return  # it would have been due after the end, so it was never planned
            self.recorder.add(timing)
            tell(timing)

        for number, query in enumerate(self.profile.queries):
            self._own.spawn(asking.ask_forever, number, query, record, gevent.sleep, lambda: self.stopping)

    def next_user(self, signal: Signal) -> int:
        """A number that no other user of the signal has in this run; NoNumberLeft when there is none."""
        k = next(self._counters[signal])
        return user_number(self.worker, self._workers, k, self.profile.users(signal))

    def next_viewer(self) -> int:
        """A number for a viewer of this process."""
        return next(self._viewers) * self._workers + self.worker

    def probe(self, receipt: Receipt) -> None:
        """Watch an acknowledged batch become visible, beside the load. One that cannot be made leaves a row as well."""
        if receipt.outcome != Outcome.ACCEPTED:
            return
        pool = self.probes[Signal(receipt.signal)]
        if self.stopping:
            self._tell_of_probe(self.prober.not_made(receipt, "the load was over", ended=True))
        elif pool.free_count() > 0:
            pool.spawn(self._probe, receipt)
        else:
            why = f"{MAX_PROBES} probes of {receipt.signal} waited already"
            self._tell_of_probe(self.prober.not_made(receipt, why))

    def _probe(self, receipt: Receipt) -> None:
        watching = self.prober.watching(receipt)
        try:
            watching.look(lambda: self.stopping)
        finally:
            # Also what is ended in the middle has seen something, or has waited in vain.
            self._tell_of_probe(watching.sightings())

    def _tell_of_probe(self, sightings: Sequence[Sighting]) -> None:
        for sighting in sightings:
            self.recorder.add(sighting)
            if sighting.first_seen_ns:
                self.shown.seen(kind_of(Signal(sighting.signal)).store, sighting.where, sighting.first_seen_ns)
                self.known.seen(sighting)

    def stop(self) -> None:
        """The load is over: nothing begins any more, and nothing later was planned."""
        self.stopping = True
        self._stopped_ns = self._stopped_ns or self.clock()

    def close(self) -> None:
        """End own queries and probes; what they saw so far is recorded."""
        self.stop()
        # Those that wait for their time have nothing to tell; what is under way is given a moment, all of it the same.
        under_way = [*self._own, *itertools.chain.from_iterable(self.probes.values())]
        gevent.joinall(under_way, timeout=JOIN_WITHIN_S)
        with contextlib.suppress(gevent.Timeout):
            gevent.killall(under_way, timeout=KILL_WITHIN_S)
        self.senders.close()
