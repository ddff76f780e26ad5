"""Parameters and answers of Loki's HTTP API: times, durations, limits, and JSON as the real server prints it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from loadgen.lab.loki.logql_lexer import parse_duration
from loadgen.lab.loki.query import Line, Stats
from loadgen.lab.loki.stats import stats_json
from loadgen.lab.loki.vectors import Vector

JSON = "application/json; charset=UTF-8"
# Loki's default max_query_length.
_LONGEST_NS = 721 * 3_600_000_000_000
_HOUR_NS = 3_600_000_000_000
_MAX_POINTS = 11_000


class LokiBadRequest(Exception):
    """A parameter that cannot be used; answered with 400 and this text."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The query string and, of a POST, the form."""

    values: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """The first value, empty if there is none."""
        return next((v for n, v in self.values if n == name), "")

    def all(self, *names: str) -> list[str]:
        """All values of any of these names."""
        return [v for n, v in self.values if n in names]


async def parameters_of(request: Request) -> Parameters:
    """The parameters of a GET or of a POST with a form."""
    pairs = parse_qsl(request.url.query, keep_blank_values=True)
    if request.method == "POST" and "form-urlencoded" in request.headers.get("content-type", ""):
        form = (await request.body()).decode("utf-8", "replace")
        try:
            pairs = parse_qsl(form, keep_blank_values=True, max_num_fields=1000) + pairs
        except ValueError as error:
            raise LokiBadRequest(f"cannot parse the form: {error}") from error
    return Parameters(tuple(pairs))


def time_of(text: str, default_ns: int) -> int:
    """ns of a time: an integer of up to ten digits is seconds, a longer one ns, a decimal seconds, or RFC 3339."""
    if not text:
        return default_ns
    try:
        if "." in text and "T" not in text:
            value = round(Decimal(text) * 1000) * 1_000_000
        elif text.lstrip("-").isdecimal():
            value = int(text) * (1_000_000_000 if len(text) <= 10 else 1)
        else:
            value = _rfc3339(text)
    except (ValueError, ArithmeticError, OverflowError) as error:
        raise LokiBadRequest(f'parsing time "{text[:60]}" as "2006-01-02T15:04:05Z07:00": cannot parse it') from error
    if not -(1 << 63) <= value < 1 << 63:
        raise LokiBadRequest(f'strconv.ParseInt: parsing "{text[:60]}": value out of range')
    return value


def _rfc3339(text: str) -> int:
    head, dot, rest = text.partition(".")
    digits = "".join(c for c in rest[: len(rest) - len(rest.lstrip("0123456789"))])
    moment = datetime.fromisoformat(head + rest[len(digits) :]) if dot else datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    return seconds * 1_000_000_000 + int(digits[:9].ljust(9, "0") or 0)


def bounds_of(parameters: Parameters, now_ns: int) -> tuple[int, int]:
    """Start and end; by default the hour (or ``since``) before the end, and now. Too far apart they are refused."""
    since_ns = _HOUR_NS
    if since := parameters.get("since"):
        seconds = parse_duration(since)
        if seconds is None:
            raise LokiBadRequest(f"could not parse 'since' parameter: not a valid duration string: \"{since[:40]}\"")
        since_ns = round(seconds * 1e9)
    try:
        end_ns = time_of(parameters.get("end"), now_ns)
    except LokiBadRequest as error:
        raise LokiBadRequest(f"could not parse 'end' parameter: {error}") from error
    try:
        start_ns = time_of(parameters.get("start"), min(end_ns, now_ns) - since_ns)
    except LokiBadRequest as error:
        raise LokiBadRequest(f"could not parse 'start' parameter: {error}") from error
    if end_ns - start_ns > _LONGEST_NS:
        length = _go_duration(end_ns - start_ns)
        raise LokiBadRequest(f"the query time range exceeds the limit (query length: {length}, limit: 30d1h)")
    return start_ns, end_ns


def range_of(parameters: Parameters, now_ns: int) -> tuple[int, int]:
    """Start and end of a range query, which must not be empty."""
    start_ns, end_ns = bounds_of(parameters, now_ns)
    if end_ns <= start_ns:
        raise LokiBadRequest("end timestamp must not be before or equal to start time")
    return start_ns, end_ns


def limit_of(parameters: Parameters, most: int) -> int:
    """The limit of lines, 100 by default."""
    text = parameters.get("limit") or "100"
    if not text.lstrip("+-").isdecimal():
        raise LokiBadRequest(f'strconv.Atoi: parsing "{text[:40]}": invalid syntax')
    if len(text) > 18 or int(text) > most:
        raise LokiBadRequest(
            f"max entries limit per query exceeded, limit > max_entries_limit_per_query ({text[:40]} > {most})"
        )
    if int(text) <= 0:
        raise LokiBadRequest("limit must be a positive value")
    return int(text)


