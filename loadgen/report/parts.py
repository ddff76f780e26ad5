"""What a section of the report consists of, whatever it is printed as. All text is plain; it is escaped later."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from loadgen.checks.case import Case
from loadgen.config import Profile
from loadgen.history.values import History
from loadgen.model import NS, Result, Verdict
from loadgen.plans import Deployed
from loadgen.report.words import SIGN, WORD, headline

_PLAIN = frozenset(string.ascii_letters + string.digits + "-._/")

Figure = dict[str, Any]
"""A plotly figure as JSON: ``data`` and ``layout``. Colours of text and lines are set where it is shown."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence that comes before everything else, with its badge.

    Attributes:
        tone: colour of the badge: ``pass``, ``fail``, ``unknown`` or ``skipped``; empty for no badge.
        sign, word: in the badge.
        text: the sentence.
    """

    tone: str
    sign: str
    word: str
    text: str


class Heading(Protocol):
    """What stands above a page: what it is of, when it began, and its first sentences.

    ``overall`` names the page in one badge and sentence; where there is one sentence only, it is that one.
    """

    @property
    def name(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def began_ns(self) -> int: ...
    @property
    def version(self) -> str: ...
    @property
    def note(self) -> str: ...
    @property
    def overall(self) -> Sentence: ...
    @property
    def sentences(self) -> tuple[Sentence, ...]: ...


@dataclass(frozen=True, slots=True)
class Head:
    """What stands above every report of verdicts, whatever was judged.

    Attributes:
        name: of the run, or of the stack that was checked.
        what: what ``name`` is, e.g. ``run``.
        began_ns, length_s: when it began, and how long it lasted.
        verdicts, outcome: what was judged.
        version: of loadgen.
        note: a sentence below the outcome, e.g. where the charts are.
    """

    name: str
    what: str
    began_ns: int
    length_s: float
    verdicts: tuple[Verdict, ...]
    outcome: Result
    version: str
    note: str = ""

    @property
    def overall(self) -> Sentence:
        """The outcome, with its badge."""
        result = self.outcome
        return Sentence(result.value, SIGN[result], WORD[result], headline(result, self.verdicts))

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """The outcome is all that there is to say first."""
        return (self.overall,)


@dataclass(frozen=True, slots=True)
class Facts:
    """What sections are made from."""

    case: Case
    verdicts: tuple[Verdict, ...]
    outcome: Result
    deployed: Deployed = field(default_factory=Deployed)

    @property
    def history(self) -> History:
        """The run as it is stored."""
        return self.case.history

    @property
    def profile(self) -> Profile:
        """The profile it ran with."""
        return self.case.profile

    @property
    def began_ns(self) -> int:
        """When the load began."""
        return self.history.info.key.began_ns

    @property
    def length_s(self) -> float:
        """How long the load lasted."""
        return max(1.0, (self.case.ended_ns() - self.began_ns) / NS)

    @property
    def head(self) -> Head:
        """What stands above the report of a run."""
        info = self.history.info
        version = info.versions.get("loadgen", "")
        note = "The charts are in report.html."
        return Head(info.key.run, "run", self.began_ns, self.length_s, self.verdicts, self.outcome, version, note)


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A cell that leads to a file: ``path`` is relative to the page."""

    text: str
    path: str

    @property
    def href(self) -> str:
        """The address: never of another host, nor anything but a file."""
        return "./" + "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in self.path.encode())


Cell = str | Link


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        columns, rows: what it holds.
        right: the columns (by position) that hold numbers.
        folded: it opens on request, by these words; empty: it is open.
        cards: on a narrow screen each row becomes a card, instead of a table to be moved sideways.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    right: tuple[int, ...] = ()
    folded: str = ""
    cards: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. ``alt`` says in words what it shows, for those who cannot see it; its numbers are in a table nearby."""

    name: str
    alt: str
    figure: Figure
    height: int


@dataclass(frozen=True, slots=True)
class Promises:
    """The list of verdicts."""

    verdicts: tuple[Verdict, ...]


Block = Text | Table | Chart | Promises


@dataclass(frozen=True, slots=True)
class Part:
    """A section, filled."""

    name: str
    title: str
    blocks: tuple[Block, ...]


Section = Callable[[Facts], Part | None]
"""Makes a part of the report; None when it has nothing to say about a run."""
