"""What was found out about a deployed stack: frozen values without I/O, each told, not told, or not asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from loadgen.model import ClockReading, Component

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parity:
    """What a comparison found.

    Attributes:
        external: the labels that Mimir's series have and Prometheus' have not.
        series, samples: of Prometheus.
        missing_series: that Mimir does not have at all.
        missing: samples that Mimir does not have, those of missing series included.
        surplus: samples that only Mimir has.
        differing: samples at the same time with another value.
        examples: a few of these, in words.
    """

    external: tuple[tuple[str, str], ...]
    series: int
    samples: int
    missing_series: int
    missing: int
    surplus: int
    differing: int
    examples: tuple[str, ...]

    @property
    def same(self) -> bool:
        """There was something to compare, and it is the same."""
        return self.samples > 0 and not (self.missing or self.surplus or self.differing)


@dataclass(frozen=True, slots=True)
class Told(Generic[T]):
    """One answer.

    Attributes:
        value: what was found out; None when nothing was.
        error: why it could not be told.
        skipped: why it was not asked.
    """

    value: T | None = None
    error: str = ""
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """One rule of a bucket's lifecycle, as far as it matters here; days are 0 when the rule does not say any."""

    enabled: bool
    prefix: str
    days: int
    noncurrent_days: int


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """One component's bucket.

    Attributes:
        component, bucket: whose, and its name.
        own_credential: it was asked with the component's own credential.
        listed: objects seen in the first page of a listing.
        versioning: ``Enabled``, ``Suspended`` or empty.
        lifecycle: its rules, none when there is no configuration.
        object_lock: whether object lock is enabled.
        prefixes: the first level of its keys, with a slash at their end.
        tenant: the folder of the tenant, with what comes before it.
        tenant_objects: objects seen below the tenant's prefix.
        elsewhere: if there are none, other folders in which the component's data lies, as the keys tell.
        lacks: what this S3 does not know: ``versioning``, ``lifecycle``, ``object_lock``.
    """

    component: Component
    bucket: str
    own_credential: bool
    listed: Told[int]
    versioning: Told[str]
    lifecycle: Told[tuple[LifecycleRule, ...]]
    object_lock: Told[bool]
    prefixes: tuple[str, ...]
    tenant: str
    tenant_objects: Told[int]
    elsewhere: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class S3Access:
    """What one component's credential may do in a bucket of another.

    Attributes:
        component: whose credential.
        bucket: of another component.
        action: ``list``, ``read`` or ``write``.
        allowed: whether it was let.
    """

    component: Component
    bucket: str
    action: str
    allowed: Told[bool]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A probe that was pushed and looked for.

    Attributes:
        component: to whom.
        way: ``push``, ``OTLP/HTTP`` or ``OTLP/gRPC``.
        pushed: empty when the push was accepted, else the server's words.
        seen_after_s: from the acknowledgement until it was read back; None: not within the time for it.
        waited_s: how long it was looked for.
        read_error: why reading failed, if it did.
    """

    component: Component
    way: str
    pushed: str
    seen_after_s: float | None
    waited_s: float
    read_error: str


@dataclass(frozen=True, slots=True)
class DatasourceFacts:
    """A data source as Grafana describes it, with its own health check and one query through it.

    Attributes:
        links: uid of another data source by where it is named, e.g. ``tracesToLogsV2``.
        health: empty when the data source's own check passes, else its message.
        query_s: how long a small query took.
    """

    component: Component
    uid: str
    type: str
    access: str
    url: str
    links: tuple[tuple[str, str], ...]
    health: Told[str]
    query_s: Told[float]


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """How Grafana answered a query that must fail."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class RemoteWrite:
    """What Prometheus says of one remote-write target.

    Attributes:
        failed_samples: lost for good, since Prometheus started.
        lag_s: between the newest sample and the newest sent one.
        shards, max_shards: in use, and at most.
    """

    url: str
    failed_samples: float
    lag_s: float
    shards: float
    max_shards: float


