"""What a component itself counted as discarded while a run lasted: where accepted data may have gone. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from loadgen.checks.case import ITEMS, Case, counted
from loadgen.kinds import kind_of
from loadgen.model import Signal
from loadgen.scrape.counters import increases, scrapes_of
from loadgen.scrape.discard import LABEL, Discard
from loadgen.scrape.discards import COUNTERS, discard_of
from loadgen.stores import store_of

_REFUSED = r": [45]\d\d\b|RESOURCE_EXHAUSTED|INVALID_ARGUMENT|FAILED_PRECONDITION"
"""A server's own words in the detail of a receipt, unlike those of a connection that broke."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a component says that it discarded.

    Attributes:
        why: the reason, and the setting behind it.
        items: how many during the run, at least: what was counted right before a kill is not known.
    """

    why: Discard
    items: int


@dataclass(frozen=True, slots=True)
class Discards:
    """What is known of the discarded items of one signal.

    Attributes:
        signal: whose.
        scraped: the component's counters were seen often enough to tell.
        reasons: those that grew, the largest first.
        refused: a server said no to some push of the run, be it that it took it later.
    """

    signal: Signal
    scraped: bool
    reasons: tuple[Counted, ...]
    refused: bool

    @property
    def silent(self) -> tuple[Counted, ...]:
        """The reasons that may explain why accepted data is missing: those that a client is not told of.

        Reasons for which a push is refused belong to it where no push was: then somebody answered in the component's
        place, or another client was refused.
        """
        return tuple(one for one in self.reasons if one.why.silent or not self.refused)

    def evidence(self) -> list[str]:
        """What the component counted, for the verdict."""
        component, counter = kind_of(self.signal).store.value.capitalize(), COUNTERS[kind_of(self.signal).store]
        if not self.scraped:
            return [f"{component}'s /metrics were not seen, so {counter} cannot tell what it discarded"]
        if not self.reasons:
            return [f"{component} counts nothing as discarded ({counter} did not grow)"]
        texts = [f"{counted(one.items, ITEMS[self.signal])} for {one.why.reason}" for one in self.reasons]
        told = "" if self.silent else "; pushes were refused for that, and these do not count as accepted"
        more = store_of(kind_of(self.signal).store).counts_more if self.silent else ""
        said = f"{component} counts as discarded during the run, of all clients: {', '.join(texts)} ({counter})"
        return [said + told + more]

    def advice(self, missing: int, general: str) -> str:
        """What to do: about the reason that the component gives, and what else may help for the rest."""
        silent = self.silent
        if not silent:
            return general
        name = kind_of(self.signal).store.value.capitalize()
        texts = [
            f"{name} took pushes and then dropped a part of them for {one.why.reason}, by its own count "
            f"{counted(one.items, ITEMS[self.signal])}: {one.why.remedy}"
            for one in silent
        ]
        if sum(one.items for one in silent) < missing:
            texts.append(f"for the rest, {general}")
        return "; ".join(texts)


def discards_of(case: Case, signal: Signal) -> Discards:
    """What the component of a signal counted as discarded between the first and the last look at its counters."""
    component = kind_of(signal).store
    stack = case.history.stack
    rows = stack[stack["component"] == component.value].sort_values("at_ns", kind="stable")
    sent = case.receipts(signal)
    # Also of a push that was taken in the end the receipt says what went wrong before.
    refused = bool((sent["status"].between(400, 599) | sent["detail"].str.contains(_REFUSED)).any())
    if rows["at_ns"].nunique() < 2:
        return Discards(signal, False, (), refused)
    grown = increases(rows[rows["metric"] == COUNTERS[component]], scrapes_of(rows), LABEL)
    ranked = sorted(((reason, round(items)) for reason, items in grown.items()), key=lambda pair: (-pair[1], pair[0]))
    reasons = tuple(Counted(discard_of(component, reason), items) for reason, items in ranked if items > 0)
    return Discards(signal, True, reasons, refused)
