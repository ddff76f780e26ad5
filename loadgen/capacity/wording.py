"""A search in words: levels with their units, how steps and searches ended, costs, texts from outside made short."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence

from loadgen.capacity import knee
from loadgen.capacity.model import Capacity, Ending, Knee, Limit, Search, SearchKind, Step, Why
from loadgen.report.parts import Sentence
from loadgen.units import bytes_text, duration_text

NONE = "–"
LONGEST = 240

KIND_TITLE = {
    SearchKind.LOGS: "Logs",
    SearchKind.TRACES: "Traces",
    SearchKind.METRICS: "Metrics",
    SearchKind.QUERIES: "Queries",
    SearchKind.ALL: "All together",
}
ENDING_WORD = {
    Ending.KEPT: "kept",
    Ending.BROKEN: "broken",
    Ending.GENERATOR: "generator too slow",
    Ending.UNTOLD: "could not be told",
    Ending.INTERRUPTED: "interrupted",
}
ENDING_SIGN = {
    Ending.KEPT: "✓",
    Ending.BROKEN: "✗",
    Ending.GENERATOR: "≥",
    Ending.UNTOLD: "?",
    Ending.INTERRUPTED: "?",
}
RESOURCE_TITLE = {
    "cores": "CPU",
    "memory_bytes": "memory",
    "goroutines": "goroutines",
    "wal_bytes": "write-ahead log",
    "s3_requests_per_s": "S3 requests",
    "s3_written_bytes_per_s": "S3 writes",
    "series": "active series",
    "streams": "streams in memory",
    "chunks": "chunks in memory",
    "flush_queue": "flush queue",
}

FOUND = ("skipped", "=", "measured")
AT_LEAST = ("unknown", "≥", "at least")
UNFINISHED = ("unknown", "?", "unfinished")
_UNTOLD = ("unknown", "?", "unknown")
_NOTHING = ("unknown", "?", "nothing measured")
_CRASHED = ("fail", "✗", "crashed")
_UNRECOVERED = ("fail", "✗", "did not recover")
_LOWEST = ("fail", "✗", "broke at once")
# What a reader must see first, first.
_ORDER = (_CRASHED, _UNRECOVERED, _LOWEST, _NOTHING, _UNTOLD, UNFINISHED, AT_LEAST, FOUND)
_BADGE = {
    Why.FOUND: FOUND,
    Why.CEILING: AT_LEAST,
    Why.GENERATOR: AT_LEAST,
    Why.LOWEST: _LOWEST,
    Why.UNTOLD: _UNTOLD,
    Why.UNRECOVERED: _UNRECOVERED,
}


def short(text: str, most: int = LONGEST) -> str:
    """A text from outside on one line, without characters that steer a terminal, at most ``most`` long."""
    # A server may answer with megabytes; what lies far behind the cut need not be looked at.
    seen = text[: most * 8]
    clean = "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in seen)
    line = " ".join(clean.split())
    return line if len(line) <= most and len(text) <= most * 8 else line[: most - 1].rstrip() + "…"


def number_text(value: float | None, digits: int = 3) -> str:
    """A number with some significant digits and separators, a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return NONE
    if abs(value) >= 10**digits - 0.5:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1g}"


def size_text(value: float | None, per: str = "") -> str:
    """A size, or a rate with ``per`` (``/s``), a dash for what is not known."""
    return NONE if value is None or not math.isfinite(value) else bytes_text(value) + per


def time_text(value_s: float | None) -> str:
    """A duration, a dash for what is not known."""
    if value_s is None or math.isnan(value_s):
        return NONE
    return duration_text(value_s) if math.isfinite(value_s) else "never"


def share_text(share: float | None) -> str:
    """A share in percent; a small one does not read as none, nor one of nearly all as all."""
    if share is None or not math.isfinite(share):
        return NONE
    percent = 100 * share
    if 0 < percent < 0.01:
        return "< 0.01 %"
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return f"{percent:.3g} %"


def level_text(level: float | None, unit: str) -> str:
    """A level of a search in its unit, short enough for a cell: ``3.9 MB/s``, ``12,000 series``, ``2×``."""
    if level is None or not math.isfinite(level):
        return NONE
    return f"{number_text(level)}×" if unit == "times" else knee.level_text(level, short(unit, 40))


def amount_text(resource: str, value: float | None) -> str:
    """An amount of a resource of `Usage`."""
    if value is None or not math.isfinite(value):
        return NONE
    if resource == "cores":
        # A thousandth of a core is what the counters of a quiet component tell.
        return f"{number_text(value, 2) if abs(value) < 1 else number_text(value)} cores"
    if resource == "s3_written_bytes_per_s":
        return size_text(value, "/s")
    if resource.endswith("_bytes"):
        return size_text(value)
    return number_text(value) + ("/s" if resource.endswith("_per_s") else "")


