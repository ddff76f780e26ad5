"""In what a server's answer differs from the recorded one, leaving aside what no request decides.

Left aside are measurements (Loki's ``stats``, Tempo's ``metrics``, the server's own clock), versions, addresses, the
order of maps and of streams, series, spans and attributes, and what others keep on the same server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from captured import PACKED, Answer, Case
from messages import PROTOBUF, fields
from moving import TIME_IN_WORDS, seconds_of

Body = dict[str, Any]
Patterns = tuple[tuple[re.Pattern[str], str], ...]

_HEADERS = ("content-type", "x-content-type-options")

# Names in the recorded lists that came from other data on those servers.
_FOREIGN = {"signal", "stream_id", "cluster", "instance", "series_id", "grpc-probe"}
_TIME = re.compile(r"(?<![\w.])(1[789]\d{8})(?=(?:\d{3}|\d{9})?(?!\w))")
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}:\d+\b")
_CUT = "…[cut]"
_FIGURE = re.compile(r"\d+(?:\.\d+)?")
_NAMES = (
    (re.compile(r"pushing to ingester [^:\s]+:"), "pushing to ingester <name>:"),
    # The clock of the server.
    (re.compile(r"(oldest acceptable timestamp is): [-0-9T:.Z]+"), r"\1: <time>"),
    # How large a message is depends on who counts it.
    (re.compile(r"(batch size \(|while adding )\d+ bytes"), r"\1<n> bytes"),
    # How small a body becomes depends on who compresses it.
    (re.compile(r"message size of \d+ bytes"), "message size of <n> bytes"),
    (re.compile(r"This is for series .* \(sampled"), "This is for series <series> (sampled"),
    (re.compile(r"(on the right side of the operation at timestamp [^ ]+): \{.*\} and \{.*\}"), r"\1: <two series>"),
    (re.compile(r"(on the right hand-side of the operation): \[\{.*\}\];"), r"\1: <two series>;"),
)
# In ``stats`` since a later Loki than 3.7.6.
_NEWER = {"wireBytesTransferred", "logResult", "taskResult"}
# Of a push by OTLP the order of series is that of a map: any of them may be the first that is refused.
_FIRST_OF_A_MAP = (
    (re.compile(r"(too far in the (?:future|past), timestamp: \d+ series:) '[^']*'"), r"\1 <series>"),
    (
        re.compile(r"(The affected sample has timestamp) \S+ (and is from series) .*?(?= \(sampled)"),
        r"\1 <time> \2 <one>",
    ),
)
_UNORDERED = (
    "result",
    "data",
    "batches",
    "resourceSpans",
    "scopeSpans",
    "spans",
    "attributes",
    "traces",
    "labels",
    "fields",
)


def differences(case: Case, answer: Answer) -> dict[str, str]:
    """Aspect (``status``, ``body`` or a header) to what was expected and what came; empty if they agree."""
    expected = case.answer
    found: dict[str, str] = {}
    if answer.status != expected.status:
        found["status"] = f"{expected.status}, not {answer.status}"
    for name in _HEADERS:
        wanted, got = expected.headers.get(name, ""), answer.headers.get(name, "")
        if wanted != got:
            found[name] = f"{wanted!r}, not {got!r}"
    # Loki began to send it after 3.7.6; what compresses an answer may add its own word.
    varies = answer.headers.get("vary", "").split(", ")
    wanted = expected.headers.get("vary", "")
    if not case.file.startswith("loki") and wanted and wanted not in varies:
        found["vary"] = f"{wanted!r}, not {varies}"
    if case.file in PACKED:
        found.update(_told_by_headers(expected.headers, answer.headers))
    body = _body(case, answer)
    if body:
        found["body"] = body
    return found


def _told_by_headers(expected: dict[str, str], got: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Headers that say something: what remote write 2.0 counted, and whether there is a pause or a time."""
    for name in sorted({*expected, *got}):
        if name.startswith("x-prometheus-remote-write-") and expected.get(name) != got.get(name):
            yield name, f"{expected.get(name)!r}, not {got.get(name)!r}"
    for name in ("retry-after", "server-timing"):
        wanted, came = (_FIGURE.sub("<n>", headers.get(name, "")) for headers in (expected, got))
        if wanted != came:
            yield name, f"{wanted!r}, not {came!r}"


