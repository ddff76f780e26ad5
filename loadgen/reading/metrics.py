"""Reading metrics back: samples counted per series, and compared with the samples that were sent, value for value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from loadgen.kinds.metrics.source import MetricSource
from loadgen.model import MS, Batch, Outcome, Signal
from loadgen.plan import Plan
from loadgen.reading.cases import (
    Found,
    Ledger,
    Looking,
    SentBatch,
    by_user,
    grouped,
    readings,
    settled_by_count,
    shortened,
    unreadable,
)
from loadgen.reading.edges import free_range, rhythm_of
from loadgen.reading.looks import Look
from loadgen.reading.names import Added, difference_of
from loadgen.targets.mimir import MimirReader, RawSeries
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Labels, Reply, quoted, selector

_READ_SAMPLES = 50_000
_COUNT_SAMPLES = 2_000_000
_MAX_SERIES = 20_000
_MAX_INSTANCES = 50
_SUMMED_AT_ONCE = 500_000
# Sums of fractions differ in their last digits by the order of adding; one sample more or less changes far more.
_SUM_TOLERANCE = 1e-11
# The labels that tell the series of a run apart.
_IDENTITY = frozenset(("__name__", "run", "instance", "series", "le"))


class MetricAuditor:
    """Reads the metrics of a run back."""

    signal = Signal.METRICS

    def __init__(self, ledger: Ledger, reader: MimirReader) -> None:
        self._ledger = ledger
        self._reader = reader
        self._source: MetricSource = ledger.plan.metrics
        self._run = ledger.plan.key.series_run

    @classmethod
    def of(cls, ledger: Ledger, readers: Readers, looking: Looking) -> MetricAuditor:  # noqa: ARG003 - it never waits
        """The auditor of what a ledger names."""
        return cls(ledger, readers.mimir)

    def windows(self) -> Iterator[tuple[SentBatch, ...]]:
        """All cases: some instances at a time, each set in windows of time."""
        return self._ledger.by_users(self._together(), _READ_SAMPLES if self._ledger.whole else _COUNT_SAMPLES)

    def _together(self) -> int:
        """How many instances one query may ask for."""
        return max(1, min(_MAX_INSTANCES, _MAX_SERIES // self._source.load.series))

    def regroup(self, cases: Sequence[SentBatch]) -> Iterator[tuple[SentBatch, ...]]:
        """Cases that are looked for again."""
        ordered = sorted(cases, key=lambda case: case.batch.due_ns)
        return grouped(ordered, _READ_SAMPLES, self._together())

    def look(self, cases: Sequence[SentBatch], again: bool) -> list[Found]:
        """Count what need not be compared, and read the rest."""
        counted: list[Found] = []
        wanted = list(cases)
        if not again and not all(case.compare for case in cases):
            counted, wanted = self._count(cases)
        read = (self._read(users) for users in readings(self._ledger, wanted)) if wanted else ()
        return counted + [found for part in read for found in part]

    # -- counting --------------------------------------------------------------------------------------------------

    def _count(self, cases: Sequence[SentBatch]) -> tuple[list[Found], list[SentBatch]]:
        """What the counts settle, and the cases to be read: sampled, uncertain, or of an instance that differs.

        Beside the number of samples, their sum has to be right: a surplus sample makes up for a lost one in the count,
        but not in the sum.
        """
        users = by_user(cases)
        firsts = {user: self._source.pace(user).due(0) // MS for user in users}
        offsets = self._source.times_ms(self._source.batch(0, 0)) - self._source.batch(0, 0).due_ns // MS
        rhythm = rhythm_of(list(firsts.values()), self._source.load.interval_ms, offsets)
        dues_ms = [case.batch.due_ns // MS for case in cases]
        span = free_range(rhythm, min(dues_ms) + int(offsets[0]), max(dues_ms), 1000)
        if span is None:
            return [], list(cases)
        counts: dict[Labels, int] = {}
        sums: dict[Labels, float] = {}
        names = sorted({dict(labels)["__name__"] for user in users for labels in self._source.series(user)})
        sent_ns = done_ns = 0
        for name in names:
            selected = self._selector(list(users), name)
            reply = self._reader.counts(selected, *span)
            if reply.value is None:
                return unreadable(cases, reply.error, reply.sent_ns, reply.done_ns), []
            summed = self._reader.sums(selected, *span)
            if summed.value is None:
                return unreadable(cases, summed.error, summed.sent_ns, summed.done_ns), []
            sent_ns, done_ns = sent_ns or reply.sent_ns, summed.done_ns
            for labels, count in reply.value.items():
                series = identity(_with_name(name, labels))
                counts[series] = counts.get(series, 0) + count
            for labels, value in summed.value.items():
                series = identity(_with_name(name, labels))
                sums[series] = sums.get(series, 0.0) + value
        settled: list[Found] = []
        wanted: list[SentBatch] = []
        for user, mine in users.items():
            accepted = self._ledger.sent(user, Outcome.ACCEPTED)
            sent = [identity(labels) for labels in self._source.series(user)]
            expected = rhythm.counted(firsts[user], accepted, *span)
            # Items of pushes with an unknown outcome can make up for lost ones.
            right = (
                not rhythm.counted(firsts[user], self._ledger.sent(user, Outcome.UNKNOWN), *span)
                and all(counts.get(labels, 0) == expected for labels in sent)
                and np.allclose(
                    [sums.get(labels, 0.0) for labels in sent],
                    self._expected_sums(user, rhythm.times(firsts[user], accepted, *span)),
                    rtol=_SUM_TOLERANCE,
                    atol=0.0,
                )
            )
            for case in mine:
                found = settled_by_count(case, sent_ns, done_ns) if right else None
                if found is None:
                    wanted.append(case)
                else:
                    settled.append(found)
        return settled, wanted

    def _expected_sums(self, user: int, times_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """The sum of each series over some times."""
        sums = np.zeros(self._source.load.series)
        at_once = max(1, _SUMMED_AT_ONCE // len(sums))
        for begin in range(0, len(times_ms), at_once):
            sums += self._source.values_at(user, times_ms[begin : begin + at_once]).sum(axis=1)
        return sums

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, users: dict[int, list[SentBatch]]) -> list[Found]:
        cases = [case for mine in users.values() for case in mine]
        start_ms = min(int(self._source.times_ms(case.batch)[0]) for case in cases)
        # Up to just before the next planned sample, so that surplus ones after the last are seen too.
        after_ms = self._source.load.interval_ms // self._source.load.samples_per_push - 1
        end_ms = max(int(self._source.times_ms(case.batch)[-1]) for case in cases) + after_ms
        reply = self._reader.raw(self._selector(list(users)), start_ms, end_ms)
        if reply.value is None:
            return unreadable(cases, reply.error, reply.sent_ns, reply.done_ns)
        mine: dict[str, list[RawSeries]] = {}
        for series in reply.value:
            mine.setdefault(dict(series.labels).get("instance", ""), []).append(series)
        return [
            found
            for user, wanted in users.items()
            for found in compare_samples(
                self._source, wanted, mine.get(_instance(self._source, user), ()), reply.sent_ns, reply.done_ns
            )
        ]

    def _selector(self, users: Sequence[int], name: str = "") -> str:
        named = f"__name__={quoted(name)}, " if name else ""
        if len(users) == 1:
            return f"{{{named}{selector(run=self._run, instance=_instance(self._source, users[0]))[1:]}"
        instances = "|".join(re.escape(_instance(self._source, user)).replace("\\-", "-") for user in users)
        return f"{{{named}run={quoted(self._run)}, instance=~{quoted(instances)}}}"


def _with_name(name: str, labels: Labels) -> Labels:
    return tuple(sorted((("__name__", name), *labels)))


def identity(labels: Labels) -> Labels:
    """What a series of a run is recognised by, whatever else was added to its labels, changed or left out."""
    return tuple((name, value) for name, value in labels if name in _IDENTITY)


def _instance(source: MetricSource, user: int) -> str:
    return dict(source.series(user)[0])["instance"]


def compare_samples(
    source: MetricSource, cases: Sequence[SentBatch], came: Sequence[RawSeries], sent_ns: int, done_ns: int
) -> list[Found]:
    """Tell for each batch of one instance which of its samples came back, once, in order and with the value sent.

    A sample at a time for which none was planned is a surplus copy of the one before it: Prometheus keeps one sample
    per time, so that a copy can only have another.
    """
    series = source.series(cases[0].batch.user)
    rows = {identity(labels): row for row, labels in enumerate(series)}
    times = [source.times_ms(case.batch) for case in cases]
    values = [source.values(case.batch) for case in cases]
    all_times = np.concatenate(times)
    owners = np.repeat(np.arange(len(cases)), [len(one) for one in times])
    order = np.argsort(all_times, kind="stable")
    all_times, owners, all_values = all_times[order], owners[order], np.concatenate(values, axis=1)[:, order]
    offsets = times[0] - cases[0].batch.due_ns // MS
    first_ms = source.pace(cases[0].batch.user).due(0) // MS
    tally = _SampleTally(len(cases), all_times, owners, np.unique((first_ms + offsets) % source.load.interval_ms))
    copies: dict[int, list[RawSeries]] = {}
    for one in came:
        row = rows.get(identity(one.labels))
        if row is not None:
            copies.setdefault(row, []).append(one)
    for row, labels in enumerate(series):
        if row not in copies:
            tally.lack(labels)
            continue
        tally.add_all(labels, copies[row], all_values[row], source.load.interval_ms)
    return [
        Found(
            case=case,
            sent_ns=sent_ns,
            done_ns=done_ns,
            found=int(tally.found[i]),
            doubled=int(tally.doubled[i]),
            altered=int(tally.altered[i]),
            reordered=int(tally.reordered[i]),
            compared=int(tally.found[i]),
            detail=tally.detail(i) if case.outcome == "accepted" else tally.details.get(i, ""),
            added=tally.added.text if tally.found[i] else "",
        )
        for i, case in enumerate(cases)
    ]


class _SampleTally:
    """Counts per batch, added up series by series.

    Args:
        batches: how many there are.
        times: the times of their samples, ascending.
        owners: which batch each time belongs to.
        places: where in the interval a sample of this instance can be at all.
    """

    def __init__(
        self, batches: int, times: NDArray[np.int64], owners: NDArray[np.int64], places: NDArray[np.int64]
    ) -> None:
        self.found = np.zeros(batches, dtype=np.int64)
        self.doubled = np.zeros(batches, dtype=np.int64)
        self.altered = np.zeros(batches, dtype=np.int64)
        self.reordered = np.zeros(batches, dtype=np.int64)
        self.details: dict[int, str] = {}
        self.added = Added()
        self._wrong: dict[Labels, NDArray[np.int64]] = {}
        self._lacking: dict[int, str] = {}
        self._times, self._owners, self._places = times, owners, places

    def detail(self, batch: int) -> str:
        """The first evidence of a batch; what is there and wrong says more than what is missing."""
        return self.details.get(batch) or self._lacking.get(batch, "")

    def lack(self, labels: Labels) -> None:
        """Note a series of which nothing came back."""
        for batch in range(len(self.found)):
            self._lacking.setdefault(batch, shortened(f"series {_named(labels)} is missing"))

    def add_all(self, sent: Labels, copies: Sequence[RawSeries], values: NDArray[np.float64], interval_ms: int) -> None:
        """Add what came back of one series: as one, or as several that differ in labels that do not identify it.

        Agents that take turns, or one that is set up anew in the middle, leave several, each with a part of the
        samples. A sample that several have came that often; the one that is most like what was sent counts.
        """
        first, *others = sorted(copies, key=lambda one: (len(set(sent) - set(one.labels)), one.labels))
        there = self._add(first, values, interval_ms, np.zeros(len(self._times), dtype=np.bool_))
        self._compare_labels(sent, first, there)
        for one in others:
            self._copy(one, first, there)
            fresh = self._add(one, values, interval_ms, there)
            self._compare_labels(sent, one, fresh)
            there = there | fresh
        for place in np.flatnonzero(~there):
            self._note(self._lacking, first, int(place), "is missing")

    def _compare_labels(self, sent: Labels, one: RawSeries, counted: NDArray[np.bool_]) -> None:
        """Hold the labels of a series against those that were sent; another value alters all that counts of it."""
        came = dict(one.labels)
        self.added.note("label", (name for name, _ in sent), came)
        difference = difference_of("label", sent, came)
        if difference:
            places = np.flatnonzero(counted)
            # What is altered in its value too counts once.
            fresh = np.setdiff1d(places, self._wrong.get(one.labels, np.zeros(0, np.int64)))
            np.add.at(self.altered, self._owners[fresh], 1)
            for place in places:
                self._note(self.details, one, int(place), f"came back with another label: {difference}")

    def _copy(self, one: RawSeries, first: RawSeries, there: NDArray[np.bool_]) -> None:
        """Count those samples of a series that are there already, under other labels."""
        places = self._known(one)
        places = places[there[places]]
        np.add.at(self.doubled, self._owners[places], 1)
        apart = sorted(set(one.labels) ^ set(first.labels))
        for place in np.unique(places):
            said = "came back as several series, which differ in " + ", ".join(f"{n}={v!r}" for n, v in apart)
            self._note(self.details, one, int(place), said)

    def _known(self, one: RawSeries) -> NDArray[np.int64]:
        """The places of those of its samples that were planned."""
        places = np.minimum(np.searchsorted(self._times, one.times_ms), len(self._times) - 1)
        planned: NDArray[np.int64] = places[self._times[places] == one.times_ms]
        return planned

    def _add(
        self, one: RawSeries, values: NDArray[np.float64], interval_ms: int, before: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Add what one series has beside what was there ``before``; tells the places that it adds."""
        times, owners = self._times, self._owners
        places = np.minimum(np.searchsorted(times, one.times_ms), len(times) - 1)
        known = times[places] == one.times_ms
        surplus = one.times_ms[~known]
        surplus = surplus[~np.isin(surplus % interval_ms, self._places)]
        if len(surplus):
            preceding = np.maximum(np.searchsorted(times, surplus) - 1, 0)
            np.add.at(self.doubled, owners[preceding], 1)
            said = f"came back once more at {int(surplus[0])} ms"
            self._note(self.details, one, int(preceding[0]), said)
        counts = known & ~before[places]
        places, came_values, came_times = places[counts], one.values[counts], one.times_ms[counts]
        seen = np.bincount(places, minlength=len(times))
        np.add.at(self.found, owners[seen > 0], 1)
        if (seen > 1).any():
            np.add.at(self.doubled, owners, np.maximum(seen - 1, 0))
            self._note(self.details, one, int(np.argmax(seen > 1)), f"came back {int(seen.max())} times")
        wrong = (came_values != values[places]) & ~(np.isnan(came_values) & np.isnan(values[places]))
        if wrong.any():
            self._wrong[one.labels] = np.unique(places[wrong])
            np.add.at(self.altered, owners[self._wrong[one.labels]], 1)
            at = int(np.argmax(wrong))
            said = f"is {float(came_values[at])!r} instead of {float(values[places[at]])!r}"
            self._note(self.details, one, int(places[at]), said)
        behind = np.flatnonzero(np.diff(came_times) < 0) + 1
        if len(behind):
            np.add.at(self.reordered, owners[places[behind]], 1)
            self._note(self.details, one, int(places[behind[0]]), "came back after a later sample")
        added: NDArray[np.bool_] = seen > 0
        return added

    def _note(self, notes: dict[int, str], one: RawSeries, place: int, said: str) -> None:
        batch = int(self._owners[place])
        if batch not in notes:
            notes[batch] = shortened(f"{_named(one.labels)} at {int(self._times[place])} ms {said}")


