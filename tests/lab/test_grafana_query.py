from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from grafana_harness import Client, grafana
from hypothesis import given
from hypothesis import strategies as st

from loadgen.lab.grafana.frames import legend, series_frames
from loadgen.lab.grafana.times import (
    MAX_POINTS,
    QueryError,
    TimeRange,
    interpolate,
    parse_duration_ms,
    parse_time,
    step_ms,
)

NOW = 1_700_000_000_000_000_000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with grafana(tmp_path_factory.mktemp("grafana")) as client:
        yield client


@pytest.fixture
def client(shared: Client) -> Client:
    shared.component.answers.clear()
    shared.component.seen.clear()
    return shared


def asked(client: Client) -> tuple[str, dict[str, str]]:
    parts = urlsplit(client.component.seen[-1][1])
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}


def query(uid: str, ref: str = "A", **more: Any) -> dict[str, Any]:
    return {"refId": ref, "datasource": {"uid": uid}, **more}


def success(kind: str, result: Any, **more: Any) -> tuple[int, Any]:
    return 200, {"status": "success", "data": {"resultType": kind, "result": result, **more}}


# --- Loki -------------------------------------------------------------------------------------------------------------


def test_log_lines_become_one_frame_with_nanoseconds_and_distinct_ids(client: Client) -> None:
    client.component.answers["/loki/api/v1/query_range"] = success(
        "streams",
        [
            {"stream": {"job": "a"}, "values": [["1645030246277587968", "twice"], ["1645030246277587968", "twice"]]},
            {"stream": {"job": "b"}, "values": [["1645030244000000000", "x", {"structuredMetadata": {"t": "1"}}]]},
        ],
        stats={"summary": {"totalLinesProcessed": 3}},
    )
    status, body = client.query(query("loki", expr='{job=~"a|b"}', maxLines=7, direction="forward", intervalMs=2000))
    assert status == 200
    assert asked(client) == (
        "/loki/api/v1/query_range",
        {"query": '{job=~"a|b"}', "limit": "7", "direction": "forward", "start": "1000000000000",
         "end": "1600000000000", "step": "2000ms"},
    )  # fmt: skip
    result = body["results"]["A"]
    (frame,) = result["frames"]
    assert result["status"] == 200
    assert frame["schema"]["refId"] == "A"
    assert frame["schema"]["meta"]["custom"] == {"frameType": "LabeledTimeValues"}
    assert frame["schema"]["meta"]["executedQueryString"] == 'Expr: {job=~"a|b"}'
    assert [(row["name"], row["type"]) for row in frame["schema"]["fields"]] == [
        ("labels", "other"), ("Time", "time"), ("Line", "string"), ("tsNs", "string"), ("labelTypes", "other"),
        ("id", "string"),
    ]  # fmt: skip
    labels, times, lines, stamps, types, ids = frame["data"]["values"]
    assert labels == [{"job": "a"}, {"job": "a"}, {"job": "b", "t": "1"}]
    assert types == [{"job": "I"}, {"job": "I"}, {"job": "I", "t": "S"}]
    assert times == [1645030246277, 1645030246277, 1645030244000]
    assert lines == ["twice", "twice", "x"]
    assert stamps[0] == "1645030246277587968"
    assert len(set(ids)) == 3
    assert ids[1] == ids[0] + "_1"
    assert frame["data"]["nanos"][1] == [587968, 587968, 0]


def test_no_log_lines_are_no_frames(client: Client) -> None:
    client.component.answers["/loki/api/v1/query_range"] = success("streams", [])
    assert client.query(query("loki", expr="{a=`b`}")) == (200, {"results": {"A": {"status": 200, "frames": []}}})


