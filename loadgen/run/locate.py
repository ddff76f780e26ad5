"""Where profiles and targets are found when they are given by name, or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

from loadgen.config import ConfigError, Target, load_target
from loadgen.run.defaults import LAB

_PACKAGE = Path(__file__).resolve().parents[1]


def profile_folder() -> Path:
    """The built-in profiles: beside the package in a checkout, inside it once installed."""
    installed = _PACKAGE / "_scenarios"
    return installed if installed.is_dir() else _PACKAGE.parent / "scenarios"


def locustfile() -> Path:
    """The scenario that Locust runs."""
    return profile_folder() / "lgtm.py"


def locust_command() -> list[str]:
    """How Locust is started as a child: its scenario alone, whatever lies in the current folder."""
    return [sys.executable, "-P", str(_PACKAGE / "users" / "child.py")]


def find_profile(name: str) -> Path:
    """The file of a profile given by path or by the name of a built-in one; ConfigError lists what there is."""
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    built_in = profile_folder() / f"{name}.toml"
    if not built_in.is_file():
        known = ", ".join(sorted(file.stem for file in profile_folder().glob("*.toml")))
        raise ConfigError(
            f"--profile {name}: no such profile; built-in ones: {known}; or give the path of a .toml file"
        )
    return built_in


def resolve_target(source: str) -> tuple[Target, str]:
    """The target described by ``source`` and what to remember of where it came from.

    ``source`` is the path of a target file, ``lab``, or empty for the local lab if one runs. Raises ConfigError when
    there is none.
    """
    if source not in ("", LAB):
        return load_target(Path(source)), str(Path(source).resolve())
    from loadgen.lab.target import running_lab_target  # the lab is an optional part

    target = running_lab_target()
    if target is None and source == LAB:
        raise ConfigError("the target is the local lab, and it does not run; start it with `loadgen lab up`")
    if target is None:
        raise ConfigError(
            "no target: give one with --target FILE (or LOADGEN_TARGET), or start a local stack with `loadgen lab up`"
        )
    return target, LAB
