"""What follows for the user's own load from what a search measured: headroom, memory, growth in S3, limits. Pure.

Where a figure is missing there is None, and a note says how to get it. Where a line is used beyond the loads that it
was laid through, or explains little, the row says that it is a guess.

A deployed stack carries its user's load while it is searched. Then that load is part of what a component used without
loadgen's, so at 1× nothing is added for it; at 2× it is added once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from loadgen.capacity.advice import advice_of, best_carried
from loadgen.capacity.cost import MB_S, QUERIES
from loadgen.capacity.model import (
    Capacity,
    Cost,
    Ending,
    Flow,
    OwnLoad,
    Search,
    SearchKind,
    SizedRow,
    Sizing,
    Stored,
    Why,
)
from loadgen.capacity.scales import SCALES, scale_of
from loadgen.capacity.scales.logs import STREAMS
from loadgen.capacity.scales.metrics import SERIES
from loadgen.capacity.scales.need import Carried
from loadgen.kinds import SIGNALS, kind_of
from loadgen.model import Signal
from loadgen.units import bytes_text, duration_text

GIVEN = "the profile"
"""Source of a load that was not measured but given."""
TIMES = (1.0, 2.0, 5.0)

_DAY_S = 86_400.0
# Of a line that explains less of the variation, a prediction is a guess.
_POOR_FIT = 0.5


def sizing_of(
    capacity: Capacity, costs: Sequence[Cost], retention_s: float | None = None, bucket_bytes: float | None = None
) -> Sizing:
    """The sizing for the user's own load.

    Args:
        capacity: the search; the user's load is what its profile gives, else what was measured.
        costs: as `costs_of` tells them.
        retention_s: for how long data is kept; None: not known.
        bucket_bytes: size of each component's bucket; None: not given.
    """
    own = tuple(_own_of(capacity, signal) for signal in SIGNALS)
    carried = {signal: carried_in(capacity, signal) for signal in SIGNALS}
    notes: list[str] = []
    rows: list[SizedRow] = []
    for signal, load in zip(SIGNALS, own, strict=True):
        if load is None:
            notes.append(_unknown_load(capacity, signal))
            continue
        size = _Size.of(capacity, signal, load, carried[signal], costs)
        mine = [_row(size, times, retention_s, bucket_bytes) for times in TIMES]
        rows += mine
        notes += _notes(capacity, size, mine, retention_s, bucket_bytes)
    notes += _together(rows, bucket_bytes)
    loads = {signal: load for signal, load in zip(SIGNALS, own, strict=True) if load is not None}
    best = {signal: one for signal in SIGNALS if (one := best_carried(carried[signal])) is not None}
    advice, untold = advice_of(capacity, loads, best)
    return Sizing(
        own=tuple(loads.values()),
        stored=capacity.stored,
        rows=tuple(rows),
        advice=advice,
        retention_days=retention_s / _DAY_S if retention_s is not None else None,
        bucket_bytes=bucket_bytes,
        notes=tuple(dict.fromkeys([*notes, *untold])),
    )


def given_load(profile: Mapping[str, object]) -> tuple[OwnLoad, ...]:
    """The user's own load as a profile gives it (``[capacity] own``, as its model dumps it)."""
    section = profile.get("capacity")
    own = section.get("own") if isinstance(section, Mapping) else None
    if not isinstance(own, Mapping):
        return ()

    def number(name: str) -> float | None:
        value = own.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    loads = (replace(scale.given(number), source=GIVEN) for scale in SCALES)
    return tuple(load for load in loads if _is_known(load))


def carried_in(capacity: Capacity, signal: Signal) -> tuple[Carried, ...]:
    """What of a signal was carried in the steps that kept every promise, up to the level that its search found."""
    found = []
    for search in capacity.searches:
        if search.kept is None or search.kind.signal not in (signal, None) or search.kind is SearchKind.QUERIES:
            continue
        for step in capacity.of(search.kind):
            if step.ending is Ending.KEPT and step.level <= search.kept * 1.001:
                used = tuple(one for one in step.usage if one.component == kind_of(signal).store.value)
                found += [
                    Carried(flow, used)
                    for flow in step.flows
                    if flow.signal == signal.value and flow.accepted_bytes_per_s > 0
                ]
    return tuple(found)


# -- the load ------------------------------------------------------------------------------------------------------


def _is_known(load: OwnLoad) -> bool:
    return any(value is not None for value in (load.bytes_per_s, load.items_per_s, load.series))


def _own_of(capacity: Capacity, signal: Signal) -> OwnLoad | None:
    """The user's load of a signal, each figure as the profile gives it, else as measured; None if there is none."""
    measured = next((one for one in capacity.own if one.signal == signal.value), None)
    given = next((one for one in given_load(capacity.profile) if one.signal == signal.value), None)
    load = given or measured
    if given is not None and measured is not None:
        figures = {
            name: getattr(measured, name) if getattr(given, name) is None else getattr(given, name)
            for name in ("bytes_per_s", "items_per_s", "series")
        }
        same = figures == {name: getattr(given, name) for name in figures}
        load = replace(given, **figures, source=GIVEN if same else f"{GIVEN}; the rest: {measured.source}")
    if load is None or not (load.bytes_per_s or load.items_per_s):
        return None
    return load


