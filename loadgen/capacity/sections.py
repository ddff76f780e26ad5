"""The parts of a capacity report: what is carried, each search, costs, sizing, steps, what ran."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from loadgen.capacity.charts import flow_of, search_chart, signals_of
from loadgen.capacity.model import (
    Broken,
    Capacity,
    Ending,
    Knee,
    Refusal,
    Search,
    SearchKind,
    SearchOutcome,
    SizedRow,
    Sizing,
    Step,
)
from loadgen.capacity.wording import (
    ENDING_SIGN,
    ENDING_WORD,
    KIND_TITLE,
    NONE,
    amount_text,
    badge,
    breaks_text,
    carries_text,
    components_of,
    end_text,
    level_text,
    limit_text,
    number_text,
    share_text,
    short,
    size_text,
    time_text,
    used,
    worst,
)
from loadgen.kinds import kind_of
from loadgen.model import NS, status_text
from loadgen.model import Outcome as Pushed
from loadgen.report.parts import Block, Cell, Link, Part, Table, Text
from loadgen.report.sections.what_ran import flat
from loadgen.report.when import moment_text
from loadgen.units import bytes_text, duration_text

MOST_ROWS = 12
"""A table with more is folded."""
_URL = re.compile(r"^(?:https?|grpcs?)://\S+: ")


# -- what it carries -----------------------------------------------------------------------------------------------


def carried(capacity: Capacity, outcome: SearchOutcome) -> Part:
    """One row a search: how far it got, what broke first and why."""
    title = "What it carries"
    if not capacity.searches:
        return Part("carries", title, (Text("No search was made, so nothing is known of what the stack carries."),))
    blocks: list[Block] = [Text(text) for text in (*own_texts(capacity, outcome), *embedded_texts(capacity))]
    blocks.append(carried_table(capacity, outcome))
    return Part("carries", title, tuple(blocks))


def carried_table(capacity: Capacity, outcome: SearchOutcome) -> Table:
    """The summary of all searches."""
    columns = (
        "load",
        "carries",
        "breaks at",
        "first promise broken",
        "limit, or what ran out",
        "lost",
        "how the search ended",
    )
    rows = []
    for search in capacity.searches:
        knee, steps = knee_of(outcome, search.kind), capacity.of(search.kind)
        _, sign, word = badge(search, steps)
        rows.append(
            (
                KIND_TITLE[search.kind],
                carries_text(search),
                breaks_text(search, steps),
                _first(knee),
                _cause(knee),
                _lost_where_it_broke(knee, steps),
                f"{sign} {word}: {end_text(search, steps)}",
            )
        )
    return Table(columns, tuple(rows), cards=True)


def own_texts(capacity: Capacity, outcome: SearchOutcome) -> list[str]:
    """What it all means for the user's own load of today, a sentence a signal."""
    texts = []
    for row in outcome.sizing.rows:
        if row.times != 1 or not row.load_bytes_per_s:
            continue
        text = f"Your own {row.signal}: {size_text(row.load_bytes_per_s, '/s')}"
        if row.headroom is not None:
            text += f"; loadgen sent {headroom_text(capacity, row)} that with every promise kept"
        if row.s3_bytes_per_day is not None:
            text += f"; {size_text(row.s3_bytes_per_day)} a day go to S3"
        if row.days_until_full is not None:
            text += f", and its bucket is full in {days_text(row.days_until_full)}"
        elif fits(row, outcome.sizing):
            text += f", and the {size_text(row.s3_bytes_kept)} that are kept of it fit into its bucket"
        texts.append(f"{text}.")
    return texts


def embedded_texts(capacity: Capacity) -> list[str]:
    """What figures of embedded servers must be read with; nothing where none are."""
    names = [short(name.capitalize(), 40) for name, engine in capacity.engines.items() if engine.startswith("embedded")]
    if not names:
        return []
    return [
        f"{', '.join(names)}: small servers of loadgen's own, not the real ones. Their figures show that the search "
        "works, and say nothing of what a real stack carries."
    ]


def headroom_text(capacity: Capacity, row: SizedRow) -> str:
    """How many times a load was kept; where no search of it came to its end, that is the least of it."""
    if row.headroom is None:
        return NONE
    ends = [breaks_text(one, capacity.of(one.kind)) for one in capacity.searches if one.kind.value == row.signal]
    return (
        f"{number_text(row.headroom, 2)}×" if any(end != NONE for end in ends) else f"≥ {number_text(row.headroom, 2)}×"
    )


