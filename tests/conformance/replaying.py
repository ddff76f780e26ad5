"""Replays recorded cases against a stack, each file once and in its order."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from captured import SERVER_OF, Case, load, recorded_s
from comparing import differences
from known import Known, NotBuilt, known, not_built
from moving import Mover
from setups import Impossible, set_up
from stacks import Stack, until

# What the second holds was pushed by the first.
_BEFORE = {"tempo": "tempo-otlp-http"}
_MIMIRS = ("mimir", "mimir-2.16", "mimir-like-cortex")
# What Mimir has taken is there to be read at once.
_MIMIR_PATIENCE_S = 5.0
# What other answers of a file are waited for, after which nothing more will show up.
_WAITED_MOST_S = 90.0
_LEAST_PATIENCE_S = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case went.

    Attributes:
        found: what differs, aspect to words.
        known: what was known to.
        skipped: why it was not asked.
        missing: what is not built, so that only a refusal was asked for.
    """

    found: dict[str, str]
    known: Known | None = None
    skipped: str = ""
    missing: NotBuilt | None = None

    @property
    def problem(self) -> str:
        """What is wrong with it, in words; empty if it is as recorded, or differs in just what is known."""
        if self.known is None:
            return "; ".join(f"{aspect}: {words}" for aspect, words in self.found.items())
        if self.known.optional and self.found.keys() <= set(self.known.aspects):
            return ""
        if sorted(self.found) == sorted(self.known.aspects):
            return ""
        return (
            f"known.py says that {', '.join(self.known.aspects)} differ, and what differs is: {self.found or 'nothing'}"
        )


class Replay:
    """One session's replay. `close` ends the servers that were started for single cases."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.stack = stack
        self._directory = directory
        self._movers: dict[str, Mover] = {}
        self._outcomes: dict[str, dict[str, Outcome]] = {}
        self._set_up: dict[tuple[str, str], Stack | Impossible] = {}
        self._running = ExitStack()
        self._waited_s: dict[str, float] = defaultdict(float)

    def close(self) -> None:
        """Ends what was started for single cases."""
        self._running.close()

    def missing(self, file: str) -> str:
        """Why a file cannot be replayed against the stack; empty if it can."""
        files = (file, _BEFORE.get(file, file))
        why = next((why for one in files if (why := self.stack.missing.get(SERVER_OF[one]))), "")
        if not why and file in _MIMIRS and self.stack.mimir_file != file:
            return f"this server is held against {self.stack.mimir_file}"
        return why

    def outcomes(self, file: str) -> dict[str, Outcome]:
        """Case to outcome; the file is replayed when it is asked for first."""
        if file not in self._outcomes:
            if file in _BEFORE:
                self.outcomes(_BEFORE[file])
            self._outcomes[file] = {case.name: self._play(case) for case in load(file)}
        return self._outcomes[file]

    def _play(self, recorded: Case) -> Outcome:
        if recorded.apart:
            return Outcome({}, skipped=recorded.apart)
        engine = self.stack.engines.get(recorded.endpoint, "")
        if not engine:
            return Outcome({}, skipped=self.stack.missing[recorded.endpoint])
        # Each part when its turn has come: an instant query without a time only sees what is new.
        file = _BEFORE.get(recorded.file, recorded.file)
        mover = self._movers.get(file)
        if mover is None:
            mover = self._movers[file] = Mover.to_now(time.time(), recorded_s(file))
        case = mover.case(recorded)
        missing = not_built(engine, case.file, case.name)
        if missing is not None and case.request.method == "GET":
            return Outcome({}, missing=missing)
        stack = self.stack if not case.setup else self._server_for(case, engine)
        if isinstance(stack, Impossible):
            return Outcome({}, skipped=stack.reason)
        if missing is not None:
            status = stack.ask(case.endpoint, case.request).status
            taken = {"status": f"{status}, although it is not built"} if 200 <= status < 300 else {}
            return Outcome(taken, missing=missing)
        return self._ask(stack, case, known(engine, case.file, case.name))

    def _ask(self, stack: Stack, case: Case, listed: Known | None) -> Outcome:
        # Reads may take a moment to show what was written; what is known to differ needs no waiting.
        again = case.request.method == "GET" and listed is None
        patience_s = min(stack.patience_s, _MIMIR_PATIENCE_S) if case.file in _MIMIRS else stack.patience_s
        patience_s = max(_LEAST_PATIENCE_S, min(patience_s, _WAITED_MOST_S - self._waited_s[case.file]))
        began = time.monotonic()
        found: dict[str, str] = {}
        for _ in until(patience_s if again else -1.0):
            found = differences(case, stack.ask(case.endpoint, case.request))
            if not found:
                break
        self._waited_s[case.file] += time.monotonic() - began
        return Outcome(found, listed)

    def _server_for(self, case: Case, engine: str) -> Stack | Impossible:
        key = (case.file, case.setup)
        if key not in self._set_up:
            directory = self._directory / f"{case.file}-{len(self._set_up)}"
            made = set_up(case.file, case.setup, engine, directory, self._running)
            if not isinstance(made, Impossible):
                made = replace(self.stack, urls=self.stack.urls | made)
            self._set_up[key] = made
        return self._set_up[key]