def _unknown_load(capacity: Capacity, signal: Signal) -> str:
    name = kind_of(signal).store.title()
    measured = next((one for one in capacity.own if one.signal == signal.value), None)
    told = f"How much {name} carries of your own {signal} is not known"
    if measured is not None and _is_known(measured):
        told = f"{name} carries no {signal} of your own ({measured.source})"
    elif measured is not None and measured.source:
        told = f"{told} ({measured.source})"
    return (
        f"{told}: for sizing, let its /metrics be scraped into the Prometheus that Grafana reads, or set "
        f"{kind_of(signal).own_load} in the profile"
    )


@dataclass(frozen=True, slots=True)
class _Size:
    """All that the rows of one signal need.

    Attributes:
        plain_bytes_per_s: of the own load as it is pushed, which is how loads of steps are told; None if the component
            does not count bytes and no step tells.
        present: the stack carried this load while it was searched.
    """

    signal: Signal
    own: OwnLoad
    plain_bytes_per_s: float | None
    present: bool
    carried: tuple[Carried, ...]
    costs: tuple[Cost, ...]
    stored: Stored | None

    @classmethod
    def of(
        cls, capacity: Capacity, signal: Signal, own: OwnLoad, carried: tuple[Carried, ...], costs: Sequence[Cost]
    ) -> _Size:
        flows = [flow for step in capacity.steps for flow in step.flows if flow.signal == signal.value]
        items = sum(flow.accepted_items_per_s for flow in flows)
        plain = own.bytes_per_s
        present = not own.source.startswith(GIVEN)
        if plain is not None and present:
            plain += scale_of(signal).frame_bytes * (own.items_per_s or 0.0)
        if plain is None and own.items_per_s is not None and items > 0:
            plain = own.items_per_s * sum(flow.accepted_bytes_per_s for flow in flows) / items
        component = kind_of(signal).store.value
        return cls(
            signal=signal,
            own=own,
            plain_bytes_per_s=plain,
            present=present,
            carried=carried,
            costs=tuple(cost for cost in costs if cost.component == component),
            stored=next((one for one in capacity.stored if one.signal == signal.value), None),
        )

    def headroom(self) -> float | None:
        """The highest load that was kept, as a multiple of the own one, in the dimension that is nearest its end."""
        return max((ratio for one in self.carried if (ratio := self._ratio(one.flow)) is not None), default=None)

    def _ratio(self, flow: Flow) -> float | None:
        own = self.own
        if own.bytes_per_s and self.plain_bytes_per_s:
            pairs = [(flow.accepted_bytes_per_s, self.plain_bytes_per_s)]
        else:
            pairs = [(flow.accepted_items_per_s, own.items_per_s or 0.0)]
        if scale_of(self.signal).series_bound and own.series:
            pairs.append((float(flow.series), own.series))
        return min((kept / mine for kept, mine in pairs if mine > 0), default=None)

    def used(self, resource: str, times: float) -> tuple[float | None, bool]:
        """What the component uses of a resource at a multiple of the load, and whether that is a guess."""
        lines = [cost for cost in self.costs if cost.resource == resource]
        if not lines:
            return None, False
        total, guess = lines[0].idle, lines[0].fit < _POOR_FIT
        for cost in lines:
            amount = self.amount(cost.unit, times)
            if amount is None:
                return None, False
            total += cost.per_unit * amount
            reach = 1e-9 * max(abs(cost.low), abs(cost.high))
            guess |= not cost.low - reach <= amount <= cost.high + reach
        return (total, guess) if total >= 0 else (None, False)

    def amount(self, unit: str, times: float) -> float | None:
        """How much of a unit of load is added at a multiple of the own load; None: not known."""
        if unit == MB_S:
            more = times - 1.0 if self.present else times
            return self.plain_bytes_per_s * more / 1e6 if self.plain_bytes_per_s is not None else None
        if unit in (SERIES, STREAMS):
            return self.own.series * times / 1000 if self.own.series is not None else None
        # Nobody counted the user's own queries; the notes say so.
        return 0.0 if unit == QUERIES else None

    def stored_per_day(self) -> float | None:
        """Bytes a day that the own load leaves in S3."""
        if self.stored is None or self.stored.ratio is None:
            return None
        if self.own.bytes_per_s is not None and self.plain_bytes_per_s is not None:
            return self.plain_bytes_per_s * self.stored.ratio * _DAY_S
        seen = self.stored.items * self.stored.covered_share
        return (
            self.own.items_per_s * self.stored.stored_bytes / seen * _DAY_S if self.own.items_per_s and seen else None
        )


