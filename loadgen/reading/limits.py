"""Reading back within the limits that a server has for one query: what it refuses as too much is asked for in parts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from loadgen.reading.cases import Auditor, Found, SentBatch

# The servers' own words, as far as a smaller question can be answered: lengths of ranges (Loki, Mimir, Tempo), series
# and points (Loki, Mimir), bytes and chunks, and queries whose text is too long for a server or a proxy.
_TOO_MUCH = re.compile(
    r"exceeds the limit|value exceeds limit|query exceeded the maximum|maximum number of series|maximum of series"
    r"|exceeded maximum resolution|range specified by start and end exceeds|exceeds the maximum allowed duration"
    r"|max entries limit|err-mimir-max-|too many (?:bytes|chunks|samples)|would read too many|: 414\b|: 413\b",
    re.IGNORECASE,
)
_OF_SERIES = re.compile(r"series|query-expression-size|: 414\b|: 413\b", re.IGNORECASE)


def is_too_much(error: str) -> bool:
    """Whether a server refused a query because it asked for too much at once."""
    return bool(_TOO_MUCH.search(error))


def look_in_parts(auditor: Auditor, cases: Sequence[SentBatch], again: bool) -> list[Found]:
    """What `Auditor.look` finds of a group; parts of it where the server refuses the whole as too much.

    What is refused even for a single batch stays unreadable, with the server's words.
    """
    found = auditor.look(cases, again)
    refused = [one for one in found if one.error and is_too_much(one.error)]
    if not refused or len(cases) < 2:
        return found
    rest = [one for one in found if not (one.error and is_too_much(one.error))]
    for part in _halves([one.case for one in refused], refused[0].error):
        rest += look_in_parts(auditor, part, again)
    return rest


def _halves(cases: Sequence[SentBatch], error: str) -> list[Sequence[SentBatch]]:
    """Two parts with fewer users each where series are too many, else with a shorter time each."""
    users = {case.batch.user for case in cases}
    by_user = len(users) > 1 and _OF_SERIES.search(error)
    ordered = sorted(
        cases,
        key=lambda case: (case.batch.user, case.batch.due_ns) if by_user else (case.batch.due_ns, case.batch.user),
    )
    half = len(ordered) // 2
    if by_user:
        # A user is in one part only, or both would ask for its series.
        middle = sorted(users)[len(users) // 2]
        half = next(place for place, case in enumerate(ordered) if case.batch.user == middle)
    # In the order of time, as auditors are given them.
    parts = [sorted(part, key=lambda case: case.batch.due_ns) for part in (ordered[:half], ordered[half:])]
    return [part for part in parts if part]
