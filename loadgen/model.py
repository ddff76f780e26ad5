"""The nouns of the project: frozen values without I/O that cross every boundary between its parts.

Times are integer nanoseconds since the Unix epoch unless a name says otherwise (``_ms``, ``_s``); sizes are bytes.
A time of ``0`` in a stored row means "never" or "not known".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

NS = 1_000_000_000
MS = 1_000_000

GRPC_STATUS = 1000
"""What a gRPC status code has added where statuses are stored, so that it is not taken for one of HTTP."""

HELD_DATA = "own_query_held_data"
"""The `StackSample` that tells which share of the range of a user's own query held data; its label is the title."""

HIDING = "success and nothing in it"
"""How the detail of a query begins that was answered as if there were no data, although there was."""


LISTING_FAILED = "listing_failed"
"""The `StackSample` of a look at a bucket that failed; its labels are those of `bucket_labels`, with the reason."""
LAYOUT = "layout_understood"
"""The `StackSample` that tells whether a bucket without data of the run looks as it must: 1, or 0 and what is there."""
PARTS_LOOK = "parts_look"
"""The `StackSample` of a complete listing for which all of the run's streams that lacked data were also looked for in
the parts that Loki may have made of them."""
STOOD_STILL = "stood_still"
"""The `StackSample` of a time, in seconds before it, in which the machine of loadgen itself stood still."""
KEPT_LOOK = "kept_look"
"""The `StackSample` of a look whether the run's objects are still there; its value is how many were looked for."""
OURS, CLOCKS, ELSEWHERE = "ours", "clocks", "s3"
"""Whose fault a failed look was: loadgen's own, that of clocks that differ, or what S3 says."""


def bucket_labels(component: Component, bucket: str, kind: str = "", why: str = "") -> str:
    """The labels of a sample of the S3 watcher; `why_of` reads the last ones."""
    return f"component={component},bucket={bucket}" + (f",kind={kind},why={why}" if kind or why else "")


def why_of(labels: str) -> tuple[str, str]:
    """Kind and reason in the labels of a sample of the S3 watcher."""
    _, _, rest = labels.partition(",kind=")
    kind, _, why = rest.partition(",why=")
    return kind, why


def status_text(status: int) -> str:
    """The status of a stored answer as people write it: ``HTTP 429``, ``gRPC 8``, or that there was no answer."""
    if not status:
        return "no answer"
    return f"gRPC {status - GRPC_STATUS}" if status >= GRPC_STATUS else f"HTTP {status}"


class Signal(StrEnum):
    """A kind of telemetry."""

    LOGS = "logs"
    METRICS = "metrics"
    TRACES = "traces"


class Component(StrEnum):
    """A part of the stack under test."""

    LOKI = "loki"
    TEMPO = "tempo"
    MIMIR = "mimir"
    GRAFANA = "grafana"
    S3 = "s3"


class Outcome(StrEnum):
    """What is known of a batch after its push."""

    ACCEPTED = "accepted"
    """Answered 2xx: every item must be found."""
    REJECTED = "rejected"
    """The server says that it stored nothing (401, 413, 429, …): no item must be found."""
    UNKNOWN = "unknown"
    """No answer, a 5xx, or Loki's 400, which may store a part: items may or may not be found."""
    DROPPED = "dropped"
    """Never sent: overdue beyond the bound."""


class QueryEnd(StrEnum):
    """How a planned query came to its end."""

    ASKED = "asked"
    """It was asked, and answered or failed by itself; ``ok`` says which."""
    MISSED = "missed"
    """Never asked, because earlier ones still had no answer. It waited until the one that was asked in its place ended,
    and that long it counts: who had planned it saw nothing sooner."""
    CUT = "cut"
    """The load ended before it was asked (``sent_ns`` is 0) or answered; it would have taken at least so long."""
    UNABLE = "unable"
    """loadgen itself could not ask; ``detail`` says why. It says nothing of the stack."""


