"""Grafana's data sources have the agreed uids and types, lead to services that are there, and link to one another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loadgen.audit.node import Node, YamlProblem, documents
from loadgen.audit.resolve import config_data, namespace_of
from loadgen.audit.rule import Remark, Remarks, absent, fine, rule_of, unsure, wrong
from loadgen.audit.services import mistake, shown_url
from loadgen.audit.stack import COMPONENTS, Release, Stack

_TYPES = {"loki": "loki", "tempo": "tempo", "mimir": "prometheus"}
_PATHS = {"loki": "", "tempo": "", "mimir": "/prometheus"}
_TENANT = "X-Scope-OrgID"


@dataclass(frozen=True, slots=True)
class DatasourceEntry:
    """A data source as it is provisioned, and the namespace of the Grafana that reads it."""

    node: Node
    namespace: str

    @property
    def uid(self) -> str:
        """Its uid."""
        return self.node.text("uid")


def _judge(stack: Stack) -> Remarks:
    found = tuple(_sources(stack))
    if not found:
        grafana = stack.of("grafana")
        if grafana:
            yield wrong(
                grafana[0], "Grafana has no data sources", "add datasources.datasources.yaml.datasources to its values"
            )
        else:
            yield absent("grafana")
        return
    uids = {source.uid for source in found if source.uid}
    known = uids | ({"prometheus", "alertmanager"} if stack.of("prometheus") else set())
    for component in COMPONENTS:
        yield from _component(stack, component, found, known)
    doubled = [
        source for number, source in enumerate(found) if source.uid in {one.uid for one in found[:number]} - {""}
    ]
    for source in doubled:
        yield wrong(source.node, f"a second data source with the uid {source.uid}", "give each data source its own uid")


def _sources(stack: Stack) -> Iterator[DatasourceEntry]:
    for release in stack.of("grafana"):
        for path in (("datasources",), ("grafana", "datasources")):
            block = release.values.get(*path)
            for _, file in block.fields if block is not None else ():
                content = _nested(file)
                yield from (DatasourceEntry(one, release.namespace) for one in content.each("datasources"))
    for release in stack.of("prometheus"):
        for one in release.values.each("grafana", "additionalDataSources"):
            yield DatasourceEntry(one, release.namespace)
    for document in stack.of_kind("ConfigMap"):
        if any(key == "grafana_datasource" for key, _ in document.marks()):
            data = document.node.get("data")
            for _, file in data.fields if data is not None else ():
                yield from (
                    DatasourceEntry(one, namespace_of(stack, document)) for one in _nested(file).each("datasources")
                )
    yield from _generated(stack)


def _generated(stack: Stack) -> Iterator[DatasourceEntry]:
    for document in stack.of_kind("Kustomization", "kustomize.config.k8s.io"):
        for generator in document.node.each("configMapGenerator"):
            if generator.get("options", "labels", "grafana_datasource") is None:
                continue
            for entry in generator.each("files"):
                key = str(entry.scalar).partition("=")[0].rpartition("/")[2]
                content = config_data(stack, generator.text("name"), key)
                for one in content.each("datasources") if content is not None else ():
                    yield DatasourceEntry(one, document.node.text("namespace"))


def _nested(node: Node) -> Node:
    """A file of data sources, which may be written out or be a text."""
    if node.kind != "scalar" or not isinstance(node.scalar, str):
        return node
    try:
        return next(iter(documents(node.scalar, node.place.file, node.text_line)), node)
    except YamlProblem:
        return node


def _component(stack: Stack, component: str, found: tuple[DatasourceEntry, ...], known: set[str]) -> Iterator[Remark]:
    mine = next((source for source in found if source.uid == component), None)
    if mine is None:
        alike = next((source for source in found if source.node.text("name").lower() == component), None)
        if alike is not None:
            yield wrong(
                alike.node,
                f"the data source {component} has the uid {alike.uid or 'nothing'}",
                f"set its uid to {component}",
            )
        else:
            where = found[0].node.place
            yield wrong(where, f"no data source with the uid {component}", f"add one, uid {component}")
        return
    remarks = (*_fields(stack, component, mine), *_links(component, mine, known))
    yield from remarks
    if not remarks:
        yield fine(mine.node, f"data source {component}: {shown_url(mine.node.text('url'))}")


def _fields(stack: Stack, component: str, source: DatasourceEntry) -> Iterator[Remark]:
    node, name = source.node, f"data source {component}"
    kind, access = node.text("type"), node.text("access")
    if kind != _TYPES[component]:
        yield wrong(node.get("type") or node, f"{name}: type {kind or 'nothing'}", f"set type to {_TYPES[component]}")
    if access not in ("", "proxy"):
        yield wrong(node.get("access") or node, f"{name}: access {access}", "set access to proxy")
    url = node.get("url")
    if url is None:
        yield wrong(node, f"{name} has no url", "set url")
        return
    releases = stack.of(component)
    if not releases:
        yield unsure(url, f"{name}: no release of {component} here to compare the url with", "audit the whole tree")
        return
    what, right = mistake(releases[0], url.text(), _PATHS[component], source.namespace)
    if what.startswith("?"):
        yield unsure(url, f"{name}: {what[1:]}", right)
    elif what:
        yield wrong(url, f"{name}: {what}", right)
    yield from _tenant(releases[0], component, source)


def _tenant(release: Release, component: str, source: DatasourceEntry) -> Iterator[Remark]:
    """With tenants on, Loki answers 401 to who names none. (Mimir's proxy names one by itself.)"""
    if component != "loki":
        return
    setting = release.effective("loki.structuredConfig.auth_enabled", "loki.auth_enabled", server=True)
    settings = source.node.get("jsonData")
    named = settings is not None and any(settings.text(key) == _TENANT for key in settings.names)
    if setting.value is True and not named:
        yield wrong(
            source.node,
            f"data source loki names no tenant, but Loki wants one: auth_enabled {setting.text}",
            f"set loki.auth_enabled to false, or add the header {_TENANT} (jsonData.httpHeaderName1)",
        )


def _links(component: str, source: DatasourceEntry, known: set[str]) -> Iterator[Remark]:
    for path, node in source.node.walk():
        if path and path[-1] == "datasourceUid" and str(node.scalar) not in known:
            yield wrong(
                node,
                f"data source {component}: {'.'.join(path[-2:])} points at {node.scalar}, which no data source is",
                f"point it at one of {', '.join(sorted(known))}",
            )
    if component != "tempo":
        return
    for what, keys, target in (
        ("traces to logs", ("tracesToLogsV2", "tracesToLogs"), "loki"),
        ("traces to metrics", ("tracesToMetrics",), "mimir"),
    ):
        if not any(source.node.text("jsonData", key, "datasourceUid") for key in keys):
            yield wrong(
                source.node,
                f"data source tempo has no link from {what}",
                f"set jsonData.{keys[0]}.datasourceUid to {target}",
            )


RULE = rule_of(
    "datasources",
    "data sources loki, tempo and mimir have the right type, a url that a service answers at, and links to one another",
    _judge,
)