def _row(size: _Size, times: float, retention_s: float | None, bucket_bytes: float | None) -> SizedRow:
    headroom, per_day = size.headroom(), size.stored_per_day()
    memory, memory_guess = size.used("memory_bytes", times)
    cores, cores_guess = size.used("cores", times)
    per_day = per_day * times if per_day is not None else None
    kept = per_day * retention_s / _DAY_S if per_day is not None and retention_s is not None else None
    fills = bucket_bytes is not None and (kept is None or kept > bucket_bytes)
    return SizedRow(
        signal=size.signal.value,
        times=times,
        load_bytes_per_s=size.plain_bytes_per_s * times if size.plain_bytes_per_s is not None else None,
        headroom=headroom / times if headroom is not None else None,
        memory_bytes=memory,
        cores=cores,
        s3_bytes_per_day=per_day,
        s3_bytes_kept=kept,
        days_until_full=bucket_bytes / per_day if fills and bucket_bytes is not None and per_day else None,
        guess=memory_guess or cores_guess,
    )


# -- notes ---------------------------------------------------------------------------------------------------------


def _notes(
    capacity: Capacity, size: _Size, rows: Sequence[SizedRow], retention_s: float | None, bucket_bytes: float | None
) -> Iterator[str]:
    name, signal, today = kind_of(size.signal).store.title(), size.signal, rows[0]
    search = next((one for one in capacity.searches if one.kind.signal is signal), None)
    again = f"`loadgen capacity --signal {signal}`"
    if today.headroom is None:
        yield f"{name}'s headroom is not known: no step with {signal} kept every promise; {again} searches for one"
    elif search is not None and _is_open(search):
        yield f"{name}'s headroom is at least this: {again} ended ({search.why}) before a promise broke"
    if size.present and today.headroom is not None:
        yield f"{name}'s headroom counts what loadgen sent; your own load came on top of it"
    no_bytes = scale_of(signal).no_bytes
    if no_bytes and size.plain_bytes_per_s is None:
        yield f"Bytes of your own {signal} are not known: {no_bytes}, and no step tells what one takes"
    elif size.own.bytes_per_s is None and size.plain_bytes_per_s is not None:
        yield f"Bytes of your own {signal} are reckoned from what an item of loadgen's takes"
    yield from _notes_on_use(size, rows, again)
    if today.s3_bytes_per_day is None:
        yield (
            f"{name}'s growth in S3 is not known: it takes a target with [s3] and a search after which all data "
            "reached S3 (--flush, or a longer capacity.s3_wait)"
        )
        return
    yield f"{name}'s growth in S3 is that of loadgen's {signal}; yours may compress better or worse"
    if retention_s is None:
        yield "What S3 holds in the end is not known: set capacity.retention in the profile"
    if bucket_bytes is None:
        yield "Days until a bucket is full are not known: set capacity.bucket_size in the profile"
    elif today.s3_bytes_kept is not None and today.s3_bytes_kept <= bucket_bytes:
        yield (
            f"{name}'s bucket of {bytes_text(bucket_bytes)} never fills at 1×: {duration_text(retention_s or 0.0)} of "
            f"data take {bytes_text(today.s3_bytes_kept)}"
        )


def _notes_on_use(size: _Size, rows: Sequence[SizedRow], again: str) -> Iterator[str]:
    name = kind_of(size.signal).store.title()
    for resource, what in (("memory_bytes", "memory"), ("cores", "CPU")):
        lines = [cost for cost in size.costs if cost.resource == resource]
        missing = all(getattr(row, resource) is None for row in rows)
        if not lines:
            yield f"{name}'s {what} is not known: it takes its /metrics and steps of three loads at least; {again}"
            continue
        if missing:
            why = "series or streams" if {cost.unit for cost in lines} & {SERIES, STREAMS} else "load"
            below = [cost for cost in lines if size.amount(cost.unit, 1.0) is None]
            if below:
                yield f"{name}'s {what} is not known: it goes with {why}, and how many are your own is not known"
            else:
                yield f"{name}'s {what} is not known: by the line it would be less than nothing"
        elif lines[0].fit < _POOR_FIT:
            yield f"{name}'s {what} hardly follows the load (R² {lines[0].fit:.2f}): take it for a guess"
        if any(cost.unit == QUERIES for cost in lines) and not missing:
            yield f"{name}'s {what} is without the queries of your own, which nobody counts"


def _is_open(search: Search) -> bool:
    """No promise broke above the level that was kept."""
    return search.broke is None and search.why is not Why.FOUND


def _together(rows: Sequence[SizedRow], bucket_bytes: float | None) -> Iterator[str]:
    today = [row for row in rows if row.times == TIMES[0] and row.s3_bytes_per_day is not None]
    if bucket_bytes is None or len(today) < 2:
        return
    per_day = sum(row.s3_bytes_per_day or 0.0 for row in today)
    kept = [row.s3_bytes_kept for row in today]
    what = f"one disk of {bytes_text(bucket_bytes)} for {', '.join(row.signal for row in today)} together"
    total = sum(one for one in kept if one is not None)
    if None not in kept and total <= bucket_bytes:
        yield f"At 1×, {what} never fills: they take {bytes_text(total)}"
    elif per_day > 0:
        yield f"At 1×, {what} is full in {bucket_bytes / per_day:.3g} days"
