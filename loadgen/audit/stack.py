"""What the manifests deploy: HelmReleases with chart, version and values; secrets; what Flux and kustomize apply."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from loadgen.audit.facts import default
from loadgen.audit.node import Node, Place, Scalar
from loadgen.audit.tree import SourceFile, Tree
from loadgen.audit.versions import Version, parsed, shown
from loadgen.plans import Expected

COMPONENTS = ("loki", "tempo", "mimir")


@dataclass(frozen=True, slots=True)
class Document:
    """A Kubernetes object in a file."""

    file: SourceFile
    node: Node

    @property
    def place(self) -> Place:
        """Where it begins."""
        return self.node.place

    @property
    def kind(self) -> str:
        """Its kind."""
        return self.node.text("kind")

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.node.text("apiVersion").rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its name."""
        return self.node.text("metadata", "name")

    @property
    def encrypted(self) -> bool:
        """It carries the block of SOPS."""
        return self.node.get("sops") is not None

    def marks(self) -> Iterator[tuple[str, str]]:
        """Its labels and annotations."""
        for where in ("annotations", "labels"):
            node = self.node.get("metadata", where)
            if node is not None:
                for key in node.names:
                    yield key, node.text(key)


@dataclass(frozen=True, slots=True)
class Effective:
    """The value that counts: the one that is set, or the default.

    Attributes:
        path: the value, as in the chart's values.
        known: it is set, or the default is known.
        value: it.
        node: what is set; None for a default.
        place: where it is set, or the release if it is not.
        source: in words where it comes from.
        hidden: it may be set by something that cannot be read here.
    """

    path: str
    known: bool
    value: Scalar
    node: Node | None
    place: Place
    source: str
    hidden: bool = False

    @property
    def unset(self) -> bool:
        """Nobody sets it, as far as can be seen, and that is all of it."""
        return self.node is None and not self.hidden

    @property
    def text(self) -> str:
        """The value for people, with where it comes from if nobody set it."""
        if self.value is None:
            value = "nothing"
        else:
            value = str(self.value).lower() if isinstance(self.value, bool) else str(self.value)
        return value + self.origin

    @property
    def origin(self) -> str:
        """Where it comes from if nobody set it, to be put behind the value."""
        return "" if self.node is not None else f" ({self.source})"


