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
_REASONS: pytest.StashKey[Counter[str]] = pytest.StashKey()
_COLUMNS = ("same", "different, known", "different", "not built", "skipped")
# A flush makes Mimir refuse what is older, and one of its recorded samples lies nine minutes ahead.
_LAST = ("test_captures.py", "test_s3_layout.py")


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The servers that ``--stack`` names."""
    try:
        with opened(request.config.getoption("--stack"), tmp_path_factory.mktemp("conformance") / "lab") as found:
            yield found
    except ValueError as problem:
        pytest.exit(str(problem), returncode=4)


@pytest.fixture(scope="session")
def replay(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    """The recorded cases against the stack."""
    replay = Replay(stack, tmp_path_factory.mktemp("set-up"))
    yield replay
    replay.close()


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
    """Counts a case for the table at the end: its file, which of the columns, and why."""
    stash = request.config.stash

    def add(file: str, how: str, why: str) -> None:
        engine = stack.engines.get(SERVER_OF[file], "none")
        stash.setdefault(_TALLY, defaultdict(Counter))[f"{file} ({engine})"][how] += 1
        if why:
            stash.setdefault(_REASONS, Counter())[f"{file}, {how}: {why}"] += 1

    return add


def _turn(item: pytest.Item) -> int:
    return _LAST.index(item.path.name) + 1 if item.path.name in _LAST else 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests that ask for a flush behind the others: after it Mimir refuses what is older."""
    places = [at for at, item in enumerate(items) if item.path.parent == HERE]
    ours = sorted((items[at] for at in places), key=_turn)
    for at, item in zip(places, ours, strict=True):
        items[at] = item


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tally = config.stash.get(_TALLY, None)
    if not tally:
        return
    terminalreporter.section("conformance")
    terminalreporter.write_line(f"{'server':36} {'cases':>5} " + " ".join(f"{name:>16}" for name in _COLUMNS))
    for server, counts in tally.items():
        numbers = " ".join(f"{counts[name]:>16}" for name in _COLUMNS)
        terminalreporter.write_line(f"{server:36} {counts.total():>5} {numbers}")
    for reason, times in config.stash.get(_REASONS, Counter[str]()).items():
        terminalreporter.write_line(f"  {f'{times} × ' if times > 1 else ''}{reason}")
