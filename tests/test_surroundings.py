"""What lies around a command, in its folder or its environment, does not change what it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadgen.config.surroundings import child_environment, search_path
from loadgen.lab.processes.running import Children
from loadgen.run.locate import locust_command

REPOSITORY = Path(__file__).parents[1]

# Told at the end of a process, from within: where it would look for modules, what it was given, what it took from here.
PROBE = """
import atexit, json, os, sys
def tell():
    here = os.path.realpath(os.environ["PROBED"])
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    told = {
        "path": [os.path.realpath(entry) for entry in sys.path],
        "env": dict(os.environ),
        "from_here": [file for file in files if os.path.realpath(file).startswith(here + os.sep)],
    }
    with open(os.environ["PROBE_OUT"], "w") as out:
        json.dump(told, out)
atexit.register(tell)
"""
FOREIGN = {
    "LOCUST_TAGS": "x",
    "LOCUST_MODE_MASTER": "1",
    "LOCUST_SKIP_MONKEY_PATCH": "1",
    "LOCUST_LIST": "nonsense",
    "OTEL_SDK_DISABLED": "true",
    "OTEL_TRACES_SAMPLER": "always_off",
    "GEVENT_RESOLVER": "nothing-like-it",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONSTARTUP": "/nowhere/start.py",
    "PYTHONINSPECT": "1",
}


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with whatever could stand in the way: modules of known names, and settings of Locust's."""
    here = tmp_path / "here"
    here.mkdir()
    for module in ("locust", "secrets", "numpy", "grpc", "gevent", "random", "msgpack"):
        (here / f"{module}.py").write_text(f"raise SystemExit('mine: {module}')\n")
    (here / "loadgen").mkdir()
    (here / "loadgen" / "__init__.py").write_text("raise SystemExit('mine: loadgen')\n")
    # Locust ends at a setting that it does not know.
    (here / "locust.conf").write_text("no-such-setting = 1\n")
    (here / "pyproject.toml").write_text("[tool.locust]\nno-such-setting = 1\n")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".locust.conf").write_text("no-such-setting = 1\n")
    probe = tmp_path / "probe"
    probe.mkdir()
    (probe / "sitecustomize.py").write_text(PROBE)
    return here


def surrounded(hostile: Path, **more: str) -> dict[str, str]:
    place = hostile.parent
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LOADGEN_")}
    probed = {"PROBED": str(hostile), "PROBE_OUT": str(place / "told.json"), "HOME": str(place / "home")}
    path = os.pathsep.join((str(place / "probe"), str(REPOSITORY)))
    return {**clean, **FOREIGN, **probed, "PYTHONPATH": path, **more}


def told(hostile: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((hostile.parent / "told.json").read_text())
    return found


def test_locust_as_a_child_reads_no_settings_and_no_module_of_the_current_folder(hostile: Path) -> None:
    # The empty entry that PYTHONPATH=$PYTHONPATH:/x leaves behind is in it too.
    given = surrounded(hostile)
    given["PYTHONPATH"] += os.pathsep
    done = subprocess.run(
        [*locust_command(), "--list"], cwd=hostile, env=child_environment(given, hostile), capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "LogShipper" in done.stdout
    saw = told(hostile)
    assert saw["from_here"] == []
    assert os.path.realpath(hostile) not in saw["path"]
    assert not [name for name in saw["env"] if name in FOREIGN]


def test_the_same_child_in_its_callers_environment_would_be_led_astray(hostile: Path) -> None:
    """The probe can fail: without the rule for variables Locust obeys them."""
    done = subprocess.run(
        [*locust_command(), "--list"], cwd=hostile, env=surrounded(hostile), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert told(hostile)["env"]["LOCUST_TAGS"] == "x"
    assert done.returncode != 0


def test_locust_started_by_a_person_keeps_its_own_settings(hostile: Path) -> None:
    scenario = str(REPOSITORY / "scenarios" / "lgtm.py")
    for module in (*hostile.glob("*.py"), hostile / "loadgen" / "__init__.py"):
        module.unlink()
    (hostile / "loadgen").rmdir()
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", scenario, "--list"], cwd=hostile, capture_output=True, text=True,
        timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HOME": str(hostile.parent)},
    )  # fmt: skip
    assert "no-such-setting" in done.stderr


@pytest.mark.parametrize("python_path", ["", os.pathsep])
def test_the_command_itself_imports_nothing_from_the_current_folder(hostile: Path, python_path: str) -> None:
    # A package called loadgen there is taken by `python -m loadgen` before a line of ours is run.
    (hostile / "loadgen" / "__init__.py").unlink()
    (hostile / "loadgen").rmdir()
    given = surrounded(hostile)
    given["PYTHONPATH"] += python_path
    done = subprocess.run(
        [sys.executable, "-m", "loadgen", "run", "--profile", "no-such"], cwd=hostile, capture_output=True, text=True,
        timeout=60, check=False, env={name: value for name, value in given.items() if not name.startswith("PYTHONI")},
    )  # fmt: skip
    assert done.returncode == 2
    assert "no such profile" in done.stderr
    assert told(hostile)["from_here"] == []


def test_a_server_of_the_lab_gets_neither_proxies_nor_foreign_settings(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = surrounded(hostile, HTTP_PROXY="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9", AWS_PROFILE="x")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(hostile)
    children = Children()
    lab = hostile.parent / "lab"
    lab.mkdir()
    pid = children.start(lab, "loki", (sys.executable, "-P", "-c", "import loadgen.lab"), lab / "log", {})
    os.waitpid(pid, 0)
    saw = told(hostile)
    assert saw["from_here"] == []
    assert not [name for name in saw["env"] if name in {*FOREIGN, "HTTP_PROXY", "https_proxy", "AWS_PROFILE"}]
    assert saw["env"]["LOADGEN_LAB"] == str(lab)


def test_what_says_where_things_are_goes_on(tmp_path: Path) -> None:
    given = {
        "PATH": "/bin", "HOME": "/home/me", "LANG": "C", "TZ": "UTC", "HTTPS_PROXY": "http://p", "SSL_CERT_FILE": "/c",
        "LOADGEN_TARGET": "t.toml", "XDG_STATE_HOME": "/s", "PYTHONPATH": "/x", "SKEW_S": "1200", "LD_PRELOAD": "/l",
    }  # fmt: skip
    assert child_environment(given, tmp_path) == given


def test_entries_of_the_search_path_keep_their_place_but_for_the_current_folder(tmp_path: Path) -> None:
    given = os.pathsep.join(("", "/x", ".", "sub", str(tmp_path), "./"))
    assert search_path(given, tmp_path) == ["/x", str(tmp_path / "sub"), str(tmp_path)]
    assert "PYTHONPATH" not in child_environment({"PYTHONPATH": os.pathsep}, tmp_path)


@pytest.mark.parametrize("imported", ["loadgen.users", "loadgen.__main__"])
def test_settings_of_grpc_are_gone_before_it_is_loaded(imported: str) -> None:
    program = (
        "import importlib, os, sys\n"
        f"module = importlib.import_module({imported!r})\n"
        "sys.argv = ['loadgen', '--version']\n"
        "try:\n"
        "    module.main() if hasattr(module, 'main') else None\n"
        "except SystemExit:\n"
        "    pass\n"
        "print('left:', *sorted(name for name in os.environ if name.startswith('GRPC_')))\n"
    )
    variables = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": "/nowhere", "GRPC_DNS_RESOLVER": "native", "GRPC_TRACE": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **variables}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "left: GRPC_TRACE", done.stderr
