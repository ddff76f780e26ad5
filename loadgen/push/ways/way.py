"""What a way is: how a kind of signal gets into its store."""

from __future__ import annotations

import random as _random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from loadgen.config import Profile, Target
from loadgen.model import Component, Signal
from loadgen.push.retry import PushPolicy, PushResult


class Pusher(Protocol):
    """Sends bodies by one way. Its pool of connections is shared by all users of the way."""

    @property
    def where(self) -> str:
        """The address as it may be shown."""

    def push(self, body: bytes | memoryview) -> PushResult:
        """Push one body, with retries. Raises nothing for what network or server do."""

    def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Pushing:
    """How pushers wait.

    Attributes:
        policy: time limits and backoff.
        clock: epoch nanoseconds.
        sleep: waits so many seconds.
        random: gives numbers in [0, 1) for the jitter.
    """

    policy: PushPolicy
    clock: Callable[[], int] = time.time_ns
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = _random.random

    @property
    def arguments(self) -> tuple[PushPolicy, Callable[[], int], Callable[[float], None], Callable[[], float]]:
        """As pushers take them."""
        return self.policy, self.clock, self.sleep, self.random


@dataclass(frozen=True, slots=True)
class Way:
    """How a kind of signal gets into its store.

    Attributes:
        name: as people call it: ``OTLP/gRPC``.
        transport: as receipts have it: ``http`` or ``grpc``.
        signal: what it carries.
        store: where it leads.
        setting: the key of the store's section in the target that holds its address.
        open: makes a pusher. Raises `ConfigError` where the target does not name an address or a secret is not there.
        probe: asks with so many seconds whether the address takes pushes, and stores nothing there; gives what is
            wrong, empty if nothing is.
        share: of the users of its kind, by the profile, how many go this way (0 to 1), where the target names an
            address for several ways. What none of the others takes goes by the first one in `WAYS`.
    """

    name: str
    transport: str
    signal: Signal
    store: Component
    setting: str
    open: Callable[[Target, Pushing], Pusher]
    probe: Callable[[Target, float], str]
    share: Callable[[Profile], float] = field(default=lambda profile: 1.0)  # noqa: ARG005

    def address(self, target: Target) -> str:
        """Where it goes; empty if the target does not say."""
        address: str = getattr(target.store(self.store), self.setting)
        return address


def probed_by(opened: Callable[[Target, Pushing], Pusher], body: bytes) -> Callable[[Target, float], str]:
    """A `Way.probe` that pushes a body of which the server stores nothing."""

    def probe(target: Target, timeout_s: float) -> str:
        pusher = opened(target, Pushing(PushPolicy(timeout_s, 0.0)))
        try:
            return pusher.push(body).detail
        finally:
            pusher.close()

    return probe


def way_for(user: int, ways: Mapping[Way, float]) -> Way:
    """The way of a user, so that each way has its share of them, spread evenly.

    Args:
        user: number of the user within its kind.
        ways: shares of the ways that there are; the first one takes who is left over.
    """
    first, *others = ways
    left = 1.0
    for way in reversed(others):
        share = ways[way] / left if left > 0 else 0.0  # of those whom the ways before did not take
        taken = _taken(user, share)
        if _taken(user + 1, share) > taken:
            return way
        user, left = user - taken, left - ways[way]
    return first


def _taken(users: int, share: float) -> int:
    """How many of the first users a share takes; a product such as 0.29 * 100 is not to miss one by its last digit."""
    return int(users * min(1.0, share) + 1e-9)
