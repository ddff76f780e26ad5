"""A tree as a plausible first plan writes it down: ports, versions and names that read well and are not there.

Two readings: what was planned, and what was then done. The audit names each mistake and the right value.
"""

from __future__ import annotations

import pytest
from manifests import BASE, MEMORY, secret_text, tree_of, write

from loadgen.audit import audit, read_tree
from loadgen.model import Result, Verdict

APP = {name: f"{BASE}/{name}/app" for name in ("loki", "tempo", "mimir", "grafana", "kube-prometheus-stack")}
_PARTS = "distributor ingester querier query_frontend query_scheduler store_gateway compactor ruler alertmanager nginx"

LOKI = f"""\
    deploymentMode: SimpleScalable
    loki:
      storage:
        type: s3
        bucketNames:
          chunks: loki-chunks
        s3:
          endpoint: ${{S3_ENDPOINT}}
          accessKeyId: ${{S3_ACCESS_KEY_ID}}
          secretAccessKey: ${{S3_SECRET_ACCESS_KEY}}
      limits_config:
        retention_period: 720h
    write: &part
      replicas: 1
      extraEnvFrom: [{{secretRef: {{name: loki-s3-secret}}}}]
      resources: {MEMORY}
    read: *part
    backend: *part
    gateway:
      resources: {MEMORY}
"""
TEMPO = f"""\
    tempo:
      retention: 720h
      extraEnvFrom: [{{secretRef: {{name: tempo-s3-secret}}}}]
      storage:
        trace:
          backend: s3
          s3:
            endpoint: ${{S3_ENDPOINT}}
            bucket: tempo-traces
            access_key: ${{S3_ACCESS_KEY_ID}}
            secret_key: ${{S3_SECRET_ACCESS_KEY}}
      metricsGenerator:
        enabled: true
      resources: {MEMORY}
"""
MIMIR = """\
    global:
      extraEnvFrom: [{secretRef: {name: mimir-s3-secret}}]
    mimir:
      structuredConfig:
        common:
          storage:
            backend: s3
            s3:
              endpoint: ${S3_ENDPOINT}
              bucket_name: mimir-blocks
              access_key_id: ${S3_ACCESS_KEY_ID}
              secret_access_key: ${S3_SECRET_ACCESS_KEY}
""" + "".join(f"    {part}: {{replicas: 1, resources: {MEMORY}}}\n" for part in _PARTS.split())


def secret(name: str) -> str:
    text = secret_text(name, f"REPLACE_WITH_{name.upper()}_ACCESS_KEY", f"REPLACE_WITH_{name.upper()}_SECRET_KEY")
    return text.replace("ENDPOINT: s3.", "ENDPOINT: https://s3.")


def plan(done: bool) -> dict[str, str]:
    files = tree_of({name: secret(name) for name in ("loki", "tempo", "mimir")})
    for name, values in (("loki", LOKI), ("tempo", TEMPO), ("mimir", MIMIR)):
        path = f"{APP[name]}/helmrelease.yaml"
        files[path] = files[path].partition("  values:\n")[0] + "  values:\n" + values
    mimir = "mimir-nginx" if done else "mimir-gateway"
    changes = [
        (f"{APP['tempo']}/ocirepository.yaml", "1.24.4", "1.19.1"),
        (f"{APP['mimir']}/ocirepository.yaml", "5.6.0", "5.6.2"),
        (
            f"{APP['grafana']}/helmrelease.yaml",
            "loki-gateway.monitoring.svc.cluster.local",
            "loki-gateway.monitoring.svc.cluster.local:3100",
        ),
        (
            f"{APP['grafana']}/helmrelease.yaml",
            "mimir-nginx.monitoring.svc.cluster.local",
            f"{mimir}.monitoring.svc.cluster.local:8080",
        ),
        (
            f"{APP['kube-prometheus-stack']}/helmrelease.yaml",
            "mimir-nginx.monitoring.svc.cluster.local",
            f"{mimir}.monitoring.svc.cluster.local:8080",
        ),
    ]
    if done:
        changes.append((f"{APP['grafana']}/helmrelease.yaml", ":3200", ":3100"))
    else:
        changes.append(
            (
                f"{APP['mimir']}/helmrelease.yaml",
                "      structuredConfig:\n",
                "      structuredConfig:\n        target: all\n",
            )
        )
    for path, old, new in changes:
        assert old in files[path]
        files[path] = files[path].replace(old, new)
    return files