@dataclass(frozen=True, slots=True)
class Release:
    """A HelmRelease of one of the charts that the audit knows.

    Attributes:
        component: ``loki``, ``tempo``, ``mimir``, ``grafana`` or ``prometheus``.
        document: the HelmRelease.
        name: of the Helm release.
        namespace: where it goes; empty if the tree does not say.
        chart, url: of the chart.
        source: the OCIRepository or HelmRepository, if it is in the tree.
        wanted: the version as written; empty if nothing says.
        version: the newest known version that fits, or the one before it if there is none; None if that is not known.
        values: all values, merged as Helm does.
        gaps: values come from places that are not in the tree.
        patched: a patch changes values or chart after what is read here.
        substituted: Flux replaces ``${…}`` in it, by what is at this place.
    """

    component: str
    document: Document
    name: str
    namespace: str
    chart: str
    url: str
    source: Document | None
    wanted: str
    wanted_at: Place
    version: Version | None
    values: Node
    gaps: tuple[tuple[Place, str], ...]
    patched: Place | None
    substituted: Place | None

    @property
    def place(self) -> Place:
        """Where its values begin, or it does."""
        values = self.document.node.get("spec", "values")
        return values.place if values is not None else self.document.place

    @property
    def folder(self) -> str:
        """Where its file lies."""
        return self.document.file.folder

    @property
    def fullname(self) -> str:
        """The name that its services begin with."""
        whole = self.values.text("fullnameOverride")
        if whole:
            return whole[:63].rstrip("-")
        name = self.values.text("nameOverride") or {"mimir": "mimir"}.get(self.component, self.chart)
        return (self.name if name in self.name else f"{self.name}-{name}")[:63].rstrip("-")

    @property
    def chart_text(self) -> str:
        """Chart and version for people."""
        if self.version is None:
            return f"chart {self.chart} {self.wanted or 'of unknown version'}"
        exact = parsed(self.wanted)
        missing = f", as {self.wanted} does not exist" if exact is not None and exact != self.version else ""
        return f"chart {self.chart} {shown(self.version)}{missing}"

    def effective(self, *paths: str, server: bool = False, raw: bool = False) -> Effective:
        """The value of the first path that is set, else the default of the last one.

        ``server`` says that it is a setting of the server's own configuration, which a text in the values may replace.
        ``raw`` gives a reference such as ``${S3_BUCKET}`` as it is; otherwise it is a value that cannot be seen.
        """
        path = paths[-1]
        replaced = self.replaced_config() if server else None
        if self.patched is not None:
            return Effective(
                path, False, None, None, self.patched, "a patch changes the values after what is read here", True
            )
        if replaced is not None:
            return Effective(
                path, False, None, None, replaced.place, "the whole configuration is a text in the values", True
            )
        for one in paths:
            node = self.values.dotted(one)
            if node is not None and not (node.kind == "scalar" and node.scalar is None):
                return self._set(one, node, raw)
        if self.gaps:
            place, what = self.gaps[0]
            return Effective(path, False, None, None, place, what, True)
        if server and self.image_tag() is not None:
            why = "the image is not the chart's own, so its defaults may differ"
            return Effective(path, False, None, None, self.place, why, True)
        fact = default(self.chart, self.version, path)
        if fact is None:
            return Effective(
                path, False, None, None, self.place, f"not set, and no default is known for {self.chart_text}"
            )
        return Effective(path, True, fact.value, None, self.place, f"default of {self.chart_text}")

    def _set(self, path: str, node: Node, raw: bool) -> Effective:
        value, text = node.scalar, str(node.scalar)
        why = ""
        if text.startswith("ENC[AES256_GCM"):
            why = "it is encrypted"
        elif self.substituted is not None and text.startswith("$${"):
            value = text[1:]  # Flux takes one dollar away
        elif self.substituted is not None and "${" in text:
            why = "Flux fills it in"
        if not why and not raw and isinstance(value, str) and "${" in value:
            why = "it comes from the environment"
        if why:
            return Effective(path, False, None, node, node.place, why, True)
        return Effective(path, True, value, node, node.place, "set")

    def image_tag(self) -> Node | None:
        """An image tag of the server that is not the chart's."""
        paths = {"loki": ("loki", "image", "tag"), "tempo": ("tempo", "tag"), "mimir": ("image", "tag")}
        node = self.values.get(*paths[self.component]) if self.component in paths else None
        return None if node is None or node.empty else node

    def replaced_config(self) -> Node | None:
        """The text that replaces the chart's whole configuration of the server."""
        paths = {"loki": ("loki", "config"), "tempo": ("config",), "mimir": ("mimir", "config")}
        node = self.values.get(*paths[self.component]) if self.component in paths else None
        return node if node is not None and node.kind == "scalar" and not node.empty else None

    def service(self, suffix: str) -> str:
        """The name of one of its services."""
        return f"{self.fullname}{suffix}"


@dataclass(frozen=True, slots=True)
class Stack:
    """All of it."""

    tree: Tree
    documents: tuple[Document, ...]
    releases: tuple[Release, ...]
    strict: bool = False
    expected: Expected = field(default_factory=Expected)

    def of_kind(self, kind: str, group: str | None = None) -> tuple[Document, ...]:
        """The objects of a kind, of a group (compared from its beginning) if one is given."""
        return tuple(
            one for one in self.documents if one.kind == kind and (group is None or one.group.startswith(group))
        )

    def of(self, component: str) -> tuple[Release, ...]:
        """The releases of a component."""
        return tuple(release for release in self.releases if release.component == component)

    def secret(self, name: str) -> Document | None:
        """The Secret of this name."""
        return next((one for one in self.of_kind("Secret") if one.name == name), None)
