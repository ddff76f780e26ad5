"""The report of a capacity search: ``capacity.html``, ``capacity.md``, ``sizing.json``, and the terminal."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text as Styled

from loadgen.capacity.model import FORMAT, Capacity, SearchOutcome
from loadgen.capacity.prices import costs, sized_table, sizing
from loadgen.capacity.sections import all_steps, carried, carried_table, embedded_texts, own_texts, searched, what_ran
from loadgen.capacity.wording import overall, sentences, short
from loadgen.report import write_files
from loadgen.report.html import page
from loadgen.report.markdown import summary
from loadgen.report.parts import Cell, Link, Part, Sentence, Table, Text

# Narrower terminals get a list of the searches instead of their table.
WIDE = 120
_STYLE = {"pass": "green", "fail": "bold red", "unknown": "yellow", "skipped": "bold", "": ""}


@dataclass(frozen=True, slots=True)
class CapacityHead:
    """What stands above a capacity report; see `Heading`."""

    name: str
    began_ns: int
    version: str
    overall: Sentence
    sentences: tuple[Sentence, ...]
    what: str = "capacity search"
    note: str = "The charts are in capacity.html."


def write_capacity(folder: Path, capacity: Capacity, outcome: SearchOutcome) -> tuple[Path, ...]:
    """Write ``capacity.html``, ``capacity.md`` and ``sizing.json`` into the search's folder.

    A search that goes on, or found nothing, has a report too. RunDirError when the files cannot be written.
    """
    head, parts = head_of(capacity, outcome), parts_of(capacity, outcome, folder)
    files = {
        "capacity.html": page(head, parts).encode("utf-8", "replace"),
        "capacity.md": summary(head, parts).encode("utf-8", "replace"),
        "sizing.json": sizing_json(capacity, outcome),
    }
    return write_files(folder, files)


def head_of(capacity: Capacity, outcome: SearchOutcome) -> CapacityHead:
    """The first sentences, each with a badge that says how far it can be trusted."""
    first = sentences(capacity, outcome.headline, outcome.knees)
    return CapacityHead(
        short(capacity.name, 120), capacity.began_ns, short(capacity.version, 40), overall(capacity, first), first
    )


def parts_of(capacity: Capacity, outcome: SearchOutcome, folder: Path | None = None) -> tuple[Part, ...]:
    """All sections, in the order in which a person asks.

    With the folder of the search, only steps whose report is there are links: the page may be kept without them.
    """
    makers: list[tuple[str, Callable[[], Part]]] = [
        ("carries", partial(carried, capacity, outcome)),
        *((f"load-{search.kind}", partial(searched, capacity, outcome, search)) for search in capacity.searches),
        ("costs", partial(costs, capacity, outcome)),
        ("sizing", partial(sizing, capacity, outcome)),
        ("steps", partial(all_steps, capacity, folder)),
        ("what-ran", partial(what_ran, capacity)),
    ]
    return tuple(_made(name, make) for name, make in makers)


def _made(name: str, make: Callable[[], Part]) -> Part:
    try:
        return make()
    except Exception as problem:  # noqa: BLE001 - one section that cannot be made must not cost the others
        # What is stored may have been edited by hand.
        text = f"This section could not be made: {type(problem).__name__}: {short(str(problem))}"
        return Part(name, name, (Text(text, strong=True),))


# -- for other programs --------------------------------------------------------------------------------------------


def sizing_json(capacity: Capacity, outcome: SearchOutcome) -> bytes:
    """What follows from the search, with stable names; null for what is not known, units as in the model."""
    first = sentences(capacity, outcome.headline, outcome.knees)
    sized = dataclasses.asdict(outcome.sizing)
    for stored, raw in zip(outcome.sizing.stored, sized["stored"], strict=True):
        raw["stored_bytes_per_plain_byte"] = stored.ratio
    content = {
        "format": FORMAT,
        "name": capacity.name,
        "began_ns": capacity.began_ns,
        "ended_ns": capacity.ended_ns,
        "version": capacity.version,
        "engines": dict(capacity.engines),
        "outcome": overall(capacity, first).word,
        "headline": list(outcome.headline),
        "searches": [dataclasses.asdict(search) for search in capacity.searches],
        "knees": [dataclasses.asdict(knee) for knee in outcome.knees],
        "costs": [dataclasses.asdict(cost) for cost in outcome.costs],
        "sizing": sized,
    }
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace") + b"\n"


def _finite(value: Any) -> Any:
    """The same without what JSON has no number for."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# -- the terminal --------------------------------------------------------------------------------------------------


def print_capacity(console: Console, capacity: Capacity, outcome: SearchOutcome) -> None:
    """The searches, the sizing, what is missing, then the first sentences, so that they stand last and are seen.

    Text from outside is never read as markup, and cannot steer the terminal.
    """
    if capacity.searches:
        table = carried_table(capacity, outcome)
        if console.width >= WIDE:
            console.print(_grid(table))
        else:
            for row in table.rows:
                _item(console, table, row)
    if outcome.sizing.rows:
        console.print(_grid(sized_table(capacity, outcome.sizing), () if console.width >= WIDE else (0, 1, 3, 4, 8)))
        if any(row.guess for row in outcome.sizing.rows):
            console.print(Styled("≈ beyond what was measured: a guess", "dim"))
    for text in (
        *own_texts(capacity, outcome),
        *embedded_texts(capacity),
        *(short(note, 480) for note in capacity.notes),
    ):
        console.print(Styled(text))
    for one in sentences(capacity, outcome.headline, outcome.knees):
        badge = Styled(f"{one.sign} {one.word}  " if one.word else "", _STYLE[one.tone])
        console.print(Styled.assemble(badge, one.text))


def _grid(table: Table, only: tuple[int, ...] = ()) -> Grid:
    columns = only or tuple(range(len(table.columns)))
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        right = column in table.right
        grid.add_column(Styled(table.columns[column]), justify="right" if right else "left", no_wrap=right)
    for row in table.rows:
        grid.add_row(*(Styled(_cell(row[column])) for column in columns))
    return grid


def _item(console: Console, table: Table, row: tuple[Cell, ...]) -> None:
    console.print(Styled(_cell(row[0]), "bold"))
    for column, cell in list(zip(table.columns, row, strict=True))[1:]:
        console.print(Styled(f"    {column}: {_cell(cell)}"))


def _cell(cell: Cell) -> str:
    return cell.text if isinstance(cell, Link) else cell
