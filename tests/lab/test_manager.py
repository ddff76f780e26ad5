from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import urllib3

from loadgen.lab.defects import DefectKind, DefectOrder
from loadgen.lab.processes import planning as plan
from loadgen.lab.processes import running as proc
from loadgen.lab.processes.manager import ENDPOINTS, PARTS, Lab
from loadgen.lab.s3 import seaweed
from loadgen.lab.state import LabError, LabState, ProcessState, load_state


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab.open(tmp_path_factory.mktemp("shared") / "lab")
    yield lab
    lab.down()
    assert proc.find(lab.directory) == []


@pytest.fixture
def lab(shared: Lab) -> Lab:
    """A lab in which everything runs, whatever an earlier test did to it."""
    shared.up(flush_age_s=1.0)
    return shared


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Lab]:
    """A lab directory of the test's own, empty at first."""
    lab = Lab.open(tmp_path / "lab")
    yield lab
    lab.down()
    assert proc.find(lab.directory) == []


def state_of(lab: Lab) -> LabState:
    state = lab.state
    assert state is not None
    return state


def pids(lab: Lab) -> dict[str, int]:
    return {process.name: process.pid for process in state_of(lab).processes}


def get(url: str, headers: dict[str, str] | None = None) -> urllib3.BaseHTTPResponse:
    return urllib3.request("GET", url, headers=headers, retries=False, timeout=10)


def push_line(state: LabState, line: str) -> None:
    body = {"streams": [{"stream": {"job": "manager"}, "values": [[str(time.time_ns()), line]]}]}
    answer = urllib3.request("POST", state.endpoints.loki + "/loki/api/v1/push", json=body, retries=False)
    assert answer.status == 204, answer.data


def lines_through_grafana(state: LabState) -> list[str]:
    headers = urllib3.make_headers(basic_auth=f"{state.grafana_user}:{state.grafana_password}")
    query = "loki/api/v1/query_range?query=%7Bjob%3D%22manager%22%7D&limit=1000"
    answer = get(f"{state.endpoints.grafana}/api/datasources/proxy/uid/loki/{query}", headers)
    assert answer.status == 200, answer.data
    return [value[1] for stream in answer.json()["data"]["result"] for value in stream["values"]]


def test_everything_runs_after_up(lab: Lab) -> None:
    status = {row.name: row for row in lab.status()}
    assert tuple(status) == ENDPOINTS
    assert all(row.running and row.pid and row.memory_bytes > 1_000_000 for row in status.values())
    assert {row.engine for row in status.values()} == {"embedded", "seaweedfs"}
    assert status["tempo"].pid == status["otlp_http"].pid == status["otlp_grpc"].pid


def test_data_sources_of_a_fresh_lab_are_healthy(lab: Lab) -> None:
    state = state_of(lab)
    headers = urllib3.make_headers(basic_auth=f"{state.grafana_user}:{state.grafana_password}")
    for uid in ("loki", "tempo", "mimir"):
        answer = get(f"{state.endpoints.grafana}/api/datasources/uid/{uid}/health", headers)
        assert (answer.status, answer.json()["status"]) == (200, "OK"), answer.data


def test_up_leaves_a_running_lab_as_it_is(lab: Lab) -> None:
    before = state_of(lab)
    assert lab.up() == before


def test_up_restarts_only_what_does_not_run(lab: Lab) -> None:
    before, ports = pids(lab), state_of(lab).ports
    lab.kill("mimir", signal.SIGKILL)
    assert not next(row for row in lab.status() if row.name == "mimir").running
    state = Lab.open(lab.directory).up()
    after = pids(lab)
    assert after.pop("mimir") != before.pop("mimir")
    assert after == before
    assert state.ports == ports


def test_killed_loki_comes_back_on_its_port_with_what_it_acknowledged(lab: Lab) -> None:
    state = state_of(lab)
    line = f"said at {time.time_ns()}"
    push_line(state, line)
    lab.kill("loki", signal.SIGKILL)
    with pytest.raises(urllib3.exceptions.HTTPError):
        get(state.endpoints.loki + "/ready")
    after = lab.start("loki")
    assert after.endpoints == state.endpoints
    assert line in lines_through_grafana(state)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_stopped_s3_comes_back_with_its_objects(lab: Lab, number: int) -> None:
    state = state_of(lab)
    s3 = seaweed.client(state.endpoints.s3, state.credential("mimir-service"))
    s3.put_object(Bucket="mimir-blocks", Key="kept", Body=b"x" * 10_000)
    lab.kill("s3", number)
    lab.start("s3")
    assert s3.get_object(Bucket="mimir-blocks", Key="kept")["Body"].read() == b"x" * 10_000


def test_start_of_a_running_part_changes_nothing(lab: Lab) -> None:
    before = pids(lab)
    lab.start("tempo")
    assert pids(lab) == before


