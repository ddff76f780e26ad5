"""The nouns of a capacity search: frozen values without I/O, stored as ``capacity.json`` and printed by the report.

A search raises one kind of load; each step of it is a run of its own, judged with the checks of any run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from loadgen.model import Signal

FORMAT = 1
"""Of ``capacity.json``; a file with another number was written by another version of loadgen."""


class SearchKind(StrEnum):
    """What a search raises."""

    LOGS = "logs"
    TRACES = "traces"
    METRICS = "metrics"
    QUERIES = "queries"
    ALL = "all"
    """Every signal in the profile's own proportions; its level is a factor on the profile."""

    @property
    def signal(self) -> Signal | None:
        """The signal that is raised; None for queries and for all of it."""
        return Signal(self.value) if self.value in set(Signal) else None


class Ending(StrEnum):
    """How a step ended."""

    KEPT = "kept"
    """Every promise that could be judged was kept, and those that matter most could be."""
    BROKEN = "broken"
    """A promise was broken."""
    GENERATOR = "generator"
    """The generator itself did not keep its schedule, so nothing can be said of the stack."""
    UNTOLD = "untold"
    """A promise that matters most could not be judged."""
    INTERRUPTED = "interrupted"
    """A person ended it."""


class Why(StrEnum):
    """Why a search ended."""

    FOUND = "found"
    """A level that was kept and one that was broken lie close together."""
    CEILING = "ceiling"
    """Every promise was kept up to the configured ceiling."""
    LOWEST = "lowest"
    """A promise was broken even at the lowest level that was tried."""
    GENERATOR = "generator"
    """The generator was the limit: the stack carries at least the highest level that was kept."""
    UNTOLD = "untold"
    """Steps could not be judged."""
    MINUTES = "minutes"
    """The time for the whole search was over."""
    BYTES = "bytes"
    """The next step would have written more than was allowed."""
    UNRECOVERED = "unrecovered"
    """The stack did not come back to work after a step, so it was not loaded further."""
    INTERRUPTED = "interrupted"
    """A person ended it."""
    PENDING = "pending"
    """It did not begin, or goes on."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A configured limit that a server named when it refused.

    Attributes:
        component: who refused.
        setting: the setting to raise, as in the server's configuration, e.g. ``limits_config.ingestion_rate_mb``.
        value: its value as the server told it, in words, e.g. ``4 MB/s``; empty if it did not say.
        number: the same as a number in plain units (bytes/s, samples/s, streams, series, …); None if it did not say.
        message: what the server answered, shortened.
    """

    component: str
    setting: str
    value: str
    number: float | None
    message: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Pushes of one signal that were not accepted with the same status, in the steady window of a step.

    Attributes:
        signal: kind of telemetry.
        outcome: an `SearchOutcome` other than accepted.
        status: as in `Receipt`.
        pushes: how many.
        message: the first text of such an answer.
        limit: the configured limit behind it, if the server named one.
    """

    signal: str
    outcome: str
    status: int
    pushes: int
    message: str
    limit: Limit | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that a step broke, or that could not be judged: what its verdict said."""

    check: str
    promise: str
    objective: str
    measured: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """The load of one signal in the steady window of a step.

    Attributes:
        signal: kind of telemetry.
        planned_bytes_per_s: plain bytes that the plan asked for.
        accepted_bytes_per_s, accepted_items_per_s: plain bytes, and lines, samples or spans, that were accepted.
        users: streams, agents or services that sent.
        series: active series (metrics only).
        not_accepted_share: of the planned pushes.
        lost_items: accepted and not found afterwards; None if that could not be told.
        push_p99_s: push latency from the planned time; None without a push.
        query_p99_s: latency of the panels' queries of this signal's component, planned ones that were never asked as
            well; None without a query.
        freshness_p99_s: from acknowledgement to visible; None without a probe.
    """

    signal: str
    planned_bytes_per_s: float
    accepted_bytes_per_s: float
    accepted_items_per_s: float
    users: int
    series: int
    not_accepted_share: float
    lost_items: int | None
    push_p99_s: float | None
    query_p99_s: float | None
    freshness_p99_s: float | None