def _body(case: Case, answer: Answer) -> str:
    if (case.file, case.name) in VARIABLE or (case.file in PACKED and case.answer.body.endswith("…".encode())):
        return ""
    kind = case.answer.headers.get("content-type", "")
    if case.file in PACKED and kind in PROTOBUF:
        patterns = _FIRST_OF_A_MAP if case.request.path.startswith("/otlp") else ()
        wanted, came = _message(case.answer.body, patterns), _message(answer.body, patterns)
        return "" if wanted == came else f"{wanted!r}, not {came!r}"
    if kind == "application/x-protobuf":
        return "" if answer.body == case.answer.body else f"{case.answer.body!r}, not {answer.body!r}"
    expected, got = case.answer.body.decode(), answer.body.decode("utf-8", "replace")
    if case.request.path.startswith("/otlp"):
        expected, got = _replaced(expected, _FIRST_OF_A_MAP), _replaced(got, _FIRST_OF_A_MAP)
    if not kind.startswith("application/json"):
        if case.file in PACKED:
            wanted, came = without_names(expected), without_names(got)
            return "" if wanted == came else f"{wanted!r}, not {came!r}"
        sent = set(request_seconds(case))
        wanted, came = _plain(expected, sent), _plain(got, sent)
        return "" if wanted == came else f"{wanted!r}, not {came!r}"
    try:
        wanted, came = whole(expected), json.loads(got)
        if case.file == "loki-otlp" and isinstance(wanted.get("data"), dict) and "stats" not in wanted["data"]:
            came["data"].pop("stats", None)  # of long answers they were left out
        return _BODIES.get((case.file, case.name), _same)(wanted, came)
    except (ValueError, KeyError, TypeError):
        # No JSON, or JSON of another shape than these cases are looked at for.
        return f"{expected[:200]!r}, not {got[:200]!r}"


def without_names(text: str) -> str:
    """Without what differs between two servers that do the same: the ingester's name, and which series was first."""
    return _replaced(text, _NAMES)


def _replaced(text: str, patterns: Patterns) -> str:
    for pattern, name in patterns:
        text = pattern.sub(name, text)
    return text


def _message(body: bytes, patterns: Patterns) -> list[Any]:
    """The fields of a status or of a partial success: numbers, and texts without names."""
    found: list[Any] = []
    try:
        for number, value in fields(body):
            if isinstance(value, bytes):
                text = _replaced(value.decode("utf-8", "replace"), patterns)
                value = _message(value, patterns) if number == 1 else without_names(text)
            found.append((number, value))
    except (ValueError, IndexError):
        return [body]
    return found


def request_seconds(case: Case) -> Iterator[int]:
    """The times in a request, in whole seconds; none of those inside of protobuf messages."""
    body = case.request.body
    for text in (case.request.path, body if isinstance(body, str) else ""):
        for match in _TIME.finditer(text):
            yield int(match[1])


def _plain(text: str, sent: set[int]) -> str:
    """Without addresses, and without times that the request does not have: those are the server's own."""

    def time(match: re.Match[str]) -> str:
        return match[0] if seconds_of(match) in sent else "<time>"

    # A fraction of a second, where there is one, is the request's.
    return TIME_IN_WORDS.sub(time, _ADDRESS.sub("<address>", text))


def whole(text: str) -> Any:
    """JSON that may be cut off inside its ``stats``: what is complete of it, with every open bracket closed."""
    if not text.endswith(_CUT):
        return json.loads(text)
    text = text.removesuffix(_CUT)
    open_brackets: list[str] = []
    in_string = escaped = False
    complete = 0
    closing = ""
    for at, char in enumerate(text):
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string = True
        elif char in "{[":
            open_brackets.append("}" if char == "{" else "]")
            complete, closing = at + 1, "".join(reversed(open_brackets))
        elif char in "}]":
            open_brackets.pop()
            complete, closing = at + 1, "".join(reversed(open_brackets))
        elif char == ",":
            complete, closing = at, "".join(reversed(open_brackets))
    return json.loads(text[:complete] + closing)


