"""An embedded Loki in this process, on a free port, with an object store in memory and a clock that the test sets."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from loadgen.lab.loki.server import Loki
from loadgen.lab.processes.serve import serving
from loadgen.lab.s3.localstore import MemoryStore
from loadgen.lab.settings import Limits, ServerSettings

NS = 1_000_000_000
NOW_NS = 1_795_414_080 * NS
Value = Sequence[Any]


@dataclass
class Clock:
    now_ns: int = NOW_NS

    def __call__(self) -> int:
        return self.now_ns


@dataclass
class Client:
    url: str
    store: MemoryStore
    clock: Clock
    session: requests.Session = field(default_factory=requests.Session)

    def push(self, *streams: tuple[Mapping[str, str], Sequence[Value]], status: int = 204) -> str:
        body = {
            "streams": [{"stream": dict(labels), "values": [list(v) for v in values]} for labels, values in streams]
        }
        return self.post(json.dumps(body).encode(), {"Content-Type": "application/json"}, status)

    def lines(
        self, count: int, labels: Mapping[str, str] | None = None, back_ns: int = 10 * NS, first: int = 0
    ) -> None:
        begin = self.clock.now_ns - back_ns
        values = [(str(begin + i * 1_000_000), f"level=info seq={i}") for i in range(first, first + count)]
        self.push((labels or {"app": "a"}, values))

    def post(self, body: bytes, headers: Mapping[str, str], status: int) -> str:
        answer = self.session.post(f"{self.url}/loki/api/v1/push", data=body, headers=dict(headers))
        assert answer.status_code == status, answer.text
        return answer.text

    def get(self, path: str, status: int = 200, **parameters: object) -> requests.Response:
        answer = self.session.get(f"{self.url}{path}", params={k: str(v) for k, v in parameters.items()})
        assert answer.status_code == status, answer.text
        return answer

    def range(self, query: str, **parameters: object) -> list[dict[str, Any]]:
        asked = {"start": self.clock.now_ns - 3600 * NS, "end": self.clock.now_ns + 1, "direction": "forward"}
        found = self.get("/loki/api/v1/query_range", query=query, **{**asked, **parameters}).json()
        result: list[dict[str, Any]] = found["data"]["result"]
        return result

    def texts(self, query: str, **parameters: object) -> list[str]:
        rows = [(v[0], v[1]) for group in self.range(query, **parameters) for v in group["values"]]
        return [text for _, text in sorted(rows, key=lambda row: int(row[0]))]

    def instant(self, query: str, **parameters: object) -> dict[str, str]:
        found = self.get("/loki/api/v1/query", query=query, **{"time": self.clock.now_ns, **parameters}).json()
        return {json.dumps(r["metric"], sort_keys=True): r["value"][1] for r in found["data"]["result"]}

    def total(self, selector: str = '{app="a"}') -> int:
        values = list(self.instant(f"sum(count_over_time({selector}[1h]))").values())
        return int(values[0]) if values else 0

    def metric(self, name: str) -> float:
        rows = [row for row in self.get("/metrics").text.splitlines() if row.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(row.rsplit(" ", 1)[1]) for row in rows)

    def defect(self, kind: str, count: int = 1, delay_s: float = 90, match: str = "", what: str = "") -> None:
        body = {"kind": kind, "count": count, "delay_s": delay_s, "match": match, "what": what}
        assert self.session.post(f"{self.url}/lab/defects", json=body).status_code == 201

    def hits(self) -> list[str]:
        found = self.get("/lab/defects").json()["defects"]
        return [hit["item"] for order in found for hit in order["hits"]]

    def flush(self) -> None:
        assert self.session.post(f"{self.url}/flush").status_code == 204
        wait_for(lambda: self.metric("loki_ingester_memory_chunks") == 0)


def wait_for(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


@contextlib.contextmanager
def loki(
    directory: Path,
    store: MemoryStore | None = None,
    limits: Limits | None = None,
    clock: Clock | None = None,
    flush_age_s: float = 1e6,
    tenant: str = "",
) -> Iterator[Client]:
    store, clock = store or MemoryStore(), clock or Clock()
    settings = ServerSettings(
        "loki", str(directory), limits=limits or Limits(), flush_age_s=flush_age_s, flush_check_s=0.02, tenant=tenant
    )
    with serving(Loki(settings, store, clock).app()) as url:
        yield Client(url, store, clock)
