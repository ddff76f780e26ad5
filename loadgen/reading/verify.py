"""Reads everything back that a run sent, and stores what it found of every batch.

What is missing is asked for again, with growing pauses, until the profile's patience after its acknowledgement is over;
so late and lost can be told apart afterwards. A query that fails is asked again too, and if it goes on failing the
batches that it covers are *unreadable*, never missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from loadgen.config import Target
from loadgen.history.directory import RunDir
from loadgen.model import NS, Outcome, QueryTiming, Sighting, Signal
from loadgen.plan import Plan
from loadgen.reading.cases import Auditor, Found, Ledger, Looking, SentBatch, shortened, unreadable
from loadgen.reading.kinds import READINGS
from loadgen.reading.limits import look_in_parts
from loadgen.targets.readers import Readers, open_readers
from loadgen.targets.reading import Patience

Progress = Callable[[str, int, int], None]
_Key = tuple[Signal, int, int]
_STORE_ROWS = 2_000
_MIN_LOOKS = 3
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.5, 5.0
# So many looks that fail in a row mean that the component is away; the rest of the round would only wait for time-outs.
_AWAY = 8


@dataclass(frozen=True, slots=True)
class SignalSummary:
    """What verification found of one signal; items are lines, samples or spans."""

    signal: Signal
    batches: int = 0
    items: int = 0
    found: int = 0
    missing: int = 0
    doubled: int = 0
    altered: int = 0
    reordered: int = 0
    compared: int = 0
    unreadable: int = 0

    def plus(self, row: Sighting) -> SignalSummary:
        """With one more batch; ``unreadable`` counts batches, the others items."""
        return SignalSummary(
            self.signal,
            self.batches + 1,
            self.items + row.expected,
            self.found + row.found,
            self.missing + row.missing,
            self.doubled + row.doubled,
            self.altered + row.altered,
            self.reordered + row.reordered,
            self.compared + row.compared,
            self.unreadable + row.unreadable,
        )


@dataclass(frozen=True, slots=True)
class VerifySummary:
    """What a verification found.

    Attributes:
        signals: one each.
        queries: queries that it took.
        stopped: it was ended early; what was not read is unreadable.
    """

    signals: tuple[SignalSummary, ...]
    queries: int
    stopped: bool


def verify(
    run: RunDir,
    plan: Plan,
    target: Target,
    *,
    clock: Callable[[], int],
    sleep: Callable[[float], None],
    progress: Progress,
    stop: Callable[[], bool],
    readers: Readers | None = None,
) -> VerifySummary:
    """Read back every batch that was sent, and store a `Sighting` of each and a `QueryTiming` of each query.

    Rows of an earlier verification are replaced, but what it found late stays late, and what it missed is late when it
    is found now; rows of the freshness probes are kept.

    Args:
        run: where the receipts are, and where the findings go.
        plan: what was sent.
        target: where to read.
        clock: epoch nanoseconds.
        sleep: waits so many seconds; may return earlier when ``stop()`` has become true.
        progress: called with a phase, how many batches of it are done, and how many there are.
        stop: true when a person wants the end; what was found so far is kept.
        readers: asked instead of the target's own, by tests.

    Raises:
        RunDirError: nothing can be stored.
        ConfigError: a file with a secret cannot be read.
    """
    settings = plan.profile.verify
    where = target.via
    log = _QueryLog()
    if readers is None:
        patience = Patience(sleep, stop)
        readers = open_readers(target, clock, log.add, settings.timeout, "verify", settings.parallel + 2, patience)
    earlier = _take_earlier(run)
    receipts, _ = run.rows("receipts")
    store = _Store(run, log)
    ledgers = {
        signal: Ledger(plan, signal, receipts, settings.sample, settings.max_compared)
        for signal in Signal
        if len(receipts)
    }
    del receipts
    looking = Looking(clock, sleep, stop)
    auditors = [READINGS[one].auditor(ledger, readers, looking) for one, ledger in ledgers.items() if len(ledger)]
    engine = _Engine(store, where, clock, sleep, stop, round(settings.patience * NS), 2 * settings.parallel, earlier)
    with ThreadPoolExecutor(settings.parallel, thread_name_prefix="verify") as pool:
        for auditor in auditors:
            engine.first_looks(pool, auditor, len(ledgers[auditor.signal]), progress)
        engine.further_looks(pool, progress)
    store.flush()
    signals = tuple(store.summaries[signal] for signal in Signal if signal in store.summaries)
    return VerifySummary(signals, log.count, stop())


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the looks at one batch have told so far; the fields are those of `Sighting`."""

    looked: int = 0
    last_absent_ns: int = 0
    missing: int = 0
    late: int = 0
    late_absent_ns: int = 0

    def after(self, found: Found, counts: bool) -> _Seen:
        """With one more look; a failed one tells nothing, and one that was only abandoned does not count."""
        looked = self.looked + int(counts)
        if found.error:
            return replace(self, looked=looked)
        appeared = self.missing - found.missing
        late, late_absent_ns = self.late, self.late_absent_ns
        if appeared > 0:
            late, late_absent_ns = late + appeared, self.last_absent_ns
        absent_ns = found.sent_ns if found.missing and not found.shown else self.last_absent_ns
        return _Seen(looked, absent_ns, found.missing, late, late_absent_ns)


