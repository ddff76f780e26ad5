"""Which values a HelmRelease ends up with, wherever they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests import BASE, write

from loadgen.audit import audit, read_tree
from loadgen.audit.resolve import stack_of
from loadgen.audit.versions import matching, parsed, published
from loadgen.model import Result

LOKI = f"{BASE}/loki/app"
FROM = "  valuesFrom:\n    - kind: {kind}\n      name: loki-values\n{more}"
PATCH = "patches:\n  - target: {kind: HelmRelease}\n    patch: |\n"
OVER = "write:\n  replicas: 2\n"


def results(root: Path, files: dict[str, str]) -> dict[str, Result]:
    return {verdict.check: verdict.result for verdict in audit(read_tree(write(root, files)))}


def evidence(root: Path, files: dict[str, str], rule: str) -> str:
    return "\n".join(next(v for v in audit(read_tree(write(root, files))) if v.check == rule).evidence)


def without_replicas(good: dict[str, str], values_from: str) -> dict[str, str]:
    path = f"{LOKI}/helmrelease.yaml"
    text = good[path].replace("    write:\n      replicas: 1\n", "    write:\n")
    return {**good, path: text.replace("  values:\n", values_from + "  values:\n", 1)}


def test_values_of_a_configmap_count_and_name_its_line(tmp_path, good):
    files = without_replicas(good, FROM.format(kind="ConfigMap", more=""))
    files[f"{LOKI}/values.yaml"] = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: loki-values\n"
        "data:\n  values.yaml: |\n    write:\n      replicas: 2\n"
    )
    assert f"{LOKI}/values.yaml:8: loki: replicas of write: 2" in evidence(tmp_path, files, "single_replica")


def test_values_of_a_generated_configmap_count(tmp_path, good):
    files = without_replicas(good, FROM.format(kind="ConfigMap", more=""))
    files[f"{LOKI}/helm/values.yaml"] = OVER
    files[f"{LOKI}/kustomization.yaml"] += (
        "configMapGenerator:\n  - name: loki-values\n    files: [values.yaml=./helm/values.yaml]\n"
    )
    assert f"{LOKI}/helm/values.yaml:2: loki: replicas of write: 2" in evidence(tmp_path, files, "single_replica")


def test_the_releases_own_values_win_over_them(tmp_path, good):
    path = f"{LOKI}/helmrelease.yaml"
    files = {**good, path: good[path].replace("  values:\n", FROM.format(kind="ConfigMap", more="") + "  values:\n", 1)}
    files[f"{LOKI}/values.yaml"] = OVER
    files[f"{LOKI}/kustomization.yaml"] += "configMapGenerator:\n  - name: loki-values\n    files: [values.yaml]\n"
    assert results(tmp_path, files)["single_replica"] is Result.PASS


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_values_from_something_that_is_not_here_leave_unset_values_unknown(tmp_path, good, kind):
    found = results(tmp_path, without_replicas(good, FROM.format(kind=kind, more="")))
    assert found["single_replica"] is Result.UNKNOWN
    assert found["values_only"] is Result.UNKNOWN
    assert Result.FAIL not in found.values()


def test_optional_values_that_are_not_here_change_nothing(tmp_path, good):
    path = f"{LOKI}/helmrelease.yaml"
    optional = FROM.format(kind="ConfigMap", more="      optional: true\n")
    files = {**good, path: good[path].replace("  values:\n", optional + "  values:\n", 1)}
    assert set(results(tmp_path, files).values()) == {Result.PASS}


def test_a_patch_of_the_values_leaves_all_of_them_unknown(tmp_path, good):
    patch = PATCH + "      - op: replace\n        path: /spec/values/write/replicas\n        value: 3\n"
    found = results(tmp_path, {**good, f"{LOKI}/kustomization.yaml": good[f"{LOKI}/kustomization.yaml"] + patch})
    assert {found[rule] for rule in ("single_replica", "memory", "values_only", "promises_possible")} == {
        Result.UNKNOWN
    }
    assert Result.FAIL not in found.values()


def test_a_patch_of_something_else_does_not_matter(tmp_path, good):
    patch = PATCH + "      - op: add\n        path: /spec/interval\n        value: 2h\n"
    found = results(tmp_path, {**good, f"{LOKI}/kustomization.yaml": good[f"{LOKI}/kustomization.yaml"] + patch})
    assert set(found.values()) == {Result.PASS}


def test_doubled_dollars_and_an_annotation_keep_references_from_flux(tmp_path, good):
    ks, helm = f"{BASE}/loki/ks.yaml", f"{LOKI}/helmrelease.yaml"
    files = {**good, ks: good[ks].replace("  prune: true", "  postBuild: {substitute: {A: b}}\n  prune: true")}
    assert results(tmp_path / "1", files)["secret_from_env"] is Result.FAIL
    doubled = {**files, helm: good[helm].replace("${S3_", "$${S3_")}
    assert set(results(tmp_path / "2", doubled).values()) == {Result.PASS}
    note = "metadata:\n  annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}\n"
    annotated = {**files, helm: good[helm].replace("metadata:\n", note, 1)}
    assert set(results(tmp_path / "3", annotated).values()) == {Result.PASS}


def test_a_value_that_flux_fills_in_is_unknown(tmp_path, good):
    ks, helm = f"{BASE}/tempo/ks.yaml", f"{BASE}/tempo/app/helmrelease.yaml"
    files = {
        **good,
        ks: good[ks].replace(
            "  prune: true", "  postBuild: {substituteFrom: [{kind: ConfigMap, name: x}]}\n  prune: true"
        ),
    }
    files[helm] = good[helm].replace("${S3_", "$${S3_").replace("retention: 720h", "retention: ${RETENTION}")
    found = results(tmp_path, files)
    assert found["promises_possible"] is Result.UNKNOWN
    assert Result.FAIL not in found.values()


def test_a_whole_configuration_as_a_text_is_named_and_what_it_hides_unknown(tmp_path, good):
    path = f"{BASE}/tempo/app/helmrelease.yaml"
    files = {**good, path: good[path] + "    config: |\n      server: {http_listen_port: 3200}\n"}
    found = results(tmp_path, files)
    assert found["values_only"] is Result.FAIL
    assert found["promises_possible"] is Result.UNKNOWN


def test_a_chart_of_a_helm_repository_is_found_and_not_the_agreed_way(tmp_path, good):
    path = f"{BASE}/tempo/app/helmrelease.yaml"
    chart = (
        "  chart:\n    spec:\n      chart: tempo\n      version: 1.24.x\n"
        "      sourceRef: {kind: HelmRepository, name: grafana}\n"
    )
    repository = (
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: grafana}\n"
        "spec: {url: 'https://grafana.github.io/helm-charts'}\n"
    )
    files = {**good, f"{BASE}/repositories/grafana.yaml": repository}
    files[path] = good[path].replace("  chartRef:\n    kind: OCIRepository\n    name: tempo\n", chart)
    tree = read_tree(write(tmp_path, files))
    (release,) = stack_of(tree).of("tempo")
    assert (release.chart, release.version) == ("tempo", (1, 24, 4))
    assert {v.check for v in audit(tree) if v.result is not Result.PASS} == {"flux_pattern"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("loki", "loki-gateway"), ("logs", "logs-loki-gateway"), ("my-loki", "my-loki-gateway")],
)
def test_services_are_called_after_the_release(tmp_path, good, name, expected):
    path = f"{LOKI}/helmrelease.yaml"
    files = {**good, path: good[path].replace("spec:\n", f"spec:\n  releaseName: {name}\n", 1)}
    found = next(v for v in audit(read_tree(write(tmp_path, files))) if v.check == "datasources")
    assert found.result is (Result.PASS if expected == "loki-gateway" else Result.FAIL)
    assert f"http://{expected}.monitoring" in found.remedy + "http://loki-gateway.monitoring"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("1.24.4", "1.24.4"),
        ("~1.23", "1.23.3"),
        ("1.x", "1.24.4"),
        (">=1.19.0 <1.21.0", "1.20.0"),
        ("^1.10.1", "1.24.4"),
        ("1.18 - 1.19", "1.19.0"),
        ("~1.19.0 || ~1.18.0", "1.19.0"),
    ],
)
def test_ranges_take_the_newest_version_that_fits(wanted, expected):
    fitting = matching(wanted, published("tempo", "oci://ghcr.io/grafana/helm-charts/tempo"))
    assert fitting[-1] == parsed(expected)


def test_ranges_that_nothing_fits_and_that_nobody_understands():
    known = published("tempo", "oci://ghcr.io/grafana/helm-charts/tempo")
    assert matching("1.19.1", known) == ()
    assert matching("main", known) is None


def test_a_chart_belongs_to_its_registry():
    new = parsed("18.11.0")
    assert new in published("loki", "oci://ghcr.io/grafana-community/helm-charts/loki")
    assert new not in published("loki", "oci://ghcr.io/grafana/helm-charts/loki")
    assert new in published("loki", "oci://registry.example.com/mirror/loki")


def test_the_folder_of_a_release_alone_leaves_open_who_applies_it(tmp_path, good):
    files = {path.removeprefix(f"{LOKI}/"): text for path, text in good.items() if path.startswith(f"{LOKI}/")}
    found = results(tmp_path, files)
    assert found["flux_pattern"] is Result.UNKNOWN
    assert Result.FAIL not in found.values()


def test_another_client_of_s3_leaves_its_settings_unknown(tmp_path, good):
    path = f"{LOKI}/helmrelease.yaml"
    files = {**good, path: good[path].replace("type: s3\n", "type: s3\n        use_thanos_objstore: true\n", 1)}
    found = results(tmp_path, files)
    assert {found[rule] for rule in ("https_s3", "buckets", "secret_from_env")} == {Result.UNKNOWN}
    assert Result.FAIL not in found.values()
