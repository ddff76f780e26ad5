"""``loadgen lab``: the local stack by itself."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadgen.lab import limits as limiting
from loadgen.lab.state import NATIVE, LabError, LabState

if TYPE_CHECKING:
    from loadgen.lab.defects import DefectKind, DefectOrder
    from loadgen.lab.processes.manager import EndpointStatus, Lab

OK, NOT_ALL, NO_LAB = 0, 1, 2

app = typer.Typer(
    help="The local stack: Loki, Tempo, Mimir and Grafana as small servers of our own, and a real S3 (SeaweedFS); with "
    "--native the real servers that are found on PATH.\n\n"
    "Nothing but pip is needed. All processes listen on 127.0.0.1 only; data, logs and throw-away credentials lie in "
    "one lab directory: --dir, else $LOADGEN_LAB_DIR, else loadgen/lab in $XDG_STATE_HOME (~/.local/state).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Directory = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="Lab directory. Several labs may run at once, each in its own."),
]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration_s(text: str) -> float:
    """``90s``, ``500ms``, ``2m``, ``1h`` or plain seconds, in seconds. Raises typer.BadParameter."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"'{text}' is no duration; write it like 5s, 500ms or 2m")
    return float(match.group(1)) * _UNIT_S[match.group(2)]


def parse_ports(texts: Sequence[str]) -> dict[str, int]:
    """``loki=3100`` and so on. Raises typer.BadParameter."""
    from loadgen.lab.processes.manager import PART_OF

    ports: dict[str, int] = {}
    for text in texts:
        name, equals, number = text.partition("=")
        if not equals or not number.isascii() or not number.isdigit():
            raise typer.BadParameter(f"'{text}' is no port; write it like loki=3100 ({', '.join(PART_OF)})")
        ports[name.strip()] = int(number[:9])
    return ports


def parse_defect(text: str) -> tuple[str, DefectOrder]:
    """``loki:lose``, ``tempo:double:3`` or ``mimir:delay:1:90s``. Raises typer.BadParameter."""
    from loadgen.lab.defects import DefectError, parse_order

    try:
        return parse_order(text)
    except DefectError as error:
        raise typer.BadParameter(str(error)) from error


def parse_engines(texts: Sequence[str]) -> dict[str, str]:
    """``loki=native`` and so on. Raises typer.BadParameter."""
    from loadgen.lab.processes import native

    engines: dict[str, str] = {}
    for text in texts:
        part, equals, engine = text.partition("=")
        if not equals or not part.strip() or not engine.strip():
            raise typer.BadParameter(f"'{text}' is no engine; write it like loki=native ({', '.join(native.PARTS)})")
        engines[part.strip()] = engine.strip()
    return engines


def native_engines(tell: Callable[[str], None]) -> dict[str, str]:
    """``native`` for every part whose real server is on PATH. Raises LabError if there is none at all."""
    from loadgen.lab.processes import native

    engines: dict[str, str] = {}
    for part in native.PARTS:
        program = native.find_program(part)
        if program is not None:
            engines[part] = NATIVE
            tell(f"{part}: {program.engine} ({program.path})")
        else:
            tell(f"{part}: not on PATH" + ("" if part == "prometheus" else ", stays embedded"))
    if not engines:
        raise LabError(
            "none of loki, tempo, mimir, cortex, grafana and prometheus is on PATH; install one, or leave --native away"
        )
    return engines


