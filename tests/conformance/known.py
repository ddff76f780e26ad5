"""Where servers are known to answer otherwise than recorded, and why. An entry that is no longer true fails."""

from __future__ import annotations

from dataclasses import dataclass, replace

UNKNOWN = "unknown"
"""The engine of a server at a given address: it may differ where an embedded one does, and need not."""


@dataclass(frozen=True, slots=True)
class Known:
    """A difference in one case.

    Attributes:
        engine: ``embedded``, or the program of the real server.
        file, case: which one.
        aspects: all that differ: ``status``, ``body``, or names of headers.
        reason: why it is so, and stays so.
        optional: it need not differ.
    """

    engine: str
    file: str
    case: str
    aspects: tuple[str, ...]
    reason: str
    optional: bool = False


_MIMIR = "Mimir words its refusals itself, with an err-mimir id; the record is Cortex's, its ancestor's"

EMBEDDED: tuple[Known, ...] = (
    Known(
        "embedded",
        "loki",
        "push 20 minutes out of order",
        ("body", "content-type", "status", "x-content-type-options"),
        "the recorded server had a max_chunk_age of one minute; here it is Loki's own two hours, and half is let in",
    ),
    Known("embedded", "mimir-like-cortex", "write same timestamp other value", ("body",), _MIMIR),
    Known("embedded", "mimir-like-cortex", "write out of order", ("body",), _MIMIR),
    Known("embedded", "mimir-like-cortex", "write far future", ("body",), _MIMIR),
    Known("embedded", "mimir-like-cortex", "write duplicate label names", ("body",), _MIMIR),
    Known("embedded", "mimir-like-cortex", "write missing metric name", ("body",), _MIMIR),
    Known("embedded", "mimir-like-cortex", "write invalid metric name", ("body",), _MIMIR),
    Known(
        "embedded",
        "tempo",
        "metrics query_range",
        ("body",),
        "Tempo hides the newest 30 s and the step that is still open; here every span counts at once, so that a panel "
        "of a short run has something to show",
    ),
    Known(
        "embedded",
        "tempo",
        "flush",
        ("body", "content-type", "status", "x-content-type-options"),
        "Tempo 3 has none; Tempo 2 has, and a run that asks for a flush is tried out here",
    ),
)

REAL: tuple[Known, ...] = ()


def known(engine: str, file: str, case: str) -> Known | None:
    """The entry of a case, if there is one; of servers at given addresses, what their configuration may make differ."""
    wanted = "embedded" if engine == UNKNOWN else engine
    found = (one for one in (*EMBEDDED, *REAL) if (one.engine, one.file, one.case) == (wanted, file, case))
    entry = next(found, None)
    return replace(entry, optional=True) if entry is not None and engine == UNKNOWN else entry
