"""All configuration is in the values of HelmReleases or in ConfigMaps, where the next reader looks for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from loadgen.audit.rule import Remark, Remarks, absent, fine, rule_of, unsure, wrong
from loadgen.audit.stack import COMPONENTS, Document, Release, Stack

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Pod")
_SERVERS = re.compile(r"(^|/)(grafana/)?(loki|tempo|mimir|enterprise-(logs|metrics|traces))(:|@|$)")
# Flags that no value of the chart stands for.
_FLAGS = ("config.expand-env", "config.file")


def _judge(stack: Stack) -> Remarks:
    for document in stack.documents:
        if document.kind in _WORKLOADS:
            yield from _workload(document)
    for component in COMPONENTS:
        releases = stack.of(component)
        if not releases:
            yield absent(component)
        for release in releases:
            remarks = tuple(_one(release))
            yield from remarks
            if not remarks:
                yield fine(release, f"{component}: configured by values")


def _workload(document: Document) -> Iterator[Remark]:
    for path, node in document.node.walk():
        if path and path[-1] == "image" and _SERVERS.search(str(node.scalar)):
            yield wrong(
                node,
                f"{document.kind} {document.name} runs {node.scalar} beside any HelmRelease",
                "deploy it by a HelmRelease and configure it in its values",
            )


def _one(release: Release) -> Iterator[Remark]:
    name = release.component
    if release.patched is not None:
        yield unsure(
            release.patched, f"{name}: a patch changes values or chart of the HelmRelease", "write it into the values"
        )
    for entry in release.document.node.each("spec", "postRenderers"):
        yield wrong(
            entry, f"{name}: a postRenderer changes what the chart renders", "set the value of the chart instead"
        )
    text = release.replaced_config()
    if text is not None:
        yield wrong(
            text,
            f"{name}: the whole configuration is one text, which replaces the chart's",
            "set single values, e.g. "
            + {"loki": "loki.limits_config", "tempo": "tempo.ingester"}.get(name, "mimir.structuredConfig"),
        )
    for place, what in release.gaps:
        yield unsure(place, f"{name}: {what}", "keep the values in the HelmRelease or in a ConfigMap of the tree")
    yield from _flags(release)


def _flags(release: Release) -> Iterator[Remark]:
    for key, section in release.values.fields:
        node = section.get("extraArgs") if section.kind == "map" else None
        if node is None:
            continue
        flags = [(str(item.scalar), item) for item in node.items] + [(flag, value) for flag, value in node.fields]
        for flag, item in flags:
            bare = flag.lstrip("-").partition("=")[0]
            if bare and bare not in _FLAGS and "." in bare:
                yield wrong(
                    item,
                    f"{release.component}: {key}.extraArgs sets -{bare} by a flag",
                    "set it in the configuration's values",
                )


RULE = rule_of(
    "values_only",
    "configuration is in HelmRelease values or ConfigMaps, not in flags, texts, patches or bare workloads",
    _judge,
)
