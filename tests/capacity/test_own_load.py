"""The user's own load, from counters that somebody kept."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from kept_series import STORES, counter, gauge, readers_of, store
from scripted import Reply, scripted

from loadgen.capacity.own_load import measure_own_load, own_load_of, windows_of
from loadgen.config import Target, parse_target
from loadgen.model import NS, Component
from loadgen.targets.readers import Readers

NOW_MS = int(time.time()) * 1000
NOW_NS = NOW_MS * 1_000_000
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
LOKI = "loki_distributor_bytes_received_total"
LOKI_TEXT = """# HELP loki_distributor_bytes_received_total a
# TYPE loki_distributor_bytes_received_total counter
loki_distributor_bytes_received_total{retention_hours="744",tenant="fake"} 7.2e+06
loki_distributor_bytes_received_total{tenant="o{th}er"} 72000 1700000000000
loki_distributor_bytes_received_total_more 9
loki_distributor_lines_received_total{tenant="fake"} 72000
loki_ingester_memory_streams{tenant="fake"} 60
loki_distributor_replication_factor 3
process_start_time_seconds %s
"""


def nothing(_component: Component) -> None:
    return None


def shown(text: str):
    return lambda component: text if component is Component.LOKI else None


@pytest.fixture(scope="module", params=STORES)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    begin, end = NOW_MS - DAY_MS - HOUR_MS, NOW_MS
    mine, other = {"namespace": "monitoring"}, {"namespace": "elsewhere"}
    hours = NOW_MS - 6 * HOUR_MS
    series = [
        counter(LOKI, begin, end, 3e5, pod="loki-write-0", tenant="a", **mine),
        counter(LOKI, begin, end, 1e5, pod="loki-write-1", tenant="a", **mine),
        counter(LOKI, begin, end, 7e5, pod="loki-0", tenant="b", **other),
        counter("loki_distributor_lines_received_total", begin, end, 2000.0, **mine),
        gauge("loki_ingester_memory_streams", begin, end, 50.0, pod="loki-write-0", **mine),
        gauge("loki_ingester_memory_streams", begin, end, 70.0, pod="loki-write-1", **mine),
        # Tempo was scraped for the last hours only.
        counter("tempo_distributor_bytes_received_total", hours, end, 5e4, **mine),
        counter("tempo_distributor_spans_received_total", hours, end, 100.0, **mine),
        counter("cortex_distributor_received_samples_total", begin, end, 1500.0, **other),
        gauge("cortex_ingester_memory_series", begin, end, 30_000.0, pod="i0", **other),
        gauge("cortex_ingester_memory_series", begin, end, 30_000.0, pod="i1", **other),
        gauge("cortex_distributor_replication_factor", begin, end, 2.0, **other),
    ]
    with store(request.param, tmp_path_factory.mktemp("own") / "kept", series) as readers:
        yield readers


def test_counters_of_a_day_give_the_mean_load(kept):
    logs, metrics, traces = own_load_of(windows_of(kept.mimir, NOW_NS), nothing, NOW_NS, "monitoring")
    assert logs.bytes_per_s == pytest.approx(4e5, rel=0.01)
    assert logs.items_per_s == pytest.approx(2000.0, rel=0.01)
    assert logs.series == 120.0
    assert logs.source == (
        "Prometheus, last 24 h; runs of loadgen in that time are included; "
        "streams by loki_ingester_memory_streams, copies of replicas included"
    )
    assert traces.bytes_per_s == pytest.approx(5e4, rel=0.01)
    assert traces.items_per_s == pytest.approx(100.0, rel=0.01)
    assert "Prometheus, 6" in traces.source and "h of the last 24 h" in traces.source
    assert metrics.bytes_per_s is None
    assert metrics.items_per_s == pytest.approx(1500.0, rel=0.01)
    assert metrics.series == 30_000.0
    assert "each once" in metrics.source and "monitoring has none" in metrics.source


def test_without_a_namespace_all_of_them_count(kept):
    logs, metrics, _ = own_load_of(windows_of(kept.mimir, NOW_NS), nothing, NOW_NS)
    assert logs.bytes_per_s == pytest.approx(1.1e6, rel=0.01)
    assert "none of it" not in metrics.source


@pytest.mark.parametrize("kind", STORES)
def test_a_prometheus_that_only_sends_tells_samples_and_series(kind, tmp_path):
    begin = NOW_MS - 2 * HOUR_MS
    series = [
        counter("prometheus_remote_storage_samples_total", begin, NOW_MS, 800.0),
        gauge("prometheus_tsdb_head_series", begin, NOW_MS, 9000.0),
    ]
    with store(kind, tmp_path / "kept", series) as readers:
        _, metrics, _ = measure_own_load(readers, Target(), lambda: NOW_NS)
    assert metrics.items_per_s == pytest.approx(800.0, rel=0.02)
    assert metrics.series == 9000.0
    assert "prometheus_tsdb_head_series, of every Prometheus" in metrics.source


def test_the_component_itself_tells_when_no_prometheus_does():
    text = LOKI_TEXT % (NOW_NS / NS - 7200)
    logs, _, traces = own_load_of(lambda _query: (), shown(text), NOW_NS)
    assert logs.bytes_per_s == pytest.approx((7.2e6 + 72_000) / 7200)
    assert logs.items_per_s == pytest.approx(10.0)
    assert logs.series == pytest.approx(20.0)
    assert "one Loki process since its start 2 h ago" in logs.source and "runs of loadgen" in logs.source
    assert (traces.bytes_per_s, traces.items_per_s, traces.series) == (None, None, None)
    assert "Tempo shows no /metrics" in traces.source


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LOKI_TEXT % (NOW_NS / NS - 300), "too recently"),
        (LOKI_TEXT % (NOW_NS / NS + 300), "too recently"),
        (LOKI_TEXT % "soon", "nor has Loki's /metrics"),
        (LOKI_TEXT % "NaN", "nor has Loki's /metrics"),
        ("<html>502 Bad Gateway</html>", "nor has Loki's /metrics"),
        ("", "nor has Loki's /metrics"),
        ("\x00\xff" * 50, "nor has Loki's /metrics"),
        ("process_start_time_seconds 1\nloki_distributor_bytes_received_total NaN", "nor has Loki's /metrics"),
    ],
)
def test_a_page_that_tells_nothing_gives_nothing(text, why):
    logs = own_load_of(lambda _query: None, shown(text), NOW_NS)[0]
    assert (logs.bytes_per_s, logs.items_per_s, logs.series) == (None, None, None)
    assert why in logs.source


@pytest.mark.parametrize("values", [None, (), (float("nan"),) * 9, (float("inf"), -1.0)])
def test_answers_without_a_number_give_nothing(values):
    loads = own_load_of(lambda _query: values, nothing, NOW_NS, "monitoring")
    assert [load.signal for load in loads] == ["logs", "metrics", "traces"]
    assert all((load.bytes_per_s, load.items_per_s, load.series) == (None, None, None) for load in loads)
    assert all("no Prometheus behind Grafana has" in load.source for load in loads)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500, b"oops"),
        Reply(200, b"<html>Grafana login</html>", {"Content-Type": "text/html"}),
        Reply(200, b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"x"]]}]}}'),
        Reply(200, b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":7}]}}'),
        Reply(200, b'{"status":"success","data":{"resultType":"vector","result":[]}}'),
        Reply(reset=True),
    ],
)
def test_a_server_that_answers_anything_gives_nothing(reply):
    with scripted(reply) as server:
        target = parse_target({"loki": {"url": server.url}, "mimir": {"url": server.url}}, "test")
        loads = measure_own_load(readers_of(server.url), target, lambda: NOW_NS)
    assert all((load.bytes_per_s, load.items_per_s, load.series) == (None, None, None) for load in loads)


def test_a_series_of_zeros_is_a_load_of_nothing():
    logs = own_load_of(lambda _query: (0.0,) * 96, nothing, NOW_NS)[0]
    assert (logs.bytes_per_s, logs.items_per_s) == (0.0, 0.0)
