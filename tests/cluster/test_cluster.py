"""loadgen in a cluster: what it reads, deletes, and never touches. Against a fake API server that enforces RBAC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_api import TOKEN, FakeCluster, FakePod, Rule, kubeconfig

from loadgen.acceptance.checks import judge
from loadgen.acceptance.facts import Deployment
from loadgen.acceptance.probes.kubernetes import ask_cluster, bytes_of, refused_lines
from loadgen.config import KubernetesTarget
from loadgen.faults import DisruptorError
from loadgen.model import Component, Result
from loadgen.targets.pods import ClusterDisruptor

KEYS = {"S3_ACCESS_KEY_ID": "AKVERYSECRET", "S3_SECRET_ACCESS_KEY": "hidden", "S3_ENDPOINT": "x", "S3_BUCKET": "y"}
READY = {"status": {"conditions": [{"type": "Ready", "status": "True", "message": "applied"}]}}


def role() -> list[Rule]:
    secrets = [f"{name}-s3-secret" for name in ("loki", "tempo", "mimir")]
    return [
        Rule([""], ["pods"], ["get", "list", "watch", "delete"]),
        Rule([""], ["pods/log"], ["get"]),
        Rule([""], ["secrets"], ["get"], secrets),
        Rule(["helm.toolkit.fluxcd.io"], ["helmreleases"], ["get", "list"]),
        Rule(["kustomize.toolkit.fluxcd.io"], ["kustomizations"], ["get", "list"]),
    ]


@pytest.fixture
def cluster() -> FakeCluster:
    pods = [FakePod("loki", "write"), FakePod("loki", "read"), FakePod("tempo"), FakePod("mimir", "ingester")]
    secrets = {f"{name}-s3-secret": dict(KEYS) for name in ("loki", "tempo", "mimir")}
    flux = {"helmreleases": [{"metadata": {"name": "loki"}, **READY}], "kustomizations": []}
    return FakeCluster(rules=role(), pods=pods, secrets=secrets, flux=flux)


@pytest.fixture
def target(cluster: FakeCluster, tmp_path: Path) -> Iterator[KubernetesTarget]:
    with kubeconfig(cluster, tmp_path) as path:
        yield KubernetesTarget(namespace="monitoring", kubeconfig=path)


def results(target: KubernetesTarget) -> dict[str, Result]:
    found = judge(ask_cluster(Deployment("x", 0), target))
    return {one.check: one.result for one in found if one.check.startswith("k8s.")}


def test_a_healthy_namespace_passes_all_its_checks(target: KubernetesTarget) -> None:
    assert set(results(target).values()) == {Result.PASS}


def test_no_value_of_a_secret_is_kept(target: KubernetesTarget) -> None:
    found = ask_cluster(Deployment("x", 0), target)
    assert "AKVERYSECRET" not in repr(found) and "hidden" not in repr(found)


def test_a_placeholder_in_a_secret_is_found(cluster: FakeCluster, target: KubernetesTarget) -> None:
    cluster.secrets["tempo-s3-secret"]["S3_ACCESS_KEY_ID"] = "REPLACE_WITH_TEMPO_ACCESS_KEY"
    assert results(target)["k8s.secrets"] is Result.FAIL


def test_a_missing_secret_and_a_pod_that_is_not_ready_are_found(cluster: FakeCluster, target: KubernetesTarget) -> None:
    del cluster.secrets["mimir-s3-secret"]
    cluster.pods[2].ready = False
    found = results(target)
    assert (found["k8s.secrets"], found["k8s.pods"]) == (Result.FAIL, Result.FAIL)


def test_refused_credentials_in_a_log_are_found_without_showing_them(
    cluster: FakeCluster, target: KubernetesTarget
) -> None:
    cluster.pods[0].log = "all fine\nput failed: SignatureDoesNotMatch secret=abcdef\n"
    found = ask_cluster(Deployment("x", 0), target)
    assert results(target)["k8s.logs"] is Result.FAIL
    assert "abcdef" not in repr(found)


def test_a_helmrelease_that_is_not_ready_is_named_with_its_message(
    cluster: FakeCluster, target: KubernetesTarget
) -> None:
    bad = {"type": "Ready", "status": "False", "message": "chart tempo 1.19.1 not found"}
    cluster.flux["helmreleases"].append({"metadata": {"name": "tempo"}, "status": {"conditions": [bad]}})
    verdict = next(one for one in judge(ask_cluster(Deployment("x", 0), target)) if one.check == "k8s.helmreleases")
    assert verdict.result is Result.FAIL
    assert "1.19.1 not found" in " ".join(verdict.evidence)


def test_without_rights_everything_is_unknown_and_says_so(cluster: FakeCluster, target: KubernetesTarget) -> None:
    cluster.rules.clear()
    assert set(results(target).values()) == {Result.UNKNOWN}


def test_a_wrong_token_is_unknown(cluster: FakeCluster, tmp_path: Path) -> None:
    with kubeconfig(cluster, tmp_path, token=TOKEN + "x") as path:
        target = KubernetesTarget(namespace="monitoring", kubeconfig=path)
        assert set(results(target).values()) == {Result.UNKNOWN}


def test_no_cluster_at_all_is_unknown(tmp_path: Path) -> None:
    target = KubernetesTarget(namespace="monitoring", kubeconfig=str(tmp_path / "absent"))
    assert set(results(target).values()) == {Result.UNKNOWN}


def test_a_kill_deletes_the_pods_that_hold_data_and_waits_for_their_successors(
    cluster: FakeCluster, target: KubernetesTarget
) -> None:
    before = {pod.uid for pod in cluster.pods}
    disruptor = ClusterDisruptor(target, ready_within_s=20)
    disruptor.kill(Component.LOKI)
    disruptor.start(Component.LOKI)
    deleted = [path for method, path in cluster.requests if method == "DELETE"]
    assert len(deleted) == 1 and "loki-write" in deleted[0]
    assert len(before - {pod.uid for pod in cluster.living()}) == 1


def test_a_restart_gives_the_grace_and_tells_whether_it_was_enough(
    cluster: FakeCluster, target: KubernetesTarget
) -> None:
    disruptor = ClusterDisruptor(target, ready_within_s=20)
    assert disruptor.stop(Component.MIMIR, 30)
    disruptor.start(Component.MIMIR)
    cluster.end_takes_s = 60
    assert not disruptor.stop(Component.MIMIR, 1)


def test_nothing_outside_the_namespace_is_ever_asked_for(cluster: FakeCluster, target: KubernetesTarget) -> None:
    disruptor = ClusterDisruptor(target, ready_within_s=20)
    disruptor.kill(Component.TEMPO)
    disruptor.start(Component.TEMPO)
    results(target)
    assert all("/namespaces/monitoring/" in path for _, path in cluster.requests)
    other = target.model_copy(update={"namespace": "kube-system"})
    with pytest.raises(DisruptorError, match="refuses"):
        ClusterDisruptor(other).kill(Component.TEMPO)


def test_a_role_that_may_not_delete_says_what_is_missing(cluster: FakeCluster, target: KubernetesTarget) -> None:
    cluster.rules[0] = replace(cluster.rules[0], verbs=["list"])
    with pytest.raises(DisruptorError, match="the role that it needs"):
        ClusterDisruptor(target).kill(Component.LOKI)


def test_pods_that_do_not_come_back_say_how_to_look(cluster: FakeCluster, target: KubernetesTarget) -> None:
    cluster.comes_back = False
    disruptor = ClusterDisruptor(target, ready_within_s=1)
    disruptor.kill(Component.TEMPO)
    with pytest.raises(DisruptorError, match="kubectl -n monitoring get pods"):
        disruptor.start(Component.TEMPO)


def test_a_namespace_without_the_component_is_an_error(cluster: FakeCluster, target: KubernetesTarget) -> None:
    cluster.pods.clear()
    with pytest.raises(DisruptorError, match="right namespace"):
        ClusterDisruptor(target).kill(Component.LOKI)


@pytest.mark.parametrize(
    ("text", "size"), [("512Mi", 2**29), ("2Gi", 2**31), ("1G", 10**9), ("1.5Gi", 3 * 2**29), ("", 0), ("lots", 0)]
)
def test_quantities_are_read_in_bytes(text: str, size: int) -> None:
    assert bytes_of(text) == size


def test_a_log_without_refusals_has_none() -> None:
    assert refused_lines("level=info msg=ok\nlevel=error msg='disk full'") == []
