"""The words of TraceQL: text to tokens, as Tempo's own lexer cuts them, and its error positions."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from loadgen.lab.tempo.nodes import INTRINSICS, KIND, STATUS, Attribute, Static


class TraceQLError(ValueError):
    """The query is not one that this parser takes. The text says where and what."""


_UNIT_NS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
    "d": 86_400 * 10**9, "w": 7 * 86_400 * 10**9, "y": 365 * 86_400 * 10**9,
}  # fmt: skip
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h|d|w|y))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d|w|y)")
_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SYMBOL = re.compile(r"!>>|!<<|&>>|&<<|&&|\|\||=~|!~|!=|>=|<=|>>|<<|&>|&<|&~|!>|!<|[{}(),|=<>!~+\-*/%^]")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?::[A-Za-z]+)?")
_SCOPE = re.compile(r"(?:resource|span|parent|event|link|instrumentation)?\.")
_SPACE = re.compile(r"\s*")
_ATTRIBUTE_PART = re.compile(r'[^\s{}()=~!<>&|^,"]+')
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`([^`]*)`')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class TraceqlToken(NamedTuple):
    """``type`` is symbol, word, attribute, static or end; ``where`` is its position as an error names it."""

    type: str
    text: str
    where: str
    node: Static | Attribute | None = None


def parse_duration_ns(text: str) -> int | None:
    """Nanoseconds of a duration such as ``1h30m`` or ``1.5s``; None if it is none."""
    if not _DURATION.fullmatch(text):
        return None
    total = sum(float(number) * _UNIT_NS[unit] for number, unit in _DURATION_PART.findall(text))
    return int(total) if math.isfinite(total) else None


def syntax_error(message: str, where: str) -> TraceQLError:
    """The error for a position that `tokens_of` gave."""
    return TraceQLError(f"parse error at {where}: {message}")


def tokens_of(text: str) -> list[TraceqlToken]:
    """All tokens of ``text``, an end token last; raises `TraceQLError` for what is none."""
    tokens: list[TraceqlToken] = []
    at = 0
    while True:
        at = _end(_SPACE, text, at)
        if at >= len(text):
            tokens.append(TraceqlToken("end", "", _where(text, at)))
            return tokens
        token, at = _token(text, at)
        tokens.append(token)


def _token(text: str, at: int) -> tuple[TraceqlToken, int]:
    where = _where(text, at)
    char = text[at]
    if char in '"`':
        match = _STRING.match(text, at)
        if match is None:
            raise syntax_error("literal not terminated", where)
        value = match[2] if match[2] is not None else _unescape(match[1], where)
        return TraceqlToken("static", match[0], where, Static("string", value, f"`{value}`")), match.end()
    if char in "0123456789" or (char == "." and text[at + 1 : at + 2] in tuple("0123456789")):
        token = _number(text, at)
        return token, at + len(token.text)
    if (match := _SCOPE.match(text, at)) is not None:
        scope = match[0][:-1]
        # The real lexer loses its line number when it looks past the end of a word.
        where = _where(text, at, line=0 if scope else None)
        name, end = _attribute_name(text, match.end(), where)
        if scope in ("event", "link", "instrumentation"):
            raise syntax_error(f"the scope {scope} is not known here; use resource, span or a plain dot", where)
        return TraceqlToken("attribute", text[at:end], where, Attribute(scope, name)), end
    if (match := _WORD.match(text, at)) is not None:
        return _word(match[0], where), match.end()
    if (match := _SYMBOL.match(text, at)) is not None:
        return TraceqlToken("symbol", match[0], _where(text, at, line=0 if len(match[0]) > 1 else None)), match.end()
    raise syntax_error(f"syntax error: unexpected {char!r}", where)


def _where(text: str, at: int, line: int | None = None) -> str:
    before = text[:at]
    number = before.count("\n") + 1 if line is None else line
    return f"line {number}, col {at - (before.rfind(chr(10)) + 1) + 1}"


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _unescape(raw: str, where: str) -> str:
    def one(match: re.Match[str]) -> str:
        char = _ESCAPES.get(match[1])
        if char is None:
            raise syntax_error("invalid syntax: unknown escape sequence", where)
        return char

    return _ESCAPE.sub(one, raw)


def _attribute_name(text: str, at: int, where: str) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(text):
        if text[at] == '"':
            match = _STRING.match(text, at)
            if match is None:
                raise syntax_error('unexpected EOF, expecting "', where)
            parts.append(_unescape(match[1], where))
        else:
            match = _ATTRIBUTE_PART.match(text, at)
            if match is None:
                break
            parts.append(match[0])
        at = match.end()
    if not parts:
        raise syntax_error("syntax error: unexpected END_ATTRIBUTE, expecting IDENTIFIER", where)
    return "".join(parts), at


def _number(text: str, at: int) -> TraceqlToken:
    where = _where(text, at)
    if (match := _DURATION.match(text, at)) is not None:
        duration_ns = parse_duration_ns(match[0])
        if duration_ns is None or duration_ns >= 1 << 63:
            raise syntax_error(f"duration out of range: {match[0][:40]}", where)
        return TraceqlToken("static", match[0], where, Static("duration", duration_ns, match[0]))
    match = _NUMBER.match(text, at)
    raw = match[0] if match else text[at]
    try:
        value: int | float = int(raw) if raw.isdigit() else float(raw)
    except ValueError:
        raise syntax_error(f"invalid number {raw[:40]}", where) from None
    if abs(value) >= 1 << 63 if isinstance(value, int) else not math.isfinite(value):
        raise syntax_error(f"parsing {raw[:40]!r}: value out of range", where)
    return TraceqlToken("static", raw, where, Static("int" if isinstance(value, int) else "float", value, raw))


def _word(word: str, where: str) -> TraceqlToken:
    if word in INTRINSICS:
        return TraceqlToken("attribute", word, where, Attribute("intrinsic", INTRINSICS[word][0]))
    if word in STATUS:
        return TraceqlToken("static", word, where, Static("status", STATUS[word], word))
    if word in KIND:
        return TraceqlToken("static", word, where, Static("kind", KIND[word], word))
    if word in ("true", "false"):
        return TraceqlToken("static", word, where, Static("bool", word == "true", word))
    if word == "nil":
        return TraceqlToken("static", word, where, Static("nil", None, word))
    return TraceqlToken("word", word, where)
