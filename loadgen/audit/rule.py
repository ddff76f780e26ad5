"""What a rule is: from a stack of manifests to remarks, and from these to a verdict. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from loadgen.audit.node import Node, Place
from loadgen.audit.stack import Effective, Release, Stack

WRONG, UNSURE, FINE, NOTE = "wrong", "unsure", "fine", "note"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that a rule saw.

    Attributes:
        kind: ``wrong``, ``unsure`` (it cannot be told), ``fine``, or ``note`` (worth knowing, judges nothing).
        place: where.
        text: what; never the value of a secret.
        remedy: what to write instead.
    """

    kind: str
    place: Place
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


Remarks = Iterable[Remark]
Judge = Callable[[Stack], Remarks]


@dataclass(frozen=True, slots=True)
class Rule:
    """A promise about the manifests.

    Attributes:
        name: e.g. ``https_s3``.
        promise: in words.
        judge: from the manifests to remarks; pure.
    """

    name: str
    promise: str
    judge: Judge


def place_of(where: Node | Place | Effective | Release) -> Place:
    """The place of anything that has one."""
    return where if isinstance(where, Place) else where.place


def wrong(where: Node | Place | Effective | Release, text: str, remedy: str) -> Remark:
    """The promise is broken here."""
    return Remark(WRONG, place_of(where), text, remedy)


def unsure(where: Node | Place | Effective | Release, text: str, remedy: str) -> Remark:
    """It cannot be told here."""
    return Remark(UNSURE, place_of(where), text, remedy)


def fine(where: Node | Place | Effective | Release, text: str) -> Remark:
    """The promise is kept here."""
    return Remark(FINE, place_of(where), text)


def note(where: Node | Place | Effective | Release, text: str) -> Remark:
    """Worth knowing."""
    return Remark(NOTE, place_of(where), text)


def unknown_value(effective: Effective, what: str) -> Remark:
    """A value is neither set nor is its default known."""
    return unsure(effective, f"{what} is not known: {effective.source}", f"set {effective.path} in the values")


def absent(component: str) -> Remark:
    """There is no release of a component, so nothing can be said of it."""
    chart = CHARTS[component]
    return unsure(
        Place(".", 0),
        f"no HelmRelease of {component} here (chart {chart})",
        f"audit the folder that holds the HelmRelease of {component}, or leave the rule out with --skip",
    )


CHARTS = {
    "loki": "loki",
    "tempo": "tempo",
    "mimir": "mimir-distributed",
    "grafana": "grafana",
    "prometheus": "kube-prometheus-stack",
}