@dataclass(slots=True)
class _Pending:
    """A batch that was not complete, or could not be read, when it was looked for last."""

    auditor: Auditor
    last: Found
    seen: _Seen


class _Engine:
    """Looks for batches until all are found or patience is over. Lives in one thread; looks happen in a pool."""

    def __init__(
        self,
        store: _Store,
        where: str,
        clock: Callable[[], int],
        sleep: Callable[[float], None],
        stop: Callable[[], bool],
        patience_ns: int,
        under_way: int,
        earlier: dict[_Key, _Seen],
    ) -> None:
        self._store = store
        self._where = where
        self._clock = clock
        self._sleep = sleep
        self._stop = stop
        self._patience_ns = patience_ns
        self._under_way = under_way
        self._earlier = earlier
        self._pending: dict[_Key, _Pending] = {}

    def first_looks(self, pool: ThreadPoolExecutor, auditor: Auditor, total: int, progress: Progress) -> None:
        """Look for everything once; what is complete is settled."""
        done = 0
        progress(auditor.signal.value, 0, total)
        for results in self._looks(pool, auditor, auditor.windows(), again=False):
            for found in results:
                self._take(auditor, found, None)
            done += len(results)
            progress(auditor.signal.value, done, total)
            self._store.flush_if_full()

    def further_looks(self, pool: ThreadPoolExecutor, progress: Progress) -> None:
        """Look for what is not there yet, again and again, until it is or patience is over."""
        pause_s = _FIRST_PAUSE_S
        total = len(self._pending)
        while self._pending and not self._stop():
            progress("asking again", total - len(self._pending), total)
            self._sleep(pause_s)
            pause_s = min(_MAX_PAUSE_S, pause_s * 2)
            waiting, self._pending = self._pending, {}
            for auditor in {id(one.auditor): one.auditor for one in waiting.values()}.values():
                cases = [one.last.case for one in waiting.values() if one.auditor is auditor]
                for results in self._looks(pool, auditor, auditor.regroup(cases), again=True):
                    for found in results:
                        batch = found.case.batch
                        self._take(auditor, found, waiting[(batch.signal, batch.user, batch.n)])
            self._store.flush_if_full()
        for one in self._pending.values():
            self._settle(one.last, one.seen, stopped=True)
        self._pending.clear()

    def _looks(
        self, pool: ThreadPoolExecutor, auditor: Auditor, windows: Iterator[tuple[SentBatch, ...]], again: bool
    ) -> Iterator[list[Found]]:
        """The results of looking at all windows, as they come, with a bounded number under way."""
        watch = _AwayWatch()

        def look(cases: Sequence[SentBatch]) -> list[Found]:
            now_ns = self._clock()
            if self._stop():
                return unreadable(cases, "the verification was stopped", now_ns, now_ns)
            if watch.away:
                return unreadable(cases, watch.error, now_ns, now_ns)
            results = look_in_parts(auditor, cases, again)
            watch.note(results)
            return results

        under_way: set[Future[list[Found]]] = set()
        try:
            for window in windows:
                under_way.add(pool.submit(look, window))
                if len(under_way) >= self._under_way:
                    finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            while under_way:
                finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        finally:
            for future in under_way:
                future.cancel()

    def _take(self, auditor: Auditor, found: Found, before: _Pending | None) -> None:
        """Settle a batch, or keep it for another look."""
        batch = found.case.batch
        key = (batch.signal, batch.user, batch.n)
        known = before.seen if before else self._earlier.get(key, _Seen())
        seen = known.after(found, counts=not (self._stop() and found.error))
        if not found.error and not found.missing:
            self._settle(found, seen, stopped=False)
            return
        over = self._clock() > found.case.acked_ns + self._patience_ns and seen.looked >= _MIN_LOOKS
        if over:
            self._settle(found, seen, stopped=False)
            return
        if found.error and before is not None and not before.last.error:
            # What an earlier look found stays the better knowledge.
            found = before.last
        elif found.error and self._stop():
            self._settle(found, seen, stopped=True)
            return
        self._pending[key] = _Pending(auditor, found, seen)

    def _settle(self, found: Found, seen: _Seen, stopped: bool) -> None:
        """Store what is known of a batch."""
        case, detail = found.case, found.detail
        batch = case.batch
        silent = bool(found.error) or (stopped and found.missing > 0)
        if found.error:
            detail = found.error
        elif silent:
            detail = shortened(f"{found.missing} were missing when the verification was stopped; {detail}".rstrip("; "))
        elif case.outcome is not Outcome.ACCEPTED:
            said = f"the push was {case.outcome}; {found.found} of {batch.items} are there"
            detail = shortened(f"{said}; {detail}".rstrip("; "))
        complete = not found.error and found.found >= batch.items
        self._store.add(
            Sighting(
                signal=batch.signal.value,
                user=batch.user,
                n=batch.n,
                where=self._where,
                phase="verify",
                acked_ns=case.acked_ns,
                last_absent_ns=seen.last_absent_ns,
                first_seen_ns=found.done_ns if complete else 0,
                looked=seen.looked,
                expected=batch.items,
                found=found.found,
                missing=0 if silent else found.missing,
                late=seen.late,
                late_absent_ns=seen.late_absent_ns,
                doubled=found.doubled,
                altered=found.altered,
                reordered=found.reordered,
                compared=found.compared,
                unreadable=silent,
                detail=detail,
                added=found.added,
            )
        )


