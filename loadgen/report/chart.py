"""Figures: rows of lines over one axis: mostly of time, with the restarts marked in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from loadgen.model import NS
from loadgen.report.parts import Facts, Figure
from loadgen.report.series import Floats, numbers
from loadgen.units import duration_text

# Chosen to differ for colour-blind eyes, and to stand out on white and on near-black alike.
COLOURS = {
    "logs": "#2f7fc1",
    "loki": "#2f7fc1",
    "metrics": "#c8741a",
    "mimir": "#c8741a",
    "traces": "#8d62c9",
    "tempo": "#8d62c9",
    "loadgen": "#3d8f6b",
    "grafana": "#b5588a",
}
BAD = "#c9403a"
QUIET = "#8a8f98"
ROW_HEIGHT = 150
MARGIN_HEIGHT = 104

Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a figure.

    Attributes:
        title: shown above it.
        traces: its lines; x is in seconds since the load began, where the axis is of time.
        hover: how a value reads, a template of plotly, e.g. ``%{y:.3s}s``.
        log: the value axis is logarithmic, in seconds.
        limits: bounds to draw, each with its text.
        suffix: unit on the value axis.
        names: of its lines, each with its colour, to stand beside the title instead of in the legend.
    """

    title: str
    traces: Sequence[Trace]
    hover: str
    log: bool = False
    limits: Sequence[tuple[float, str]] = ()
    suffix: str = ""
    names: Sequence[tuple[str, str]] = ()
    extra: dict[str, Any] = field(default_factory=dict)


def line(
    name: str,
    x: Floats,
    y: Floats,
    colour: str,
    dash: str = "solid",
    width: float = 1.6,
    fill: bool = False,
    shape: str = "linear",
) -> Trace:
    """A line; gaps where there is no value."""
    trace: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": numbers(x, 7),
        "y": numbers(y),
        "line": {"color": colour, "width": width, "dash": dash, "shape": shape},
        "connectgaps": False,
    }
    if fill:
        trace |= {"fill": "tozeroy", "fillcolor": colour + "2e"}
    return trace


def dots(name: str, x: Floats, y: Floats, colour: str, symbol: str = "circle", texts: Sequence[str] = ()) -> Trace:
    """Single observations."""
    trace: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": numbers(x, 7),
        "y": numbers(y),
        "marker": {"color": colour, "size": 6 if symbol == "circle" else 8, "symbol": symbol, "opacity": 0.75},
    }
    if texts:
        trace["text"] = list(texts)
    return trace


def time_scale(length_s: float) -> tuple[float, str]:
    """Seconds in the unit of the time axis, and its name."""
    if length_s <= 600:
        return 1.0, "s"
    return (60.0, "min") if length_s <= 18_000 else (3600.0, "h")


def figure(facts: Facts, rows: Sequence[Row], until_s: float | None = None) -> tuple[Figure, int]:
    """A figure of some rows over time, and its height in pixels."""
    scale, unit = time_scale(facts.length_s)
    end_s = max(facts.length_s, until_s or 0.0)
    axis = {"ticksuffix": f" {unit}", "nticks": 8, "range": [0, end_s / scale], "zeroline": False}
    scaled = [replace(row, traces=[_scaled(trace, scale) for trace in row.traces]) for row in rows]
    drawn, height = stacked(scaled, axis)
    _faults(facts, drawn["layout"], scale, end_s)
    return drawn, height


def _scaled(trace: Trace, scale: float) -> Trace:
    return {**trace, "x": [None if value is None else float(f"{value / scale:.7g}") for value in trace["x"]]}


def stacked(
    rows: Sequence[Row], axis: dict[str, Any], bounds_at: Literal["left", "right"] = "right"
) -> tuple[Figure, int]:
    """A figure of some rows over one axis, and its height in pixels.

    ``axis`` has plotly's settings, with a range; ``bounds_at`` is the side on which the texts of bounds stand.
    """
    gap = 0.0 if len(rows) == 1 else 0.3 / len(rows)
    share = (1 - gap * (len(rows) - 1)) / len(rows)
    side = axis["range"][0 if bounds_at == "left" else 1]
    layout: dict[str, Any] = {
        "hovermode": "x unified" if len(rows) == 1 else "closest",
        "margin": {"l": 64, "r": 18, "t": 48, "b": 52},
        "legend": {"orientation": "h", "y": 0, "yref": "container", "yanchor": "bottom", "x": 0},
        "xaxis": {**axis, "anchor": f"y{len(rows)}" if len(rows) > 1 else "y"},
        "shapes": [],
        "annotations": [],
    }
    data: list[Trace] = []
    for number, row in enumerate(rows):
        name = "y" if number == 0 else f"y{number + 1}"
        top = 1 - number * (share + gap)
        layout["yaxis" + name[1:]] = {
            "domain": [max(0.0, top - share), top],
            "zeroline": False,
            "rangemode": "tozero",
            "ticksuffix": row.suffix,
            "nticks": 5,
            "anchor": "x",
            **(_log_axis(row) if row.log else {"exponentformat": "SI"}),
            **row.extra,
        }
        layout["annotations"].append(
            {
                "text": f"<b>{row.title}</b>{_names(row)}",
                "xref": "paper",
                "x": 0,
                "xanchor": "left",
                "yref": "paper",
                "y": top,
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 12},
            }
        )
        for limit in row.limits:
            layout["shapes"].append(_limit_line(limit, name))
            layout["annotations"].append(_limit_text(limit, name, side, bounds_at, row.log))
        for trace in row.traces:
            text = "%{text}<br>" if "text" in trace else ""
            data.append({**trace, "yaxis": name, "hovertemplate": text + row.hover})
    _one_legend(data)
    return {"data": data, "layout": layout}, ROW_HEIGHT * len(rows) + MARGIN_HEIGHT + (60 if len(rows) == 1 else 0)


