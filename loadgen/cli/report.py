"""``loadgen report``: judge what is stored."""

from __future__ import annotations

from loadgen.cli.options import PlanOption, RunArgument


def report_command(run_folder: RunArgument, plan: PlanOption = "") -> None:
    """Judge a stored run, or a capacity search, and write its report again, without asking the stack anything."""
    from loadgen.capacity.store import holds_search
    from loadgen.capacity.store import load as load_search
    from loadgen.cli.display import TerminalDisplay, run_console
    from loadgen.cli.running import finish, plan_of_run
    from loadgen.cli.searching import report_search
    from loadgen.history.directory import RunDir
    from loadgen.run.orchestrate import conclude

    console = run_console()
    if holds_search(run_folder):
        report_search(console, run_folder, load_search(run_folder))
    with TerminalDisplay(console) as display:
        judgement = conclude(RunDir.open(run_folder), display, plan_of_run(plan))
    finish(console, judgement)
