"""A component is killed without a warning, as by the kernel when memory runs out, and started again."""

from __future__ import annotations

from types import TracebackType

from loadgen.faults.disruptor import Disruptor
from loadgen.model import Component


class Kill:
    """SIGKILL on entering, start on leaving."""

    def __init__(self, disruptor: Disruptor, component: Component, grace_s: float) -> None:
        del grace_s  # a kill has none
        self._disruptor, self._component = disruptor, component
        self.what = "kill"

    def __enter__(self) -> Kill:
        self._disruptor.kill(self._component)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._disruptor.start(self._component)
