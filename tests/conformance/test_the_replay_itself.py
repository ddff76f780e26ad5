"""The replay finds what differs, and only that: without any server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from captured import PACKED, RECORDED_S, SERVER_OF, Answer, Case, load, recorded_s
from comparing import differences, whole
from known import NOT_BUILT, Known, not_built
from messages import rewritten, unpacked
from moving import Mover
from replaying import Outcome

from loadgen.lab import protobuf

CASES = {(file, case.name): case for file in SERVER_OF for case in load(file)}
OFFSET_S = 3 * 86_400 + 120


@pytest.fixture(scope="module")
def mover() -> Mover:
    return Mover.to_now(RECORDED_S + OFFSET_S + 30)


def changed(answer: Answer, change: Callable[[Any], object]) -> Answer:
    """The same with another JSON body."""
    body = whole(answer.body.decode())
    change(body)
    return replace(answer, body=json.dumps(body).encode())


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: f"{case.file}-{case.name}")
def test_a_recorded_answer_does_not_differ_from_itself(case: Case, mover: Mover) -> None:
    moved = mover.case(case)
    answer = moved.answer
    if answer.body.endswith(b"[cut]"):
        answer = changed(answer, lambda body: None)
    assert differences(moved, answer) == {}


def _set(*path: Any, to: Any) -> Callable[[Any], None]:
    def change(body: Any) -> None:
        for key in path[:-1]:
            body = body[key]
        body[path[-1]] = to

    return change


def _drop(*path: Any) -> Callable[[Any], None]:
    def change(body: Any) -> None:
        for key in path[:-1]:
            body = body[key]
        del body[path[-1]]

    return change


SPAN = ("batches", 0, "scopeSpans", 0, "spans", 0)
WRONG = [
    ("loki", "query_range line filter", _set("data", "result", 0, "values", 0, 1, to="level=info seq=4")),
    ("loki", "query_range line filter", _set("data", "result", 0, "values", 0, 0, to="1795414024095086485")),
    ("loki", "query_range line filter", _drop("data", "result", 0, "stream", "detected_level")),
    ("loki", "query_range line filter", _drop("data", "stats", "summary")),
    ("loki", "query_range line filter", _set("data", "stats", "summary", "splits", to="2")),
    ("loki", "query_range streams", _drop("data", "result", 1)),
    ("loki", "query_range metric", _set("data", "result", 0, "values", 0, 1, to="6")),
    ("loki", "labels", _set("data", to=["app", "job", "pod", "run"])),
    ("loki", "labels", _set("data", to=["service_name", "run", "pod", "job", "app"])),
    ("loki", "series", _drop("data", 0, "service_name")),
    ("loki", "buildinfo", _drop("goVersion")),
    ("loki", "index stats", _set("streams", to="0")),
    ("mimir-like-cortex", "query instant", _set("data", "result", 0, "value", 1, to=4)),
    ("mimir-like-cortex", "query scalar", _set("data", "result", 1, to="3")),
    ("mimir-like-cortex", "query parse error", _set("errorType", to="execution")),
    ("tempo", "trace v1", _set(*SPAN, "spanId", to="AQIDBAUGBwk=")),
    ("tempo", "trace v1", _drop(*SPAN, "kind")),
    ("tempo", "trace v2 absent", _set("trace", to=None)),
    ("tempo", "search by service", _set("traces", 0, "durationMs", to=51)),
    ("tempo", "search status error", _set("traces", to=[])),
    ("tempo", "search no result", _set("metrics", "inspectedBytes", to=7)),
    ("tempo", "search tags v2", _drop("scopes", 1)),
    ("tempo", "tag values v2", _drop("tagValues", 2)),
    ("tempo", "querier blocks only", _set("trace", to={"batches": []})),
]


@pytest.mark.parametrize(("file", "name", "change"), WRONG)
def test_a_wrong_body_is_found(file: str, name: str, change: Callable[[Any], object], mover: Mover) -> None:
    case = mover.case(CASES[file, name])
    assert list(differences(case, changed(case.answer, change))) == ["body"]


WRONG += [
    ("mimir", "query instant", _set("data", "result", 0, "value", 1, to="5")),
    ("mimir", "query instant", _set("data", "result", 0, "value", 0, to=1_796_077_684.092)),
    ("mimir", "query execution error (many-to-many)", _set("error", to="found duplicate series")),
    ("mimir", "labels", _set("data", to=["__name__", "job"])),
    ("mimir", "label values limit=1", _set("data", to=["a", "b"])),
    ("mimir", "label values limit=1", _drop("warnings")),
    ("mimir", "buildinfo /api/v1/status/buildinfo", _drop("data", "features")),
    ("loki-otlp", "structured metadata of sm, read back", _drop("data", "result", 0, "stream", "trace_id")),
    ("tempo-extra", "trace v2 of the JSON export", _drop("trace", "resourceSpans", 0, "resource")),
]

MEASURED = [
    ("loki", "query_range line filter", _set("data", "stats", "summary", "execTime", to=7)),
    ("loki", "labels", _set("data", to=["app", "job", "other", "pod", "run", "service_name"])),
    ("loki", "buildinfo", _set("version", to="3.7.6")),
    ("mimir-like-cortex", "query scalar", _set("data", "result", 0, to=1.5)),
    ("mimir", "label values limit=1", _set("data", to=["another"])),
    ("mimir", "user_stats", _set("numSeries", to=7)),
    ("tempo", "search no result", _drop("metrics", "inspectedBytes")),
    ("tempo", "search status error", lambda body: body["traces"].append({"traceID": "7"})),
    ("tempo", "querier blocks only", _set("trace", to={"resourceSpans": []})),
]


@pytest.mark.parametrize(("file", "name", "change"), MEASURED)
def test_what_no_request_decides_is_left_aside(
    file: str, name: str, change: Callable[[Any], object], mover: Mover
) -> None:
    case = mover.case(CASES[file, name])
    assert differences(case, changed(case.answer, change)) == {}


def test_another_status_content_type_or_text_is_found(mover: Mover) -> None:
    case = mover.case(CASES["loki", "push too old (30 d)"])
    html = {**case.answer.headers, "content-type": "text/html"}
    assert list(differences(case, replace(case.answer, status=500))) == ["status"]
    assert list(differences(case, replace(case.answer, headers=html))) == ["content-type"]
    text = case.answer.body.decode()
    assert "too old: 2026-10-27T06:09:04Z" in text
    for old, new in (("too old", "too new"), ("06:09:04Z, oldest", "06:09:05Z, oldest"), (mover.run, "cap1")):
        wrong = replace(case.answer, body=text.replace(old, new).encode())
        assert list(differences(case, wrong)) == ["body"], old
    # When exactly the server takes a line for too old is up to its clock.
    later = text[: text.index("acceptable")] + text[text.index("acceptable") :].replace("06:09:04Z", "06:11:59Z")
    assert differences(case, replace(case.answer, body=later.encode())) == {}


def test_bytes_are_compared_as_bytes(mover: Mover) -> None:
    case = mover.case(CASES["tempo-otlp-http", "export protobuf"])
    assert differences(case, replace(case.answer, body=b"\x0a\x00")) == {}
    assert list(differences(case, replace(case.answer, body=b"\n"))) == ["body"]


def test_times_and_names_move_in_every_encoding(mover: Mover) -> None:
    assert mover.offset_s == OFFSET_S
    pushed = mover.case(CASES["loki", "push JSON, 5 lines"]).request.body
    assert isinstance(pushed, str)
    stream = json.loads(pushed)["streams"][0]
    assert stream["stream"]["run"] == mover.run
    assert stream["values"][0][0] == str((RECORDED_S + OFFSET_S) * 10**9 + 92_086_484)

    packed = mover.case(CASES["loki", "push snappy protobuf"]).request.body
    assert isinstance(packed, bytes)
    stream = protobuf.parse_push(protobuf.unsnappy(packed, 1 << 20)).streams[0]
    assert f'run="{mover.run}"' in stream.labels
    assert [entry.timestamp.seconds for entry in stream.entries] == [RECORDED_S + OFFSET_S] * 3

    written = mover.case(CASES["mimir-like-cortex", "write 1 series 4 samples"]).request.body
    assert isinstance(written, bytes)
    series = protobuf.parse_write(protobuf.unsnappy(written, 1 << 20)).timeseries[0]
    assert mover.run in {label.value for label in series.labels}
    assert series.samples[-1].timestamp == (RECORDED_S + OFFSET_S) * 1000 + 92

    asked = mover.case(CASES["mimir-like-cortex", "query instant"]).request.path
    assert asked.endswith(f"&time={RECORDED_S + OFFSET_S}.092")
    assert mover.case(CASES["loki", "push bad snappy"]).request == CASES["loki", "push bad snappy"].request


@pytest.mark.parametrize("file", PACKED)
def test_no_time_of_the_second_recording_stays_behind_and_none_is_moved_twice(file: str) -> None:
    mover = Mover.to_now(recorded_s(file) + OFFSET_S + 30, recorded_s(file))
    assert mover.offset_s == OFFSET_S
    for case in load(file):
        moved = mover.case(case)
        assert _seconds(moved.request.path) == [second + OFFSET_S for second in _seconds(case.request.path)], case.name
        old, new = case.request.body, moved.request.body
        if isinstance(old, str) and isinstance(new, str):
            assert _seconds(new) == [second + OFFSET_S for second in _seconds(old)], case.name


def _seconds(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"179\d{7}", text)]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("mimir", "OTLP metrics protobuf"),
        ("mimir", "OTLP zstd"),
        ("mimir", "OTLP lz4"),
        ("mimir", "RW2 samples, metadata, created timestamp"),
        ("mimir", "write native histogram RW1 (default)"),
        ("loki-otlp", "OTLP logs gzip"),
        ("tempo-extra", "export snappy (framed)"),
        ("tempo-extra", "export JSON gzip"),
    ],
)
def test_messages_move_in_whatever_they_are_packed(file: str, name: str) -> None:
    case = CASES[file, name]
    near = Mover.to_now(recorded_s(file) + 30, recorded_s(file))
    far = Mover(OFFSET_S, near.run, near.trace_ids, near.recorded_s, near.names)
    still, moved = near.case(case).request, far.case(case).request
    assert unpacked(still) != unpacked(moved)
    back = Mover(-OFFSET_S, near.run, near.trace_ids, near.recorded_s, {one: [] for one in near.names})
    assert unpacked(back.case(replace(case, request=moved)).request) == unpacked(still)


@pytest.mark.parametrize("name", ["RW2 samples, metadata, created timestamp", "OTLP out of order", "query instant"])
def test_a_name_of_the_second_recording_keeps_its_length(name: str) -> None:
    case = CASES["mimir", name]
    mover = Mover.to_now(recorded_s("mimir") + 30, recorded_s("mimir"))
    moved = mover.case(case)
    if isinstance(case.request.body, bytes):
        old, new = unpacked(case.request), unpacked(moved.request)
        assert (len(new), b"cap_" in new) == (len(old), False)
    assert (len(moved.request.path), len(moved.answer.body)) == (len(case.request.path), len(case.answer.body))


def test_words_inside_of_a_status_move_too() -> None:
    mover = Mover.to_now(recorded_s("mimir") + OFFSET_S + 30, recorded_s("mimir"))
    text = mover.case(CASES["mimir", "OTLP same timestamp other value"]).answer.body.decode("utf-8", "replace")
    assert f"duplicate sample for timestamp {recorded_s('mimir') + OFFSET_S}092" in text
    assert "cap_" not in text


def test_each_thing_that_is_not_built_is_one_case_at_least_and_none_twice() -> None:
    for one in NOT_BUILT:
        assert any(file == one.file and one.cases.fullmatch(name) for file, name in CASES), one
        assert one.reason
    assert not_built("mimir", "mimir", "OTLP metrics protobuf") is None
    assert not_built("embedded", "mimir", "write out of order") is None


def test_a_push_that_is_taken_although_it_is_not_built_is_a_problem() -> None:
    assert Outcome({"status": "200, although it is not built"}, missing=NOT_BUILT[0]).problem
    assert Outcome({}, missing=NOT_BUILT[0]).problem == ""


HEADERS = [
    ("write same timestamp other value", {"retry-after": "6"}, "retry-after"),
    ("query instant", {"server-timing": ""}, "server-timing"),
    ("query parse error", {"server-timing": "querier_wall_time;dur=1"}, "server-timing"),
    ("labels", {"vary": "Accept-Encoding"}, "vary"),
    (
        "RW2 three series",
        {"x-prometheus-remote-write-samples-written": "0"},
        "x-prometheus-remote-write-samples-written",
    ),
]


@pytest.mark.parametrize(("name", "headers", "aspect"), HEADERS, ids=lambda value: str(value)[:20])
def test_a_header_that_says_something_is_compared(
    name: str, headers: dict[str, str], aspect: str, mover: Mover
) -> None:
    case = mover.case(CASES["mimir", name])
    got = replace(case.answer, headers=case.answer.headers | headers)
    assert list(differences(case, got)) == [aspect]


def test_of_figures_in_headers_only_their_presence_counts(mover: Mover) -> None:
    case = mover.case(CASES["mimir", "rate limit, request larger than the burst"])
    assert differences(case, replace(case.answer, headers=case.answer.headers | {"retry-after": "9"})) == {}


def test_a_message_that_is_rewritten_without_a_change_keeps_its_bytes() -> None:
    for name in ("export protobuf", "export short trace id"):
        body = CASES["tempo-otlp-http", name].request.body
        assert isinstance(body, bytes)
        assert rewritten(body, {1: {2: {2: {1: lambda trace_id: trace_id}}}}) == body
    with pytest.raises((ValueError, IndexError)):
        rewritten(b"\x0a\x05abc", {})


def test_a_known_difference_that_is_gone_or_has_grown_is_a_problem() -> None:
    entry = Known("embedded", "loki", "labels", ("body",), "a reason")
    assert Outcome({"body": "x"}, entry).problem == ""
    assert "nothing" in Outcome({}, entry).problem
    assert Outcome({"body": "x", "status": "y"}, entry).problem
    assert Outcome({}, replace(entry, optional=True)).problem == ""
    assert Outcome({}, None).problem == ""
    assert Outcome({"status": "200, not 500"}, None).problem == "status: 200, not 500"
