from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3
from grafana_harness import Client, Component, grafana, settings

from loadgen.lab.processes import running as proc

PROXY = "/api/datasources/proxy/uid"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with grafana(tmp_path_factory.mktemp("grafana")) as client:
        yield client


@pytest.fixture
def client(shared: Client) -> Client:
    shared.component.answers.clear()
    shared.component.seen.clear()
    return shared


def vector(value: str) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [4, value]}]}}


# --- who may ask ------------------------------------------------------------------------------------------------------


def test_health_needs_no_login(client: Client) -> None:
    answer = replace(client, login="").get("/api/health")
    assert (answer.status, answer.json()["database"]) == (200, "ok")


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("", "Unauthorized"),
        ("Basic " + base64.b64encode(b"admin:wrong").decode(), "Invalid username or password"),
        ("Basic " + base64.b64encode(b"nobody:secret").decode(), "Invalid username or password"),
        ("Basic " + base64.b64encode(b"\xff:\xfe").decode(), "Invalid Basic Auth Header"),
        ("Basic %%%", "Invalid Basic Auth Header"),
        ("Basic", "Invalid Basic Auth Header"),
        ("Bearer glsa_nonsense", "Invalid API key"),
        ("Digest x", "Unauthorized"),
    ],
)
def test_a_bad_login_is_401_with_grafanas_words(client: Client, header: str, text: str) -> None:
    for path in ("/api/datasources", f"{PROXY}/loki/loki/api/v1/labels", "/api/nothing"):
        answer = replace(client, login="").get(path, **({"Authorization": header} if header else {}))
        assert (answer.status, answer.json()["message"]) == (401, text)
    assert client.component.seen == []


def test_a_role_is_held_to_its_rights(client: Client) -> None:
    viewer, editor = replace(client, login="view:looks"), replace(client, login="ed:edits")
    assert viewer.get("/api/datasources").status == 403
    assert viewer.ask("POST", "/api/annotations", {"text": "x"}).status == 403
    assert viewer.get("/api/annotations").status == 200
    assert editor.ask("POST", "/api/annotations", {"text": "x"}).status == 200
    assert editor.ask("POST", "/api/serviceaccounts", {"name": "x"}).status == 403


def test_a_service_account_token_has_the_accounts_role(client: Client) -> None:
    made = client.ask("POST", "/api/serviceaccounts", {"name": "loadgen", "role": "Viewer"})
    assert made.status == 201
    number = made.json()["id"]
    token = client.ask("POST", f"/api/serviceaccounts/{number}/tokens", {"name": "one"}).json()["key"]
    assert token.startswith("glsa_")
    client.component.answers["/loki/api/v1/labels"] = (200, {"status": "success", "data": []})
    nobody = replace(client, login="")
    bearer = {"Authorization": f"Bearer {token}"}
    assert nobody.get(f"{PROXY}/loki/loki/api/v1/labels", **bearer).status == 200
    assert nobody.get("/api/datasources", **bearer).status == 403
    assert replace(client, login=f"api_key:{token}").get("/api/search").status == 200
    assert client.ask("POST", "/api/serviceaccounts", {"name": "loadgen"}).status == 400
    assert client.ask("POST", f"/api/serviceaccounts/{number}/tokens", {"name": "one"}).status == 409
    assert client.ask("POST", "/api/serviceaccounts/999/tokens", {"name": "two"}).status == 404
    assert client.ask("POST", "/api/serviceaccounts", {"name": "x", "role": "King"}).status == 400
    assert "loadgen" in [row["name"] for row in client.get("/api/serviceaccounts/search").json()["serviceAccounts"]]


# --- data sources -----------------------------------------------------------------------------------------------------


def test_data_sources_are_listed_and_found_by_uid(client: Client) -> None:
    rows = client.get("/api/datasources").json()
    assert {row["uid"]: row["type"] for row in rows} == {
        "loki": "loki", "tempo": "tempo", "mimir": "prometheus", "gone": "loki", "odd": "mysql",
    }  # fmt: skip
    one = client.get("/api/datasources/uid/loki").json()
    assert (one["access"], one["jsonData"], one["readOnly"]) == ("proxy", {"maxLines": 5}, True)


@pytest.mark.parametrize("path", ["/api/datasources/uid/no", "/api/datasources/uid/no/health", f"{PROXY}/no/x"])
def test_an_unknown_data_source_is_404(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status, answer.json()) == (404, {"message": "Data source not found"})


def test_healthy_components_pass_their_check(client: Client) -> None:
    client.component.answers = {
        "/loki/api/v1/query": (200, vector("2")),
        "/prometheus/api/v1/query": (200, {"data": {"resultType": "scalar", "result": [4, "2"]}}),
        "/api/echo": (200, "echo"),
    }
    answers = {uid: client.get(f"/api/datasources/uid/{uid}/health") for uid in ("loki", "tempo", "mimir")}
    assert {uid: answer.status for uid, answer in answers.items()} == {"loki": 200, "tempo": 200, "mimir": 200}
    assert {uid: answer.json() for uid, answer in answers.items()} == {
        "loki": {"status": "OK", "message": "Data source successfully connected."},
        "tempo": {"status": "OK", "message": "Data source is working"},
        "mimir": {"status": "OK", "message": "Successfully queried the Prometheus API."},
    }


