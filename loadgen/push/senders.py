"""Who sends what how: from a target to the senders of the virtual users."""

from __future__ import annotations

from loadgen.clock import Clock
from loadgen.config import Target
from loadgen.model import Signal
from loadgen.plan import Plan
from loadgen.push.retry import PushPolicy
from loadgen.push.sdk import SdkSender
from loadgen.push.stream import Sender
from loadgen.push.ways import shares_of
from loadgen.push.ways.way import Pusher, Pushing, Way, way_for


class Senders:
    """The connections of one process; users of a way share its pool."""

    def __init__(self, plan: Plan, target: Target, clock: Clock) -> None:
        self._plan, self._target, self._clock = plan, target, clock
        self._policy = PushPolicy(timeout_s=plan.profile.run.timeout, retry_for_s=plan.profile.run.retry_for)
        self._open: dict[Way, Pusher] = {}
        self._sdk: SdkSender | None = None

    def of(self, signal: Signal, user: int) -> Sender:
        """The sender of a user; each way of a kind has its share of the users, spread evenly."""
        way = way_for(user, shares_of(signal, self._target, self._plan.profile))
        if way not in self._open:
            self._open[way] = way.open(self._target, Pushing(self._policy, self._clock))
        pusher = self._open[way]
        return Sender(way.transport, self._plan.body, lambda _, body: pusher.push(body.wire))

    def sdk(self) -> Sender:
        """The sender that goes through the OpenTelemetry SDK and its own exporters."""
        if self._sdk is None:
            self._sdk = SdkSender(self._plan, self._target, self._policy, self._clock)
        return Sender("sdk", self._plan.body, self._sdk.push)

    def close(self) -> None:
        """Close all connections."""
        for pusher in self._open.values():
            pusher.close()
        if self._sdk is not None:
            self._sdk.close()
