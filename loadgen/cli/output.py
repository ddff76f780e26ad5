"""Standard output and error that never end a run: a run is worth more than the words about it."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO


class SteadyStream:
    """Writes to a stream until that fails (its reader has gone, the disk is full), and from then on nowhere.

    Characters that the stream's encoding does not have become question marks.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream: Any = stream
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with contextlib.suppress(ValueError, OSError):
                reconfigure(errors="replace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write; the number of characters, whether anybody gets them or not."""
        if self._stream is not None:
            try:
                self._stream.write(text)
            except (OSError, ValueError):
                self._give_up()
        return len(text)

    def flush(self) -> None:
        """Flush."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._give_up()

    def isatty(self) -> bool:
        """Whether a person looks."""
        return self._stream is not None and not self._stream.closed and bool(self._stream.isatty())

    def _give_up(self) -> None:
        # What Python still holds of the text is written at exit, and would fail once more.
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)


def steady_output() -> None:
    """Let this program's standard streams be steady ones."""
    sys.stdout, sys.stderr = SteadyStream(sys.stdout), SteadyStream(sys.stderr)
