"""Readers: what they ask, what they make of an answer, and that no failure ever looks like an empty success."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import Reply as Answer
from scripted import Request, free_port, scripted

from loadgen.config import Target
from loadgen.model import NS, Component, QueryTiming, RunKey
from loadgen.targets.http import Answer as HttpAnswer
from loadgen.targets.http import HttpClient
from loadgen.targets.loki import LokiReader
from loadgen.targets.mimir import MimirReader
from loadgen.targets.readers import Readers, open_readers, ping
from loadgen.targets.reading import Asker, Patience, duration_text, quoted, selector
from loadgen.targets.tempo import TempoReader, padded_id


def target(url: str, via: str = "direct") -> Target:
    return Target.model_validate(
        {
            "via": via,
            "loki": {"url": url},
            "tempo": {"query_url": url, "datasource": "te mpo"},
            "mimir": {"url": url},
            "grafana": {"url": url, "user": "me", "password": "pw-secret"},
        }
    )


def readers(url: str, via: str = "direct", record: Any = None) -> Readers:
    return open_readers(target(url, via), time.time_ns, record, 5.0, "verify")


def json_answer(value: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def prometheus(kind: str, result: object) -> Answer:
    return json_answer({"status": "success", "data": {"resultType": kind, "result": result}})


def parameters(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}


# -- failures ------------------------------------------------------------------------------------------------------

ASK: dict[str, Callable[[Readers], Any]] = {
    "loki streams": lambda r: r.loki.streams('{run="r"}', 0, NS, ("pod",)),
    "loki counts": lambda r: r.loki.counts('{run="r"}', "pod", 0, NS),
    "loki sums": lambda r: r.loki.sums('{run="r"}', "(?P<n>.)", "pod", 0, NS),
    "loki range": lambda r: r.loki.range("x", 0, NS, 1),
    "loki labels": lambda r: r.loki.labels(0, NS),
    "mimir raw": lambda r: r.mimir.raw('{run="r"}', 0, 1000),
    "mimir counts": lambda r: r.mimir.counts('{run="r"}', 0, 1000),
    "mimir sums": lambda r: r.mimir.sums('{run="r"}', 0, 1000),
    "mimir range": lambda r: r.mimir.range("x", 0, NS, 1),
    "mimir values": lambda r: r.mimir.label_values("x", 0, NS),
    "tempo trace": lambda r: r.tempo.trace(b"\x01" * 16),
    "tempo search": lambda r: r.tempo.search("{ }", 0, NS),
    "tempo metrics": lambda r: r.tempo.metrics("{ } | rate()", 0, NS, 1),
    "tempo values": lambda r: r.tempo.tag_values("resource.service.name"),
}
BROKEN = {
    "html page": Answer(200, b"<html><title>Sign in</title></html>", {"Content-Type": "text/html"}),
    "empty body": Answer(200, b""),
    "cut json": Answer(200, b'{"status":"success","data":{"resultType":"streams","result":['),
    "empty object": Answer(200, b"{}"),
    "list": Answer(200, b"[]"),
    "null": Answer(200, b"null"),
    "success without data": Answer(200, b'{"status":"success"}'),
    "success without result": Answer(200, b'{"status":"success","data":{}}'),
    "error with 200": Answer(200, b'{"status":"error","error":"deep trouble"}'),
    "wrong type": prometheus("scalar", [0, "1"]),
    "broken element": prometheus("matrix", [{"metric": {}}]),
    "bad gateway": Answer(502, b"<html>nginx</html>", {"Content-Type": "text/html"}),
    "unauthorized": Answer(401, b'{"message":"Invalid username or password"}'),
    "grafana 404": Answer(404, b'{"message":"Data source not found"}'),
    "cut body": Answer(200, b'{"status":"success"}' * 10, cut=30),
    "reset": Answer(reset=True),
}
# Loki leaves ``data`` out when it has no labels at all; an empty search result has metrics only.
ALLOWED = {("loki labels", "success without data"), ("mimir values", "success without data")}


@pytest.mark.parametrize("question", ASK)
@pytest.mark.parametrize("trouble", BROKEN)
def test_no_failure_is_an_empty_success(question: str, trouble: str) -> None:
    timings: list[QueryTiming] = []
    with scripted(BROKEN[trouble]) as server:
        reply = ASK[question](readers(server.url, "grafana", timings.append))
    if (question, trouble) in ALLOWED:
        assert reply.value == ()
        return
    assert reply.value is None and server.url in reply.error and not reply.ok
    assert timings and not timings[-1].ok and timings[-1].detail


def test_a_ping_of_mimir_asks_for_the_series_that_the_run_goes_on_with() -> None:
    with scripted(prometheus("vector", [])) as server:
        ping(readers(server.url, "direct"), Component.MIMIR, RunKey("r2", 1, 0, "r1"), 3600 * NS)
    assert parse_qs(urlsplit(server.requests[0].path).query)["query"] == ['count({run="r1"})']


def test_refused_connection_is_an_error_value() -> None:
    reply = readers(f"http://127.0.0.1:{free_port()}").loki.labels(0, NS)
    assert reply.value is None and reply.status == 0 and "connection refused" in reply.error


def test_timing_names_component_kind_way_and_range() -> None:
    timings: list[QueryTiming] = []
    with scripted(prometheus("matrix", [{"metric": {}, "values": [[1, "2"], [2, "3"]]}])) as server:
        readers(server.url, "grafana", timings.append).loki.range("x", 0, 3600 * NS, 15, due_ns=17)
    [timing] = timings
    assert (timing.component, timing.kind, timing.via, timing.source) == ("loki", "range", "grafana", "verify")
    assert (timing.range_s, timing.due_ns, timing.ok, timing.status, timing.items) == (3600.0, 17, True, 200, 2)
    assert timing.due_ns < timing.sent_ns <= timing.done_ns


def test_paths_through_grafana_and_directly() -> None:
    vector, key = prometheus("vector", []), RunKey("r1", 1, 0)
    with scripted(vector) as server:
        for via in ("grafana", "direct"):
            for component in (Component.LOKI, Component.MIMIR, Component.TEMPO):
                ping(readers(server.url, via), component, key, 3600 * NS)
    paths = [urlsplit(request.path).path for request in server.requests]
    assert paths == [
        "/api/datasources/proxy/uid/loki/loki/api/v1/query_range",
        "/api/datasources/proxy/uid/mimir/api/v1/query",
        "/api/datasources/proxy/uid/te%20mpo/api/search",
        "/loki/api/v1/query_range",
        "/prometheus/api/v1/query",
        "/api/search",
    ]
    assert server.requests[0].headers["Authorization"].startswith("Basic ")
    assert "Authorization" not in server.requests[3].headers


# -- Loki ----------------------------------------------------------------------------------------------------------


class FakeLoki:
    """Answers query_range like Loki: merged over streams, by time, up to the limit, split by an added label."""

    def __init__(self, streams: dict[str, list[tuple[int, str]]]) -> None:
        self.streams = streams

    def get(self, _path: str, params: dict[str, str]) -> HttpAnswer:
        start, end, limit = int(params["start"]), int(params["end"]), int(params["limit"])
        inside = [(at, pod, line) for pod, entries in self.streams.items() for at, line in entries if start <= at < end]
        inside.sort(key=lambda one: one[0])
        groups: dict[tuple[str, str], list[list[str]]] = {}
        for at, pod, line in inside[:limit]:
            groups.setdefault((pod, "error" if len(line) % 2 else "info"), []).append([str(at), line])
        result = [
            {"stream": {"pod": pod, "run": "r", "detected_level": level}, "values": values}
            for (pod, level), values in groups.items()
        ]
        body = json.dumps({"status": "success", "data": {"resultType": "streams", "result": result}}).encode()
        return HttpAnswer(200, body, "application/json", "", 1, 2)

    where = "http://loki"


def loki_of(fake: Any) -> LokiReader:
    return LokiReader(Asker(Component.LOKI, fake, "", "direct", "verify"))


entries = st.lists(st.tuples(st.integers(0, 30), st.text("abc", max_size=4)), max_size=60)


@given(first=entries, second=entries, limit=st.integers(1, 15))
def test_paging_neither_loses_nor_doubles_entries(
    first: list[tuple[int, str]], second: list[tuple[int, str]], limit: int
) -> None:
    times = [at for at, _ in first + second if 3 <= at < 28]
    fullest = max((times.count(at) for at in times), default=0)
    reply = loki_of(FakeLoki({"a": first, "b": second})).streams("{}", 3, 28, ("pod",), limit)
    if reply.value is None:
        assert fullest >= limit and "cannot be paged" in reply.error
        return
    came = {dict(stream.labels)["pod"]: [(e.at_ns, e.line) for e in stream.entries] for stream in reply.value}
    for pod, sent in (("a", first), ("b", second)):
        expected = [one for one in sent if 3 <= one[0] < 28]
        assert sorted(came.get(pod, [])) == sorted(expected)
        assert [at for at, _ in came.get(pod, [])] == sorted(at for at, _ in expected)
    if fullest < limit:
        assert reply.ok


def test_streams_that_loki_split_are_put_together_by_the_pushed_labels() -> None:
    fake = FakeLoki({"a": [(1, "x"), (2, "xy"), (3, "x")]})
    [stream] = loki_of(fake).streams("{}", 0, 9, ("pod", "run")).value or ()
    assert stream.labels == (("pod", "a"), ("run", "r"))
    assert [entry.at_ns for entry in stream.entries] == [1, 2, 3] and not stream.disordered


def test_entries_out_of_order_within_an_answer_are_noticed() -> None:
    result = [{"stream": {"pod": "a"}, "values": [["2", "second"], ["1", "first"]]}]
    with scripted(prometheus("streams", result)) as server:
        [stream] = readers(server.url).loki.streams("{}", 0, 9, ("pod",)).value or ()
    assert [entry.line for entry in stream.disordered] == ["first"]
    assert [entry.line for entry in stream.entries] == ["first", "second"]


def test_structured_metadata_in_values_is_allowed() -> None:
    result = [{"stream": {"pod": "a"}, "values": [["1", "x", {"trace_id": "0af7"}]]}]
    with scripted(prometheus("streams", result)) as server:
        assert readers(server.url).loki.streams("{}", 0, 9, ("pod",)).ok


def test_counts_ask_one_instant_query_at_the_end_of_the_range() -> None:
    with scripted(prometheus("vector", [{"metric": {"pod": "a"}, "value": [7.0, "11"]}])) as server:
        reply = readers(server.url).loki.counts('{run="r"}', "pod", 10 * NS, 70 * NS)
    assert reply.value == {"a": 11}
    assert parameters(server.requests[0]) == {
        "query": 'sum by (pod) (count_over_time({run="r"}[60s]))',
        "time": str(70 * NS),
    }


def test_sums_are_of_the_number_that_the_pattern_names() -> None:
    with scripted(prometheus("vector", [{"metric": {"pod": "a"}, "value": [7.0, "2000000000000011"]}])) as server:
        reply = readers(server.url).loki.sums('{run="r"}', r'n="?(?P<n>\d+)', "pod", 10 * NS, 70 * NS)
    assert reply.value == {"a": 2_000_000_000_000_011}
    asked = parameters(server.requests[0])["query"]
    assert asked == 'sum by (pod) (sum_over_time({run="r"} | regexp "n=\\"?(?P<n>\\\\d+)" | unwrap n [60s]))'


# -- Mimir ---------------------------------------------------------------------------------------------------------


def test_raw_samples_keep_their_milliseconds_and_values() -> None:
    values = [[1795413979.092, "1"], [1795413979.093, "0.30000000000000004"], [1795413994.092, "NaN"]]
    with scripted(prometheus("matrix", [{"metric": {"__name__": "m", "a": "b"}, "values": values}])) as server:
        reply = readers(server.url).mimir.raw("m", 1795413979093, 1795413999000)
    [series] = reply.value or ()
    assert series.labels == (("__name__", "m"), ("a", "b"))
    assert series.times_ms.tolist() == [1795413979093, 1795413994092]
    assert series.values[0] == 0.30000000000000004 and np.isnan(series.values[1])
    assert parameters(server.requests[0]) == {"query": "m[20s]", "time": "1795413999.000"}


@given(start=st.integers(10**12, 10**13), length=st.integers(0, 10**6))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_raw_asks_for_more_than_the_range_whoever_owns_its_edge(start: int, length: int) -> None:
    seen: list[dict[str, str]] = []

    class Fake:
        where = "x"

        def get(self, path: str, params: dict[str, str]) -> Any:
            seen.append(params)
            return HttpClient("").get(path)

    MimirReader(Asker(Component.MIMIR, Fake(), "", "direct", "verify")).raw("m", start, start + length)  # type: ignore[arg-type]
    whole_s = int(seen[0]["query"].removeprefix("m[").removesuffix("s]"))
    end_ms = int(seen[0]["time"].replace(".", ""))
    assert end_ms == start + length and end_ms - whole_s * 1000 < start


def test_counts_of_series_are_named_by_their_labels() -> None:
    point = {"metric": {"instance": "h", "series": "1"}, "value": [1, "30"]}
    with scripted(prometheus("vector", [point])) as server:
        reply = readers(server.url).mimir.counts('{__name__="m"}', 0, 1500)
        sums = readers(server.url).mimir.sums('{__name__="m"}', 0, 1500)
    assert reply.value == {(("instance", "h"), ("series", "1")): 30}
    assert parameters(server.requests[0])["query"] == 'count_over_time({__name__="m"}[1500ms])'
    assert sums.value == {(("instance", "h"), ("series", "1")): 30.0}
    assert parameters(server.requests[1])["query"] == 'sum_over_time({__name__="m"}[1500ms])'


# -- Tempo ---------------------------------------------------------------------------------------------------------

SPAN = {
    "traceId": "AAECAwQFBgcICQoLDA0ODw==",
    "spanId": "AQIDBAUGBwE=",
    "parentSpanId": "AAAAAAAAAAA=",
    "name": "GET /cart",
    "kind": "SPAN_KIND_SERVER",
    "startTimeUnixNano": "1795414024042086484",
    "endTimeUnixNano": "1795414024092086484",
    "attributes": [{"key": "http.status_code", "value": {"intValue": "200"}}],
    "status": {"code": "STATUS_CODE_ERROR"},
}
RESOURCE = {"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}]}
BATCHES = [{"resource": RESOURCE, "scopeSpans": [{"scope": {"name": "loadgen"}, "spans": [SPAN]}]}]
TRACE_ID = bytes(range(16))


@pytest.mark.parametrize("body", [{"trace": {"resourceSpans": BATCHES}, "metrics": {}}])
def test_trace_is_read_with_ids_in_base64(body: Any) -> None:
    with scripted(json_answer(body)) as server:
        [span] = readers(server.url).tempo.trace(TRACE_ID).value or ()
    assert server.requests[0].path == "/api/v2/traces/000102030405060708090a0b0c0d0e0f"
    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE_ID, bytes.fromhex("0102030405060701"), b"")
    assert (span.kind, span.status, span.end_ns - span.start_ns) == (2, 2, 50_000_000)
    assert span.attributes == {"http.status_code": 200} and span.resource == {"service.name": "checkout"}


@pytest.mark.parametrize("body", [{"trace": {}, "metrics": {}}, {"metrics": {}}, {"trace": None, "metrics": {}}])
def test_absent_trace_is_empty_and_no_error(body: Any) -> None:
    with scripted(json_answer(body)) as server:
        reply = readers(server.url).tempo.trace(TRACE_ID)
    assert reply.ok and reply.value == ()


def test_older_tempo_is_asked_by_its_first_api() -> None:
    found = scripted(Answer(404, b"404 page not found\n"), json_answer({"batches": BATCHES}))
    absent = scripted(Answer(404, b"404 page not found\n"), Answer(404))
    with found as server:
        assert len(readers(server.url).tempo.trace(TRACE_ID).value or ()) == 1
        assert server.requests[1].path.startswith("/api/traces/")
    with absent as server:
        assert readers(server.url).tempo.trace(TRACE_ID).value == ()


def test_partial_trace_is_an_error() -> None:
    body = {"trace": {"resourceSpans": BATCHES}, "status": "PARTIAL", "message": "too large"}
    with scripted(json_answer(body)) as server:
        assert "too large" in readers(server.url).tempo.trace(TRACE_ID).error


def test_search_ids_get_their_leading_zeros_back() -> None:
    assert padded_id("102030405060708090a0b0c0d0e0f") == TRACE_ID


class FakeTempo:
    """Searches by whole seconds, both inclusive, and stops at the limit in no useful order."""

    where = "http://tempo"

    def __init__(self, starts_s: list[int]) -> None:
        self.starts_s = starts_s
        self.asked = 0

    def get(self, _path: str, params: dict[str, str]) -> HttpAnswer:
        self.asked += 1
        start, end, limit = int(params["start"]), int(params["end"]), int(params["limit"])
        hits = [
            {"traceID": f"{number + 1:x}", "spanSet": {"matched": 8, "spans": []}}
            for number, at in reversed(list(enumerate(self.starts_s)))
            if start <= at <= end
        ]
        body = json.dumps({"traces": hits[:limit], "metrics": {}}).encode()
        return HttpAnswer(200, body, "application/json", "", 1, 2)


@given(starts=st.lists(st.integers(0, 20), max_size=80), limit=st.integers(1, 9))
def test_search_is_exhaustive_whatever_the_limit(starts: list[int], limit: int) -> None:
    reader = TempoReader(Asker(Component.TEMPO, FakeTempo(starts), "", "direct", "verify"))  # type: ignore[arg-type]
    reply = reader.search("{ }", 5 * NS, 15 * NS, limit)
    assert reply.value is not None
    expected = {(number + 1).to_bytes(16, "big") for number, at in enumerate(starts) if 5 <= at <= 15}
    assert set(reply.value) == expected
    assert all(hit.matched == 8 for hit in reply.value.values())


def test_more_traces_in_a_second_than_any_limit_is_an_error() -> None:
    class Endless(FakeTempo):
        def get(self, path: str, params: dict[str, str]) -> Any:
            self.starts_s = [0] * int(params["limit"])
            return super().get(path, params)

    reply = TempoReader(Asker(Component.TEMPO, Endless([]), "", "direct", "verify")).search("{ }", 0, NS)  # type: ignore[arg-type]
    assert "search cannot list them all" in reply.error


class LimitedTempo(FakeTempo):
    """Refuses a search for more traces than ``query_frontend.search.max_result_limit`` allows, in Tempo's words."""

    def __init__(self, starts_s: list[int], most: int) -> None:
        super().__init__(starts_s)
        self.most, self.limits = most, list[int]()

    def get(self, path: str, params: dict[str, str]) -> HttpAnswer:
        limit = int(params["limit"])
        self.limits.append(limit)
        if limit > self.most:
            error = f"http://tempo{path}: 400, 'limit {limit} exceeds max limit {self.most}'"
            return HttpAnswer(400, b"", "text/plain", error, 1, 2)
        return super().get(path, params)


