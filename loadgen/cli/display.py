"""Progress in the terminal: one line a phase that moves while it lasts; plain lines where there is no terminal."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from loadgen.history.recorder import Progress
from loadgen.kinds import KINDS
from loadgen.units import bytes_text, count_text

# Where nothing can move (a log file, a cluster's job log) a line this often shows that the run is alive.
PLAIN_EVERY_S = 15.0


def run_console() -> Console:
    """The console of a command that shows a run."""
    return Console(highlight=False, soft_wrap=False)


class TerminalDisplay:
    """Shows the phases of a run on a console; quiet until the first phase begins."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._name = ""
        self._began = self._shown = time.monotonic()

    def __enter__(self) -> TerminalDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def phase(self, name: str, detail: str = "") -> None:
        """A phase begins; the one before is over."""
        self._finish()
        self._name, self._began = name, time.monotonic()
        self._shown = self._began
        self._last = detail
        if self._console.is_terminal:
            self._live = Live(self._text(detail), console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        else:
            self._console.print(self._text(detail))

    def load(self, progress: Progress, elapsed_s: float, duration_s: float) -> None:
        """How far the load is."""
        parts = [f"{min(max(elapsed_s, 0), duration_s):3.0f}/{duration_s:.0f} s"]
        for kind in KINDS:
            items = progress.items.get(kind.signal, 0)
            if progress.batches.get(kind.signal, 0):
                size = bytes_text(progress.plain_bytes[kind.signal])
                parts.append(f"{count_text(items)} {kind.items} ({size})")
        failed = sum(progress.failed.values())
        if failed:
            parts.append(f"{count_text(failed)} pushes not accepted")
        self._show("  ".join(parts))

    def step(self, name: str, done: int, total: int) -> None:
        """How far another phase is."""
        if not total:
            self._show(name)
            return
        share = f" {100 * done // total:3d} %"
        self._show(f"{name}{share}  {count_text(done)} of {count_text(total)}")

    def note(self, text: str) -> None:
        """Something that the person should know."""
        self._console.print(Text(f"  note: {text}", style="yellow"))

    def _show(self, text: str) -> None:
        self._last = text
        if self._live is not None:
            self._live.update(self._text(text))
        elif time.monotonic() - self._shown >= PLAIN_EVERY_S:
            self._shown = time.monotonic()
            self._console.print(self._text(text))

    def _text(self, detail: str) -> Text:
        return Text.assemble((f"{self._name:<8}", "bold"), " ", detail)

    def _finish(self) -> None:
        if not self._name:
            return
        if self._live is not None:
            self._live.stop()
            self._live = None
        took = time.monotonic() - self._began
        last = f"  {self._last}" if self._last else ""
        self._console.print(Text.assemble((f"{self._name:<8}", "bold"), f" {took:5.1f} s{last}"))
        self._name = ""
