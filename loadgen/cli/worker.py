"""``loadgen worker``: make the load of a run on another machine."""

from __future__ import annotations

from typing import Annotated

import typer

from loadgen.cli.options import TargetOption, TokenOption
from loadgen.run.defaults import MASTER_PORT


def worker_command(
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
    from rich.console import Console
    from rich.markup import escape

    from loadgen.cli.running import option_seconds
    from loadgen.run.orchestrate import RunError
    from loadgen.run.workers import become_worker, token_for, wait_for_master

    stderr = Console(stderr=True, highlight=False, soft_wrap=True)
    problem = wait_for_master(
        master_host, master_port, option_seconds("--wait", wait), lambda text: stderr.print(f"loadgen: {escape(text)}")
    )
    if problem:
        raise RunError(problem)
    become_worker(master_host, master_port, target, processes, token_for(master_host, master_port, token_file))
