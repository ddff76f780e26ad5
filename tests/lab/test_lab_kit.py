from __future__ import annotations

import gzip
import json
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from loadgen.lab.defects import DefectKind, DefectOrder, Defects
from loadgen.lab.exposition import Exposition
from loadgen.lab.processes.serve import application, serving
from loadgen.lab.s3.localstore import DirectoryStore, MemoryStore
from loadgen.lab.s3.objectstore import ObjectStore
from loadgen.lab.s3.opening import open_store
from loadgen.lab.s3.store import BucketStore, StoreError
from loadgen.lab.settings import LabDatasource, Limits, ServerSettings, SettingsError, User, load_settings

SETTINGS = ServerSettings(
    "grafana",
    "/data",
    port=3000,
    s3_secret_key="top-secret",
    limits=Limits(max_streams=7, rate_bytes_per_s=1.5),
    users=(User("admin", "pass-word", "Admin"),),
    datasources=(LabDatasource("loki", "loki", "Loki", "http://127.0.0.1:1"),),
)


def test_settings_come_back_as_they_were_saved_and_only_the_owner_can_read_them(tmp_path: Path) -> None:
    path = tmp_path / "grafana.json"
    SETTINGS.save(path)
    SETTINGS.save(path)
    assert load_settings(path) == SETTINGS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_are_not_printed() -> None:
    assert "top-secret" not in repr(SETTINGS)
    assert "pass-word" not in repr(SETTINGS)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be an object"),
        ('{"component":"loki"}', "key 'data_dir' is missing"),
        ('{"component":"loki","data_dir":"x","prot":1}', "unknown key 'prot'"),
        ('{"component":"loki","data_dir":"x","port":"1"}', "port must be of type int, but is str"),
        ('{"component":"loki","data_dir":"x","port":true}', "port must be of type int, but is bool"),
        ('{"component":"loki","data_dir":"x","limits":{"max_stream":1}}', "limits: unknown key 'max_stream'"),
        ('{"component":"loki","data_dir":"x","users":[{"name":"a"}]}', "users[0]: key 'password' is missing"),
        ('{"component":"loki","data_dir":"x","users":{}}', "users must be a list"),
    ],
)
def test_unusable_settings_say_what_is_wrong(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert error in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_stores_keep_objects_and_list_them_by_prefix(tmp_path: Path, kind: str) -> None:
    store: BucketStore = MemoryStore() if kind == "memory" else DirectoryStore(tmp_path / "objects")
    assert list(store.list("")) == []
    for key in ("b/2:x", "a/1", "b/1"):
        store.put(key, key.encode())
    assert [(o.key, o.size_bytes) for o in store.list("b/")] == [("b/1", 3), ("b/2:x", 5)]
    assert store.get("b/2:x") == b"b/2:x"
    store.delete("b/1")
    store.delete("b/1")
    assert store.get("b/1") is None


def test_an_unreachable_s3_is_a_store_error_without_secrets() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        seen: list[tuple[str, str, int]] = []
        settings = ServerSettings(
            "loki", "x", s3_endpoint=endpoint, s3_bucket="b", s3_access_key="k", s3_secret_key="s3cr3t"
        )
        store = ObjectStore(settings, lambda operation, status, _seconds, size: seen.append((operation, status, size)))
        with pytest.raises(StoreError) as caught:
            store.put("key", b"data")
    assert endpoint in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert seen == [("S3.PutObject", "0", 0)]


def test_without_an_endpoint_there_is_no_store() -> None:
    assert open_store(ServerSettings("loki", "x")) is None


async def _echo(request: Request) -> Response:
    if "crash" in request.query_params:
        raise ValueError("secret detail")
    if "s3" in request.query_params:
        raise StoreError("S3 is away")
    return PlainTextResponse("x" * 5000)


def test_answers_are_those_of_the_real_servers() -> None:
    with serving(application([Route("/echo", _echo)])) as url:
        missing = requests.get(f"{url}/nope")
        assert (missing.status_code, missing.text) == (404, "404 page not found\n")
        assert missing.headers["x-content-type-options"] == "nosniff"
        assert requests.post(f"{url}/echo").status_code == 405
        assert requests.get(f"{url}/echo/").status_code == 404
        assert requests.get(f"{url}/echo?s3").text == "S3 is away\n"
        crash = requests.get(f"{url}/echo?crash")
        assert crash.status_code == 500
        assert "secret detail" not in crash.text
        plain = requests.get(f"{url}/echo", headers={"Accept-Encoding": "identity"})
        packed = requests.get(f"{url}/echo", headers={"Accept-Encoding": "gzip"}, stream=True)
        assert "content-encoding" not in plain.headers
        assert gzip.decompress(packed.raw.read()) == plain.content


def run_server(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loadgen.lab.loki.server", str(config)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_port_in_use_and_a_wrong_file_end_with_2_and_a_sentence(tmp_path: Path) -> None:
    config = tmp_path / "c.json"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ServerSettings("loki", str(tmp_path / "data"), port=taken.getsockname()[1]).save(config)
        result = run_server(config)
        assert result.returncode == 2
        assert "cannot listen" in result.stderr
        assert "Traceback" not in result.stderr
    ServerSettings("tempo", str(tmp_path / "data")).save(config)
    result = run_server(config)
    assert (result.returncode, "is for 'tempo', not for 'loki'" in result.stderr) == (2, True)
    ServerSettings("loki", str(config / "below-a-file")).save(config)
    result = run_server(config)
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_server_with_exit_code_0(tmp_path: Path, number: signal.Signals) -> None:
    config = tmp_path / "c.json"
    ServerSettings("loki", str(tmp_path / "data")).save(config)
    process = subprocess.Popen(
        [sys.executable, "-m", "loadgen.lab.loki.server", str(config)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert any("listens on" in row for row in process.stderr)
    process.send_signal(number)
    assert process.wait(10) == 0
    process.stderr.close()


def test_metrics_are_in_the_text_format() -> None:
    metrics = Exposition()
    metrics.counter("a_total", "Help.", {"x": 'q"\\'})
    metrics.add("a_total", 2, x='q"\\')
    metrics.gauge("g", "Help.", lambda: 1.5)
    metrics.histogram("h", "Help.", (1.0, 2.0))
    metrics.observe("h", 1.0, code="200")
    metrics.observe("h", 5.0, code="200")
    text = metrics.render()
    for row in (
        "# TYPE a_total counter",
        'a_total{x="q\\"\\\\"} 2',
        "g 1.5",
        'h_bucket{code="200",le="1"} 1',
        'h_bucket{code="200",le="2"} 1',
        'h_bucket{code="200",le="+Inf"} 2',
        'h_sum{code="200"} 6',
        'h_count{code="200"} 2',
    ):
        assert row in text.splitlines()
    assert "process_resident_memory_bytes" in text


def test_an_order_counts_down_and_only_for_its_kinds() -> None:
    defects = Defects(clock_ns=lambda: 5)
    assert not defects.armed
    defects.add(DefectOrder(DefectKind.LOSE, 2))
    defects.add(DefectOrder(DefectKind.ALTER))
    assert defects.claim("one", DefectKind.ALTER) is not None
    assert defects.claim("two", DefectKind.ALTER) is None
    assert [defects.claim(str(i)) is not None for i in range(3)] == [True, True, False]
    assert not defects.armed


def test_an_order_with_a_match_leaves_other_items_to_later_orders() -> None:
    defects = Defects()
    defects.add(DefectOrder(DefectKind.LOSE, match="cart"))
    defects.add(DefectOrder(DefectKind.ALTER))
    kinds = [order.kind if (order := defects.claim(item)) else None for item in ("shop 1", "shop 2", "cart 3")]
    assert kinds == [DefectKind.ALTER, None, DefectKind.LOSE]


def test_orders_of_flushes_and_pushes_do_not_arm_the_way_of_single_items() -> None:
    defects = Defects()
    defects.add(DefectOrder(DefectKind.WITHHOLD))
    defects.add(DefectOrder(DefectKind.REFUSE))
    assert not defects.armed
    assert defects.claim("a line") is None
    assert defects.claim("a push", DefectKind.REFUSE) is not None


def test_a_server_refuses_orders_that_it_cannot_carry_out() -> None:
    defects = Defects([DefectKind.LOSE])
    with serving(application(defects.routes())) as url:
        refused = requests.post(f"{url}/lab/defects", data=json.dumps({"kind": "reorder"}))
        assert (refused.status_code, refused.json()["error"]) == (400, "unknown kind 'reorder'; this server can lose")
