"""The stack's own figures: ``/metrics`` of every component that shows them, a few names only."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator

from loadgen.clock import Clock
from loadgen.config import Target
from loadgen.model import StackSample
from loadgen.rundir import RunDir, RunDirError
from loadgen.targets.http import HttpClient

EVERY_S = 5.0
NAMES = frozenset(
    {
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "loki_ingester_memory_chunks",
        "loki_ingester_memory_streams",
        "loki_distributor_lines_received_total",
        "loki_discarded_samples_total",
        "tempo_ingester_live_traces",
        "tempo_live_store_live_traces",
        "tempo_distributor_spans_received_total",
        "tempo_discarded_spans_total",
        "cortex_ingester_memory_series",
        "cortex_distributor_received_samples_total",
        "cortex_discarded_samples_total",
    }
)
_LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})?\s+([^\s#]+)")


def parse_exposition(text: str, component: str, at_ns: int) -> Iterator[StackSample]:
    """The samples of interest in a Prometheus text exposition; lines that cannot be read are passed over."""
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and match[1] in NAMES:
            try:
                value = float(match[3])
            except ValueError:
                continue
            yield StackSample(component, match[1], (match[2] or "").strip("{}"), at_ns, value)


class Scraper:
    """A thread that scrapes until it is stopped. A component that cannot be scraped has no samples, nothing more."""

    def __init__(self, target: Target, run: RunDir, clock: Clock) -> None:
        self._clients = {
            name: HttpClient(url, login, timeout_s=EVERY_S)
            for name, url, login in (
                ("loki", target.loki.query_url or target.loki.url, target.loki),
                ("tempo", target.tempo.query_url, target.tempo),
                ("mimir", target.mimir.url, target.mimir),
            )
            if url
        }
        self._run, self._clock = run, clock
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="scraper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after a last look."""
        self._stopped.set()
        self._thread.join(timeout=2 * EVERY_S)
        for client in self._clients.values():
            client.close()

    def scrape_once(self) -> list[StackSample]:
        """One look at every component."""
        samples: list[StackSample] = []
        for name, client in self._clients.items():
            answer = client.get("/metrics")
            if answer.ok:
                samples += parse_exposition(answer.body.decode("utf-8", "replace"), name, answer.done_ns)
        return samples

    def _work(self) -> None:
        while True:
            with contextlib.suppress(RunDirError, OSError):  # the load itself reports a full disk
                self._run.append(self.scrape_once())
            if self._stopped.wait(EVERY_S):
                return