def test_a_sick_component_fails_its_check_with_400(client: Client) -> None:
    client.component.answers = {
        "/loki/api/v1/query": (200, vector("3")),
        "/prometheus/api/v1/query": (503, "unavailable"),
        "/api/echo": (500, "no"),
    }
    texts = {"loki": "Unable to connect", "tempo": "status 500", "mimir": "Prometheus API", "gone": "Unable to connect"}
    for uid, text in texts.items():
        answer = client.get(f"/api/datasources/uid/{uid}/health")
        assert (answer.status, answer.json()["status"]) == (400, "ERROR")
        assert text in answer.json()["message"]


# --- the proxy --------------------------------------------------------------------------------------------------------


def test_the_proxy_passes_path_query_status_type_and_body_through(client: Client) -> None:
    client.component.answers["/loki/api/v1/query"] = (429, "too many")
    query = "query=%7Ba%3D%22b%22%7D&x=a+b&x=%2F"
    answer = client.get(f"{PROXY}/loki/loki/api/v1/query?{query}", **{"X-Scope-OrgID": "t", "Cookie": "c=d"})
    assert (answer.status, answer.data) == (429, b"too many")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-kept"] == "yes"
    assert "set-cookie" not in answer.headers
    method, path, headers, _ = client.component.seen[0]
    assert (method, path) == ("GET", f"/loki/api/v1/query?{query}")
    assert headers["x-scope-orgid"] == "t"
    assert headers["user-agent"].startswith("Grafana/")
    assert not {"authorization", "cookie"} & set(headers)


def test_the_proxy_keeps_an_encoded_path(client: Client) -> None:
    client.get(f"{PROXY}/loki/loki/api/v1/label/a%2Fb/values")
    client.get(f"{PROXY}/mimir/api/v1/labels")
    assert [row[1] for row in client.component.seen] == ["/loki/api/v1/label/a%2Fb/values", "/prometheus/api/v1/labels"]


def test_a_compressed_answer_stays_compressed(client: Client) -> None:
    data = {"data": ["x" * 5_000]}
    client.component.answers["/loki/api/v1/labels"] = (200, data)
    path = f"{PROXY}/loki/loki/api/v1/labels"
    packed = urllib3.request(
        "GET", client.url + path, headers={**urllib3.make_headers(basic_auth=client.login), "Accept-Encoding": "gzip"},
        preload_content=False, decode_content=False,
    )  # fmt: skip
    content = packed.read(decode_content=False)
    assert packed.headers["content-encoding"] == "gzip"
    assert len(content) < 500
    plain = client.get(path)
    assert "content-encoding" not in plain.headers
    assert plain.json() == data


def test_an_upstream_401_becomes_a_400(client: Client) -> None:
    client.component.answers["/loki/api/v1/labels"] = (401, "no org id")
    answer = client.get(f"{PROXY}/loki/loki/api/v1/labels")
    assert (answer.status, answer.data) == (400, b"Authentication to data source failed")


def test_an_unreachable_component_is_502(client: Client) -> None:
    answer = client.get(f"{PROXY}/gone/loki/api/v1/labels")
    assert (answer.status, answer.data) == (502, b"")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "mimir/api/v1/query_range", True),
        ("POST", "mimir/api/v1/labels", True),
        ("POST", "mimir/api/v1/push", False),
        ("DELETE", "mimir/api/v1/series", False),
        ("POST", "loki/loki/api/v1/push", False),
        ("PUT", "loki/loki/api/v1/query", False),
        ("POST", "tempo/anything", True),
    ],
)
def test_only_listed_posts_are_passed_on(client: Client, method: str, path: str, allowed: bool) -> None:
    uid, _, rest = path.partition("/")
    prefix = "/prometheus/" if uid == "mimir" else "/"
    client.component.answers[prefix + rest] = (200, "fine")
    answer = client.ask(method, f"{PROXY}/{path}", b"query=up")
    if allowed:
        assert answer.status == 200
        assert client.component.seen[0][3] == b"query=up"
    else:
        assert answer.status == 403
        assert answer.json()["message"].startswith(f"non allow-listed {method}s not allowed on proxied")
        assert client.component.seen == []


# --- annotations and dashboards ---------------------------------------------------------------------------------------


