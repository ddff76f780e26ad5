"""A lab says that it is up only when every store takes an item and shows it through Grafana."""

from __future__ import annotations

import http.server
import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from loadgen.config import Target, parse_target
from loadgen.lab import proof
from loadgen.lab.defects import DefectKind, DefectOrder
from loadgen.lab.processes import native
from loadgen.lab.processes import running as proc
from loadgen.lab.processes.manager import Lab
from loadgen.lab.proof_items import LINE_LABELS, SERIES_LABELS, TRACE_ID, without_proof
from loadgen.lab.state import LabError, load_state
from loadgen.lab.target import lab_target
from loadgen.model import Component
from loadgen.scrape.scraper import parse_exposition
from tests.lab.mimir_harness import Client, Series

STORES = (Component.LOKI, Component.TEMPO, Component.MIMIR)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab.open(tmp_path_factory.mktemp("proof") / "lab")
    yield lab
    lab.down()
    assert proc.find(lab.directory) == []


@pytest.fixture
def lab(shared: Lab) -> Lab:
    """A lab that works, whatever an earlier test did to it."""
    if shared.state is not None and any(row.name == "grafana" and row.running for row in shared.status()):
        shared.clear_defects("grafana")
    shared.up(flush_age_s=600.0, limits={})
    return shared


# --- one store at a time, against a server that stands for the store and for Grafana


Answer = tuple[int, str, bytes]


