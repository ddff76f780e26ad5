"""Where a kind of load broke a promise, which one, and if a configured limit or the machine was the reason. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from loadgen.capacity.model import Broken, Ending, Knee, Limit, Search, SearchKind, Step, Usage, Why
from loadgen.kinds import kind_of
from loadgen.units import bytes_text, count_text

_FULL = 0.9
_THROTTLED = 0.05
_SAME = 0.04
_STREAMS = "max_global_streams_per_user"
# How many lines of what a verdict goes by are shown for each broken promise.
_EVIDENCE = 4
_FIRST = (".up", ".loss", ".throughput", ".query", ".freshness")
"""In which order broken promises are named: what went down or was lost before what was slow."""
_FIRST_OF_QUERIES = (".up", ".loss", ".query", ".throughput", ".freshness")
"""The same for a search that raises queries: pushes wait because of these."""

_SUBJECT = {
    SearchKind.LOGS: "Loki",
    SearchKind.TRACES: "Tempo",
    SearchKind.METRICS: "Mimir",
    SearchKind.ALL: "The whole stack",
}


def level_text(level: float, unit: str) -> str:
    """A level for people: ``3.9 MB/s``, ``12,000 series``, ``2.5 times the profile's load``."""
    if unit == "B/s":
        return f"{bytes_text(level)}/s"
    if unit == "times":
        return f"{level:.3g} times the profile's load"
    return f"{count_text(level) if level >= 100 else f'{level:.3g}'} {unit}"


def knee_of(search: Search, steps: Sequence[Step]) -> Knee:
    """What a search found. ``steps`` are those of this search."""
    kept = _last(steps, search.kept, (Ending.KEPT,))
    broke = _last(steps, search.broke, (Ending.BROKEN, Ending.GENERATOR, Ending.UNTOLD))
    if broke is None or broke.ending is not Ending.BROKEN:
        sentence = _unbroken(search, broke)
        return Knee(search.kind, _number(kept), _number(broke), "", (), (), None, "", 0, sentence)
    first_of_all = _FIRST_OF_QUERIES if search.kind is SearchKind.QUERIES else _FIRST
    broken = sorted(broke.broken, key=lambda one: _rank(one, first_of_all))
    limit = limit_of_step(broke)
    machine = "" if limit is not None else machine_text(broke)
    messages = [one.message for one in broke.refusals if one.message]
    said = tuple(
        dict.fromkeys([*messages, *_measured(broken)] if messages else [*_measured(broken), *_evidence(broken)])
    )
    lost = sum(flow.lost_items or 0 for flow in broke.flows)
    first = broken[0] if broken else Broken("", "", "", "")
    return Knee(
        kind=search.kind,
        kept_step=_number(kept),
        broke_step=broke.number,
        promise=first.promise,
        checks=tuple(one.check for one in broken),
        said=said,
        limit=limit,
        machine=machine,
        lost_items=lost,
        sentence=_sentence(search, kept, broke, first, limit, machine, lost),
    )


def limit_of_step(step: Step) -> Limit | None:
    """The configured limit that most of the refused pushes of a step name."""
    named = [one for one in step.refusals if one.limit is not None]
    if not named:
        return None
    return max(named, key=lambda one: one.pushes).limit


def machine_text(step: Step) -> str:
    """What was used up when no configured limit was named, as far as the components' own figures tell it."""
    texts = [text for usage in step.usage if (text := _strained(usage))]
    if texts:
        return "; ".join(texts)
    cores = [(one.component, one.cores) for one in step.usage if one.cores]
    if not cores:
        return ""
    used = ", ".join(f"{component} {number:.2g}" for component, number in sorted(cores, key=lambda one: -one[1]))
    return f"no limit was named; cores used: {used}"


def _strained(usage: Usage) -> str:
    texts = []
    if usage.starts:
        texts.append("started anew" if usage.starts == 1 else f"started anew {usage.starts} times")
    if usage.memory_bytes and usage.memory_limit_bytes and usage.memory_bytes >= _FULL * usage.memory_limit_bytes:
        used, limit = bytes_text(usage.memory_bytes), bytes_text(usage.memory_limit_bytes)
        texts.append(f"used {used} of the {limit} of memory that it may use")
    if usage.throttled_share is not None and usage.throttled_share > _THROTTLED:
        texts.append(f"was held back by its CPU limit in {100 * usage.throttled_share:.0f} % of the periods")
    return f"{usage.component} {' and '.join(texts)}" if texts else ""


