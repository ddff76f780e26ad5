"""How much one virtual user sends: the size and the rhythm of its batches.

A user's load never changes within a run, because the times inside a batch are computed from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from loadgen.model import MS


def _check_interval(what: str, interval_ns: int, parts: int) -> None:
    if interval_ns <= 0 or interval_ns % MS:
        raise ValueError(
            f"{what}: interval_ns is {interval_ns}; it has to be a positive whole number of milliseconds, "
            f"for example {max(MS, interval_ns // MS * MS)}"
        )
    if parts < 1:
        raise ValueError(f"{what}: a batch of {parts} items cannot be sent; ask for at least 1")
    if parts > interval_ns:
        raise ValueError(f"{what}: {parts} items do not fit into {interval_ns} ns; ask for fewer or a longer interval")


@dataclass(frozen=True, slots=True)
class LogLoad:
    """A pod's logs: ``lines_per_batch`` every ``interval_ns`` (whole milliseconds); ValueError if not possible."""

    lines_per_batch: int
    interval_ns: int

    def __post_init__(self) -> None:
        _check_interval("logs", self.interval_ns, self.lines_per_batch)

    @property
    def gap_ns(self) -> int:
        """Time between two lines of a stream."""
        return self.interval_ns // self.lines_per_batch


@dataclass(frozen=True, slots=True)
class MetricLoad:
    """An instance's metrics: every ``interval_ns`` (whole milliseconds) ``samples_per_push`` samples of each of
    ``series``.

    Raises:
        ValueError: if two samples of a series would get the same millisecond, or nothing would be sent.
    """

    series: int
    interval_ns: int
    samples_per_push: int = 1

    def __post_init__(self) -> None:
        _check_interval("metrics", self.interval_ns, self.series)
        if not 1 <= self.samples_per_push <= self.interval_ms:
            raise ValueError(
                f"metrics: {self.samples_per_push} samples of a series do not fit into {self.interval_ms} ms, since "
                "sample times are whole milliseconds; ask for fewer (at least 1) or a longer interval"
            )

    @property
    def interval_ms(self) -> int:
        """Time between two pushes."""
        return self.interval_ns // MS


@dataclass(frozen=True, slots=True)
class TraceLoad:
    """An emitter's traces: ``traces_per_batch`` every ``interval_ns`` (whole milliseconds); ValueError if not
    possible.
    """

    traces_per_batch: int
    interval_ns: int

    def __post_init__(self) -> None:
        _check_interval("traces", self.interval_ns, self.traces_per_batch)

    @property
    def gap_ns(self) -> int:
        """Time between the starts of two traces."""
        return self.interval_ns // self.traces_per_batch
