"""A mistake of loadgen itself, in words: what, and at which place, so that nobody looks for it in the stack."""

from __future__ import annotations

import traceback
from pathlib import Path

_PACKAGE = Path(__file__).parent
REPORT_IT = "this is a mistake in loadgen, not in the stack; please report it"


def mistake(problem: BaseException, with_text: bool = True) -> str:
    """One sentence for an exception that nobody expected.

    Args:
        problem: as it was caught.
        with_text: false where its text may hold what must not be printed.
    """
    said = " ".join(str(problem).split())[:200] if with_text else ""
    what = f"{type(problem).__name__}: {said}" if said else type(problem).__name__
    return f"{what}{_place(problem)}"


def _place(problem: BaseException) -> str:
    """The last line of our own that it came through."""
    ours = [
        frame
        for frame in traceback.extract_tb(problem.__traceback__)
        if Path(frame.filename).is_relative_to(_PACKAGE) and not Path(frame.filename).samefile(__file__)
    ]
    if not ours:
        return ""
    last = ours[-1]
    return f", at loadgen/{Path(last.filename).relative_to(_PACKAGE)}:{last.lineno} in {last.name}"
