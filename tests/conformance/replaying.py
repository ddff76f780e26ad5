"""Replays recorded cases against a stack, each file once and in its order."""

from __future__ import annotations

import time
from dataclasses import dataclass

from captured import SERVER_OF, Case, load
from comparing import differences
from known import Known, known
from moving import Mover
from stacks import Stack, until

# What the second holds was pushed by the first.
_BEFORE = {"tempo": "tempo-otlp-http"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case went: what differs (aspect to words), and what was known to."""

    found: dict[str, str]
    known: Known | None

    @property
    def problem(self) -> str:
        """What is wrong with it, in words; empty if it is as recorded, or differs in just what is known."""
        if self.known is None:
            return "; ".join(f"{aspect}: {words}" for aspect, words in self.found.items())
        if self.known.optional and not self.found:
            return ""
        if sorted(self.found) == sorted(self.known.aspects):
            return ""
        return (
            f"known.py says that {', '.join(self.known.aspects)} differ, and what differs is: {self.found or 'nothing'}"
        )


class Replay:
    """One session's replay."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._movers: dict[str, Mover] = {}
        self._outcomes: dict[str, dict[str, Outcome]] = {}

    def missing(self, file: str) -> str:
        """Why a file cannot be replayed against the stack; empty if it can."""
        files = (file, _BEFORE.get(file, file))
        return next((why for one in files if (why := self.stack.missing.get(SERVER_OF[one]))), "")

    def outcomes(self, file: str) -> dict[str, Outcome]:
        """Case to outcome; the file is replayed when it is asked for first."""
        if file not in self._outcomes:
            if file in _BEFORE:
                self.outcomes(_BEFORE[file])
            self._outcomes[file] = {case.name: self._play(case) for case in load(file)}
        return self._outcomes[file]

    def _play(self, recorded: Case) -> Outcome:
        endpoint = SERVER_OF[recorded.file]
        # Each part when its turn has come: an instant query without a time only sees what is new.
        mover = self._movers.setdefault(_BEFORE.get(recorded.file, recorded.file), Mover.to_now(time.time()))
        case = mover.case(recorded)
        listed = known(self.stack.engines[endpoint], case.file, case.name)
        # Reads may take a moment to show what was written; what is known to differ needs no waiting.
        again = case.request.method == "GET" and listed is None
        found: dict[str, str] = {}
        for _ in until(self.stack.patience_s if again else -1.0):
            found = differences(case, self.stack.ask(endpoint, case.request))
            if not found:
                break
        return Outcome(found, listed)
