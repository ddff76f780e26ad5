"""The figures of a search: load against latency, against loss, against what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loadgen.capacity.model import Capacity, Ending, Flow, Search, SearchKind, Step
from loadgen.capacity.wording import ENDING_WORD, NONE, breaks_text, components_of, level_text, short, used
from loadgen.config import ConfigError, Objectives, parse_profile
from loadgen.model import Signal
from loadgen.report.chart import BAD, COLOURS, QUIET, Row, Trace, dots, line, plain, stacked
from loadgen.report.parts import Chart
from loadgen.report.series import Floats
from loadgen.units import bytes_text, duration_text

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
_MOST_TICKS = 5
_SHORTEST_S = 1e-4
_LEGEND_LINE = 24
_TITLE_LINE = 20
_UNIT_TITLE = {
    "B/s": "plain bytes per second",
    "times": "times the profile's load",
    "series": "active series",
    "queries/s": "queries per second",
}


def objectives_of(capacity: Capacity) -> Objectives | None:
    """What the profile promises; None when the stored profile cannot be read."""
    try:
        return parse_profile(capacity.profile, "capacity.json").objectives
    except ConfigError:
        return None


def flow_of(step: Step, signal: str) -> Flow | None:
    """The load of one signal in a step."""
    return next((flow for flow in step.flows if flow.signal == signal), None)


def signals_of(kind: SearchKind, steps: Sequence[Step]) -> tuple[str, ...]:
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
    drawn, height = stacked(rows, _axis(search, [step.level for step in steps]), bounds_at="left")
    # On a narrow screen the legend has two entries a line.
    more = _TITLE_LINE + _LEGEND_LINE * max(0, len({step.ending for step in steps}) // 2 - 1)
    drawn["layout"]["margin"]["b"] += more
    height += more
    broken = breaks_text(search, steps)
    if broken != NONE and search.broke:
        _band(drawn["layout"], search.broke, f"promises broken from {broken} on")
    broke = f" Promises were broken from {broken} on." if broken != NONE else ""
    alt = (
        f"Load ({search.kind}, logarithmic) against {', '.join(row.title for row in rows)}: "
        f"{len(steps)} steps from {level_text(steps[0].level, search.unit)} to "
        f"{level_text(steps[-1].level, search.unit)}, those that broke a promise marked with a red cross.{broke}"
    )
    return Chart(f"{search.kind}-load", alt, drawn, height)


def _by_level(step: Step) -> tuple[float, int]:
    return step.level, step.number


# -- rows ----------------------------------------------------------------------------------------------------------


def _latency(search: Search, steps: Sequence[Step], objectives: Objectives | None) -> list[Row]:
    """The hockey stick: a row a signal; for queries one row with a line a component."""
    signals = signals_of(search.kind, steps)
    if search.kind is SearchKind.QUERIES:
        lines = [_ChartLine(signal, COLOURS[signal], _of(signal, "query_p99_s")) for signal in signals]
        limits = [(objectives.of(Signal(one)).query_p99, one) for one in signals] if objectives is not None else []
        return [_latency_row(search, steps, "panel query p99", lines, limits)]
    rows = []
    for signal in signals:
        lines = [
            _ChartLine("push", COLOURS[signal], _of(signal, "push_p99_s")),
            _ChartLine("panel query", COLOURS["grafana"], _of(signal, "query_p99_s")),
            _ChartLine("freshness", COLOURS["loadgen"], _of(signal, "freshness_p99_s")),
        ]
        limits = []
        if objectives is not None:
            bounds = objectives.of(Signal(signal))
            limits = [(bounds.query_p99, "query"), (bounds.freshness_p99, "freshness")]
        rows.append(_latency_row(search, steps, f"{signal} p99", lines, limits))
    return rows


def _latency_row(
    search: Search, steps: Sequence[Step], title: str, lines: Sequence[_ChartLine], limits: Sequence[tuple[float, str]]
) -> Row:
    texts = tuple((value, f"{names} bound {duration_text(value)}") for value, names in _shared(limits))
    return _row(search, steps, title, lines, "%{y:.3s}s", log=True, limits=texts)


def _shared(limits: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """Bounds of the same value share one line, and one label."""
    names: dict[float, list[str]] = {}
    for value, name in limits:
        names.setdefault(value, []).append(name)
    return [(value, " and ".join(these)) for value, these in names.items()]


def _loss(search: Search, steps: Sequence[Step], objectives: Objectives | None) -> list[Row]:
    """Not accepted, as a share; lost and failed, where there is any, as numbers."""
    signals = signals_of(search.kind, steps)
    refused = [_ChartLine(one, COLOURS[one], _of(one, "not_accepted_share", 100)) for one in signals]
    lost = [_ChartLine(one, COLOURS[one], _of(one, "lost_items")) for one in signals]
    failed = _ChartLine("queries", COLOURS["grafana"], lambda step: float(step.failed_queries))
    limits: tuple[tuple[float, str], ...] = ()
    if objectives is not None and signals:
        bound = min(objectives.of(Signal(signal)).not_accepted_percent for signal in signals)
        limits = ((bound, f"bound {bound:g} %"),)
    rows = [_row(search, steps, "not accepted", refused, "%{y:.3g} %", suffix=" %", limits=limits, least=1.0)]
    if any(flow.lost_items for step in steps for flow in step.flows if flow.signal in signals):
        rows.append(_row(search, steps, "accepted and lost", lost, "%{y:,} items", least=1.0))
    if any(step.failed_queries for step in steps):
        rows.append(_row(search, steps, "failed", [failed], "%{y:,} queries", least=1.0))
    return rows


def _cost(capacity: Capacity, search: Search, steps: Sequence[Step]) -> list[Row]:
    """Cores and memory, a line a component, with the memory that it may use."""
    cores, memory, limits = [], [], []
    for component in components_of(capacity):
        colour = COLOURS.get(component, QUIET)
        cores.append(_ChartLine(component, colour, _use(component, "cores")))
        memory.append(_ChartLine(component, colour, _use(component, "memory_bytes")))
        bounds = [value for step in steps if (value := used(step, component, "memory_limit_bytes"))]
        if bounds:
            limits.append((max(bounds), component))
    texts = tuple((value, plain(f"{names} may use {bytes_text(value)}")) for value, names in _shared(limits))
    return [
        _row(search, steps, "CPU cores", cores, "%{y:.3g} cores"),
        _row(search, steps, "memory", memory, "%{y:.3s}B", suffix="B", limits=texts),
    ]


def _of(signal: str, name: str, factor: float = 1.0) -> Value:
    def value(step: Step) -> float | None:
        flow = flow_of(step, signal)
        found = getattr(flow, name) if flow is not None else None
        return None if found is None else factor * found

    return value


def _use(component: str, resource: str) -> Value:
    return lambda step: used(step, component, resource)


# -- traces --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ChartLine:
    """A line of a row: its name, its colour, and its value at a step."""

    name: str
    colour: str
    value: Value


def _row(
    search: Search,
    steps: Sequence[Step],
    title: str,
    lines: Sequence[_ChartLine],
    hover: str,
    *,
    log: bool = False,
    suffix: str = "",
    limits: tuple[tuple[float, str], ...] = (),
    least: float | None = None,
) -> Row:
    """A row of those lines that have a value; its axis reaches to ``least`` at least, so that little looks little."""
    drawn = [(one, _drawn(search, steps, one, log)) for one in lines]
    traces = [trace for _, mine in drawn for trace in mine]
    names = [(one.name, one.colour) for one, mine in drawn if mine]
    extra: dict[str, Any] = {}
    if least is not None:
        high = max([least, *(value for trace in traces for value in trace["y"] if value is not None)])
        # A mark at zero is not cut in half.
        extra = {"range": [-0.05 * high, 1.1 * high], "rangemode": "normal"}
    if log:
        seen = [*(value for trace in traces for value in trace["y"] if value), *(value for value, _ in limits)]
        low, high = math.log10(min(seen, default=0.01)), math.log10(max(seen, default=1.0))
        # The text of the highest bound stands above its line, and below the title.
        extra = {"range": [low - 0.2, high + max(0.2, 0.16 * (high - low))]}
    return Row(title, traces, hover, log=log, limits=limits, suffix=suffix, names=names, extra=extra)


def _drawn(search: Search, steps: Sequence[Step], one: _ChartLine, log: bool) -> list[Trace]:
    """A line through the steps that were judged, and a mark for each step by how it ended; nothing without a value."""
    known = [(step, y) for step in steps if (y := one.value(step)) is not None and math.isfinite(y)]
    if log:  # there is no zero on it
        known = [(step, max(_SHORTEST_S, y)) for step, y in known]
    if not known:
        return []
    # A level that was tried twice counts by its last try.
    joined = list({step.level: (step, y) for step, y in known if step.ending in _JOINED}.values())
    traces = [{**line(one.name, *_points(joined), one.colour), "showlegend": False}] if joined else []
    for ending, symbol in _SYMBOL.items():
        mine = [(step, y) for step, y in known if step.ending is ending]
        if mine:
            texts = [f"step {step.number}, {level_text(step.level, search.unit)}: {one.name}" for step, _ in mine]
            shade = {Ending.KEPT: one.colour, Ending.BROKEN: BAD}.get(ending, QUIET)
            traces.append(dots(ENDING_WORD[ending], *_points(mine), shade, symbol, [plain(text) for text in texts]))
    return traces


def _points(known: Sequence[tuple[Step, float]]) -> tuple[Floats, Floats]:
    return np.array([step.level for step, _ in known]), np.array([y for _, y in known], dtype=np.float64)


def _band(layout: dict[str, Any], from_level: float, text: str) -> None:
    """What lies beyond the stack's limit, shaded in all rows."""
    begin, end = math.log10(from_level), layout["xaxis"]["range"][1]
    layout["shapes"].append(
        {
            "type": "rect",
            "xref": "x",
            "x0": from_level,
            "x1": 10**end,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "fillcolor": "rgba(201,64,58,0.10)",
            "line": {"width": 0},
            "layer": "below",
        }
    )
    layout["annotations"].append(
        {
            "text": plain(text),
            "xref": "x",
            "x": end if begin > (end + layout["xaxis"]["range"][0]) / 2 else begin,
            "xanchor": "right" if begin > (end + layout["xaxis"]["range"][0]) / 2 else "left",
            "yref": "paper",
            "y": 1,
            "yanchor": "bottom",
            "yshift": 15,
            "showarrow": False,
            "font": {"size": 10, "color": BAD},
        }
    )


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
        "ticktext": [plain(_tick_text(tick, search.unit)) for tick in ticks],
        "title": {
            "text": plain(_UNIT_TITLE.get(search.unit, short(search.unit, 40))),
            "font": {"size": 12},
            "standoff": 6,
        },
        "zeroline": False,
    }


def _tick_text(level: float, unit: str) -> str:
    """Without the unit, which stands below: on a narrow screen there is no room for it at every tick."""
    return bytes_text(level) if unit == "B/s" else f"{level:g}×" if unit == "times" else f"{level:,g}"


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
