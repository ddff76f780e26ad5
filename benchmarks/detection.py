"""The detection matrix: every defect planted on the embedded lab, and which check found it.

Each row plants one defect in a short run and expects it to be found by the check that is meant for it, with evidence
that points at what was hit, and by nothing else. The table goes to standard output as Markdown, the progress to
standard error.

    python -m benchmarks.detection                         all rows; some minutes
    python -m benchmarks.detection --list                  what there is
    python -m benchmarks.detection --only logs/lost        one row; 'logs/*' for several; may be repeated
    python -m benchmarks.detection --clean 20              20 runs without a defect, which must raise no alarm
    python -m benchmarks.detection --json FILE             the outcome for machines too

A run in which `loadgen.health` fails says that this machine was too busy for the generator. That is a finding about the
machine, not a false alarm; such a run is made once more. Any other check that fails beside it is an alarm all the same.

Exit codes: 0 every row as expected and no alarm in a clean run; 1 a defect missed, found by a wrong check, or an alarm;
2 it could not be told; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: make the project importable
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.detection_assess import STALL_VISIBLE_S, Assessment, Came, assess
from benchmarks.detection_row import Row
from benchmarks.detection_rows import KILLS, OMITTED, ROWS
from benchmarks.detection_run import Bench, RowError, Tell, bench
from loadgen.history.directory import RunDirError
from loadgen.lab.state import LabError
from loadgen.model import Result
from loadgen.run.interrupt import Stop
from loadgen.run.orchestrate import RunError

OK, BROKEN, UNTOLD, INTERRUPTED = 0, 1, 2, 130
TRIES = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row, or a clean run, and how it went.

    Attributes:
        name, planted: of the row.
        expected: the checks that must find it, or what else must come out.
        found_by, alarms, doubts, problems: as in `Assessment`.
        verdict: ``ok``, ``WRONG``, ``busy`` (this machine was, twice) or ``not run``.
        explained: other checks that fail or cannot tell, and why that is right.
        took_s: for the last try.
        run: folder of the run, while it is kept.
    """

    name: str
    planted: str
    expected: tuple[str, ...]
    found_by: tuple[str, ...]
    alarms: tuple[str, ...]
    doubts: tuple[str, ...]
    problems: tuple[str, ...]
    verdict: str
    explained: dict[str, str]
    took_s: float
    run: str


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _options(arguments)
    rows = chosen(options.only)
    if options.list:
        _list(rows)
        return OK
    if not rows:
        print(f"detection: no row is called {', '.join(options.only)}; see --list", file=sys.stderr)
        return UNTOLD
    clean = [clean_row(number) for number in range(1, options.clean + 1)]
    planned = clean if options.clean and not options.only else [*rows, *clean]
    stop = Stop()
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop.installed())
        folder = options.out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="detection-")))
        try:
            outcomes = run_all(planned, folder, options.jobs, stop)
        except LabError as problem:
            print(f"detection: {problem}", file=sys.stderr)
            return UNTOLD
        _write(outcomes, options, stop.requested)
    return exit_code(outcomes, stop.requested)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="ROW", default=[], help="a row by name or pattern")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument(
        "--clean", type=int, nargs="?", default=0, const=20, metavar="N", help="make N runs without a defect (20)"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="labs, and runs, at a time (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table into a file too")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the runs here; else they are removed at the end")
    return parser.parse_args(arguments)


def chosen(only: Sequence[str]) -> list[Row]:
    """The rows that match one of the patterns; all without any."""
    return [row for row in ROWS if not only or any(fnmatch.fnmatch(row.name, pattern) for pattern in only)]


def clean_row(number: int) -> Row:
    """A run without a defect; every second one with a kill of each component, from which all must come back."""
    kills = number % 2 == 0
    planted = "nothing, and each component is killed once" if kills else "nothing"
    return Row(f"clean/{number}", planted, (), (), KILLS if kills else {})


def _list(rows: Sequence[Row]) -> None:
    for row in rows:
        print(f"{row.name:28} {', '.join(row.finders) or '(no alarm)':40} {row.planted}")
    for omitted in OMITTED:
        print(f"{omitted.name:28} {'(not planted)':40} {omitted.planted}: {omitted.why}")


def run_all(rows: Sequence[Row], folder: Path, jobs: int, stop: Stop) -> list[Outcome]:
    """Run rows, each worker on a lab of its own; the outcomes in the order of the rows. Raises LabError."""
    waiting, line = deque(rows), _Line(len(rows))
    outcomes: dict[str, Outcome] = {}

    def work(number: int) -> None:
        with bench(folder / f"lab{number}", folder / "runs", stop) as place:
            while not stop.end_phase():
                try:
                    row = waiting.popleft()
                except IndexError:
                    return
                outcome = one(place, row, stop, line.of(row.name))
                if stop.end_phase():
                    return
                outcomes[row.name] = outcome
                line.done(outcome)

    with ThreadPoolExecutor(max(1, min(jobs, len(rows)))) as workers:
        for done in [workers.submit(work, number) for number in range(1, max(1, min(jobs, len(rows))) + 1)]:
            done.result()
    return [outcomes[row.name] for row in rows if row.name in outcomes]


