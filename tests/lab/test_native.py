"""Real servers from PATH and containers: finding them, and what they are started with."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from loadgen.cli.lab import native_engines
from loadgen.lab.processes import compose, native
from loadgen.lab.processes import planning as plan
from loadgen.lab.processes.compose import ComposeLab, docker_command, open_lab
from loadgen.lab.processes.manager import Lab
from loadgen.lab.state import COMPOSE, LabError, LabState, load_state

VERSIONS = {
    "loki": "loki, version 3.7.6 (branch: HEAD, revision: abc)",
    "tempo": "tempo, version v3.0.3 (branch: HEAD, revision: abc)",
    "cortex": "Cortex, version 1.21.1 (branch: HEAD, revision: abc)",
    "mimir": "Mimir, version 2.17.1 (branch: HEAD, revision: abc)",
    "prometheus": "prometheus, version 3.11.3 (branch: HEAD, revision: abc)",
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(path: Path, name: str, *says: str, code: int = 0) -> None:
    program = path / name
    lines = "\n".join(f"echo '{line}'" for line in says)
    program.write_text(f"#!/bin/sh\n{lines}\nexit {code}\n")
    program.chmod(0o755)


def made(directory: Path, *parts: str) -> LabState:
    state = replace(plan.new_state(directory), engines=tuple((part, "native") for part in parts))
    return plan.choose_ports(state, set(plan.parts_of(state)), {}, print)


def test_a_server_on_path_is_found_with_its_version(path: Path) -> None:
    put(path, "loki", "WARNING: something first", VERSIONS["loki"])
    program = native.find_program("loki")
    assert program is not None
    assert (program.name, program.version, program.engine) == ("loki", "3.7.6", "native, loki 3.7.6")


def test_mimir_goes_before_cortex_which_only_stands_in(path: Path) -> None:
    put(path, "cortex", VERSIONS["cortex"])
    program = native.find_program("mimir")
    assert program is not None and program.engine == "native, cortex 1.21.1, in Mimir's place"
    put(path, "mimir", VERSIONS["mimir"])
    program = native.find_program("mimir")
    assert program is not None and program.engine == "native, mimir 2.17.1"


@pytest.mark.parametrize(("says", "code"), [("tempo 1.2, a metronome", 0), ("usage: tempo BPM", 2)])
def test_another_program_of_the_same_name_is_passed_over(path: Path, says: str, code: int) -> None:
    put(path, "tempo", says, code=code)
    assert native.find_program("tempo") is None
    with pytest.raises(LabError, match="no tempo is on PATH"):
        native.need_program("tempo")


def test_everything_found_becomes_native_and_nothing_at_all_is_an_error(path: Path) -> None:
    told: list[str] = []
    with pytest.raises(LabError, match="none of loki"):
        native_engines(told.append)
    put(path, "loki", VERSIONS["loki"])
    put(path, "prometheus", VERSIONS["prometheus"])
    assert native_engines(told.append) == {"loki": "native", "prometheus": "native"}
    assert "grafana: not on PATH, stays embedded" in told


@pytest.mark.parametrize("name", ["loki", "tempo", "cortex", "mimir", "prometheus"])
def test_a_launch_gives_every_value_that_the_configuration_asks_for_and_shows_no_secret(
    path: Path, tmp_path: Path, name: str
) -> None:
    put(path, name, VERSIONS[name])
    part = "mimir" if name == "cortex" else name
    state = made(tmp_path / "lab", part)
    launch = native.launch(state, native.need_program(part))
    config = next(Path(value) for value in re.findall(r"config\.file=(\S+)", " ".join(launch.argv)))
    asked = set(re.findall(r"\$\{(\w+)\}", config.read_text()))
    assert asked <= set(launch.environment)
    assert "…" not in config.read_text(), "the servers take every brace for a variable"
    secrets = [credential.secret_key for credential in state.credentials]
    assert not any(secret in f"{launch} {launch.argv} {config.read_text()}" for secret in secrets)


def test_prometheus_scrapes_and_writes_to_the_labs_own_addresses(path: Path, tmp_path: Path) -> None:
    put(path, "prometheus", VERSIONS["prometheus"])
    state = made(tmp_path / "lab", "prometheus")
    native.launch(state, native.need_program("prometheus"))
    text = (tmp_path / "lab" / "config" / "prometheus.yaml").read_text()
    assert f"url: {state.url('mimir')}/api/v1/push" in text
    assert state.url("loki").removeprefix("http://") in text


def test_grafana_needs_its_own_files_beside_it(path: Path, tmp_path: Path) -> None:
    put(path, "grafana", "grafana version 12.3.0")
    state = made(tmp_path / "lab", "grafana")
    program = native.need_program("grafana")
    assert program.version == "12.3.0"
    if not Path("/usr/share/grafana/conf/defaults.ini").exists():
        with pytest.raises(LabError, match=r"defaults\.ini"):
            native.launch(state, program)
    (path.parent / "conf").mkdir()
    (path.parent / "conf" / "defaults.ini").touch()
    launch = native.launch(state, program)
    ini = (native.CONFIG / "grafana.ini").read_text()
    assert set(re.findall(r"\$__env\{(\w+)\}", ini)) <= set(launch.environment)
    sources = (tmp_path / "lab" / "config" / "provisioning" / "datasources" / "lab.yaml").read_text()
    # Grafana itself takes a doubled dollar for a plain one.
    assert "'$${__value.raw}'" in sources
    assert f"{state.url('mimir')}/prometheus" in sources


def test_a_component_with_data_keeps_its_engine(path: Path, tmp_path: Path) -> None:
    put(path, "loki", VERSIONS["loki"])
    state = made(tmp_path)
    assert plan.with_engines(state, {"loki": "native"}, ()).is_native("loki")
    (tmp_path / "data" / "loki").mkdir(parents=True)
    (tmp_path / "data" / "loki" / "wal").touch()
    with pytest.raises(LabError, match="cannot go on with"):
        plan.with_engines(state, {"loki": "native"}, ())
    with pytest.raises(LabError, match="cannot go on with"):
        plan.with_engines(made(tmp_path, "loki"), {"loki": "embedded"}, ())
    assert plan.with_engines(made(tmp_path, "loki"), {"loki": "native"}, ()).is_native("loki")


@pytest.mark.parametrize(
    ("engines", "text"),
    [
        ({"s3": "native"}, "no part 's3' can be chosen"),
        ({"loki": "docker"}, "cannot be 'docker'"),
        ({"prometheus": "embedded"}, "only native"),
        ({"loki": "native"}, "no loki is on PATH"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(path: Path, tmp_path: Path, engines: dict[str, str], text: str) -> None:
    with pytest.raises(LabError, match=text):
        plan.with_engines(plan.new_state(tmp_path), engines, ())


def test_the_engines_of_a_lab_survive_its_file(tmp_path: Path) -> None:
    made(tmp_path, "loki", "prometheus").save()
    again = load_state(tmp_path)
    assert again is not None
    assert again.engines == (("loki", "native"), ("prometheus", "native"))
    assert plan.endpoints_of(again)[-1] == "prometheus"


def test_without_docker_or_its_engine_or_compose_one_sentence_says_so(path: Path) -> None:
    with pytest.raises(LabError, match="docker is not on PATH"):
        docker_command()
    put(path, "docker", "Cannot connect to the Docker daemon", code=1)
    with pytest.raises(LabError, match="engine does not answer"):
        docker_command()
    (path / "docker").write_text('#!/bin/sh\n[ "$1" = info ] && echo 28 && exit 0\necho "unknown command"\nexit 1\n')
    with pytest.raises(LabError, match="no compose plugin"):
        docker_command()


def test_the_compose_file_gets_every_value_from_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    lab = ComposeLab(tmp_path)
    (tmp_path / "config").mkdir()
    engines = tuple((part, COMPOSE) for part in compose.PARTS)
    state = replace(plan.new_state(tmp_path), engines=engines)
    state = plan.choose_ports(state, set(compose.PARTS), {}, print)
    lab._write_files(state)
    path = tmp_path / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    given = {line.partition("=")[0] for line in path.read_text().splitlines()}
    assert set(re.findall(r"\$\{(\w+)\}", compose.FILE.read_text())) <= given
    for part in ("loki", "tempo", "mimir"):
        asked = set(re.findall(r"\$\{(\w+)\}", (native.CONFIG / f"{part}.yaml").read_text()))
        assert all(f"{name}:" in compose.FILE.read_text() for name in asked)


def test_compose_says_what_docker_said(tmp_path: Path, path: Path) -> None:
    (path / "docker").write_text(
        '#!/bin/sh\ncase "$1 $2" in "info "*|"compose version") exit 0;; esac\n'
        'echo "no space left on device" >&2\nexit 18\n'
    )
    (path / "docker").chmod(0o755)
    with pytest.raises(LabError, match="no space left on device"):
        open_lab(tmp_path / "lab", compose=True).up()


def test_a_lab_with_processes_is_not_taken_for_one_of_containers(tmp_path: Path) -> None:
    made(tmp_path).save()
    assert type(open_lab(tmp_path)) is Lab
    with pytest.raises(LabError, match="without containers"):
        open_lab(tmp_path, compose=True)
    state = load_state(tmp_path)
    assert state is not None
    replace(state, engines=(("s3", COMPOSE),)).save()
    assert isinstance(open_lab(tmp_path), ComposeLab)


def test_the_images_are_pinned() -> None:
    images = re.findall(r"image: (\S+)", compose.FILE.read_text())
    assert len(images) == len(compose.PARTS)
    assert all(re.fullmatch(r"[\w/]+:v?\d+\.\d+(\.\d+)?", image) for image in images)
    assert os.path.commonpath([compose.FILE, native.CONFIG]) == str(native.CONFIG.parent)