@dataclass(frozen=True, slots=True)
class Usage:
    """What one component used in the steady window of a step. None: not known.

    Attributes:
        component: ``loki``, ``tempo``, ``mimir`` or ``grafana``.
        source: ``/metrics`` of the component itself, or ``prometheus`` through Grafana (all its containers together).
        cores: CPU seconds per second, mean.
        memory_bytes: resident memory or working set, peak.
        memory_limit_bytes: what it may use.
        throttled_share: share of the scheduling periods in which a CPU limit held it back.
        goroutines: peak.
        wal_bytes: size of the write-ahead log on disk, peak.
        s3_requests_per_s, s3_written_bytes_per_s: mean.
        received_bytes_per_s: plain bytes as it counts them itself, mean: Loki counts lines without what frames them.
        series, streams, chunks, flush_queue: in memory, peak.
        discarded: items per second that it says it discarded, by its own reason.
        starts: how often it started anew while the step ran.
    """

    component: str
    source: str
    cores: float | None = None
    memory_bytes: float | None = None
    memory_limit_bytes: float | None = None
    throttled_share: float | None = None
    goroutines: float | None = None
    wal_bytes: float | None = None
    s3_requests_per_s: float | None = None
    s3_written_bytes_per_s: float | None = None
    received_bytes_per_s: float | None = None
    series: float | None = None
    streams: float | None = None
    chunks: float | None = None
    flush_queue: float | None = None
    discarded: tuple[tuple[str, float], ...] = ()
    starts: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a search.

    Attributes:
        number: position in the whole search, from 1; the name of its folder begins with it.
        kind, level: what was raised, and how far, in the unit of the kind (see `Search.unit`).
        folder: of its run, relative to the search's folder.
        began_ns, took_s: of the whole step, with reading back.
        steady_s: length of its steady window.
        ending: how it ended.
        broken, untold: the promises that were broken, and the ones that could not be judged.
        flows: the load of each signal that was sent.
        queries_per_s: queries of viewers that were answered, and ``failed_queries`` that were not.
        usage: what the components used.
        refusals: pushes that were not accepted.
        crashed: components that went down while the step ran.
        plain_bytes: plain bytes that were sent, in the whole step.
        note: anything else that a reader should know.
    """

    number: int
    kind: SearchKind
    level: float
    folder: str
    began_ns: int
    took_s: float
    steady_s: float
    ending: Ending
    broken: tuple[Broken, ...] = ()
    untold: tuple[Broken, ...] = ()
    flows: tuple[Flow, ...] = ()
    queries_per_s: float = 0.0
    failed_queries: int = 0
    usage: tuple[Usage, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    crashed: tuple[str, ...] = ()
    plain_bytes: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """The search of one kind of load.

    Attributes:
        kind: what was raised.
        unit: of its levels: ``B/s`` (plain bytes), ``streams``, ``series``, ``queries/s`` or ``times``.
        ceiling: it never goes beyond.
        why: why it ended.
        kept: the highest level that kept every promise; None if none did.
        broke: the lowest level above it that did not; None if none did.
        detail: more on why it ended, in words; empty if there is nothing to add.
        counted: where a limit on how many series or streams there may be was met: how many of ours it lets through
            beside those of others. Levels in between cannot be tried, because a server that is full keeps what it has
            for hours and refuses whatever is new.
    """

    kind: SearchKind
    unit: str
    ceiling: float
    why: Why = Why.PENDING
    kept: float | None = None
    broke: float | None = None
    detail: str = ""
    counted: float | None = None


@dataclass(frozen=True, slots=True)
class Knee:
    """Where and why a kind of load broke a promise.

    Attributes:
        kind: what was raised.
        kept_step, broke_step: numbers of the steps; 0 if there is none.
        promise: what broke first, in words.
        checks: names of the checks.
        said: what the component said or showed, in words, the most telling first.
        limit: the configured limit, if it was one.
        machine: what of the machine was used up, in words, if it was the machine; empty if that is not known.
        lost_items: accepted items that were lost in the step that broke it.
        sentence: all of it, as a person can act on it.
    """

    kind: SearchKind
    kept_step: int
    broke_step: int
    promise: str
    checks: tuple[str, ...]
    said: tuple[str, ...]
    limit: Limit | None
    machine: str
    lost_items: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What a component's use of one resource grows by, per unit of load: a straight line through the steps.

    Attributes:
        component: whose.
        resource: ``cores`` or ``memory_bytes``, ``s3_written_bytes_per_s``, …: a field of `Usage`.
        unit: of the load: ``MB/s``, ``1,000 series`` or ``1,000 queries``.
        per_unit: growth per unit of load.
        idle: what remains without load, by the line.
        fit: share of the variation that the line explains (R²), 0 to 1.
        steps: how many steps it was laid through.
        low, high: the range of load that was measured, in the unit. Beyond it, the line is a guess.
    """

    component: str
    resource: str
    unit: str
    per_unit: float
    idle: float
    fit: float
    steps: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class OwnLoad:
    """What the stack carries for its user, without loadgen.

    Attributes:
        signal: kind of telemetry.
        bytes_per_s: plain bytes, as the component counts them; None if not known (metrics).
        items_per_s: lines, samples or spans; None if not known.
        series: active series; None if not known.
        source: where that is from, e.g. ``Prometheus, last 24 h`` or ``the profile``.
    """

    signal: str
    bytes_per_s: float | None
    items_per_s: float | None
    series: float | None
    source: str


