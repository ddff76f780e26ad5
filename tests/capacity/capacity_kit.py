"""Made-up searches: whole ones, and what can go wrong with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loadgen.capacity.model import (
    Advice,
    Broken,
    Capacity,
    Cost,
    Ending,
    Flow,
    Knee,
    Limit,
    OwnLoad,
    Refusal,
    Search,
    SearchKind,
    SearchOutcome,
    SizedRow,
    Sizing,
    Step,
    Stored,
    Usage,
    Why,
)
from loadgen.config import Profile
from loadgen.model import NS

BEGAN_NS = 1_790_000_000 * NS
COMPONENT = {"logs": "loki", "metrics": "mimir", "traces": "tempo"}
UNIT = {
    SearchKind.LOGS: "B/s",
    SearchKind.TRACES: "B/s",
    SearchKind.METRICS: "series",
    SearchKind.QUERIES: "queries/s",
    SearchKind.ALL: "times",
}
SECOND_NS = 60 * NS
LOKI_LIMIT = Limit(
    "loki",
    "limits_config.ingestion_rate_mb",
    "4 MB/s",
    4_194_304.0,
    "ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while attempting to ingest",
)


def a_flow(signal: str, bytes_per_s: float, ok: bool = True, heat: float = 0.3, lost: int | None = 0) -> Flow:
    """The load of a signal; the hotter, the slower."""
    slow = 1 / max(0.02, 1 - min(heat, 0.98))
    return Flow(
        signal=signal,
        planned_bytes_per_s=bytes_per_s,
        accepted_bytes_per_s=bytes_per_s if ok else bytes_per_s * 0.9512345,
        accepted_items_per_s=bytes_per_s / 150,
        users=4,
        series=4000 if signal == "metrics" else 0,
        not_accepted_share=0.0 if ok else 0.0487654,
        lost_items=lost,
        push_p99_s=0.0123456 * slow,
        query_p99_s=0.21987654 * slow,
        freshness_p99_s=0.6 * slow,
    )


def a_usage(component: str, share: float) -> Usage:
    """What a component used at a share of what it can take."""
    return Usage(
        component,
        "/metrics",
        cores=0.02 + 0.61234567 * share,
        memory_bytes=90e6 + 210e6 * share,
        goroutines=120.0,
        s3_written_bytes_per_s=2e5 * share,
    )


def a_step(
    number: int,
    kind: SearchKind,
    level: float,
    ending: Ending = Ending.KEPT,
    signals: Sequence[str] = (),
    heat: float = 0.3,
    **others: object,
) -> Step:
    """A step; of a signal's kind it sends that signal, else all three."""
    ok = ending is not Ending.BROKEN
    sent = signals or ([kind.signal.value] if kind.signal else ["logs", "metrics", "traces"])
    rate = level if UNIT[kind] == "B/s" else 2e5 * level if kind is SearchKind.ALL else 3e5
    broken = (
        ()
        if ok
        else (
            Broken(
                f"{sent[0]}.throughput",
                "The planned rate is accepted.",
                "at most 0.1 % of pushes not accepted",
                "4.88 % of 180 pushes not accepted",
                ("9 of 180 pushes were rejected (429)",),
                "raise the limit that the answer names, or send less",
            ),
        )
    )
    step = Step(
        number=number,
        kind=kind,
        level=level,
        folder=f"{number:02d}-{kind}-{level:.0f}",
        began_ns=BEGAN_NS + number * SECOND_NS,
        took_s=58.123456,
        steady_s=35.0,
        ending=ending,
        broken=broken,
        flows=tuple(a_flow(signal, rate, ok, heat) for signal in sent),
        queries_per_s=level if kind is SearchKind.QUERIES else 1.9876543,
        usage=(*(a_usage(COMPONENT[signal], heat) for signal in sent), a_usage("grafana", 0.1)),
        plain_bytes=rate * 45,
    )
    return replace(step, **others)