def _same(expected: Any, got: Any, path: str = "") -> str:
    """Where two JSON values differ, in words; empty if nowhere."""
    if isinstance(expected, dict) and isinstance(got, dict):
        if path == "" and set(expected) <= {"traces", "trace", "tagValues", "scopes", "series", "batches", "metrics"}:
            expected, got = dict(expected), dict(got)
            problem = _measured(expected.pop("metrics", {}), got.pop("metrics", {}), f"{path}.metrics")
            if problem:
                return problem
        if expected.keys() != got.keys():
            return f"{path}: keys {sorted(expected)}, not {sorted(got)}"
        for key, value in expected.items():
            check = _holds if key == "stats" else _same
            problem = check(value, got[key], f"{path}.{key}")
            if problem:
                return problem
        return ""
    if isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            return f"{path}: {len(expected)} elements, not {len(got)}: {json.dumps(got)[:300]}"
        if path.rpartition(".")[2] in _UNORDERED:
            expected, got = sorted(expected, key=_order), sorted(got, key=_order)
        problems = (_same(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(expected, got, strict=True)))
        return next((problem for problem in problems if problem), "")
    if type(expected) is not type(got) and not (_is_number(expected) and _is_number(got)):
        return f"{path}: {expected!r}, not {got!r}"
    if isinstance(expected, str):
        expected, got = without_names(expected), without_names(got)
    return "" if expected == got else f"{path}: {expected!r}, not {got!r}"


