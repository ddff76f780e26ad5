"""The figures of a search: load against latency, against loss, against what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loadgen.capacity.model import Capacity, Ending, Flow, Kind, Search, Step
from loadgen.capacity.wording import ENDING_WORD, NONE, breaks_text, components_of, level_text, used
from loadgen.config import ConfigError, Objectives, parse_profile
from loadgen.model import Signal
from loadgen.report.chart import BAD, COLOURS, QUIET, Row, Trace, dots, line, plain, stacked
from loadgen.report.parts import Chart
from loadgen.report.series import Floats
from loadgen.units import duration_text

Value = Callable[[Step], float | None]

# What says nothing of the stack is drawn, but no line goes through it.
_JOINED = (Ending.KEPT, Ending.BROKEN)
_SYMBOL = {
    Ending.KEPT: "circle",
    Ending.BROKEN: "x",
    Ending.GENERATOR: "diamond-open",
    Ending.UNTOLD: "circle-open",
    Ending.INTERRUPTED: "square-open",
}
_STEPS = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0),
    tuple(1 + i / 10 for i in range(90)),
)
_MOST_TICKS = 7
_SHORTEST_S = 1e-4


def objectives_of(capacity: Capacity) -> Objectives | None:
    """What the profile promises; None when the stored profile cannot be read."""
    try:
        return parse_profile(capacity.profile, "capacity.json").objectives
    except ConfigError:
        return None


def flow_of(step: Step, signal: str) -> Flow | None:
    """The load of one signal in a step."""
    return next((flow for flow in step.flows if flow.signal == signal), None)


def signals_of(kind: Kind, steps: Sequence[Step]) -> tuple[str, ...]:
    """The signals whose figures belong to a search: the one that was raised, else all that were sent."""
    sent = {flow.signal for step in steps for flow in step.flows}
    if kind.signal is not None:
        return (kind.signal.value,)
    return tuple(signal for signal in ("logs", "metrics", "traces") if signal in sent)


def search_chart(capacity: Capacity, search: Search) -> Chart | None:
    """One figure for a search; None when no step has a value to draw."""
    steps = sorted((step for step in capacity.of(search.kind) if 0 < step.level < math.inf), key=_by_level)
    objectives = objectives_of(capacity)
    rows = [
        row
        for row in (
            *_latency(search, steps, objectives),
            *_loss(search, steps, objectives),
            *_cost(capacity, search, steps),
        )
        if row.traces
    ]
    if not rows:
        return None
    drawn, height = stacked(rows, _axis(search, [step.level for step in steps]))
    broken = breaks_text(search, steps)
    broke = f" Promises were broken from {broken} on." if broken != NONE else ""
    alt = (
        f"Load ({search.kind}, logarithmic) against {', '.join(_plain_title(row) for row in rows)}: "
        f"{len(steps)} steps from {level_text(steps[0].level, search.unit)} to "
        f"{level_text(steps[-1].level, search.unit)}, those that broke a promise marked with a red cross.{broke}"
    )
    return Chart(f"{search.kind}-load", alt, drawn, height)


def _by_level(step: Step) -> tuple[float, int]:
    return step.level, step.number


def _plain_title(row: Row) -> str:
    return row.title.partition(",")[0]


# -- rows ----------------------------------------------------------------------------------------------------------


def _latency(search: Search, steps: Sequence[Step], objectives: Objectives | None) -> list[Row]:
    """The hockey stick: a row a signal; for queries one row with a line a component."""
    signals = signals_of(search.kind, steps)
    if search.kind is Kind.QUERIES:
        traces, limits = [], []
        for signal in signals:
            traces += _drawn(search, steps, signal, COLOURS[signal], _of(signal, "query_p99_s"), positive=True)
            if objectives is not None:
                limits.append((objectives.of(Signal(signal)).query_p99, f"{signal} queries"))
        return [_latency_row("panel query latency, p99", traces, limits)]
    rows = []
    for signal in signals:
        traces = _drawn(search, steps, "push p99", COLOURS[signal], _of(signal, "push_p99_s"), positive=True)
        traces += _drawn(
            search, steps, "panel query p99", COLOURS["grafana"], _of(signal, "query_p99_s"), positive=True
        )
        traces += _drawn(
            search, steps, "freshness p99", COLOURS["loadgen"], _of(signal, "freshness_p99_s"), positive=True
        )
        limits = []
        if objectives is not None:
            bounds = objectives.of(Signal(signal))
            limits = [(bounds.query_p99, "query"), (bounds.freshness_p99, "freshness")]
        rows.append(_latency_row(f"{signal} latency, p99", traces, limits))
    return rows


def _latency_row(title: str, traces: list[Trace], limits: Sequence[tuple[float, str]]) -> Row:
    """Bounds of the same value share one line."""
    names: dict[float, list[str]] = {}
    for value, name in limits:
        names.setdefault(value, []).append(name)
    texts = [(value, f"{' and '.join(name)} bound {duration_text(value)}") for value, name in names.items()]
    return Row(title, traces, "%{y:.3s}s", log=True, limits=tuple(texts))


def _loss(search: Search, steps: Sequence[Step], objectives: Objectives | None) -> list[Row]:
    """Not accepted, as a share; lost and failed, where there is any, as numbers."""
    refused: list[Trace] = []
    lost: list[Trace] = []
    signals = signals_of(search.kind, steps)
    for signal in signals:
        name = signal if len(signals) > 1 else "pushes not accepted"
        refused += _drawn(search, steps, name, COLOURS[signal], _of(signal, "not_accepted_share", 100))
        if any(_of(signal, "lost_items")(step) for step in steps):
            lost += _drawn(search, steps, name, COLOURS[signal], _of(signal, "lost_items"))
    limits: tuple[tuple[float, str], ...] = ()
    if objectives is not None and signals:
        bound = min(objectives.of(Signal(signal)).not_accepted_percent for signal in signals)
        limits = ((bound, f"bound {bound:g} %"),)
    high = max((_number(y) for trace in refused for y in trace["y"]), default=0.0)
    # An axis of millionths would make nothing look like much.
    room = {"range": [0, 1]} if high < 0.9 else {}
    rows = [Row("pushes not accepted, %", refused, "%{y:.3g} %", suffix=" %", limits=limits, extra=room)]
    if lost:
        rows.append(Row("accepted and lost, items", lost, "%{y:,} items"))
    if any(step.failed_queries for step in steps):
        failed = _drawn(search, steps, "failed queries", COLOURS["grafana"], lambda step: float(step.failed_queries))
        rows.append(Row("failed queries", failed, "%{y:,}"))
    return rows


def _cost(capacity: Capacity, search: Search, steps: Sequence[Step]) -> list[Row]:
    """Cores and memory, a line a component, with the memory that it may use."""
    cores: list[Trace] = []
    memory: list[Trace] = []
    limits = []
    for component in components_of(capacity):
        name, colour = plain(component), COLOURS.get(component, QUIET)
        cores += _drawn(search, steps, name, colour, _use(component, "cores"))
        memory += _drawn(search, steps, name, colour, _use(component, "memory_bytes"))
        bounds = [value for step in steps if (value := used(step, component, "memory_limit_bytes"))]
        if bounds:
            limits.append((max(bounds), f"{name} may use"))
    return [
        Row("CPU, cores", cores, "%{y:.3g} cores"),
        Row("memory, peak", memory, "%{y:.3s}B", suffix="B", limits=tuple(limits)),
    ]


def _of(signal: str, name: str, factor: float = 1.0) -> Value:
    def value(step: Step) -> float | None:
        flow = flow_of(step, signal)
        found = getattr(flow, name) if flow is not None else None
        return None if found is None else factor * found

    return value


def _use(component: str, resource: str) -> Value:
    return lambda step: used(step, component, resource)


def _number(value: float | None) -> float:
    return value if value is not None else 0.0


# -- traces --------------------------------------------------------------------------------------------------------


def _drawn(
    search: Search, steps: Sequence[Step], name: str, colour: str, value: Value, positive: bool = False
) -> list[Trace]:
    """A line through the steps that were judged, and a mark for each step by how it ended; nothing without a value."""
    known = [(step, y) for step in steps if (y := value(step)) is not None and not math.isnan(y)]
    if positive:  # a logarithmic axis has no zero
        known = [(step, max(_SHORTEST_S, y)) for step, y in known]
    if not known:
        return []
    # A level that was tried twice counts by its last try.
    joined = list({step.level: (step, y) for step, y in known if step.ending in _JOINED}.values())
    traces = [line(name, *_points(joined), colour)] if joined else []
    for ending, symbol in _SYMBOL.items():
        mine = [(step, y) for step, y in known if step.ending is ending]
        if mine:
            texts = [f"step {step.number}, {level_text(step.level, search.unit)}: {name}" for step, _ in mine]
            shade = {Ending.KEPT: colour, Ending.BROKEN: BAD}.get(ending, QUIET)
            traces.append(dots(ENDING_WORD[ending], *_points(mine), shade, symbol, [plain(text) for text in texts]))
    return traces


def _points(known: Sequence[tuple[Step, float]]) -> tuple[Floats, Floats]:
    return np.array([step.level for step, _ in known]), np.array([y for _, y in known], dtype=np.float64)


# -- the axis of load ----------------------------------------------------------------------------------------------


def _axis(search: Search, levels: Sequence[float]) -> dict[str, Any]:
    """Logarithmic, because steps double; ticks at round levels, with their unit."""
    low, high = min(levels), max(levels)
    span = max(0.02, math.log10(high / low))
    room = 0.06 * span
    low, high = low / 10**room, high * 10**room
    ticks = _ticks(low, high)
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [plain(level_text(tick, search.unit)) for tick in ticks],
        "zeroline": False,
    }


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two levels: a few, evenly where that is possible."""
    best: list[float] = []
    for steps in _STEPS:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [float(f"{step * 10.0**power:.6g}") for power in powers for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) > _MOST_TICKS:
            every = math.ceil(len(inside) / _MOST_TICKS)
            return best if len(best) >= 3 else inside[::every]
        best = inside
        if len(inside) >= 4:
            return inside
    return best
