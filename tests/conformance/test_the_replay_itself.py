"""The replay finds what differs, and only that: without any server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from captured import SERVER_OF, Answer, Case, load
from comparing import differences, whole
from known import Known
from moving import RECORDED_S, Mover, rewritten
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


MEASURED = [
    ("loki", "query_range line filter", _set("data", "stats", "summary", "execTime", to=7)),
    ("loki", "labels", _set("data", to=["app", "job", "other", "pod", "run", "service_name"])),
    ("loki", "buildinfo", _set("version", to="3.7.6")),
    ("mimir-like-cortex", "query scalar", _set("data", "result", 0, to=1.5)),
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
