"""A Locust user that pushes what falls due; each kind of signal has one of its own."""

from __future__ import annotations

import logging
from typing import ClassVar

import gevent
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser

from loadgen.model import NS, Outcome, Receipt, Signal
from loadgen.push.stream import Sender, Stream
from loadgen.users.load import Load
from loadgen.users.numbers import NoNumberLeft

log = logging.getLogger("loadgen")


class LoadError(Exception):
    """A push or query that did not succeed, for Locust's own statistics."""


def _load(environment: Environment) -> Load:
    load: Load = environment.loadgen
    return load


def load_of(environment: Environment) -> Load:
    """What the users of a process share."""
    load: Load = environment.loadgen
    return load


class PushingUser(User):  # type: ignore[misc]
    """A user that pushes the batches of one stream as they fall due."""

    abstract = True
    signal: ClassVar[Signal]

    def on_start(self) -> None:
        load = self._load = load_of(self.environment)
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
        return stream_of(load, self.signal, self._user, load.senders.of(self.signal, self._user))

    def wait_time(self) -> float:
        return self._stream.wait_s()

    @task
    def push(self) -> None:
        gevent.sleep(self._stream.wait_s())  # the first one has a time of its own too
        receipt = self._stream.step()
        tell_of_push(self.environment, receipt)
        self._load.known.acknowledged(receipt)
        if self._count % self._probe_each == 0:
            self._load.probe(receipt)
        self._count += 1


def stream_of(load: Load, signal: Signal, user: int, sender: Sender, every: int = 1) -> Stream:
    """The batches of a user; of n, n+1, … each ``every``-th."""
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


def tell_of_push(environment: Environment, receipt: Receipt) -> None:
    """Let Locust's own statistics show a push."""
    accepted = receipt.outcome == Outcome.ACCEPTED
    environment.events.request.fire(
        request_type=receipt.transport,
        name=f"push {receipt.signal}",
        response_time=(receipt.done_ns - receipt.due_ns) / 1e6,
        response_length=receipt.wire_bytes,
        exception=None if accepted else LoadError(f"{receipt.outcome}: {receipt.detail}"),
        context={},
    )
