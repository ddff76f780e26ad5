"""A GitOps tree in which every rule passes, as texts by path, and the means to change one thing in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pyrage
import pytest

BASE = "apps/monitoring"

KS = """\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: {name}
  namespace: flux-system
spec:
  targetNamespace: monitoring
  path: ./kubernetes/apps/monitoring/{name}/app
  prune: true
  interval: 30m
  decryption:
    provider: sops
    secretRef:
      name: sops-age
  sourceRef:
    kind: GitRepository
    name: flux-system
"""

KUSTOMIZATION = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ./ocirepository.yaml
  - ./helmrelease.yaml
"""

OCI = """\
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata:
  name: {name}
spec:
  interval: 1h
  url: oci://{url}
  ref:
    tag: "{version}"
"""

HELM = """\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: {name}
spec:
  interval: 1h
  chartRef:
    kind: OCIRepository
    name: {name}
  values:
"""

SECRET = """\
apiVersion: v1
kind: Secret
metadata:
  name: {name}-s3-secret
stringData:
  S3_ACCESS_KEY_ID: {access_key}
  S3_SECRET_ACCESS_KEY: {secret_key}
  S3_ENDPOINT: {endpoint}
  S3_BUCKET: {bucket}
"""

MEMORY = "{requests: {memory: 256Mi}, limits: {memory: 1Gi}}"

LOKI = f"""\
    deploymentMode: SimpleScalable
    loki:
      auth_enabled: false
      commonConfig:
        replication_factor: 1
      storage:
        type: s3
        bucketNames:
          chunks: ${{S3_BUCKET}}
          ruler: ${{S3_BUCKET}}
        s3:
          endpoint: ${{S3_ENDPOINT}}
          accessKeyId: ${{S3_ACCESS_KEY_ID}}
          secretAccessKey: ${{S3_SECRET_ACCESS_KEY}}
      ingester:
        max_chunk_age: 3m
        chunk_idle_period: 1m
        flush_check_period: 10s
      limits_config:
        ingestion_rate_mb: 32
        ingestion_burst_size_mb: 64
        retention_period: 720h
      compactor:
        retention_enabled: true
    write:
      replicas: 1
      extraArgs: ["-config.expand-env=true"]
      extraEnvFrom: &env
        - secretRef: {{name: loki-s3-secret}}
      resources: &memory {MEMORY}
    read:
      replicas: 1
      extraArgs: ["-config.expand-env=true"]
      extraEnvFrom: *env
      resources: *memory
    backend:
      replicas: 1
      extraArgs: ["-config.expand-env=true"]
      extraEnvFrom: *env
      resources: *memory
    gateway:
      resources: *memory
    chunksCache:
      enabled: false
    resultsCache:
      enabled: false
    sidecar:
      resources: *memory
    lokiCanary:
      enabled: false
"""

TEMPO = f"""\
    tempo:
      memBallastSizeMbs: 0
      retention: 720h
      extraArgs:
        config.expand-env: true
      extraEnvFrom:
        - secretRef:
            name: tempo-s3-secret
      ingester:
        max_block_duration: 5m
      overrides:
        defaults:
          ingestion:
            max_traces_per_user: 0
      storage:
        trace:
          backend: s3
          s3:
            endpoint: ${{S3_ENDPOINT}}
            bucket: ${{S3_BUCKET}}
            access_key: ${{S3_ACCESS_KEY_ID}}
            secret_key: ${{S3_SECRET_ACCESS_KEY}}
            insecure: false
      resources: {MEMORY}
    persistence:
      enabled: true
"""

_PARTS = (
    "distributor",
    "ingester",
    "querier",
    "query_frontend",
    "query_scheduler",
    "store_gateway",
    "compactor",
    "ruler",
    "alertmanager",
    "overrides_exporter",
    "nginx",
)
_ZONES = ("ingester", "store_gateway")

MIMIR = """\
    minio:
      enabled: false
    global:
      extraEnvFrom:
        - secretRef:
            name: mimir-s3-secret
    mimir:
      structuredConfig:
        common:
          storage:
            backend: s3
            s3:
              endpoint: ${S3_ENDPOINT}
              bucket_name: ${S3_BUCKET}
              access_key_id: ${S3_ACCESS_KEY_ID}
              secret_access_key: ${S3_SECRET_ACCESS_KEY}
        blocks_storage:
          storage_prefix: blocks
        ruler_storage:
          storage_prefix: ruler
        alertmanager_storage:
          storage_prefix: alertmanager
        ingester:
          ring:
            replication_factor: 1
        store_gateway:
          sharding_ring:
            replication_factor: 1
        alertmanager:
          sharding_ring:
            replication_factor: 1
        limits:
          ingestion_rate: 300000
          ingestion_burst_size: 3000000
    rollout_operator:
      enabled: false
""" + "".join(
    f"    {part}:\n      replicas: 1\n      resources: {MEMORY}\n"
    + ("      zoneAwareReplication:\n        enabled: false\n" if part in _ZONES else "")
    for part in _PARTS
)