def _order(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    return "number" if _is_number(value) else type(value).__name__


def _holds(expected: Any, got: Any, path: str = "") -> str:
    """A measurement: at least these keys, of these types; the record may have been cut."""
    if _kind(expected) != _kind(got):
        return f"{path}: a {_kind(expected)}, not {got!r}"
    if isinstance(expected, dict):
        for key, value in expected.items():
            if key in _NEWER and key not in got:
                continue
            if key not in got:
                return f"{path}: no {key!r} in {sorted(got)}"
            problem = _holds(value, got[key], f"{path}.{key}")
            if problem:
                return problem
    return ""


def _measured(expected: Any, got: Any, path: str) -> str:
    """A measurement in which a zero is left out: no key but these, of these types."""
    known = expected | {
        "inspectedBytes": "0",
        "completedJobs": 0,
        "totalJobs": 0,
        "inspectedTraces": 0,
        "totalBlocks": 0,
    }
    for key, value in got.items():
        if key not in known:
            return f"{path}: {key!r} is not among {sorted(known)}"
        if _kind(value) != _kind(known[key]):
            return f"{path}.{key}: a {_kind(known[key])}, not {value!r}"
    return ""


def _kinds(expected: Any, got: Any) -> str:
    """The values are measured or depend on the build: the same keys and types."""
    if not isinstance(got, dict) or expected.keys() != got.keys():
        return f"keys {sorted(expected)}, not {got!r}"
    return _holds(expected, got)


def _names(expected: Any, got: Any) -> str:
    """A list of names: sorted, without doubles, with ours among them."""
    problem = _same(expected | {"data": []}, got | {"data": []})
    names = got.get("data")
    if problem or not isinstance(names, list):
        return problem or f"data: {names!r}"
    if names != sorted(set(names)):
        return f"data: {names} is not sorted or has doubles"
    missing = set(expected["data"]) - _FOREIGN - set(names)
    return f"data: no {sorted(missing)} in {names}" if missing else ""


def _tag_values(expected: Any, got: Any) -> str:
    problem = _same(expected | {"tagValues": []}, got | {"tagValues": []})
    if problem:
        return problem
    for value in got["tagValues"]:
        if set(value) != {"type", "value"} or value["type"] != "string":
            return f"tagValues: {value!r}"
    values = [value["value"] for value in got["tagValues"]]
    missing = {value["value"] for value in expected["tagValues"]} - _FOREIGN - set(values)
    return f"tagValues: no {sorted(missing)} in {values}" if missing else ""


def _tags(expected: Any, got: Any) -> str:
    problem = _same(expected | {"scopes": []}, got | {"scopes": []})
    if problem:
        return problem
    there = {scope["name"]: scope["tags"] for scope in got["scopes"]}
    for scope in expected["scopes"]:
        name, tags = scope["name"], set(scope["tags"])
        found = set(there.get(name, ()))
        # Intrinsics are the same for everybody.
        if not tags <= found or (name == "intrinsic" and tags != found):
            return f"scopes: {name} has {sorted(found)}, expected {sorted(tags)}"
    return ""


def _our_traces(expected: Any, got: Any) -> str:
    """A search that finds other people's traces too."""
    ours = {trace["traceID"] for trace in expected["traces"]}
    found = [trace for trace in got.get("traces", ()) if trace.get("traceID") in ours]
    return _same(expected, got | {"traces": found})


def _stored_or_not_yet(expected: Any, got: Any) -> str:
    """What is in S3 already: nothing when it was recorded, perhaps the trace by now."""
    trace = got.pop("trace", None)
    if trace is not None and set(trace) != {"resourceSpans"}:
        return f".trace: {trace!r}"
    return _same(expected, got)


def _one_of(expected: Any, got: Any) -> str:
    """What was cut to one: which one is up to the server."""
    key = "data"
    problem = _same(expected | {key: []}, got | {key: []})
    return problem or ("" if len(got[key]) == len(expected[key]) else f"data: {got[key]}")


def _at_its_own_time(expected: Any, got: Any) -> str:
    """An instant query without a time: the server takes its own."""
    for answer in (expected, got):
        result = answer["data"]["result"]
        pairs = [result] if answer["data"]["resultType"] in ("scalar", "string") else [one["value"] for one in result]
        for pair in pairs:
            if not _is_number(pair[0]):
                return f"data.result: {pair[0]!r} is no time"
            pair[0] = 0
    return _same(expected, got)


_EITHER = ("mimir", "mimir-2.16")
VARIABLE = {
    *((file, name) for file in _EITHER for name in ("metrics", "services", "distributor ring", "ingester tenants")),
    *((file, "metrics") for file in ("loki-otlp", "tempo-extra")),
    ("loki-otlp", "OTLP logs time 0, read back"),
    ("loki-otlp", "OTLP logs, index stats"),
    ("loki-otlp", "OTLP logs, detected_labels"),
    ("tempo-extra", "GET /status/version"),
    ("tempo-extra", "GET /status/overrides"),
    ("tempo-extra", "GET /status/services"),
    ("tempo-extra", "trace v2 as protobuf"),
}
"""Cases whose bodies tell of the server's own affairs, its clock, or of what others keep on it."""

_BODIES: dict[tuple[str, str], Callable[[Any, Any], str]] = {
    **{(file, name): _names for file in _EITHER for name in ("labels", "label values", "label __name__ values")},
    **{(file, name): _one_of for file in _EITHER for name in ("label values limit=1", "metadata limit=1")},
    **{(file, name): _kinds for file in _EITHER for name in ("user_stats",)},
    **{
        (file, name): _at_its_own_time
        for file in _EITHER
        for name in ("query POST form", "query scalar", "query string literal", "query timeout parameter passed")
    },
    **{
        (file, f"buildinfo {path}"): _kinds
        for file in _EITHER
        for path in ("/prometheus/api/v1/status/buildinfo", "/api/v1/status/buildinfo")
    },
    ("tempo-extra", "GET /api/status/buildinfo"): _kinds,
    ("loki-otlp", "OTLP logs, labels"): _names,
    ("loki-otlp", "labels of the last hour"): _names,
    ("loki", "labels"): _names,
    ("loki", "label values"): _names,
    ("loki", "index stats"): _kinds,
    ("loki", "buildinfo"): _kinds,
    ("mimir-like-cortex", "labels"): _names,
    ("mimir-like-cortex", "label values"): _names,
    ("mimir-like-cortex", "query POST form"): _at_its_own_time,
    ("mimir-like-cortex", "query scalar"): _at_its_own_time,
    ("tempo", "buildinfo"): _kinds,
    ("tempo", "querier blocks only"): _stored_or_not_yet,
    ("tempo", "search status error"): _our_traces,
    ("tempo", "search tags v2"): _tags,
    ("tempo", "tag values v2"): _tag_values,
}
