"""Watches the three buckets while a run goes on: which objects with telemetry of the run appear, and when.

Each new object is stored once, as a `StoredObject`, with what it holds. How it is found is in ``buckets``: at each poll
a bounded number of requests to each bucket go on with a cycle, and a complete cycle tells that nothing else was there
when it began. An object's LastModified is the S3 server's clock in whole seconds, so that clock is compared with ours
by the Date headers of the answers. Now and then, and at the end, it is seen whether what was found is still there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from loadgen.buckets.asking import Asking, ServerClock
from loadgen.buckets.kept import Keeping
from loadgen.buckets.layout import keys_of
from loadgen.buckets.sweep import Searched, Sweep
from loadgen.buckets.sweeps import SWEEPS
from loadgen.buckets.tenants import Tenants
from loadgen.buckets.wanted import Wanted, wanted_of
from loadgen.config import ConfigError, S3Target
from loadgen.history.directory import RunDir, RunDirError
from loadgen.kinds import kind_of
from loadgen.mistakes import REPORT_IT, mistake
from loadgen.model import (
    CLOCKS,
    ELSEWHERE,
    KEPT_LOOK,
    LAYOUT,
    LISTING_FAILED,
    NS,
    OURS,
    PARTS_LOOK,
    Component,
    GoneObject,
    Signal,
    StackSample,
    StoredObject,
    bucket_labels,
)
from loadgen.targets.blocks import BlockError
from loadgen.targets.failures import s3_errors
from loadgen.targets.s3 import error_code, explain_s3, is_about_clocks, s3_client

MAX_REQUESTS = 60
"""Requests to one bucket in one poll, while the load goes on. Opening a block counts as one."""
MAX_KEPT_REQUESTS = 20
"""Requests to one bucket in one poll for seeing whether what was found is still there."""

_KEPT_EVERY_NS = 60 * NS
_STORE_EVERY_NS = 5 * NS
_MAX_PROBLEMS = 20
_WHY_CHARS = 300
_NOT_SET = "no [s3] endpoint is set in the target, so nobody can tell when data is in S3"

T = TypeVar("T")


@dataclass(slots=True)
class _Bucket:
    """One bucket and how far it was looked through."""

    component: Component
    asking: Asking
    tenants: Tenants
    sweep: Sweep
    keeping: Keeping
    cycle: Iterator[int] | None = None
    cycle_began_ns: int = 0
    rows: int = 0
    last_listing_ns: int = 0
    keeper: Iterator[int] | None = None
    keeper_began_ns: int = 0

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self.asking.bucket


class S3Watcher:
    """Lists the buckets of a target again and again, in a thread of its own. Never raises for what S3 does.

    Args:
        s3: where the buckets are, with a credential that may list and read. Without an endpoint nothing is watched.
        run: where the rows go.
        clock: epoch nanoseconds.
        began_ns: objects last modified before this are left alone.
        client: makes the S3 client; for tests.
    """

    def __init__(
        self,
        s3: S3Target,
        run: RunDir,
        clock: Callable[[], int],
        began_ns: int = 0,
        client: Callable[[S3Target], Any] = s3_client,
    ) -> None:
        self._s3 = s3
        self._run = run
        self._clock = clock
        self._began_ns = began_ns
        self._make_client = client
        self._client: Any = None
        self._buckets: list[_Bucket] = []
        self._wanted: Wanted | None = None
        self._server = ServerClock()
        self._problems: dict[str, tuple[str, int]] = {}
        self._objects: list[StoredObject] = []
        self._gone: list[GoneObject] = []
        self._looks: list[StackSample] = []
        self._stored_ns = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def last_listing_ns(self) -> dict[str, int]:
        """By bucket, when the last complete cycle began; 0 if there was none."""
        return {bucket.name: bucket.last_listing_ns for bucket in self._buckets}

    @property
    def clock_difference_ns(self) -> int:
        """How far the S3 server's clock is ahead of ours."""
        return self._server.ahead_ns

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong, each kind once, with how often."""
        with self._lock:
            return tuple(f"{text} ({times} times)" if times > 1 else text for text, times in self._problems.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the report should know beside the problems."""
        names = [bucket.sweep.note for bucket in self._buckets]
        return tuple(note for note in (*names, *(bucket.tenants.note for bucket in self._buckets)) if note)

    def start(self) -> None:
        """Begin to watch."""
        if not self._s3.endpoint:
            self._problem(_NOT_SET)
        elif self._thread is None:
            self._over.clear()
            self._thread = threading.Thread(target=self._watch, name="s3watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Look once more, end the thread and store what was seen."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._over.set()
        thread.join(timeout=30)
        if not thread.is_alive():
            self.look_whole()

    def poll_once(self) -> None:
        """Look through all buckets once from the beginning to the end, and store what is new."""
        if not self._s3.endpoint:
            self._problem(_NOT_SET)
            return
        with self._lock:
            self._guarded(lambda: self._poll(whole=True))
            self._guarded(self._count_strangers)
            self._guarded(lambda: self._store(force=True))

    def look_whole(self) -> None:
        """Look through all buckets, and then whether everything of the run that was ever found is still there."""
        self.poll_once()
        with self._lock:
            self._guarded(self._keep_whole)
            self._guarded(lambda: self._store(force=True))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._over.is_set():
            began_s = time.monotonic()
            with self._lock:
                self._guarded(lambda: self._poll(whole=False))
                self._guarded(lambda: self._store(force=False))
            took_s = time.monotonic() - began_s
            # S3 must not be asked all the time.
            self._over.wait(max(self._s3.poll - took_s, took_s))

    def _poll(self, whole: bool) -> None:
        wanted = self._prepare()
        if wanted is None:
            return
        for bucket in self._buckets:
            if self._over.is_set() and self._thread is not None:
                return
            self._look(bucket, wanted, whole)
            if not whole:
                self._keep(bucket)

    def _prepare(self) -> Wanted | None:
        """What to look for, with a client to do it; None if that cannot be."""
        try:
            if self._wanted is None or not self._wanted.ended_ns:
                info = self._run.info()
                self._wanted = wanted_of(info, self._began_ns, self._senders() if info.load_ended_ns else None)
            if self._client is None:
                self._client = self._connect()
            if self._client is not None and not self._buckets:
                self._buckets = self._open(self._wanted)
        except (ConfigError, RunDirError) as problem:
            self._problem(str(problem))
            return None
        return self._wanted if self._client is not None else None

    def _connect(self) -> Any:
        """A client; None, and told, if the endpoint is none."""
        try:
            return self._make_client(self._s3)
        except ConfigError:
            raise
        except s3_errors(ValueError) as problem:
            self._problem(explain_s3(problem, self._s3, ""))
            return None

    def _senders(self) -> dict[Signal, tuple[int, ...]]:
        """The users that sent something; empty where no receipt tells it."""
        receipts, _ = self._run.rows("receipts")
        sent = receipts[receipts["sent_ns"] > 0]
        if sent.empty:
            return {}
        return {one: tuple(sorted(sent.loc[sent["signal"] == one.value, "user"].unique().tolist())) for one in Signal}

    def _open(self, wanted: Wanted) -> list[_Bucket]:
        """A sweep for the bucket of every signal that is sent. What an earlier watcher stored is not stored again."""
        earlier, _ = self._run.rows("objects")
        gone, _ = self._run.rows("gone")
        buckets = []
        for signal in Signal:
            if not wanted.users[signal]:
                continue
            component = kind_of(signal).store
            asking = Asking(self._client, self._s3.bucket(component), self._clock, self._server)
            tenants = Tenants(asking, component, wanted.tenants[component], self._s3.prefix(component))
            searched = Searched(asking, self._clock, tenants, self._objects.append, self._unreadable)
            sweep = SWEEPS[component](searched)
            mine = earlier[(earlier["component"] == component.value) & (earlier["bucket"] == asking.bucket)]
            keeping = Keeping(asking, keys_of(component), self._clock, mine, gone)
            sweep.recall(wanted, mine[~mine["key"].isin(keeping.away)])
            buckets.append(_Bucket(component, asking, tenants, sweep, keeping))
        return buckets

    def _look(self, bucket: _Bucket, wanted: Wanted, whole: bool) -> None:
        if whole or bucket.cycle is None:
            bucket.cycle, bucket.cycle_began_ns, bucket.rows = bucket.sweep.cycle(wanted), self._clock(), 0
        # A look at everything may be the last one.
        bucket.sweep.patient = not whole
        before = len(self._objects)
        over = self._guarded(lambda: self._go_on(bucket, whole), bucket)
        bucket.keeping.add(self._objects[before:])
        if over is False:
            return
        bucket.cycle = None
        if over is None or bucket.sweep.undecided:
            return
        bucket.last_listing_ns = bucket.cycle_began_ns
        self._sample("last_listing", bucket, bucket.cycle_began_ns, bucket.rows)
        if bucket.sweep.parted:
            self._sample(PARTS_LOOK, bucket, bucket.cycle_began_ns, bucket.rows)
        if wanted.is_over(bucket.cycle_began_ns):
            understood = bucket.tenants.understood
            seen = "" if understood else bucket.tenants.seen[:_WHY_CHARS]
            self._sample(LAYOUT, bucket, bucket.cycle_began_ns, understood, seen)

    def _go_on(self, bucket: _Bucket, whole: bool) -> bool:
        """Go on with a cycle; whether it is over."""
        for asked, rows in enumerate(bucket.cycle or (), 1):
            bucket.rows += rows
            if not whole and (asked >= MAX_REQUESTS or self._over.is_set()):
                return False
        return True

    def _count_strangers(self) -> None:
        """If nothing of the run shows up where others may change names: is there data of that time by other names?"""
        wanted = self._wanted
        if wanted is None:
            return
        for bucket in self._buckets:
            strangers = bucket.sweep.strangers(wanted) if bucket.last_listing_ns else None
            if strangers is None:
                continue
            counts: list[int] | None = self._guarded(partial(list, strangers), bucket)
            if counts is None:
                continue
            self._sample("other_streams", bucket, self._clock(), counts[-1] if counts else 0)
            if bucket.sweep.renamed:
                self._look(bucket, wanted, whole=True)

    def _keep(self, bucket: _Bucket) -> None:
        """Go on with seeing whether what was found is still there; now and then, and a few requests at a time."""
        if bucket.keeper is None:
            if self._clock() - max(bucket.keeper_began_ns, self._began_ns) < _KEPT_EVERY_NS:
                return
            bucket.keeper, bucket.keeper_began_ns = bucket.keeping.look(), self._clock()
        keeper = bucket.keeper

        def go_on() -> bool:
            return all(asked < MAX_KEPT_REQUESTS and not self._over.is_set() for asked, _ in enumerate(keeper, 1))

        over = self._guarded(go_on, bucket)
        if over is not False:
            bucket.keeper = None
        if over:
            self._tell_kept(bucket)

    def _keep_whole(self) -> None:
        """See whether what was found is still there; where something is not, what may have taken its place."""
        for bucket in self._buckets:
            bucket.keeper = None
            looked = self._guarded(partial(_exhaust, bucket.keeping), bucket)
            if looked and bucket.keeping.missed and self._wanted is not None:
                self._store(force=True)
                stored, _ = self._run.rows("objects")
                mine = stored[(stored["component"] == bucket.component.value) & (stored["bucket"] == bucket.name)]
                bucket.sweep.recall(self._wanted, mine[~mine["key"].isin(bucket.keeping.away)])
                self._look(bucket, self._wanted, whole=True)
                looked = self._guarded(partial(_exhaust, bucket.keeping), bucket)
            if looked:
                self._tell_kept(bucket)

    def _tell_kept(self, bucket: _Bucket) -> None:
        """Everything that was found was looked for again."""
        self._gone += bucket.keeping.told(bucket.last_listing_ns)
        self._sample(KEPT_LOOK, bucket, bucket.keeping.looked_ns, bucket.keeping.looked_for)

    def _guarded(self, call: Callable[[], T], bucket: _Bucket | None = None) -> T | None:
        """The result of a call; None, and told, when S3 failed it or a mistake of ours did."""
        name = bucket.name if bucket is not None else ""
        try:
            return call()
        except BlockError as problem:
            text, what, kind = f"{name}: {problem}", str(problem), ELSEWHERE
        except s3_errors() as problem:
            text, what = explain_s3(problem, self._s3, name, clock=self._clock), error_code(problem)
            kind = CLOCKS if is_about_clocks(problem) else ELSEWHERE
        except (ConfigError, RunDirError) as problem:
            self._problem(str(problem))
            return None
        except Exception as problem:  # noqa: BLE001 - a mistake of ours must neither end the run nor pass for one of S3
            text, what, kind = f"watching {name or 'S3'}: {mistake(problem)}; {REPORT_IT}", type(problem).__name__, OURS
        self._problem(text, f"{name} {what}")
        for one in [bucket.component] if bucket is not None else [kind_of(signal).store for signal in Signal]:
            labels = bucket_labels(one, self._s3.bucket(one), kind, text[:_WHY_CHARS])
            self._looks.append(StackSample(Component.S3.value, LISTING_FAILED, labels, self._clock(), 1.0))
        return None

    def _sample(self, metric: str, bucket: _Bucket, at_ns: int, value: float, why: str = "") -> None:
        labels = bucket_labels(bucket.component, bucket.name, why=why)
        self._looks.append(StackSample(Component.S3.value, metric, labels, at_ns, float(value)))

    def _unreadable(self, problem: Exception, bucket: str, key: str) -> str:
        """Why an object cannot be read, in words. The same cause is one problem, however many objects it hits."""
        if isinstance(problem, BlockError):
            self._problem(f"{bucket}/{key}: {problem}")
            return str(problem)
        if isinstance(problem, s3_errors()):
            text = explain_s3(problem, self._s3, bucket, key, clock=self._clock)
        else:
            text = f"{bucket}/{key}: {REPORT_IT} ({mistake(problem)})"
        self._problem(text, f"{bucket} read {error_code(problem)}")
        return text

    def _problem(self, text: str, kind: str = "") -> None:
        kind = kind or text
        if kind in self._problems or len(self._problems) < _MAX_PROBLEMS:
            first, times = self._problems.get(kind, (text, 0))
            self._problems[kind] = (first, times + 1)

    def _store(self, force: bool) -> None:
        """Hand rows to the run: objects at once, because others wait for them, the rest now and then."""
        now_ns = self._clock()
        try:
            if self._objects:
                self._run.append(self._objects)
                self._objects.clear()
            if self._gone:
                self._run.append(self._gone)
                self._gone = []
            if self._looks and (force or now_ns - self._stored_ns >= _STORE_EVERY_NS):
                self._run.append([*self._looks, *self._clock_samples(now_ns)])
                self._looks, self._stored_ns = [], now_ns
        except RunDirError as problem:
            # The rows are kept for the next attempt.
            self._problem(str(problem))

    def _clock_samples(self, now_ns: int) -> list[StackSample]:
        """Between which bounds the server's clock is ahead of ours."""
        if not self._server.compared:
            return []
        bounds = {"clock_ahead_min_s": self._server.low_ns, "clock_ahead_max_s": self._server.high_ns}
        return [StackSample(Component.S3.value, name, "", now_ns, value / NS) for name, value in bounds.items()]


def _exhaust(keeping: Keeping) -> bool:
    """Look for everything that was found, without a pause."""
    for _ in keeping.look():
        pass
    return True
