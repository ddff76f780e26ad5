"""One replica of everything, and a replication factor that one replica can keep."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.audit.amounts import number
from loadgen.audit.components import SCALABLE, SINGLE, mode
from loadgen.audit.rule import Remark, Remarks, absent, fine, rule_of, unknown_value, wrong
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
            yield from {"loki": _loki, "tempo": _tempo, "mimir": _mimir}[component](release, stack.expected.replicas)


def _loki(release: Release, wanted: int) -> Iterator[Remark]:
    kind = mode(release)
    if not kind.known:
        yield unknown_value(kind, "loki: the deployment mode")
        return
    single = kind.value in SINGLE
    for name in ("singleBinary",) if single else SCALABLE:
        yield from _is(release.effective(f"{name}.replicas"), wanted, f"loki: replicas of {name}")
        if not single and wanted:
            yield from _off(release, f"{name}.autoscaling.enabled", f"loki: autoscaling of {name}")
    for name in (*SCALABLE,) if single else ("singleBinary",):
        yield from _is_none(
            release.effective(f"{name}.replicas"), f"loki: replicas of {name}, which this mode does not use"
        )
    for name in ("gateway", "chunksCache", "resultsCache"):
        if release.effective(f"{name}.enabled").value is not False:
            yield from _is(release.effective(f"{name}.replicas"), wanted, f"loki: replicas of {name}")
    factor = release.effective(
        "loki.structuredConfig.common.replication_factor", "loki.commonConfig.replication_factor", server=True
    )
    keepers = release.effective("singleBinary.replicas" if single else "write.replicas")
    yield from _factor(factor, "loki", wanted, keepers)


def _tempo(release: Release, wanted: int) -> Iterator[Remark]:
    yield from _is(release.effective("replicas"), wanted, "tempo: replicas")
    factor = release.values.dotted("tempo.ingester.lifecycler.ring.replication_factor")
    if factor is not None:  # one by default
        setting = release.effective("tempo.ingester.lifecycler.ring.replication_factor")
        yield from _factor(setting, "tempo", wanted, release.effective("replicas"))


def _mimir(release: Release, wanted: int) -> Iterator[Remark]:
    def runs(name: str) -> bool:
        return release.effective(f"{name}.enabled").value is not False

    parts = [name for name in dict.fromkeys((*_MIMIR, *_MIMIR_OPTIONAL)) if name not in _MIMIR_OPTIONAL or runs(name)]
    gateway = release.effective("gateway.enabledNonEnterprise").value is True
    parts += ["gateway"] if gateway else ["nginx"] if runs("nginx") else []
    parts += [name for name in _CACHES if release.effective(f"{name}.enabled").value is True]
    for name in parts:
        yield from _is(release.effective(f"{name}.replicas"), wanted, f"mimir: replicas of {name}")
    for name in _ZONES:
        if name in parts and wanted:
            yield from _off(release, f"{name}.zoneAwareReplication.enabled", f"mimir: zones of {name}")
    base = "mimir.structuredConfig"
    for name, ring in (("ingester", "ring"), ("store_gateway", "sharding_ring"), ("alertmanager", "sharding_ring")):
        if name in parts:
            setting = release.effective(f"{base}.{name}.{ring}.replication_factor", server=True)
            yield from _factor(setting, f"mimir: {name}", wanted, release.effective(f"{name}.replicas"))


def _is(setting: Effective, wanted: int, what: str) -> Iterator[Remark]:
    """So often, or with a ``wanted`` of 0 at least once."""
    if not setting.known:
        yield unknown_value(setting, what)
    elif number(setting.value) == wanted if wanted else (number(setting.value) or 0) >= 1:
        yield fine(setting, f"{what}: {setting.text}")
    else:
        least = max(1, wanted)
        yield wrong(setting, f"{what}: {setting.text} instead of {least}", f"set {setting.path} to {least}")


def _is_none(setting: Effective, what: str) -> Iterator[Remark]:
    if not setting.known:
        yield unknown_value(setting, what)
    elif number(setting.value) != 0:
        yield wrong(setting, f"{what}: {setting.text} instead of 0", f"set {setting.path} to 0")
    else:
        yield fine(setting, f"{what}: 0")


def _off(release: Release, path: str, what: str) -> Iterator[Remark]:
    setting = release.effective(path)
    if not setting.known:
        yield unknown_value(setting, what)
    elif setting.value is not False:
        yield wrong(setting, f"{what} is on: {setting.text}", f"set {path} to false")


def _factor(setting: Effective, what: str, wanted: int, keepers: Effective) -> Iterator[Remark]:
    """No more copies than there are replicas to keep them: as many as are wanted, or as the manifests say."""
    name = f"{what}: replication factor"
    there = number(keepers.value)
    most = wanted or (max(1, there) if there is not None else None)
    if not setting.known:
        yield unknown_value(setting, name)
    elif most is None or not (wanted or keepers.known):
        yield unknown_value(keepers, f"{what}: the replicas")
    elif not 1 <= (number(setting.value) or 0) <= most:
        few = "one replica" if most == 1 else f"{most:g} replicas"
        yield wrong(
            setting,
            f"{name} {setting.text}: {few} cannot keep that many copies, and nothing would be accepted",
            f"set {setting.path} to {most:g}",
        )
    else:
        yield fine(setting, f"{name} {setting.text}")


RULE = rule_of(
    "single_replica",
    "everything runs once, and the replication factors are 1 too",
    _judge,
)
