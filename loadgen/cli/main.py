"""The command line. Thin: it reads options, calls the parts and turns their ends into exit codes.

Exit codes: 0 every promise kept; 1 one broken; 2 it could not be told.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from loadgen import __version__
from loadgen.capacity.store import holds_search
from loadgen.capacity.store import load as load_search
from loadgen.cli.audit import audit_command
from loadgen.cli.capacity import capacity_command, report_search
from loadgen.cli.check import check_command
from loadgen.cli.display import TerminalDisplay
from loadgen.cli.output import steady_output
from loadgen.config import ConfigError, Profile, Target, load_profile, parse_profile
from loadgen.faults import Disruptor, DisruptorError
from loadgen.history.archive import SCHEME, ArchiveError, Place, fetch_run, place_of
from loadgen.history.directory import RunDir, RunDirError
from loadgen.history.naming import new_run_name
from loadgen.kinds import kind_of
from loadgen.model import Result, Signal
from loadgen.push.preflight import check_reachable
from loadgen.report.terminal import print_verdicts
from loadgen.run.interrupt import Interrupt
from loadgen.run.joining import token_of_master
from loadgen.run.locate import DEFAULT_PROFILE, LAB, find_profile, resolve_target
from loadgen.run.orchestrate import Judgement, RunError, compare_clocks, conclude, execute, verify_again
from loadgen.run.publish import publish
from loadgen.run.workers import MASTER_PORT, RemoteWorkers, become_worker, token_for, wait_for_master
from loadgen.skew import refusal, weigh
from loadgen.targets.clocks import read_clocks
from loadgen.units import seconds

TYPER_INTERRUPTED = 130
INTERRUPTED = "[bold red]loadgen:[/] interrupted; what was measured until then is kept: loadgen report RUN judges it"
EXIT = {Result.PASS: 0, Result.FAIL: 1, Result.UNKNOWN: 2, Result.SKIPPED: 2}

app = typer.Typer(
    name="loadgen",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Does a Loki, Tempo, Mimir and Grafana stack on S3 keep its promises? Sends logs, traces and metrics whose "
    "every byte it can predict, reads them back through Grafana and from S3, restarts components, and judges.\n\n"
    "Exit codes: 0 every promise kept, 1 one broken, 2 it could not be told.\n\n"
    "Start with `loadgen demo`.",
)

ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        envvar="LOADGEN_PROFILE",
        help="A built-in profile (demo, homelab, nfr, soak) or a TOML file.",
    ),
]
TargetOption = Annotated[
    str,
    typer.Option(
        "--target",
        envvar="LOADGEN_TARGET",
        help="TOML file that says where the stack is. Without it: the local lab, if one runs.",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Folder for this run's files (default: reports/<run>; must not hold a run)."),
]
DurationOption = Annotated[
    str, typer.Option("--duration", help="Length of the load, e.g. 90s or 10m, instead of the profile's.")
]
RateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rate", help="10MB/s for every signal, or logs=10MB/s for one; may be repeated.", metavar="[SIGNAL=]RATE"
    ),
]
TokenOption = Annotated[
    str,
    typer.Option(
        "--token-file", help="File with the token of master and workers; else LOADGEN_WORKER_TOKEN or …_TOKEN_FILE."
    ),
]
RunArgument = Annotated[
    Path, typer.Argument(help="Folder of the run, e.g. reports/20260131-235959-ab12.", metavar="RUN")
]


def _console() -> Console:
    return Console(highlight=False, soft_wrap=False)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"loadgen {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of all commands."""