def tempo_of(fake: Any, record: Any = None) -> TempoReader:
    return TempoReader(Asker(Component.TEMPO, fake, "", "direct", "verify", record))


@given(starts=st.lists(st.integers(0, 20), max_size=60, unique=True), most=st.integers(3, 9))
def test_search_is_exhaustive_within_the_limit_that_tempo_names(starts: list[int], most: int) -> None:
    timings: list[QueryTiming] = []
    client = LimitedTempo(starts, most)
    tempo = tempo_of(client, timings.append)
    reply = tempo.search("{ }", 0, 20 * NS)
    assert set(reply.value or ()) == {(number + 1).to_bytes(16, "big") for number in range(len(starts))}
    assert all(timing.ok for timing in timings), "a refusal that tells the limit is no failed query"
    assert tempo.recording(None).first_hits("{ }", 0, 20 * NS, 20).ok
    assert [limit for limit in client.limits if limit > most] == [1000], "the copy knows it too"


def test_more_traces_in_a_second_than_tempo_allows_is_an_error_and_not_asked_for_with_a_higher_limit() -> None:
    client = LimitedTempo([0] * 9, 5)
    assert "search cannot list them all" in tempo_of(client).search("{ }", 0, NS).error
    assert client.limits == [1000, 5]


# -- Grafana's panels ----------------------------------------------------------------------------------------------