@app.command()
def up(
    directory: Directory = None,
    flush_age: Annotated[
        str,
        typer.Option(
            metavar="AGE",
            help="Accepted data goes to S3 at this age, e.g. 5s. Default: as before, else 5s (real servers: 4m).",
        ),
    ] = "",
    port: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PORT",
            help="Wanted port, e.g. loki=3100; else free ones, the same as last time if nobody took them. "
            "May be given again.",
        ),
    ] = None,
    real: Annotated[
        bool,
        typer.Option(
            "--native",
            help="Real servers for what is found on PATH: loki, tempo, mimir (or cortex in its place), grafana, and "
            "prometheus, which scrapes the others and writes to Mimir. What is not found stays embedded.",
        ),
    ] = False,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART=ENGINE",
            help="The same for one part: loki=native or loki=embedded. May be given again; wins over --native.",
        ),
    ] = None,
    containers: Annotated[
        bool,
        typer.Option("--compose", help="The official images, by docker compose, with the same configuration files."),
    ] = False,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What an embedded server takes before it refuses, as the real one would: "
            + ", ".join(f"{kind.name}={kind.example}" for kind in limiting.KINDS[:6])
            + "; or COMPONENT.memory=200MB, beyond which it is killed as a container would be, and stays down until "
            "the next `up`. May be given again. Kept until it is changed; NAME=none takes it away, --limit none takes "
            "all. A server that runs and whose limits change starts again.",
        ),
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and stop the lab on Ctrl-C or SIGTERM.")
    ] = False,
    defect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COMPONENT:KIND[:COUNT[:DELAY]]",
            help="Spoil the next items that arrive, to see that loadgen notices, e.g. loki:lose. May be given again. "
            "See `loadgen lab defect --help`.",
        ),
    ] = None,
) -> None:
    """Starts the lab and prints where it answers. What runs already is left as it is.

    A lab of which only parts run is completed. Data, credentials and ports of an earlier lab in the directory are used
    again, so that a stored run can be verified days later.
    """

    def work() -> int:
        flush_age_s = parse_duration_s(flush_age) if flush_age else None
        orders = [parse_defect(text) for text in defect or ()]
        ports = parse_ports(port or ())
        notes = Console(stderr=True, highlight=False)
        stopped = threading.Event()
        lab = _lab(directory, containers)
        if foreground:
            _on_stop(stopped.set)

        def tell(text: str) -> None:
            notes.print(escape(text), style="dim")

        if containers and (real or engine):
            raise typer.BadParameter("--compose makes every part a container; leave --native and --engine away")
        limits = limiting.parse_limits(limit or ())
        engines = {**(native_engines(tell) if real else {}), **parse_engines(engine or ())}
        state = lab.up(tell, flush_age_s, ports, engines=engines, limits=limits)
        for component, order in orders:
            lab.order_defect(component, order)
        _print_table(lab.status(), state)
        if foreground:
            notes.print("Ctrl-C stops the lab.", style="dim")
            stopped.wait()
            lab.down()
        return OK

    _run(work)


@app.command()
def down(
    directory: Directory = None,
    wipe: Annotated[
        bool, typer.Option("--wipe", help="Also remove all data, credentials and logs of the lab.")
    ] = False,
) -> None:
    """Stops every process of the lab, also those that a crashed or killed `loadgen lab up` left.

    Data, credentials and ports are kept for the next `up`, unless --wipe is given.
    """

    def work() -> int:
        lab = _lab(directory)
        stopped = lab.down()
        if wipe:
            lab.wipe()
        text = "stopped" if stopped else "nothing of it ran"
        Console(stderr=True, highlight=False).print(f"lab {lab.directory}: {text}{', wiped' if wipe else ''}")
        return OK

    _run(work)


@app.command()
def status(
    directory: Directory = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, with the S3 and Grafana credentials of the lab.")
    ] = False,
) -> None:
    """Shows where the lab answers, and what runs.

    Exit code: 0 if all runs, 1 if not all does, 2 if there is no lab.
    """

    def work() -> int:
        lab = _lab(directory)
        state = lab.state
        if state is None or not state.ports:
            raise LabError(f"no lab in {lab.directory}; start one with `loadgen lab up`")
        rows = lab.status()
        if as_json:
            sys.stdout.write(json.dumps(as_object(rows, state), indent=2) + "\n")
        else:
            _print_table(rows, state)
        return OK if all(row.running for row in rows) else NOT_ALL

    _run(work)