# rule, what is said, what is said to write instead
BOTH = (
    ("sops", "S3_ACCESS_KEY_ID of Secret loki-s3-secret is still a placeholder", "encrypt it"),
    ("sops", "S3_SECRET_ACCESS_KEY of Secret mimir-s3-secret is still a placeholder", "encrypt it"),
    ("secret_from_env", "loki: write is started without -config.expand-env", "-config.expand-env=true"),
    ("secret_from_env", "tempo: tempo is started without -config.expand-env", "-config.expand-env=true"),
    ("https_s3", "tempo: storage: the endpoint begins with https://, which Tempo refuses", "s3.example.com"),
    ("https_s3", "mimir: blocks_storage: the endpoint begins with https://, which Mimir refuses", "s3.example.com"),
    ("flux_pattern", "chart tempo 1.19.1 does not exist", "1.19.0 and 1.20.0"),
    ("flux_pattern", "chart mimir-distributed 5.6.2 does not exist", "5.6.1 and 5.7.0"),
    ("single_replica", "loki: replication factor 3 (default of chart loki 6.21.0)", "replication_factor to 1"),
    ("single_replica", "mimir: zones of ingester is on", "ingester.zoneAwareReplication.enabled to false"),
    ("single_replica", "mimir: ingester: replication factor 3", "ring.replication_factor to 1"),
    ("memory", "loki: chunksCache is on and takes 9,830 Mi", "chunksCache.enabled to false"),
    ("memory", "tempo: a memory ballast of 1024", "memBallastSizeMbs to 0"),
    ("buckets", "ruler_storage and blocks_storage have the same bucket and the same prefix", "storage_prefix"),
    ("buckets", "loki.storage.bucketNames.ruler is not set", "loki-chunks"),
    (
        "datasources",
        "the service loki-gateway has port 80, not 3100",
        "http://loki-gateway.monitoring.svc.cluster.local",
    ),
    ("datasources", "names no tenant, but Loki wants one", "auth_enabled to false"),
    ("promises_possible", "loki: lines in S3 only after up to 9,030 s, 300 s are promised", "max_chunk_age to 3m"),
    ("promises_possible", "tempo: traces in S3 only after up to 1,820 s, 600 s are promised", "5m or less"),
    ("promises_possible", "loki: ingestion_rate_mb 4 (default of chart loki 6.21.0)", "ingestion_rate_mb"),
    ("promises_possible", "mimir: ingestion_rate (samples a second) 10000", "limits.ingestion_rate"),
    ("promises_possible", "tempo: a volume for the write-ahead log is off", "persistence.enabled to true"),
    ("promises_possible", "mimir: the chart's own MinIO runs", "minio.enabled to false"),
)
PLANNED = (
    ("modes", "mimir: all is asked for", "there is no monolithic mode"),
    ("datasources", "there is no service mimir-gateway", "http://mimir-nginx.monitoring.svc.cluster.local/prometheus"),
    ("datasources", "the service tempo has port 3100, not 3200", "http://tempo.monitoring.svc.cluster.local:3100"),
    (
        "remote_write",
        "there is no service mimir-gateway",
        "http://mimir-nginx.monitoring.svc.cluster.local/api/v1/push",
    ),
)
DONE = (
    (
        "datasources",
        "the service mimir-nginx has port 80, not 8080",
        "http://mimir-nginx.monitoring.svc.cluster.local/prom",
    ),
    (
        "remote_write",
        "the service mimir-nginx has port 80, not 8080",
        "http://mimir-nginx.monitoring.svc.cluster.local/api",
    ),
)
MISTAKES = {
    False: (*BOTH, *PLANNED),
    True: (*BOTH, *DONE),
}


@pytest.fixture(scope="module", params=[False, True], ids=["planned", "done"])
def reading(request, tmp_path_factory) -> tuple[bool, dict[str, Verdict]]:
    root = write(tmp_path_factory.mktemp("plan"), plan(request.param))
    return request.param, {verdict.check: verdict for verdict in audit(read_tree(root))}


def test_every_mistake_is_named_with_the_right_value(reading):
    done, verdicts = reading
    for rule, says, remedy in MISTAKES[done]:
        assert verdicts[rule].result is Result.FAIL, rule
        told = next((text for text in verdicts[rule].evidence if says in text), "")
        assert told, f"{rule}: {says}\n" + "\n".join(verdicts[rule].evidence)
        assert remedy in told or remedy in verdicts[rule].remedy


def test_what_is_right_is_not_called_wrong(reading):
    done, verdicts = reading
    right = {"secret_keys", "values_only"} | ({"modes"} if done else set())
    assert {name for name, verdict in verdicts.items() if verdict.result is Result.PASS} == right
    assert not [name for name, verdict in verdicts.items() if verdict.result is Result.UNKNOWN]
    if done:
        said = "\n".join(verdicts["datasources"].evidence)
        assert "tempo has port" not in said, "chart 1.19 listens on 3100"