@app.command()
def demo(
    out: OutOption = None,
    duration: DurationOption = "",
    defect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COMPONENT:KIND[:COUNT[:DELAY]]",
            help="Tell an embedded server to misbehave, e.g. loki:lose or mimir:delay:1:90s, to see it found; may be "
            "repeated. See `loadgen lab defect --help`.",
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running afterwards.")] = False,
) -> None:
    """Start a local stack, load it for a minute, kill and restart every component, verify, judge and report.

    Needs nothing but this package: S3 is a real SeaweedFS, the four servers are small ones of loadgen's own. The data
    stays in the lab's folder, so that `loadgen lab up` and `loadgen verify RUN` can read it back later.
    """
    from loadgen.lab.target import LabDisruptor, lab_session, plant_defects

    console = _console()
    overrides = {"run.duration": duration} if duration else {}
    profile = load_profile(find_profile("demo"), overrides)
    with TerminalDisplay(console) as display, Interrupt().installed() as interrupt:
        display.phase("lab", "starting S3, Loki, Tempo, Mimir and Grafana")
        with lab_session(keep=keep, progress=lambda text: display.step(text, 0, 0)) as session:
            plant_defects(session.lab, defect or [])
            target, source = resolve_target(LAB)
            judgement = _run(profile, target, source, out, display, interrupt, LabDisruptor(session.lab))
            display.phase("lab", "stopping" if session.mine and not keep else "left running")
    _finish(console, judgement)


@app.command()
def run(
    profile: ProfileOption = DEFAULT_PROFILE,
    target: TargetOption = "",
    out: OutOption = None,
    duration: DurationOption = "",
    rate: RateOption = None,
    flush: Annotated[bool, typer.Option("--flush", help="Ask the components to write to S3 after the load.")] = False,
    allow_disruption: Annotated[
        bool,
        typer.Option(
            "--allow-disruption",
            help="Let the profile's faults delete pods of Loki, Tempo and Mimir in the [kubernetes] namespace.",
        ),
    ] = False,
    expect_workers: Annotated[
        int,
        typer.Option(
            envvar="LOADGEN_EXPECT_WORKERS",
            min=0,
            help="Let so many `loadgen worker` on other machines make the load, and begin when they are connected.",
        ),
    ] = 0,
    bind_host: Annotated[
        str,
        typer.Option(
            help="With --expect-workers: the address to listen on; * for all, so that other machines can join, which "
            "needs a token.",
        ),
    ] = "127.0.0.1",
    bind_port: Annotated[int, typer.Option(help="With --expect-workers: the port to listen on.")] = MASTER_PORT,
    workers_wait: Annotated[str, typer.Option(help="With --expect-workers: how long to wait for them.")] = "5m",
    token_file: TokenOption = "",
) -> None:
    """Load a stack, read everything back, judge every promise and write a report.

    The target file names the stack's addresses; secrets can come from LOADGEN_<SECTION>_<KEY> variables or files.
    Faults of the profile are injected in the local lab, and in a cluster only with --allow-disruption.
    """
    console = _console()
    workers: RemoteWorkers | None = None
    if expect_workers:
        wait_s = _seconds("--workers-wait", workers_wait)
        token, made_up = token_of_master(os.environ, token_file, bind_host)
        workers = RemoteWorkers(expect_workers, bind_host, bind_port, wait_s, token, made_up)
    overrides: dict[str, object] = {}
    if duration:
        overrides["run.duration"] = duration
    if flush:
        overrides["verify.flush"] = True
    overrides.update(_rates(rate or []))
    chosen = load_profile(find_profile(profile), overrides)
    where, source = resolve_target(target)
    disruptor: Disruptor | None = None
    if source == LAB and chosen.faults:
        from loadgen.lab.target import LabDisruptor, open_lab

        disruptor = LabDisruptor(open_lab())
    elif allow_disruption and chosen.faults:
        if not where.kubernetes.namespace:
            raise ConfigError(
                "--allow-disruption: the target names no [kubernetes] namespace; set it to the stack's own"
            )
        from loadgen.targets.pods import ClusterDisruptor

        disruptor = ClusterDisruptor(where.kubernetes, chosen.objectives.logs.recovery_max)
    joining = workers.open() if workers is not None else contextlib.nullcontext()
    with joining, TerminalDisplay(console) as display, Interrupt().installed() as interrupt:
        judgement = _run(chosen, where, source, out, display, interrupt, disruptor, workers)
    _finish(console, judgement)


