"""Runs the stages of a log query over lines: line filters; logfmt, JSON and regexp; label filters, drop and keep."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Sequence

from loadgen.lab.loki.logql_ast import Both, Capture, Compare, Condition, LabelFilter, LineFilter, Parser, Select, Stage
from loadgen.lab.loki.logql_lexer import parse_bytes, parse_duration

Labels = tuple[tuple[str, str], ...]
"""Sorted by name."""

_LOGFMT = re.compile(r'([^\s="]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*)))?')
_NOT_A_NAME = re.compile(r"[^a-zA-Z0-9_]")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class Pipeline:
    """The stages of one query; not thread-safe (it caches what it made of label sets)."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        first = next((i for i, s in enumerate(stages) if not isinstance(s, LineFilter)), len(stages))
        self._filters = [_line_filter(s) for s in stages[:first] if isinstance(s, LineFilter)]
        self._steps = [_step(s) for s in stages[first:]]
        # Without a look into the line, the outcome depends on the label set alone.
        self._by_labels_only = all(isinstance(s, LabelFilter | Select) for s in stages[first:])
        self._known: dict[Labels, Labels | None] = {}

    @property
    def changes_nothing(self) -> bool:
        """Whether every line passes with its labels as they are."""
        return not self._filters and not self._steps

    @property
    def only_filters_lines(self) -> bool:
        """Whether labels stay as they are."""
        return not self._steps

    def passing(self, lines: Sequence[bytes]) -> list[int]:
        """Indexes of the lines that pass the leading line filters."""
        if not self._filters:
            return list(range(len(lines)))
        if len(self._filters) == 1:
            keep = self._filters[0]
            return [i for i, line in enumerate(lines) if keep(line)]
        filters = self._filters
        return [i for i, line in enumerate(lines) if all(keep(line) for keep in filters)]

    def labels(self, line: bytes, labels: Labels) -> Labels | None:
        """The labels of a line that passed `passing` after the other stages; None if they drop it."""
        if not self._steps:
            return labels
        if self._by_labels_only:
            if labels not in self._known:
                self._known[labels] = self._run(line, labels)
            return self._known[labels]
        return self._run(line, labels)

    def _run(self, line: bytes, labels: Labels) -> Labels | None:
        values = dict(labels)
        for step in self._steps:
            if not step(line, values):
                return None
        return tuple(sorted((n, v) for n, v in values.items() if v))


_Step = Callable[[bytes, dict[str, str]], bool]


def _line_filter(stage: LineFilter) -> Callable[[bytes], bool]:
    negative = stage.op in {"!=", "!~"}
    if stage.patterns:
        searches = [p.search for p in stage.patterns]
        if negative:
            return lambda line: all(search(line) is None for search in searches)
        if len(searches) == 1:
            only = searches[0]
            return lambda line: only(line) is not None
        return lambda line: any(search(line) is not None for search in searches)
    needles = stage.needles
    if len(needles) == 1:
        needle = needles[0]
        return (lambda line: needle not in line) if negative else (lambda line: needle in line)
    if negative:
        return lambda line: all(n not in line for n in needles)
    return lambda line: any(n in line for n in needles)


def _step(stage: Stage) -> _Step:
    match stage:
        case LineFilter():
            keep = _line_filter(stage)
            return lambda line, _values: keep(line)
        case Parser(kind="logfmt"):
            return _logfmt
        case Parser():
            return _json
        case Capture():
            return _capture(stage)
        case Select():
            return _select(stage)
        case LabelFilter():
            return _condition(stage.condition)


def _put(values: dict[str, str], before: dict[str, str], name: str, value: str) -> None:
    name = _NOT_A_NAME.sub("_", name)
    if not name:
        return
    if name[0].isdigit():
        name = f"_{name}"
    # A label of the stream keeps its name; the extracted one gives way.
    values[f"{name}_extracted" if name in before else name] = value


def _logfmt(line: bytes, values: dict[str, str]) -> bool:
    before = dict(values)
    text = line.decode("utf-8", "replace")
    if text.count('"') % 2 and text.replace('\\"', "").count('"') % 2:
        values["__error__"] = "LogfmtParserErr"
        values["__error_details__"] = "logfmt syntax error: unterminated quoted value"
    for match in _LOGFMT.finditer(text):
        name, quoted, bare = match.groups()
        value = quoted if quoted is not None else (bare or "")
        if value:
            _put(values, before, name, value.replace('\\"', '"') if quoted is not None else value)
    return True


def _json(line: bytes, values: dict[str, str]) -> bool:
    before = dict(values)
    try:
        data = json.loads(line)
        if not isinstance(data, dict):
            raise ValueError("not an object")
        _flatten(data, "", before, values, 0)
    except (ValueError, RecursionError) as error:
        values["__error__"] = "JSONParserErr"
        values["__error_details__"] = f"Malformed JSON error: {error}"
    return True


def _flatten(data: dict[str, object], prefix: str, before: dict[str, str], values: dict[str, str], depth: int) -> None:
    if depth > 100:
        raise ValueError("nested too deep")
    for key, value in data.items():
        name = f"{prefix}_{key}" if prefix else key
        if isinstance(value, dict):
            _flatten(value, name, before, values, depth + 1)
        elif isinstance(value, bool):
            _put(values, before, name, "true" if value else "false")
        elif isinstance(value, str):
            _put(values, before, name, value)
        elif isinstance(value, int | float):
            _put(values, before, name, str(value))


def _capture(stage: Capture) -> _Step:
    search = stage.pattern.search

    def run(line: bytes, values: dict[str, str]) -> bool:
        found = search(line)
        before = dict(values)
        for name, value in found.groupdict().items() if found is not None else ():
            if value:
                _put(values, before, name, value.decode("utf-8", "replace"))
        return True

    return run


def _select(stage: Select) -> _Step:
    def run(_line: bytes, values: dict[str, str]) -> bool:
        for name in [n for n in values if (n in stage.names) != stage.keep]:
            del values[name]
        return True

    return run


def _condition(condition: Condition) -> _Step:
    if isinstance(condition, Both):
        left, right = _condition(condition.left), _condition(condition.right)
        if condition.op == "or":
            return lambda line, values: left(line, values) or right(line, values)
        return lambda line, values: left(line, values) and right(line, values)
    return _compare(condition)


def _compare(condition: Compare) -> _Step:
    name, wanted = condition.name, condition.text
    if condition.kind == "string":
        negative = condition.op in {"!=", "!~"}
        if condition.pattern is not None:
            full = condition.pattern.fullmatch
            return lambda _line, values: (full(values.get(name, "")) is None) == negative
        return lambda _line, values: (values.get(name, "") != wanted) == negative
    read = {"number": _number, "duration": parse_duration, "bytes": parse_bytes}[condition.kind]
    holds, bound = _COMPARE[condition.op], condition.number

    def run(_line: bytes, values: dict[str, str]) -> bool:
        text = values.get(name)
        if text is None:
            return False
        value = read(text)
        if value is None:
            # Loki keeps such lines and says so in a label.
            values.setdefault("__error__", "LabelFilterErr")
            values.setdefault("__error_details__", f"cannot read {text!r} as a {condition.kind}")
            return True
        return holds(value, bound)

    return run


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
