"""Reads the tree under ``kubernetes/`` as kustomize would: resources, namespaces, ConfigMaps made of files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TREE = ROOT / "kubernetes"
Doc = dict[str, Any]
# Kinds that belong to no namespace.
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
_KNOWN = {"apiVersion", "kind", "resources", "namespace", "configMapGenerator", "generatorOptions", "images"}


def documents(path: Path) -> list[Doc]:
    """The documents of a YAML file."""
    return [doc for doc in yaml.safe_load_all(path.read_text()) if doc is not None]


def kustomizations() -> list[Path]:
    """Every folder with a kustomization.yaml."""
    return sorted(path.parent for path in TREE.rglob("kustomization.yaml"))


def build(folder: Path, seen: set[Path] | None = None) -> list[Doc]:
    """What a kustomization gives; ``seen`` collects the files that it reads. Fails on what it does not know."""
    (kustomization,) = documents(folder / "kustomization.yaml")
    assert set(kustomization) <= _KNOWN, f"{folder}: unknown here: {set(kustomization) - _KNOWN}"
    assert kustomization["apiVersion"] == "kustomize.config.k8s.io/v1beta1"
    used = seen if seen is not None else set()
    used.add(folder / "kustomization.yaml")
    docs: list[Doc] = []
    for resource in kustomization["resources"]:
        path = (folder / resource).resolve()
        assert path.exists(), f"{folder}: {resource} is not there"
        if path.is_dir():
            docs += build(path, used)
        else:
            used.add(path)
            docs += documents(path)
    for generator in kustomization.get("configMapGenerator", ()):
        options = kustomization.get("generatorOptions", {})
        assert options.get("disableNameSuffixHash") is True, f"{folder}: a name with a hash would need references to it"
        files = [(folder / name).resolve() for name in generator["files"]]
        used.update(files)
        data = {path.name: path.read_text() for path in files}
        meta = {"name": generator["name"]}
        docs.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
    for image in kustomization.get("images", ()):
        for part in walk(docs):
            if part.get("image") == image["name"]:
                part["image"] = f"{image['newName']}:{image['newTag']}"
    namespace = kustomization.get("namespace")
    if namespace:
        for doc in docs:
            if doc["kind"] not in CLUSTER_WIDE:
                doc["metadata"]["namespace"] = namespace
            for subject in doc.get("subjects", ()):
                if subject["kind"] == "ServiceAccount":
                    subject.setdefault("namespace", namespace)
    return docs


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping inside a value, itself included."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def texts(value: Any) -> Iterator[str]:
    """Every text inside a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
