from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from loadgen.cli.lab import app, parse_defect, parse_duration_s, parse_ports
from loadgen.lab.defects import DefectKind, DefectOrder
from loadgen.lab.processes import running as proc
from loadgen.lab.processes.manager import Lab

NAMES = {"loki", "tempo", "otlp_http", "otlp_grpc", "mimir", "grafana", "s3"}


def loadgen_lab(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("commands") / "lab"
    code, out, err = loadgen_lab("up", "--dir", str(path), "--flush-age", "500ms", "--defect", "tempo:delay:2:3s")
    assert code == 0, err
    assert "starting loki" in err
    assert "http://127.0.0.1:" in out
    yield str(path)
    Lab.open(path).down()
    assert proc.find(path) == []


def test_status_as_json_has_every_address_and_the_credentials(directory: str) -> None:
    code, out, _ = loadgen_lab("status", "--json", "--dir", directory)
    data = json.loads(out)
    assert code == 0
    assert set(data) >= NAMES
    for name in NAMES:
        assert data[name]["engine"] == ("seaweedfs" if name == "s3" else "embedded")
        assert data[name]["running"] is True
        assert data[name]["pid"] > 1
        assert data[name]["memory_bytes"] > 1_000_000
    assert data["otlp_grpc"]["url"].startswith("127.0.0.1:")
    assert data["s3"]["buckets"] == ["loki-chunks", "tempo-traces", "mimir-blocks"]
    assert data["s3"]["bucket_of"]["mimir"] == "mimir-blocks"
    assert set(data["s3"]["credentials"]["loadgen"]) == {"access_key", "secret_key"}
    assert data["grafana"]["user"] == "admin"
    assert data["grafana"]["password"]


def test_status_as_table_has_no_colours_outside_a_terminal_and_no_secrets(directory: str) -> None:
    code, out, _ = loadgen_lab("status", "--dir", directory)
    state = Lab.open(directory).state
    assert state is not None
    assert code == 0
    assert "\x1b[" not in out
    assert all(name in out for name in NAMES)
    assert state.grafana_password not in out


def test_status_is_1_when_a_part_is_down_and_up_mends_it(directory: str) -> None:
    Lab.open(directory).kill("grafana", signal.SIGKILL)
    code, out, _ = loadgen_lab("status", "--json", "--dir", directory)
    assert code == 1
    assert json.loads(out)["grafana"] | {"url": "", "user": "", "password": ""} == {
        "url": "", "engine": "embedded", "pid": None, "memory_bytes": 0, "running": False, "user": "", "password": "",
    }  # fmt: skip
    assert loadgen_lab("up", "--dir", directory)[0] == 0
    assert loadgen_lab("status", "--dir", directory)[0] == 0


def test_a_defect_is_ordered_or_refused_with_a_reason(directory: str) -> None:
    code, _, err = loadgen_lab("defect", "mimir", "lose", "--count", "2", "--dir", directory)
    assert (code, err) == (0, "mimir will lose the next 2 that arrive\n")
    orders = [("mimir", "explode"), ("mimir", "empty"), ("grafana", "lose"), ("tempo", "lose", "--what", "all")]
    for order in orders:
        code, _, err = loadgen_lab("defect", *order, "--dir", directory)
        assert code == 2
        assert order[-1] in err


@pytest.mark.parametrize("command", [("status",), ("status", "--json"), ("defect", "loki", "lose")])
def test_without_a_lab_the_exit_code_is_2_with_a_hint(tmp_path: Path, command: tuple[str, ...]) -> None:
    code, out, err = loadgen_lab(*command, "--dir", str(tmp_path / "none"))
    assert (code, out) == (2, "")
    assert "loadgen lab up" in err.replace("\n", " ")
    assert not (tmp_path / "none").exists()


def test_down_without_a_lab_is_no_error_and_makes_none(tmp_path: Path) -> None:
    assert loadgen_lab("down", "--wipe", "--dir", str(tmp_path / "none"))[0] == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "options",
    [("--port", "loki"), ("--port", "loki=x"), ("--flush-age", "soon"), ("--defect", "loki"), ("--port", "lokki=1")],
)
def test_senseless_options_are_refused_with_2_before_anything_starts(tmp_path: Path, options: tuple[str, ...]) -> None:
    code, _, err = loadgen_lab("up", "--dir", str(tmp_path / "lab"), *options)
    assert code == 2
    assert "Traceback" not in err
    assert proc.find(tmp_path / "lab") == []


def test_foreground_stops_the_lab_on_sigterm(tmp_path: Path) -> None:
    path = tmp_path / "lab"
    code = "from loadgen.cli.lab import app; app()"
    argv = [sys.executable, "-c", code, "up", "--foreground", "--dir", str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as child:
        try:
            deadline = time.monotonic() + 30
            assert child.stderr is not None
            while b"Ctrl-C" not in child.stderr.readline():
                assert child.poll() is None
                assert time.monotonic() < deadline
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=30)
            assert child.returncode == 0
            assert proc.find(path) == []
        finally:
            child.kill()
            Lab.open(path).down()


def test_durations_ports_and_defects_are_understood() -> None:
    assert [parse_duration_s(text) for text in ("90s", "500ms", "2m", "1h", "7")] == [90, 0.5, 120, 3600, 7]
    assert parse_ports(["loki=3100", "s3=9000"]) == {"loki": 3100, "s3": 9000}
    assert parse_defect("loki:lose") == ("loki", DefectOrder(DefectKind.LOSE))
    assert parse_defect("tempo:delay:3:2m") == ("tempo", DefectOrder(DefectKind.DELAY, 3, 120))
    for text in ("loki", ":lose", "loki:lose:x", "loki:lose:1:2s:3", "loki:explode", "loki:delay:1:soon"):
        with pytest.raises(typer.BadParameter):
            parse_defect(text)
