"""How many log lines, samples and spans per second one core can make.

Two ways are measured on the same content, in one run: protobuf objects built for every push, serialized and compressed
with python-snappy ("objects"), and the bodies of loadgen, laid out once and then only overwritten ("loadgen"). The
objects get their values and texts ready-made; loadgen computes them, so the comparison leans towards the objects.

Figures are items per second of CPU time, so that other work on the machine does not count. With --send or --sink the
bodies also go over HTTP, one after the other on one kept-alive connection: those are items per second as the clock on
the wall counts them, with the CPU time of sending included.

Times in the bodies run ahead of the clock, one interval per push, so send them to something that does not mind.

    python -m benchmarks.encode                      encoding alone
    python -m benchmarks.encode --sink               and over HTTP to a null sink in a second process
    python -m benchmarks.encode --send http://host   and to your own sink
    python -m benchmarks.encode --json | jq .        for machines
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

if not __package__:  # run as a file: make the project importable
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import messages
from loadgen.kinds.load import LogLoad, MetricLoad, TraceLoad
from loadgen.kinds.logs.source import LogSource
from loadgen.kinds.metrics.source import MetricSource
from loadgen.kinds.traces.source import SPANS_PER_TRACE, TraceSource
from loadgen.model import MS, NS, Batch, Body, RunKey
from loadgen.wire.loki import label_text

USERS = 4
LINES, SERIES, TRACES = 4_000, 10_000, 500
BASELINE_BATCHES = 4

Source = LogSource | MetricSource | TraceSource


class SendError(Exception):
    """The receiver could not be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One signal under measurement: its source, the way of the objects, and where its bodies are posted."""

    source: Source
    unit: str
    path: str
    headers: dict[str, str]
    prepare: Callable[[Batch], Callable[[], bytes]]


@dataclass(frozen=True, slots=True)
class Figures:
    """Items per second, and the sizes of an item before compression and on the wire; ``sent`` by the wall clock."""

    objects: float
    loadgen: float
    plain_bytes: float
    wire_bytes: float
    sent: float | None
    sent_core_share: float | None


def subjects(key: RunKey) -> tuple[Subject, ...]:
    """The three signals, each with a load of a busy agent."""
    traces = TraceSource(key, TraceLoad(TRACES, NS))
    logs = LogSource(key, LogLoad(LINES, NS), traces, USERS)
    metrics = MetricSource(key, MetricLoad(SERIES, NS))

    def log_objects(batch: Batch) -> Callable[[], bytes]:
        labels, lines = label_text(logs.labels(batch.user)), logs.lines(batch)
        times = logs.line_times(batch).tolist()
        return lambda: messages.loki_body(labels, times, lines)

    def metric_objects(batch: Batch) -> Callable[[], bytes]:
        series, values = metrics.series(batch.user), metrics.values(batch).tolist()
        times = metrics.times_ms(batch).tolist()
        return lambda: messages.remote_write_body(series, times, values)

    def trace_objects(batch: Batch) -> Callable[[], bytes]:
        spans, resource = traces.spans(batch), (("loadgen.run", key.run), ("loadgen.user", f"{batch.user:05d}"))
        return lambda: messages.otlp_request(spans, resource).SerializeToString()

    protobuf = {"Content-Type": "application/x-protobuf"}
    snappy = {**protobuf, "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
    return (
        Subject(metrics, "samples", "/api/v1/push", snappy, metric_objects),
        Subject(logs, "lines", "/loki/api/v1/push", protobuf, log_objects),
        Subject(traces, "spans", "/v1/traces", protobuf, trace_objects),
    )


def _rate(step: Callable[[], int], seconds: float, clock: Callable[[], float]) -> float:
    """Items per second of ``clock`` while ``step`` is repeated for ``seconds`` of the wall clock."""
    step()
    items, began, ends = 0, clock(), time.perf_counter() + seconds
    while time.perf_counter() < ends:
        items += step()
    return items / max(clock() - began, 1e-9)


def _bodies(source: Source) -> Iterator[Body]:
    for n in itertools.count():
        for user in range(USERS):
            yield source.body(source.batch(user, n))


class Sender:
    """Posts bodies on one kept-alive connection."""

    def __init__(self, url: str, path: str, headers: dict[str, str]):
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise SendError(f"--send {url}: {error}; write it like http://127.0.0.1:8080") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SendError(f"--send {url}: not an HTTP URL; write it like http://127.0.0.1:8080")
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = connect(parts.hostname, port, timeout=30)
        self._path = parts.path if parts.path not in ("", "/") else path
        self._headers, self._url = headers, url

    def post(self, body: Body) -> None:
        """Send one body and wait for the answer. Raises SendError unless it is a 2xx."""
        try:
            self._connection.request("POST", self._path, body=body.wire, headers=self._headers)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise SendError(f"POST {self._url}{self._path}: {error}; is something listening there?") from error
        if not 200 <= response.status < 300:
            text = answer[:200].decode(errors="replace").strip()
            raise SendError(
                f"POST {self._url}{self._path}: {response.status} {response.reason} {text!r}; the bodies are valid but "
                "their times run ahead of the clock, so measure against a sink, for example with --sink"
            )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def measure(subject: Subject, seconds: float, url: str | None) -> Figures:
    """Everything about one signal. Raises SendError."""
    source = subject.source
    ready = [(source.batch(user, 0).items, subject.prepare(source.batch(user, 0))) for user in range(BASELINE_BATCHES)]
    turns, bodies = itertools.cycle(ready), _bodies(source)

    def with_objects() -> int:
        items, build = next(turns)
        build()
        return items

    for _ in range(USERS):
        body = next(bodies)
    objects = _rate(with_objects, seconds, time.process_time)
    loadgen = _rate(lambda: next(bodies).items, seconds, time.process_time)
    sent = share = None
    if url is not None:
        sender = Sender(url, subject.path, subject.headers)

        def send() -> int:
            rendered = next(bodies)
            sender.post(rendered)
            return rendered.items

        with contextlib.closing(sender):
            began, cpu = time.perf_counter(), time.process_time()
            sent = _rate(send, seconds, time.perf_counter)
            share = (time.process_time() - cpu) / (time.perf_counter() - began)
    return Figures(objects, loadgen, body.plain_bytes / body.items, body.wire_bytes / body.items, sent, share)


@contextlib.contextmanager
def null_sink() -> Iterator[str]:
    """The URL of a null sink in a second process, which is stopped at the end."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("sink.py"))], stdout=subprocess.PIPE, text=True
    )
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url:
            raise SendError(f"the null sink did not start (exit code {process.wait(10)}); its own message is above")
        yield url
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout:
            process.stdout.close()


