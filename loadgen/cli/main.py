"""The command line. Thin: it reads options, calls the parts and turns their ends into exit codes.

Exit codes: 0 every promise kept; 1 one broken; 2 it could not be told.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from loadgen import __version__
from loadgen.cli.audit import audit_command
from loadgen.cli.capacity import capacity_command
from loadgen.cli.check import check_command
from loadgen.cli.demo import demo_command
from loadgen.cli.lab import app as lab_app
from loadgen.cli.output import steady_output
from loadgen.cli.report import report_command
from loadgen.cli.run import run_command
from loadgen.cli.verify import verify_command
from loadgen.cli.worker import worker_command

TYPER_INTERRUPTED = 130
INTERRUPTED = "[bold red]loadgen:[/] interrupted; what was measured until then is kept: loadgen report RUN judges it"
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
# Each is a file of its own, which imports what it works with only when it is called.
for _name, _command in (
    ("demo", demo_command),
    ("run", run_command),
    ("worker", worker_command),
    ("verify", verify_command),
    ("report", report_command),
    ("audit", audit_command),
    ("capacity", capacity_command),
    ("check", check_command),
):
    app.command(_name)(_command)
_LAB_PACKAGES = ("promql_parser", "psutil", "starlette", "uvicorn")


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


def _mount_lab() -> None:
    """The lab's packages are an optional part."""
    missing = next((name for name in _LAB_PACKAGES if importlib.util.find_spec(name) is None), "")
    if not missing:
        app.add_typer(lab_app, name="lab")
        return

    @app.command("lab", help="The local stack (needs `pip install 'loadgen[lab]'`).")
    def _no_lab() -> None:
        from loadgen.config import ConfigError

        raise ConfigError(f"the local stack needs the package {missing}; run: pip install 'loadgen[lab]'")


_mount_lab()


def main() -> None:
    """The console command."""
    steady_output()
    sys.exit(guarded(lambda: app(standalone_mode=False)))


def guarded(call: Callable[[], object]) -> int:
    """Run a command; expected failures become a line on standard error and exit code 2."""
    try:
        code = call()
        if code == TYPER_INTERRUPTED:
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except typer.Exit as end:
        return int(end.exit_code)
    except typer.Abort:
        return 2
    except KeyboardInterrupt:
        _complain(INTERRUPTED)
        return 2
    except Exception as problem:
        # A usage error shows itself; its class has a different home in each version of typer.
        show = getattr(problem, "show", None)
        if show is not None:
            show()
        elif _is_expected(problem):
            _complain(f"[bold red]loadgen:[/] {escape(str(problem))}")
        elif os.environ.get("LOADGEN_DEBUG"):
            raise
        else:
            # Exit code 1 would say that a promise is broken, and Python's own for a traceback is just that.
            what = escape(f"{type(problem).__name__}: {problem}")
            _complain(
                f"[bold red]loadgen:[/] {what}; a mistake in loadgen, or the files of the run were changed. "
                "What was measured is kept. LOADGEN_DEBUG=1 shows where it happened; please report that"
            )
        return 2


def _complain(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text)


def _is_expected(problem: Exception) -> bool:
    """Whether it says itself what is wrong and what to do. What raised it is imported by now."""
    from loadgen.config import ConfigError
    from loadgen.faults import DisruptorError
    from loadgen.history.archive import ArchiveError
    from loadgen.history.directory import RunDirError
    from loadgen.run.orchestrate import RunError

    return isinstance(problem, ArchiveError | ConfigError | RunError | RunDirError | DisruptorError)
