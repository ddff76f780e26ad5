"""What was accepted is in S3 within its time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from loadgen.checks.case import (
    EXAMPLES,
    RUN_LONGER,
    Case,
    RunCheck,
    counted,
    nearest_rank,
    nobody_sends,
    share_text,
    unknown,
)
from loadgen.checks.s3_looks import Looks, looks_of
from loadgen.checks.s3_match import CLOCK_MAX, CLOCK_MIN, Coverage, s3_coverage
from loadgen.judging import Finding
from loadgen.kinds import KINDS
from loadgen.kinds.kind import Kind
from loadgen.mistakes import REPORT_IT
from loadgen.model import CLOCKS, NS, OURS, Component, Objective, Result
from loadgen.units import bytes_text, duration_text

MIN_BATCHES = 10


_UNSEARCHED = (
    "nobody looked for them everywhere after it: Loki splits even slow streams for some seconds after a restart, and "
    "the parts have other names"
)
_SPLIT = (
    "run `loadgen verify RUN` when all of it should be there, with a credential that may read; or give the load more "
    "log users, so that each stays well below 1.5 MB/s, or turn limits_config.shard_streams off in Loki"
)
_MAY_READ = "see that the credential may read the buckets, not only list them; then run `loadgen verify RUN`"
_OTHER_LABELS = (
    'compare the labels that Loki shows for {run="…"} with app, job, pod, run and service_name, which are pushed; an '
    "agent or gateway in between may add some. Let the credential of S3 read objects too (s3:GetObject): chunks tell "
    "their labels. Or push to Loki itself, or take the labels out there"
)
_SET_CLOCKS = "set the clocks of this machine and of the S3 server, by NTP; then run `loadgen verify RUN`"
_WATCH_EARLIER = (
    "let loadgen watch S3 from the beginning of the load until its data is there (verify.s3_wait), so that it sees "
    "objects before they are compacted"
)


def _judge(case: Case, kind: Kind) -> Finding:
    signal = kind.signal
    component, limit_s = kind.store, case.bounds(signal).s3_delay_max
    objective = case.objective(f"{signal}.s3_delay_max", f"max ≤ {duration_text(limit_s)}", limit_s, "s")
    if not case.profile.users(signal):
        return nobody_sends(objective, signal)
    coverage = s3_coverage(case.history, case.plan, signal)
    if coverage.accepted < MIN_BATCHES:
        why = f"{counted(coverage.accepted, 'batches')} accepted, at least {MIN_BATCHES} are needed"
        return unknown(objective, why, RUN_LONGER, coverage.accepted)
    if not coverage.listed_ns:
        return not_listed(case, objective, component, coverage.accepted)
    delays = _delays(coverage, limit_s)
    evidence = _evidence(case, coverage, kind, delays.delay_s)
    if delays.gone:
        text = counted(delays.gone, "batches")
        evidence.append(f"{text} left out, because something of each is lost: see {signal}.loss")
    if delays.waiting:
        evidence += _absent_texts(case, coverage, delays.absent)
    looks = looks_of(case.history, component)
    reason = _reason(case, kind, delays, looks)
    if looks.failed and reason.by_looks:
        evidence.append(f"the looks at the bucket after that failed: {looks.failed}")
    if reason.nothing_left:
        return unknown(objective, reason.why, reason.remedy, 0, evidence)
    first = (reason.why,) if reason.why else ()
    samples = len(delays.delay_s)
    return Finding(
        reason.result, objective, delays.measured, delays.worst_s, samples, (*first, *evidence), reason.remedy
    )


@dataclass(frozen=True, slots=True)
class _Delays:
    """What was accepted, by what is known of its way to S3; the times are those of batches.

    Attributes:
        coverage: all of it.
        limit_s: how long it may take.
        delay_s: of what was seen there.
        exact: for each of those, whether it is known exactly, and not only at most.
        absent: of all accepted ones, those that are not there.
        too_long: of the absent ones, those that waited longer than they may.
        gone: not there, and lost: they cannot come any more.
    """

    coverage: Coverage
    limit_s: float
    delay_s: NDArray[np.float64]
    exact: NDArray[np.bool_]
    absent: NDArray[np.bool_]
    too_long: NDArray[np.bool_]
    gone: int

    @property
    def waiting(self) -> int:
        """How many are not there."""
        return int(self.absent.sum())

    @property
    def late(self) -> NDArray[np.bool_]:
        """Of those that were seen, which took longer than they may, as far as is known."""
        return self.delay_s > self.limit_s

    @property
    def maybe(self) -> NDArray[np.bool_]:
        """Of the absent ones, which may be in an object of which nobody can tell."""
        return self.coverage.maybe[self.absent]

    @property
    def unsearched(self) -> NDArray[np.bool_]:
        """Of the absent ones, those for which nobody looked after their time was over."""
        return self.coverage.searched_ns - self.coverage.done_ns[self.absent] <= self.limit_s * NS

    @property
    def missed(self) -> str:
        """How many waited longer than they may."""
        return counted(int(self.too_long.sum()), "batches")

    @property
    def waited(self) -> str:
        """How long the oldest that is not there had waited."""
        oldest_ns = int(self.coverage.done_ns[self.absent].min()) if self.waiting else self.coverage.listed_ns
        return duration_text((self.coverage.listed_ns - oldest_ns) / NS)

    @property
    def worst_s(self) -> float | None:
        """The longest delay of those that were seen."""
        return float(self.delay_s.max()) if len(self.delay_s) else None

    @property
    def measured(self) -> str:
        """In words."""
        texts = []
        if self.worst_s is not None:
            at_most = "" if self.exact[self.delay_s == self.worst_s].any() else "at most "
            texts.append(f"slowest {at_most}{duration_text(self.worst_s)}")
        if self.waiting:
            accepted = self.coverage.accepted
            share = share_text(self.waiting, accepted)
            texts.append(f"{self.waiting:,} of {counted(accepted, 'batches')} not there ({share})")
        return ", ".join(texts)


def _delays(coverage: Coverage, limit_s: float) -> _Delays:
    stored = coverage.stored_ns > 0
    # What was lost cannot come any more, but it may have waited too long before.
    until_ns = np.where(coverage.lost_ns > 0, coverage.lost_ns, coverage.listed_ns)
    too_long = ~stored & (until_ns - coverage.done_ns > limit_s * NS)
    absent = ~stored & ((coverage.lost_ns == 0) | too_long)
    return _Delays(
        coverage=coverage,
        limit_s=limit_s,
        delay_s=coverage.delay_ns / NS,
        exact=coverage.exact[stored] & coverage.watched,
        absent=absent,
        too_long=too_long[absent],
        gone=int((~stored & ~absent).sum()),
    )


@dataclass(frozen=True, slots=True)
class _Reason:
    """A result, and why it is that one.

    Attributes:
        by_looks: the looks at the bucket that failed have to be told as well.
        nothing_left: nothing that was accepted could be judged.
    """

    result: Result
    remedy: str = ""
    why: str = ""
    by_looks: bool = True
    nothing_left: bool = False


def _reason(case: Case, kind: Kind, delays: _Delays, looks: Looks) -> _Reason:
    """The first of these that holds: known to be late, nothing can be told, overdue, late at most, not there yet."""
    if (delays.late & delays.exact).any():
        return _Reason(Result.FAIL, kind.s3_delay.advice, by_looks=False)
    return (
        _nothing_found(case, kind, delays, looks)
        or _overdue_for_sure(kind, delays)
        or _late_at_most(kind, delays)
        or _overdue_perhaps(kind, delays)
        or _not_there_yet(kind, delays, looks)
        or _Reason(Result.PASS)
    )


def _nothing_found(case: Case, kind: Kind, delays: _Delays, looks: Looks) -> _Reason | None:
    """Nobody can tell what is in the bucket."""
    coverage, component = delays.coverage, kind.store
    nothing = not len(delays.delay_s) and delays.waiting
    if coverage.strangers and nothing:
        why = (
            f"no chunk of the run's streams is there, but chunks of {counted(coverage.strangers, 'other streams')} "
            "from the time of the run are, and nobody could tell whether those are the run's: Loki may keep them under "
            "other labels than were pushed, and chunks are named by the labels"
        )
        return _Reason(Result.UNKNOWN, _OTHER_LABELS, why, by_looks=False)
    if looks.strange and nothing:
        why = (
            f"nothing of the run was found, and {case.bucket(component)} is not laid out as {component}'s data should "
            f"be here; there is: {looks.strange}"
        )
        return _Reason(Result.UNKNOWN, _where(kind), why, by_looks=False)
    if delays.too_long.any() and coverage.unreadable:
        why = f"{delays.missed} were not seen in S3 within the bound, but not every object could be read"
        return _Reason(Result.UNKNOWN, _of_unreadable(coverage), why, by_looks=False)
    return None


def _overdue_for_sure(kind: Kind, delays: _Delays) -> _Reason | None:
    if (delays.too_long & ~(delays.maybe | delays.unsearched)).any():
        why = f"{delays.missed} not in S3 after the bound; the oldest waited {delays.waited} at the last listing"
        return _Reason(Result.FAIL, kind.s3_delay.advice, why)
    return None


def _late_at_most(kind: Kind, delays: _Delays) -> _Reason | None:
    if delays.late.any():
        why = (
            f"of {counted(int(delays.late.sum()), 'batches')} only an upper bound beyond "
            f"{duration_text(delays.limit_s)} is known: {_not_exact(delays.coverage, kind)}"
        )
        return _Reason(Result.UNKNOWN, _SPLIT if delays.coverage.split else _WATCH_EARLIER, why)
    return None


def _overdue_perhaps(kind: Kind, delays: _Delays) -> _Reason | None:
    if (delays.too_long & ~delays.maybe).any():
        why = f"{delays.missed} were not seen in S3 within the bound, but {_UNSEARCHED}"
        return _Reason(Result.UNKNOWN, kind.bucket.later, why)
    if delays.too_long.any():
        why = f"{delays.missed} not proven to be in S3 within the bound: {kind.bucket.unproven}"
        return _Reason(Result.UNKNOWN, _SPLIT if delays.coverage.split else kind.bucket.later, why)
    return None


def _not_there_yet(kind: Kind, delays: _Delays, looks: Looks) -> _Reason | None:
    coverage = delays.coverage
    if not len(delays.delay_s) and not delays.waiting:
        remedy = f"see {kind.signal}.loss"
        return _Reason(Result.UNKNOWN, remedy, "everything that was accepted is lost", nothing_left=True)
    if not delays.waiting:
        return None
    why = (
        f"{counted(delays.waiting, 'batches')} not in S3 yet; the oldest had waited {delays.waited} of "
        f"{duration_text(delays.limit_s)}"
    )
    if looks.failed:
        return _Reason(Result.UNKNOWN, _of_failure(looks.kind), why)
    return _Reason(Result.UNKNOWN, _of_unreadable(coverage) if coverage.unreadable else kind.bucket.later, why)


def _not_exact(coverage: Coverage, kind: Kind) -> str:
    """Why the time of an object can be later than that of what is in it."""
    if not coverage.watched.all():
        return "there before anybody looked at the bucket, so that it may be a copy of an object that came earlier"
    return kind.bucket.not_exact


def _absent_texts(case: Case, coverage: Coverage, absent: NDArray[np.bool_]) -> list[str]:
    """The batches that are not in S3, the oldest first."""
    places = np.flatnonzero(absent)
    places = places[np.argsort(coverage.done_ns[places], kind="stable")]
    texts = [
        f"not in S3: user {coverage.user[place]}, batch {coverage.n[place]}, acknowledged "
        f"{case.at(int(coverage.done_ns[place]))}"
        for place in places[:EXAMPLES]
    ]
    more = len(places) - EXAMPLES
    return [*texts, f"and {counted(more, 'batches')} more"] if more > 0 else texts


def not_listed(case: Case, objective: Objective, component: Component, samples: int) -> Finding:
    """Nobody could look into the bucket, and why."""
    s3 = case.history.info.target.get("s3")
    if isinstance(s3, dict) and s3.get("endpoint"):
        looks = looks_of(case.history, component)
        why = f"no listing of the buckets at {s3['endpoint']} showed anything"
        said = (looks.failed,) if looks.failed else ()
        return unknown(objective, why, _of_failure(looks.kind), samples, said)
    return unknown(
        objective,
        "no S3 was configured, so nobody looked",
        "give the target an [s3] section with endpoint, access_key_id and secret; the right to list and read is enough",
        samples,
    )


def _of_failure(kind: str) -> str:
    """What to do where looks at a bucket failed."""
    listing = (
        "see that the credential may list and read the buckets, and that their names are right ([s3] in the target)"
    )
    return {OURS: REPORT_IT, CLOCKS: _SET_CLOCKS}.get(kind, listing)


def _of_unreadable(coverage: Coverage) -> str:
    return REPORT_IT if REPORT_IT in coverage.unreadable_why else _MAY_READ


def _where(kind: Kind) -> str:
    """What to set where a bucket does not look as expected."""
    return (
        f"compare {kind.store}_bucket and {kind.store}_prefix in [s3] of the target with the server's own bucket and "
        f"{kind.bucket.setting}, and tenant in [{kind.store}]; then run `loadgen verify RUN`"
    )


def _evidence(case: Case, coverage: Coverage, kind: Kind, delay_s: NDArray[np.float64]) -> list[str]:
    texts = [
        f"{counted(coverage.objects, 'objects')} listed, {bytes_text(coverage.size_bytes)}; "
        f"{len(delay_s):,} of {counted(coverage.accepted, 'batches')} found in them"
    ]
    if len(delay_s):
        p50, p99 = (duration_text(nearest_rank(delay_s, share)) for share in (0.5, 0.99))
        slowest = int(np.argmax(np.where(coverage.stored_ns > 0, coverage.stored_ns - coverage.done_ns, -1)))
        texts.append(
            f"p50 {p50}, p99 {p99}; the slowest: user {coverage.user[slowest]}, batch {coverage.n[slowest]}, "
            "acknowledged "
            f"{case.at(int(coverage.done_ns[slowest]))}"
        )
    bounds = int((~(coverage.exact[coverage.stored_ns > 0] & coverage.watched)).sum())
    if bounds:
        texts.append(f"only an upper bound is known of {counted(bounds, 'batches')}: {_not_exact(coverage, kind)}")
    maybe = int(coverage.maybe.sum())
    if maybe:
        texts.append(f"{counted(maybe, 'batches')} not proven: {kind.bucket.unproven}")
    texts.append("from acknowledgement to the object's LastModified, which S3 gives in whole seconds: exact to 1 s")
    texts.append(_clocks(case))
    if coverage.unreadable:
        texts.append(
            f"{counted(coverage.unreadable, 'objects')} could not be read; what they hold counts as not there; e.g. "
            f"{coverage.unreadable_why}"
        )
    if case.profile.verify.flush:
        texts.append("forced by a flush: the components were asked to write after the load")
    return texts


def _clocks(case: Case) -> str:
    """What is known of the S3 server's clock."""
    stack = case.history.stack
    mine = stack[stack["component"] == Component.S3.value].sort_values("at_ns")
    low, high = (mine.loc[mine["metric"] == name, "value"].tolist() for name in (CLOCK_MIN, CLOCK_MAX))
    if not low or not high:
        return "the clock of the S3 server could not be compared: its answers have no Date"
    between = f"between {low[-1]:+.2f} s and {high[-1]:+.2f} s"
    if low[-1] <= 0 <= high[-1]:
        return f"the clock of the S3 server is right, as far as whole seconds tell (ahead of this one by {between})"
    return f"the clock of the S3 server is ahead of this one by {between}; the middle is taken out"


CHECKS = tuple(
    RunCheck(
        f"{kind.signal}.s3_delay",
        kind.s3_delay.promise,
        partial(_judge, kind=kind),
        ("receipts", "objects"),
        proves_by_absence=True,
        disturbed_by=(kind.store,),
    )
    for kind in KINDS
)