def _mega(rate: float | None) -> str:
    return "-" if rate is None else f"{rate / 1e6:.2f} M"


def _print_row(subject: Subject, figures: Figures) -> None:
    share = "" if figures.sent_core_share is None else f"{figures.sent_core_share:>8.0%}"
    print(
        f"{subject.source.signal:<8} {subject.unit:<8} {_mega(figures.objects):>10} {_mega(figures.loadgen):>10} "
        f"{figures.loadgen / figures.objects:>6.0f}x {figures.plain_bytes:>8.0f} {figures.wire_bytes:>8.1f} "
        f"{_mega(figures.sent):>10}{share}",
        flush=True,
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError("give a number of seconds above 0 and up to 3600")
    return value


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.encode", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--send", metavar="URL", help="also POST to this URL; without a path each signal's usual one")
    where.add_argument("--sink", action="store_true", help="also POST to a null sink, started in a second process")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object")
    parser.add_argument("--seconds", type=_positive, default=3.0, help="duration of each measurement (default: 3)")
    return parser.parse_args()


def main() -> int:
    """Measure and print; returns the exit code: 0, or 2 if the receiver could not be used."""
    arguments = _arguments()
    key = RunKey("bench", 1, time.time_ns() // MS * MS)
    results: dict[str, dict[str, float]] = {}
    if not arguments.json:
        print(
            f"{USERS} users; a push holds {SERIES} samples, {LINES} lines, {TRACES * SPANS_PER_TRACE} spans\n"
            "items per second and core           objects    loadgen         B plain   B wire  over HTTP  core"
        )
    try:
        with null_sink() if arguments.sink else contextlib.nullcontext(arguments.send) as url:
            for subject in subjects(key):
                figures = measure(subject, arguments.seconds, url)
                results[subject.source.signal] = {
                    "items_per_s": round(figures.loadgen),
                    "baseline_items_per_s": round(figures.objects),
                }
                if figures.sent is not None:
                    results[subject.source.signal]["http_items_per_s"] = round(figures.sent)
                if not arguments.json:
                    _print_row(subject, figures)
    except SendError as error:
        print(f"encode: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("encode: stopped", file=sys.stderr)
        return 130
    if arguments.json:
        print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
