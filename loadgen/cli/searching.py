"""A search of capacity from end to end: its kinds, a dry run, and the exit code."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadgen.capacity.knee import level_text
from loadgen.capacity.levels import planned_bytes, profile_at, range_of
from loadgen.capacity.model import Capacity, SearchKind, Why
from loadgen.capacity.report import print_capacity
from loadgen.capacity.search import halvings, planned
from loadgen.capacity.session import Crashed, Session, conclude, new_capacity
from loadgen.capacity.store import create, load, save
from loadgen.cli.display import TerminalDisplay, run_console
from loadgen.config import ConfigError, Profile, load_profile, parse_profile
from loadgen.run.defaults import LAB
from loadgen.run.interrupt import Stop
from loadgen.run.locate import find_profile, resolve_target
from loadgen.units import bytes_text, duration_text

ANSWERED, BROKEN, UNTOLD = 0, 1, 2
_ORDER = (SearchKind.LOGS, SearchKind.TRACES, SearchKind.QUERIES, SearchKind.METRICS, SearchKind.ALL)
_READ_BACK = 1.0
"""How long a step takes beyond its load, as a share of it; a guess for the dry run."""


def search_capacity(
    signal: Sequence[str] | None,
    profile: str,
    target: str,
    out: Path | None,
    resume: Path | None,
    dry_run: bool,
    overrides: dict[str, object],
) -> None:
    """What `loadgen capacity` does; the arguments are its options."""
    console = run_console()
    known = load(resume) if resume is not None else None
    if known is None:
        chosen = load_profile(find_profile(profile), overrides)
    else:
        chosen = _resumed(known, overrides, str(resume))
    kinds = _kinds(signal, chosen)
    chosen = _asked(chosen, kinds, known)
    if dry_run:
        _show_plan(console, chosen, kinds)
        return
    where, source = resolve_target(target or (known.target_source if known is not None else ""))
    capacity = known or new_capacity(chosen, where, source)
    capacity = replace(capacity, profile=chosen.model_dump(mode="json"))
    folder = resume or out or Path("reports") / f"capacity-{capacity.name}"
    with TerminalDisplay(console) as display, Stop().installed() as stop, _watched(source) as crashed:
        session = Session(chosen, where, source, folder, capacity.name, display, stop, crashed)
        session.ask_first()
        if known is None:
            capacity = session.measure_own(capacity)
            create(folder, capacity)
        capacity = session.search(capacity, kinds)
        capacity = session.watch_stored(capacity)
        capacity = replace(capacity, ended_ns=time.time_ns())
        save(folder, capacity)
        display.phase("report")
    report_search(console, folder, capacity)


def report_search(console: Console, folder: Path, capacity: Capacity) -> NoReturn:
    """Write the report of a search as it stands, print it, and exit with its code."""
    found = conclude(folder, capacity)
    print_capacity(console, found.capacity, found.outcome)
    for path in found.files:
        if path.suffix == ".html":
            console.print(Text.assemble("report: ", (str(path), "bold")))
    if any(search.why in _CUT for search in capacity.searches):
        console.print(Text(f"to go on: loadgen capacity --resume {folder}"))
    sys.stdout.flush()
    raise typer.Exit(exit_code(capacity))


_CUT = frozenset((Why.INTERRUPTED, Why.MINUTES, Why.BYTES, Why.UNRECOVERED, Why.PENDING))


def exit_code(capacity: Capacity) -> int:
    """What a script is told; see the command's own help."""
    whys = {search.why for search in capacity.searches}
    if whys & {Why.LOWEST, Why.UNRECOVERED} or any(step.crashed for step in capacity.steps):
        return BROKEN
    return ANSWERED if whys and whys <= {Why.FOUND, Why.CEILING} else UNTOLD


@contextlib.contextmanager
def _watched(source: str) -> Iterator[Crashed]:
    """In the lab, parts that crash are started again, as a cluster does with containers."""
    if source != LAB:
        yield tuple
        return
    from loadgen.lab.processes.keeper import LabKeeper
    from loadgen.lab.target import open_lab

    with LabKeeper(open_lab()).open() as keeper:
        yield keeper.crashed


def _resumed(known: Capacity, overrides: dict[str, object], where: str) -> Profile:
    stored = parse_profile(known.profile, where)
    raw = stored.model_dump(mode="json")
    for name, value in overrides.items():
        section, _, key = name.partition(".")
        if section != "capacity" and name != "verify.flush":
            raise ConfigError(f"--resume: {name} cannot change in the middle of a search; begin a new one")
        raw[section][key] = value
    return parse_profile(raw, where)


def _kinds(signals: Sequence[str] | None, profile: Profile) -> tuple[SearchKind, ...]:
    names = tuple(signals or ()) or tuple(profile.capacity.kinds)
    wrong = [name for name in names if name not in set(SearchKind)]
    if wrong:
        raise ConfigError(f"--signal {wrong[0]}: not known; there are {', '.join(SearchKind)}")
    # A search of series may leave a server full, which then refuses the new series of other searches: it comes late.
    kinds = tuple(kind for kind in _ORDER if kind in names)
    if signals is None:
        # What the profile does not send is left out unless it was asked for by name.
        kinds = tuple(kind for kind in kinds if kind.signal is None or profile.users(kind.signal))
    for kind in kinds:
        range_of(profile, kind)
    return kinds


def _asked(profile: Profile, kinds: Sequence[SearchKind], known: Capacity | None) -> Profile:
    """The profile with the kinds that were asked for, now or before: a resumed search goes on with these alone."""
    before = profile.capacity.kinds if known is not None else ()
    asked = tuple(kind.value for kind in _ORDER if kind in kinds or kind.value in before)
    return profile.model_copy(update={"capacity": profile.capacity.model_copy(update={"kinds": asked})})


def _show_plan(console: Console, profile: Profile, kinds: Sequence[SearchKind]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("search", "step"):
        table.add_column(name, no_wrap=True)
    for name in ("plain bytes", "all so far", "time so far, about"):
        table.add_column(name, justify="right", no_wrap=True)
    total, spent_s = 0.0, 0.0
    for kind in kinds:
        where = range_of(profile, kind)
        for level in planned(where):
            step = profile_at(profile, kind, level)
            size = planned_bytes(step)
            total += size
            spent_s += step.run.duration * (1 + _READ_BACK)
            table.add_row(
                str(kind), level_text(level, where.unit), bytes_text(size), bytes_text(total), duration_text(spent_s)
            )
    console.print(table)
    limits = profile.capacity
    console.print(
        f"This is the whole way to the ceilings, if nothing breaks. A search ends earlier where a promise breaks, and "
        f"then makes up to {halvings(range_of(profile, kinds[0]))} steps more between the last two. Steps that would "
        f"send more than max_s3_bytes = {bytes_text(limits.max_s3_bytes)} in all, or end after max_minutes = "
        f"{limits.max_minutes:g}, are not made."
    )
    if total > limits.max_s3_bytes:
        console.print(f"The ceilings are beyond max_s3_bytes ({bytes_text(total)}).", style="yellow")