def test_panel_query_is_posted_with_datasource_and_counts_rows() -> None:
    frames = [{"schema": {"fields": []}, "data": {"values": [[1, 2, 3], ["a", "b", "c"]]}}]
    with scripted(json_answer({"results": {"A": {"status": 200, "frames": frames}}})) as server:
        grafana = readers(server.url, "grafana").grafana
        assert grafana is not None
        reply = grafana.panel(Component.MIMIR, {"expr": "up", "range": True}, 5_000_000, 9_000_000)
    assert reply.value == 3
    sent = json.loads(server.requests[0].body)
    assert (sent["from"], sent["to"]) == ("5", "9")
    assert sent["queries"] == [
        {"refId": "A", "datasource": {"uid": "mimir", "type": "prometheus"}, "expr": "up", "range": True}
    ]


@pytest.mark.parametrize(
    "result",
    [{"error": "bad expression", "status": 400}, {"status": 500, "frames": []}, {}, {"frames": None}],
)
def test_failed_panel_query_is_an_error_whatever_the_http_status(result: Any) -> None:
    with scripted(json_answer({"results": {"A": result}})) as server:
        grafana = readers(server.url, "grafana").grafana
        assert grafana is not None and grafana.panel(Component.LOKI, {}, 0, NS).error


# -- texts ---------------------------------------------------------------------------------------------------------


