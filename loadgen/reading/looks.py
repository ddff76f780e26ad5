"""A look at one batch: how many of its items are visible, without judging them."""

from __future__ import annotations

from collections.abc import Callable

from loadgen.targets.reading import Reply

Look = Callable[[], Reply[int]]
"""Asks once, and gives how many of a batch's items are visible."""
SEARCH = "search"
"""Where a look is made that finds a batch by its attributes, as people do who know no id."""