@contextmanager
def stack(push: Answer, query: Callable[[str], Answer | None]) -> Iterator[Target]:
    """A target that answers every push like this, and every query as told; None lets it hang."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._say(push)

        def do_GET(self) -> None:
            answer = query(self.path)
            if answer is None:
                over.wait(30)
            else:
                self._say(answer)

        def _say(self, answer: Answer) -> None:
            status, kind, body = answer
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    raw = {"loki": {"url": url}, "tempo": {"otlp_http": url}, "mimir": {"url": url}, "grafana": {"url": url}}
    try:
        yield parse_target(raw, "a test", env={})
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def said(value: object) -> Answer:
    return 200, "application/json", json.dumps(value).encode()


OK: Answer = (200, "text/plain", b"")
NOTHING = {
    Component.LOKI: said({"status": "success", "data": {"resultType": "streams", "result": []}}),
    Component.MIMIR: said({"status": "success", "data": {"resultType": "vector", "result": []}}),
    Component.TEMPO: said({"trace": {}, "metrics": {}}),
}
PAGE: Answer = (502, "text/html", b"<html><title>Bad Gateway</title></html>")
QUESTIONS = {Component.LOKI: 'loadgen_lab="ready"', Component.MIMIR: "loadgen_lab_ready", Component.TEMPO: "the trace"}


@pytest.mark.parametrize("component", STORES)
@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda component: NOTHING[component], "this moment"),
        (lambda _: PAGE, "502, an HTML page"),
        (lambda _: None, "no complete answer within"),
    ],
    ids=["empty", "page", "hangs"],
)
def test_a_store_whose_query_is_not_answered_is_named_with_the_question_and_the_answer(
    monkeypatch: pytest.MonkeyPatch, component: Component, answer: Callable[[Component], Answer | None], text: str
) -> None:
    monkeypatch.setattr(proof, "_REQUEST_S", 0.2)
    with stack(OK, lambda _path: answer(component)) as target, pytest.raises(LabError) as problem:
        proof.prove(target, (component,), 0.3)
    assert str(problem.value).startswith(f"{component} takes pushes, but does not show them")
    assert QUESTIONS[component] in str(problem.value)
    assert text in str(problem.value)


@pytest.mark.parametrize("component", STORES)
def test_a_store_that_takes_no_push_is_named_with_its_answer(component: Component) -> None:
    refusal: Answer = (503, "text/plain", b"empty ring")
    with stack(refusal, lambda _path: NOTHING[component]) as target, pytest.raises(LabError) as problem:
        proof.prove(target, (component,), 0.3)
    assert str(problem.value).startswith(f"{component} takes no push within")
    assert "empty ring" in str(problem.value)


def test_an_older_item_is_not_taken_for_the_one_that_was_pushed() -> None:
    old = {"metric": {"__name__": "loadgen_lab_ready"}, "value": [1.0, "1700000000000"]}
    answer = said({"status": "success", "data": {"resultType": "vector", "result": [old]}})
    with stack(OK, lambda _path: answer) as target, pytest.raises(LabError, match="none with the sample of this"):
        proof.prove(target, (Component.MIMIR,), 0.2)


def test_a_store_that_ends_while_it_is_asked_is_not_waited_for() -> None:
    def ended(component: Component) -> None:
        raise LabError(f"{component} ended at its start")

    began_s = time.monotonic()
    with stack(OK, lambda _path: NOTHING[Component.LOKI]) as target, pytest.raises(LabError, match="loki ended"):
        proof.prove(target, (Component.LOKI,), 30.0, ended)
    assert time.monotonic() - began_s < 10


# --- the whole lab


def test_up_fails_while_a_store_answers_no_query_and_works_again_when_it_does(lab: Lab) -> None:
    lab.order_defect("grafana", DefectOrder(DefectKind.EMPTY, 100_000, match="mimir"))
    lab.kill("mimir", signal.SIGKILL)
    with pytest.raises(LabError, match="mimir takes pushes, but does not show them.*loadgen_lab_ready"):
        lab.up(timeout_s=3.0)
    state = lab.state
    assert state is not None and not state.proven
    lab.clear_defects("grafana")
    told: list[str] = []
    assert lab.up(told.append).proven
    assert "asking loki, tempo, mimir" in told


def test_up_asks_what_runs_already_but_was_never_asked(lab: Lab) -> None:
    told: list[str] = []
    lab.up(told.append)
    assert told == ["the lab runs already"]
    state = lab.state
    assert state is not None
    # As an `up` leaves it that was killed before it had asked.
    file = Path(state.directory) / "lab.json"
    file.write_text(file.read_text().replace('"proven": true', '"proven": false'))
    assert lab.up(told.append) == state
    assert told[1:] == ["asking loki, tempo, mimir", "the lab runs already"]
    again = load_state(lab.directory)
    assert again is not None and again.proven


def test_only_the_stores_behind_a_part_that_was_started_are_asked(lab: Lab) -> None:
    told: list[str] = []
    lab.kill("tempo", signal.SIGKILL)
    lab.up(told.append)
    lab.kill("grafana", signal.SIGKILL)
    lab.up(told.append)
    assert [text for text in told if text.startswith("asking")] == ["asking tempo", "asking loki, tempo, mimir"]


def gauge(url: str, component: str, name: str) -> float:
    samples = parse_exposition(Client(url).get("/metrics").text, component, 0)
    return sum(sample.value for sample in samples if sample.metric == name)


def test_what_the_lab_asks_with_counts_against_no_limit_and_is_let_in_by_a_full_server(lab: Lab) -> None:
    limits = {"loki.streams": 1.0, "mimir.series": 1.0, "tempo.live_traces": 1.0}
    for _ in range(2):  # the second time they are full
        state = lab.up(limits=limits)
        now_ns = time.time_ns()
        line = {"streams": [{"stream": {"job": "full"}, "values": [[str(now_ns), "x"]]}]}
        assert Client(state.url("loki")).post("/loki/api/v1/push", json=line).status_code == 204
        series = Series({"__name__": "full"}, [(now_ns // 1_000_000, 1.0)])
        assert Client(state.url("mimir")).push(series).status_code == 200
        other = Series({"__name__": "other"}, [(now_ns // 1_000_000, 1.0)])
        assert Client(state.url("mimir")).push(other).status_code == 400
        assert gauge(state.url("mimir"), "mimir", "cortex_ingester_memory_series") == 1
        assert gauge(state.url("loki"), "loki", "loki_ingester_memory_streams") == 1
        assert gauge(state.url("tempo"), "tempo", "tempo_live_store_live_traces") == 0
        for part in ("loki", "tempo", "mimir"):
            lab.kill(part, signal.SIGKILL)
    lab.up(limits=dict.fromkeys(limits))


def test_a_running_lab_proves_itself_as_often_as_it_is_asked(lab: Lab) -> None:
    state = lab.state
    assert state is not None
    for _ in range(3):
        proof.prove(lab_target(state), STORES, 20.0)


def test_the_labs_own_items_have_names_that_no_run_has() -> None:
    names = {name for name, _ in (*LINE_LABELS, *SERIES_LABELS)}
    assert not names & {"run", "job", "pod", "namespace"}
    assert len(TRACE_ID) == 16 and any(TRACE_ID[:8])
    assert (without_proof(3, True), without_proof(3, False)) == (2, 3)


# --- the addresses that real servers announce


ANNOUNCED: dict[str, list[tuple[str, ...]]] = {
    "loki": [("common", "instance_addr")],
    "tempo": [("live_store", "ring", "instance_addr"), ("memberlist", "advertise_addr")],
    "mimir": [
        ("frontend", "address"),
        ("memberlist", "advertise_addr"),
        *(
            (*section, "instance_addr")
            for section in (
                ("distributor", "ring"),
                ("ingester", "ring"),
                ("query_scheduler", "ring"),
                ("ruler", "ring"),
                ("store_gateway", "sharding_ring"),
                ("compactor", "sharding_ring"),
            )
        ),
    ],
    "cortex": [
        ("distributor", "ring", "instance_addr"),
        ("ingester", "lifecycler", "address"),
        ("ruler", "ring", "instance_addr"),
        ("store_gateway", "sharding_ring", "instance_addr"),
        ("compactor", "sharding_ring", "instance_addr"),
    ],
}


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, paths in ANNOUNCED.items() for path in paths])
def test_no_server_announces_the_address_of_a_network_card(name: str, path: tuple[str, ...]) -> None:
    value = yaml.safe_load((native.CONFIG / f"{name}.yaml").read_text())
    for key in path:
        value = value[key]
    assert value == "127.0.0.1"


@pytest.mark.parametrize(
    ("version", "asked"), [("3.0.3", True), ("3.1.0-dev", True), ("10.0", True), ("2.16.0", False), ("", False)]
)
def test_the_ring_that_only_mimir_3_has_gets_an_address_there(tmp_path: Path, version: str, asked: bool) -> None:
    program = native.Program("mimir", "mimir", tmp_path / "mimir", version)
    options = native._newer_options(program)
    assert any(re.match(r"-querier\.ring\.instance-addr=127\.0\.0\.1", one) for one in options) is asked
    assert native._newer_options(native.Program("loki", "loki", tmp_path / "loki", version)) == ()