def test_a_log_metric_becomes_a_frame_per_series(client: Client) -> None:
    values = [[1639125366.989, "0.4"], [1639125406.989, "NaN"]]
    matrix = [{"metric": {"level": "error", "location": "moon"}, "values": values}]
    client.component.answers["/loki/api/v1/query_range"] = success("matrix", matrix)
    _, body = client.query(query("loki", expr="rate({a=`b`}[$__interval])", intervalMs=42_000))
    (frame,) = body["results"]["A"]["frames"]
    name = '{level="error", location="moon"}'
    assert frame == {
        "schema": {
            "name": name,
            "refId": "A",
            "meta": {"type": "timeseries-multi", "executedQueryString": "Expr: rate({a=`b`}[42s])\nStep: 42s"},
            "fields": [
                {"name": "Time", "type": "time", "typeInfo": {"frame": "time.Time"}, "config": {"interval": 42000}},
                {"name": "Value", "type": "number", "typeInfo": {"frame": "float64"},
                 "labels": {"level": "error", "location": "moon"}, "config": {"displayNameFromDS": name}},
            ],
        },
        "data": {"values": [[1639125366989, 1639125406989], [0.4, None]], "entities": [None, {"NaN": [1]}]},
    }  # fmt: skip


def test_an_instant_log_metric_is_asked_at_the_end_of_the_range(client: Client) -> None:
    client.component.answers["/loki/api/v1/query"] = success("vector", [{"metric": {}, "value": [1600, "23"]}])
    _, body = client.query(query("loki", expr="count_over_time({a=`b`}[5m])", queryType="instant"))
    path, parameters = asked(client)
    assert (path, parameters["time"]) == ("/loki/api/v1/query", "1600000000000")
    assert body["results"]["A"]["frames"][0]["data"]["values"] == [[1_600_000], [23]]


# --- Prometheus -------------------------------------------------------------------------------------------------------


def test_a_range_query_is_aligned_and_names_its_fields(client: Client) -> None:
    metric = {"__name__": "requests_total", "code": "200", "job": "x"}
    matrix = [{"metric": metric, "values": [[990, "21"]]}]
    client.component.answers["/prometheus/api/v1/query_range"] = success("matrix", matrix)
    _, body = client.query(query("mimir", expr="requests_total", range=True, intervalMs=30_000), start=1_000_001)
    path, parameters = asked(client)
    assert path == "/prometheus/api/v1/query_range"
    assert parameters == {"query": "requests_total", "start": "990.000", "end": "1590.000", "step": "30.000"}
    (frame,) = body["results"]["A"]["frames"]
    assert frame["schema"]["meta"] == {
        "type": "timeseries-multi", "typeVersion": [0, 1], "custom": {"resultType": "matrix"},
        "executedQueryString": "Expr: requests_total\nStep: 30s",
    }  # fmt: skip
    assert frame["schema"]["fields"][1] == {
        "name": "requests_total", "type": "number", "typeInfo": {"frame": "float64"}, "labels": metric,
        "config": {"displayNameFromDS": 'requests_total{code="200", job="x"}'},
    }  # fmt: skip
    assert frame["data"] == {"values": [[990_000], [21]]}


def test_instant_results_of_every_kind_become_frames(client: Client) -> None:
    answers = client.component.answers
    for kind, result, values in (
        ("vector", [{"metric": {"a": "b"}, "value": [1600, "+Inf"]}], [[1_600_000], [None]]),
        ("matrix", [{"metric": {"a": "b"}, "values": [[1.001, "1"], [2.002, "2"]]}], [[1001, 2002], [1, 2]]),
        ("scalar", [1600, "2.5"], [[1_600_000], [2.5]]),
        ("vector", [], []),
    ):
        answers["/prometheus/api/v1/query"] = success(kind, result)
        status, body = client.query(query("mimir", expr="x", instant=True))
        (frame,) = body["results"]["A"]["frames"]
        assert (status, frame["data"]["values"]) == (200, values)
        assert len(frame["schema"]["fields"]) == len(values)
        assert frame["schema"]["meta"]["custom"]["resultType"] == kind


