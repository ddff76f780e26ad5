"""A data source that Grafana does not have is named, with those that it has."""

from __future__ import annotations

import json

import pytest
from scripted import Reply, Request, scripted
from test_preflight import stack, target

from loadgen.acceptance.probes.grafana import ask_datasources
from loadgen.model import Component
from loadgen.push.preflight import check_reachable
from loadgen.targets.http import HttpClient
from loadgen.targets.readers import open_readers

SAYINGS = (
    (404, {"message": "Data source not found", "messageId": "datasources.notFound"}),
    (404, {"message": "Unable to find datasource", "traceID": ""}),
    (500, {"message": "Unable to load datasource meta data"}),
)


def lacking(uid: str, status: int, said: dict[str, str], listed: Reply):
    def answer(request: Request) -> Reply:
        path = request.path.partition("?")[0]
        if path == "/api/datasources":
            return listed
        if f"/uid/{uid}" in path or path == "/api/ds/query":
            return Reply(status, json.dumps(said).encode(), {"Content-Type": "application/json"})
        return stack(request)

    return answer


ALL = Reply(200, json.dumps([{"uid": uid} for uid in ("loki", "tempo", "mimir")]).encode())


@pytest.mark.parametrize(("status", "said"), SAYINGS)
@pytest.mark.parametrize("component", ["loki", "tempo", "mimir"])
def test_before_a_run_the_uid_is_named_and_those_that_there_are(component, status, said):
    with scripted(answer=lacking("nosuch", status, said, ALL)) as server:
        [problem] = check_reachable(target(server.url, **{component: {"datasource": "nosuch"}}))
    assert "no data source with the uid nosuch; there are: loki, tempo, mimir" in problem
    assert f"set datasource in [{component}]" in problem
    assert "base URL" not in problem


def test_who_may_not_list_them_is_told_without_the_list():
    denied = Reply(403, b'{"message":"Permission denied"}')
    with scripted(answer=lacking("nosuch", *SAYINGS[0], denied)) as server:
        [problem] = check_reachable(target(server.url, loki={"datasource": "nosuch"}))
    assert "no data source with the uid nosuch" in problem
    assert "this login may not list them" in problem


def test_a_data_source_that_is_gone_is_no_trace_that_is_not_there():
    with scripted(answer=lacking("tempo", *SAYINGS[0], ALL)) as server:
        readers = open_readers(target(server.url), lambda: 1, None, 5.0, "verify")
        reply = readers.tempo.trace(bytes(16))
        panel = readers.grafana.panel(Component.TEMPO, {"queryType": "traceId", "query": "00"}, 0, 1)
        asked = [request.path for request in server.requests]
    assert "no data source with the uid tempo" in reply.error
    assert "no data source with the uid tempo" in panel.error
    assert asked.count("/api/datasources") == 1


def test_the_acceptance_check_says_it_alike():
    with scripted(answer=lacking("nosuch", *SAYINGS[0], ALL)) as server:
        where = target(server.url, loki={"datasource": "nosuch"})
        client = HttpClient(server.url)
        told = dict(ask_datasources(client, where, open_readers(where, lambda: 1, None, 5.0, "check")))
    assert "no data source with the uid nosuch; there are: loki, tempo, mimir" in told[Component.LOKI].error
    assert told[Component.LOKI].value.query_s.error.count("no data source with the uid nosuch") == 1
