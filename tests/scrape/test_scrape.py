from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadgen.config import Target
from loadgen.history.directory import RunDir
from loadgen.model import StackSample
from loadgen.scrape import scraper as scrape
from loadgen.scrape.scraper import PAUSED_ROUNDS, Scraper, parse_exposition


def parsed(*lines: str, component: str = "loki") -> dict[tuple[str, str], float]:
    samples = list(parse_exposition("\n".join(lines), component, 7))
    assert all((sample.component, sample.at_ns) == (component, 7) for sample in samples)
    assert len({(sample.metric, sample.labels) for sample in samples}) == len(samples)
    return {(sample.metric, sample.labels): sample.value for sample in samples}


def test_only_names_of_interest_are_kept() -> None:
    assert parsed(
        "# HELP process_cpu_seconds_total CPU.",
        "# TYPE process_cpu_seconds_total counter",
        "process_cpu_seconds_total 12.5",
        "process_cpu_seconds_total_more 1",
        "go_gc_duration_seconds_sum 3",
        'loki_request_duration_seconds_bucket{le="+Inf"} 4',
    ) == {("process_cpu_seconds_total", ""): 12.5}


def test_labels_that_do_not_matter_are_summed_and_the_reason_is_kept() -> None:
    name = "loki_discarded_samples_total"
    assert parsed(
        name + '{format="loki",policy="",reason="rate_limited",retention_hours="744",tenant="a"} 5',
        name + '{format="otlp",policy="",reason="rate_limited",retention_hours="744",tenant="b"} 6',
        name + '{reason="stream_limit",tenant="a"} 7 1795500000000',
        'loki_ingester_memory_streams{tenant="a"} 2',
        'loki_ingester_memory_streams{tenant="b"} 3e2',
    ) == {
        (name, 'reason="rate_limited"'): 11.0,
        (name, 'reason="stream_limit"'): 7.0,
        ("loki_ingester_memory_streams", ""): 302.0,
    }


def test_a_histogram_is_one_number() -> None:
    name = "loki_s3_request_duration_seconds"
    assert parsed(
        name + '_bucket{operation="S3.PutObject",status_code="200",le="0.1"} 3',
        name + '_sum{operation="S3.PutObject",status_code="200"} 1.5',
        name + '_count{operation="S3.PutObject",status_code="200"} 3',
        name + '_count{operation="S3.List",status_code="200"} 4',
    ) == {(f"{name}_count", ""): 7.0}


@pytest.mark.parametrize(
    "line",
    ["", "process_cpu_seconds_total", "process_cpu_seconds_total x", "process_cpu_seconds_total NaN",
     "process_cpu_seconds_total +Inf", 'process_cpu_seconds_total{a="b 5', "<html>process_cpu_seconds_total 5"],
)  # fmt: skip
def test_a_line_that_tells_no_number_is_passed_over(line: str) -> None:
    assert parsed(line, "process_start_time_seconds 5") == {("process_start_time_seconds", ""): 5.0}


def test_label_values_may_hold_braces_spaces_and_quotes() -> None:
    line = r'loki_discarded_samples_total{policy="{a=\"b\"} 9",reason="x\"}y"} 4'
    assert parsed(line) == {("loki_discarded_samples_total", r'reason="x\"}y"'): 4.0}


class Pages:
    """A server whose ``/metrics`` is ``status`` and ``body`` under each path."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: Counter[str] = Counter()
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                component = self.path.split("/")[1]
                pages.asked[component] += 1
                status, body = pages.answers[component]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def pages() -> Iterator[Pages]:
    pages = Pages()
    yield pages
    pages.server.shutdown()
    pages.server.server_close()


def scraper_of(pages: Pages, tmp_path: Path, *components: str, length_s: float = 60.0) -> Scraper:
    parts = {name: {"query_url" if name == "tempo" else "url": f"{pages.url}/{name}"} for name in components}
    return Scraper(Target.model_validate(parts), RunDir(tmp_path), time.time_ns, length_s)


@pytest.mark.parametrize("answer", [(404, "page not found"), (200, "<html>OK</html>"), (401, "no org id")])
def test_a_component_without_metrics_costs_nothing_and_the_others_go_on(
    tmp_path: Path, pages: Pages, answer: tuple[int, str]
) -> None:
    pages.answers = {"loki": answer, "tempo": (200, "go_goroutines 5\n")}
    scraper = scraper_of(pages, tmp_path, "loki", "tempo")
    for _ in range(PAUSED_ROUNDS + 1):
        assert [sample.component for sample in scraper.scrape_once()] == ["tempo"]
    assert pages.asked == {"loki": 1, "tempo": PAUSED_ROUNDS + 1}
    pages.answers["loki"] = (200, "go_goroutines 6\n")
    assert {sample.component for sample in scraper.scrape_once()} == {"loki", "tempo"}


def test_a_component_that_fails_for_a_while_is_asked_every_time(tmp_path: Path, pages: Pages) -> None:
    pages.answers = {"mimir": (503, "starting")}
    scraper = scraper_of(pages, tmp_path, "mimir")
    assert scraper.scrape_once() == [] and scraper.scrape_once() == []
    assert pages.asked["mimir"] == 2


def test_a_short_load_is_looked_at_more_often(tmp_path: Path, pages: Pages) -> None:
    pages.answers = {"mimir": (200, "go_goroutines 5\n")}
    scraper = scraper_of(pages, tmp_path, "mimir", length_s=12.0)
    scraper.start()
    until_s = time.monotonic() + 4
    while pages.asked["mimir"] < 2 and time.monotonic() < until_s:
        time.sleep(0.02)
    scraper.stop()
    assert pages.asked["mimir"] >= 2


def test_a_look_that_outlasts_the_end_is_not_stored_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "EVERY_S", 0.02)
    stored: list[object] = []
    looking, answers = threading.Event(), threading.Event()

    def hangs(_: Scraper) -> list[StackSample]:
        looking.set()
        answers.wait(60)
        return [StackSample("loki", "up", "", 1, 1.0)]

    monkeypatch.setattr(Scraper, "scrape_once", hangs)
    run: Any = SimpleNamespace(append=stored.append)
    scraper = Scraper(Target(), run, time.time_ns, 60)
    scraper.start()
    assert looking.wait(60)
    scraper.stop()
    answers.set()
    scraper._thread.join(60)
    assert not scraper._thread.is_alive() and stored == []