@dataclass(frozen=True, slots=True)
class MetricHistory:
    """How far back Prometheus and Mimir reach.

    Attributes:
        oldest_prometheus_ms: time of Prometheus' oldest sample.
        dropped: Prometheus has removed older samples by its retention.
        asked_ms: a time before that, for which Mimir was asked.
        mimir_series: series that Mimir has then.
    """

    oldest_prometheus_ms: int
    dropped: bool
    asked_ms: int
    mimir_series: int


@dataclass(frozen=True, slots=True)
class DashboardFacts:
    """A dashboard with panels of the three components.

    Attributes:
        uid, title: of the dashboard.
        panels: per component, whether its panel's query returned rows; an error in words otherwise.
    """

    uid: str
    title: str
    panels: tuple[tuple[Component, Told[int]], ...]


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod of a component.

    Attributes:
        running_s: since its containers run; 0 when not.
        limits: by container, memory limit in bytes; 0: none set.
        requests: by container, memory request in bytes; 0: none set.
        log_errors: lines of its log that speak of refused S3 credentials.
        log_error: why the log could not be read.
    """

    component: Component
    name: str
    phase: str
    ready: bool
    running_s: float
    restarts: int
    limits: tuple[tuple[str, int], ...]
    requests: tuple[tuple[str, int], ...]
    log_errors: tuple[str, ...] = ()
    log_error: str = ""


@dataclass(frozen=True, slots=True)
class FluxObject:
    """A HelmRelease or Kustomization."""

    kind: str
    name: str
    ready: bool
    message: str


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """A component's S3 secret: its keys, and which of them still hold a placeholder. Never a value."""

    component: Component
    name: str
    keys: Told[tuple[str, ...]]
    placeholders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that was found out about a stack."""

    name: str
    asked_ns: int
    buckets: tuple[BucketFacts, ...] = ()
    s3: Told[str] = field(default_factory=lambda: Told(skipped="no [s3] endpoint is set in the target"))
    tls: Told[str] = field(default_factory=lambda: Told(skipped="no [s3] endpoint is set in the target"))
    isolation: Told[tuple[S3Access, ...]] = field(default_factory=lambda: Told(skipped="it was not asked"))
    accepted: tuple[Accepted, ...] = ()
    grafana: Told[str] = field(default_factory=lambda: Told(skipped="no [grafana] url is set in the target"))
    datasources: tuple[tuple[Component, Told[DatasourceFacts]], ...] = ()
    uids: Told[tuple[str, ...]] = field(default_factory=lambda: Told(skipped="it was not asked"))
    error_answer: Told[ErrorAnswer] = field(
        default_factory=lambda: Told(skipped="no [grafana] url is set in the target")
    )
    dashboard: Told[DashboardFacts] = field(
        default_factory=lambda: Told(skipped="no [grafana] url is set in the target")
    )
    remote_write: Told[tuple[RemoteWrite, ...]] = field(
        default_factory=lambda: Told(skipped="no [prometheus] url is set in the target")
    )
    parity: Told[Parity] = field(default_factory=lambda: Told(skipped="no [prometheus] url is set in the target"))
    history: Told[MetricHistory] = field(
        default_factory=lambda: Told(skipped="no [prometheus] url is set in the target")
    )
    pods: Told[tuple[PodFacts, ...]] = field(default_factory=lambda: Told(skipped="no [kubernetes] namespace is set"))
    flux: Told[tuple[FluxObject, ...]] = field(default_factory=lambda: Told(skipped="no [kubernetes] namespace is set"))
    secrets: Told[tuple[SecretFacts, ...]] = field(
        default_factory=lambda: Told(skipped="no [kubernetes] namespace is set")
    )
    clocks: Told[tuple[ClockReading, ...]] = field(default_factory=lambda: Told(skipped="the target has no address"))