@app.command()
def defect(
    component: Annotated[str, typer.Argument(help="loki, tempo, mimir or grafana.")],
    kind: Annotated[str, typer.Argument(help="What to do; see above.", metavar="KIND")],
    directory: Directory = None,
    count: Annotated[int, typer.Option(min=1, help="How many of the next.")] = 1,
    delay: Annotated[
        str, typer.Option(metavar="DURATION", help="For delay, withhold and slow: how long, e.g. 90s.")
    ] = "90s",
    match: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Only those that contain this text: a line with its labels, a series with its labels, a trace id, or "
            "the data source and URL of a query.",
        ),
    ] = "",
    what: Annotated[
        str,
        typer.Option(
            metavar="PART",
            help="For tempo: lose 'span' (the last one of the trace) or 'trace'; alter 'name', 'duration' or "
            "'attribute'.",
        ),
    ] = "",
) -> None:
    """Tells a running server to misbehave, so that a check can be seen to find it.

    loki, tempo and mimir, for the next lines, traces or samples that arrive: lose (acknowledged, not stored), double
    (read twice), alter (content changed), reorder (neighbours swapped; loki only), delay (not readable before --delay),
    forget (not in the write-ahead log: a kill loses it).

    loki, tempo and mimir, for the next pushes: refuse (429), break (stored, and answered with a server error); for the
    next chunks or blocks: withhold (not in S3 before --delay, though readable).

    grafana, for the next queries through it: slow (answered after --delay), empty (success, and nothing in it), page
    (status 200 and an HTML page), unavailable (status 502 and an HTML page).
    """

    def work() -> int:
        from loadgen.lab.defects import DefectKind, DefectOrder

        try:
            order = DefectOrder(DefectKind(kind), count, parse_duration_s(delay), match, what)
        except ValueError:
            raise LabError(f"unknown kind '{kind}'; known are {', '.join(DefectKind)}") from None
        _lab(directory).order_defect(component, order)
        Console(stderr=True, highlight=False).print(
            f"{component} will {kind} the next {count} that {_come(order.kind)}"
        )
        return OK

    _run(work)


def _come(kind: DefectKind) -> str:
    from loadgen.lab.defects import QUERY_KINDS, DefectKind

    if kind in QUERY_KINDS:
        return "are asked"
    return "are due to go to S3" if kind is DefectKind.WITHHOLD else "arrive"


def as_object(rows: Sequence[EndpointStatus], state: LabState) -> dict[str, Any]:
    """What ``status --json`` prints: an object per endpoint, with the lab's own throw-away credentials."""
    data: dict[str, Any] = {
        row.name: {
            "url": row.url,
            "engine": row.engine,
            "pid": row.pid or None,
            "memory_bytes": row.memory_bytes,
            "running": row.running,
        }
        for row in rows
    }
    buckets = dict(state.buckets)
    data["s3"].update(
        buckets=list(buckets.values()),
        bucket_of=buckets,
        credentials={
            credential.identity: {"access_key": credential.access_key, "secret_key": credential.secret_key}
            for credential in state.credentials
        },
    )
    data["grafana"].update(user=state.grafana_user, password=state.grafana_password)
    data["limits"] = dict(state.limits)
    data["directory"] = state.directory
    return data


def _print_table(rows: Sequence[EndpointStatus], state: LabState) -> None:
    console = Console(highlight=False)
    table = Table("", "URL", "engine", "pid", "memory", "running")
    table.columns[1].min_width = max(len(row.url) for row in rows)
    for column in (3, 4):
        table.columns[column].justify = "right"
    seen: set[int] = set()
    for row in rows:
        # Tempo's receivers are the same process: its memory counts once.
        memory = f"{row.memory_bytes / 1e6:.0f} MB" if row.pid and row.pid not in seen else ""
        seen.add(row.pid)
        running = "[green]yes[/green]" if row.running else "[red]no[/red]"
        table.add_row(row.name, row.url, row.engine, str(row.pid or ""), memory, running)
    console.print(table)
    console.print(f"Grafana user {escape(state.grafana_user)}, password and S3 credentials: loadgen lab status --json")
    if state.limits:
        console.print(f"Limits {escape(limiting.tell(state.limits))}", soft_wrap=True)
    console.print(f"Lab directory {escape(state.directory)}", soft_wrap=True)


def _lab(directory: Path | None, containers: bool = False) -> Lab:
    from loadgen.lab.processes.compose import open_lab

    return open_lab(directory, containers)


def _on_stop(call: Callable[[], None]) -> None:
    def handler(_number: int, _frame: FrameType | None) -> None:
        call()
        # A second one ends the program at once, whatever it waits for.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def _run(work: Callable[[], int]) -> None:
    """Ends the command with an exit code, and with one line on stderr where something cannot be done."""
    try:
        code = work()
    except LabError as error:
        Console(stderr=True, highlight=False).print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        code = NO_LAB
    except KeyboardInterrupt:
        Console(stderr=True, highlight=False).print("interrupted; `loadgen lab down` stops what may still run")
        code = NO_LAB
    raise typer.Exit(code)