def test_a_part_started_by_another_process_can_be_killed_and_started(lab: Lab) -> None:
    other = Lab.open(lab.directory)
    other.kill("tempo", signal.SIGTERM)
    other.start("tempo")
    assert all(row.running for row in lab.status())


def test_processes_are_leaders_of_their_own_session(lab: Lab) -> None:
    assert all(os.getsid(pid) == pid for pid in pids(lab).values())


def test_everything_listens_on_loopback_only(lab: Lab) -> None:
    for pid in pids(lab).values():
        listening = [c.laddr.ip for c in psutil.Process(pid).net_connections("inet") if c.status == "LISTEN"]
        assert listening
        # gRPC listens on a socket for both families.
        assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_files_with_secrets_are_for_their_owner_only(lab: Lab) -> None:
    files = [lab.directory / "lab.json", *(lab.directory / "config").iterdir()]
    assert len(files) == 6
    assert {path.stat().st_mode & 0o077 for path in [lab.directory, *files]} == {0}
    state = state_of(lab)
    secrets = [state.grafana_password, *(credential.secret_key for credential in state.credentials)]
    assert not [secret for secret in secrets if secret in repr(state)]
    logs = "".join(path.read_text(errors="replace") for path in (lab.directory / "logs").iterdir())
    assert not [secret for secret in secrets if secret in logs]


def test_down_and_up_keep_data_ports_and_credentials(lab: Lab) -> None:
    state = state_of(lab)
    line = f"before the night {time.time_ns()}"
    push_line(state, line)
    assert lab.down()
    assert proc.find(lab.directory) == []
    assert not lab.down()
    assert not any(row.running or row.pid for row in lab.status())
    after = lab.up()
    assert (after.ports, after.credentials, after.grafana_password) == (
        state.ports, state.credentials, state.grafana_password,
    )  # fmt: skip
    assert line in lines_through_grafana(after)


def test_a_defect_reaches_the_component(lab: Lab) -> None:
    lab.order_defect("loki", DefectOrder(DefectKind.LOSE, 2))
    defects = lab.defects("loki")
    lab.clear_defects("loki")
    assert [(row["kind"], row["count"], row["hits"]) for row in defects] == [("lose", 2, [])]
    assert lab.defects("loki") == []


def test_an_impossible_defect_is_an_error_with_the_reason(lab: Lab) -> None:
    with pytest.raises(LabError, match="this server can slow, empty"):
        lab.order_defect("grafana", DefectOrder(DefectKind.LOSE))
    with pytest.raises(LabError, match="loki, tempo, mimir, grafana can"):
        lab.order_defect("s3", DefectOrder(DefectKind.LOSE))


def test_an_unknown_part_is_named(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"lokki.*s3, loki, tempo, mimir, grafana"):
        lab.kill("lokki")


def test_another_port_for_a_running_part_is_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match="lab down"):
        lab.up(ports={"grafana": 1})