def fits(row: SizedRow, sizing: Sizing) -> bool:
    """Whether all that is kept fits into the bucket, so that it is never full."""
    if row.s3_bytes_kept is None or not sizing.bucket_bytes or not sizing.retention_days:
        return False
    return row.s3_bytes_kept <= sizing.bucket_bytes


def knee_of(outcome: SearchOutcome, kind: SearchKind) -> Knee | None:
    """What is known of where a search broke."""
    return next((knee for knee in outcome.knees if knee.kind is kind), None)


def _first(knee: Knee | None) -> str:
    """In a cell there is no room for the URL that a message begins with; below it is told in full."""
    said = [_URL.sub("", text) for text in knee.said[:1]] if knee is not None else []
    texts = [knee.promise.rstrip("."), *said] if knee is not None and knee.promise else []
    return " – ".join(short(text, 120) for text in texts) or NONE


def _lost_where_it_broke(knee: Knee | None, steps: Sequence[Step]) -> str:
    """Nothing was lost only where all of it could be looked at."""
    if knee is not None and knee.lost_items:
        return f"{knee.lost_items:,} items"
    broke = next((step for step in steps if knee is not None and step.number == knee.broke_step), None)
    if broke is None or broke.ending is not Ending.BROKEN:
        return NONE
    return "not told" if not broke.flows or any(flow.lost_items is None for flow in broke.flows) else "nothing"


def _cause(knee: Knee | None) -> str:
    if knee is None:
        return NONE
    if knee.limit is not None:
        return limit_text(knee.limit)
    if knee.machine:
        return short(knee.machine, 120)
    return "not known" if knee.promise else NONE


# -- a search ------------------------------------------------------------------------------------------------------


def searched(capacity: Capacity, outcome: SearchOutcome, search: Search) -> Part:
    """The hockey stick of one search, its numbers, and all that was said where it broke."""
    name, title = f"load-{search.kind}", KIND_TITLE[search.kind]
    steps = capacity.of(search.kind)
    end = f"The search: {end_text(search, steps)}."
    if not steps:
        return Part(name, title, (Text(end), Text("No step was run, so there is nothing to show.")))
    knee = knee_of(outcome, search.kind)
    blocks: list[Block] = [Text(short(knee.sentence, 480)) if knee and knee.sentence else Text(end)]
    if knee and knee.sentence:
        blocks.append(Text(end))
    blocks += [
        Text(f"Step {step.number}, {level_text(step.level, search.unit)}: {_crash(step)}.", strong=True)
        for step in steps
        if step.crashed
    ]
    chart = search_chart(capacity, search)
    blocks.append(chart or Text("No step has a figure that could be drawn."))
    blocks.append(_numbers(capacity, search, steps))
    if knee is not None:
        blocks += _knee_blocks(search, knee, steps)
    return Part(name, title, tuple(blocks))


def _knee_blocks(search: Search, knee: Knee, steps: Sequence[Step]) -> list[Block]:
    blocks: list[Block] = []
    broke = next((step for step in steps if step.number == knee.broke_step), None)
    if broke is not None and broke.broken:
        rows = tuple(_promise(broken) for broken in broke.broken)
        blocks.append(Text(f"Broken at {level_text(broke.level, search.unit)} (step {broke.number}):"))
        blocks.append(Table(("promise", "promised", "measured", "what to do"), rows, cards=True))
    if knee.said:
        blocks.append(Table(("what the component said or showed",), tuple((short(text, 480),) for text in knee.said)))
    kept = next((step for step in steps if step.number == knee.kept_step), None)
    if kept is not None and kept.untold:
        names = ", ".join(short(untold.check, 60) for untold in kept.untold)
        blocks.append(
            Text(f"At the highest level that was kept (step {kept.number}) it could not be told of: {names}.")
        )
    return blocks


def _promise(broken: Broken) -> tuple[str, ...]:
    name = f"{short(broken.check, 60)}: {short(broken.promise)}" if broken.promise else short(broken.check, 60)
    measured = short(broken.measured or next(iter(broken.evidence), "")) or NONE
    return name, short(broken.objective) or NONE, measured, short(broken.remedy) or NONE


