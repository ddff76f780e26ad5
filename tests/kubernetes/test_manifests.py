"""The tree under ``kubernetes/``: it builds, it is valid, and what it refers to is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from built_tree import CLUSTER_WIDE, ROOT, TREE, Doc, build, documents, kustomizations, texts, walk

KUBERNETES = "1.31"
APPS = sorted(path.parent for path in TREE.glob("apps/*/*/ks.yaml"))
# Of the custom kinds there is no schema at hand; what Flux requires of each.
REQUIRED = {
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"): {"interval", "path", "prune", "sourceRef"},
    ("helm.toolkit.fluxcd.io/v2", "HelmRelease"): {"interval", "chartRef", "values"},
    ("source.toolkit.fluxcd.io/v1", "OCIRepository"): {"interval", "url", "ref", "layerSelector"},
}
KEYS = tomllib.loads((Path(__file__).parent / "chart_keys.toml").read_text())


def folder_id(path: Path) -> str:
    return str(path.relative_to(TREE))


def app_docs() -> list[Doc]:
    """Everything that ends up in the cluster by way of the Flux Kustomizations."""
    return [doc for ks in flux() for doc in build(ROOT / ks["spec"]["path"])]


def flux() -> list[Doc]:
    return [doc for doc in build(TREE / "apps" / "monitoring") if doc["kind"] == "Kustomization"]


def releases() -> dict[str, Doc]:
    return {doc["metadata"]["name"]: doc for doc in app_docs() if doc["kind"] == "HelmRelease"}


def key_of(doc: Doc) -> tuple[str, str, str]:
    return doc["kind"], doc["metadata"].get("namespace", ""), doc["metadata"]["name"]


def test_there_is_something_to_test() -> None:
    assert {path.name for path in APPS} == {"loki", "tempo", "mimir", "grafana", "kube-prometheus-stack", "loadgen"}


@pytest.mark.parametrize("folder", kustomizations(), ids=folder_id)
def test_every_kustomization_builds_valid_objects(folder: Path) -> None:
    docs = build(folder)
    assert docs
    for doc in docs:
        required = REQUIRED.get((doc["apiVersion"], doc["kind"]))
        if required is None:
            kubernetes_validate.validate(doc, KUBERNETES, strict=True)
        else:
            assert required <= set(doc["spec"]), key_of(doc)


def test_a_mistyped_field_would_be_found() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": {"backofLimit": 0}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, KUBERNETES, strict=True)


def test_every_yaml_file_is_used_by_some_kustomization() -> None:
    used: set[Path] = set()
    for folder in kustomizations():
        build(folder, used)
    assert {path for path in TREE.rglob("*") if path.suffix in (".yaml", ".toml")} <= used


def test_no_two_objects_have_the_same_name() -> None:
    keys = [key_of(doc) for doc in [*app_docs(), *build(TREE / "apps" / "monitoring")]]
    assert len(keys) == len(set(keys)), sorted(key for key in keys if keys.count(key) > 1)


@pytest.mark.parametrize("ks", flux(), ids=lambda ks: ks["metadata"]["name"])
def test_a_flux_kustomization_points_at_a_folder_of_this_repository(ks: Doc) -> None:
    spec, names = ks["spec"], {doc["metadata"]["name"] for doc in flux()}
    folder = ROOT / spec["path"]
    assert (folder / "kustomization.yaml").is_file()
    assert ks["metadata"]["namespace"] == "flux-system"
    assert spec["targetNamespace"] == "monitoring"
    assert {needed["name"] for needed in spec.get("dependsOn", ())} <= names
    # A file that is encrypted needs somebody who decrypts it, and nothing else does.
    assert ("decryption" in spec) == bool(list(folder.glob("*.sops.yaml")))


def test_the_kustomizations_need_each_other_in_no_circle() -> None:
    needs = {ks["metadata"]["name"]: [need["name"] for need in ks["spec"].get("dependsOn", ())] for ks in flux()}
    while needs:
        free = [name for name, wants in needs.items() if not set(wants) & set(needs)]
        assert free, f"in a circle: {needs}"
        for name in free:
            del needs[name]


def references(doc: Doc) -> set[tuple[str, str]]:
    """Secrets and ConfigMaps that an object reads."""
    found: set[tuple[str, str]] = set()
    for part in walk(doc):
        for field, kind in (
            ("secretRef", "Secret"),
            ("secretKeyRef", "Secret"),
            ("configMapRef", "ConfigMap"),
            ("configMapKeyRef", "ConfigMap"),
            ("configMap", "ConfigMap"),
        ):
            value = part.get(field)
            if isinstance(value, dict) and "name" in value:
                found.add((kind, value["name"]))
        for field in ("secretName", "existingSecret"):
            if isinstance(part.get(field), str):
                found.add(("Secret", part[field]))
    return found


def test_every_secret_and_configmap_that_is_read_is_there() -> None:
    docs = app_docs()
    there = {(doc["kind"], doc["metadata"]["name"]) for doc in docs}
    read = set().union(*(references(doc) for doc in docs))
    assert ("Secret", "loki-s3-secret") in read
    assert read <= there, read - there


def test_every_release_has_the_chart_of_its_own_folder_at_a_fixed_version() -> None:
    sources = {doc["metadata"]["name"]: doc for doc in app_docs() if doc["kind"] == "OCIRepository"}
    for name, release in releases().items():
        assert release["spec"]["chartRef"] == {"kind": "OCIRepository", "name": name}
        source = sources[name]["spec"]
        assert source["url"].endswith("/" + KEYS[name]["chart"])
        assert source["ref"] == {"tag": KEYS[name]["version"]}


def leaves(value: dict[str, Any], before: str = "") -> list[str]:
    found: list[str] = []
    for name, inner in value.items():
        path = before + name
        found += leaves(inner, path + ".") if isinstance(inner, dict) and inner else [path]
    return found


@pytest.mark.parametrize("name", sorted(KEYS))
def test_every_value_is_one_that_the_chart_knows(name: str) -> None:
    keys, free = set(KEYS[name]["keys"]), tuple(path + "." for path in KEYS[name]["free"])
    unknown = [path for path in leaves(releases()[name]["spec"]["values"]) if path not in keys]
    assert [path for path in unknown if not path.startswith(free)] == []


def test_templates_of_secrets_hold_placeholders_and_no_secret() -> None:
    for path in TREE.rglob("*.sops.yaml"):
        (secret,) = documents(path)
        plain = {name for name, text in secret["stringData"].items() if not text.startswith("REPLACE_WITH_")}
        assert plain <= {"S3_ENDPOINT", "S3_BUCKET", "admin-user"}, path
        assert "sops --encrypt" in path.read_text()


def test_the_component_secrets_have_the_four_keys_and_an_endpoint_of_the_right_form() -> None:
    secrets = {doc["metadata"]["name"]: doc["stringData"] for doc in app_docs() if doc["kind"] == "Secret"}
    for component, bucket in (("loki", "loki-chunks"), ("tempo", "tempo-traces"), ("mimir", "mimir-blocks")):
        data = secrets[f"{component}-s3-secret"]
        assert set(data) == {"S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_ENDPOINT", "S3_BUCKET"}
        assert data["S3_BUCKET"] == bucket
        # Only Loki takes an endpoint with a scheme.
        assert data["S3_ENDPOINT"].startswith("https://") == (component == "loki")


def test_addresses_are_examples_or_names_inside_the_cluster() -> None:
    allowed = re.compile(r"(.+\.)?example\.com|.+\.svc\.cluster\.local|ghcr\.io|0\.0\.0\.0")
    for doc in app_docs():
        for text in texts(doc):
            for host in re.findall(r"(?:https?|oci)://([^/:\s\"']+)", text):
                assert allowed.fullmatch(host), f"{key_of(doc)}: {host}"


def memory_bytes(text: str) -> float:
    match = re.fullmatch(r"(\d+)(Mi|Gi)", text)
    assert match, text
    return int(match[1]) * {"Mi": 2**20, "Gi": 2**30}[match[2]]


def test_every_memory_limit_is_below_2_gib_and_not_below_its_request() -> None:
    found = [part for doc in app_docs() for part in walk(doc) if {"requests", "limits"} <= set(part)]
    assert len(found) >= 20
    for part in found:
        assert memory_bytes(part["requests"]["memory"]) <= memory_bytes(part["limits"]["memory"]) < 2 * 2**30


def test_replicas_and_copies_are_one() -> None:
    for release in releases().values():
        for part in walk(release["spec"]["values"]):
            for name in ("replicas", "replication_factor"):
                assert part.get(name, 1) == 1, release["metadata"]["name"]


def test_volumes_of_the_namespace_survive_a_pruning() -> None:
    namespaces = [doc for doc in build(TREE / "apps" / "monitoring") if doc["kind"] in CLUSTER_WIDE]
    assert [doc["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/prune"] for doc in namespaces] == ["disabled"]


def test_the_flush_ages_of_loki_and_tempo_can_meet_their_promises() -> None:
    loki = releases()["loki"]["spec"]["values"]["loki"]["ingester"]
    spans = [loki[name] for name in ("max_chunk_age", "chunk_idle_period", "flush_check_period")]
    assert sum(map(seconds_of, spans)) < 300
    tempo = releases()["tempo"]["spec"]["values"]["tempo"]["ingester"]
    assert seconds_of(tempo["max_block_duration"]) < 600


def seconds_of(text: str) -> float:
    from loadgen.units import seconds

    return seconds(text)
