"""Labels of log streams as Loki handles them: their text form, their fingerprint, and what Loki adds to them."""

from __future__ import annotations

import re

import xxhash

Labels = tuple[tuple[str, str], ...]
"""Sorted by name, without empty values."""

# The order in which Loki looks for a service's name (the default of `discover_service_name`).
_SERVICE_NAME_FROM = (
    "service", "app", "application", "app_name", "name", "app_kubernetes_io_name", "container", "container_name",
    "k8s_container_name", "component", "workload", "job", "k8s_job_name",
)  # fmt: skip
_UNKNOWN_SERVICE = "unknown_service"
_PAIR = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*("(?:[^"\\\n]|\\.)*"|`[^`]*`)\s*(,|\})')
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{3}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class LabelError(Exception):
    """Labels that Loki refuses; the text is its answer, without a line feed."""


def parse_labels(text: str) -> Labels:
    """``{a="x", b="y"}`` as sorted pairs; empty values are dropped. Raises LabelError."""
    at = len(text) - len(text.lstrip())
    if text[at : at + 1] != "{":
        what = f"unexpected {text[at]!r}" if text[at:] else "unexpected end of input"
        raise LabelError(f"couldn't parse labels: 1:{at + 1}: parse error: {what}")
    at += 1
    pairs: dict[str, str] = {}
    if text[at:].strip() == "}":
        return ()
    while True:
        match = _PAIR.match(text, at)
        if match is None:
            raise LabelError(f"couldn't parse labels: {_why(text, at)}")
        name, quoted, end = match.groups()
        if name in pairs:
            raise LabelError(f"stream '{text}' has duplicate label name: '{name}'")
        pairs[name] = _unquote(quoted)
        at = match.end()
        if end == "}" or text[at:].strip() == "}":
            break
    rest = text[at:].strip()
    if rest not in {"", "}"}:
        raise LabelError(f"couldn't parse labels: 1:{at + 1}: parse error: unexpected {rest[0]!r}")
    return tuple(sorted((n, v) for n, v in pairs.items() if v))


def _why(text: str, at: int) -> str:
    at += len(text[at:]) - len(text[at:].lstrip())
    name = _NAME.match(text, at)
    at = name.end() if name else at
    at += len(text[at:]) - len(text[at:].lstrip())
    if at >= len(text):
        return f"1:{at + 1}: parse error: unexpected end of input inside braces"
    if name and text[at] == "=":
        at += 1
        at += len(text[at:]) - len(text[at:].lstrip())
        if at < len(text) and text[at] in "\"'`":
            closed = re.compile(r'"(?:[^"\\\n]|\\.)*"').match(text, at)
            if closed is None:
                return f"1:{at + 1}: parse error: unterminated quoted string"
            at = closed.end()
    what = f"unexpected character inside braces: {text[at]!r}" if at < len(text) else "unexpected end of input"
    return f"1:{at + 1}: parse error: {what}"


def _unquote(quoted: str) -> str:
    body = quoted[1:-1]
    if quoted[0] == "`" or "\\" not in body:
        return body

    def replace(match: re.Match[str]) -> str:
        escape = match.group(1)
        if escape in _ESCAPES:
            return _ESCAPES[escape]
        if len(escape) > 1:
            return chr(int(escape[1:], 16) if escape[0] in "xu" else int(escape, 8))
        return escape

    return _ESCAPE.sub(replace, body)


def format_labels(labels: Labels) -> str:
    """``{a="x", b="y"}``, as Loki prints a stream."""
    return "{" + ", ".join(f'{n}="{_quote(v)}"' for n, v in labels) + "}"


def _quote(value: str) -> str:
    if value.isprintable() and '"' not in value and "\\" not in value:
        return value
    out = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in out)


def with_service_name(labels: Labels) -> Labels:
    """The labels with ``service_name``, which Loki derives from others and which counts in the fingerprint."""
    values = dict(labels)
    if "service_name" in values:
        return labels
    found = (values[name] for name in _SERVICE_NAME_FROM if values.get(name))
    return tuple(sorted((*labels, ("service_name", next(found, _UNKNOWN_SERVICE)))))


def fingerprint(labels: Labels) -> str:
    """The fingerprint as it stands in object keys: xxhash64 of the sorted labels, hex without leading zeros."""
    hashed = b"".join(n.encode() + b"\xff" + v.encode("utf-8", "surrogatepass") + b"\xff" for n, v in labels)
    return f"{xxhash.xxh64_intdigest(hashed):x}"