def _sentence(
    search: Search, kept: Step | None, broke: Step, first: Broken, limit: Limit | None, machine: str, lost: int
) -> str:
    at = level_text(broke.level, search.unit)
    if search.kept is None:
        begin = f"{_carries(search, None)}: even {at} is too much, as"
    else:
        begin = f"{_carries(search, level_text(search.kept, search.unit))}{_counted(search, kept)}; at {at}"
    if limit is not None and search.counted is not None:
        reason = f"it is full: its limit {limit.setting} lets {level_text(search.counted, search.unit)} of them through"
    elif limit is not None:
        value = f" ({limit.value})" if limit.value else ""
        reason = f"its limit {limit.setting}{value} refuses more; raise it to carry more"
        if search.kind.signal is None or kind_of(search.kind.signal).store.value != limit.component:
            reason = f"{limit.component.capitalize()}'s{reason[3:]}"
    elif broke.crashed:
        reason = f"{' and '.join(broke.crashed)} went down"
    elif first.measured:
        reason = f"{first.check} is broken: {first.measured}, promised {first.objective}"
    else:
        reason = f"{first.check} is broken"
    after = [f"{count_text(lost)} accepted items were lost"] if lost else []
    if limit is not None and limit.setting.endswith(_STREAMS) and search.unit != "streams":
        after.append("Streams of the steps before count as well while Loki holds them: fewer log users may carry more")
    if search.why is Why.UNTOLD and search.kept is None:
        after.append(search.detail or "at lower levels promises could not be judged")
    if machine:
        after.append(machine.partition("; ")[0] if broke.crashed else machine)
    return ". ".join([f"{begin} {reason}", *map(_capital, after)]) + "."


def _counted(search: Search, kept: Step | None) -> str:
    """How much that is as the component counts, which is also how it counts what it limits; empty if it is the same."""
    component = kind_of(search.kind.signal).store.value if search.kind.signal is not None else ""
    usage = next((one for one in kept.usage if one.component == component), None) if kept is not None else None
    if usage is None or usage.received_bytes_per_s is None or search.unit != "B/s" or search.kept is None:
        return ""
    if abs(usage.received_bytes_per_s - search.kept) <= _SAME * search.kept:
        return ""
    return f" ({bytes_text(usage.received_bytes_per_s)}/s as {component.capitalize()} counts)"


def _carries(search: Search, level: str | None) -> str:
    if search.kind is SearchKind.QUERIES:
        return f"The stack answers {level} in time" if level else "The stack does not answer in time"
    return f"{_SUBJECT[search.kind]} carries {level}" if level else f"{_SUBJECT[search.kind]} does not carry the load"


def _unbroken(search: Search, above: Step | None) -> str:
    detail = f" ({search.detail})" if search.detail else ""
    if search.why is Why.PENDING and search.kept is None:
        return f"{search.kind}: not searched{detail}."
    if search.kept is None:
        at = f" at {level_text(above.level, search.unit)}" if above is not None else ""
        names = ", ".join(one.check for one in above.untold[:3]) if above is not None else ""
        reasons = {
            Why.GENERATOR: f"the generator itself could not keep its schedule{at}",
            Why.UNTOLD: f"{names or 'promises'} could not be judged{at}",
        }
        return f"{search.kind}: nothing can be said, {reasons.get(search.why, _ENDED[search.why])}{detail}."
    carries = _carries(search, f"at least {level_text(search.kept, search.unit)}")
    if search.why is Why.GENERATOR and above is not None:
        at = level_text(above.level, search.unit)
        return f"{carries}; at {at} the generator was the limit, not the stack{detail}. Give it more cores or machines."
    if search.why is Why.UNTOLD and above is not None:
        names = ", ".join(one.check for one in above.untold[:3])
        return f"{carries}; at {level_text(above.level, search.unit)} {names} could not be judged{detail}."
    return f"{carries}; {_ENDED[search.why]}{detail}."


_ENDED = {
    Why.FOUND: "a promise broke above",
    Why.CEILING: "no promise broke up to the configured ceiling",
    Why.LOWEST: "a promise broke at the lowest level",
    Why.GENERATOR: "the generator was the limit",
    Why.UNTOLD: "steps could not be judged",
    Why.MINUTES: "the time for the search was over",
    Why.BYTES: "the next step would have written more than max_s3_bytes allows",
    Why.UNRECOVERED: "the stack did not come back to work, so it was not loaded further",
    Why.INTERRUPTED: "the search was interrupted",
    Why.PENDING: "the search did not go on from there",
}


def _measured(broken: Sequence[Broken]) -> list[str]:
    return [one.measured for one in broken if one.measured]


def _evidence(broken: Sequence[Broken]) -> list[str]:
    return [text for one in broken for text in one.evidence[:_EVIDENCE]]


def _rank(broken: Broken, order: Sequence[str]) -> int:
    return next((number for number, end in enumerate(order) if broken.check.endswith(end)), len(order))


def _last(steps: Sequence[Step], level: float | None, endings: Sequence[Ending]) -> Step | None:
    """The last step at a level that ended in one of these ways."""
    found = [step for step in steps if level is not None and step.level == level and step.ending in endings]
    return found[-1] if found else None


def _number(step: Step | None) -> int:
    return step.number if step is not None else 0


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
