"""The parts of a capacity report that tell what load costs, and what that means for the user's own load. Pure."""

from __future__ import annotations

import math

from loadgen.capacity.model import Capacity, Cost, SearchOutcome, SizedRow, Sizing, Usage
from loadgen.capacity.sections import days_text, fits, headroom_text
from loadgen.capacity.wording import (
    NONE,
    RESOURCE_TITLE,
    amount_text,
    components_of,
    number_text,
    share_text,
    short,
    size_text,
)
from loadgen.report.parts import Block, Part, Table, Text

POOR_FIT = 0.8
"""A line that explains less of what was seen is not to be relied on."""
FEW_STEPS = 3
"""A line through fewer steps fits whatever they show."""
GUESS = "≈ "


def costs(capacity: Capacity, outcome: SearchOutcome) -> Part:
    """What grows by how much with the load, and how good that line is."""
    blocks: list[Block] = []
    if outcome.costs:
        blocks.append(
            Text(
                "A straight line through the steps: what a unit of load adds, and what remains without load. It holds "
                "for the range that was measured; beyond it, it is a guess."
            )
        )
        columns = ("component", "resource", "costs", "without load", "the line explains", "measured", "steps")
        blocks.append(Table(columns, tuple(_cost(cost) for cost in outcome.costs), right=(2, 3, 6), cards=True))
    else:
        blocks.append(Text("No cost could be told: too few steps have figures of what the components used."))
    blocks += [Text(text) for text in unknown_costs(capacity, outcome)]
    return Part("costs", "What it costs", tuple(blocks))


def _cost(cost: Cost) -> tuple[str, ...]:
    each = amount_text(cost.resource, cost.per_unit)
    return (
        short(cost.component, 40),
        RESOURCE_TITLE.get(cost.resource, short(cost.resource, 40)),
        each if each == NONE else f"{each} per {_unit(cost.unit)}",
        amount_text(cost.resource, cost.idle),
        fit_text(cost),
        _range(cost),
        str(cost.steps),
    )


def _unit(unit: str) -> str:
    """Queries are a rate, like bytes; series and streams are there all the time."""
    return f"{short(unit, 40)}/s" if unit.endswith(" queries") else short(unit, 40)


def _range(cost: Cost) -> str:
    """The loads that were measured, counted one by one where the unit is a thousand of something."""
    factor, name = (1000, cost.unit.removeprefix("1,000 ")) if cost.unit.startswith("1,000 ") else (1, cost.unit)
    name = f"{name}/s" if name == "queries" else name
    return f"{number_text(cost.low * factor)} to {number_text(cost.high * factor)} {short(name, 40)}"


def fit_text(cost: Cost) -> str:
    """How far a line can be trusted, in words."""
    if cost.steps < FEW_STEPS:
        return f"not told: a line fits any {cost.steps} steps"
    if not math.isfinite(cost.fit):
        return "not told"
    if cost.per_unit == 0:
        return (
            "not told: it was the same in all steps" if cost.fit == 1 else "none seen: it did not rise with this load"
        )
    told = share_text(max(0.0, cost.fit))
    return f"{told} – poor, do not rely on it" if cost.fit < POOR_FIT else told


def _has_figures(usage: Usage) -> bool:
    return any(getattr(usage, resource) is not None for resource in RESOURCE_TITLE)


def unknown_costs(capacity: Capacity, outcome: SearchOutcome) -> list[str]:
    """The components without a cost, and why."""
    priced = {cost.component for cost in outcome.costs}
    seen = {usage.component for step in capacity.steps for usage in step.usage if _has_figures(usage)}
    loaded = {usage.component for step in capacity.steps for usage in step.usage}
    texts = []
    for name in components_of(capacity):
        if name in priced or not capacity.steps:
            continue
        if name not in loaded:
            texts.append(f"{short(name, 40)}: not loaded in this search.")
        elif name in seen:
            texts.append(f"{short(name, 40)}: what it used was read, but in too few steps, or too evenly, for a line.")
        else:
            texts.append(
                f"{short(name, 40)}: cost unknown, because its figures could not be read. Let loadgen reach its "
                "/metrics (the address in the target), or a Prometheus that scrapes it through Grafana."
            )
    return texts


# -- sizing --------------------------------------------------------------------------------------------------------


