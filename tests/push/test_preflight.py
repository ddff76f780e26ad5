"""The check before a run names what is wrong, once, and stores nothing."""

from __future__ import annotations

import json
from typing import Any

from scripted import Reply, Request, free_port, scripted

from loadgen.config import Target
from loadgen.model import Signal
from loadgen.push.preflight import check_reachable


def stack(request: Request) -> Reply:
    """Grafana, the three components and their push endpoints on one address, all well."""
    path = request.path.partition("?")[0]
    if path == "/api/health":
        return Reply(200, b'{"database": "ok", "version": "12.0.0"}')
    if path.endswith("/labels"):
        return Reply(200, b'{"status": "success"}')
    if path.endswith("/api/search"):
        return Reply(200, b'{"traces": [], "metrics": {}}')
    if path.endswith("/api/v1/query"):
        return Reply(200, b'{"status":"success","data":{"resultType":"vector","result":[]}}')
    if path == "/loki/api/v1/push":
        return Reply(422, b"error at least one valid stream is required for ingestion\n")
    if path in ("/api/v1/push", "/v1/traces"):
        return Reply(200)
    return Reply(404, b"404 page not found\n")


def target(url: str, **sections: dict[str, Any]) -> Target:
    raw: dict[str, dict[str, Any]] = {
        "loki": {"url": url},
        "tempo": {"otlp_http": url, "query_url": url},
        "mimir": {"url": url},
        "grafana": {"url": url, "user": "admin", "password": "pw-secret"},
    }
    return Target.model_validate(
        {**{name: {**raw.get(name, {}), **sections.get(name, {})} for name in {**raw, **sections}}}
    )


def test_a_good_target_has_no_problems_and_nothing_is_stored() -> None:
    with scripted(answer=stack) as server:
        assert check_reachable(target(server.url)) == ()
    bodies = {request.path: request.body for request in server.requests if request.method == "POST"}
    assert bodies == {"/loki/api/v1/push": b'{"streams": []}', "/api/v1/push": b"\x00", "/v1/traces": b""}


def test_unreachable_grafana_is_told_once() -> None:
    with scripted(answer=stack) as server:
        problems = check_reachable(target(server.url, grafana={"url": f"http://127.0.0.1:{free_port()}"}))
    assert len(problems) == 1 and "Grafana does not answer" in problems[0] and "connection refused" in problems[0]


def test_wrong_password_is_told_once_and_not_repeated() -> None:
    def refusing(request: Request) -> Reply:
        if "/datasources/" in request.path:
            return Reply(401, b'{"message":"Invalid username or password"}')
        return stack(request)

    with scripted(answer=refusing) as server:
        problems = check_reachable(target(server.url))
    assert len(problems) == 1 and "Grafana refuses the login" in problems[0] and "pw-secret" not in problems[0]


def test_another_program_on_grafanas_port_is_told() -> None:
    page = Reply(200, b"<html><title>nginx</title></html>", {"Content-Type": "text/html"})
    with scripted(answer=lambda r: page if r.path == "/api/health" else stack(r)) as server:
        [problem] = check_reachable(target(server.url))
    assert "HTML page" in problem


def test_each_component_that_fails_is_named() -> None:
    def partly(request: Request) -> Reply:
        if "proxy/uid/tempo" in request.path:
            return Reply(502, b'{"message":"Bad Gateway"}')
        if request.path == "/api/v1/push":
            return Reply(401, b"no org id\n")
        return stack(request)

    with scripted(answer=partly) as server:
        problems = check_reachable(target(server.url))
    assert len(problems) == 2
    assert problems[0].startswith("tempo cannot be queried through Grafana")
    assert problems[1].startswith("mimir does not take pushes") and "no org id" in problems[1]


def test_only_signals_that_are_sent_are_checked() -> None:
    with scripted(answer=stack) as server:
        raw = target(server.url, tempo={"otlp_http": "", "query_url": ""})
        assert check_reachable(raw, (Signal.LOGS, Signal.METRICS)) == ()
        assert "neither otlp_http nor otlp_grpc" in check_reachable(raw)[-1]


def test_bucket_that_cannot_be_listed_is_told_without_the_secret() -> None:
    denied = b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
    s3 = {"access_key_id": "AK", "secret_access_key": "verysecret"}
    with scripted(answer=stack) as server, scripted(Reply(403, denied)) as storage:
        problems = check_reachable(target(server.url, s3={**s3, "endpoint": storage.url}))
    assert len(problems) == 3 and all("AccessDenied" in p and "give it List and Read" in p for p in problems)
    assert "verysecret" not in json.dumps(problems)


def test_unreadable_secret_file_is_a_problem_and_no_exception() -> None:
    with scripted(answer=stack) as server:
        problems = check_reachable(target(server.url, grafana={"password": "", "password_file": "/nowhere/pw"}))
    assert len(problems) == 1 and "/nowhere/pw" in problems[0]
