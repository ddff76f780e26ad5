"""The stack's own figures: ``/metrics`` of every component that shows them, a few names only.

A whole ``/metrics`` of a real server has thousands of series. Of these are kept only the names that somebody reads (see
`loadgen.scrape.figures`), of histograms only count or sum, and what differs only in labels that do not matter is
summed. Of 2,661 series of a Loki 3.7.6 at most 13 are left, of 1,317 of a Tempo 3.0.3 and of 2,638 of a Cortex 12
each, and one more for each reason to discard something.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
from collections.abc import Iterator

from loadgen.clock import Clock
from loadgen.config import Target
from loadgen.history.directory import RunDir, RunDirError
from loadgen.model import StackSample
from loadgen.scrape.figures import KEPT, labels_of
from loadgen.targets.http import HttpClient

EVERY_S = 5.0
_LOOKS = 12
PAUSED_ROUNDS = 12
"""For so long is a component left alone that has no ``/metrics``: a gateway in front of it does not pass them on."""
_HAS_NONE = frozenset({301, 302, 400, 401, 403, 404, 405})
_LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:"(?:[^"\\]|\\.)*"|[^"}])*\})?[ \t]+([^\s#]+)')
_NAME = re.compile(r"[^{ \t]*")


def parse_exposition(text: str, component: str, at_ns: int) -> Iterator[StackSample]:
    """The samples of interest in a Prometheus text exposition, summed over the labels that do not matter.

    Lines that cannot be read are passed over.
    """
    sums: dict[tuple[str, str], float] = {}
    for line in text.splitlines():
        name = _NAME.match(line)
        kept = KEPT.get(name[0]) if name else None
        match = _LINE.match(line) if kept is not None else None
        if kept is None or match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if not math.isfinite(value):
            continue
        there = labels_of(match[2]) if kept and match[2] else {}
        labels = ",".join(f'{label}="{there[label]}"' for label in kept if label in there)
        key = match[1], labels
        sums[key] = sums.get(key, 0.0) + value
    for (metric, labels), value in sums.items():
        yield StackSample(component, metric, labels, at_ns, value)


class Scraper:
    """A thread that scrapes until it is stopped. A component that cannot be scraped has no samples, nothing more.

    Args:
        target, run: what to scrape, and where the samples go.
        clock: epoch nanoseconds.
        length_s: of the load; in a short one it looks more often, as a rate needs several looks at a steady load.
    """

    def __init__(self, target: Target, run: RunDir, clock: Clock, length_s: float) -> None:
        self._every_s = min(EVERY_S, max(1.0, length_s / _LOOKS))
        self._clients = {
            name: HttpClient(url, login, timeout_s=EVERY_S)
            for name, url, login in (
                ("loki", target.loki.query_url or target.loki.url, target.loki),
                ("tempo", target.tempo.query_url, target.tempo),
                ("mimir", target.mimir.url, target.mimir),
                ("grafana", target.grafana.url, target.grafana),
            )
            if url
        }
        self._paused = dict.fromkeys(self._clients, 0)
        self._run, self._clock = run, clock
        self._stopped, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="scraper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after a last look; what takes longer than its time is not stored any more."""
        self._stopped.set()
        self._thread.join(timeout=2 * EVERY_S)
        self._closed.set()
        for client in self._clients.values():
            client.close()

    def scrape_once(self) -> list[StackSample]:
        """One look at every component, but those that were found to show nothing."""
        samples: list[StackSample] = []
        for name, client in self._clients.items():
            if self._paused[name]:
                self._paused[name] -= 1
                continue
            answer = client.get("/metrics")
            found = list(parse_exposition(answer.body.decode("utf-8", "replace"), name, answer.done_ns))
            if answer.ok and found:
                samples += found
            elif answer.ok or answer.status in _HAS_NONE:
                self._paused[name] = PAUSED_ROUNDS
        return samples

    def _work(self) -> None:
        while True:
            samples = self.scrape_once()
            if self._closed.is_set():
                return
            with contextlib.suppress(RunDirError, OSError):  # the load itself reports a full disk
                self._run.append(samples)
            if self._stopped.wait(self._every_s):
                return
