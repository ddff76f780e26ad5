"""What the charts, and the servers in them, do when a value is not set: one literal table.

A rule judges the value that is set, or this. A version that the table does not span gives no fact, and what depends on
it is unknown. The spans are those in which the default is the same in every published version (Loki, Tempo), or in the
versions that were read (Mimir).
"""

from __future__ import annotations

from dataclasses import dataclass

from loadgen.audit.node import Scalar
from loadgen.audit.versions import Version, parsed


@dataclass(frozen=True, slots=True)
class Fact:
    """A default.

    Attributes:
        chart: name of the chart.
        since, before: versions of the chart for which it holds; ``before`` is the first for which it does not.
        path: the value, as in the chart's values; in parentheses where no value sets it.
        value: the default; None when the chart sets nothing.
        source: where it was read.
    """

    chart: str
    since: str
    before: str
    path: str
    value: Scalar
    source: str

    def holds(self, version: Version) -> bool:
        """Whether it is true of a version."""
        since, before = parsed(self.since), parsed(self.before)
        return since is not None and before is not None and since <= version < before


_Rows = tuple[tuple[str, Scalar], ...]


def _facts(chart: str, since: str, before: str, source: str, rows: _Rows) -> tuple[Fact, ...]:
    return tuple(Fact(chart, since, before, path, value, source) for path, value in rows)


