"""What a rule is: from a stack of manifests to remarks, and from these to a verdict. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from loadgen.audit.node import Node, Place
from loadgen.audit.stack import Effective, Release, Stack
from loadgen.judging import Check, Finding
from loadgen.model import Objective, Result

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
Rule = Check[Stack]
"""A promise about the manifests."""
_NOTHING_WRONG = Objective("nothing wrong", 0.0, "findings")
# Remedies that stand together; all of them stand beside their findings.
_MOST = 3
_ORDER = (WRONG, UNSURE, NOTE, FINE)


def rule_of(name: str, promise: str, remarks: Callable[[Stack], Remarks]) -> Rule:
    """A promise that is judged by remarks on what the manifests deploy."""
    return Check(name, promise, lambda stack: _finding(tuple(remarks(stack)), stack), bound=_NOTHING_WRONG)


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


def _finding(remarks: tuple[Remark, ...], stack: Stack) -> Finding:
    remarks = tuple(sorted(remarks, key=lambda remark: _ORDER.index(remark.kind)))
    kinds = {remark.kind for remark in remarks}
    if WRONG in kinds:
        return _made(Result.FAIL, remarks, *_said(remarks, WRONG))
    if stack.tree.problems:
        remarks = (
            *(Remark(UNSURE, one.place, f"not read: {one.what}", "mend this file") for one in stack.tree.problems),
            *remarks,
        )
        kinds.add(UNSURE)
    if not kinds - {NOTE} and NOTE not in kinds:
        remarks = (
            Remark(UNSURE, Place(".", 0), "there is nothing here that this rule is about", "audit the whole tree"),
        )
        kinds = {UNSURE}
    if UNSURE in kinds:
        return _made(Result.UNKNOWN, remarks, *_said(remarks, UNSURE))
    return _made(Result.PASS, remarks, tuple(map(str, remarks)), "")


def _said(remarks: tuple[Remark, ...], kind: str) -> tuple[tuple[str, ...], str]:
    """Evidence and remedy: what is to be done stands beside each finding, and once for all in the remedy."""
    of_kind = [remark for remark in remarks if remark.kind == kind]
    remedies = list(dict.fromkeys(remark.remedy for remark in of_kind if remark.remedy))
    texts = [
        f"{remark} → {remark.remedy}" if remark.remedy and len(remedies) > 1 else str(remark) for remark in of_kind
    ]
    others = [str(remark) for remark in remarks if remark.kind in (UNSURE, NOTE) and remark.kind != kind]
    more = f"; and {len(remedies) - _MOST} more, beside each finding" if len(remedies) > _MOST else ""
    return (*texts, *others), "; ".join(remedies[:_MOST]) + more


def _made(result: Result, remarks: tuple[Remark, ...], evidence: tuple[str, ...], remedy: str) -> Finding:
    count = sum(remark.kind == WRONG for remark in remarks)
    doubts = sum(remark.kind == UNSURE for remark in remarks)
    notes = [remark for remark in remarks if remark.kind == NOTE]
    files = len({remark.place.file for remark in remarks if remark.kind == WRONG})
    measured = ""
    if remarks:
        parts = [f"{count} wrong in {files} {'file' if files == 1 else 'files'}"] if count else []
        parts += [f"{doubts} not told"] if doubts else []
        parts += (
            [f"{len(notes)} to note: {notes[0].text}" + (", …" if notes[1:] else "")] if notes and not count else []
        )
        measured = ", ".join(parts) or "nothing wrong"
    value = float(count) if result in (Result.PASS, Result.FAIL) else None
    return Finding(result, None, measured, value, len(remarks), evidence, remedy)
