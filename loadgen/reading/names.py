"""Names and values of a thing - labels of a stream or series, attributes of a span - as sent and as they came back.

What was sent has to come back with its value. What came back beside it was added on the way, by an agent, a gateway or
the server, and takes nothing away from anybody: it is told and not held against the stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_MOST_ADDED = 20
_MOST_CHARS = 60


@dataclass(slots=True)
class Added:
    """What came back and was not sent: of every name the first value."""

    _first: dict[str, str] = field(default_factory=dict)

    def note(self, kind: str, sent: Iterable[str], came: Mapping[str, object]) -> None:
        """Keep the names that came and were not sent; ``kind`` says of what they are, e.g. ``label``."""
        for name in came.keys() - set(sent):
            if len(self._first) < _MOST_ADDED:
                self._first.setdefault(f"{kind} {name}", str(came[name]))

    @property
    def text(self) -> str:
        """A line for every name, as `Sighting` keeps it; the same whatever order they came in."""
        return "\n".join(sorted(f'{name}="{_shown(value)}"' for name, value in self._first.items()))


def difference_of(kind: str, sent: Iterable[tuple[str, object]], came: Mapping[str, object]) -> str:
    """The first name that came back with another value than it was sent with, or not at all; empty if none did."""
    for name, value in sent:
        if name not in came:
            return f"{kind} {name} is missing, it was {value!r}"
        # 1, 1.0 and True are equal in Python, and three types of an attribute.
        if came[name] != value or type(came[name]) is not type(value):
            return f"{kind} {name} is {came[name]!r} instead of {value!r}"
    return ""


def _shown(value: str) -> str:
    text = " ".join(value.split())
    return text if len(text) <= _MOST_CHARS else text[: _MOST_CHARS - 1] + "…"
