"""What the containers of a component used, from the series that a cluster's Prometheus has."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from kept_series import STORES, counter, gauge, readers_of, store
from mimir_harness import Series
from scripted import Reply, scripted

from loadgen.capacity.containers import Query, container_usage, query_of
from loadgen.model import Component
from loadgen.targets.reading import Point

NOW_MS = int(time.time()) * 1000
FROM_NS, UNTIL_NS = (NOW_MS - 300_000) * 1_000_000, NOW_MS * 1_000_000
BEGIN_MS = NOW_MS - 900_000 + 7_000
MIB = 1 << 20


def pod(name: str, container: str, namespace: str = "monitoring", job: str = "kubelet") -> dict[str, str]:
    return {"pod": name, "container": container, "namespace": namespace, "job": job}


def one_container(labels: dict[str, str], cores: float, memory: float) -> list[Series]:
    return [
        counter("container_cpu_usage_seconds_total", BEGIN_MS, NOW_MS, cores, 15, **labels),
        gauge("container_memory_working_set_bytes", BEGIN_MS, NOW_MS, memory, 15, **labels),
    ]


def cluster() -> list[Series]:
    writer, sidecar, reader = pod("loki-write-0", "loki"), pod("loki-write-0", "sidecar"), pod("loki-read-x1", "loki")
    series = [
        *one_container(writer, 0.5, 100.0 * MIB),
        *one_container(sidecar, 0.05, 10.0 * MIB),
        *one_container(reader, 0.25, 50.0 * MIB),
        # The same container scraped by another job, the sum of the pod, and pods that are not Loki.
        *one_container(pod("loki-write-0", "loki", job="cadvisor"), 0.5, 100.0 * MIB),
        *one_container(pod("loki-write-0", ""), 0.55, 110.0 * MIB),
        *one_container(pod("loki-write-0", "POD"), 0.01, 1.0 * MIB),
        *one_container(pod("loki-canary-abc", "canary"), 7.0, 700.0 * MIB),
        *one_container(pod("loki-write-0", "loki", namespace="other"), 9.0, 900.0 * MIB),
        *one_container(pod("grafana-1", "grafana"), 3.0, 300.0 * MIB),
        *one_container(pod("tempo-0", "tempo"), 0.125, 64.0 * MIB),
        gauge("container_spec_memory_limit_bytes", BEGIN_MS, NOW_MS, 256.0 * MIB, 15, **pod("tempo-0", "tempo")),
    ]
    for labels in (writer, sidecar, reader):
        # kube-state-metrics scrapes on its own behalf.
        named = {**labels, "job": "ksm"}
        limits = gauge(
            "kube_pod_container_resource_limits", BEGIN_MS, NOW_MS, 200.0 * MIB, 15, **named, resource="memory"
        )
        cpus = gauge("kube_pod_container_resource_limits", BEGIN_MS, NOW_MS, 2.0, 15, **named, resource="cpu")
        series += [limits, cpus]
    series += [
        counter("container_cpu_cfs_periods_total", BEGIN_MS, NOW_MS, 10.0, 15, **writer),
        counter("container_cpu_cfs_throttled_periods_total", BEGIN_MS, NOW_MS, 2.5, 15, **writer),
        restarted("kube_pod_container_status_restarts_total", {**writer, "job": "ksm"}),
        gauge(
            "kube_pod_start_time",
            BEGIN_MS,
            NOW_MS,
            NOW_MS / 1000 - 9000,
            15,
            pod="loki-write-0",
            namespace="monitoring",
        ),
        gauge(
            "kube_pod_start_time", BEGIN_MS, NOW_MS, NOW_MS / 1000 - 100, 15, pod="loki-read-x1", namespace="monitoring"
        ),
    ]
    return series


def restarted(name: str, labels: dict[str, str]) -> Series:
    """Three restarts long ago, and one in the window."""
    times = range(BEGIN_MS, NOW_MS, 15_000)
    return Series({"__name__": name, **labels}, [(at, 4.0 if at > NOW_MS - 150_000 else 3.0) for at in times])


@pytest.fixture(scope="module", params=STORES)
def query(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Query]:
    with store(request.param, tmp_path_factory.mktemp("containers") / "kept", cluster()) as readers:
        yield query_of(readers.mimir)


def test_the_containers_of_all_pods_count_once(query):
    usage = container_usage(query, "monitoring", Component.LOKI, FROM_NS, UNTIL_NS)
    assert usage is not None
    assert (usage.component, usage.source) == ("loki", "prometheus")
    assert usage.cores == pytest.approx(0.8, rel=0.01)
    assert usage.memory_bytes == pytest.approx(160 * MIB)
    assert usage.memory_limit_bytes == pytest.approx(600 * MIB)
    assert usage.throttled_share == pytest.approx(0.25, rel=0.01)
    # One restart in the window, and one pod that began in it.
    assert usage.starts == 2


def test_a_limit_that_only_the_kubelet_tells_counts(query):
    usage = container_usage(query, "monitoring", Component.TEMPO, FROM_NS, UNTIL_NS)
    assert usage is not None
    assert usage.memory_limit_bytes == pytest.approx(256 * MIB)
    assert usage.throttled_share is None
    assert usage.starts == 0


def test_a_component_without_containers_has_no_usage(query):
    assert container_usage(query, "monitoring", Component.MIMIR, FROM_NS, UNTIL_NS) is None
    assert container_usage(query, "nowhere", Component.LOKI, FROM_NS, UNTIL_NS) is None
    assert container_usage(query, 'a"b\\', Component.LOKI, FROM_NS, UNTIL_NS) is None


@pytest.mark.parametrize("kind", STORES)
def test_memory_is_the_highest_sum_and_one_unlimited_container_leaves_no_limit(kind, tmp_path):
    times = range(BEGIN_MS, NOW_MS, 15_000)

    def memory(container: str, high: bool) -> Series:
        labels = {"__name__": "container_memory_working_set_bytes", **pod("mimir-0", container)}
        # The peaks of the two are not at the same time.
        peak = [at > NOW_MS - 120_000 if high else NOW_MS - 270_000 < at < NOW_MS - 180_000 for at in times]
        return Series(
            labels, [(at, 9.0 * MIB if is_peak else 4.0 * MIB) for at, is_peak in zip(times, peak, strict=True)]
        )

    limits = [
        gauge("container_spec_memory_limit_bytes", BEGIN_MS, NOW_MS, value, 15, **pod("mimir-0", container))
        for container, value in (("a", 64.0 * MIB), ("b", 0.0))
    ]
    with store(kind, tmp_path / "kept", [memory("a", True), memory("b", False), *limits]) as readers:
        usage = container_usage(query_of(readers.mimir), "monitoring", Component.MIMIR, FROM_NS, UNTIL_NS)
    assert usage is not None
    assert usage.memory_bytes == pytest.approx(13 * MIB)
    assert usage.memory_limit_bytes is None
    assert usage.cores is None


@pytest.mark.parametrize(
    "points",
    [None, (), (Point((), float("nan")),), (Point((), -1.0),), (Point((), 1.0), Point((), 2.0))],
)
def test_answers_without_one_number_give_no_usage(points):
    assert container_usage(lambda *_: points, "monitoring", Component.LOKI, FROM_NS, UNTIL_NS) is None


@pytest.mark.parametrize(
    "reply",
    [
        Reply(422, b'{"status":"error","error":"bad"}', {"Content-Type": "application/json"}),
        Reply(200, b"<html></html>", {"Content-Type": "text/html"}),
        Reply(200, b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1]}]}}'),
        Reply(reset=True),
    ],
)
def test_a_server_that_answers_anything_gives_no_usage(reply):
    with scripted(reply) as server:
        query = query_of(readers_of(server.url).mimir)
        assert container_usage(query, "monitoring", Component.LOKI, FROM_NS, UNTIL_NS) is None
