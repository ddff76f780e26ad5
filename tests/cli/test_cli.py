"""Bad input at the command line: a message that says where, what and what next, exit code 2, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def loadgen(cwd: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LOADGEN_")}
    clean |= {"PYTHONPATH": str(REPOSITORY), "LOADGEN_LAB_DIR": str(cwd / "lab"), "COLUMNS": "160", **env}
    done = subprocess.run(
        [sys.executable, "-m", "loadgen", *arguments],
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout
    return done


def target(tmp_path: Path, text: str) -> str:
    path = tmp_path / "target.toml"
    path.write_text(text)
    return str(path)


CLOSED = """
[loki]
url = "http://127.0.0.1:1"
[tempo]
otlp_http = "http://127.0.0.1:1"
[mimir]
url = "http://127.0.0.1:1"
[grafana]
url = "http://127.0.0.1:1"
user = "me"
password = "hunter2"
"""


def test_help_names_the_commands_and_the_exit_codes(tmp_path):
    done = loadgen(tmp_path, "--help")
    assert done.returncode == 0
    for word in ("demo", "run", "verify", "report", "lab", "Exit codes"):
        assert word in done.stdout


def test_the_version_is_shown(tmp_path):
    assert loadgen(tmp_path, "--version").stdout.startswith("loadgen ")


def test_an_unknown_option_is_a_usage_error(tmp_path):
    done = loadgen(tmp_path, "run", "--profil", "demo")
    assert done.returncode == 2
    assert "--profil" in done.stderr


def test_without_a_target_the_ways_to_give_one_are_named(tmp_path):
    done = loadgen(tmp_path, "run", "--profile", "demo")
    assert done.returncode == 2
    assert "--target" in done.stderr
    assert "loadgen lab up" in done.stderr


def test_an_unreachable_target_says_where_and_that_nothing_listens(tmp_path):
    done = loadgen(tmp_path, "run", "--profile", "demo", "--target", target(tmp_path, CLOSED))
    assert done.returncode == 2
    assert "127.0.0.1:1" in done.stderr
    assert "refused" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert not (tmp_path / "reports").exists(), "a run that cannot begin leaves nothing behind"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--profile", "demmo"), "built-in ones"),
        (("run", "--profile", "none.toml"), "cannot be read"),
        (("run", "--rate", "lots=1MB/s"), "'lots' is not a signal"),
        (("run", "--rate", "10 apples"), "is not a size"),
        (("run", "--duration", "soon"), "not a duration"),
        (("run", "--target", "none.toml"), "cannot be read"),
        (("verify", "reports/none"), "no run here"),
        (("report", "reports/none"), "no run here"),
        (("demo", "--duration", "10s"), "after the end of the load"),
    ],
)
def test_a_mistake_is_explained(tmp_path, arguments, said):
    done = loadgen(tmp_path, *arguments)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


def test_a_misspelt_setting_of_a_target_is_named_with_the_right_one(tmp_path):
    done = loadgen(tmp_path, "run", "--target", target(tmp_path, "[grafana]\nurll = 'http://x'\n"))
    assert done.returncode == 2
    assert "did you mean 'url'" in done.stderr


def test_no_colours_without_a_terminal(tmp_path):
    done = loadgen(tmp_path, "run", "--profile", "demmo")
    assert "\x1b[" not in done.stderr + done.stdout


def test_locust_with_a_bad_profile_ends_with_a_clear_line(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "LOADGEN_LAB_DIR": str(tmp_path / "lab")}
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(REPOSITORY / "scenarios/lgtm.py"), "--headless", "-t", "1s"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "loadgen: no target" in done.stderr


@pytest.mark.parametrize(
    ("module", "command", "says"),
    [
        ("loadgen.cli.main", ["--help"], "interrupted before anything began"),
        ("loadgen.run.orchestrate", ["report", "none"], "interrupted"),
    ],
)
def test_ctrl_c_while_the_program_loads_is_no_traceback(tmp_path, module, command, says):
    # A module that is imported early sends the signal, which hits the same moment on every machine.
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "real = builtins.__import__\n"
        "def spy(name, *rest, **more):\n"
        f"    if name == '{module}':\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    return real(name, *rest, **more)\n"
        "builtins.__import__ = spy\n"
    )
    done = loadgen(tmp_path, *command, PYTHONPATH=f"{tmp_path}{os.pathsep}{REPOSITORY}")
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