FACTS: tuple[Fact, ...] = (
    *_facts(
        "loki",
        "6.0.0",
        "19.0.0",
        "values.yaml of chart loki, 6.0.0 to 18.11.0",
        (
            ("loki.auth_enabled", True),
            ("loki.commonConfig.replication_factor", 3),
            ("loki.storage.type", "s3"),
            ("loki.storage.s3.insecure", False),
            ("write.replicas", 3),
            ("read.replicas", 3),
            ("backend.replicas", 3),
            ("singleBinary.replicas", 0),
            ("write.autoscaling.enabled", False),
            ("read.autoscaling.enabled", False),
            ("backend.autoscaling.enabled", False),
            ("write.persistence.volumeClaimsEnabled", True),
            ("backend.persistence.volumeClaimsEnabled", True),
            ("singleBinary.persistence.enabled", True),
            ("write.resources.requests.memory", None),
            ("write.resources.limits.memory", None),
            ("read.resources.requests.memory", None),
            ("read.resources.limits.memory", None),
            ("backend.resources.requests.memory", None),
            ("backend.resources.limits.memory", None),
            ("singleBinary.resources.requests.memory", None),
            ("singleBinary.resources.limits.memory", None),
            ("gateway.enabled", True),
            ("gateway.replicas", 1),
            ("gateway.autoscaling.enabled", False),
            ("gateway.service.port", 80),
            ("gateway.resources.requests.memory", None),
            ("gateway.resources.limits.memory", None),
            ("chunksCache.enabled", True),
            ("chunksCache.replicas", 1),
            ("chunksCache.allocatedMemory", 8192),
            ("chunksCache.resources.requests.memory", None),
            ("chunksCache.resources.limits.memory", None),
            ("resultsCache.enabled", True),
            ("resultsCache.replicas", 1),
            ("resultsCache.allocatedMemory", 1024),
            ("resultsCache.resources.requests.memory", None),
            ("resultsCache.resources.limits.memory", None),
            ("memcachedExporter.enabled", True),
            ("memcachedExporter.resources.requests.memory", None),
            ("memcachedExporter.resources.limits.memory", None),
            ("lokiCanary.enabled", True),
            ("lokiCanary.resources.requests.memory", None),
            ("lokiCanary.resources.limits.memory", None),
            ("sidecar.rules.enabled", True),
            ("sidecar.resources.requests.memory", None),
            ("sidecar.resources.limits.memory", None),
            ("minio.enabled", False),
        ),
    ),
    Fact("loki", "6.0.0", "12.0.0", "deploymentMode", "SimpleScalable", "values.yaml of chart loki, 6.0.0 to 11.7.0"),
    Fact("loki", "12.0.0", "19.0.0", "deploymentMode", "Monolithic", "values.yaml of chart loki, 12.0.0 to 18.11.0"),
    Fact("loki", "6.0.0", "19.0.0", "gateway.nginxConfig.clientMaxBodySize", "4M", "gateway of chart loki"),
    *_facts(
        "loki",
        "6.0.0",
        "19.0.0",
        "flags of Loki 3.0 to 3.7 (pkg/ingester, pkg/validation)",
        (
            ("loki.ingester.chunk_idle_period", "30m"),
            ("loki.ingester.max_chunk_age", "2h"),
            ("loki.ingester.flush_check_period", "30s"),
            ("loki.ingester.wal.enabled", True),
            ("loki.limits_config.ingestion_rate_mb", 4),
            ("loki.limits_config.ingestion_burst_size_mb", 6),
            ("loki.limits_config.per_stream_rate_limit", "3MB"),
            ("loki.limits_config.retention_period", "0s"),
            ("loki.compactor.retention_enabled", False),
        ),
    ),
    *_facts(
        "tempo",
        "1.2.1",
        "2.3.0",
        "values.yaml of chart tempo, 1.2.1 to 2.2.4",
        (
            ("replicas", 1),
            ("persistence.enabled", False),
            ("tempo.memBallastSizeMbs", 1024),
            ("tempo.retention", "24h"),
            ("tempo.storage.trace.backend", "local"),
            ("tempo.storage.trace.s3.insecure", False),
            ("tempo.receivers.otlp.protocols.grpc.endpoint", "0.0.0.0:4317"),
            ("tempo.receivers.otlp.protocols.http.endpoint", "0.0.0.0:4318"),
            ("tempo.resources.requests.memory", None),
            ("tempo.resources.limits.memory", None),
            ("tempoQuery.enabled", False),
            ("tempoQuery.resources.requests.memory", None),
            ("tempoQuery.resources.limits.memory", None),
        ),
    ),
    Fact("tempo", "1.2.1", "1.23.1", "(service port)", 3100, "service and probes of chart tempo up to 1.23.0"),
    Fact("tempo", "1.23.1", "2.3.0", "(service port)", 3200, "values.yaml of chart tempo from 1.23.1"),
    *_facts(
        "tempo",
        "1.2.1",
        "2.3.0",
        "flags of Tempo 2.1 to 2.10 (modules/ingester, modules/overrides)",
        (
            # 5s from Tempo 2.9 on; the longer one is the safe one to reckon with.
            ("tempo.ingester.trace_idle_period", "10s"),
            ("tempo.ingester.flush_check_period", "10s"),
            ("tempo.ingester.max_block_duration", "30m"),
            ("tempo.overrides.defaults.ingestion.rate_limit_bytes", 15_000_000),
            ("tempo.overrides.defaults.ingestion.burst_size_bytes", 20_000_000),
            ("tempo.overrides.defaults.ingestion.max_traces_per_user", 10_000),
        ),
    ),
    *_facts(
        "mimir-distributed",
        "5.6.0",
        "5.8.0",
        "values.yaml of chart mimir-distributed 5.6.0 and 5.7.0",
        (
            ("minio.enabled", True),
            ("alertmanager.enabled", True),
            ("ruler.enabled", True),
            ("overrides_exporter.enabled", True),
            ("query_scheduler.enabled", True),
            ("rollout_operator.enabled", True),
            ("nginx.enabled", True),
            ("gateway.enabledNonEnterprise", False),
            ("distributor.replicas", 1),
            ("ingester.replicas", 3),
            ("querier.replicas", 2),
            ("query_frontend.replicas", 1),
            ("query_scheduler.replicas", 2),
            ("store_gateway.replicas", 1),
            ("compactor.replicas", 1),
            ("ruler.replicas", 1),
            ("alertmanager.replicas", 1),
            ("overrides_exporter.replicas", 1),
            ("nginx.replicas", 1),
            ("gateway.replicas", 1),
            ("ingester.zoneAwareReplication.enabled", True),
            ("store_gateway.zoneAwareReplication.enabled", True),
            ("alertmanager.zoneAwareReplication.enabled", False),
            ("ingester.persistentVolume.enabled", True),
            ("compactor.persistentVolume.enabled", True),
            ("nginx.service.port", 80),
            ("gateway.service.port", 80),
            ("gateway.service.legacyPort", 8080),
            ("chunks-cache.enabled", False),
            ("index-cache.enabled", False),
            ("metadata-cache.enabled", False),
            ("results-cache.enabled", False),
            ("chunks-cache.allocatedMemory", 8192),
            ("index-cache.allocatedMemory", 2048),
            ("metadata-cache.allocatedMemory", 512),
            ("results-cache.allocatedMemory", 512),
            ("chunks-cache.replicas", 1),
            ("index-cache.replicas", 1),
            ("metadata-cache.replicas", 1),
            ("results-cache.replicas", 1),
            ("distributor.resources.requests.memory", "512Mi"),
            ("ingester.resources.requests.memory", "512Mi"),
            ("querier.resources.requests.memory", "128Mi"),
            ("query_frontend.resources.requests.memory", "128Mi"),
            ("query_scheduler.resources.requests.memory", "128Mi"),
            ("store_gateway.resources.requests.memory", "512Mi"),
            ("compactor.resources.requests.memory", "512Mi"),
            ("ruler.resources.requests.memory", "128Mi"),
            ("alertmanager.resources.requests.memory", "32Mi"),
            ("overrides_exporter.resources.requests.memory", "128Mi"),
            ("nginx.resources.requests.memory", None),
            ("gateway.resources.requests.memory", None),
            ("rollout_operator.resources.requests.memory", "100Mi"),
            ("rollout_operator.resources.limits.memory", "200Mi"),
            ("distributor.resources.limits.memory", None),
            ("ingester.resources.limits.memory", None),
            ("querier.resources.limits.memory", None),
            ("query_frontend.resources.limits.memory", None),
            ("query_scheduler.resources.limits.memory", None),
            ("store_gateway.resources.limits.memory", None),
            ("compactor.resources.limits.memory", None),
            ("ruler.resources.limits.memory", None),
            ("alertmanager.resources.limits.memory", None),
            ("overrides_exporter.resources.limits.memory", None),
            ("nginx.resources.limits.memory", None),
            ("gateway.resources.limits.memory", None),
            ("chunks-cache.resources.requests.memory", None),
            ("chunks-cache.resources.limits.memory", None),
            ("index-cache.resources.requests.memory", None),
            ("index-cache.resources.limits.memory", None),
            ("metadata-cache.resources.requests.memory", None),
            ("metadata-cache.resources.limits.memory", None),
            ("results-cache.resources.requests.memory", None),
            ("results-cache.resources.limits.memory", None),
            ("mimir.structuredConfig.blocks_storage.backend", "s3"),
        ),
    ),
    *_facts(
        "mimir-distributed",
        "5.6.0",
        "5.8.0",
        "configuration parameters of Mimir 2.15 and 2.16",
        (
            ("mimir.structuredConfig.ingester.ring.replication_factor", 3),
            ("mimir.structuredConfig.store_gateway.sharding_ring.replication_factor", 3),
            ("mimir.structuredConfig.alertmanager.sharding_ring.replication_factor", 3),
            ("mimir.structuredConfig.ruler_storage.backend", "filesystem"),
            ("mimir.structuredConfig.alertmanager_storage.backend", "filesystem"),
            ("mimir.structuredConfig.common.storage.s3.insecure", False),
            ("mimir.structuredConfig.limits.ingestion_rate", 10_000),
            ("mimir.structuredConfig.limits.ingestion_burst_size", 200_000),
            ("mimir.structuredConfig.limits.max_global_series_per_user", 150_000),
            ("mimir.structuredConfig.limits.compactor_blocks_retention_period", "0s"),
            ("(body limit of nginx)", "1M"),
        ),
    ),
    # Chart 6 has no nginx section any more: the gateway is the way in.
    Fact("mimir-distributed", "6.0.0", "6.3.0", "gateway.service.port", 80, "values.yaml of chart mimir-distributed 6"),
    Fact(
        "mimir-distributed",
        "6.0.0",
        "6.3.0",
        "gateway.service.legacyPort",
        8080,
        "values.yaml of chart mimir-distributed 6",
    ),
)


def default(chart: str, version: Version | None, path: str) -> Fact | None:
    """What a value is when nobody sets it; None when this table does not know."""
    if version is None:
        return None
    return next((fact for fact in FACTS if fact.chart == chart and fact.path == path and fact.holds(version)), None)
