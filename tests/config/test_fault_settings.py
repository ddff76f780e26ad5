"""What a profile may say of faults follows from the kinds of faults that there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loadgen.config import ConfigError, load_profile, parse_profile
from loadgen.faults.kill import KillSettings
from loadgen.faults.restart import RestartSettings


def faults(tmp_path: Path, text: str) -> object:
    path = tmp_path / "profile.toml"
    path.write_text(f'[[faults]]\nat = "1s"\ncomponent = "loki"\n{text}\n')
    return load_profile(path).faults


def test_a_fault_without_a_kind_is_a_kill(tmp_path: Path) -> None:
    assert faults(tmp_path, "") == (KillSettings(at="1s", component="loki"),)


def test_each_kind_has_settings_of_its_own(tmp_path: Path) -> None:
    assert faults(tmp_path, 'kind = "restart"\ngrace = "7s"') == (
        RestartSettings(at="1s", component="loki", grace="7s"),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('kind = "flood"', "[faults.0] kind: there is no such kind of fault; kinds are kill, restart"),
        ("kind = 7", "there is no such kind of fault; kinds are kill, restart"),
        ('kind = "restart"\ngrase = "7s"', "[faults.0] grase: no such setting; did you mean 'grace'?"),
        ('downn = "7s"', "[faults.0] downn: no such setting; did you mean 'down'?"),
        ('down = "soon"', "[faults.0] down: "),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_is_right(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        faults(tmp_path, text)
    assert says in str(caught.value)


def test_a_component_that_stores_nothing_has_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_text('[[faults]]\nat = "1s"\ncomponent = "grafana"\n')
    with pytest.raises(ConfigError, match=r"\[faults\.0\] component: should be one of loki, mimir, tempo"):
        load_profile(path)


def test_what_is_stored_of_faults_is_read_again_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_text(
        '[[faults]]\nat = 1\ncomponent = "loki"\n[[faults]]\nat = 2\ncomponent = "tempo"\nkind = "restart"\ngrace = 9\n'
    )
    profile = load_profile(path)
    assert parse_profile(profile.model_dump(mode="json"), "run.json").faults == profile.faults


def test_the_faults_of_runs_of_earlier_versions_are_read() -> None:
    """They stored the grace of a restart with every fault."""
    stored = {"at": 1.0, "component": "loki", "kind": "kill", "down": 0.5, "grace": 30.0}
    assert parse_profile({"faults": [stored]}, "run.json").faults == (KillSettings(at=1, component="loki"),)


DUMMY = """
from typing import Literal
import loadgen.faults as faults
from loadgen.faults.fault import FaultKind, FaultSettings
from loadgen.model import Component

class FreezeSettings(FaultSettings):
    kind: Literal["freeze"] = "freeze"
    degrees: float = 0.0

class Freeze:
    def __init__(self, settings, around):
        self.settings, self.around = settings, around
        self.affects = (Component.LOKI, Component.MIMIR)
    def inject(self):
        return f"freeze at {self.settings.degrees:g} degrees"
    def heal(self):
        print("healed")
    def ping(self, component):
        return self.around.ping(component)

faults.FAULTS += (FaultKind("freeze", FreezeSettings, Freeze),)

from loadgen.config import parse_profile
from loadgen.faults.timeline import Timeline

profile = parse_profile({"faults": [{"kind": "freeze", "at": 1, "component": "loki", "degrees": -4}]}, "dummy")
now, windows = [0], []
def sleep(seconds):
    now[0] += max(1, round(seconds * 1e9))
Timeline(profile.faults, object(), lambda _: "", lambda: now[0], sleep, lambda: False, windows.append, 5.0).run(0)
print([(one.fault, str(one.component)) for one in windows if not one.unfinished])
"""


def test_a_new_kind_of_fault_is_a_file_and_a_line_in_the_registry() -> None:
    done = subprocess.run([sys.executable, "-c", DUMMY], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "healed",
        "[('freeze at -4 degrees', 'loki'), ('freeze at -4 degrees', 'mimir')]",
    ]
