"""The Locust users: a natural thing of a cluster each, so the user count is the load."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import ClassVar

import gevent
from gevent.pool import Group
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser

from loadgen.kinds.traces.source import SDK_USER
from loadgen.model import NS, Outcome, QueryTiming, Receipt, Signal
from loadgen.push.stream import Sender, Stream
from loadgen.queries.dashboard import panels
from loadgen.queries.panel import Panel
from loadgen.users.load import Load
from loadgen.users.looking import Looks
from loadgen.users.numbers import NoNumberLeft

log = logging.getLogger("loadgen")

STOP_WITHIN_S = 3.0


class LoadError(Exception):
    """A push or query that did not succeed, for Locust's own statistics."""


def _load(environment: Environment) -> Load:
    load: Load = environment.loadgen
    return load


class _Pusher(User):  # type: ignore[misc]
    """A user that pushes the batches of one stream as they fall due."""

    abstract = True
    signal: ClassVar[Signal]

    def on_start(self) -> None:
        load = self._load = _load(self.environment)
        try:
            self._user = load.next_user(self.signal)
        except NoNumberLeft as problem:
            log.error("%s", problem)
            raise StopUser from problem
        # Laying out a body for the first time takes milliseconds that would count as latency of the first push.
        load.plan.source(self.signal).prepare(self._user)
        self._stream = self._open(load)
        every_ns = load.profile.freshness.every * NS
        interval_ns = load.plan.source(self.signal).load.interval_ns
        self._probe_each = max(1, round(every_ns / interval_ns))
        self._count = 0

    def _open(self, load: Load) -> Stream:
        return _stream(load, self.signal, self._user, load.senders.of(self.signal, self._user))

    def wait_time(self) -> float:
        return self._stream.wait_s()

    @task
    def push(self) -> None:
        gevent.sleep(self._stream.wait_s())  # the first one has a time of its own too
        receipt = self._stream.step()
        _tell_locust(self.environment, receipt)
        self._load.remember(receipt)
        if self._count % self._probe_each == 0:
            self._load.probe(receipt)
        self._count += 1


class LogShipper(_Pusher):
    """A pod whose log lines are shipped to Loki."""

    signal = Signal.LOGS


class MetricsAgent(_Pusher):
    """An agent that scrapes one instance and remote-writes its series to Mimir."""

    signal = Signal.METRICS


class TracedService(_Pusher):
    """An instrumented service whose traces go to Tempo by OTLP; the first also sends through the OpenTelemetry SDK."""

    signal = Signal.TRACES

    def on_start(self) -> None:
        super().on_start()
        load = self._load
        if load.profile.traces.sdk_every > 0 and not load.sdk_started and load.worker == 0:
            load.sdk_started = True
            self._sdk = gevent.spawn(self._sdk_probe, load)

    def on_stop(self) -> None:
        sdk = getattr(self, "_sdk", None)
        if sdk is not None:
            sdk.kill(timeout=5)
            self._load.sdk_started = False

    def _sdk_probe(self, load: Load) -> None:
        every = max(1, round(load.profile.traces.sdk_every * NS / load.plan.traces.load.interval_ns))
        stream = _stream(load, Signal.TRACES, SDK_USER, load.senders.sdk(), every)
        while not load.stopping:
            gevent.sleep(stream.wait_s())
            receipt = stream.step()
            _tell_locust(self.environment, receipt)
            load.probe(receipt)


class DashboardViewer(User):  # type: ignore[misc]
    """A person who looks at panels through Grafana, one at each planned time, whatever became of those before."""

    def on_start(self) -> None:
        load = self._load = _load(self.environment)
        self._n = load.next_viewer()
        self._due_ns = load.clock()
        self._refresh_ns = round(load.profile.dashboards.refresh * NS)
        self._looks = Looks(self._ask, self._record, load.clock, Group(), load.readers.via)

    def on_stop(self) -> None:
        # What has fallen due by now was planned, though nobody comes to it any more.
        self._looks.close()
        now_ns = self._load.clock()
        try:
            while self._due_ns <= now_ns:
                self.look()
        finally:
            self._looks.end(STOP_WITHIN_S)

    def wait_time(self) -> float:
        return max(0, self._due_ns - self._load.clock()) / NS

    @task
    def look(self) -> None:
        load = self._load
        due_ns, self._n = self._due_ns, self._n + 1
        self._due_ns += self._refresh_ns
        try:
            choice = panels(load.plan, load.readers, load.clock(), *load.known_trace())
        except Exception as problem:
            # A mistake of ours, and it goes up; but what was planned must not vanish with it.
            self._looks.unable(due_ns, f"loadgen could not plan a panel: {type(problem).__name__}: {problem}"[:300])
            raise
        if choice:
            self._looks.plan(choice[self._n % len(choice)], due_ns)
        else:
            self._looks.unable(due_ns, "there was no panel to look at")

    def _ask(self, panel: Panel, due_ns: int) -> QueryTiming:
        return replace(self._load.shown.judged(panel, panel.ask(self._load.readers, due_ns)), source="viewer")

    def _record(self, timing: QueryTiming) -> None:
        self._load.recorder.add(timing)
        tell_of_query(self.environment, timing)


def tell_of_query(environment: Environment, timing: QueryTiming) -> None:
    """Let Locust's own statistics show a query."""
    environment.events.request.fire(
        request_type=timing.component,
        name=f"{timing.kind} {timing.range_s:g} s",
        response_time=(timing.done_ns - timing.due_ns) / 1e6,
        response_length=0,
        exception=None if timing.ok else LoadError(timing.detail),
        context={},
    )


def _stream(load: Load, signal: Signal, user: int, sender: Sender, every: int = 1) -> Stream:
    source = load.plan.source(signal)
    return Stream(
        source.pace(user),
        lambda n: source.batch(user, n),
        sender,
        load.recorder.add,
        load.clock,
        load.profile.run.max_late,
        every,
    )


def _tell_locust(environment: Environment, receipt: Receipt) -> None:
    accepted = receipt.outcome == Outcome.ACCEPTED
    environment.events.request.fire(
        request_type=receipt.transport,
        name=f"push {receipt.signal}",
        response_time=(receipt.done_ns - receipt.due_ns) / 1e6,
        response_length=receipt.wire_bytes,
        exception=None if accepted else LoadError(f"{receipt.outcome}: {receipt.detail}"),
        context={},
    )
