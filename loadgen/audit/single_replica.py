"""One replica of everything, and a replication factor that one replica can keep."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.audit.amounts import number
from loadgen.audit.components import SCALABLE, SINGLE, mode
from loadgen.audit.rule import Remark, Remarks, Rule, absent, fine, unknown_value, wrong
from loadgen.audit.stack import COMPONENTS, Effective, Release, Stack

_MIMIR = ("distributor", "ingester", "querier", "query_frontend", "query_scheduler", "store_gateway", "compactor")
_MIMIR_OPTIONAL = ("ruler", "alertmanager", "overrides_exporter", "query_scheduler")
_CACHES = ("chunks-cache", "index-cache", "metadata-cache", "results-cache")
_ZONES = ("ingester", "store_gateway", "alertmanager")


def _judge(stack: Stack) -> Remarks:
    for component in COMPONENTS:
        releases = stack.of(component)
        if not releases:
            yield absent(component)
        for release in releases:
            yield from {"loki": _loki, "tempo": _tempo, "mimir": _mimir}[component](release)


def _loki(release: Release) -> Iterator[Remark]:
    kind = mode(release)
    if not kind.known:
        yield unknown_value(kind, "loki: the deployment mode")
        return
    single = kind.value in SINGLE
    for name in ("singleBinary",) if single else SCALABLE:
        yield from _is(release.effective(f"{name}.replicas"), 1, f"loki: replicas of {name}")
        if not single:
            yield from _off(release, f"{name}.autoscaling.enabled", f"loki: autoscaling of {name}")
    for name in (*SCALABLE,) if single else ("singleBinary",):
        yield from _is(
            release.effective(f"{name}.replicas"), 0, f"loki: replicas of {name}, which this mode does not use"
        )
    for name in ("gateway", "chunksCache", "resultsCache"):
        if release.effective(f"{name}.enabled").value is not False:
            yield from _is(release.effective(f"{name}.replicas"), 1, f"loki: replicas of {name}")
    factor = release.effective(
        "loki.structuredConfig.common.replication_factor", "loki.commonConfig.replication_factor", server=True
    )
    yield from _factor(factor, "loki")


def _tempo(release: Release) -> Iterator[Remark]:
    yield from _is(release.effective("replicas"), 1, "tempo: replicas")
    factor = release.values.dotted("tempo.ingester.lifecycler.ring.replication_factor")
    if factor is not None:  # one by default
        yield from _factor(release.effective("tempo.ingester.lifecycler.ring.replication_factor"), "tempo")


def _mimir(release: Release) -> Iterator[Remark]:
    def runs(name: str) -> bool:
        return release.effective(f"{name}.enabled").value is not False

    parts = [name for name in dict.fromkeys((*_MIMIR, *_MIMIR_OPTIONAL)) if name not in _MIMIR_OPTIONAL or runs(name)]
    gateway = release.effective("gateway.enabledNonEnterprise").value is True
    parts += ["gateway"] if gateway else ["nginx"] if runs("nginx") else []
    parts += [name for name in _CACHES if release.effective(f"{name}.enabled").value is True]
    for name in parts:
        yield from _is(release.effective(f"{name}.replicas"), 1, f"mimir: replicas of {name}")
    for name in _ZONES:
        if name in parts:
            yield from _off(release, f"{name}.zoneAwareReplication.enabled", f"mimir: zones of {name}")
    base = "mimir.structuredConfig"
    for name, ring in (("ingester", "ring"), ("store_gateway", "sharding_ring"), ("alertmanager", "sharding_ring")):
        if name in parts:
            setting = release.effective(f"{base}.{name}.{ring}.replication_factor", server=True)
            yield from _factor(setting, f"mimir: {name}")


def _is(setting: Effective, wanted: int, what: str) -> Iterator[Remark]:
    if not setting.known:
        yield unknown_value(setting, what)
    elif number(setting.value) != wanted:
        yield wrong(setting, f"{what}: {setting.text} instead of {wanted}", f"set {setting.path} to {wanted}")
    else:
        yield fine(setting, f"{what}: {wanted}")


def _off(release: Release, path: str, what: str) -> Iterator[Remark]:
    setting = release.effective(path)
    if not setting.known:
        yield unknown_value(setting, what)
    elif setting.value is not False:
        yield wrong(setting, f"{what} is on: {setting.text}", f"set {path} to false")


def _factor(setting: Effective, what: str) -> Iterator[Remark]:
    name = f"{what}: replication factor"
    if not setting.known:
        yield unknown_value(setting, name)
    elif number(setting.value) != 1:
        yield wrong(
            setting,
            f"{name} {setting.text}: one replica cannot keep that many copies, and nothing would be accepted",
            f"set {setting.path} to 1",
        )
    else:
        yield fine(setting, f"{name} 1")


RULE = Rule(
    "single_replica",
    "everything runs once, and the replication factors are 1 too",
    ("ADR-002", "NFR-SCALE-002"),
    _judge,
)