def _names(row: Row) -> str:
    spans = [f'<span style="color:{colour}">{plain(name)}</span>' for name, colour in row.names]
    return f" {' · '.join(spans)}" if spans else ""


def _log_axis(row: Row) -> dict[str, Any]:
    values = [value for trace in row.traces for value in trace["y"] if value]
    low = np.log10(max(1e-4, min(values, default=1e-2)))
    high = np.log10(max([*values, *(value for value, _ in row.limits), 1e-3]))
    low, high = float(np.floor(low * 4) / 4) - 0.1, float(np.ceil(high * 4) / 4) + 0.1
    # Few decades have room for more lines, and need them to be read.
    steps = (1, 2, 5) if high - low < 2 else (1,)
    ticks = [step * 10.0**power for power in range(-4, 7) for step in steps]
    return {
        "type": "log",
        "range": [low, high],
        "tickvals": ticks,
        "ticktext": [duration_text(tick) for tick in ticks],
        "rangemode": "normal",
    }


def _limit_line(limit: tuple[float, str], axis: str) -> dict[str, Any]:
    value = limit[0]
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": axis,
        "y0": value,
        "y1": value,
        "line": {"color": QUIET, "width": 1.2, "dash": "dot"},
    }


def _limit_text(limit: tuple[float, str], axis: str, side: float, anchor: str, log: bool) -> dict[str, Any]:
    value, text = limit
    return {
        "text": text,
        "xref": "x",
        "x": side,
        "xanchor": anchor,
        "yref": axis,
        "y": float(np.log10(value)) if log else value,
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 10, "color": QUIET},
    }


def _faults(facts: Facts, layout: dict[str, Any], scale: float, end_s: float) -> None:
    """A shaded band from the injection to the first query that works, with its name above."""
    for number, fault in enumerate(sorted(facts.history.faults, key=lambda one: one.began_ns)):
        begin_s = (fault.began_ns - facts.began_ns) / NS
        until_ns = fault.query_ok_ns or fault.healed_ns
        until_s = (until_ns - facts.began_ns) / NS if until_ns and not fault.error else end_s
        # A band that would be thinner than a hair is drawn as wide as one.
        until_s = max(until_s, begin_s + end_s / 250)
        layout["shapes"].append(
            {
                "type": "rect",
                "xref": "x",
                "x0": begin_s / scale,
                "x1": until_s / scale,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "fillcolor": "rgba(201,64,58,0.16)",
                "line": {"width": 0},
                "layer": "below",
            }
        )
        layout["annotations"].append(
            {
                "text": plain(f"{fault.component} {fault.fault}"),
                "xref": "x",
                "x": begin_s / scale,
                "xanchor": "left",
                "yref": "paper",
                "y": 1,
                "yanchor": "bottom",
                "yshift": 15 + 11 * (number % 2),
                "showarrow": False,
                "font": {"size": 10, "color": BAD},
            }
        )


def _one_legend(data: list[Trace]) -> None:
    """Lines of the same name in several rows share one entry of the legend, grey where their colours differ.

    What says itself that it is not for the legend stays as it is.
    """
    by_name: dict[str, list[Trace]] = {}
    for trace in data:
        if "showlegend" in trace:
            continue
        by_name.setdefault(str(trace["name"]), []).append(trace)
    for name, group in by_name.items():
        part = "line" if group[0]["mode"] == "lines" else "marker"
        for number, trace in enumerate(group):
            trace |= {"legendgroup": name, "showlegend": number == 0}
        if len({trace[part]["color"] for trace in group}) > 1:
            group[0]["showlegend"] = False
            entry = {key: group[0][key] for key in ("type", "mode", "name", "yaxis")}
            style = {**group[0][part], "color": QUIET}
            data.append({**entry, part: style, "x": [None], "y": [None], "legendgroup": name, "showlegend": True})


def plain(text: str) -> str:
    """Text from outside for a chart: plotly reads some HTML tags in its texts, so none may be left in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
