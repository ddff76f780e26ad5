"""The ``detected_level`` that Loki puts into the structured metadata of every log line.

Source: Loki's distributor (``field_detection.go``): a level label of the stream, else of the entry's metadata, else a
level key in a JSON or logfmt line, else the first level word in the line that stands by itself, else ``unknown``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Metadata = tuple[tuple[str, str], ...]
"""Structured metadata of an entry, in the order that it was pushed in."""

DETECTED_LEVEL = "detected_level"
_KEYS = (
    "level", "LEVEL", "Level", "log.level", "severity", "SEVERITY", "Severity", "SeverityText", "lvl", "LVL", "Lvl",
    "severity_text", "Severity_Text", "SEVERITY_TEXT",
)  # fmt: skip
_LEVELS = {
    "trace": "trace", "trc": "trace", "debug": "debug", "dbg": "debug", "info": "info", "inf": "info",
    "information": "info", "warn": "warn", "wrn": "warn", "warning": "warn", "error": "error", "err": "error",
    "critical": "critical", "fatal": "fatal",
}  # fmt: skip
_LEVEL_OF_BYTES = {spelling.encode(): level for name, level in _LEVELS.items() for spelling in (name, name.upper())}
_ONLY = {level: ((DETECTED_LEVEL, level),) for level in {*_LEVELS.values(), "unknown"}}
_WORDS = (b"trace", b"debug", b"fatal", b"critical", b"error", b"err", b"warning", b"warn", b"info")
_BEFORE_WORD = frozenset(b" \t\n[({\"'=|")
_AFTER_WORD = frozenset(b" \t\n[](){}:,!\"'=|")
_JSON_KEY = re.compile(rb'"(' + b"|".join(re.escape(k.encode()) for k in _KEYS) + rb')"\s*:\s*"([^"\\]*)"')
_LOGFMT_KEYS = sorted({k.lower().encode() for k in _KEYS}, key=lambda k: [x.lower().encode() for x in _KEYS].index(k))
_LOGFMT_KEY = re.compile(rb"(?i)(?:^|\s)(" + b"|".join(map(re.escape, _LOGFMT_KEYS)) + rb')="?([^\s"]*)')
_LOGFMT_HINTS = (b"level", b"severity", b"lvl")


def level_of_labels(labels: Sequence[tuple[str, str]]) -> str | None:
    """The level that a stream's labels or an entry's metadata name, None if they name none."""
    values = dict(labels)
    for key in _KEYS:
        if key in values:
            return _LEVELS.get(values[key].lower(), values[key])
    return None


class _Words:
    """What may occur in a batch of lines: a search through all of them at once spares searches in each."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        text = b"\n".join(lines).lower()
        self.levels = tuple(word for word in _WORDS if word in text)
        self.has_key = any(hint in text for hint in _LOGFMT_HINTS)


def level_of_line(line: bytes) -> str:
    """The level that a line shows."""
    return _quick(line) or _thorough(line, _Words((line,)))


def _quick(line: bytes) -> str | None:
    # The commonest spellings first: this runs for every line that is pushed.
    if line[:1] == b"{":
        at = line.find(b'"level":"')
        return _LEVEL_OF_BYTES.get(line[at + 9 : line.find(b'"', at + 9)]) if at >= 0 and line[-1:] == b"}" else None
    at = line.find(b"level=")
    if at == 0 or (at > 0 and line[at - 1] in b" \t"):
        end = line.find(b" ", at)
        return _LEVEL_OF_BYTES.get(line[at + 6 : end if end >= 0 else len(line)])
    return None


def _thorough(line: bytes, words: _Words) -> str:
    stripped = line.strip()
    if stripped[:1] == b"{" and stripped[-1:] == b"}":
        match = _JSON_KEY.search(stripped) if words.has_key else None
        level = _LEVELS.get(match.group(2).decode("utf-8", "replace").lower()) if match else None
        return level or _word(line, words)
    if words.has_key and b"=" in line:
        found = {m.group(1).lower(): m.group(2) for m in reversed(list(_LOGFMT_KEY.finditer(line)))}
        for key in _LOGFMT_KEYS:
            if key in found:
                return _LEVELS.get(found[key].decode("utf-8", "replace").lower()) or _word(line, words)
    return _word(line, words)


def _word(line: bytes, words: _Words) -> str:
    if not words.levels:
        return "unknown"
    lower = line.lower()
    first, best = len(lower), "unknown"
    for word in words.levels:
        at = lower.find(word)
        while 0 <= at < first:
            end = at + len(word)
            if (at == 0 or lower[at - 1] in _BEFORE_WORD) and (end == len(lower) or lower[end] in _AFTER_WORD):
                first, best = at, _LEVELS[word.decode()]
                break
            at = lower.find(word, at + 1)
    return best


def detect(labels: Sequence[tuple[str, str]], lines: Sequence[bytes], metadata: Sequence[Metadata]) -> list[Metadata]:
    """The metadata of every line with ``detected_level`` added where it is not there yet."""
    of_stream = level_of_labels(labels)
    if of_stream is not None:
        alone = ((DETECTED_LEVEL, of_stream),)
        return [_complete(m, of_stream) if m else alone for m in metadata]
    words: _Words | None = None
    out: list[Metadata] = []
    for line, own in zip(lines, metadata, strict=True):
        level_of_own = level_of_labels(own) if own else None
        level = level_of_own or _quick(line) or ""
        if not level:
            words = words or _Words(lines)
            level = _thorough(line, words)
        out.append(_complete(own, level) if own else _ONLY[level])
    return out


def _complete(metadata: Metadata, level: str) -> Metadata:
    for i, (name, value) in enumerate(metadata):
        if name == DETECTED_LEVEL:
            return (*metadata[:i], (name, _LEVELS.get(value.lower(), value)), *metadata[i + 1 :])
    return (*metadata, (DETECTED_LEVEL, level))