def test_a_query_may_be_range_and_instant_at_once(client: Client) -> None:
    client.component.answers["/prometheus/api/v1/query"] = success("vector", [{"metric": {}, "value": [1, "1"]}])
    matrix = [{"metric": {}, "values": [[1, "1"]]}]
    client.component.answers["/prometheus/api/v1/query_range"] = success("matrix", matrix)
    _, body = client.query(query("mimir", expr="x", instant=True, range=True, legendFormat="all"))
    frames = body["results"]["A"]["frames"]
    assert [frame["schema"]["meta"]["custom"]["resultType"] for frame in frames] == ["matrix", "vector"]
    assert {frame["schema"]["fields"][1]["config"]["displayNameFromDS"] for frame in frames} == {"all"}


# --- Tempo ------------------------------------------------------------------------------------------------------------

SPAN = {
    "traceId": "AAECAwQFBgcICQoLDA0ODw==",
    "spanId": "AAECAwQFBgc=",
    "parentSpanId": "",
    "name": "GET /cart",
    "kind": "SPAN_KIND_SERVER",
    "startTimeUnixNano": "1795412939000000500",
    "endTimeUnixNano": "1795412939005000500",
    "status": {"code": "STATUS_CODE_ERROR", "message": "boom"},
    "attributes": [{"key": "loadgen.seq", "value": {"intValue": "7"}}],
    "events": [{"timeUnixNano": "1795412939001000000", "name": "retry"}],
}
TRACE = [
    {
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}]},
        "scopeSpans": [{"scope": {"name": "loadgen"}, "spans": [SPAN]}],
    }
]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_trace_becomes_a_frame_with_a_row_per_span(client: Client, version: str) -> None:
    trace_id = "000102030405060708090a0b0c0d0e0f"
    if version == "v2":
        client.component.answers[f"/api/v2/traces/{trace_id}"] = (200, {"trace": {"resourceSpans": TRACE}})
    else:
        client.component.answers[f"/api/traces/{trace_id}"] = (200, {"batches": TRACE})
    status, body = client.query(query("tempo", query=trace_id, queryType="traceId"))
    assert status == 200
    (frame,) = body["results"]["A"]["frames"]
    assert frame["schema"]["name"] == "Trace"
    names = [row["name"] for row in frame["schema"]["fields"]]
    row = {name: values[0] for name, values in zip(names, frame["data"]["values"], strict=True)}
    assert (row["traceID"], row["spanID"], row["parentSpanID"]) == (trace_id, "0001020304050607", "")
    assert (row["operationName"], row["serviceName"], row["kind"]) == ("GET /cart", "checkout", "server")
    assert (row["statusCode"], row["statusMessage"], row["duration"]) == (2, "boom", 5)
    assert row["tags"] == [{"key": "loadgen.seq", "value": 7}]
    assert row["logs"] == [{"timestamp": 1795412939001.0, "fields": [{"key": "message", "value": "retry"}]}]


@pytest.mark.parametrize("trace", [{"trace": {}}, {}])
def test_an_absent_trace_is_an_error_404(client: Client, trace: dict[str, Any]) -> None:
    client.component.answers["/api/v2/traces/abc"] = (200, trace)
    status, body = client.query(query("tempo", query="abc", queryType="traceId"))
    assert (status, body["results"]["A"]["status"]) == (400, 404)
    assert "404" in body["results"]["A"]["error"]