def _numbers(capacity: Capacity, search: Search, steps: Sequence[Step]) -> Table:
    """What the chart shows, in its order."""
    signals = signals_of(search.kind, steps)
    components = [
        name
        for name in components_of(capacity)
        if any(used(step, name, field) is not None for step in steps for field in ("cores", "memory_bytes"))
    ]
    columns = ["load", "step"]
    for signal in signals:
        prefix = f"{signal} " if len(signals) > 1 else ""
        columns += [f"{prefix}{what}" for what in ("push p99", "query p99", "fresh p99", "not accepted", "lost")]
    columns += [f"{short(name, 40)} {what}" for name in components for what in ("cores", "memory")]
    rows = []
    for step in sorted(steps, key=lambda one: one.level):
        cells = [level_text(step.level, search.unit), f"{ENDING_SIGN[step.ending]} {step.number}"]
        for signal in signals:
            flow = flow_of(step, signal)
            if flow is None:
                cells += [NONE] * 5
                continue
            cells += [time_text(value) for value in (flow.push_p99_s, flow.query_p99_s, flow.freshness_p99_s)]
            cells += [share_text(flow.not_accepted_share), _lost(flow.lost_items)]
        for name in components:
            cells.append(amount_text("cores", used(step, name, "cores")).removesuffix(" cores"))
            cells.append(amount_text("memory_bytes", used(step, name, "memory_bytes")))
        rows.append(tuple(cells))
    return Table(tuple(columns), tuple(rows), right=tuple(range(len(columns))), folded="the numbers of the chart")


# -- steps ---------------------------------------------------------------------------------------------------------


def all_steps(capacity: Capacity, folder: Path | None = None) -> Part:
    """Every step in the order in which they were run, with a link to the report of its run; see `parts_of`."""
    if not capacity.steps:
        return Part("steps", "Steps", (Text("No step was run."),))
    units = {search.kind: search.unit for search in capacity.searches}
    columns = (
        "step", "load", "level", "ended", "what broke, or is to note", "planned", "accepted", "not accepted", "lost",
        "push p99", "query p99", "fresh p99", "queries/s", "cores", "memory", "lasted",
    )  # fmt: skip
    rows = tuple(_step(step, units.get(step.kind, ""), folder) for step in capacity.steps)
    sent = bytes_text(sum(step.plain_bytes for step in capacity.steps))
    many = len(rows) > MOST_ROWS
    behind = ", with a report behind its number" if any(isinstance(row[0], Link) for row in rows) else ""
    steps = f"{len(rows)} step{'s' if len(rows) > 1 else ''}"
    lead = (
        f"{steps}, {sent} of plain bytes sent. Each is a run of its own{behind}. "
        "Of several signals and components: their sums, and the slowest."
    )
    table = Table(columns, rows, right=(5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), folded="all steps" if many else "")
    return Part("steps", "Steps", (Text(lead), table))


def _step(step: Step, unit: str, folder: Path | None) -> tuple[Cell, ...]:
    signals = signals_of(step.kind, (step,))
    flows = [flow for flow in step.flows if flow.signal in signals]
    lost = [flow.lost_items for flow in flows]
    cores = worst([used(step, name, "cores") for name in _loaded(step)], sum)
    memory = worst([used(step, name, "memory_bytes") for name in _loaded(step)], sum)
    number: Cell = str(step.number)
    page = f"{step.folder.strip('/')}/report.html"
    if step.folder and ".." not in step.folder and (folder is None or (folder / page).is_file()):
        number = Link(str(step.number), page)
    return (
        number,
        KIND_TITLE[step.kind],
        level_text(step.level, unit),
        f"{ENDING_SIGN[step.ending]} {ENDING_WORD[step.ending]}",
        "; ".join(what_broke(step)) or NONE,
        size_text(sum(flow.planned_bytes_per_s for flow in flows), "/s") if flows else NONE,
        size_text(sum(flow.accepted_bytes_per_s for flow in flows), "/s") if flows else NONE,
        share_text(worst([flow.not_accepted_share for flow in flows])),
        _lost(sum(one for one in lost if one is not None) if any(one is not None for one in lost) else None),
        time_text(worst([flow.push_p99_s for flow in flows])),
        time_text(worst([flow.query_p99_s for flow in flows])),
        time_text(worst([flow.freshness_p99_s for flow in flows])),
        number_text(step.queries_per_s) if step.queries_per_s else NONE,
        amount_text("cores", cores).removesuffix(" cores"),
        amount_text("memory_bytes", memory),
        time_text(step.took_s),
    )


