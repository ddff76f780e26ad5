"""The direction of dependencies, read from the imports themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "loadgen"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each part of the package may import of the package; parts that are not named may import anything.
_BASE = {"model", "units", "clock", "pacing", "mistakes", "__init__"}
_WIRE = _BASE | {"wire"}
_SIGNALS = _WIRE | {"signals"}
_TARGETS = _SIGNALS | {"config", "targets", "skew"}
_PURE = _SIGNALS | {"config", "plan", "rundir", "sampling", "skew"}
ALLOWED = {
    "model": set(),
    "units": set(),
    "clock": set(),
    "pacing": {"model"},
    "sampling": {"model"},
    "skew": {"model", "units"},
    "surroundings": set(),
    "wire": _WIRE,
    "signals": _SIGNALS,
    "config": _BASE,
    "plan": _SIGNALS | {"config"},
    "rundir": _BASE,
    "targets": _TARGETS,
    "discards": {"model"},
    "scrape_names": {"model", "discards"},
    "counters": {"model", "scrape_names"},
    "checks": _PURE | {"checks", "process", "counters", "discards"},
    "report": _PURE | {"checks", "report", "process", "requirements"},
    "audit": _BASE | {"config", "audit"},
    "requirements": {"model"},
    "recorder": _BASE | {"rundir"},
    "pushing": _BASE | {"targets"},
    "faults": _TARGETS | {"faults"},
    "parity": _BASE | {"targets"},
    "own": _TARGETS | {"panels", "plan", "rundir"},
}
# Nothing pure asks a network or a clock.
IMPURE = {
    "requests",
    "urllib",
    "urllib3",
    "http",
    "socket",
    "boto3",
    "botocore",
    "grpc",
    "time",
    "subprocess",
    "locust",
}


def part_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_lies_below_it(path):
    allowed = ALLOWED.get(part_of(path))
    if allowed is None:
        return
    used = {[*name.split("."), "__init__"][1] for name in imports(path) if name.split(".")[0] == "loadgen"}
    assert used <= allowed | {part_of(path)}


def test_only_the_users_import_locust():
    using = {part_of(path) for path in MODULES if any(name.split(".")[0] == "locust" for name in imports(path))}
    assert using == {"users"}


@pytest.mark.parametrize(
    "part",
    [
        *("model", "pacing", "sampling", "skew", "units", "wire", "signals", "plan", "checks", "report", "audit"),
        *("requirements", "discards", "scrape_names", "counters"),
    ],
)
def test_pure_parts_ask_neither_a_network_nor_a_clock(part):
    for path in MODULES:
        if part_of(path) == part:
            assert not {name.split(".")[0] for name in imports(path)} & IMPURE, path


def test_acceptance_checks_and_their_facts_are_pure():
    for path in (*(PACKAGE / "acceptance" / "checks").glob("*.py"), PACKAGE / "acceptance" / "facts.py"):
        assert not {name.split(".")[0] for name in imports(path)} & IMPURE, path
        assert not any(name.startswith(("loadgen.targets", "loadgen.acceptance.probes")) for name in imports(path)), (
            path
        )


@pytest.mark.parametrize("name", ["model", "cost", "sizing", "advice", "stored"])
def test_what_follows_from_a_search_asks_neither_a_network_nor_a_clock(name):
    used = imports(PACKAGE / "capacity" / f"{name}.py")
    assert not {one.split(".")[0] for one in used} & IMPURE
    assert not any(one.startswith("loadgen.targets") for one in used)


def test_the_lab_is_optional_for_everything_else():
    # These import it inside of functions; a search of the lab starts again what crashed.
    lazy = {"locate", "cli", "lab"}
    for path in MODULES:
        if part_of(path) not in lazy and not path.match("capacity/command.py"):
            assert not any(name.startswith("loadgen.lab") for name in imports(path)), path


def broad(node: ast.AST) -> bool:
    """Whether a node catches whatever may be raised."""
    if isinstance(node, ast.ExceptHandler):
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        return any(kind is None or (isinstance(kind, ast.Name) and kind.id in BROAD) for kind in kinds)
    called = isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", ""))
    return called == "suppress" and any(isinstance(one, ast.Name) and one.id in BROAD for one in node.args)


BROAD = {"Exception", "BaseException"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_whoever_catches_everything_says_why(path):
    """A mistake of ours must not pass for one of the stack: what libraries raise is caught by its name."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if broad(node):
            where = lines[node.lineno - 1], lines[node.lineno]
            assert any("#" in line for line in where), f"{path}:{node.lineno} catches everything and does not say why"


def test_no_two_test_modules_have_the_same_name():
    """Without packages pytest imports them by their bare names."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(set(names)) == len(names)
