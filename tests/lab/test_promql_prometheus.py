"""The embedded Mimir answers as a real Prometheus does, given the same samples."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
from mimir_harness import PROMETHEUS, Client, Series, message, packed, prometheus, served

pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="there is no prometheus on PATH to compare with")

STEP_MS = 15_000
COUNT = 120
STALE = float(np.array([0x7FF0000000000002], dtype=np.uint64).view(np.float64)[0])

# No sample lies on the edge of a range: 2.x counts it in, 3.x and Mimir do not.
QUERIES = (
    "up_total",
    'up_total{host="a"}',
    'up_total{host!="a"}',
    'up_total{host=~"a|b"}',
    'up_total{host!~"a.*"}',
    'up_total{missing=""}',
    '{__name__=~"up_.*|depth"}',
    "up_total offset 2m",
    "up_total offset -1m",
    "depth @ end()",
    "sum(up_total @ start())",
    "rate(up_total[2m])",
    "rate(up_total[40s])",
    "irate(up_total[2m])",
    "increase(up_total[5m])",
    "delta(depth[3m])",
    "idelta(depth[3m])",
    "deriv(depth[3m])",
    "predict_linear(depth[3m], 600)",
    "changes(depth[4m])",
    "resets(up_total[10m])",
    "count_over_time(up_total[3m])",
    "sum_over_time(depth[3m])",
    "avg_over_time(depth[3m])",
    "min_over_time(depth[3m])",
    "max_over_time(depth[3m])",
    "last_over_time(depth[3m])",
    "present_over_time(depth[3m])",
    "stddev_over_time(depth[3m])",
    "stdvar_over_time(depth[3m])",
    "quantile_over_time(0.3, depth[3m])",
    "absent_over_time(nothing[3m])",
    'absent(nothing{job="x", host=~"y"})',
    "absent(depth)",
    "sum(rate(up_total[2m])) by (zone)",
    "sum without (host) (up_total)",
    "avg(depth)",
    "min by (zone) (depth)",
    "max by (zone) (depth)",
    "count(depth) by (zone)",
    "group(depth) by (zone)",
    "stddev(depth)",
    "stdvar by (zone) (depth)",
    "quantile(0.9, depth)",
    "quantile by (zone) (0.5, depth)",
    "topk(2, depth)",
    "bottomk(1, depth) by (zone)",
    'count_values("v", round(depth, 50))',
    "histogram_quantile(0.9, sum by (le) (rate(took_bucket[2m])))",
    "histogram_quantile(0.5, rate(took_bucket[2m]))",
    "histogram_quantile(2, took_bucket)",
    "depth * 2 + 1",
    "2 ^ 3 ^ 2",
    "-depth % 7",
    "depth > 20",
    "20 < bool depth",
    "depth > bool on (host) group_left (zone) info",
    "depth * on (host) group_left (team) info",
    "info * on (host) group_right () depth",
    "depth + on (host) up_total",
    "depth / ignoring (zone) depth",
    "depth and up_total > 1000",
    "depth and on (host) info",
    "depth unless on (host) info",
    "info or depth",
    "abs(-depth)",
    "ceil(depth / 7)",
    "floor(depth / 7)",
    "round(depth / 7, 0.1)",
    "clamp(depth, 10, 40)",
    "clamp_min(depth, 10)",
    "clamp_max(depth, 10)",
    "ln(depth + 100)",
    "log2(depth + 100)",
    "log10(depth + 100)",
    "exp(depth / 100)",
    "sqrt(abs(depth))",
    "sgn(depth)",
    "time() - 1e9",
    "timestamp(depth)",
    "timestamp(depth + 0)",
    "vector(3)",
    "scalar(sum(depth)) * 2",
    "scalar(depth)",
    'label_replace(depth, "short", "$1-x", "host", "(.).*")',
    'label_join(depth, "both", "/", "host", "zone")',
    "max_over_time(rate(up_total[1m])[5m:30s])",
    "sum_over_time(depth[5m:20s])",
    "gone",
    "count_over_time(gone[10m])",
    "depth == depth",
    "(depth > 10) * 0",
    "1 atan2 2",
)
ORDERED = ("sort(depth)", "sort_desc(depth)", "topk(3, depth)", "bottomk(3, depth)")
REFUSED = (
    "depth * on (zone) depth",
    "depth + on (zone) group_left () depth",
    'label_replace(depth, "0bad", "x", "host", ".*")',
    'rate({__name__=~"depth|up_total"}[2m])',
    "sum(",
    "nothing_like_this(depth)",
    "rate(depth)",
    "1 > 2",
    "depth[5m] + 1",
    "",
)


def corpus(base_ms: int) -> list[Series]:
    """Counters with resets and gaps, gauges, a histogram, info metrics and a series that ends with a marker."""
    moments = [base_ms + i * STEP_MS for i in range(COUNT)]
    rng = np.random.default_rng(7)
    series = []
    for number, host in enumerate("abcd"):
        counter = np.cumsum(rng.integers(0, 50, COUNT)).astype(float)
        counter[60 + number :] -= counter[60 + number] - 3
        zone = "east" if number % 2 else "west"
        kept = [i for i in range(COUNT) if not (host == "c" and 30 <= i < 70)]
        labels = {"host": host, "zone": zone}
        series.append(Series({"__name__": "up_total", **labels}, [(moments[i], counter[i]) for i in kept]))
        depth = np.round(50 * np.sin(np.arange(COUNT) / 5 + number), 3)
        series.append(Series({"__name__": "depth", **labels}, list(zip(moments, depth.tolist(), strict=True))))
        if host != "d":
            info = {"__name__": "info", "host": host, "team": f"team-{host}"}
            series.append(Series(info, [(moment, 1.0) for moment in moments]))
    for host in "ab":
        observed = np.cumsum(rng.integers(0, 9, (COUNT, 4)), axis=0)
        cumulative = np.cumsum(observed, axis=1).astype(float)
        for column, bound in enumerate(("0.1", "0.5", "2.5", "+Inf")):
            labels = {"__name__": "took_bucket", "host": host, "le": bound}
            series.append(Series(labels, list(zip(moments, cumulative[:, column].tolist(), strict=True))))
    gone = [(moment, 1.0) for moment in moments[:80]] + [(moments[80], STALE)]
    series.append(Series({"__name__": "gone"}, gone))
    return series


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, str, int]]:
    # Not on a multiple of any step of the subqueries.
    base_ms = int(time.time()) // 60 * 60_000 - COUNT * STEP_MS - 7_013
    body = packed(message(*corpus(base_ms)))
    with prometheus(tmp_path_factory.mktemp("prometheus")) as real, served(tmp_path_factory.mktemp("mimir")) as ours:
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        assert requests.post(f"{real}/api/v1/write", data=body, headers=headers, timeout=10).status_code == 204
        assert ours.push_body(body).status_code == 200
        # Half of the answers come from S3.
        ours.flush()
        yield ours, real, base_ms


def close(ours: str, real: str) -> bool:
    left, right = float(ours), float(real)
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)


def same_series(ours: list[dict[str, Any]], real: list[dict[str, Any]]) -> None:
    def by_labels(rows: list[dict[str, Any]]) -> dict[tuple[tuple[str, str], ...], list[list[Any]]]:
        return {tuple(sorted(row["metric"].items())): row.get("values") or [row["value"]] for row in rows}

    left, right = by_labels(ours), by_labels(real)
    assert set(left) == set(right)
    for labels, points in right.items():
        assert [point[0] for point in left[labels]] == [point[0] for point in points], labels
        wrong = [(a, b) for a, b in zip(left[labels], points, strict=True) if not close(a[1], b[1])]
        assert not wrong, (labels, wrong[:3])


@pytest.mark.parametrize("query", QUERIES)
def test_range_query_agrees_with_prometheus(both: tuple[Client, str, int], query: str) -> None:
    ours, real, base_ms = both
    times = {"start": (base_ms + 301_234) / 1000, "end": (base_ms + COUNT * STEP_MS - 4_321) / 1000, "step": "17"}
    answer = ours.get("/prometheus/api/v1/query_range", query=query, **times)
    expected = requests.get(f"{real}/api/v1/query_range", params={"query": query, **times}, timeout=10)
    assert (answer.status_code, expected.status_code) == (200, 200), (answer.text[:300], expected.text[:300])
    same_series(answer.json()["data"]["result"], expected.json()["data"]["result"])


@pytest.mark.parametrize("query", [*QUERIES, "depth[2m]", "gone[20m]", "up_total[1m] offset 1m", '"text"'])
def test_instant_query_agrees_with_prometheus(both: tuple[Client, str, int], query: str) -> None:
    ours, real, base_ms = both
    at = (base_ms + 95 * STEP_MS + 1_234) / 1000
    answer = ours.get("/prometheus/api/v1/query", query=query, time=at)
    expected = requests.get(f"{real}/api/v1/query", params={"query": query, "time": at}, timeout=10)
    assert (answer.status_code, expected.status_code) == (200, 200), (answer.text[:300], expected.text[:300])
    left, right = answer.json()["data"], expected.json()["data"]
    assert left["resultType"] == right["resultType"]
    if left["resultType"] in ("scalar", "string"):
        assert left["result"][0] == right["result"][0]
        assert left["result"][1] == right["result"][1] or close(left["result"][1], right["result"][1])
    else:
        same_series(left["result"], right["result"])


@pytest.mark.parametrize("query", ORDERED)
def test_order_of_an_instant_query_agrees_with_prometheus(both: tuple[Client, str, int], query: str) -> None:
    ours, real, base_ms = both
    at = (base_ms + 95 * STEP_MS + 1_234) / 1000
    expected = requests.get(f"{real}/api/v1/query", params={"query": query, "time": at}, timeout=10).json()
    hosts = [row["metric"]["host"] for row in expected["data"]["result"]]
    assert [row["metric"]["host"] for row in ours.query(query, time=at)] == hosts


@pytest.mark.parametrize("query", REFUSED)
def test_what_prometheus_refuses_is_refused_with_the_same_status_and_type(
    both: tuple[Client, str, int], query: str
) -> None:
    ours, real, base_ms = both
    times = {"start": base_ms / 1000, "end": base_ms / 1000 + 600, "step": "60"}
    answer = ours.get("/prometheus/api/v1/query_range", query=query, **times)
    expected = requests.get(f"{real}/api/v1/query_range", params={"query": query, **times}, timeout=10)
    assert (answer.status_code, answer.json()["errorType"]) == (expected.status_code, expected.json()["errorType"])


def test_series_and_labels_agree_with_prometheus(both: tuple[Client, str, int]) -> None:
    ours, real, _ = both
    for path in ("labels", "label/host/values", "label/__name__/values", "series?match[]=depth&match[]={host='a'}"):
        left = ours.get(f"/prometheus/api/v1/{path}").json()["data"]
        right = requests.get(f"{real}/api/v1/{path}", timeout=10).json()["data"]
        assert sorted(left, key=str) == sorted(right, key=str), path