def logs_steps(first: int = 1) -> tuple[Step, ...]:
    """Doubling to 8 MB/s, then halving: kept at 4.0 MB/s, broken at 4.25 MB/s by a limit."""
    refusal = Refusal("logs", "rejected", 429, 9, LOKI_LIMIT.message, LOKI_LIMIT)
    kept, broken = Ending.KEPT, Ending.BROKEN
    levels = [
        (1e6, kept, 0.2), (2e6, kept, 0.45), (4e6, kept, 0.75), (8e6, broken, 0.97), (6e6, broken, 0.96),
        (5e6, broken, 0.95), (4.5e6, broken, 0.93), (4.25e6, broken, 0.9), (3.9999999e6, kept, 0.76),
    ]  # fmt: skip
    return tuple(
        a_step(first + i, SearchKind.LOGS, level, ending, heat=heat, refusals=(refusal,) if ending is broken else ())
        for i, (level, ending, heat) in enumerate(levels)
    )


def a_capacity(
    searches: Sequence[Search] = (),
    steps: Sequence[Step] = (),
    profile: dict[str, object] | None = None,
    **others: object,
) -> Capacity:
    """A search of a made-up homelab."""
    capacity = Capacity(
        name="homelab-20260921-1000",
        began_ns=BEGAN_NS,
        ended_ns=BEGAN_NS + 4321 * NS,
        version="0.1.0",
        profile=Profile().model_dump(mode="json") if profile is None else profile,
        target={"name": "homelab", "loki": {"url": "http://loki.monitoring.svc:3100"}},
        target_source="target.toml",
        engines={"loki": "deployed", "tempo": "deployed", "mimir": "deployed", "grafana": "deployed", "s3": "deployed"},
        searches=tuple(searches),
        steps=tuple(steps),
    )
    return replace(capacity, **others)


def an_outcome(**others: object) -> SearchOutcome:
    """Nothing is known."""
    return replace(SearchOutcome((), (), (), Sizing()), **others)


LOGS_SENTENCE = (
    "Loki carries 4 MB/s; at 4.25 MB/s its ingestion limit of 4 MB/s refuses lines: raise "
    "limits_config.ingestion_rate_mb to carry more."
)


def logs_search() -> Search:
    """Found, within 10 %."""
    return Search(SearchKind.LOGS, "B/s", 50e6, Why.FOUND, 3.9999999e6, 4.25e6)


def logs_knee(steps: Sequence[Step]) -> Knee:
    """The limit is named."""
    return Knee(
        kind=SearchKind.LOGS,
        kept_step=steps[8].number,
        broke_step=steps[7].number,
        promise="Logs: the planned rate is accepted",
        checks=("logs.throughput",),
        said=(f"9 of 180 pushes: 429 {LOKI_LIMIT.message}", "discarded: rate_limited 1,234 lines/s"),
        limit=LOKI_LIMIT,
        machine="",
        lost_items=0,
        sentence=LOGS_SENTENCE,
    )


def a_sizing() -> Sizing:
    """An own load of logs and metrics, a bucket, a limit."""
    return Sizing(
        own=(
            OwnLoad("logs", 412_345.678, 2750.3, None, "Prometheus, last 24 h"),
            OwnLoad("metrics", None, 3333.3, 50_000, "the profile"),
        ),
        stored=(Stored("logs", 1.2e9, 8_000_000, 99.6e6, 0.998, 0.0, "without the index"),),
        rows=tuple(
            SizedRow(
                "logs", times, 412_345.678 * times, 9.7004 / times, 120e6 + 40e6 * times, 0.0856789 * times,
                2.957e9 * times, 88.7e9 * times, days, times > 4,
            )
            for times, days in ((1.0, None), (2.0, 84.55), (5.0, 33.8))
        ),
        advice=(Advice("loki", "limits_config.ingestion_rate_mb", "2", "6", "4 MB/s"),),
        retention_days=30,
        bucket_bytes=100e9,
        notes=("Tempo's own load is not known: its counters could not be read. Give capacity.own.traces.",),
    )  # fmt: skip