def test_selectors_quote_what_they_hold() -> None:
    assert selector(run='a"b\\c', pod="ü") == '{run="a\\"b\\\\c", pod="ü"}'
    assert quoted("x\ny") == '"x\\ny"'


@pytest.mark.parametrize(
    ("duration_ns", "text"), [(60 * NS, "60s"), (1_500_000_000, "1500ms"), (1_000, "1us"), (1_001, "1001ns")]
)
def test_durations_are_written_in_their_largest_whole_unit(duration_ns: int, text: str) -> None:
    assert duration_text(duration_ns) == text


ABSENT = "failed to get trace with id: 0a Status: 404 Not Found Body: trace not found"


@pytest.mark.parametrize("status", [400, 404, 500, 207, 200])
def test_a_panel_of_a_trace_that_is_not_there_is_empty_and_no_failure(status: int) -> None:
    timings: list[QueryTiming] = []
    body = json.dumps({"results": {"A": {"error": ABSENT, "status": status, "frames": []}}}).encode()
    with scripted(Answer(status, body)) as server:
        reader = readers(server.url, "grafana", timings.append).grafana
        assert reader is not None
        reply = reader.panel(Component.TEMPO, {"query": "0a", "queryType": "traceId"}, 0, NS)
        other = reader.panel(Component.TEMPO, {"query": "{}", "queryType": "traceql"}, 0, NS)
    assert (reply.value, reply.error) == (0, "") and [(one.ok, one.items) for one in timings] == [(True, 0), (False, 0)]
    assert other.value is None