@pytest.mark.parametrize("table", ["traces", "spans"])
def test_search_results_become_a_table(client: Client, table: str) -> None:
    span = {"spanID": "aa", "startTimeUnixNano": "2000000", "durationNanos": "5",
            "attributes": [{"key": "seq", "value": {"intValue": "1"}}]}  # fmt: skip
    found = {"traces": [
        {"traceID": "1", "rootServiceName": "cart", "rootTraceName": "GET", "startTimeUnixNano": "1000000"},
        {"traceID": "2", "rootServiceName": "gateway", "rootTraceName": "POST", "startTimeUnixNano": "2000000",
         "durationMs": 12, "spanSets": [{"spans": [span], "matched": 1}]},
    ]}  # fmt: skip
    client.component.answers["/api/search"] = (200, found)
    _, body = client.query(query("tempo", query="{ name = `a b&c` }", tableType=table, limit=5, spss=2), end=1_600_500)
    _, parameters = asked(client)
    assert parameters == {"q": "{ name = `a b&c` }", "limit": "5", "spss": "2", "start": "1000", "end": "1601"}
    (frame,) = body["results"]["A"]["frames"]
    names = [row["name"] for row in frame["schema"]["fields"]]
    columns = dict(zip(names, frame["data"]["values"], strict=True))
    if table == "traces":
        assert columns == {
            "traceID": ["2", "1"], "startTime": [2, 1], "traceService": ["gateway", "cart"],
            "traceName": ["POST", "GET"], "traceDuration": [12, None],
        }  # fmt: skip
    else:
        assert (columns["spanID"], columns["seq"], columns["duration"]) == (["aa"], [1], [5])


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_failed_query_is_400_and_the_others_are_answered(client: Client) -> None:
    client.component.answers["/prometheus/api/v1/query"] = success("scalar", [1, "1"])
    client.component.answers["/loki/api/v1/query_range"] = (400, "parse error at line 1, col 2: syntax error\n")
    status, body = client.query(query("mimir", "A", expr="1", instant=True), query("loki", "B", expr="{"))
    assert status == 400
    assert body["results"]["A"]["status"] == 200
    assert len(body["results"]["A"]["frames"]) == 1
    assert body["results"]["B"]["status"] == 400
    assert body["results"]["B"]["error"] == "parse error at line 1, col 2: syntax error"


def test_an_unreachable_component_is_a_clear_error(client: Client) -> None:
    status, body = client.query(query("gone", expr="{a=`b`}"))
    assert (status, body["results"]["A"]["status"]) == (400, 502)
    assert "connection refused" in body["results"]["A"]["error"]


@pytest.mark.parametrize(
    "answer",
    [(200, "<html>"), (200, []), (200, {}), success("streams", [{"stream": {}}]), success("matrix", 7),
     success("matrix", [{"metric": {}, "values": [["x", "y"]]}]), success("vector", [None]), (500, "down")],
)  # fmt: skip
def test_a_senseless_answer_is_an_error_of_that_query(client: Client, answer: tuple[int, Any]) -> None:
    client.component.answers["/loki/api/v1/query_range"] = answer
    client.component.answers["/prometheus/api/v1/query_range"] = answer
    client.component.answers["/api/search"] = answer
    for uid in ("loki", "mimir"):
        status, body = client.query(query(uid, expr="x"))
        assert status == 400
        assert body["results"]["A"]["error"]


@pytest.mark.parametrize(
    "bad",
    [{"uid": "loki"}, {"uid": "loki", "expr": 7}, {"uid": "loki", "expr": "x", "queryType": "sometimes"},
     {"uid": "loki", "expr": "x", "direction": "up"}, {"uid": "loki", "expr": "x", "step": "soon"},
     {"uid": "mimir", "expr": "x", "format": "poem"}, {"uid": "mimir", "expr": "x", "interval": "?"},
     {"uid": "tempo"}, {"uid": "tempo", "query": "{}", "queryType": "serviceMap"},
     {"uid": "tempo", "query": "../x", "queryType": "traceId"}, {"uid": "odd", "rawSql": "select 1"},
     {"uid": "loki", "expr": "x", "timeRange": {"from": "now", "to": "now-1h"}}],
)  # fmt: skip
def test_a_senseless_query_is_400_with_a_reason(client: Client, bad: dict[str, Any]) -> None:
    uid = bad.pop("uid")
    status, body = client.query(query(uid, **bad))
    bad["uid"] = uid
    assert status == 400
    assert body["results"]["A"]["error"]
    assert client.component.seen == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"queries": []}', b'{"queries": [1]}', b"\xff", b"[" * 9999]
)
def test_a_senseless_request_is_400(client: Client, body: bytes) -> None:
    answer = client.ask("POST", "/api/ds/query", body)
    assert (answer.status, bool(answer.json()["message"])) == (400, True)


