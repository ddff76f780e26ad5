"""Data frames: the answers of the components in the JSON that Grafana's query API gives for them.

The schema follows Grafana's own recorded answers for its Loki and Prometheus data sources: a frame has ``schema``
(``name``, ``refId``, ``meta``, ``fields``) and ``data.values``, one list per field; times are ms, their rest in
``nanos``; NaN and infinities are null and named in ``entities``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import xxhash

from loadgen.lab.grafana.times import QueryError

Frame = dict[str, Any]
_GO_TYPES = {"time": "time.Time", "string": "string", "number": "float64", "other": "json.RawMessage"}


def field(name: str, kind: str, labels: dict[str, str] | None = None, **config: Any) -> dict[str, Any]:
    """A field of a schema; ``kind`` is time, string, number or other."""
    row: dict[str, Any] = {"name": name, "type": kind, "typeInfo": {"frame": _GO_TYPES[kind]}}
    if labels is not None:
        row["labels"] = labels
    if config:
        row["config"] = config
    return row


def frame(
    ref_id: str, name: str, meta: dict[str, Any], fields: Sequence[dict[str, Any]], values: Sequence[list[Any]]
) -> Frame:
    """A whole frame."""
    schema: dict[str, Any] = {"refId": ref_id, "meta": meta, "fields": list(fields)}
    if name:
        schema = {"name": name, **schema}
    return {"schema": schema, "data": {"values": list(values)}}


def legend(labels: dict[str, str], pattern: str = "") -> str:
    """The name of a series: ``metric{a="b"}``, or the pattern with ``{{label}}`` filled in."""
    if pattern and pattern != "__auto":
        for name, value in labels.items():
            pattern = pattern.replace("{{" + name + "}}", value).replace("{{ " + name + " }}", value)
        return pattern
    inner = ", ".join(f'{n}="{_escape(v)}"' for n, v in sorted(labels.items()) if n != "__name__")
    metric = labels.get("__name__", "")
    return f"{metric}{{{inner}}}" if inner or not metric else metric


def number(text: object) -> float:
    """A sample's value; Prometheus writes numbers as text, with ``NaN``, ``+Inf`` and ``-Inf``."""
    return float(str(text))


def series_frames(
    ref_id: str,
    results: Sequence[dict[str, Any]],
    result_type: str,
    executed: str,
    step: int,
    meta_type: str,
    *,
    prometheus: bool,
    pattern: str = "",
) -> list[Frame]:
    """Frames of a matrix or vector, one per series.

    Args:
        ref_id: of the query.
        results: rows with ``metric`` and ``values`` or ``value``.
        result_type: ``matrix`` or ``vector``.
        executed: text of the query that was run.
        step: of a range query in ms, else 0.
        meta_type: the frame type that Grafana names.
        prometheus: as its Prometheus data source does it, else as its Loki data source.
        pattern: of the legend.
    """
    frames = []
    for index, row in enumerate(results):
        labels = {str(name): str(value) for name, value in row["metric"].items()}
        points = row["values"] if result_type == "matrix" else [row["value"]]
        times = [round(float(point[0]) * 1_000) for point in points]
        values = [number(point[1]) for point in points]
        display = legend(labels, pattern)
        meta: dict[str, Any] = {"type": meta_type}
        if prometheus:
            meta.update(typeVersion=[0, 1], custom={"resultType": result_type})
        if index == 0 or not prometheus:
            meta["executedQueryString"] = executed
        time_field = field("Time", "time", None, **({"interval": step} if step else {}))
        name = labels.get("__name__", "Value") if prometheus else "Value"
        value_field = field(name, "number", labels, displayNameFromDS=display)
        made = frame(ref_id, "" if prometheus else display, meta, [time_field, value_field], [times, values])
        _hide_special(made, values)
        frames.append(made)
    return frames


def scalar_frame(ref_id: str, pair: Sequence[Any], executed: str) -> Frame:
    """The frame of a scalar result."""
    meta = {"type": "numeric-multi", "typeVersion": [0, 1], "custom": {"resultType": "scalar"},
            "executedQueryString": executed}  # fmt: skip
    values = [number(pair[1])]
    made = frame(ref_id, "", meta, [field("Time", "time"), field("Value", "number", {})],
                 [[round(float(pair[0]) * 1_000)], values])  # fmt: skip
    _hide_special(made, values)
    return made