@pytest.mark.parametrize(
    "text", ["failed to get trace with id: 0a Status: 500 Internal", "failed get to tempo: refused"]
)
def test_a_panel_of_a_trace_that_could_not_be_asked_for_is_a_failure(text: str) -> None:
    body = json.dumps({"results": {"A": {"error": text, "status": 500, "frames": []}}}).encode()
    with scripted(Answer(500, body)) as server:
        reader = readers(server.url, "grafana").grafana
        assert reader is not None
        assert reader.panel(Component.TEMPO, {"query": "0a", "queryType": "traceId"}, 0, NS).value is None


# -- limits of Loki on entries -----------------------------------------------------------------------------------------


class LimitedLoki(HttpClient):
    """A Loki that gives at most so many entries to a query, and says so in its words (or in none that tell)."""

    def __init__(self, most: int, told: bool = True) -> None:
        super().__init__("http://127.0.0.1:1")
        self.most, self.told, self.limits = most, told, list[int]()

    def get(self, path: str, params: Any = None, timeout_s: float | None = None) -> HttpAnswer:
        limit = int(params["limit"])
        self.limits.append(limit)
        if limit > self.most:
            compared = f" ({limit} > {self.most})" if self.told else ""
            text = f"max entries limit per query exceeded, limit > max_entries_limit_per_query{compared}"
            return HttpAnswer(400, text.encode(), "text/plain", f"loki: 400, {text!r}", 5, 6)
        times = range(int(params["start"]), int(params["end"]))[:limit]
        result = [{"stream": {"pod": "a"}, "values": [[str(at), f"line {at}"] for at in times]}]
        body = json.dumps({"status": "success", "data": {"resultType": "streams", "result": result}})
        return HttpAnswer(200, body.encode(), "application/json", "", 7, 8)