class Result(StrEnum):
    """The outcome of a check."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class RunKey:
    """What names a run. Together with a batch's own numbers it decides every byte that is sent.

    Attributes:
        run: name of the run; it is a label of every stream and an attribute of every span, and also a label of every
            series, where ``series_of`` names no other one.
        seed: seed of all pseudo-random content.
        began_ns: the moment that all due times count from; also the zero of counters.
        series_of: the run whose series the samples go on, when it is another one: runs in a row need not make new
            series each. Only the label of series follows it.
    """

    run: str
    seed: int
    began_ns: int
    series_of: str = ""

    @property
    def series_run(self) -> str:
        """The value of the label ``run`` of series."""
        return self.series_of or self.run


@dataclass(frozen=True, slots=True)
class Batch:
    """One planned push. ``due_ns`` is the planned time and the time base of everything in the batch.

    Attributes:
        signal: kind of telemetry.
        user: number of the virtual user, unique within its signal and run.
        n: position among the user's batches; batch ``n`` is due at ``Pace.due(n)``.
        due_ns: when the push is planned for.
        items: lines, samples or spans in it.
    """

    signal: Signal
    user: int
    n: int
    due_ns: int
    items: int


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of one push. ``wire`` may be a view of a template that the next rendering overwrites."""

    wire: bytes | memoryview
    plain_bytes: int
    items: int

    @property
    def wire_bytes(self) -> int:
        """Size as sent."""
        return len(self.wire)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one batch.

    Attributes:
        signal, user, n, due_ns, items: as in `Batch`.
        outcome: an `Outcome`.
        transport: ``http``, ``grpc`` or ``sdk`` (sent by the OpenTelemetry SDK).
        free_ns: when the user had nothing else to do before this batch; ``max(due_ns, free_ns)`` is when it could have
            started, so anything later than that is the generator's own lag.
        sent_ns: first attempt began (0: never).
        last_sent_ns: the attempt that decided began.
        done_ns: the answer was read, or given up.
        attempts: pushes made.
        ambiguous_attempts: attempts before the last one that may have stored the data all the same.
        plain_bytes, wire_bytes: size before compression and as sent.
        status: HTTP status, or gRPC status code + 1000, or 0 without an answer.
        detail: short text of the error; when accepted, of the attempt before, empty if it was the first one.
    """

    signal: str
    user: int
    n: int
    due_ns: int
    items: int
    outcome: str
    transport: str
    free_ns: int
    sent_ns: int
    last_sent_ns: int
    done_ns: int
    attempts: int
    ambiguous_attempts: int
    plain_bytes: int
    wire_bytes: int
    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was found of one batch, at one place, by one look or a series of looks.

    Attributes:
        signal, user, n: the batch.
        where: ``grafana`` (or ``direct``) for reading by content or count, ``search`` for TraceQL search.
        phase: ``probe`` (freshness, while the load runs) or ``verify`` (afterwards, in full).
        acked_ns: when the push was acknowledged.
        last_absent_ns: last look at which something accepted was still missing (0: complete at the first look).
        first_seen_ns: first look at which all was there (0: never seen complete).
        looked: number of looks; 0: a probe that was planned and not made, ``detail`` says why. It is ``unreadable`` if
            something else than the end of the load kept it from being made.
        expected: items that were sent.
        found: distinct expected items that were found.
        missing: accepted items that were not found (0 if the outcome of the push is unknown).
        late: accepted items that a look missed and a later look found.
        late_absent_ns: last look that missed one of those (0: none, or another query of that look showed them).
        doubled: surplus copies of expected items.
        altered: items found at the right place with a wrong content.
        reordered: items returned out of order.
        compared: items whose content was compared, byte for byte or value for value.
        unreadable: the queries that should have told failed, so this sighting says nothing.
        detail: first evidence, e.g. the line that is wrong and what it should be.
        added: what came back beside all that was sent, and was not sent: one ``what="value"`` a line.
    """

    signal: str
    user: int
    n: int
    where: str
    phase: str
    acked_ns: int
    last_absent_ns: int
    first_seen_ns: int
    looked: int
    expected: int
    found: int
    missing: int
    late: int
    late_absent_ns: int
    doubled: int
    altered: int
    reordered: int
    compared: int
    unreadable: bool
    detail: str
    added: str = ""


@dataclass(frozen=True, slots=True)
class QueryTiming:
    """One query, timed.

    Attributes:
        component: ``loki``, ``tempo`` or ``mimir``.
        kind: ``instant``, ``range``, ``logs``, ``labels``, ``trace``, ``search``, ``panel``; of an own query its title.
        via: ``grafana`` or ``direct``.
        source: ``viewer`` (planned load), ``probe``, ``verify`` or ``own`` (a query of the user's configuration).
        range_s: width of the time range asked for, 0 for none.
        due_ns: planned time; latency is ``done_ns - due_ns``.
        sent_ns, done_ns: as they happened; ``sent_ns`` is 0 if it was never asked.
        ok: a well-formed success.
        status: HTTP status, 0 without an answer.
        items: lines, samples or traces returned.
        detail: short text of the error, or why it was not asked.
        end: a `QueryEnd`; every planned query leaves a row, also one that nobody came to ask.
    """

    component: str
    kind: str
    via: str
    source: str
    range_s: float
    due_ns: int
    sent_ns: int
    done_ns: int
    ok: bool
    status: int
    items: int
    detail: str
    end: str = QueryEnd.ASKED.value