def empty_frame(ref_id: str, executed: str) -> Frame:
    """What the Prometheus data source gives for no series."""
    meta = {"type": "timeseries-multi", "typeVersion": [0, 1], "custom": {"resultType": "vector"},
            "executedQueryString": executed}  # fmt: skip
    return frame(ref_id, "", meta, [], [])


def log_frame(ref_id: str, streams: Sequence[dict[str, Any]], executed: str, stats: dict[str, Any]) -> Frame:
    """The frame of log lines, in the order of the answer: stream by stream."""
    labels: list[Any] = []
    times: list[int] = []
    lines: list[str] = []
    nanoseconds: list[str] = []
    types: list[dict[str, str]] = []
    ids: list[str] = []
    seen: dict[str, int] = {}
    for stream in streams:
        own = {str(name): str(value) for name, value in stream["stream"].items()}
        own_types = dict.fromkeys(own, "I")
        text = str(sorted(own.items()))
        for entry in stream["values"]:
            stamp, line = str(entry[0]), str(entry[1])
            all_labels, all_types = _with_metadata(own, own_types, entry)
            labels.append(all_labels)
            times.append(int(stamp) // 1_000_000)
            lines.append(line)
            nanoseconds.append(stamp)
            types.append(all_types)
            key = f"{stamp}_{xxhash.xxh32(f'{line}_{text}'.encode('utf-8', 'surrogatepass')).hexdigest()}"
            count = seen.get(key, 0)
            seen[key] = count + 1
            ids.append(f"{key}_{count}" if count else key)
    meta: dict[str, Any] = {"typeVersion": [0, 0], "custom": {"frameType": "LabeledTimeValues"}}
    meta.update(stats=_stats(stats), executedQueryString=executed)
    fields = [
        field("labels", "other"),
        field("Time", "time"),
        field("Line", "string"),
        field("tsNs", "string"),
        field("labelTypes", "other", custom={"hidden": True}),
        field("id", "string"),
    ]
    made = frame(ref_id, "", meta, fields, [labels, times, lines, nanoseconds, types, ids])
    rest = [int(stamp) % 1_000_000 for stamp in nanoseconds]
    if any(rest):
        made["data"]["nanos"] = [None, rest, None, None, None, None]
    return made


def _with_metadata(
    own: dict[str, str], own_types: dict[str, str], entry: Sequence[Any]
) -> tuple[dict[str, str], dict[str, str]]:
    extra = entry[2] if len(entry) > 2 and isinstance(entry[2], dict) else {}
    structured, parsed = extra.get("structuredMetadata") or {}, extra.get("parsed") or {}
    if not structured and not parsed:
        return own, own_types
    return {**own, **structured, **parsed}, {
        **own_types, **dict.fromkeys(structured, "S"), **dict.fromkeys(parsed, "P")
    }  # fmt: skip


def _stats(stats: dict[str, Any]) -> list[dict[str, Any]]:
    summary = stats.get("summary") if isinstance(stats, dict) else None
    if not isinstance(summary, dict):
        return []
    rows = (
        ("Summary: bytes processed per second", "Bps", "bytesProcessedPerSecond"),
        ("Summary: lines processed per second", "", "linesProcessedPerSecond"),
        ("Summary: total bytes processed", "decbytes", "totalBytesProcessed"),
        ("Summary: total lines processed", "", "totalLinesProcessed"),
        ("Summary: exec time", "s", "execTime"),
    )
    return [
        {"displayName": name, **({"unit": unit} if unit else {}), "value": summary.get(key, 0)}
        for name, unit, key in rows
    ]


def _hide_special(made: Frame, values: list[float]) -> None:
    """Puts null for what JSON cannot hold, and says where it was."""
    if all(map(math.isfinite, values)):
        return
    special: dict[str, list[int]] = {}
    for index, value in enumerate(values):
        if not math.isfinite(value):
            name = "NaN" if math.isnan(value) else "Inf" if value > 0 else "NegInf"
            special.setdefault(name, []).append(index)
    made["data"]["values"][1] = [value if math.isfinite(value) else None for value in values]
    made["data"]["entities"] = [None, special]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def check_shape(data: object, *kinds: str) -> tuple[str, Any]:
    """``resultType`` and ``result`` of an answer; raises QueryError if it is none of these kinds."""
    if isinstance(data, dict) and isinstance(data.get("data"), dict):
        kind = data["data"].get("resultType")
        if kind in kinds and isinstance(data["data"].get("result"), list):
            return str(kind), data["data"]["result"]
    raise QueryError("the component's answer is not of a known form", 502)