@pytest.mark.parametrize("told", [True, False])
def test_pages_are_as_small_as_loki_says_or_half_as_large_each_time(told: bool) -> None:
    client, timings = LimitedLoki(1000, told), list[QueryTiming]()
    loki = LokiReader(Asker(Component.LOKI, client, "", "direct", "verify", timings.append))
    [stream] = loki.streams("{}", 0, 4500, ("pod",)).value or ()
    assert [entry.at_ns for entry in stream.entries] == list(range(4500))
    refused = [limit for limit in client.limits if limit > 1000]
    assert refused == ([5000] if told else [5000, 2500, 1250])
    assert all(timing.ok for timing in timings), "a refusal that tells the limit is no failed query"


def test_all_copies_of_a_reader_keep_to_a_limit_that_one_has_learned() -> None:
    client = LimitedLoki(500)
    loki = LokiReader(Asker(Component.LOKI, client, "", "direct", "verify"))
    assert loki.recording(None).newest("{}", 0, 4500, 1000).value == 500
    assert loki.newest("{}", 0, 4500, 1000).value == 500
    assert client.limits == [1000, 500, 500]


def test_a_loki_that_allows_no_entries_at_all_is_a_failed_query() -> None:
    client = LimitedLoki(0)
    reply = LokiReader(Asker(Component.LOKI, client, "", "direct", "verify")).newest("{}", 0, 9, 10)
    assert not reply.ok and "max_entries_limit_per_query" in reply.error