def _loaded(step: Step) -> Iterable[str]:
    """The components whose use belongs to what was raised."""
    signal = step.kind.signal
    return (kind_of(signal).store.value,) if signal is not None else sorted({usage.component for usage in step.usage})


def what_broke(step: Step) -> list[str]:
    """All that is to say of how a step ended, shortened."""
    texts = [f"{_crash(step)}"] if step.crashed else []
    texts += [f"{short(one.check, 60)}: {short(one.measured, 80) or 'broken'}" for one in step.broken[:4]]
    if len(step.broken) > 4:
        texts.append(f"and {len(step.broken) - 4} more promises")
    if step.ending is Ending.UNTOLD:
        texts += [f"not told: {short(one.check, 60)}" for one in step.untold[:4]]
    texts += [_refused(refusal) for refusal in step.refusals[:2]]
    return [*texts, short(step.note)] if step.note else texts


def _refused(refusal: Refusal) -> str:
    status = f" with {status_text(refusal.status)}" if refusal.status else ""
    # A push may be taken when it is sent again, or the component may count alone what it leaves out.
    how = "taken only when sent again" if refusal.outcome == Pushed.ACCEPTED else short(refusal.outcome, 20) + status
    what = f"{refusal.pushes:,} pushes {how}" if refusal.pushes else how
    why = limit_text(refusal.limit) if refusal.limit is not None else short(refusal.message, 120)
    return f"{what}: {why}" if why else what


def _crash(step: Step) -> str:
    return " and ".join(short(name, 40) for name in step.crashed) + " went down under the load"


def _lost(items: int | None) -> str:
    return NONE if items is None else f"{items:,}"


def days_text(days: float | None) -> str:
    """Days as one plans with them; what lies decades ahead is not told exactly."""
    if days is None or days != days:
        return NONE
    if days > 3650:
        return "more than 10 years"
    if days > 730:
        return f"{days / 365:.1f} years"
    return f"{number_text(days, 2)} days"


# -- what ran ------------------------------------------------------------------------------------------------------


def what_ran(capacity: Capacity) -> Part:
    """When, against what, with which settings."""
    rows: list[tuple[str, str]] = [
        ("search", short(capacity.name)),
        ("began", moment_text(capacity.began_ns)),
        ("ended", _ended(capacity)),
        ("target", short(str(capacity.target_source)) or NONE),
        ("loadgen", short(capacity.version) or NONE),
    ]
    rows += [(short(name, 40), short(engine)) for name, engine in capacity.engines.items()]
    blocks: list[Block] = [Table(("what", "value"), tuple(rows))]
    if capacity.notes:
        blocks.append(Table(("notes",), tuple((short(note, 480),) for note in capacity.notes)))
    section = capacity.profile.get("capacity")
    settings = _settings(_readable(section)) if isinstance(section, dict) else ()
    if settings:
        blocks.append(Table(("[capacity]", "value"), settings))
    others = {name: value for name, value in capacity.profile.items() if name != "capacity"}
    for values, name in ((others, "the rest of the profile"), (capacity.target, "target, without secrets")):
        if settings := _settings(values):
            blocks.append(Table(("setting", "value"), settings, folded=name))
    return Part("what-ran", "What ran", tuple(blocks))


_SIZES = {"max_rate": "/s", "max_s3_bytes": "", "bucket_size": ""}
_TIMES = ("recover_within", "s3_wait", "retention")


def _readable(section: dict[str, object]) -> dict[str, object]:
    """The settings as a person would write them."""
    told = dict(section)
    for name, value in section.items():
        if isinstance(value, (list, tuple)):
            told[name] = ", ".join(map(str, value))
        elif isinstance(value, (int, float)) and name in _SIZES:
            told[name] = size_text(value, _SIZES[name])
        elif isinstance(value, (int, float)) and name in _TIMES:
            told[name] = time_text(value)
        elif isinstance(value, float):
            told[name] = number_text(value)
    return told


def _settings(values: dict[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((short(name, 80), short(value)) for name, value in flat(values))


def _ended(capacity: Capacity) -> str:
    if not capacity.ended_ns:
        return "it goes on, or was cut off"
    lasted = duration_text(max(0, capacity.ended_ns - capacity.began_ns) / NS)
    return f"{moment_text(capacity.ended_ns)}, after {lasted}"
