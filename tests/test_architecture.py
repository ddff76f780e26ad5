"""The direction of dependencies, read from the imports themselves."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "loadgen"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Every part of the package, from the ground up, and what it imports of those before it. A new part gets a line here.
PARTS: dict[str, set[str]] = {
    "__init__": set(),
    "model": set(),
    "mistakes": set(),
    "units": set(),
    "clock": set(),
    "pacing": set(),
    "stores": {"model"},
    "judging": {"mistakes", "model"},
    "settings": {"model", "stores", "units"},
    "faults": {"clock", "model", "settings"},
    "config": {"faults", "model", "settings"},
    "wire": {"model"},
    "kinds": {"model", "pacing", "wire"},
    "skew": {"kinds", "model", "stores", "units"},
    "plan": {"config", "kinds", "model", "pacing"},
    "plans": {"config", "model", "settings"},
    "targets": {"__init__", "config", "faults", "kinds", "model", "skew", "stores", "units"},
    "history": {"__init__", "config", "model", "targets", "units"},
    "scrape": {"clock", "config", "history", "model", "stores", "targets"},
    "push": {"clock", "config", "kinds", "model", "pacing", "plan", "targets"},
    "reading": {"config", "history", "kinds", "model", "plan", "targets", "wire"},
    "queries": {"clock", "config", "history", "kinds", "model", "pacing", "plan", "reading", "targets"},
    "buckets": {"config", "history", "kinds", "mistakes", "model", "plan", "stores", "targets"},
    "checks": {
        *("config", "history", "judging", "kinds", "mistakes", "model"),
        *("plan", "scrape", "skew", "stores", "units"),
    },
    "report": {"checks", "config", "history", "judging", "kinds", "mistakes", "model", "plan", "plans", "units"},
    "lab": {"__init__", "config", "faults", "model", "push", "scrape", "targets", "units", "wire"},
    "run": {
        *("buckets", "checks", "clock", "config", "faults", "history", "judging", "kinds", "lab", "model", "plan"),
        *("plans", "push", "queries", "reading", "report", "scrape", "skew", "targets", "units", "wire"),
    },
    "users": {
        *("__init__", "clock", "config", "history", "kinds", "model", "plan", "push"),
        *("queries", "reading", "run", "scrape", "skew", "targets", "units"),
    },
    "acceptance": {
        *("buckets", "config", "history", "judging", "kinds", "mistakes", "model"),
        *("plan", "push", "reading", "skew", "stores", "targets", "units"),
    },
    "audit": {"config", "judging", "model", "plans"},
    "capacity": {
        *("__init__", "buckets", "checks", "clock", "config", "history", "kinds", "model"),
        *("plan", "push", "report", "run", "scrape", "stores", "targets", "units"),
    },
    "cli": {
        *("__init__", "acceptance", "audit", "capacity", "checks", "config", "faults", "history", "judging", "kinds"),
        *("lab", "model", "plans", "push", "report", "run", "skew", "targets", "units"),
    },
    "__main__": {"cli", "push"},
}
# Nothing pure asks a network or a clock, neither by itself nor by what it imports.
IMPURE = {
    *("requests", "urllib", "urllib3", "http", "socket", "boto3", "botocore", "grpc", "time", "subprocess", "locust"),
}
PURE_TEXT = {"urllib.parse"}
PURE = (
    *(
        "judging",
        "plans",
        "model",
        "mistakes",
        "units",
        "pacing",
        "skew",
        "wire",
        "config",
        "plan",
        "checks",
        "report",
        "audit",
    ),
    *(
        "kinds",
        "stores",
        "history.values",
        "history.held",
        "history.sampling",
        "scrape.figures",
        "scrape.discards",
        "scrape.counters",
    ),
    *("acceptance.checks", "acceptance.facts"),
    "capacity.scales",
    *(
        "capacity.model",
        "capacity.limits",
        "capacity.levels",
        "capacity.cost",
        "capacity.sizing",
        "capacity.advice",
        "capacity.stored",
    ),
)
# Those may import the lab, inside of functions where they can do without.
USERS_OF_THE_LAB = {"cli/demo.py", "cli/lab.py", "cli/run.py", "cli/searching.py", "run/locate.py"}


def name_of(path: Path) -> str:
    """The dotted name of a module below the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path): path for path in MODULES}