@app.command()
def worker(
    master_host: Annotated[str, typer.Option(envvar="LOADGEN_MASTER_HOST", help="Where `loadgen run` is.")],
    master_port: Annotated[int, typer.Option(envvar="LOADGEN_MASTER_PORT", help="Its --bind-port.")] = MASTER_PORT,
    target: TargetOption = "",
    processes: Annotated[int, typer.Option(min=1, max=64, help="Worker processes to start; one a core.")] = 1,
    wait: Annotated[str, typer.Option(help="How long to wait for the master.")] = "5m",
    token_file: TokenOption = "",
) -> None:
    """Make the load of a `loadgen run --expect-workers N` on another machine; ends when that load does.

    The plan comes from the master, and so does the target, except its secrets: give them as LOADGEN_<SECTION>_<KEY>
    variables or files, as for `run`, or name a target file of this machine's own. Master and workers must know the same
    token (LOADGEN_WORKER_TOKEN); on one machine, workers of the same person find it by themselves.
    """
    stderr = Console(stderr=True, highlight=False, soft_wrap=True)
    problem = wait_for_master(
        master_host, master_port, _seconds("--wait", wait), lambda text: stderr.print(f"loadgen: {escape(text)}")
    )
    if problem:
        raise RunError(problem)
    become_worker(master_host, master_port, target, processes, token_for(master_host, master_port, token_file))


def _seconds(option: str, text: str) -> float:
    try:
        return seconds(text)
    except ValueError as problem:
        raise ConfigError(f"{option}: {problem}") from problem


@app.command()
def verify(
    run_place: Annotated[
        str, typer.Argument(help="Folder of the run, s3://bucket/prefix/RUN, or s3://bucket/prefix.", metavar="RUN")
    ],
    target: TargetOption = "",
    out: OutOption = None,
    older_than: Annotated[
        str, typer.Option(help="Of a folder of runs in S3, the newest is taken that is at least so old.")
    ] = "24h",
    younger_than: Annotated[str, typer.Option(help="And at most so old: what the stack keeps.")] = "30d",
) -> None:
    """Read a stored run back again (days later too), and judge it anew.

    Everything that was sent follows from the run's seed and receipts, so nothing else is needed. The target is the one
    of the run unless another is given; secrets come from the environment again. A run in S3 is copied to --out first,
    and what is found is kept beside it, under verified-<time>/.
    """
    console = _console()
    came_from: Place | None = None
    if run_place.startswith(SCHEME):
        ages_s = (_seconds("--older-than", older_than), _seconds("--younger-than", younger_than))
        run_folder, came_from = fetch_run(run_place, resolve_target(target)[0].s3, out, time.time_ns(), ages_s)
    else:
        run_folder = Path(run_place)
    stored = RunDir.open(run_folder)
    where, _ = resolve_target(target or stored.info().target_source)
    profile = parse_profile(stored.info().profile, f"{run_folder}/run.json")
    with TerminalDisplay(console) as display, Interrupt().installed() as interrupt:
        _preflight(where, profile, display)
        judgement = verify_again(stored, where, display, interrupt)
        if came_from is not None:
            _publish(judgement, profile, where, display, came_from)
    _finish(console, judgement)


def _publish(
    judgement: Judgement, profile: Profile, target: Target, display: TerminalDisplay, came_from: Place | None = None
) -> None:
    if not (profile.publish.metrics or profile.publish.annotation or target.s3.reports_url or came_from):
        return
    display.phase("publish")
    told = publish(
        judgement.run, judgement.verdicts, judgement.outcome, profile.publish, target, time.time_ns(), came_from
    )
    for note in told.notes:
        display.note(note)
    if told.url:
        display.note(f"kept in {told.url}")


@app.command()
def report(run_folder: RunArgument) -> None:
    """Judge a stored run, or a capacity search, and write its report again, without asking the stack anything."""
    console = _console()
    if holds_search(run_folder):
        report_search(console, run_folder, load_search(run_folder))
    with TerminalDisplay(console) as display:
        judgement = conclude(RunDir.open(run_folder), display)
    _finish(console, judgement)


