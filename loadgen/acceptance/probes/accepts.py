"""One log line, one trace by each way, one sample: pushed, and looked for through Grafana."""

from __future__ import annotations

import time
from collections.abc import Callable

from loadgen.acceptance.facts import Accepted
from loadgen.config import Profile, Target
from loadgen.kinds import KINDS
from loadgen.model import NS, Batch, Outcome, RunKey, Signal
from loadgen.plan import Plan, plan_of
from loadgen.push.retry import PushPolicy, PushResult
from loadgen.push.ways import WAYS, Way
from loadgen.push.ways.way import Pushing
from loadgen.reading.kinds import READINGS
from loadgen.targets.readers import Readers

_EVERY_S = 0.5
_PUSHING = Pushing(PushPolicy(8.0, 0.0))


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
    found, users = [], dict.fromkeys(Signal, 0)
    for way in WAYS:
        if not way.address(target):
            continue
        batch = plan.source(way.signal).batch(users[way.signal], 0)
        users[way.signal] += 1  # several ways of a kind each push a batch of their own
        result = _push(target, way, plan, batch)
        if result.outcome is not Outcome.ACCEPTED:
            found.append(Accepted(way.store, way.name, result.detail or f"status {result.status}", None, 0.0, ""))
            continue
        acked_ns = result.done_ns
        _, look = READINGS[way.signal].looks(plan, readers, batch, clock)[0]
        while True:
            reply = look()
            shown = reply.value is not None and reply.value >= batch.items
            waited_s = (clock() - acked_ns) / NS
            if shown or waited_s >= wait_s:
                break
            sleep(_EVERY_S)
        after_s = (reply.done_ns - acked_ns) / NS if shown else None
        found.append(Accepted(way.store, way.name, "", after_s, waited_s, reply.error))
    return tuple(found)


def _push(target: Target, way: Way, plan: Plan, batch: Batch) -> PushResult:
    pusher = way.open(target, _PUSHING)
    try:
        return pusher.push(bytes(plan.body(batch).wire))
    finally:
        pusher.close()


def signals_of(target: Target) -> tuple[Signal, ...]:
    """What the target names a push address for."""
    return tuple(kind.signal for kind in KINDS if target.store(kind.store).push_address)
