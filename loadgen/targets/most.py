"""How many results a server gives to one query, which differs by tenant and which it tells when it refuses one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from loadgen.model import QueryTiming
from loadgen.targets.reading import Asker, Reply

T = TypeVar("T")


class Most:
    """The most results of one query of a server. What one copy of a reader learns of it, all copies keep to.

    Attributes:
        items: so many, as far as it is known.

    Args:
        items: what it is by default.
        refusal: finds the words of a refusal for that reason; its group, where there is one, is how many are allowed.
    """

    def __init__(self, items: int, refusal: re.Pattern[str]) -> None:
        self.items = items
        self._refusal = refusal

    def ask(self, asker: Asker, limit: int, get: Callable[[Asker, int, int], Reply[T]], due_ns: int) -> Reply[T]:
        """Ask for at most ``limit`` results, or as many as are allowed.

        A refusal that only tells how many these are is no failed query.
        ``get`` takes the asker, the number to ask for and the planned time.
        """
        while True:
            asked = min(limit, self.items)
            held: list[QueryTiming] = []
            reply = get(asker.recording(held.append), asked, due_ns)
            fewer = self._fewer(reply.error, asked)
            if not fewer:
                asker.hand_on(held)
                return reply
            self.items = fewer
            due_ns = due_ns or reply.sent_ns

    def _fewer(self, error: str, asked: int) -> int:
        """How many to ask for instead, where a query was refused for their number; 0 where it was not."""
        refused = self._refusal.search(error)
        if refused is None:
            return 0
        fewer = int(refused[1]) if refused[1] else asked // 2
        return fewer if 0 < fewer < asked else 0
