"""The rows of the detection matrix: which defect is planted how, and which check must find it."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.detection_row import (
    BEFORE,
    FRESHNESS,
    HOUR_S,
    LOSSES,
    MANY,
    QUERIES,
    READING,
    SIGNALS,
    Omitted,
    Row,
    Step,
    Way,
    merged,
    order,
)
from loadgen.kinds import kind_of
from loadgen.lab.defects import DefectKind
from loadgen.model import Component, Result, Signal

# -- items ---------------------------------------------------------------------------------------------------------


def _of(one: Signal, defect: str, planted: str, kind: DefectKind, check: str, **more: Any) -> Row:
    """A defect of single items of a signal, planted in the middle of the load."""
    asked = {name: more.pop(name) for name in ("count", "delay_s", "match", "what") if name in more}
    row = Row(
        f"{one}/{defect}",
        planted,
        (f"{one}.{check}",),
        (order(kind_of(one).store, kind, more.pop("at_s", 2.0), **asked),),
        items=1,
        names_batch=True,
    )
    return replace(row, **more)


_LATE = {"verify": {"patience": 25}}


def _late(one: Signal, what: str) -> Row:
    bound = merged(_LATE, {"objectives": {one.value: {"freshness_max": 4}}})
    return _of(
        one, "late", f"one {what} readable 14 s after it was accepted; bound 4 s", DefectKind.DELAY, "freshness",
        delay_s=14.0, at_s=4.0, profile=bound, items=0,
    )  # fmt: skip


_ITEMS = (
    _of(Signal.LOGS, "lost", "one line accepted and not stored", DefectKind.LOSE, "loss"),
    _of(Signal.LOGS, "doubled", "one line returned twice", DefectKind.DOUBLE, "duplicates"),
    _of(Signal.LOGS, "altered", "one line with a wrong text at its right time", DefectKind.ALTER, "altered"),
    _of(Signal.LOGS, "reordered", "two neighbouring lines swapped", DefectKind.REORDER, "order", items=0),
    _late(Signal.LOGS, "line"),
    Row(
        "logs/all-late",
        "every line readable 6 s after it was accepted; bound p99 2.5 s",
        ("logs.freshness",),
        (order("loki", DefectKind.DELAY, count=MANY, delay_s=6.0),),
        {"verify": {"patience": 15}, "objectives": {"logs": {"freshness_p99": 2.5}}},
        points_to=("resolution: looked every 200 ms",),
    ),
    _of(
        Signal.LOGS, "stream-missing", "all lines of one stream accepted and not stored", DefectKind.LOSE, "loss",
        at_s=BEFORE, count=MANY, match='pod="cart-00001"',
    ),
    _of(Signal.TRACES, "truncated", "one span missing in a trace", DefectKind.LOSE, "loss", what="span"),
    _of(Signal.TRACES, "trace-missing", "one trace missing as a whole", DefectKind.LOSE, "loss", what="trace", items=8),
    _of(Signal.TRACES, "doubled", "one span returned twice", DefectKind.DOUBLE, "duplicates"),
    _of(Signal.TRACES, "wrong-name", "one span with a wrong name", DefectKind.ALTER, "altered", what="name"),
    _of(
        Signal.TRACES, "wrong-duration", "one span of the right id 1 ms too long", DefectKind.ALTER, "altered",
        what="duration",
    ),
    _of(
        Signal.TRACES, "wrong-attribute", "one span of the right id with a wrong attribute", DefectKind.ALTER,
        "altered", what="attribute",
    ),
    _of(
        Signal.TRACES, "wrong-resource", "spans of the right ids with a wrong attribute of their resource",
        DefectKind.ALTER, "altered", what="resource", items=0,
    ),
    _late(Signal.TRACES, "trace"),
    Row(
        "traces/too-many-wait",
        "every trace readable 12 s after it was accepted, within the bound of 20 s, and more probes due than may wait",
        ("traces.freshness",),
        (order("tempo", DefectKind.DELAY, count=MANY, delay_s=12.0),),
        {
            "run": {"duration": 14}, "traces": {"users": 6}, "freshness": {"every": 0.5},
            "verify": {"patience": 25, "settle": 13},
        },
        verdict=Result.UNKNOWN,
        points_to=("planned were not made: ",),
    ),
    _of(Signal.METRICS, "lost", "one sample accepted and not stored", DefectKind.LOSE, "loss"),
    _of(Signal.METRICS, "doubled", "one sample once more, 1 ms later", DefectKind.DOUBLE, "duplicates"),
    _of(Signal.METRICS, "altered", "one sample with a wrong value at its right time", DefectKind.ALTER, "altered"),
    _late(Signal.METRICS, "sample"),
    _of(
        Signal.METRICS, "series-missing", "all samples of one series (of each agent) accepted and not stored",
        DefectKind.LOSE, "loss", at_s=BEFORE, count=MANY, match='series="00004"',
        unsure={"metrics.freshness": "every batch has lost a sample, so none was seen complete"},
    ),
)  # fmt: skip

_AGENT = "an agent or a gateway on the way"
_RENAMED = (
    "Loki names chunks by the labels, and the credential of S3 here may list only, so nobody can look which are whose"
)
_UNTOLD = {Signal.LOGS: {"logs.s3_delay": _RENAMED}}


def _relabelled(one: Signal, what: str) -> Row:
    return _of(
        one, "other-label", f"{what} stored under another value of a label, as by {_AGENT}", DefectKind.ALTER,
        "altered", at_s=4.0, count=40, what="label", items=0, unsure=_UNTOLD.get(one, {}),
    )  # fmt: skip


def _added(one: Signal, what: str) -> Row:
    """Told as the evidence of a check that passes."""
    return Row(
        f"{one}/added",
        f"{what} stored with one name more than was sent, as by {_AGENT}",
        (f"{one}.altered",),
        (order(kind_of(one).store, DefectKind.ALTER, count=MANY, what="added"),),
        verdict=Result.PASS,
        points_to=('added on the way: label cluster="home"', 'added on the way: resource attribute cluster="home"'),
        unsure={**_UNTOLD.get(one, {}), **({"logs.s3_kept": _RENAMED} if one is Signal.LOGS else {})},
    )


_NAMES = (
    _relabelled(Signal.LOGS, "lines"),
    _relabelled(Signal.METRICS, "samples"),
    _added(Signal.LOGS, "every line"),
    _added(Signal.TRACES, "every trace"),
    _added(Signal.METRICS, "every sample"),
)

_COUNTED = {"verify": {"sample": 0}}
_NOT_COMPARED = "nothing is compared in content when verify.sample is 0"


def _by_count(one: Signal, what: str) -> Row:
    content = [f"{one_}.altered" for one_ in SIGNALS] + ["logs.order", "metrics.order"]
    return _of(
        one, "lost-by-count", f"one {what} lost, and nothing compared in content but only counted", DefectKind.LOSE,
        "loss", profile=_COUNTED, unsure=dict.fromkeys(content, _NOT_COMPARED),
    )  # fmt: skip


OMITTED = (
    Omitted(
        "metrics/reordered",
        "two samples swapped",
        "samples are stored by their time, one for each time: a swap is either two wrong values (metrics/altered) or a "
        "refused push",
    ),
    Omitted("traces/reordered", "two spans swapped", "the spans of a trace have no order"),
)


# -- S3 ------------------------------------------------------------------------------------------------------------


def _s3(one: Signal, what: str) -> Row:
    return Row(
        f"{one}/s3-missing",
        f"one {what} accepted and readable, but never in S3; bound 8 s",
        (f"{one}.s3_delay",),
        (order(kind_of(one).store, DefectKind.WITHHOLD, 1.0, delay_s=HOUR_S),),
        {"objectives": {one.value: {"s3_delay_max": 8}}, "verify": {"s3_wait": 11}},
        points_to=("not in S3: user",),
    )


_S3 = (
    *(_s3(one, what) for one, what in zip(SIGNALS, ("chunk", "block", "block"), strict=True)),
    Row(
        "logs/s3-late",
        "one chunk in S3 10 s after it was due; bound 8 s",
        ("logs.s3_delay",),
        (order("loki", DefectKind.WITHHOLD, 1.0, delay_s=10.0),),
        {"objectives": {"logs": {"s3_delay_max": 8}}},
        points_to=("the slowest: user",),
    ),
    Row(
        "logs/s3-not-yet",
        "one chunk not in S3 when the watching ends, before the bound of 60 s",
        ("logs.s3_delay",),
        (order("loki", DefectKind.WITHHOLD, 1.0, delay_s=HOUR_S),),
        {"verify": {"s3_wait": 4}},
        verdict=Result.UNKNOWN,
        points_to=("not in S3 yet",),
    ),
)


def _deleted(one: Signal, what: str) -> tuple[Row, ...]:
    """Queries are answered from what the component has beside S3, so nothing else notices."""
    named = (f"gone: {_BUCKET[one]}/",)
    return (
        Row(
            f"{one}/s3-deleted",
            f"one {what} of the run deleted from S3 while the load goes on",
            (f"{one}.s3_kept",),
            (Step(7.0, lambda stage: stage.delete_stored(kind_of(one).store.value)),),
            {"run": {"duration": 12}},
            points_to=named,
        ),
        Row(
            f"{one}/s3-deleted-later",
            f"one {what} deleted from S3 after the run, which is then read back once more",
            (f"{one}.s3_kept",),
            (),
            points_to=named,
            way=Way.TAKEN,
        ),
    )


_BUCKET = {Signal.LOGS: "loki-chunks", Signal.TRACES: "tempo-traces", Signal.METRICS: "mimir-blocks"}
_KEPT = (*_deleted(Signal.LOGS, "chunk"), *_deleted(Signal.TRACES, "block"), *_deleted(Signal.METRICS, "block"))


_LATER = (
    Row(
        "metrics/deleted-later",
        "one block deleted from S3 after the run, which is read back again when it counts as old",
        ("history.reach",),
        (),
        {"objectives": {"all": {"history_after": 1}}},
        also={
            "metrics.loss": "counts what is missing whenever it is read back",
            "metrics.s3_kept": "finds the block gone from S3",
        },
        points_to=("missing of 24 samples",),
        way=Way.DELETED,
    ),
)


# -- restarts ------------------------------------------------------------------------------------------------------

_COUNTS_ALL = "counts everything that is missing, and says how much of it a restart has lost"


def _fault(one: Signal, at_s: float, down_s: float = 0.5) -> dict[str, Any]:
    return {"faults": [{"component": kind_of(one).store.value, "at": at_s, "kind": "kill", "down": down_s}]}


def _restarts(one: Signal) -> tuple[Row, ...]:
    component, name = kind_of(one).store.value, f"{kind_of(one).store}.persistence"
    return (
        Row(
            f"{one}/lost-by-a-kill",
            "what was accepted and readable in the last second before a kill is in memory only",
            (name,),
            (
                order(component, DefectKind.WITHHOLD, 1.0, count=MANY, delay_s=HOUR_S),
                order(component, DefectKind.FORGET, 5.5, count=MANY),
            ),
            merged(_fault(one, 6.5), {"run": {"duration": 24}}),
            also={f"{one}.loss": _COUNTS_ALL},
            names_batch=True,
            unsure={f"{Signal.METRICS}.s3_delay": "what was pushed while a block is made is not proven"},
        ),
        Row(
            f"{one}/lost-before-a-kill",
            "one item lost 4 s before a kill, which loses nothing",
            (f"{one}.loss",),
            (order(component, DefectKind.LOSE, 2.0),),
            merged(_fault(one, 6.5), {"run": {"duration": 24}}),
            items=1,
            names_batch=True,
        ),
        Row(
            f"{one}/slow-recovery",
            "killed, and away for 5 s; bound 4 s",
            (f"{component}.recovery",),
            (),
            merged(_fault(one, 6.5, 5.0), {"run": {"duration": 36}, "objectives": {one.value: {"recovery_max": 4}}}),
            points_to=("kill +6.",),
            unsure={f"{one}.throughput": "what queued up in the meantime may not have been sent before the load ended"},
        ),
    )


# -- pushes --------------------------------------------------------------------------------------------------------


def _refused(one: Signal) -> Row:
    return Row(
        f"{one}/refused",
        "twelve pushes answered with 429",
        (f"{one}.throughput",),
        (order(kind_of(one).store.value, DefectKind.REFUSE, 2.0, count=12),),
        {"run": {"retry_for": 0}},
        points_to=("429", "status 1008"),
    )


def _stalled(one: Signal) -> Row:
    component = kind_of(one).store.value
    return Row(
        f"{one}/stalled",
        "the server stands still for 3 s",
        (),
        (
            Step(2.0, lambda stage: stage.signal_server(component, signal.SIGSTOP)),
            Step(5.0, lambda stage: stage.signal_server(component, signal.SIGCONT)),
        ),
        stalls=one,
    )


def _broken(one: Signal) -> Row:
    return Row(
        f"{one}/unclear",
        "six pushes stored and answered with a server error, then repeated: copies and all, as at-least-once has it",
        (),
        (order(kind_of(one).store.value, DefectKind.BREAK, 2.0, count=6),),
    )


def _given_up(one: Signal) -> Row:
    return Row(
        f"{one}/given-up",
        "twelve pushes stored, answered with a server error and given up: neither accepted nor lost",
        (f"{one}.throughput",),
        (order(kind_of(one).store.value, DefectKind.BREAK, 2.0, count=12),),
        {"run": {"retry_for": 0}},
        points_to=("unknown, HTTP ",),
    )


_PUSHES = (
    *map(_refused, SIGNALS),
    *map(_broken, SIGNALS),
    _given_up(Signal.LOGS),
    Row(
        "logs/refused-once",
        "two pushes answered with 429 and accepted when they were repeated",
        (),
        (order("loki", DefectKind.REFUSE, 2.0, count=2),),
    ),
    *map(_stalled, SIGNALS),
    Row(
        "traces/dropped-in-silence",
        "more traces in memory than Tempo's limit: answered with success and dropped, as only its counter tells",
        ("traces.loss",),
        points_to=("for live_traces_exceeded (tempo_discarded_spans_total)",),
        advises="raise overrides.defaults.ingestion.max_traces_per_user",
        limits={"tempo.live_traces": 8},
        unsure={"traces.freshness": "probes of traces that were dropped are left to traces.loss, and few may be left"},
    ),
)


# -- queries -------------------------------------------------------------------------------------------------------

# What only panels ask, so that probes and reading back go on undisturbed.
_PANELS = ("direction=backward", "&limit=20&spss=3", "mimir GET api/v1/query_range?")  # in the order of SIGNALS
_FROM_THE_START = (*_PANELS[:2], "mimir GET api/v1/query?query=sum(")
_READ = ("direction=forward", "tempo GET api/v2/traces/", "mimir GET api/v1/query?query={")
_SLOW = {
    "objectives": {"logs": {"query_p99": 3}, "traces": {"query_p99": 5}, "metrics": {"query_p99": 3}},
}
_NOTHING_LEFT = "nothing is left to judge: all of it counts as lost"
_CONTENT = (
    *(f"{one}.{promise}" for one in SIGNALS for promise in ("duplicates", "altered")),
    *("logs.order", "metrics.order"),
)
_UNREADABLE = "what cannot be read back can be neither right nor wrong"


def _grafana(kind: DefectKind, matches: Sequence[str], at_s: float, **more: Any) -> tuple[Step, ...]:
    return tuple(order("grafana", kind, at_s, match=match, **more) for match in matches)


def _slow(one: Signal, delay_s: float, bound: str) -> Row:
    return Row(
        f"{one}/slow-query",
        f"two queries answered after {delay_s:g} s; bound p99 {bound}",
        (f"{one}.query",),
        (order("grafana", DefectKind.SLOW, 2.0, count=2, delay_s=delay_s, match=_PANELS[SIGNALS.index(one)]),),
        _SLOW,
        points_to=(f"s: {kind_of(one).store} ",),
    )


def _stalled_for_viewers(one: Signal) -> Row:
    """Of two hundred and more panels two are asked in the stall: only those never asked make it visible in the p99."""
    return Row(
        f"{one}/stalled-for-viewers",
        "one panel answered after 6 s, while a viewer planned seven more a second; bound p99 3 s",
        (f"{one}.query",),
        (order("grafana", DefectKind.SLOW, 8.0, delay_s=6.0, match=_PANELS[SIGNALS.index(one)]),),
        {
            "run": {"duration": 40},
            "dashboards": {"users": 1, "refresh": 0.05},
            "objectives": {one.value: {"query_p99": 3}},
        },
        points_to=("were never asked, because those before had no answer yet",),
    )


def _stalled_at_the_end(one: Signal) -> Row:
    return Row(
        f"{one}/stalled-at-the-end",
        "panels are not answered any more for the last 6 s of the load; bound p99 3 s",
        (f"{one}.query",),
        (order("grafana", DefectKind.SLOW, 6.0, count=MANY, delay_s=HOUR_S, match=_PANELS[SIGNALS.index(one)]),),
        {"run": {"duration": 12}, "objectives": {one.value: {"query_p99": 3}}},
        points_to=("had no answer when the load ended",),
    )


_QUERIES = (
    *map(_stalled_for_viewers, SIGNALS),
    *map(_stalled_at_the_end, SIGNALS),
    _slow(Signal.LOGS, 4.0, "3 s"),
    _slow(Signal.TRACES, 6.0, "5 s"),
    _slow(Signal.METRICS, 4.0, "3 s"),
    Row(
        "all/slow-query",
        "one query answered after 6 s; bound 5 s for any, p99 10 s",
        ("all.query",),
        (order("grafana", DefectKind.SLOW, 2.0, delay_s=6.0, match=_PANELS[1]),),
        {"objectives": {"all": {"query_max": 5}}},
        points_to=("s: tempo ",),
    ),
    Row(
        "panels/empty-once",
        "one panel of each component answered with an empty success, after it had shown data",
        QUERIES,
        _grafana(DefectKind.EMPTY, _PANELS, 6.5),
        points_to=("success and nothing in it",),
    ),
    Row(
        "panels/empty",
        "panels answered with an empty success from the start to the end",
        QUERIES,
        _grafana(DefectKind.EMPTY, _FROM_THE_START, BEFORE, count=MANY),
        points_to=("success and nothing in it",),
    ),
    Row(
        "panels/page",
        "panels answered with status 200 and an HTML page",
        QUERIES,
        _grafana(DefectKind.PAGE, _PANELS, 3.0, count=MANY),
        points_to=("HTML page",),
    ),
    Row(
        "panels/502",
        "panels answered with status 502 and an HTML page",
        QUERIES,
        _grafana(DefectKind.UNAVAILABLE, _PANELS, 3.0, count=MANY),
        points_to=("502",),
    ),
    Row(
        "panels/few",
        "nothing, and so few queries that one in twenty may be too slow without showing",
        (*QUERIES, "all.query"),
        (),
        {"dashboards": {"users": 3, "refresh": 1}},
        verdict=Result.UNKNOWN,
        points_to=("are needed to tell",),
    ),
    Row(
        "probes/few",
        "nothing, and so few probes that one in twenty may be late without showing",
        FRESHNESS,
        (),
        {"freshness": {"every": 2}, "traces": {"sdk_every": 0}},
        verdict=Result.UNKNOWN,
        points_to=("at least 59 probes are needed to tell",),
    ),
    Row(
        "reading/empty-once",
        "one query of reading back answered with an empty success",
        QUERIES,
        _grafana(DefectKind.EMPTY, _READ, READING),
        points_to=("that were there, e.g. of user",),
    ),
    Row(
        "reading/empty",
        "every query of reading back answered with an empty success",
        LOSSES,
        _grafana(DefectKind.EMPTY, _READ, READING, count=MANY),
        points_to=("had been seen complete before",),
        unsure=dict.fromkeys(
            (*_CONTENT, *(f"{one}.{p}" for one in SIGNALS for p in ("freshness", "s3_delay"))), _NOTHING_LEFT
        ),
    ),
    Row(
        "reading/page",
        "every query of reading back answered with status 200 and an HTML page",
        LOSSES,
        (order("grafana", DefectKind.PAGE, READING, count=MANY),),
        verdict=Result.UNKNOWN,
        points_to=("HTML page",),
        unsure=dict.fromkeys(_CONTENT, _UNREADABLE),
    ),
    Row(
        "reading/502",
        "every query of reading back answered with status 502 and an HTML page",
        LOSSES,
        (order("grafana", DefectKind.UNAVAILABLE, READING, count=MANY),),
        verdict=Result.UNKNOWN,
        points_to=("502",),
        unsure=dict.fromkeys(_CONTENT, _UNREADABLE),
    ),
    Row(
        "reading/502-once",
        "the first queries of reading back answered with status 502, later ones well",
        (),
        (order("grafana", DefectKind.UNAVAILABLE, READING, count=4),),
    ),
)


# -- loadgen itself ------------------------------------------------------------------------------------------------

_DISTURBED = (
    "all.query", "logs.query", "logs.throughput", "logs.freshness", "logs.s3_delay", "loki.persistence",
)  # fmt: skip

_OWN = (
    Row(
        "loadgen/stalled",
        "the process that makes the load stands still for 3 s; query bounds 2 s",
        ("loadgen.health",),
        (
            Step(3.0, lambda stage: stage.signal_load(signal.SIGSTOP)),
            Step(6.0, lambda stage: stage.signal_load(signal.SIGCONT)),
        ),
        {
            "run": {"duration": 16},
            "objectives": {"all": {"query_max": 2}, **{one.value: {"query_p99": 2} for one in SIGNALS}},
        },
        points_to=("own lag by signal",),
        unsure={f"{one}.throughput": "what came too late was the generator's own fault" for one in SIGNALS},
    ),
    Row(
        "loadgen/may-not-look-at-s3",
        "the credential of the S3 watcher is wrong",
        tuple(f"{one}.s3_delay" for one in SIGNALS),
        (),
        {"verify": {"s3_wait": 2}},
        verdict=Result.UNKNOWN,
        points_to=("no listing of the buckets",),
        unsure={f"{one}.s3_kept": "nobody can see what is in S3, nor whether it stays" for one in SIGNALS},
        way=Way.BLIND,
    ),
    Row(
        "loadgen/may-not-kill",
        "the profile kills Loki where loadgen may not do so",
        ("loki.persistence", "loki.recovery"),
        (),
        _fault(Signal.LOGS, 3.0),
        verdict=Result.UNKNOWN,
        points_to=("none was injected",),
        way=Way.POWERLESS,
    ),
    Row(
        "loadgen/killed-during-a-kill",
        "loadgen is killed while a killed Loki is down; later the run is verified",
        ("loki.recovery",),
        (),
        merged(_fault(Signal.LOGS, 3.0, 60.0), {"run": {"retry_for": 2, "timeout": 2}}),
        verdict=Result.UNKNOWN,
        points_to=("loadgen ended during the kill of loki",),
        unsure=dict.fromkeys(_DISTURBED, "nobody knows when the kill was over"),
        way=Way.KILLED,
    ),
)  # fmt: skip

_FOREIGN = {
    "LOCUST_TAGS": "checkout", "LOCUST_MODE_MASTER": "1", "LOCUST_USERS": "50", "OTEL_SDK_DISABLED": "true",
    "OTEL_TRACES_SAMPLER": "always_off", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2", "AWS_PROFILE": "nobody",
    "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9",
}  # fmt: skip
_AROUND = (
    Row(
        "around/foreign-settings",
        "a folder full of foreign modules and settings of Locust, and variables of Locust, OpenTelemetry and proxies",
        (),
        variables=_FOREIGN,
        way=Way.SURROUNDED,
    ),
    Row(
        "around/clock-5s-ahead",
        "this machine's clock is 5 s ahead of the servers'",
        (),
        variables={"SKEW_S": "5"},
        way=Way.SURROUNDED,
    ),
    Row(
        "around/clock-40s-ahead",
        "this machine's clock is 40 s ahead of the servers'; bounds of freshness 20 s",
        tuple(f"{one}.freshness" for one in SIGNALS),
        variables={"SKEW_S": "40"},
        verdict=Result.UNKNOWN,
        points_to=("this machine's clock is",),
        advises="NTP",
        way=Way.SURROUNDED,
    ),
)

ROWS: tuple[Row, ...] = (
    *_ITEMS,
    *_NAMES,
    *(_by_count(one, what) for one, what in zip(SIGNALS, ("line", "span", "sample"), strict=True)),
    *_S3,
    *_KEPT,
    *_LATER,
    *(row for one in SIGNALS for row in _restarts(one)),
    *_PUSHES,
    *_QUERIES,
    *_OWN,
    *_AROUND,
)

NO_ROW: Mapping[str, str] = {
    "metrics.order": "no server that keeps samples by time can return them out of order; see metrics/reordered",
}
"""Checks that no row plants a defect for, and why."""

KILLS = merged(
    {"faults": [{"component": c.value, "at": at, "kind": "kill", "down": 0.5} for c, at in
                ((Component.LOKI, 5), (Component.TEMPO, 6.5), (Component.MIMIR, 8))]},
    {"run": {"duration": 25}},
)  # fmt: skip
"""A clean run in which every component is killed once."""