def is_forward(parameters: Parameters) -> bool:
    """The direction, backward by default."""
    text = parameters.get("direction") or "backward"
    if text.lower() not in {"forward", "backward"}:
        raise LokiBadRequest(f"invalid direction '{text[:40]}'")
    return text.lower() == "forward"


def steps_of(parameters: Parameters, start_ns: int, end_ns: int) -> list[int]:
    """The times of a metric query: multiples of the step from the start, rounded down, to the end, rounded up."""
    text = parameters.get("step")
    step_ms = max((end_ns - start_ns) // 250_000_000_000, 1) * 1000
    if text:
        seconds = _seconds(text)
        if seconds is None or not math.isfinite(seconds) or abs(seconds) > 9e9:
            raise LokiBadRequest(f'cannot parse "{text[:40]}" to a valid duration')
        step_ms = int(seconds * 1000)
    if step_ms <= 0:
        raise LokiBadRequest("zero or negative query resolution step widths are not accepted. Try a positive integer")
    step_ns = step_ms * 1_000_000
    if (end_ns - start_ns) // step_ns > _MAX_POINTS:
        raise LokiBadRequest(
            "exceeded maximum resolution of 11,000 points per time series. "
            "Try increasing the value of the step parameter"
        )
    first, last = start_ns // step_ns, -(-end_ns // step_ns)
    return [i * step_ns for i in range(first, last + 1)]


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return parse_duration(text)


# --- answers


def json_response(data: object, newline: bool = True) -> Response:
    """JSON as Loki prints it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return Response(text.encode("utf-8", "replace") + (b"\n" if newline else b""), media_type=JSON)


def lines_response(lines: Sequence[Line], stats: Stats, seconds: float) -> Response:
    """Lines grouped by label set, groups in the order of their labels, lines in the order given."""
    groups: dict[tuple[tuple[str, str], ...], list[tuple[str, str]]] = {}
    for line in lines:
        groups.setdefault(line.labels, []).append((str(line.time_ns), line.line.decode("utf-8", "replace")))
    result = [{"stream": dict(labels), "values": values} for labels, values in sorted(groups.items())]
    return _data("streams", result, stats, seconds)


def vector_response(vector: Vector | float, time_ns: int, stats: Stats, seconds: float) -> Response:
    """The answer of an instant query: one value for each label set, or a scalar."""
    at = _seconds_text(time_ns)
    if isinstance(vector, float):
        return _data("scalar", [at, number(vector)], stats, seconds)
    rows = [(labels, float(values[0])) for labels, values in vector.items() if not math.isnan(values[0])]
    stats.returned = len(rows)
    result = [{"metric": dict(labels), "value": [at, number(value)]} for labels, value in sorted(rows)]
    return _data("vector", result, stats, seconds)


def matrix_response(vector: Vector | float, steps_ns: Sequence[int], stats: Stats, seconds: float) -> Response:
    """The answer of a range query of a metric: the steps that have a value, for each label set."""
    times = [_seconds_text(step) for step in steps_ns]
    if isinstance(vector, float):
        constant = [{"metric": {}, "values": [[t, number(vector)] for t in times]}]
        return _data("matrix", constant, stats, seconds)
    result = []
    for labels, values in sorted(vector.items(), key=lambda item: item[0]):
        points = [[t, number(v)] for t, v in zip(times, values.tolist(), strict=True) if not math.isnan(v)]
        if points:
            stats.returned += len(points)
            result.append({"metric": dict(labels), "values": points})
    return _data("matrix", result, stats, seconds)


def _data(kind: str, result: object, stats: Stats, seconds: float) -> Response:
    data = {"resultType": kind, "result": result, "stats": stats_json(stats, seconds)}
    return json_response({"status": "success", "data": data}, newline=False)


def _go_duration(duration_ns: int) -> str:
    """As Go prints it, in whole milliseconds: ``750h0m0.123s``."""
    minutes, milliseconds = divmod(duration_ns // 1_000_000, 60_000)
    seconds = f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes // 60}h{minutes % 60}m{seconds}s"


def _seconds_text(time_ns: int) -> int | float:
    milliseconds = time_ns // 1_000_000
    return milliseconds // 1000 if milliseconds % 1000 == 0 else milliseconds / 1000


def number(value: float) -> str:
    """A sample value as Go prints it: never with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text:
        text = f"{Decimal(text):f}"
    return text.removesuffix(".0")