def _named(labels: Labels) -> str:
    """A series in a few words."""
    parts = dict(labels)
    bound = f" le={parts['le']}" if "le" in parts else ""
    return f"{parts.get('__name__')} of {parts.get('instance')}, series {parts.get('series')}{bound}"


def count_of_present(source: MetricSource, batch: Batch, came: Sequence[RawSeries]) -> int:
    """How many of a batch's samples are there: for telling whether it is visible, without judging it."""
    times = set(source.times_ms(batch).tolist())
    rows = {identity(labels) for labels in source.series(batch.user)}
    there: dict[Labels, set[int]] = {}
    for one in came:
        if (series := identity(one.labels)) in rows:
            there.setdefault(series, set()).update(times.intersection(one.times_ms.tolist()))
    return sum(len(found) for found in there.values())


def looks(plan: Plan, readers: Readers, batch: Batch, clock: Callable[[], int]) -> Sequence[tuple[str, Look]]:  # noqa: ARG001
    """The samples of a batch's series and time."""
    labels, times = dict(plan.metrics.series(batch.user)[0]), plan.metrics.times_ms(batch)
    chosen = selector(run=labels["run"], instance=labels["instance"])

    def look() -> Reply[int]:
        reply = readers.mimir.raw(chosen, int(times[0]), int(times[-1]))
        if reply.value is None:
            return reply.failed()
        return reply.with_value(count_of_present(plan.metrics, batch, reply.value))

    return ((readers.via, look),)
