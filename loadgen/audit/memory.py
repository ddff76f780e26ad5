"""Every container has a memory request and limit, both under 2 GiB, caches included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loadgen.audit.amounts import GIB, bytes_of, number
from loadgen.audit.components import SCALABLE, SINGLE, mode
from loadgen.audit.rule import Remark, Remarks, absent, fine, rule_of, unknown_value, unsure, wrong
from loadgen.audit.stack import COMPONENTS, Release, Stack

MOST = 2 * GIB
# memcached's chart asks for this much more than the cache holds.
CACHE_OVERHEAD = 1.2


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a chart: where its resources are set, and what turns it off."""

    name: str
    switch: str = ""
    cache: bool = False


_LOKI = (
    Container("gateway", "gateway.enabled"),
    Container("chunksCache", "chunksCache.enabled", cache=True),
    Container("resultsCache", "resultsCache.enabled", cache=True),
    Container("lokiCanary", "lokiCanary.enabled"),
    Container("sidecar", "sidecar.rules.enabled"),
)
_MIMIR = (
    Container("distributor"),
    Container("ingester"),
    Container("querier"),
    Container("query_frontend"),
    Container("query_scheduler", "query_scheduler.enabled"),
    Container("store_gateway"),
    Container("compactor"),
    Container("ruler", "ruler.enabled"),
    Container("alertmanager", "alertmanager.enabled"),
    Container("overrides_exporter", "overrides_exporter.enabled"),
    Container("rollout_operator", "rollout_operator.enabled"),
    Container("chunks-cache", "chunks-cache.enabled", cache=True),
    Container("index-cache", "index-cache.enabled", cache=True),
    Container("metadata-cache", "metadata-cache.enabled", cache=True),
    Container("results-cache", "results-cache.enabled", cache=True),
)


def _judge(stack: Stack) -> Remarks:
    for component in COMPONENTS:
        releases = stack.of(component)
        if not releases:
            yield absent(component)
        for release in releases:
            for container in _containers(release):
                yield from _one(release, container)
            if component == "tempo":
                yield from _ballast(release)


def _containers(release: Release) -> Iterator[Container]:
    if release.component == "tempo":
        yield Container("tempo")
        yield Container("tempoQuery", "tempoQuery.enabled")
        return
    if release.component == "loki":
        for name in ("singleBinary",) if mode(release).value in SINGLE else SCALABLE:
            yield Container(name)
        yield from _LOKI
        if any(release.effective(one.switch).value is True for one in _LOKI if one.cache):
            yield Container("memcachedExporter", "memcachedExporter.enabled")
        return
    yield from _MIMIR
    if release.effective("gateway.enabledNonEnterprise").value is True:
        yield Container("gateway")
    else:
        yield Container("nginx", "nginx.enabled")


def _one(release: Release, container: Container) -> Iterator[Remark]:
    name = f"{release.component}: {container.name}"
    if container.switch:
        switch = release.effective(container.switch)
        if not switch.known:
            yield unknown_value(switch, f"{name}: whether it runs")
            return
        if switch.value is False:
            return
    resources = f"{container.name}.resources"
    set_resources = release.values.dotted(resources)
    if container.cache and (set_resources is None or set_resources.empty):
        yield from _cache(release, container, name)
        return
    good = True
    for kind in ("requests", "limits"):
        path = f"{resources}.{kind}.memory"
        setting = release.effective(path)
        size = bytes_of(setting.value)
        if not setting.known:
            good = False
            yield unknown_value(setting, f"{name}: memory {kind}")
        elif setting.value is None:
            good = False
            yield wrong(setting, f"{name} has no memory {kind[:-1]}", f"set {path}, under 2Gi")
        elif size is None:
            good = False
            yield unsure(setting, f"{name}: memory {kind[:-1]} {setting.text} is no amount", "write it like 512Mi")
        elif size >= MOST:
            good = False
            yield wrong(
                setting,
                f"{name}: memory {kind[:-1]} {setting.text}, not under 2Gi",
                f"set {path} below 2Gi, e.g. 1900Mi",
            )
    if good:
        yield fine(release.effective(f"{resources}.limits.memory"), f"{name}: request and limit under 2Gi")


def _cache(release: Release, container: Container, name: str) -> Iterator[Remark]:
    """Without resources, the chart takes request and limit from the size of the cache."""
    setting = release.effective(f"{container.name}.allocatedMemory")
    size_mb = number(setting.value)
    if not setting.known or size_mb is None:
        yield unknown_value(setting, f"{name}: the size of the cache")
    elif size_mb * CACHE_OVERHEAD >= 2048:
        yield wrong(
            setting,
            f"{name} is on and takes {size_mb * CACHE_OVERHEAD:,.0f} Mi: "
            f"{setting.value} Mi{setting.origin} and a fifth",
            f"set {container.switch} to false, or {container.name}.allocatedMemory to 1024 or less",
        )
    else:
        yield fine(setting, f"{name}: {size_mb * CACHE_OVERHEAD:,.0f} Mi")


def _ballast(release: Release) -> Iterator[Remark]:
    """The collector lets the heap grow to twice what lives, and the ballast counts as living."""
    setting = release.effective("tempo.memBallastSizeMbs")
    limit = bytes_of(release.effective("tempo.resources.limits.memory").value)
    size = number(setting.value)
    if not setting.known or size is None:
        yield unknown_value(setting, "tempo: the memory ballast")
    elif limit is not None and 2 * size * 1024**2 >= limit:
        yield wrong(
            setting,
            f"tempo: a memory ballast of {setting.value} MiB{setting.origin} under a limit of "
            f"{limit / 1024**2:,.0f} MiB: "
            "memory is collected only after twice the ballast",
            "set tempo.memBallastSizeMbs to 0",
        )


RULE = rule_of(
    "memory",
    "every container has a memory request and limit under 2Gi, caches and side containers included",
    _judge,
)