# -- servers that have too many questions ----------------------------------------------------------------------------

BUSY = Answer(429, b"too many outstanding requests")


class Waits:
    def __init__(self, within_s: float = 20.0, stop_after: int = 99) -> None:
        self.slept: list[float] = []
        self.patience = Patience(self.slept.append, lambda: len(self.slept) >= stop_after, within_s)


def ask_patiently(url: str, waits: Waits | None, record: Any = None, question: str = "loki labels") -> Any:
    patience = waits.patience if waits else None
    return ASK[question](open_readers(target(url), time.time_ns, record, 5.0, "verify", patience=patience))


@pytest.mark.parametrize("question", ["loki labels", "mimir raw", "tempo search", "tempo values"])
def test_a_question_for_which_a_server_has_no_time_is_asked_again_after_growing_pauses(question: str) -> None:
    timings: list[QueryTiming] = []
    good = {"loki": json_answer({"status": "success", "data": []}), "mimir": prometheus("matrix", [])}
    tempo = json_answer({"traces": [], "tagValues": []})
    waits = Waits()
    with scripted(BUSY, BUSY, BUSY, good.get(question.split()[0], tempo)) as server:
        reply = ask_patiently(server.url, waits, timings.append, question)
    assert reply.ok and waits.slept == [0.25, 0.5, 1.0]
    assert [timing.status for timing in timings] == [429, 429, 429, 200], "each attempt is told"


def test_as_long_as_the_server_asks_for_is_waited() -> None:
    waits = Waits()
    with scripted(Answer(429, b"", {"Retry-After": "7"}), json_answer({"status": "success", "data": []})) as server:
        assert ask_patiently(server.url, waits).ok
    assert waits.slept == [7.0]


@pytest.mark.parametrize(
    ("answer", "waits", "slept"),
    [
        (BUSY, Waits(within_s=2.0), [0.25, 0.5, 1.0]),
        (BUSY, Waits(stop_after=2), [0.25, 0.5]),
        (Answer(429, b"", {"Retry-After": "60"}), Waits(), []),
        (Answer(503, b"away"), Waits(), []),
        (BUSY, None, []),
    ],
    ids=["too long", "stopped", "asks for too much", "another failure", "no patience"],
)
def test_patience_has_an_end_and_is_for_429_alone(answer: Answer, waits: Waits | None, slept: list[float]) -> None:
    with scripted(answer) as server:
        reply = ask_patiently(server.url, waits)
        assert len(server.requests) == len(slept) + 1
    assert reply.status == answer.status and reply.error and (waits is None or waits.slept == slept)