def _rates(texts: list[str]) -> dict[str, object]:
    rates: dict[str, object] = {}
    for text in texts:
        signal, separator, rate = text.rpartition("=")
        if separator and signal not in set(Signal):
            raise ConfigError(f"--rate {text}: {signal!r} is not a signal; write logs=…, metrics=… or traces=…")
        for name in [signal] if separator else list(Signal):
            rates[f"{name}.rate"] = rate
    return rates


def _run(
    profile: Profile,
    target: Target,
    source: str,
    out: Path | None,
    display: TerminalDisplay,
    interrupt: Interrupt,
    disruptor: Disruptor | None,
    workers: RemoteWorkers | None = None,
) -> Judgement:
    name = new_run_name(time.time_ns())
    if target.s3.reports_url:
        place_of(target.s3.reports_url)  # a mistake in it shall not wait for the end of the run
    _preflight(target, profile, display)
    clocks = compare_clocks(target, profile, display)
    folder = out or Path("reports") / name
    judgement = execute(
        profile, target, source, folder, name, display, interrupt, disruptor, workers=workers, clocks=clocks
    )
    _publish(judgement, profile, target, display)
    return judgement


def _preflight(target: Target, profile: Profile, display: TerminalDisplay) -> None:
    display.phase("check", f"is {target.name} reachable?")
    sent = [signal for signal in Signal if profile.users(signal)]
    asked = {query.component for query in profile.queries}
    problems = check_reachable(
        target, sent, asked=[signal for signal in Signal if kind_of(signal).store.value in asked]
    )
    if problems:
        # A clock that is wrong can be the reason: S3 refuses it, and a certificate is not valid yet by it.
        skew = weigh(read_clocks(target, sent))
        wrong = refusal(skew, sent, time.time_ns())
        problems = (*((wrong,) if wrong else skew.texts()), *problems)
        raise RunError("the target cannot be used:\n" + "\n".join(f"  - {problem}" for problem in problems))


def _finish(console: Console, judgement: Judgement) -> None:
    print_verdicts(console, judgement.verdicts, judgement.outcome)
    for path in judgement.files:
        if path.suffix == ".html":
            console.print(Text.assemble("report: ", (str(path), "bold")))
    sys.stdout.flush()
    raise typer.Exit(EXIT[judgement.outcome])


def _mount_lab() -> None:
    try:
        from loadgen.cli.lab import app as lab_app
    except ModuleNotFoundError as problem:  # the lab's packages are an optional part
        missing = str(problem.name)

        @app.command("lab", help="The local stack (needs `pip install 'loadgen[lab]'`).")
        def _no_lab() -> None:
            raise ConfigError(f"the local stack needs the package {missing}; run: pip install 'loadgen[lab]'")

        return
    app.add_typer(lab_app, name="lab")


app.command("audit")(audit_command)
app.command("capacity")(capacity_command)
app.command("check")(check_command)
_mount_lab()


def main() -> None:
    """The console command."""
    steady_output()
    sys.exit(guarded(lambda: app(standalone_mode=False)))


def guarded(call: Callable[[], object]) -> int:
    """Run a command; expected failures become a line on standard error and exit code 2."""
    stderr = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        code = call()
        if code == TYPER_INTERRUPTED:
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except typer.Exit as end:
        return int(end.exit_code)
    except typer.Abort:
        return 2
    except (ArchiveError, ConfigError, RunError, RunDirError, DisruptorError) as problem:
        stderr.print(f"[bold red]loadgen:[/] {escape(str(problem))}")
        return 2
    except KeyboardInterrupt:
        stderr.print(INTERRUPTED)
        return 2
    except Exception as problem:
        # A usage error shows itself; its class has a different home in each version of typer.
        show = getattr(problem, "show", None)
        if show is not None:
            show()
        elif os.environ.get("LOADGEN_DEBUG"):
            raise
        else:
            # Exit code 1 would say that a promise is broken, and Python's own for a traceback is just that.
            what = escape(f"{type(problem).__name__}: {problem}")
            stderr.print(
                f"[bold red]loadgen:[/] {what}; a mistake in loadgen, or the files of the run were changed. "
                "What was measured is kept. LOADGEN_DEBUG=1 shows where it happened; please report that"
            )
        return 2
