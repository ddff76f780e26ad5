"""What a section of the report consists of, whatever it is printed as. All text is plain; it is escaped later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loadgen.checks.case import Case
from loadgen.config import Profile
from loadgen.model import NS, Result, Verdict
from loadgen.rundir import History

Figure = dict[str, Any]
"""A plotly figure as JSON: ``data`` and ``layout``. Colours of text and lines are set where it is shown."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands above every report, whatever was judged.

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


@dataclass(frozen=True, slots=True)
class Facts:
    """What sections are made from."""

    case: Case
    verdicts: tuple[Verdict, ...]
    outcome: Result

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
class Table:
    """A table; ``right`` names the columns (by position) that hold numbers. A ``folded`` one opens on request."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()
    folded: str = ""


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
