"""Stored runs are verified again later: what they sent must come out the same, on any machine and in any version.

If a golden value here changes, runs stored before cannot be verified any more. Never adapt it in passing.
"""

import os
import subprocess
import sys

import xxhash

from loadgen.kinds.load import LogLoad, MetricLoad, TraceLoad
from loadgen.kinds.logs.source import LogSource
from loadgen.kinds.metrics.source import MetricSource
from loadgen.kinds.traces.source import TraceSource
from loadgen.model import MS, NS, RunKey

KEY = RunKey("golden", 20_261_123, 1_795_414_024_000 * MS)


def logs_digest() -> str:
    logs = LogSource(KEY, LogLoad(40, NS), TraceSource(KEY, TraceLoad(6, 800 * MS)), 2)
    state = xxhash.xxh64()
    for user in range(6):
        state.update(repr((logs.labels(user), logs.fingerprint(user))).encode())
        for n in (0, 1, 1000):
            batch = logs.batch(user, n)
            state.update(repr((logs.lines(batch), logs.line_times(batch).tolist())).encode())
    return state.hexdigest()


def metrics_digest() -> str:
    metrics = MetricSource(KEY, MetricLoad(70, 15 * NS, 2))
    state = xxhash.xxh64()
    for user in range(3):
        state.update(repr(metrics.series(user)).encode())
        for n in (0, 1, 5000):
            batch = metrics.batch(user, n)
            state.update(metrics.values(batch).astype("<f8").tobytes())
            state.update(metrics.times_ms(batch).astype("<i8").tobytes())
    return state.hexdigest()


def traces_digest() -> str:
    traces = TraceSource(KEY, TraceLoad(40, NS))
    state = xxhash.xxh64()
    for user in range(3):
        for n in (0, 1, 5000):
            for trace in traces.spans(traces.batch(user, n)):
                for span in trace:
                    state.update(
                        repr(
                            (
                                *(span.trace_id, span.span_id, span.parent_id, span.service, span.name, span.kind),
                                *(span.start_ns, span.end_ns, span.status, span.attributes),
                            )
                        ).encode()
                    )
    return state.hexdigest()


def test_log_content_is_the_golden_one() -> None:
    assert logs_digest() == "11291044ec33b029"


def test_metric_content_is_the_golden_one() -> None:
    assert metrics_digest() == "14e2b2ab1ad6b7e8"


def test_trace_content_is_the_golden_one() -> None:
    assert traces_digest() == "aab715221b546f42"


def test_another_process_makes_the_same_bodies() -> None:
    script = f"""
import xxhash
from loadgen.model import *
from loadgen.kinds.load import *
from loadgen.kinds.logs.source import LogSource
from loadgen.kinds.metrics.source import MetricSource
from loadgen.kinds.traces.source import TraceSource
key = {KEY!r}
logs, metrics = LogSource(key, LogLoad(9, NS)), MetricSource(key, MetricLoad(20, NS))
for source in (logs, metrics, TraceSource(key, TraceLoad(3, NS))):
    print(xxhash.xxh64_hexdigest(bytes(source.body(source.batch(1, 2)).wire)))
"""
    runs = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_the_order_of_asking_does_not_matter() -> None:
    forward, backward = (LogSource(KEY, LogLoad(9, NS)) for _ in range(2))
    ahead = [forward.lines(forward.batch(user, n)) for user in range(3) for n in range(3)]
    back = [backward.lines(backward.batch(user, n)) for user in reversed(range(3)) for n in reversed(range(3))]
    assert ahead == back[::-1]
