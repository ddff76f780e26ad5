"""A component is restarted in order, as by a roll-out: SIGTERM, wait for its end, start."""

from __future__ import annotations

from types import TracebackType

from loadgen.faults.disruptor import Disruptor
from loadgen.model import Component


class Restart:
    """SIGTERM on entering, start on leaving."""

    def __init__(self, disruptor: Disruptor, component: Component) -> None:
        self._disruptor, self._component = disruptor, component

    def __enter__(self) -> None:
        self._disruptor.stop(self._component)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._disruptor.start(self._component)