def some_costs() -> tuple[Cost, ...]:
    """A good line, a poor one, and one through two steps."""
    return (
        Cost("loki", "cores", "MB/s", 0.1234567, 0.0212345, 0.9812, 9, 1.0, 8.0),
        Cost("loki", "memory_bytes", "MB/s", 41.3e6, 92.1e6, 0.43, 9, 1.0, 8.0),
        Cost("mimir", "memory_bytes", "1,000 series", 11.9e6, 80e6, 1.0, 2, 4.0, 8.0),
    )


def whole() -> tuple[Capacity, SearchOutcome]:
    """Every kind was searched, each ended in another way."""
    kept, broken = Ending.KEPT, Ending.BROKEN
    logs = logs_steps()
    traces = [a_step(10 + i, SearchKind.TRACES, 1e6 * 2**i, kept, heat=0.1 + 0.1 * i) for i in range(5)]
    traces.append(a_step(15, SearchKind.TRACES, 32e6, Ending.GENERATOR, heat=0.6, note="pushes began 1.2 s late (p99)"))
    metrics = [a_step(16 + i, SearchKind.METRICS, 4000 * 2**i, kept, heat=0.2 + 0.2 * i) for i in range(3)]
    metrics.append(
        a_step(
            19, SearchKind.METRICS, 32_000, broken, heat=0.97, crashed=("mimir",),
            flows=(a_flow("metrics", 6e6, ok=False, heat=0.97, lost=123_456),),
        )
    )  # fmt: skip
    queries = [a_step(20 + i, SearchKind.QUERIES, 2.0 * 2**i, kept, heat=0.2 + 0.15 * i) for i in range(5)]
    both = [
        a_step(25, SearchKind.ALL, 1.0, kept, heat=0.4),
        a_step(26, SearchKind.ALL, 2.0, kept, heat=0.7),
        a_step(27, SearchKind.ALL, 4.0, broken, heat=0.97),
        a_step(28, SearchKind.ALL, 3.0, Ending.INTERRUPTED, heat=0.9),
    ]
    searches = (
        logs_search(),
        Search(SearchKind.TRACES, "B/s", 50e6, Why.GENERATOR, 16e6, None),
        Search(SearchKind.METRICS, "series", 200_000, Why.UNRECOVERED, 16_000, 32_000, "Mimir did not answer for 90 s"),
        Search(SearchKind.QUERIES, "queries/s", 32, Why.CEILING, 32, None),
        Search(SearchKind.ALL, "times", 20, Why.INTERRUPTED, 2.0, 4.0),
    )
    knees = (
        logs_knee(logs),
        Knee(
            *(SearchKind.TRACES, 14, 0, "", (), (), None, "", 0),
            "Tempo carries at least 16 MB/s; loadgen sent no more.",
        ),
        Knee(
            SearchKind.METRICS, 18, 19, "Mimir keeps running", ("metrics.loss",), ("Mimir went down",), None,
            "memory: 498 MB of the 512 MB that it may use", 123_456,
            "Mimir carries 16,000 series; at 32,000 series it went down for want of memory (498 MB of 512 MB) and "
            "lost 123,456 samples.",
        ),
        Knee(SearchKind.QUERIES, 24, 0, "", (), (), None, "", 0, "The stack answers at least 32 queries/s."),
        Knee(
            SearchKind.ALL, 26, 27, "Logs: the planned rate is accepted", ("logs.throughput",), ("429",), None, "", 0,
            "All together: 2× of the profile is carried, 4× is not; the search was interrupted between them.",
        ),
    )  # fmt: skip
    capacity = a_capacity(searches, (*logs, *traces, *metrics, *queries, *both), notes=("Grafana was restarted once.",))
    outcome = SearchOutcome(tuple(knee.sentence for knee in knees), knees, some_costs(), a_sizing())
    return capacity, outcome