NOTHING_CERTAIN_NS = 1
"""As ``cut_ns`` of a `StoredObject`: nothing is certain to be in it, whatever its range is."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that holds telemetry, seen in a listing of a bucket.

    Attributes:
        component: ``loki``, ``tempo`` or ``mimir``.
        bucket, key, size_bytes: as listed.
        modified_ns: LastModified, corrected by the server's clock difference; whole seconds in most servers.
        first_seen_ns: the listing that showed it first.
        stream: Loki's stream fingerprint in hex, else empty.
        from_ns, through_ns: range of the data in it, both inclusive (0: not known).
        items: lines, traces or samples in it as its own metadata says, 0 if it does not or nobody asked.
        ids: in one string, what of the run is in it: of Mimir, for every user, its number and how many of its series,
            4 bytes each, little-endian; of Tempo in runs of earlier versions trace ids, 16 bytes each; else empty.
        compacted: made of older objects, so its time is only an upper bound for what is in it.
        cut_ns: Mimir: when the block was cut from the ingester's memory, by the ingester's clock (0: not known).
            Nothing that was acknowledged later is proven by it.
            `NOTHING_CERTAIN_NS`: and nothing at all.
        detail: why it could not be read, if so.
        part: to which of several streams that Loki made of one it belongs, from 1; 0: Loki did not split the stream.
        traces: Tempo: which of the run's traces are in it, as ``loadgen.history.held`` packs them.
    """

    component: str
    bucket: str
    key: str
    size_bytes: int
    modified_ns: int
    first_seen_ns: int
    stream: str
    from_ns: int
    through_ns: int
    items: int
    ids: bytes
    compacted: bool
    cut_ns: int
    detail: str
    part: int = 0
    traces: bytes = b""


@dataclass(frozen=True, slots=True)
class GoneObject:
    """A stored object that was not there any more when its bucket was looked through again.

    Attributes:
        component, bucket, key: as in `StoredObject`.
        last_seen_ns: the last look that showed it.
        missed_ns: the first look that did not; 0: it was missed before, and is there again.
    """

    component: str
    bucket: str
    key: str
    last_seen_ns: int
    missed_ns: int


@dataclass(frozen=True, slots=True)
class StackSample:
    """One value scraped from a component's ``/metrics`` or measured of a process of loadgen itself."""

    component: str
    metric: str
    labels: str
    at_ns: int
    value: float


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """One fault, from its injection to the recovery.

    Attributes:
        fault: what was done, e.g. ``kill``.
        component: to whom.
        began_ns: injected.
        healed_ns: undone (the process runs again); 0 if that failed.
        query_ok_ns: first query that worked after ``began_ns`` and an outage (0: never).
        query_failed: queries that failed in between.
        error: why it could not heal, and how to heal it by hand; empty if all went well.
        unfinished: stored when it was injected; loadgen ended before it could tell how it went on.
    """

    fault: str
    component: str
    began_ns: int
    healed_ns: int
    query_ok_ns: int
    query_failed: int
    error: str
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class ClockReading:
    """By how much a server's clock is ahead of this machine's: at least ``low_ns``, at most ``high_ns``."""

    name: str
    low_ns: int
    high_ns: int

    @property
    def ahead_ns(self) -> int:
        """The likely difference; 0 as long as equal clocks explain all answers."""
        return 0 if self.low_ns <= 0 <= self.high_ns else (self.low_ns + self.high_ns) // 2


@dataclass(frozen=True, slots=True)
class WorkerGap:
    """A time in which nothing was heard of a Locust worker.

    Attributes:
        worker: its number.
        heard_ns: when it was heard last.
        back_ns: when it was heard again; 0: never.
    """

    worker: int
    heard_ns: int
    back_ns: int = 0


@dataclass(frozen=True, slots=True)
class Objective:
    """A bound that a measured value must keep: ``text`` is how a person reads it, e.g. ``p99 ≤ 3 s``."""

    text: str
    limit: float
    unit: str
    overridden: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one promise.

    Attributes:
        check: name, e.g. ``logs.loss``.
        promise: the promise in words.
        result: pass, fail, unknown or skipped.
        objective: the bound it was judged by.
        measured: the measured value in words, empty if nothing was measured.
        value: the measured value as a number in the objective's unit, if there is one.
        samples: how many observations stand behind it.
        evidence: a few sentences or examples that let a person check it.
        remedy: for anything but pass: what to do about it.
        requirements: ids of the requirements that it shows, by the plan of the deployment.
    """

    check: str
    promise: str
    result: Result
    objective: Objective
    measured: str
    value: float | None
    samples: int
    evidence: tuple[str, ...] = field(default=())
    remedy: str = ""
    requirements: tuple[str, ...] = ()
