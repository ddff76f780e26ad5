"""From documents to a stack: which chart a HelmRelease means, which values it ends up with, who applies it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from loadgen.audit.node import Node, Place, YamlProblem, documents, merged
from loadgen.audit.stack import Document, Release, Stack
from loadgen.audit.tree import Tree
from loadgen.audit.versions import Version, matching, parsed, published
from loadgen.plans import Expected

_ROLES = {
    "loki": "loki",
    "tempo": "tempo",
    "tempo-distributed": "tempo",
    "mimir-distributed": "mimir",
    "grafana": "grafana",
    "kube-prometheus-stack": "prometheus",
}


def stack_of(tree: Tree, strict: bool = False, expected: Expected | None = None) -> Stack:
    """What the manifests of a tree deploy. ``strict``: it is deployed as it is, so templates are mistakes."""
    found = tuple(_objects(tree))
    bare = Stack(tree, found, (), strict, expected or Expected())
    releases = tuple(release for one in bare.of_kind("HelmRelease") if (release := _release(bare, one)) is not None)
    return replace(bare, releases=releases)


def _objects(tree: Tree) -> Iterator[Document]:
    for file in tree.files:
        for node in file.documents:
            if node.kind != "map":
                continue
            if node.text("kind") == "List":
                yield from (Document(file, item) for item in node.each("items"))
            else:
                yield Document(file, node)


def _release(stack: Stack, document: Document) -> Release | None:
    spec = document.node.get("spec")
    if spec is None or document.file.template:
        return None
    source = _source(stack, spec)
    chart, url = _chart(spec, source)
    component = _ROLES.get(chart)
    if component is None:
        return None
    wanted, wanted_at = _wanted(spec, source, document)
    version = _version(wanted, published(chart, url))
    values, gaps = _values(stack, document, spec)
    target = spec.text("targetNamespace")
    name = spec.text("releaseName") or (f"{target}-{document.name}" if target else document.name)
    return Release(
        component=component,
        document=document,
        name=name,
        namespace=target or namespace_of(stack, document),
        chart=chart,
        url=url,
        source=source,
        wanted=wanted,
        wanted_at=wanted_at,
        version=version,
        values=values,
        gaps=gaps,
        patched=_patched(stack, document),
        substituted=_substituted(stack, document),
    )


def _source(stack: Stack, spec: Node) -> Document | None:
    reference = spec.get("chartRef") or spec.get("chart", "spec", "sourceRef")
    if reference is None:
        return None
    kind, name = reference.text("kind"), reference.text("name")
    if kind == "HelmChart":
        chart = next((one for one in stack.of_kind("HelmChart") if one.name == name), None)
        inner = chart.node.get("spec", "sourceRef") if chart is not None else None
        kind, name = (inner.text("kind"), inner.text("name")) if inner is not None else ("", "")
    return next((one for one in stack.of_kind(kind) if one.name == name), None) if kind else None


def _chart(spec: Node, source: Document | None) -> tuple[str, str]:
    url = source.node.text("spec", "url") if source is not None else ""
    named = spec.text("chart", "spec", "chart")
    if named:
        return named.rstrip("/").rpartition("/")[2], f"{url.rstrip('/')}/"
    return url.rstrip("/").rpartition("/")[2], url


def _wanted(spec: Node, source: Document | None, document: Document) -> tuple[str, Place]:
    version = spec.get("chart", "spec", "version")
    if version is not None:
        return version.text(), version.place
    reference = source.node.get("spec", "ref") if source is not None else None
    if reference is None or source is None:
        return "", source.place if source is not None else document.place
    for key in ("digest", "semver", "tag"):
        node = reference.get(key)
        if node is not None and not node.empty:
            # A digest names no version; a tag beside it does, for people.
            return (reference.text("tag") if key == "digest" else node.text()), node.place
    return "", reference.place


def _version(wanted: str, known: tuple[Version, ...]) -> Version | None:
    """The newest known version that fits; for one that was left out the one before it, so the rest can be judged."""
    fitting = matching(wanted, known) if wanted else None
    if fitting:
        return fitting[-1]
    exact = parsed(wanted)
    if exact is None or not known or not known[0] < exact < known[-1]:
        return None
    return max(version for version in known if version < exact)


def _values(stack: Stack, document: Document, spec: Node) -> tuple[Node, tuple[tuple[Place, str], ...]]:
    own = spec.get("values")
    values = Node(document.place, "map")
    gaps: list[tuple[Place, str]] = []
    for entry in spec.each("valuesFrom"):
        kind, name = entry.text("kind"), entry.text("name")
        key = entry.text("valuesKey") or "values.yaml"
        content = config_data(stack, name, key) if kind == "ConfigMap" else None
        if content is None or content.kind != "map" or entry.get("targetPath") is not None:
            if entry.text("optional") != "True":
                gaps.append((entry.place, f"values come from {kind} {name}, which cannot be read here"))
            continue
        values = merged(values, content)
    if own is not None and own.kind == "map":
        values = merged(values, own) if values.fields else own
    return values, tuple(gaps)


def config_data(stack: Stack, name: str, key: str) -> Node | None:
    """The YAML under a key of a ConfigMap, written out or generated by kustomize; None if there is none to be read."""
    for one in stack.of_kind("ConfigMap"):
        node = one.node.get("data", key) if one.name == name else None
        if node is not None and isinstance(node.scalar, str):
            try:
                return next(iter(documents(node.scalar, node.place.file, node.text_line)), None)
            except YamlProblem:
                return None
    for one in stack.of_kind("Kustomization", "kustomize.config.k8s.io"):
        for generator in one.node.each("configMapGenerator"):
            if generator.text("name") != name:
                continue
            for entry in generator.each("files"):
                under, _, path = str(entry.scalar).rpartition("=")
                if (under or path.rpartition("/")[2]) == key:
                    file = stack.tree.file(joined(one.file.folder, path))
                    return file.documents[0] if file is not None and file.documents else None
    return None


def joined(folder: str, path: str) -> str:
    """A path as written in a file of ``folder``, relative to the tree; starts with ``..`` when it leads out of it."""
    parts = [part for part in folder.split("/") if part]
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def flux_of(stack: Stack, folder: str) -> tuple[Document, ...]:
    """The Flux Kustomizations that apply a folder of the tree."""
    found = []
    for one in stack.of_kind("Kustomization", "kustomize.toolkit.fluxcd.io"):
        path = joined("", one.node.text("spec", "path"))
        # The tree may begin anywhere below the root of the repository.
        if folder and f"/{path}".endswith(f"/{folder}"):
            found.append(one)
    return tuple(found)


def kustomize_of(stack: Stack, folder: str) -> Document | None:
    """The kustomization.yaml of a folder."""
    return next(
        (one for one in stack.of_kind("Kustomization", "kustomize.config.k8s.io") if one.file.folder == folder), None
    )


def namespace_of(stack: Stack, document: Document) -> str:
    """The namespace that an object goes to; empty when the tree does not say."""
    kustomize = kustomize_of(stack, document.file.folder)
    flux = flux_of(stack, document.file.folder)
    targets = {text for one in flux if (text := one.node.text("spec", "targetNamespace"))}
    if len(targets) == 1:
        return targets.pop()
    inner = kustomize.node.text("namespace") if kustomize is not None else ""
    return inner or document.node.text("metadata", "namespace")


def _patches(document: Document) -> Iterator[Node]:
    node = document.node if document.group == "kustomize.config.k8s.io" else document.node.get("spec")
    if node is None:
        return
    for key in ("patches", "patchesStrategicMerge", "patchesJson6902", "replacements"):
        yield from node.each(key)


def _patched(stack: Stack, document: Document) -> Place | None:
    """A patch that may change the values or the chart of a HelmRelease."""
    own = [one for one in (kustomize_of(stack, document.file.folder), *flux_of(stack, document.file.folder)) if one]
    for one in own:
        for patch in _patches(one):
            text = " ".join([str(node.scalar) for _, node in patch.walk()])
            mine = "HelmRelease" in text or not patch.text("target", "kind")
            if mine and re.search(r"\b(values|valuesFrom|chart|chartRef)\b", text):
                return patch.place
    return None


def _substituted(stack: Stack, document: Document) -> Place | None:
    if any(key == "kustomize.toolkit.fluxcd.io/substitute" and text == "disabled" for key, text in document.marks()):
        return None
    flux = stack.of_kind("Kustomization", "kustomize.toolkit.fluxcd.io")
    for one in flux_of(stack, document.file.folder):
        node = one.node.get("spec", "postBuild")
        if node is not None:
            return node.place
    # A Kustomization above may patch it into those below.
    for one in flux:
        for patch in _patches(one):
            if "postBuild" in patch.text("patch"):
                return patch.place
    return None