class _AwayWatch:
    """Notices that a component is away: looks at it fail one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed = 0
        self.error = ""

    @property
    def away(self) -> bool:
        return self._failed >= _AWAY

    def note(self, results: Sequence[Found]) -> None:
        errors = [found.error for found in results if found.error]
        with self._lock:
            self._failed = self._failed + 1 if errors and len(errors) == len(results) else 0
            if errors:
                self.error = errors[0]


@dataclass(slots=True)
class _QueryLog:
    """Timings of all threads until they are stored."""

    rows: list[QueryTiming] = field(default_factory=list)
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, timing: QueryTiming) -> None:
        with self.lock:
            self.rows.append(timing)
            self.count += 1

    def take(self) -> list[QueryTiming]:
        with self.lock:
            rows, self.rows = self.rows, []
        return rows


class _Store:
    """Collects rows, writes them in larger parts, and adds them up."""

    def __init__(self, run: RunDir, log: _QueryLog) -> None:
        self._run = run
        self._log = log
        self._rows: list[Sighting] = []
        self.summaries: dict[Signal, SignalSummary] = {}

    def add(self, row: Sighting) -> None:
        signal = Signal(row.signal)
        self.summaries[signal] = self.summaries.get(signal, SignalSummary(signal)).plus(row)
        self._rows.append(row)

    def flush_if_full(self) -> None:
        if len(self._rows) >= _STORE_ROWS:
            self.flush()

    def flush(self) -> None:
        rows, self._rows = self._rows, []
        self._run.append(rows)
        self._run.append(self._log.take())


def _take_earlier(run: RunDir) -> dict[_Key, _Seen]:
    """Remove the rows of an earlier verification; what it missed or found late comes back."""
    earlier: dict[_Key, _Seen] = {}
    sightings, _ = run.rows("sightings")
    if (sightings["phase"] == "verify").any():
        told = sightings[(sightings["phase"] == "verify") & ((sightings["missing"] > 0) | (sightings["late"] > 0))]
        for row in told.to_dict("records"):
            names = ("last_absent_ns", "missing", "late", "late_absent_ns")
            key = (Signal(row["signal"]), int(row["user"]), int(row["n"]))
            earlier[key] = _Seen(0, *(int(row[name]) for name in names))
        kept = sightings[sightings["phase"] != "verify"]
        run.replace("sightings", [Sighting(**{str(k): v for k, v in row.items()}) for row in kept.to_dict("records")])
    queries, _ = run.rows("queries")
    if (queries["source"] == "verify").any():
        kept = queries[queries["source"] != "verify"]
        run.replace("queries", [QueryTiming(**{str(k): v for k, v in row.items()}) for row in kept.to_dict("records")])
    return earlier
