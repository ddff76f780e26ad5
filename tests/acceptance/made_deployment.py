"""A stack that was never deployed and keeps every promise, to be spoiled one fact at a time."""

from __future__ import annotations

from loadgen.acceptance.facts import (
    Accepted,
    BucketFacts,
    DashboardFacts,
    DatasourceFacts,
    Deployment,
    ErrorAnswer,
    FluxObject,
    LifecycleRule,
    MetricHistory,
    Parity,
    PodFacts,
    RemoteWrite,
    S3Access,
    SecretFacts,
    Told,
)
from loadgen.model import NS, ClockReading, Component

COMPONENTS = (Component.LOKI, Component.TEMPO, Component.MIMIR)
BUCKETS = {Component.LOKI: "loki-chunks", Component.TEMPO: "tempo-traces", Component.MIMIR: "mimir-blocks"}
TENANTS = {Component.LOKI: "fake", Component.TEMPO: "single-tenant", Component.MIMIR: "anonymous"}
RULES = {
    Component.LOKI: (LifecycleRule(True, "", 0, 7),),
    Component.TEMPO: (LifecycleRule(True, "", 30, 0),),
    Component.MIMIR: (),
}
LINKS = {
    Component.LOKI: (("derivedFields", "tempo"),),
    Component.TEMPO: (("tracesToLogsV2", "loki"), ("tracesToMetrics", "mimir")),
    Component.MIMIR: (),
}
TYPES = {Component.LOKI: "loki", Component.TEMPO: "tempo", Component.MIMIR: "prometheus"}
KEYS = ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_ENDPOINT", "S3_BUCKET")


def bucket(component: Component) -> BucketFacts:
    return BucketFacts(
        component=component,
        bucket=BUCKETS[component],
        own_credential=True,
        listed=Told(3),
        versioning=Told("Enabled" if component is Component.LOKI else ""),
        lifecycle=Told(RULES[component]),
        object_lock=Told(False),
        prefixes=(f"{TENANTS[component]}/",),
        tenant=TENANTS[component],
        tenant_objects=Told(7),
    )


def datasource(component: Component) -> Told[DatasourceFacts]:
    uid = component.value
    return Told(
        DatasourceFacts(
            component, uid, TYPES[component], "proxy", f"http://{uid}", LINKS[component], Told(""), Told(0.02)
        )
    )


def pod(component: Component) -> PodFacts:
    amounts = ((component.value, 2**30),)
    return PodFacts(component, f"{component}-0", "Running", True, 20_000.0, 0, amounts, amounts)


def clocks(**ahead_s: float) -> tuple[ClockReading, ...]:
    """Servers with the same time as this machine, but for those that are named."""
    names = ("Grafana", "Loki", "Tempo", "Mimir", "S3")
    return tuple(
        ClockReading(name, round((ahead_s.get(name, 0) - 0.4) * NS), round((ahead_s.get(name, 0) + 0.4) * NS))
        for name in names
    )


def good() -> Deployment:
    accesses = tuple(
        S3Access(one, BUCKETS[other], action, Told(False))
        for one in COMPONENTS
        for other in COMPONENTS
        if one is not other
        for action in ("list", "read", "write")
    )
    ways = (
        (Component.LOKI, "push"),
        (Component.TEMPO, "OTLP/HTTP"),
        (Component.TEMPO, "OTLP/gRPC"),
        (Component.MIMIR, "push"),
    )
    return Deployment(
        name="made",
        asked_ns=1_790_000_000_000_000_000,
        clocks=Told(clocks()),
        buckets=tuple(map(bucket, COMPONENTS)),
        s3=Told("https://s3.example.com"),
        tls=Told("verified"),
        isolation=Told(accesses),
        accepted=tuple(Accepted(component, way, "", 0.1, 0.1, "") for component, way in ways),
        grafana=Told("12.3.0"),
        datasources=tuple((component, datasource(component)) for component in COMPONENTS),
        uids=Told(("loki", "tempo", "mimir")),
        error_answer=Told(ErrorAnswer(400, '{"status":"error","error":"parse error"}')),
        dashboard=Told(DashboardFacts("x", "all", tuple((component, Told(5)) for component in COMPONENTS))),
        remote_write=Told((RemoteWrite("http://mimir-nginx/api/v1/push", 0.0, 3.0, 1.0, 50.0),)),
        parity=Told(Parity((("cluster", "home"),), 4, 240, 0, 0, 0, 0, ())),
        history=Told(MetricHistory(1_789_000_000_000, True, 1_788_990_000_000, 120)),
        pods=Told(tuple(map(pod, COMPONENTS))),
        flux=Told((FluxObject("HelmRelease", "loki", True, "ok"), FluxObject("Kustomization", "loki", True, "ok"))),
        secrets=Told(tuple(SecretFacts(one, f"{one}-s3-secret", Told(KEYS)) for one in COMPONENTS)),
    )
