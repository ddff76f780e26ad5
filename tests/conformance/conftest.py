"""The stack of a session, the replay against it, and a table of how it went."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from captured import SERVER_OF
from replaying import Replay
from stacks import Stack, opened

HERE = Path(__file__).parent
Tally = dict[str, Counter[str]]
_TALLY: pytest.StashKey[Tally] = pytest.StashKey()
_REASONS: pytest.StashKey[list[str]] = pytest.StashKey()


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The servers that ``--stack`` names."""
    try:
        with opened(request.config.getoption("--stack"), tmp_path_factory.mktemp("conformance") / "lab") as found:
            yield found
    except ValueError as problem:
        pytest.exit(str(problem), returncode=4)


@pytest.fixture(scope="session")
def replay(stack: Stack) -> Replay:
    """The recorded cases against the stack."""
    return Replay(stack)


@pytest.fixture
def need(stack: Stack) -> Callable[..., Stack]:
    """The stack, if it has these endpoints; else the test is skipped with the reason."""

    def having(*endpoints: str, buckets: bool = False) -> Stack:
        for endpoint in endpoints:
            if endpoint in stack.missing:
                pytest.skip(stack.missing[endpoint])
        if buckets and stack.lab is None:
            pytest.skip("the buckets of these servers are not known")
        return stack

    return having


@pytest.fixture
def count(request: pytest.FixtureRequest, stack: Stack) -> Callable[[str, str, str], None]:
    """Counts a case for the table at the end: its file, ``same``, ``different`` or ``skipped``, and why."""
    stash = request.config.stash

    def add(file: str, how: str, why: str) -> None:
        engine = stack.engines.get(SERVER_OF[file], "none")
        stash.setdefault(_TALLY, defaultdict(Counter))[f"{file} ({engine})"][how] += 1
        if why:
            stash.setdefault(_REASONS, []).append(f"{file}, {why}")

    return add


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests that ask for a flush behind the others: after it Cortex refuses what is older."""
    places = [at for at, item in enumerate(items) if item.path.parent == HERE]
    ours = sorted((items[at] for at in places), key=lambda item: item.path.name == "test_s3_layout.py")
    for at, item in zip(places, ours, strict=True):
        items[at] = item


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tally = config.stash.get(_TALLY, None)
    if not tally:
        return
    terminalreporter.section("conformance")
    columns = ("same", "different, known", "different", "skipped")
    terminalreporter.write_line(f"{'server':36} {'cases':>5} " + " ".join(f"{name:>16}" for name in columns))
    for server, counts in tally.items():
        numbers = " ".join(f"{counts[name]:>16}" for name in columns)
        terminalreporter.write_line(f"{server:36} {counts.total():>5} {numbers}")
    for reason in config.stash.get(_REASONS, []):
        terminalreporter.write_line(f"  {reason}")
