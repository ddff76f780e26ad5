"""Where servers are known to answer otherwise than recorded, and why. An entry that is no longer true fails."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """A difference in one case.

    Attributes:
        engine: ``embedded``, or the program of the real server.
        file, case: which one.
        aspects: all that differ: ``status``, ``body``, or names of headers.
        reason: why it is so, and stays so.
    """

    engine: str
    file: str
    case: str
    aspects: tuple[str, ...]
    reason: str


EMBEDDED: tuple[Known, ...] = ()

REAL: tuple[Known, ...] = ()


def known(engine: str, file: str, case: str) -> Known | None:
    """The entry of a case, if there is one."""
    found = (one for one in (*EMBEDDED, *REAL) if (one.engine, one.file, one.case) == (engine, file, case))
    return next(found, None)
