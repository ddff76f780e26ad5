"""A component is restarted in order, as by a roll-out: SIGTERM, wait for its end or kill it at last, start."""

from __future__ import annotations

from types import TracebackType

from loadgen.faults.disruptor import Disruptor
from loadgen.model import Component


class Restart:
    """SIGTERM on entering, start on leaving."""

    def __init__(self, disruptor: Disruptor, component: Component, grace_s: float) -> None:
        self._disruptor, self._component, self._grace_s = disruptor, component, grace_s
        self.what = "restart"

    def __enter__(self) -> Restart:
        if not self._disruptor.stop(self._component, self._grace_s):
            self.what = f"restart (killed after {self._grace_s:g} s of grace)"
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._disruptor.start(self._component)
