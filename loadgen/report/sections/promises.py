"""The promises and whether they were kept; first of all, because it is what the reader came for."""

from __future__ import annotations

from collections.abc import Sequence

from loadgen.model import Result, Verdict
from loadgen.report.parts import Block, Facts, Part, Promises, Text

ORDER = (Result.FAIL, Result.UNKNOWN, Result.PASS, Result.SKIPPED)


def section(facts: Facts) -> Part:
    """All verdicts, what needs attention first."""
    blocks: list[Block] = [Text(text) for text in what_it_ran_against(facts)]
    blocks.append(Promises(in_order(facts.verdicts)))
    return Part("promises", "Promises", tuple(blocks))


def in_order(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """What needs attention first."""
    return tuple(sorted(verdicts, key=lambda verdict: ORDER.index(verdict.result)))


def what_it_ran_against(facts: Facts) -> list[str]:
    """What every verdict must be read with: which servers these were, and how they were read."""
    info = facts.history.info
    texts = []
    by_engine: dict[str, list[str]] = {}
    for component, engine in info.engines.items():
        by_engine.setdefault(engine, []).append(component.capitalize() if component != "s3" else "S3")
    meanings = {
        "embedded": "small servers of loadgen's own, not the real ones: these verdicts show that the whole way "
        "from sending "
        "to judging works, and say nothing about the capacity of a real stack",
        "native": "the real programs, started on this machine by loadgen",
        "compose": "the real programs, started in containers by loadgen",
        "deployed": "a stack that was there already",
        "seaweedfs": "a real S3 server, started on this machine by loadgen",
    }
    for engine, components in by_engine.items():
        meaning = meanings.get(engine.partition(",")[0])
        texts.append(f"{_and(components)}: {engine}" + (f" – {meaning}." if meaning else "."))
    if facts.case.direct:
        texts.append("Everything was read directly from the components, not through Grafana.")
    if info.interrupted:
        texts.append("The run was interrupted; what had been measured until then is judged.")
    if facts.history.damaged:
        names = ", ".join(facts.history.damaged[:5])
        texts.append(f"Files of this run are damaged and were left out: {names}. What depends on them cannot pass.")
    return texts


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