@pytest.mark.parametrize("times", [("never", "now"), ("now", "now-1h"), (None, {}), ("now-1x", "now")])
def test_a_senseless_time_range_is_400(client: Client, times: tuple[Any, Any]) -> None:
    body = {"from": times[0], "to": times[1], "queries": [query("loki", expr="x")]}
    assert client.ask("POST", "/api/ds/query", body).status == 400


@pytest.mark.parametrize("source", [{"uid": "no"}, {"type": "loki"}, None, "no", {"uid": 7}])
def test_an_unknown_data_source_is_404(client: Client, source: Any) -> None:
    status, body = client.query({"refId": "A", "datasource": source, "expr": "x"})
    assert (status, body) == (404, {"message": "Data source not found"})


# --- times, steps, names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [("now", 0), ("now-1h", -3_600_000), ("now-1d+30m", -86_400_000 + 1_800_000), ("now-90s", -90_000)],
)
def test_relative_times_count_from_now(value: str, expected: int) -> None:
    assert parse_time(value, NOW) == NOW + expected * 1_000_000


def test_absolute_times_are_ms_or_rfc_3339() -> None:
    expected = 1_700_000_000_123_000_000
    assert parse_time("1700000000123", 0) == parse_time(1_700_000_000_123, 0) == expected
    assert parse_time("2023-11-14T22:13:20.123Z", 0) == expected


@given(st.one_of(st.text(), st.none(), st.booleans(), st.floats(), st.lists(st.integers()), st.integers()))
def test_any_time_is_understood_or_refused(value: object) -> None:
    try:
        assert isinstance(parse_time(value, NOW), int)
    except QueryError as error:
        assert str(error)


@given(st.integers(0, 10**13), st.integers(0, 10**10), st.one_of(st.none(), st.integers(), st.floats(), st.text()))
def test_no_step_asks_for_more_points_than_servers_give(start_ms: int, width_ms: int, interval: object) -> None:
    span = TimeRange(start_ms * 1_000_000, (start_ms + width_ms) * 1_000_000)
    step = step_ms(span, interval, None)
    assert step >= 1
    assert width_ms / step <= MAX_POINTS


def test_grafanas_variables_are_filled_in() -> None:
    span = TimeRange(0, 3_600 * 1_000_000_000)
    text = "rate(a[$__interval]) ${__range} $__range_s $__rate_interval ${__interval_ms} $other $__unknown"
    assert interpolate(text, 30_000, span) == "rate(a[30s]) 3600s 3600 60s 30000 $other $__unknown"
    assert interpolate("[$__interval]", 1_500, span) == "[1500ms]"


def test_durations_are_understood() -> None:
    texts = (None, "", "15s", "500ms", "1m", "7")
    assert [parse_duration_ms(text) for text in texts] == [0, 0, 15_000, 500, 60_000, 7_000]


def test_a_legend_is_the_series_or_the_pattern() -> None:
    labels = {"__name__": "up", "b": 'say "x"\n', "a": "1"}
    assert legend(labels) == 'up{a="1", b="say \\"x\\"\\n"}'
    assert legend(labels, "{{a}}/{{ b }}") == '1/say "x"\n'
    assert legend({"__name__": "up"}) == "up"
    assert legend({}) == "{}"


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20))
def test_every_value_is_either_shown_or_named_as_special(values: list[float]) -> None:
    rows = [{"metric": {}, "values": [[i, repr(value)] for i, value in enumerate(values)]}]
    (frame,) = series_frames("A", rows, "matrix", "", 1_000, "timeseries-multi", prometheus=True)
    shown = frame["data"]["values"][1]
    special = frame["data"].get("entities", [None, {}])[1]
    where = {index for indexes in special.values() for index in indexes}
    assert where == {index for index, value in enumerate(values) if not math.isfinite(value)}
    assert [value for value in shown if value is not None] == [value for value in values if math.isfinite(value)]