def limit_text(limit: Limit | None) -> str:
    """The setting and its value."""
    if limit is None:
        return NONE
    setting = short(limit.setting, 80) or "a limit that it did not name"
    return f"{setting} = {short(limit.value, 60)}" if limit.value else setting


def carries_text(search: Search) -> str:
    """The highest level that kept every promise; open ends say so."""
    if search.kept is None:
        return f"less than {level_text(search.broke, search.unit)}" if search.why is Why.LOWEST else "not known"
    told = level_text(search.kept, search.unit)
    return told if search.why is Why.FOUND else f"at least {told}"


def breaks_text(search: Search, steps: Sequence[Step]) -> str:
    """The lowest level that broke a promise; where only the generator failed or nothing could be told, none."""
    last = [step for step in steps if step.level == search.broke]
    return level_text(search.broke, search.unit) if last and last[-1].ending is Ending.BROKEN else NONE


def end_text(search: Search, steps: Sequence[Step]) -> str:
    """Why the search ended, in words."""
    text = _end(search, steps)
    return f"{text}; {short(search.detail)}" if search.detail else text


def _end(search: Search, steps: Sequence[Step]) -> str:
    if search.why is Why.FOUND and search.kept and search.broke:
        return f"found: the two levels lie {share_text(search.broke / search.kept - 1)} apart"
    if search.why is Why.PENDING:
        return "not finished: this is what is known so far" if steps else "did not begin"
    kept = level_text(search.kept, search.unit)
    so_far = f"at least {kept} is carried" if search.kept is not None else "nothing is known of what is carried"
    return {
        Why.FOUND: "found",
        Why.CEILING: f"every promise was kept up to the ceiling of {level_text(search.ceiling, search.unit)}",
        Why.LOWEST: "a promise was broken at the lowest level that was tried",
        Why.GENERATOR: f"the generator was the limit, not the stack: {so_far}",
        Why.UNTOLD: f"steps could not be judged: {so_far}",
        Why.MINUTES: f"the time for the search was over: {so_far}",
        Why.BYTES: f"the next step would have written more than is allowed: {so_far}",
        Why.UNRECOVERED: "the stack did not come back to work after a step, so it was not loaded further",
        Why.INTERRUPTED: f"interrupted by a person: {so_far}",
    }[search.why]


def badge(search: Search, steps: Sequence[Step]) -> tuple[str, str, str]:
    """Tone, sign and word for a search: a crash outweighs all that was found."""
    if any(step.crashed for step in steps):
        return _CRASHED
    if search.why in _BADGE:
        return _BADGE[search.why]
    return UNFINISHED if steps else _NOTHING


def sentences(capacity: Capacity, headline: Sequence[str], knees: Sequence[Knee]) -> tuple[Sentence, ...]:
    """The first sentences, each with the badge of its search where it is known which one that is."""
    if not capacity.searches and not headline:
        return (Sentence(*_NOTHING, "Nothing was measured: the search did not begin."),)
    texts = [short(text, 2 * LONGEST) for text in headline if text.strip()]
    if not texts:
        texts = [
            f"{KIND_TITLE[search.kind]}: {end_text(search, capacity.of(search.kind))}." for search in capacity.searches
        ]
    kinds = {short(one.sentence, 2 * LONGEST): one.kind for one in knees}
    if len(texts) == len(capacity.searches):
        kinds |= {text: search.kind for text, search in zip(texts, capacity.searches, strict=True)}
    badges = {search.kind: badge(search, capacity.of(search.kind)) for search in capacity.searches}
    none = ("", "", "")
    return tuple(Sentence(*(badges.get(kinds[text], none) if text in kinds else none), text) for text in texts)


def overall(capacity: Capacity, first: Sequence[Sentence]) -> Sentence:
    """One badge for the whole page, the worst of all, with the first sentence."""
    badges = [badge(search, capacity.of(search.kind)) for search in capacity.searches] or [_NOTHING]
    return Sentence(*min(badges, key=_ORDER.index), first[0].text)


def used(step: Step, component: str, resource: str) -> float | None:
    """What one component used in a step: its own figure, else that of Prometheus; None if neither is known."""
    mine = sorted((one for one in step.usage if one.component == component), key=lambda one: one.source != "/metrics")
    values = (getattr(usage, resource) for usage in mine)
    return next((value for value in values if value is not None and math.isfinite(value)), None)


def components_of(capacity: Capacity) -> tuple[str, ...]:
    """The components whose cost a reader asks for: what ran, and whatever else has figures."""
    known = {usage.component for step in capacity.steps for usage in step.usage}
    order = ("loki", "tempo", "mimir", "grafana")
    return tuple(name for name in order if name in known | set(capacity.engines)) + tuple(sorted(known - set(order)))


def worst(values: Sequence[float | None], pick: Callable[[list[float]], float] = max) -> float | None:
    """The largest of the values that are known; None if none is."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return pick(known) if known else None