@dataclass(frozen=True, slots=True)
class Stored:
    """How much of a signal ended up in S3.

    Attributes:
        signal: kind of telemetry.
        plain_bytes: plain bytes accepted of the steps that were looked at.
        items: lines, samples or spans.
        stored_bytes: of the objects that hold them.
        covered_share: how much of what was accepted was seen in S3.
        compacted_share: share of the stored bytes in compacted objects.
        note: what is not in it, e.g. the index.
    """

    signal: str
    plain_bytes: float
    items: int
    stored_bytes: float
    covered_share: float
    compacted_share: float
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Stored bytes per plain byte; None if it was not measured."""
        seen = self.plain_bytes * self.covered_share
        return self.stored_bytes / seen if seen > 0 and self.stored_bytes > 0 else None


@dataclass(frozen=True, slots=True)
class SizedRow:
    """Sizing of one signal at a multiple of the user's own load.

    Attributes:
        signal: kind of telemetry.
        times: 1, 2 or 5.
        load_bytes_per_s: plain bytes per second at this multiple; None if not known.
        headroom: the highest load that was kept, as a multiple of this one; None if not known.
        memory_bytes, cores: of the component, by the fitted line; None if not known.
        s3_bytes_per_day, s3_bytes_kept: growth a day, and in a whole retention period.
        days_until_full: until the given size of the bucket is full; None if it never is, or nothing is known.
        guess: it lies beyond what was measured, and says so.
    """

    signal: str
    times: float
    load_bytes_per_s: float | None
    headroom: float | None
    memory_bytes: float | None
    cores: float | None
    s3_bytes_per_day: float | None
    s3_bytes_kept: float | None
    days_until_full: float | None
    guess: bool


@dataclass(frozen=True, slots=True)
class Advice:
    """The smallest value of a limit that still keeps every promise at the user's load and up to the load that was kept.

    Attributes:
        component, setting: what to set.
        for_own: value for the user's own load, with room for bursts; empty if that load is not known.
        for_kept: value for the highest load that kept every promise.
        today: its value as the server told it, empty if it did not.
    """

    component: str
    setting: str
    for_own: str
    for_kept: str
    today: str


@dataclass(frozen=True, slots=True)
class Sizing:
    """What follows for the user's own load.

    Attributes:
        own: the user's own load, by signal.
        stored: what became of plain bytes in S3.
        rows: by signal and multiple of the load.
        advice: limits.
        retention_days: for how long data is kept; None if not known.
        bucket_bytes: the size of the bucket that days are counted to; None if not given.
        notes: what is missing, and how to get it.
    """

    own: tuple[OwnLoad, ...] = ()
    stored: tuple[Stored, ...] = ()
    rows: tuple[SizedRow, ...] = ()
    advice: tuple[Advice, ...] = ()
    retention_days: float | None = None
    bucket_bytes: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Capacity:
    """A whole capacity search, as it is stored.

    Attributes:
        name: of the search.
        began_ns, ended_ns: when (``ended_ns`` 0: it goes on, or was cut off).
        version: of loadgen.
        profile: the complete profile as its model dumps it.
        target, target_source, engines: as in `RunInfo`; without secrets.
        own: the user's own load, measured before the first step.
        searches: what was searched, in order.
        steps: all steps, in order.
        stored: what became of plain bytes in S3, measured after the last step.
        notes: what a reader should know.
        format: see `FORMAT`.
    """

    name: str
    began_ns: int
    ended_ns: int
    version: str
    profile: dict[str, object]
    target: dict[str, object]
    target_source: str
    engines: dict[str, str]
    own: tuple[OwnLoad, ...] = ()
    searches: tuple[Search, ...] = ()
    steps: tuple[Step, ...] = ()
    stored: tuple[Stored, ...] = ()
    notes: tuple[str, ...] = field(default=())
    format: int = FORMAT

    def of(self, kind: SearchKind) -> tuple[Step, ...]:
        """The steps of one search."""
        return tuple(step for step in self.steps if step.kind is kind)


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """What follows from a search: what the report prints beside the steps.

    Attributes:
        headline: the first sentences, one a search; a person can act on them.
        knees, costs, sizing: see there.
    """

    headline: tuple[str, ...]
    knees: tuple[Knee, ...]
    costs: tuple[Cost, ...]
    sizing: Sizing
