"""What a fault needs of the place where the stack runs."""

from __future__ import annotations

from typing import Protocol

from loadgen.model import Component


class DisruptorError(Exception):
    """A component could not be stopped or started; the text says how to heal it by hand."""


class Disruptor(Protocol):
    """Stops and starts components. Every method returns when it is done, or raises `DisruptorError`."""

    def kill(self, component: Component) -> None:
        """End it at once (SIGKILL): nothing can be written any more."""

    def stop(self, component: Component, grace_s: float) -> bool:
        """End it in order (SIGTERM), and kill it when it has not ended within its grace, as Kubernetes does with a pod.

        Returns when it is gone: True if it ended by itself.
        """

    def start(self, component: Component) -> None:
        """Start it again with the same settings and wait until it listens."""