def part_of(path: Path) -> str:
    return name_of(path).partition(".")[0]


@cache
def imports(path: Path) -> frozenset[str]:
    """Modules that a module imports, by their whole names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(node.module or "")
            within = (f"{node.module}.{alias.name}" for alias in node.names)
            names |= {name for name in within if name.removeprefix("loadgen.") in NAMES}
    return frozenset(names)


def own_imports(path: Path) -> set[str]:
    """Those of the package, without its name; a package's own module comes along with what is in it."""
    own = {name.removeprefix("loadgen.") for name in imports(path) if name.startswith("loadgen.")}
    own |= {"__init__"} & {name.replace("loadgen", "__init__", 1) for name in imports(path) if name == "loadgen"}
    return own | {name.rpartition(".")[0] for name in own if "." in name}


def impure_imports(path: Path) -> list[str]:
    """How a module comes to a network or a clock, through everything that it imports."""
    found, came, waiting = [], {path: name_of(path)}, [path]
    while waiting:
        here = waiting.pop()
        names = [name for name in imports(here) if name.partition(".")[0] in IMPURE and name not in PURE_TEXT]
        found += [f"{came[here]} → {name}" for name in names]
        for name in own_imports(here):
            there = NAMES.get(name)
            if there is not None and there not in came:
                came[there] = f"{came[here]} → {name}"
                waiting.append(there)
    return found


def test_every_part_is_listed_once_and_is_there():
    assert {part_of(path) for path in MODULES} == PARTS.keys()


def test_no_part_imports_one_that_lies_above_it():
    known: set[str] = set()
    for part, below in PARTS.items():
        assert below <= known, f"{part} imports {below - known}, which come later"
        known.add(part)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_imports_what_its_line_says_and_nothing_else(part):
    used = {name.partition(".")[0] for path in MODULES if part_of(path) == part for name in own_imports(path)}
    assert used - {part} == PARTS[part]


def test_only_the_users_import_locust():
    using = {part_of(path) for path in MODULES if any(name.split(".")[0] == "locust" for name in imports(path))}
    assert using == {"users"}


@pytest.mark.parametrize("pure", PURE)
def test_pure_parts_ask_neither_a_network_nor_a_clock_through_all_their_imports(pure):
    mine = [path for name, path in NAMES.items() if name == pure or name.startswith(f"{pure}.")]
    assert mine
    for path in mine:
        assert not impure_imports(path)


def test_what_is_not_pure_is_seen_through_what_it_imports():
    assert any(found.startswith("queries.dashboard → ") for found in impure_imports(NAMES["queries.dashboard"]))


def test_the_lab_is_imported_by_the_commands_and_the_resolver_only():
    for path in MODULES:
        if part_of(path) != "lab" and str(path.relative_to(PACKAGE)) not in USERS_OF_THE_LAB:
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


def classes_of(path: Path) -> list[str]:
    """The names of the classes of a module, those inside of others too."""
    return [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]


def test_no_two_classes_have_the_same_name():
    """A name stands for one thing in the whole package, so that it is understood where it is used."""
    where: dict[str, list[str]] = {}
    for path in MODULES:
        for name in classes_of(path):
            where.setdefault(name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: places for name, places in where.items() if len(places) > 1} == {}


# Where a particular signal or component may be named: what is true of one, how it gets in, and its own files elsewhere.
OWNERS = ("kinds", "stores", "wire", "lab", "model")
OWN_FILES = {"ways", "logs", "metrics", "traces", "loki", "mimir", "tempo"}
NAMED = re.compile(r"\b(?:Signal\.(?:LOGS|METRICS|TRACES)|Component\.(?:LOKI|TEMPO|MIMIR))\b")
MOST_NAMED = 4


def test_no_more_lines_than_before_name_a_particular_signal_or_component():
    """A new signal or store would have to visit each of them; whoever takes some away lowers the number."""
    lines = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in MODULES
        if part_of(path) not in OWNERS and not OWN_FILES & {*path.relative_to(PACKAGE).with_suffix("").parts}
        for line in path.read_text().splitlines()
        if NAMED.search(line)
    ]
    assert len(lines) <= MOST_NAMED, "\n".join(lines)
