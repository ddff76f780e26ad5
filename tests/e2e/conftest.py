"""A lab of its own for the end-to-end tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
from workplace import REPOSITORY, Workplace


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """Commands with a lab directory that no other test uses; nothing of it runs afterwards."""
    path = tmp_path_factory.mktemp("e2e")
    env = {name: value for name, value in os.environ.items() if not name.startswith("LOADGEN_")}
    env |= {"LOADGEN_LAB_DIR": str(path / "lab"), "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
    place = Workplace(path, env)
    yield place
    place.run("loadgen", "lab", "down", "--wipe")
    left = subprocess.run(["pgrep", "-f", str(path)], capture_output=True, text=True, check=False).stdout.split()
    assert left == [], "processes were left behind"


@pytest.fixture(scope="session")
def lab(workplace: Workplace) -> Workplace:
    """The same with the lab running."""
    up = workplace.run("loadgen", "lab", "up")
    assert up.returncode == 0, up.stdout + up.stderr
    return workplace


@pytest.fixture
def plant(lab: Workplace) -> Callable[..., None]:
    """Orders defects from the embedded servers."""

    def order(component: str, kind: str, *options: str) -> None:
        done = lab.run("loadgen", "lab", "defect", component, kind, *options)
        assert done.returncode == 0, done.stdout + done.stderr

    return order