def sizing(capacity: Capacity, outcome: SearchOutcome) -> Part:
    """The user's own load, what it will need, and what is not known."""
    told = outcome.sizing
    blocks: list[Block] = []
    if told.own:
        columns = ("your own load", "plain bytes", "lines, samples or spans", "active series", "known from")
        rows = tuple(
            (
                one.signal,
                size_text(one.bytes_per_s, "/s"),
                f"{number_text(one.items_per_s)}/s" if one.items_per_s is not None else NONE,
                number_text(one.series),
                short(one.source),
            )
            for one in told.own
        )
        blocks.append(Table(columns, rows, right=(1, 2, 3), cards=True))
    else:
        blocks.append(
            Text(
                "Your own load is not known, so nothing can be sized for it. Give it in the profile ([capacity.own]), "
                "or a target with a Prometheus that scrapes the stack."
            )
        )
    blocks += _sized(capacity, told)
    blocks += _stored(told)
    if told.advice:
        columns = ("component", "limit", "for your own load", "for all that it carries", "today")
        rows = tuple(
            (
                short(one.component, 40),
                short(one.setting, 80),
                short(one.for_own, 80) or NONE,
                short(one.for_kept, 80) or NONE,
                short(one.today, 80) or "not told",
            )
            for one in told.advice
        )
        blocks.append(Text("The smallest limits that keep every promise:"))
        blocks.append(Table(columns, rows, cards=True))
    if told.notes:
        blocks.append(Table(("what is missing, and how to get it",), tuple((short(note, 480),) for note in told.notes)))
    return Part("sizing", "What your own load needs", tuple(blocks))


def _sized(capacity: Capacity, told: Sizing) -> list[Block]:
    if not told.rows:
        return [Text("Nothing could be sized.")] if told.own else []
    return [
        Text("At 1, 2 and 5 times that load:"),
        sized_table(capacity, told),
        *(Text(text) for text in _footnotes(told)),
    ]


def sized_table(capacity: Capacity, told: Sizing) -> Table:
    """Each signal at 1, 2 and 5 times the user's own load."""
    kept = f"kept for {days_text(told.retention_days)}" if told.retention_days else "kept in all"
    bucket = f"bucket of {size_text(told.bucket_bytes)} full in" if told.bucket_bytes else "bucket full in"
    columns = ("signal", "at", "load", "headroom", "memory", "CPU", "S3 a day", kept, bucket)
    return Table(
        columns,
        tuple(_sized_row(capacity, row, told) for row in told.rows),
        right=tuple(range(1, len(columns))),
        cards=True,
    )


def _sized_row(capacity: Capacity, row: SizedRow, told: Sizing) -> tuple[str, ...]:
    mark = GUESS if row.guess else ""
    memory, cores = amount_text("memory_bytes", row.memory_bytes), amount_text("cores", row.cores)
    return (
        row.signal,
        f"{number_text(row.times)}×",
        size_text(row.load_bytes_per_s, "/s"),
        headroom_text(capacity, row),
        memory if memory == NONE else mark + memory,
        cores if cores == NONE else mark + cores,
        size_text(row.s3_bytes_per_day),
        size_text(row.s3_bytes_kept),
        _full(row, told),
    )


def _full(row: SizedRow, told: Sizing) -> str:
    """Retention may keep a bucket from ever being full; that is another thing than not knowing."""
    if row.days_until_full is not None:
        return days_text(row.days_until_full)
    return "never" if fits(row, told) else NONE


def _footnotes(told: Sizing) -> list[str]:
    texts = [
        "Headroom: how many times this load loadgen sent with every promise kept. Below 1×, so much was not kept, or "
        "not tried."
    ]
    if any(row.guess for row in told.rows):
        texts.append("≈ lies beyond what was measured, so it is a guess: the line is drawn on, nothing more.")
    if any(_full(row, told) == "never" for row in told.rows):
        texts.append("Never: what retention keeps fits into the bucket.")
    if not told.bucket_bytes:
        texts.append("When a bucket is full is told once its size is given (capacity.bucket_size).")
    return texts


def _stored(told: Sizing) -> list[Block]:
    if not told.stored:
        return [Text("How much of a plain byte ends up in S3 was not measured, so its growth is not known.")]
    columns = ("signal", "plain bytes accepted", "in S3", "per plain byte", "seen in S3", "of it compacted", "note")
    rows = tuple(
        (
            one.signal,
            size_text(one.plain_bytes),
            size_text(one.stored_bytes),
            number_text(one.ratio),
            share_text(one.covered_share),
            share_text(one.compacted_share),
            short(one.note) or NONE,
        )
        for one in told.stored
    )
    return [Text("What becomes of a plain byte in S3:"), Table(columns, rows, right=(1, 2, 3, 4, 5), cards=True)]
