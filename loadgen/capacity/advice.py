"""Which limits a stack needs: the smallest for the user's own load, and for the highest load that was kept. Pure.

A limit on a rate is a mean, so it gets room above the load; what may come at one moment is the burst. Loki counts its
``…_mb`` in units of 1,048,576 bytes; limits in bytes are given as plain numbers, which nobody can misread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadgen.capacity.model import Advice, Capacity, OwnLoad
from loadgen.capacity.scales import SCALES
from loadgen.capacity.scales.need import Carried
from loadgen.kinds import kind_of
from loadgen.model import Component, Signal


def advice_of(
    capacity: Capacity, own: Mapping[Signal, OwnLoad], carried: Mapping[Signal, Carried]
) -> tuple[tuple[Advice, ...], tuple[str, ...]]:
    """Limits, and what cannot be told of them. A signal of which nothing is known has no advice."""
    advice: list[Advice] = []
    notes: list[str] = []
    for scale in SCALES:
        signal, component = scale.signal, kind_of(scale.signal).store
        mine, kept = own.get(signal), carried.get(signal)
        for need in scale.needs(mine, kept, _push_every_s(capacity, signal)):
            if need.own is None and need.kept is None:
                continue
            today = _today(capacity, component, need.setting)
            advice.append(Advice(component.value, need.setting, need.text(need.own), need.text(need.kept), today))
            if need.own is not None and need.kept is not None and need.own > need.kept:
                notes.append(
                    f"{need.setting}: what your own load needs is more than what {component.title()} was seen to "
                    "carry; raise it only after a search that went so far"
                )
        notes += scale.not_told(mine, kept)
    return tuple(advice), tuple(notes)


def _push_every_s(capacity: Capacity, signal: Signal) -> float | None:
    """Time between two pushes of a virtual user, as the profile says."""
    section = capacity.profile.get(signal.value)
    value = section.get("push_every") if isinstance(section, Mapping) else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _today(capacity: Capacity, component: Component, setting: str) -> str:
    """The value that the server told when it refused, the last time that it did."""
    name = setting.rpartition(".")[2]
    told = [
        refusal.limit.value
        for step in capacity.steps
        for refusal in step.refusals
        if refusal.limit is not None
        and refusal.limit.component == component.value
        and refusal.limit.setting.rpartition(".")[2] == name
        and refusal.limit.value
    ]
    return told[-1] if told else ""


def best_carried(steps: Sequence[Carried]) -> Carried | None:
    """The one that brought the most."""
    return max(steps, key=lambda one: (one.flow.accepted_bytes_per_s, one.flow.series), default=None)