def test_annotations_are_found_by_time_and_tags(client: Client) -> None:
    def add(text: str, begin: int, end: int, *tags: str) -> int:
        body = {"text": text, "time": begin, "timeEnd": end, "tags": list(tags)}
        answer = client.ask("POST", "/api/annotations", body)
        assert answer.json()["message"] == "Annotation added"
        return int(answer.json()["id"])

    first, second = add("kill loki", 1_000, 2_000, "fault", "loki"), add("kill mimir", 5_000, 6_000, "fault", "mimir")

    def ids(query: str) -> list[int]:
        return [row["id"] for row in client.get(f"/api/annotations?{query}").json()]

    assert ids("from=0&to=9000") == [second, first]
    assert ids("from=1500&to=4000") == [first]
    assert ids("from=0&to=9000&tags=fault&tags=mimir") == [second]
    assert ids("from=0&to=9000&tags=loki&tags=mimir&matchAny=true") == [second, first]
    assert ids("from=0&to=9000&limit=1") == [second]
    assert client.ask("DELETE", f"/api/annotations/{first}").status == 200
    assert client.ask("DELETE", f"/api/annotations/{first}").status == 404
    assert ids("from=0&to=9000") == [second]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"text": 3}', b'{"text": "x", "time": "now"}', b"\xff", b"[" * 9999]
)
def test_a_bad_annotation_is_400(client: Client, body: bytes) -> None:
    assert client.ask("POST", "/api/annotations", body).status == 400


@pytest.mark.parametrize("query", ["from=x", "to=yesterday", "limit=many"])
def test_a_bad_annotation_search_is_400(client: Client, query: str) -> None:
    assert client.get(f"/api/annotations?{query}").status == 400


def test_a_dashboard_is_saved_found_and_guarded(client: Client) -> None:
    board = {"uid": "board", "title": "Load & more", "tags": ["loadgen"], "panels": [], "version": 0}
    saved = client.ask("POST", "/api/dashboards/db", {"dashboard": board}).json()
    assert (saved["uid"], saved["version"], saved["status"]) == ("board", 1, "success")
    assert saved["url"] == "/d/board/load-more"
    stale = client.ask("POST", "/api/dashboards/db", {"dashboard": board})
    assert (stale.status, stale.json()["status"]) == (412, "version-mismatch")
    assert client.ask("POST", "/api/dashboards/db", {"dashboard": board, "overwrite": True}).json()["version"] == 2
    twin = client.ask("POST", "/api/dashboards/db", {"dashboard": {"title": "Load & more"}})
    assert (twin.status, twin.json()["status"]) == (412, "name-exists")
    assert client.get("/api/dashboards/uid/board").json()["dashboard"]["title"] == "Load & more"
    assert [row["uid"] for row in client.get("/api/search?tag=loadgen").json()] == ["board"]
    assert client.get("/api/search?query=nothing").json() == []
    assert client.ask("DELETE", "/api/dashboards/uid/board").status == 200
    assert client.get("/api/dashboards/uid/board").status == 404


def test_what_is_not_there_is_a_json_404(client: Client) -> None:
    answer = client.get("/api/teams/search")
    assert (answer.status, answer.json()) == (404, {"message": "Not found"})


def test_metrics_count_requests(client: Client) -> None:
    client.get("/api/datasources")
    text = client.get("/metrics").data.decode()
    assert 'grafana_http_requests_total{handler="/api/datasources",status_code="200"}' in text
    assert "process_resident_memory_bytes" in text


# --- as a process -----------------------------------------------------------------------------------------------------


def test_everything_stored_survives_a_kill(tmp_path: Path) -> None:
    port = proc.free_port(())
    config = tmp_path / "grafana.json"
    replace(settings(tmp_path / "data", "http://127.0.0.1:1"), port=port).save(config)

    def start() -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, "-m", "loadgen.lab.grafana.server", str(config)])
        while not proc.http_status(f"http://127.0.0.1:{port}/api/health"):
            assert child.poll() is None
        return child

    client = Client(f"http://127.0.0.1:{port}", Component())
    child = start()
    try:
        number = client.ask("POST", "/api/serviceaccounts", {"name": "a", "role": "Editor"}).json()["id"]
        token = client.ask("POST", f"/api/serviceaccounts/{number}/tokens", {"name": "t"}).json()["key"]
        client.ask("POST", "/api/annotations", {"text": "kept", "time": 5})
        client.ask("POST", "/api/dashboards/db", {"dashboard": {"uid": "d", "title": "kept"}})
        child.kill()
        child.wait()
        child = start()
        bearer = {"Authorization": f"Bearer {token}"}
        rows = replace(client, login="").get("/api/annotations", **bearer).json()
        assert [row["text"] for row in rows] == ["kept"]
        assert client.get("/api/dashboards/uid/d").status == 200
        assert token not in (tmp_path / "data" / "grafana.json").read_text()
        child.terminate()
        assert child.wait(10) == 0
    finally:
        child.kill()
        child.wait()


def test_a_broken_store_is_named_and_ends_with_2(tmp_path: Path) -> None:
    config = tmp_path / "c.json"
    settings(tmp_path, "http://127.0.0.1:1").save(config)
    (tmp_path / "grafana.json").write_text(json.dumps({"annotations": 1, "surprise": 2}))
    ended = subprocess.run(
        [sys.executable, "-m", "loadgen.lab.grafana.server", str(config)], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert "grafana.json" in ended.stderr
    assert "Traceback" not in ended.stderr
