"""The tokens of LogQL, and the values that single tokens carry."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from loadgen.lab.loki.logql_ast import LogQLError

_DURATION_S = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0,
    "y": 31536000.0,
}  # fmt: skip
_BYTES = {
    "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30,
}  # fmt: skip
_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    |(?P<quantity>\d+(?:\.\d+)?(?:[a-zA-Zµ]+(?:\d+(?:\.\d+)?[a-zA-Zµ]+)*))
    |(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<identifier>[a-zA-Z_][a-zA-Z0-9_]*)
    |(?P<symbol>\|=|\|~|\|>|!=|!~|!>|=~|==|>=|<=|--|[{}()\[\],=<>|+\-*/%^])""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "'": "'"}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)


class LogqlToken(NamedTuple):
    kind: str
    text: str
    at: int

    @property
    def name(self) -> str:
        names = {"string": "STRING", "identifier": "IDENTIFIER", "number": "NUMBER", "quantity": "DURATION"}
        return "$end" if self.kind == "end" else names.get(self.kind, self.text)


def tokens_of(text: str) -> list[LogqlToken]:
    """All tokens, with one of kind ``end`` behind the last; raises `LogQLError`."""
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            quoted = text[at] in "\"`'"
            fail(text, at, "literal not terminated" if quoted else f"syntax error: unexpected character {text[at]!r}")
        if match.lastgroup != "space":
            tokens.append(LogqlToken(str(match.lastgroup), match.group(), at))
        at = match.end()
    tokens.append(LogqlToken("end", "", len(text)))
    return tokens


def fail(text: str, at: int, what: str) -> NoReturn:
    """Raises `LogQLError` that names line and column of position ``at``."""
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    raise LogQLError(f"parse error at line {line}, col {column}: {what}")


def unquote(token: LogqlToken) -> str | None:
    """The text that a string token stands for (quoted, or raw in backticks); None if an escape is wrong."""
    body = token.text[1:-1]
    if token.text[0] == "`" or "\\" not in body:
        return body
    bad = False

    def replace(match: re.Match[str]) -> str:
        nonlocal bad
        escape = match.group(1)
        if escape in _ESCAPES:
            return _ESCAPES[escape]
        if len(escape) > 1:
            code = int(escape[1:], 16) if escape[0] in "xuU" else int(escape, 8)
            if code < 0xD800 or 0xDFFF < code < 0x110000:
                return chr(code)
        bad = True
        return ""

    text = _ESCAPE.sub(replace, body)
    return None if bad else text


def parse_duration(text: str) -> float | None:
    """Seconds of ``1h30m``, ``5m``, ``100ms``; None if it is no duration."""
    return _quantity(text, _DURATION_S)


def parse_bytes(text: str) -> float | None:
    """Bytes of ``5KB``, ``1.5MiB``; None if it is no size."""
    return _quantity(text.lower(), _BYTES)


def _quantity(text: str, units: dict[str, float]) -> float | None:
    total, at = 0.0, 0
    for match in re.finditer(r"(\d+(?:\.\d+)?)([a-zA-Zµ]+)", text):
        if match.start() != at or match.group(2) not in units:
            return None
        total += float(match.group(1)) * units[match.group(2)]
        at = match.end()
    return total if at == len(text) and at else None