def test_down_finds_what_a_killed_up_left(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    code = "import sys; from loadgen.lab.processes.manager import Lab; Lab.open(sys.argv[1]).up()"
    up = subprocess.Popen([sys.executable, "-c", code, str(lab.directory)])
    try:
        deadline = time.monotonic() + 20
        while len(proc.find(lab.directory)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        up.kill()
        up.wait()
        # Even without the list of what was started.
        (lab.directory / "lab.json").write_text("cut sho")
        assert lab.down()
    finally:
        up.kill()
        up.wait()
        lab.down()
    assert proc.find(lab.directory) == []


def test_down_leaves_a_stranger_with_an_old_pid_alone(own: Lab) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        own._make_directory()
        state = plan.new_state(own.directory).with_ports(dict.fromkeys((*ENDPOINTS, *seaweed.PORT_FLAGS), 1))
        state.with_process(ProcessState("loki", stranger.pid, ("loki",), "loki.log", "http://127.0.0.1:1")).save()
        assert not own.status()[0].running
        assert not own.down()
        assert stranger.poll() is None
        stranger.kill()


def test_a_wanted_port_in_use_is_an_error_and_nothing_is_left(own: Lab) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LabError, match=rf"port {port}, asked for loki, is in use"):
            own.up(ports={"loki": port})
    assert proc.find(own.directory) == []


@pytest.mark.parametrize(
    ("ports", "text"),
    [({"lokki": 3100}, "no port is called 'lokki'"), ({"loki": 0}, "1 to 65535"), ({"loki": 5, "s3": 5}, "same port")],
)
def test_senseless_ports_are_refused(own: Lab, ports: dict[str, int], text: str) -> None:
    with pytest.raises(LabError, match=text):
        own.up(ports=ports)


def test_an_automatic_port_that_was_taken_moves(own: Lab) -> None:
    own._make_directory()
    told: list[str] = []
    state = plan.choose_ports(plan.new_state(own.directory), list(PARTS), {"loki": proc.free_port(())}, told.append)
    assert told == []
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", dict(state.ports)["grafana"]))
        taken.listen()
        moved = plan.choose_ports(state, list(PARTS), {}, told.append)
    assert {name for name, port in moved.ports if port != dict(state.ports)[name]} == {"grafana"}
    assert "grafana" in told[0]
    assert len(set(dict(moved.ports).values())) == len(moved.ports)
    assert plan.affected(state, moved, PARTS) == set()


def test_a_port_that_somebody_takes_between_choice_and_use_is_given_up(
    own: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    launch = Lab._launch
    with socket.socket() as thief:

        def after_a_theft(lab: Lab, state: LabState, name: str) -> tuple[LabState, int]:
            if name == "tempo" and thief.getsockname()[1] == 0:
                thief.bind(("127.0.0.1", dict(state.ports)["tempo"]))
                thief.listen()
            return launch(lab, state, name)

        monkeypatch.setattr(Lab, "_launch", after_a_theft)
        state = own.up(told.append)
        assert state.url("tempo") != f"http://127.0.0.1:{thief.getsockname()[1]}"
    assert any("of tempo is taken by now; it moves to" in text for text in told)
    assert all(status.running for status in own.status())
    assert len(proc.find(own.directory)) == len(PARTS)


def test_who_talks_to_a_part_that_moved_starts_again(own: Lab) -> None:
    state = plan.choose_ports(plan.new_state(own.directory), PARTS, {}, print)
    loki = state.with_ports({**dict(state.ports), "loki": 1})
    s3 = state.with_ports({**dict(state.ports), "s3": 1})
    assert plan.affected(state, loki, {"s3", "tempo", "mimir", "grafana"}) == {"grafana"}
    assert plan.affected(state, s3, {"loki", "tempo", "grafana"}) == {"loki", "tempo"}


def test_grafana_follows_a_component_that_moved(lab: Lab) -> None:
    lab.kill("mimir")
    port = proc.free_port(())
    state = lab.up(ports={"mimir": port})
    assert state.endpoints.mimir == f"http://127.0.0.1:{port}"
    headers = urllib3.make_headers(basic_auth=f"{state.grafana_user}:{state.grafana_password}")
    assert get(f"{state.endpoints.grafana}/api/datasources/uid/mimir/health", headers).status == 200


def test_a_server_that_dies_at_its_start_is_shown_with_its_last_words(own: Lab) -> None:
    broken = own.directory / "data" / "grafana" / "grafana.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("not JSON")
    with pytest.raises(LabError, match=r"grafana ended at its start(.|\n)*grafana\.json"):
        own.up()
    assert proc.find(own.directory) == []


def test_a_directory_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="choose another"):
        Lab.open(tmp_path / "file" / "lab").up()


def test_without_a_lab_there_is_a_hint(own: Lab) -> None:
    assert own.state is None
    assert not own.down()
    for call in (own.status, lambda: own.kill("loki"), lambda: own.order_defect("loki", DefectOrder(DefectKind.LOSE))):
        with pytest.raises(LabError, match="loadgen lab up"):
            call()


def test_wipe_removes_the_lab_but_nothing_else(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    lab._make_directory()
    plan.new_state(lab.directory).save()
    (lab.directory / "mine.txt").write_text("precious")
    lab.wipe()
    assert [path.name for path in lab.directory.iterdir()] == ["mine.txt"]
    (lab.directory / "mine.txt").unlink()
    lab._make_directory()
    lab.wipe()
    assert not lab.directory.exists()


def test_state_survives_its_file(own: Lab) -> None:
    own._make_directory()
    process = ProcessState("s3", 7, ("a", "b"), "log", "url")
    state = plan.new_state(own.directory).with_ports({"loki": 1}).with_process(process)
    state = replace(state, flush_age_s=2)
    state.save()
    assert load_state(own.directory) == state


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "processes": 3}', '{"format": 99}'])
def test_a_broken_state_file_is_an_error_that_says_how_to_go_on(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.json").write_text(text)
    with pytest.raises(LabError, match="down --wipe"):
        load_state(tmp_path)
    Lab.open(tmp_path).wipe()
    assert not tmp_path.exists()


def test_ready_is_what_urllib_sees_too(lab: Lab) -> None:
    with urllib.request.urlopen(state_of(lab).endpoints.grafana + "/api/health", timeout=5) as answer:
        assert json.load(answer)["database"] == "ok"


def test_a_part_that_ignores_sigterm_is_killed_when_its_grace_is_over(lab: Lab) -> None:
    assert lab.stop("mimir", grace_s=20)
    lab.start("mimir")
    # A stopped process takes no SIGTERM.
    lab.kill("mimir", signal.SIGSTOP)
    assert not lab.stop("mimir", grace_s=0.3)
    with pytest.raises(LabError, match="does not run"):
        lab.stop("mimir", grace_s=1)
