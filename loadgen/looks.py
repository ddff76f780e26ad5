"""When a person looks at a dashboard: at a steady pace, but never before the answer to the look before."""

from __future__ import annotations


class Looks:
    """The planned times of one viewer's looks.

    A person does not catch up on looks that a slow answer cost. That answer is counted whole; to count the wait for it
    once more, in the next look, would blame the component that is asked next.
    """

    def __init__(self, began_ns: int, interval_ns: int) -> None:
        self.due_ns = began_ns
        self._interval_ns = interval_ns

    def answered(self, now_ns: int) -> None:
        """The look that was due is over; the next one is due an interval after it, or now if that has passed."""
        self.due_ns = max(self.due_ns + self._interval_ns, now_ns)
