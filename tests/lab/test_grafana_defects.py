"""Queries that the embedded Grafana was told to spoil."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_harness import Client, grafana

PROXY = "/api/datasources/proxy/uid"
STREAM = {"stream": {"app": "a"}, "values": [["1", "line"]]}
ANSWERS: dict[str, Any] = {
    "/loki/api/v1/query_range": {
        "status": "success",
        "data": {"resultType": "streams", "result": [STREAM], "stats": {"summary": {}}},
    },
    "/loki/api/v1/labels": {"status": "success", "data": ["app"]},
    "/api/search": {"traces": [{"traceID": "1"}], "metrics": {"inspectedTraces": 1}},
    "/api/v2/traces/1": {"trace": {"resourceSpans": [{}]}, "metrics": {}},
    "/api/v2/search/tag/name/values": {"tagValues": [{"type": "string", "value": "x"}], "metrics": {}},
    "/prometheus/api/v1/query": {
        "status": "success",
        "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]},
    },
}
EMPTY = {
    "loki/loki/api/v1/query_range": {
        "status": "success",
        "data": {"resultType": "streams", "result": [], "stats": {"summary": {}}},
    },
    "loki/loki/api/v1/labels": {"status": "success", "data": []},
    "tempo/api/search": {"traces": [], "metrics": {"inspectedTraces": 1}},
    "tempo/api/v2/traces/1": {"trace": {}, "metrics": {}},
    "tempo/api/v2/search/tag/name/values": {"tagValues": [], "metrics": {}},
    "mimir/api/v1/query": {"status": "success", "data": {"resultType": "vector", "result": []}},
}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with grafana(tmp_path) as client:
        client.component.answers.update({path: (200, content) for path, content in ANSWERS.items()})
        yield client


def order(client: Client, kind: str, **more: object) -> None:
    assert client.ask("POST", "/lab/defects", {"kind": kind, **more}).status == 201


@pytest.mark.parametrize("path", EMPTY)
def test_an_emptied_answer_is_a_success_of_the_same_form_without_results(client: Client, path: str) -> None:
    order(client, "empty")
    spoiled = client.get(f"{PROXY}/{path}", **{"Accept-Encoding": "gzip"})
    assert (spoiled.status, spoiled.json()) == (200, EMPTY[path])
    assert client.get(f"{PROXY}/{path}").json() != EMPTY[path]


def test_an_emptied_panel_has_no_frames(client: Client) -> None:
    query = {"refId": "A", "datasource": {"uid": "loki"}, "expr": '{a="b"}'}
    order(client, "empty", match="loki POST api/ds/query")
    status, content = client.query(query)
    assert (status, content["results"]["A"]) == (200, {"status": 200, "frames": []})
    assert client.query(query)[1]["results"]["A"]["frames"]


@pytest.mark.parametrize(("kind", "status"), [("page", 200), ("unavailable", 502)])
def test_a_page_for_people_comes_instead_of_an_answer(client: Client, kind: str, status: int) -> None:
    order(client, kind, count=2)
    for answer in (client.get(f"{PROXY}/loki/loki/api/v1/labels"), client.ask("POST", "/api/ds/query", {})):
        assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (status, "text/html")
    assert client.component.seen == []


def test_a_slow_query_is_answered_later_and_right(client: Client) -> None:
    order(client, "slow", delay_s=0.3)
    began = time.monotonic()
    answer = client.get(f"{PROXY}/loki/loki/api/v1/labels")
    assert time.monotonic() - began >= 0.3
    assert answer.json() == ANSWERS["/loki/api/v1/labels"]


def test_only_queries_with_the_text_are_hit_and_the_hits_are_kept(client: Client) -> None:
    order(client, "page", match="query={b}")
    assert client.get(f"{PROXY}/loki/loki/api/v1/query_range?query=%7Ba%7D").headers["Content-Type"] != "text/html"
    assert "html" in client.get(f"{PROXY}/loki/loki/api/v1/query_range?query=%7Bb%7D").headers["Content-Type"]
    (row,) = json.loads(client.get("/lab/defects").data)["defects"]
    assert [hit["item"] for hit in row["hits"]] == ["loki GET loki/api/v1/query_range?query={b}"]
