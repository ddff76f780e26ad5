"""Each variant changes one thing in a good tree, and exactly the rule that it is about fails."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from manifests import ACCESS_KEY, BASE, SECRET_KEY, encrypt, secret_text, write

from loadgen.audit import RULES, audit, read_tree
from loadgen.audit.node import YamlProblem, documents
from loadgen.model import Result, Verdict
from loadgen.plans import Expected

APP = {name: f"{BASE}/{name}/app" for name in ("loki", "tempo", "mimir", "grafana", "kube-prometheus-stack")}
LOKI, TEMPO, MIMIR, GRAFANA, PROMETHEUS = (f"{folder}/helmrelease.yaml" for folder in APP.values())
PLAIN, DROP = "<plain text>", "<no such file>"


@dataclass(frozen=True)
class Variant:
    """One change: ``old`` becomes ``new`` in ``path`` (no ``old``: appended), and what is to be said of it."""

    name: str
    rule: str
    path: str
    old: str
    new: str
    says: str
    remedy: str = ""
    also: str = ""
    """Another rule that has to fail for the same reason."""


VARIANTS = (
    # -- sops
    Variant("plain secret", "sops", f"{APP['loki']}/secret.sops.yaml", PLAIN, "", "S3_ACCESS_KEY_ID of Secret loki-s3"),
    Variant(
        "value added after encryption",
        "sops",
        f"{APP['loki']}/secret.sops.yaml",
        "    S3_ENDPOINT:",
        f"    EXTRA_PASSWORD: {SECRET_KEY}\n    S3_ENDPOINT:",
        "EXTRA_PASSWORD: a value that is not encrypted",
        "sops FILE",
    ),
    Variant("no mac", "sops", f"{APP['tempo']}/secret.sops.yaml", "    mac: ", "    nomac: ", "no mac"),
    Variant("no age", "sops", f"{APP['tempo']}/secret.sops.yaml", "    age:", "    pgp:", "no age recipient"),
    Variant(
        "no data key",
        "sops",
        f"{APP['tempo']}/secret.sops.yaml",
        "BEGIN AGE ENC",
        "BEGIN ENC",
        "data key for this recipient",
    ),
    Variant(
        "placeholder",
        "sops",
        f"{BASE}/extra/secret.yaml",
        "",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {token: REPLACE_WITH_TOKEN}\n",
        "token of Secret x is still a placeholder",
    ),
    Variant(
        "password in values",
        "sops",
        GRAFANA,
        "  values:\n",
        f"  values:\n    adminPassword: {SECRET_KEY}\n",
        "adminPassword: a secret in HelmRelease grafana",
        "encrypted Secret",
    ),
    Variant(
        "generated secret",
        "sops",
        f"{APP['grafana']}/kustomization.yaml",
        "",
        f"secretGenerator:\n  - name: admin\n    literals: [password={SECRET_KEY}]\n",
        "secretGenerator admin: a value for password",
    ),
    Variant(
        "age key in a comment",
        "sops",
        MIMIR,
        "  values:\n",
        f"  # AGE-SECRET-KEY-1{'Q' * 58}\n  values:\n",
        "private key",
    ),
    Variant(
        "a random token in a ConfigMap",
        "sops",
        f"{BASE}/extra/config.yaml",
        "",
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata: {{client_secret: {SECRET_KEY}}}\n",
        "data.client_secret: a secret in ConfigMap x",
    ),
    # -- secret_keys
    Variant(
        "missing key",
        "secret_keys",
        f"{APP['mimir']}/secret.sops.yaml",
        "    S3_BUCKET:",
        "    BUCKET:",
        "lacks S3_BUCKET",
    ),
    Variant(
        "other name",
        "secret_keys",
        f"{APP['tempo']}/secret.sops.yaml",
        "name: tempo-s3-secret",
        "name: tempo-secret",
        "called tempo-secret",
        "tempo-s3-secret",
    ),
    # -- secret_from_env
    Variant(
        "inline credential",
        "secret_from_env",
        LOKI,
        "secretAccessKey: ${S3_SECRET_ACCESS_KEY}",
        f"secretAccessKey: {SECRET_KEY}",
        "loki: the secret key of storage stands in the values",
        also="sops",
    ),
    Variant("no expand-env", "secret_from_env", TEMPO, "config.expand-env: true", "{}", "without -config.expand-env"),
    Variant(
        "no envFrom",
        "secret_from_env",
        MIMIR,
        "name: mimir-s3-secret",
        "name: other",
        "not have its environment from mimir-s3-secret but from other",
        "global.extraEnvFrom",
    ),
    Variant(
        "flux substitutes",
        "secret_from_env",
        f"{BASE}/loki/ks.yaml",
        "  prune: true",
        "  postBuild: {substitute: {A: b}}\n  prune: true",
        "Flux replaces ${…}",
        "substitute: disabled",
    ),
    # -- https_s3
    Variant("insecure", "https_s3", TEMPO, "insecure: false", "insecure: true", "insecure is on"),
    Variant(
        "http", "https_s3", LOKI, "endpoint: ${S3_ENDPOINT}", "endpoint: http://s3.example.com", "begins with http://"
    ),
    Variant(
        "scheme that tempo refuses",
        "https_s3",
        TEMPO,
        "endpoint: ${S3_ENDPOINT}",
        "endpoint: https://s3.example.com",
        "which Tempo refuses",
        "s3.example.com",
    ),
    Variant(
        "mimir's too", "https_s3", MIMIR, "endpoint: ${S3_ENDPOINT}", "endpoint: https://s3.example.com:9000", "refuses"
    ),
    Variant("no endpoint", "https_s3", MIMIR, "endpoint: ${S3_ENDPOINT}", "region: x", "no endpoint is set"),
    # -- flux_pattern
    Variant(
        "chart that is not there",
        "flux_pattern",
        f"{APP['tempo']}/ocirepository.yaml",
        "1.24.4",
        "1.23.9",
        "chart tempo 1.23.9 does not exist",
        "1.23.3 and 1.24.0",
    ),
    Variant(
        "no ks.yaml", "flux_pattern", f"{BASE}/loki/ks.yaml", "loki/app", "loki/lost", "no Flux Kustomization (ks.yaml)"
    ),
    Variant(
        "not listed",
        "flux_pattern",
        f"{APP['loki']}/kustomization.yaml",
        "  - ./helmrelease.yaml\n",
        "",
        "never applied",
    ),
    Variant(
        "listed, not there",
        "flux_pattern",
        f"{APP['loki']}/kustomization.yaml",
        "",
        "  - ./more.yaml\n",
        "which is not there",
    ),
    Variant(
        "no kustomization", "flux_pattern", f"{APP['tempo']}/kustomization.yaml", DROP, "", "no kustomization.yaml"
    ),
    Variant(
        "broken YAML",
        "flux_pattern",
        f"{BASE}/broken.yaml",
        "",
        "a: [1\nb: 2\n",
        "apps/monitoring/broken.yaml:2: not valid YAML",
    ),
    Variant(
        "enterprise chart", "flux_pattern", f"{APP['loki']}/ocirepository.yaml", "6.21.0", "7.0.0", "Enterprise Logs"
    ),
    # -- values_only
    Variant(
        "config as a text",
        "values_only",
        f"{BASE}/extra/deployment.yaml",
        "",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: raw}\n"
        "spec: {template: {spec: {containers: [{name: l, image: 'grafana/loki:3.3.0'}]}}}\n",
        "runs grafana/loki:3.3.0 beside any HelmRelease",
    ),
    Variant(
        "a flag",
        "values_only",
        LOKI,
        'write:\n      replicas: 1\n      extraArgs: ["-config.expand-env=true"]',
        'write:\n      replicas: 1\n      extraArgs: ["-config.expand-env=true", "-ingester.max-chunk-age=3m"]',
        "write.extraArgs sets -ingester.max-chunk-age by a flag",
    ),
    Variant(
        "post renderer",
        "values_only",
        TEMPO,
        "  values:\n",
        "  postRenderers: [{kustomize: {}}]\n  values:\n",
        "postRend",
    ),
    # -- single_replica
    Variant(
        "two writers",
        "single_replica",
        LOKI,
        "write:\n      replicas: 1",
        "write:\n      replicas: 2",
        "replicas of write: 2",
    ),
    Variant(
        "replication factor by default",
        "single_replica",
        LOKI,
        "commonConfig:\n        replication_factor: 1",
        "commonConfig: {}",
        "replication factor 3 (default of chart loki 6.21.0)",
        "loki.commonConfig.replication_factor to 1",
    ),
    Variant(
        "zones by default",
        "single_replica",
        MIMIR,
        "zoneAwareReplication:\n        enabled: false",
        "x: {}",
        "zones of ingester is on: true (default of chart mimir-distributed 5.6.0)",
    ),
    Variant(
        "mimir's factor",
        "single_replica",
        MIMIR,
        "ring:\n            replication_factor: 1",
        "ring:\n            replication_factor: 3",
        "mimir: ingester: replication factor 3",
    ),
    # -- memory
    Variant(
        "caches by default",
        "memory",
        LOKI,
        "chunksCache:\n      enabled: false",
        "memcachedExporter:\n      enabled: false",
        "chunksCache is on and takes 9,830 Mi",
        "chunksCache.enabled to false",
    ),
    Variant("no limit", "memory", TEMPO, ", limits: {memory: 1Gi}", "", "tempo: tempo has no memory limit"),
    Variant(
        "too much", "memory", TEMPO, "limits: {memory: 1Gi}", "limits: {memory: 2Gi}", "memory limit 2Gi, not under"
    ),
    Variant(
        "ballast by default",
        "memory",
        TEMPO,
        "memBallastSizeMbs: 0",
        "x: 0",
        "ballast of 1024 MiB (default of chart tempo",
    ),
    Variant(
        "no resources",
        "memory",
        MIMIR,
        "    compactor:\n      replicas: 1\n      resources:",
        "    compactor:\n      replicas: 1\n      x:",
        "compactor has no memory limit",
    ),
    # -- buckets
    Variant(
        "one bucket for two",
        "buckets",
        TEMPO,
        "bucket: ${S3_BUCKET}",
        "bucket: loki-chunks",
        "tempo uses the bucket loki-chunks, which is loki's",
        "tempo-traces",
    ),
    Variant(
        "mimir's stores together",
        "buckets",
        MIMIR,
        "        ruler_storage:\n          storage_prefix: ruler\n",
        "        ruler_storage:\n          storage_prefix: blocks\n",
        "ruler_storage and blocks_storage have the same bucket and the same prefix",
        "storage_prefix",
    ),
    Variant(
        "no ruler bucket",
        "buckets",
        LOKI,
        "          ruler: ${S3_BUCKET}\n",
        "",
        "loki.storage.bucketNames.ruler is not set",
    ),
    Variant(
        "tempo on its disk",
        "buckets",
        TEMPO,
        "backend: s3",
        "backend: local",
        "tempo does not store in S3",
        "tempo-traces",
    ),
    # -- modes
    Variant(
        "loki in one process, as well",
        "modes",
        TEMPO,
        "    tempo:\n",
        "    tempo:\n      receivers: {otlp: {protocols: {grpc: null}}}\n",
        "OTLP/grpc on 4317 is turned off",
        "0.0.0.0:4317",
    ),
    Variant(
        "another port",
        "modes",
        TEMPO,
        "    tempo:\n",
        "    tempo:\n      receivers: {otlp: {protocols: {http: {endpoint: '0.0.0.0:9999'}}}}\n",
        "listens to 0.0.0.0:9999",
    ),
    Variant(
        "monolithic mimir",
        "modes",
        MIMIR,
        "      structuredConfig:\n",
        "      structuredConfig:\n        target: all\n",
        "mimir: all is asked for",
        "no monolithic mode",
    ),
    # -- datasources
    Variant(
        "loki's port",
        "datasources",
        GRAFANA,
        "loki-gateway.monitoring.svc.cluster.local",
        "loki-gateway.monitoring.svc.cluster.local:3100",
        "the service loki-gateway has port 80, not 3100",
        "http://loki-gateway.monitoring.svc.cluster.local",
    ),
    Variant("tempo's port", "datasources", GRAFANA, ":3200", ":3100", "has port 3200, not 3100", ":3200"),
    Variant("wrong uid", "datasources", GRAFANA, "uid: mimir", "uid: mimir-1", "has the uid mimir-1"),
    Variant(
        "dangling link", "datasources", GRAFANA, "- datasourceUid: tempo", "- datasourceUid: temp", "points at temp,"
    ),
    Variant("no link", "datasources", GRAFANA, "tracesToMetrics", "tracesToNothing", "no link from traces to metrics"),
    Variant(
        "other namespace",
        "datasources",
        GRAFANA,
        "tempo.monitoring",
        "tempo.tracing",
        "in the namespace monitoring, not tracing",
    ),
    Variant(
        "no tenant",
        "datasources",
        LOKI,
        "      auth_enabled: false\n",
        "",
        "names no tenant, but Loki wants one: auth_enabled true (default of chart loki 6.21.0)",
    ),
    # -- remote_write
    Variant(
        "mimir's port",
        "remote_write",
        PROMETHEUS,
        "cluster.local/api",
        "cluster.local:8080/api",
        "has port 80, not 8080",
        "http://mimir-nginx.monitoring.svc.cluster.local/api/v1/push",
    ),
    Variant(
        "gateway that is not there",
        "remote_write",
        PROMETHEUS,
        "mimir-nginx",
        "mimir-gateway",
        "no service mimir-gateway",
    ),
    Variant("capacity", "remote_write", PROMETHEUS, "capacity: 10000", "capacity: 2500", "capacity is 2500", "10000"),
    Variant("no backoff", "remote_write", PROMETHEUS, "              minBackoff: 30ms\n", "", "no backoff is set"),
    Variant("nothing written", "remote_write", PROMETHEUS, "remoteWrite", "remoteRead", "no remoteWrite to Mimir"),
    # -- promises_possible
    Variant(
        "flush ages by default",
        "promises_possible",
        LOKI,
        "max_chunk_age: 3m",
        "x: y",
        "in S3 only after up to 7,270 s, 300 s are promised: max_chunk_age 2h (default of chart loki 6.21.0)",
        "max_chunk_age to 3m",
    ),
    Variant(
        "block duration by default", "promises_possible", TEMPO, "max_block_duration: 5m", "x: y", "30m (default", "5m"
    ),
    Variant(
        "rate by default", "promises_possible", LOKI, "ingestion_rate_mb: 32", "x: 1", "ingestion_rate_mb 4 (default"
    ),
    Variant(
        "a day", "promises_possible", TEMPO, "retention: 720h", "x: y", "kept for 24h (default of chart tempo 1.24.4)"
    ),
    Variant(
        "no volume",
        "promises_possible",
        TEMPO,
        "persistence:\n      enabled: true",
        "x: y",
        "volume for the write-ahead log",
    ),
    Variant("live traces", "promises_possible", TEMPO, "max_traces_per_user: 0", "x: 1", "10000 (default", "176,000"),
    Variant("samples", "promises_possible", MIMIR, "ingestion_rate: 300000", "x: 1", "10000 (default of chart mimir"),
    Variant(
        "small bodies",
        "promises_possible",
        LOKI,
        "    gateway:\n",
        "    gateway:\n      nginxConfig: {clientMaxBodySize: 512K}\n",
        "loki: the gateway refuses bodies over 512K",
        "16M",
    ),
    Variant(
        "chart's minio",
        "promises_possible",
        MIMIR,
        "minio:\n      enabled: false",
        "x: {}",
        "the chart's own MinIO runs",
    ),
)


def changed(good: dict[str, str], variant: Variant) -> dict[str, str]:
    files = dict(good)
    if variant.old == DROP:
        del files[variant.path]
    elif variant.old == PLAIN:
        files[variant.path] = secret_text("loki")
    elif not variant.old:
        files[variant.path] = files.get(variant.path, "") + variant.new
    else:
        assert variant.old in files[variant.path], "the variant changes nothing"
        files[variant.path] = files[variant.path].replace(variant.old, variant.new, 1)
    return files


def judged(tmp_path: Path, files: dict[str, str], strict: bool = False) -> dict[str, Verdict]:
    return {verdict.check: verdict for verdict in audit(read_tree(write(tmp_path, files)), strict)}


def failing(verdicts: dict[str, Verdict]) -> set[str]:
    return {name for name, verdict in verdicts.items() if verdict.result is Result.FAIL}


def test_every_rule_passes_on_a_good_tree(tmp_path, good):
    verdicts = judged(tmp_path, good)
    assert {name: verdict.evidence for name, verdict in verdicts.items() if verdict.result is not Result.PASS} == {}
    assert all(verdict.samples for verdict in verdicts.values())


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: f"{variant.rule}: {variant.name}")
def test_one_change_fails_exactly_the_rule_that_it_is_about(tmp_path, good, variant):
    verdicts = judged(tmp_path, changed(good, variant))
    assert failing(verdicts) == {variant.rule, variant.also} - {""}
    verdict = verdicts[variant.rule]
    evidence = "\n".join(verdict.evidence)
    assert variant.says in evidence
    assert variant.remedy in verdict.remedy + evidence
    assert verdict.remedy
    assert evidence.partition(": ")[0].partition(":")[2].isdigit() or variant.old == DROP, "no line is named"


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: f"{variant.rule}: {variant.name}")
def test_no_verdict_gives_a_secret_away(tmp_path, good, variant):
    texts = repr(judged(tmp_path, changed(good, variant)))
    for secret in (SECRET_KEY, ACCESS_KEY, "Q" * 20, "REPLACE_WITH_TOKEN"):
        assert secret not in texts


def test_every_rule_has_a_variant_that_breaks_it():
    assert {variant.rule for variant in VARIANTS} == {rule.name for rule in RULES}
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_tree_that_holds_nothing_of_a_rule_leaves_it_unknown(tmp_path, rule):
    files = {"namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: monitoring}\n"}
    verdict = judged(tmp_path, files)[rule.name]
    assert verdict.result is Result.UNKNOWN
    assert verdict.evidence
    assert verdict.remedy


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_an_unreadable_file_lets_no_rule_pass(tmp_path, good, rule):
    verdict = judged(tmp_path, {**good, "apps/x.yaml": "a: [\n"})[rule.name]
    assert verdict.result is (Result.FAIL if rule.name == "flux_pattern" else Result.UNKNOWN)
    assert any("apps/x.yaml" in text for text in verdict.evidence)


@pytest.mark.parametrize("name", ["loki", "tempo", "mimir"])
def test_a_chart_of_unknown_version_leaves_open_what_its_defaults_decide(tmp_path, good, name):
    path = f"{APP[name]}/ocirepository.yaml"
    version = {"loki": "6.21.0", "tempo": "1.24.4", "mimir": "5.6.0"}[name]
    verdicts = judged(tmp_path, {**good, path: good[path].replace(version, "99.0.0")})
    assert failing(verdicts) == set()
    for rule in ("flux_pattern", "single_replica", "memory", "datasources"):
        assert verdicts[rule].result is Result.UNKNOWN, rule
    assert verdicts["secret_keys"].result is Result.PASS


def test_a_fully_encrypted_secret_hides_the_endpoint_so_https_is_unknown(tmp_path, good, recipient):
    files = {
        **good,
        f"{APP['loki']}/secret.sops.yaml": encrypt(secret_text("loki"), tmp_path, recipient, "^stringData$"),
    }
    verdicts = judged(tmp_path / "tree", files)
    assert verdicts["https_s3"].result is Result.UNKNOWN
    assert "S3_ENDPOINT of Secret loki-s3-secret is encrypted" in "\n".join(verdicts["https_s3"].evidence)
    assert verdicts["sops"].result is Result.PASS
    assert failing(verdicts) == set()


def test_a_rule_that_is_left_out_is_skipped(tmp_path, good):
    verdicts = audit(read_tree(write(tmp_path, good)), skip={"memory"})
    assert {verdict.check for verdict in verdicts if verdict.result is Result.SKIPPED} == {"memory"}


def test_no_single_line_of_a_good_tree_is_one_that_a_rule_falls_over_without(tmp_path, good):
    """Whatever line is missing, each rule still judges, and nothing secret is shown."""
    tree = read_tree(write(tmp_path, good))
    for file in tree.files:
        others = tuple(other for other in tree.files if other is not file)
        lines = good[file.path].splitlines(keepends=True)
        for number in range(len(lines)):
            text = "".join(lines[:number] + lines[number + 1 :])
            try:
                changed_file = replace(file, documents=documents(text, file.path))
            except YamlProblem:
                continue
            verdicts = audit(replace(tree, files=(*others, changed_file)))
            said = [text for verdict in verdicts for text in (*verdict.evidence, verdict.remedy)]
            assert not [text for text in said if "judging it failed" in text], (file.path, lines[number])
            assert not [text for text in said if SECRET_KEY in text], (file.path, lines[number])


def by_plan(tmp_path, files, rule: str, **expected) -> Verdict:
    """The verdict of a rule by what a plan expects."""
    verdicts = audit(read_tree(write(tmp_path, files)), expected=Expected(**expected))
    return next(verdict for verdict in verdicts if verdict.check == rule)


def with_writers(good, replicas: int):
    files = dict(good)
    files[LOKI] = files[LOKI].replace("write:\n      replicas: 1", f"write:\n      replicas: {replicas}", 1)
    assert files[LOKI] != good[LOKI] or replicas == 1
    return files


def test_replicas_are_free_where_the_plan_names_none(tmp_path, good):
    assert by_plan(tmp_path, with_writers(good, 3), "single_replica", replicas=0).result is Result.PASS
    assert by_plan(tmp_path / "one", with_writers(good, 3), "single_replica", replicas=1).result is Result.FAIL


def test_a_component_that_does_not_run_at_all_is_wrong_by_any_plan(tmp_path, good):
    verdict = by_plan(tmp_path, with_writers(good, 0), "single_replica", replicas=0)
    assert verdict.result is Result.FAIL
    assert "replicas of write: 0 instead of 1" in "\n".join(verdict.evidence)


def test_as_many_replicas_as_the_plan_names(tmp_path, good):
    verdict = by_plan(tmp_path, good, "single_replica", replicas=2)
    assert verdict.result is Result.FAIL
    assert "replicas of write: 1 instead of 2" in "\n".join(verdict.evidence)


def test_the_mode_is_the_one_that_the_plan_names(tmp_path, good):
    verdict = by_plan(tmp_path, good, "modes", loki_mode="SingleBinary")
    assert verdict.result is Result.FAIL and "set deploymentMode to SingleBinary" in verdict.remedy
    assert by_plan(tmp_path / "any", good, "modes", loki_mode="any").result is Result.PASS
