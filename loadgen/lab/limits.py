"""The limits that embedded servers are given by configuration: their names, and how they are read and told.

A limit is a number in plain units (bytes/s, samples/s, streams, …) under a name such as ``loki.rate``.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from loadgen.lab.settings import Limits
from loadgen.lab.state import LabError
from loadgen.scrape.process import resident_bytes
from loadgen.units import bytes_text, count_text, size_bytes

NONE = "none"
WATCH_EVERY_S = 0.05

_LOG = logging.getLogger("loadgen.lab")


@dataclass(frozen=True, slots=True)
class LimitKind:
    """One limit that can be set.

    Attributes:
        component: whose.
        what: the rest of its name: ``rate``, ``streams``, ``live_traces``, ``series`` or ``memory``.
        field: of `Limits`.
        unit: of its value: ``B/s``, ``B``, ``samples/s`` or, for a mere number, the word for what is counted.
        example: a value as people write it.
        setting: where a real server has it.
    """

    component: str
    what: str
    field: str
    unit: str
    example: str
    setting: str

    @property
    def name(self) -> str:
        """As people write it."""
        return f"{self.component}.{self.what}"

    def read(self, text: str) -> float:
        """The number in a text such as ``4MB/s`` or ``20000``. Raises LabError."""
        try:
            if self.unit in ("B/s", "B"):
                value = size_bytes(text)
            else:
                value = float(text.strip().removesuffix("/s").replace("_", ""))
        except ValueError:
            value = 0.0
        self.check(value, text)
        return value

    def check(self, value: float, text: str = "") -> None:
        """Refuses what is no limit with a LabError."""
        sensible = 0 < value < float("inf") and (self.unit in ("B/s", "samples/s") or value == int(value))
        if not sensible:
            raise LabError(
                f"limit {self.name}: '{text or value}' is no number of {self.unit} above zero; write it like "
                f"{self.name}={self.example}, or {self.name}={NONE} for no limit"
            )

    def tell(self, value: float) -> str:
        """The value for people, e.g. ``4 MB/s``."""
        if self.unit in ("B/s", "B"):
            return bytes_text(value) + self.unit.removeprefix("B")
        return f"{count_text(value)} {self.unit}"


_MEMORY = "a memory limit of its container or service, and GOMEMLIMIT in its environment"

KINDS = (
    LimitKind("loki", "rate", "rate_bytes_per_s", "B/s", "4MB/s", "limits_config.ingestion_rate_mb in loki.yaml"),
    LimitKind(
        "loki", "streams", "max_streams", "streams", "200", "limits_config.max_global_streams_per_user in loki.yaml"
    ),
    LimitKind(
        "tempo",
        "rate",
        "rate_bytes_per_s",
        "B/s",
        "2MB/s",
        "overrides.defaults.ingestion.rate_limit_bytes in tempo.yaml",
    ),
    LimitKind(
        "tempo",
        "live_traces",
        "max_live_traces",
        "traces",
        "1000",
        "overrides.defaults.ingestion.max_traces_per_user in tempo.yaml",
    ),
    LimitKind(
        "mimir",
        "rate",
        "rate_samples_per_s",
        "samples/s",
        "50000",
        "limits.ingestion_rate in mimir.yaml (or cortex.yaml)",
    ),
    LimitKind(
        "mimir",
        "series",
        "max_series",
        "series",
        "20000",
        "limits.max_global_series_per_user in mimir.yaml (max_series_per_user in cortex.yaml)",
    ),
    *(
        LimitKind(component, "memory", "max_memory_bytes", "B", "200MB", _MEMORY)
        for component in ("loki", "tempo", "mimir", "grafana")
    ),
)
"""All limits that can be set."""

_BY_NAME = {kind.name: kind for kind in KINDS}


def kind_of(name: str) -> LimitKind:
    """The limit of this name. Raises LabError for an unknown one."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise LabError(f"no limit is called '{name}'; there are {', '.join(_BY_NAME)}") from None


def parse_limits(texts: Iterable[str]) -> dict[str, float | None]:
    """``loki.rate=4MB/s`` and so on, as name to number; None takes a limit away, and ``none`` all of them.

    Raises:
        LabError: the name is unknown or the value cannot be read.
    """
    wanted: dict[str, float | None] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if name == NONE and not equals:
            wanted.update(dict.fromkeys(_BY_NAME))
            continue
        kind = kind_of(name)
        if not value:
            raise LabError(f"limit '{text}' has no value; write it like {kind.name}={kind.example}")
        wanted[name] = None if value == NONE else kind.read(value)
    return wanted


def merged(before: Mapping[str, float], wanted: Mapping[str, float | None]) -> tuple[tuple[str, float], ...]:
    """The limits after a change, in the order of `KINDS`. Raises LabError for an unknown name or a senseless value."""
    after = dict(before)
    for name, value in wanted.items():
        kind = kind_of(name)
        if value is None:
            after.pop(name, None)
        else:
            kind.check(value)
            after[name] = float(value)
    return tuple((name, after[name]) for name in _BY_NAME if name in after)


def limits_of(component: str, values: Iterable[tuple[str, float]]) -> Limits:
    """What one server refuses. Names that are not known any more are passed over."""
    limits = Limits()
    for name, value in values:
        kind = _BY_NAME.get(name)
        if kind is not None and kind.component == component:
            change: dict[str, Any] = {kind.field: value if kind.field.startswith("rate_") else int(value)}
            limits = replace(limits, **change)
    return limits


def tell(values: Iterable[tuple[str, float]]) -> str:
    """For people: ``loki.rate 4 MB/s, mimir.series 20,000 series``; empty without limits."""
    return ", ".join(f"{name} {kind_of(name).tell(value)}" for name, value in values)


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def watch_memory(
    limit_bytes: int,
    resident: Callable[[], int] = resident_bytes,
    kill: Callable[[], None] = _kill_self,
    every_s: float = WATCH_EVERY_S,
) -> threading.Thread:
    """Starts a thread that ends this process at once, as a kernel ends a container, when it uses more memory.

    Args:
        limit_bytes: how much it may use.
        resident: how much it uses.
        kill: ends it; if it returns, the thread ends.
        every_s: how often to look.
    """

    def work() -> None:
        while resident() <= limit_bytes:
            time.sleep(every_s)
        _LOG.error("more than %s of memory: killed, as a container is at its limit", bytes_text(limit_bytes))
        kill()

    thread = threading.Thread(target=work, name="memory", daemon=True)
    thread.start()
    return thread
