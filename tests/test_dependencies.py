"""What is imported is declared, and what is installed is written down."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = ROOT / "constraints.txt"
# Several distributions share these names; which one a module comes from is told by more of its name.
SHARED = {
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.proto": "opentelemetry-proto",
    "opentelemetry.exporter.otlp.proto": "opentelemetry-exporter-otlp",
    "opentelemetry.exporter.prometheus_remote_write": "opentelemetry-exporter-prometheus-remote-write",
    "opentelemetry": "opentelemetry-api",
}


def declared(*extras: str) -> set[str]:
    """The distributions that the project asks for, with those of some extras."""
    groups = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return {canonicalize_name(Requirement(text).name) for group in groups for text in group}


def imported(folder: str) -> dict[str, Path]:
    """Whole names of foreign modules, and one file that imports each."""
    found: dict[str, Path] = {}
    own = {path.stem for path in (ROOT / "tests").rglob("*.py")} | {"loadgen", "benchmarks", "tests", "scenarios"}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in own:
                    found.setdefault(name, path)
    return found


def owner(module: str) -> str:
    """The distribution of a module."""
    for beginning, name in SHARED.items():
        if module == beginning or module.startswith(f"{beginning}."):
            return name
    owners = packages_distributions()[module.partition(".")[0]]
    return canonicalize_name(owners[0])


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("loadgen", ("lab", "kubernetes")),
        ("scenarios", ()),
        ("benchmarks", ("lab", "kubernetes", "dev")),
        ("tests", ("lab", "kubernetes", "dev")),
    ],
)
def test_everything_that_is_imported_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    known = declared(*extras)
    assert {f"{name}: {owner(name)}" for name in imported(folder) if owner(name) not in known} == set()


def needed(texts: list[str], extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> set[str]:
    """The names of distributions that requirements bring, with all that these need."""
    found: set[str] = set()
    for text in texts:
        one = Requirement(text)
        name, wanted = canonicalize_name(one.name), frozenset(one.extras)
        here = [{**default_environment(), "extra": extra} for extra in (extras or {""})]
        if one.marker is not None and not any(one.marker.evaluate(each) for each in here):
            continue
        if name != "loadgen":
            found.add(name)
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found |= needed(requires, wanted, seen)
    return found


def test_constraints_name_every_distribution_that_is_brought() -> None:
    pinned = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", CONSTRAINTS.read_text(), re.MULTILINE))
    names = {canonicalize_name(name) for name in pinned}
    texts = [*PROJECT["dependencies"], *(text for group in PROJECT["optional-dependencies"].values() for text in group)]
    assert needed(texts, frozenset(), set()) - names == set()


def test_constraints_are_names_and_versions_and_nothing_else() -> None:
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    assert lines == sorted(lines, key=str.lower)
