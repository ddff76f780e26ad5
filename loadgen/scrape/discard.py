"""A reason for which a component discards something, and the setting behind it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from loadgen.model import Component

LABEL = "reason"


@dataclass(frozen=True, slots=True)
class Discard:
    """A reason to discard something.

    Attributes:
        component: whose.
        reason: as its counter says it.
        setting: what decides it; empty where it is no setting.
        silent: the push was answered with success all the same. What the others discard was refused, so a client
            knows of it.
        amount: it is a limit on how much, which more load runs into.
        advice: what to do, where that is not to raise the setting.
    """

    component: Component
    reason: str
    setting: str = ""
    silent: bool = False
    amount: bool = False
    advice: str = ""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self.advice:
            return self.advice
        return f"raise {self.setting}" if self.setting else f"see {self.component}'s log for what it means"


def amount(component: Component, reason: str, setting: str, silent: bool = False) -> Discard:
    """A limit on how much, kept by a setting."""
    return Discard(component, reason, setting, silent, amount=True)


def bad(component: Component, reason: str, setting: str = "", advice: str = "") -> Discard:
    """Something in what was sent, which a setting forbids."""
    return Discard(component, reason, setting, advice=advice)
