"""One log line, one trace by each way, one sample: pushed, and looked for through Grafana."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from loadgen.acceptance.facts import Accepted
from loadgen.config import Profile, Target
from loadgen.kinds import KINDS
from loadgen.kinds.traces.source import SPANS_PER_TRACE
from loadgen.model import NS, Component, Outcome, RunKey, Signal
from loadgen.plan import Plan, plan_of
from loadgen.push.http import PushPolicy, loki_pusher, mimir_pusher, tempo_grpc_pusher, tempo_http_pusher
from loadgen.push.retry import PushResult
from loadgen.reading import logs, metrics
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Reply, selector

_EVERY_S = 0.5
_POLICY = PushPolicy(8.0, 0.0)


def probe_plan(name: str, now_ns: int) -> Plan:
    """A plan of the smallest batches that there are."""
    raw = {
        "run": {"name": name, "duration": "60s", "warmup": "1s"},
        "logs": {"users": 1, "lines_per_s": 1, "push_every": "1s"},
        "metrics": {"users": 1, "series": 1, "push_every": "1s"},
        "traces": {"users": 2, "traces_per_s": 1, "push_every": "1s", "sdk_every": 0},
    }
    return plan_of(RunKey(name, 1, now_ns - now_ns % 1_000_000 - 2 * NS), Profile.model_validate(raw))


def ask_accepts(
    target: Target,
    readers: Readers,
    plan: Plan,
    clock: Callable[[], int] = time.time_ns,
    sleep: Callable[[float], None] = time.sleep,
    wait_s: float = 15.0,
) -> tuple[Accepted, ...]:
    """Push one small batch by every way that the target names, and look for each until ``wait_s`` is over."""
    found = []
    for component, way, push, look in _probes(target, readers, plan):
        result = push()
        if result.outcome is not Outcome.ACCEPTED:
            found.append(Accepted(component, way, result.detail or f"status {result.status}", None, 0.0, ""))
            continue
        acked_ns = result.done_ns
        while True:
            reply = look()
            waited_s = (clock() - acked_ns) / NS
            if reply.value or waited_s >= wait_s:
                break
            sleep(_EVERY_S)
        after_s = (reply.done_ns - acked_ns) / NS if reply.value else None
        found.append(Accepted(component, way, "", after_s, waited_s, reply.error))
    return tuple(found)


_Probe = tuple[Component, str, Callable[[], PushResult], Callable[[], Reply[bool]]]


def _probes(target: Target, readers: Readers, plan: Plan) -> Iterator[_Probe]:
    if target.loki.url:
        batch = plan.logs.batch(0, 0)
        labels, times = dict(plan.logs.labels(0)), plan.logs.line_times(batch)
        chosen = selector(run=labels["run"], pod=labels[logs.POD])

        def lines() -> Reply[bool]:
            reply = readers.loki.streams(chosen, int(times[0]), int(times[-1]) + 1, (logs.POD,))
            if reply.value is None:
                return reply.failed()
            present = sum(logs.count_of_present(plan.logs, batch, stream) for stream in reply.value)
            return reply.with_value(present >= batch.items)

        def push_lines() -> PushResult:
            return loki_pusher(target, _POLICY).push(plan.logs.body(batch).wire)

        yield Component.LOKI, "push", push_lines, lines
    ways = (("OTLP/HTTP", target.tempo.otlp_http, 0), ("OTLP/gRPC", target.tempo.otlp_grpc, 1))
    for way, address, user in ways:
        if not address:
            continue
        traced = plan.traces.batch(user, 0)
        trace_id = plan.traces.trace_ids(traced)[0].tobytes()

        def trace(trace_id: bytes = trace_id) -> Reply[bool]:
            reply = readers.tempo.trace(trace_id)
            if reply.value is None:
                return reply.failed()
            return reply.with_value(len({span.span_id for span in reply.value}) >= SPANS_PER_TRACE)

        def push_trace(way: str = way, body: bytes = bytes(plan.traces.body(traced).wire)) -> PushResult:
            if way == "OTLP/HTTP":
                return tempo_http_pusher(target, _POLICY).push(body)
            pusher = tempo_grpc_pusher(target, _POLICY)
            try:
                return pusher.push(body)
            finally:
                pusher.close()

        yield Component.TEMPO, way, push_trace, trace
    if target.mimir.url:
        scraped = plan.metrics.batch(0, 0)
        series = dict(plan.metrics.series(0)[0])
        at_ms = plan.metrics.times_ms(scraped)
        of_user = selector(run=series["run"], instance=series["instance"])

        def samples() -> Reply[bool]:
            reply = readers.mimir.raw(of_user, int(at_ms[0]), int(at_ms[-1]))
            if reply.value is None:
                return reply.failed()
            return reply.with_value(metrics.count_of_present(plan.metrics, scraped, reply.value) >= scraped.items)

        def push_samples() -> PushResult:
            return mimir_pusher(target, _POLICY).push(plan.metrics.body(scraped).wire)

        yield Component.MIMIR, "push", push_samples, samples


def signals_of(target: Target) -> tuple[Signal, ...]:
    """What the target names a push address for."""
    return tuple(kind.signal for kind in KINDS if target.store(kind.store).push_address)
