"""``loadgen demo``: a stack, a load, a verdict."""

from __future__ import annotations

from typing import Annotated

import typer

from loadgen.cli.options import DurationOption, OutOption


def demo_command(
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
    from loadgen.cli.display import TerminalDisplay, run_console
    from loadgen.cli.running import finish, run_and_publish
    from loadgen.config import load_profile
    from loadgen.lab.target import LabDisruptor, lab_session, plant_defects
    from loadgen.run.defaults import LAB
    from loadgen.run.interrupt import Interrupt
    from loadgen.run.locate import find_profile, resolve_target

    console = run_console()
    overrides = {"run.duration": duration} if duration else {}
    profile = load_profile(find_profile("demo"), overrides)
    with TerminalDisplay(console) as display, Interrupt().installed() as interrupt:
        display.phase("lab", "starting S3, Loki, Tempo, Mimir and Grafana")
        with lab_session(keep=keep, progress=lambda text: display.step(text, 0, 0)) as session:
            plant_defects(session.lab, defect or [])
            target, source = resolve_target(LAB)
            judgement = run_and_publish(profile, target, source, out, display, interrupt, LabDisruptor(session.lab))
            display.phase("lab", "stopping" if session.mine and not keep else "left running")
    finish(console, judgement)