GRAFANA = """\
    datasources:
      datasources.yaml:
        apiVersion: 1
        datasources:
          - name: Loki
            uid: loki
            type: loki
            access: proxy
            url: http://loki-gateway.monitoring.svc.cluster.local
            jsonData:
              derivedFields:
                - datasourceUid: tempo
                  name: trace_id
          - name: Tempo
            uid: tempo
            type: tempo
            access: proxy
            url: http://tempo.monitoring.svc.cluster.local:3200
            jsonData:
              tracesToLogsV2:
                datasourceUid: loki
              tracesToMetrics:
                datasourceUid: mimir
          - name: Mimir
            uid: mimir
            type: prometheus
            access: proxy
            url: http://mimir-nginx.monitoring.svc.cluster.local/prometheus
"""

PROMETHEUS = """\
    prometheus:
      prometheusSpec:
        remoteWrite:
          - url: http://mimir-nginx.monitoring.svc.cluster.local/api/v1/push
            queueConfig:
              capacity: 10000
              maxShards: 50
              minShards: 1
              minBackoff: 30ms
              maxBackoff: 5s
"""

# name: chart's address, version, values
APPS = {
    "loki": ("ghcr.io/grafana/helm-charts/loki", "6.21.0", LOKI),
    "tempo": ("ghcr.io/grafana/helm-charts/tempo", "1.24.4", TEMPO),
    "mimir": ("ghcr.io/grafana/helm-charts/mimir-distributed", "5.6.0", MIMIR),
    "grafana": ("ghcr.io/grafana/helm-charts/grafana", "10.5.15", GRAFANA),
    "kube-prometheus-stack": (
        "ghcr.io/prometheus-community/charts/kube-prometheus-stack",
        "88.5.3",
        PROMETHEUS,
    ),
}
BUCKETS = {"loki": "loki-chunks", "tempo": "tempo-traces", "mimir": "mimir-blocks"}
# A credential as a real one looks; no test may find it in any output.
ACCESS_KEY, SECRET_KEY = "k7Qz1xWv93LmPa0RtYbd", "pX4fT9uB2nVc7yGq0LzWk83JmRsHd6EoAiUtNv1C"


def secret_text(name: str, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> str:
    """The S3 secret of a component, in plain text."""
    endpoint = "https://s3.example.com" if name == "loki" else "s3.example.com"
    return SECRET.format(
        name=name, access_key=access_key, secret_key=secret_key, endpoint=endpoint, bucket=BUCKETS[name]
    )


def tree_of(secrets: Mapping[str, str]) -> dict[str, str]:
    """The whole tree, with these texts for the secrets of loki, tempo and mimir."""
    files = {}
    for name, (url, version, values) in APPS.items():
        folder = f"{BASE}/{name}"
        files[f"{folder}/ks.yaml"] = KS.format(name=name)
        files[f"{folder}/app/ocirepository.yaml"] = OCI.format(name=name, url=url, version=version)
        files[f"{folder}/app/helmrelease.yaml"] = HELM.format(name=name) + values
        files[f"{folder}/app/kustomization.yaml"] = KUSTOMIZATION
        if name in secrets:
            files[f"{folder}/app/kustomization.yaml"] += "  - ./secret.sops.yaml\n"
            files[f"{folder}/app/secret.sops.yaml"] = secrets[name]
    return files


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write a tree; the root, for chaining."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def new_recipient() -> str:
    """The public half of an age key made for this test."""
    return str(pyrage.x25519.Identity.generate().to_public())


def sops_program() -> str | None:
    """The real sops: the one that was installed with these tests, which need not be on PATH, or another one."""
    return shutil.which("sops", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def encrypt(text: str, folder: Path, recipient: str, hidden: str = "^S3_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)$") -> str:
    """What the real sops makes of a manifest."""
    program = sops_program()
    if program is None:
        pytest.skip("there is no sops; pip install 'loadgen[dev]' brings it on Linux")
    path = folder / "secret.sops.yaml"
    path.write_text(text)
    done = subprocess.run(
        [program, "--encrypt", "--age", recipient, "--encrypted-regex", hidden, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    return done.stdout