def one(place: Bench, row: Row, stop: Stop, tell: Tell) -> Outcome:
    """Run a row, once more if this machine was too busy for it."""
    outcome = _outcome(row, None, None, "not run", ())
    for _ in range(TRIES):
        try:
            came = place.run(row, tell)
        except (RowError, RunError, RunDirError, LabError) as problem:
            outcome = _outcome(row, None, None, "not run", (str(problem),))
            if stop.end_phase():
                break
            continue
        found = assess(row, came)
        verdict = "ok" if found.ok else "WRONG"
        outcome = _outcome(row, came, found, verdict, found.problems)
        beside = [alarm for alarm in found.alarms if alarm != "loadgen.health"]
        if not found.busy or beside or stop.end_phase():
            break
        outcome = _outcome(row, came, found, "busy", found.problems)
    return outcome


def _outcome(row: Row, came: Came | None, found: Assessment | None, verdict: str, problems: tuple[str, ...]) -> Outcome:
    return Outcome(
        row.name,
        row.planted,
        expected_of(row),
        found.found_by if found else (),
        found.alarms if found else (),
        found.doubts if found else (),
        problems,
        verdict,
        {**row.also, **row.unsure},
        came.took_s if came else 0.0,
        str(came.path) if came else "",
    )


def expected_of(row: Row) -> tuple[str, ...]:
    """What must come out of a row, in words."""
    if row.stalls is not None:
        return (f"{row.stalls} push latency p99 ≥ {STALL_VISIBLE_S:g} s, no alarm",)
    return tuple(check if row.verdict is Result.FAIL else f"{check} {row.verdict}" for check in row.finders)


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcome as Markdown."""
    rows = ["| row | planted | expected | found by | false alarms | verdict |", "| --- | --- | --- | --- | --- | --- |"]
    for one_ in outcomes:
        beside = [*one_.alarms, *(f"{doubt} cannot tell" for doubt in one_.doubts)]
        reasons = [f"{check} too: {one_.explained[check]}" for check in one_.found_by if check in one_.explained]
        verdict = "; ".join([one_.verdict, *one_.problems, *reasons])
        expected = ", ".join(one_.expected) or "no alarm"
        cells = (one_.name, one_.planted, expected, ", ".join(one_.found_by) or "–", ", ".join(beside) or "–", verdict)
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    if any(not one_.name.startswith("clean/") for one_ in outcomes):
        rows += [f"| {one_.name} | {one_.planted} | – | – | – | not planted: {one_.why} |" for one_ in OMITTED]
    return "\n".join(rows) + "\n"


def summary(outcomes: Sequence[Outcome]) -> str:
    """One sentence."""
    texts = []
    for name, mine in (
        ("rows as expected", [one_ for one_ in outcomes if not one_.name.startswith("clean/")]),
        ("clean runs without an alarm", [one_ for one_ in outcomes if one_.name.startswith("clean/")]),
    ):
        if mine:
            texts.append(f"{sum(one_.verdict == 'ok' for one_ in mine)} of {len(mine)} {name}")
    return "; ".join(texts) or "nothing was run"


def exit_code(outcomes: Sequence[Outcome], interrupted: bool) -> int:
    """As the module's text says."""
    verdicts = {one_.verdict for one_ in outcomes}
    if interrupted:
        return INTERRUPTED
    if "WRONG" in verdicts:
        return BROKEN
    return UNTOLD if verdicts != {"ok"} else OK


def _write(outcomes: Sequence[Outcome], options: argparse.Namespace, interrupted: bool) -> None:
    text = table(outcomes)
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    if options.json:
        content: dict[str, Any] = {"interrupted": interrupted, "rows": [asdict(one_) for one_ in outcomes]}
        options.json.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    _say(summary(outcomes) + ("; interrupted" if interrupted else ""))


def _say(text: str) -> None:
    """A line on standard error; it takes the place of the moving one."""
    print(f"\r\x1b[K{text}" if sys.stderr.isatty() else text, file=sys.stderr, flush=True)


class _Line:
    """Shows what goes on: a line for every row that is over, and one that moves, where there is a terminal."""

    def __init__(self, total: int) -> None:
        self._total, self._over = total, 0
        self._doing: dict[str, str] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> Tell:
        """Takes what goes on in one row."""

        def tell(text: str) -> None:
            with self._lock:
                self._doing[name] = text
                if sys.stderr.isatty():
                    now = "; ".join(f"{row} {doing}" for row, doing in self._doing.items())
                    print(f"\r\x1b[K{now[:160]}", end="", file=sys.stderr, flush=True)

        return tell

    def done(self, outcome: Outcome) -> None:
        """A row is over."""
        beside = [*(f"alarm: {check}" for check in outcome.alarms), *(f"unsure: {check}" for check in outcome.doubts)]
        detail = "; ".join([*outcome.problems, *beside])
        with self._lock:
            self._doing.pop(outcome.name, None)
            self._over += 1
            head = f"[{self._over}/{self._total}] {outcome.name}: {outcome.verdict}, {outcome.took_s:.1f} s"
            _say(head + (f" ({detail})" if detail else ""))


if __name__ == "__main__":
    sys.exit(main())
