"""Each component is a Flux Kustomization, an OCIRepository and a HelmRelease, with a chart version that exists."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.audit.resolve import flux_of, joined, kustomize_of
from loadgen.audit.rule import CHARTS, Remark, Remarks, absent, fine, note, rule_of, unsure, wrong
from loadgen.audit.stack import COMPONENTS, Document, Release, Stack
from loadgen.audit.versions import matching, parsed, published, shown

_SHAPE = "lay it out as COMPONENT/ks.yaml, COMPONENT/app/kustomization.yaml, COMPONENT/app/helmrelease.yaml"


def _judge(stack: Stack) -> Remarks:
    for problem in stack.tree.problems:
        yield wrong(problem.place, problem.what, "make it a file that Flux can read, or move it out of the manifests")
    for component in COMPONENTS:
        releases = stack.of(component)
        if not releases:
            yield from _instead(stack, component)
        for release in releases:
            remarks = (*_files(stack, release), *_source(release), *_version(release))
            yield from remarks
            if not any(remark.kind == "wrong" for remark in remarks):
                yield fine(release.document.place, f"{component}: {release.chart_text} by Flux")


def _instead(stack: Stack, component: str) -> Iterator[Remark]:
    """A release whose chart cannot be told may be the one that is missing."""
    for document in stack.of_kind("HelmRelease"):
        if document.name == component:
            yield wrong(
                document.place,
                f"the chart of HelmRelease {component} cannot be told: its source is not here, or is another chart",
                f"add the OCIRepository that chartRef names, with a url that ends in /{CHARTS[component]}",
            )
            return
    yield absent(component)


def _files(stack: Stack, release: Release) -> Iterator[Remark]:
    component, file = release.component, release.document.file
    if file.name not in ("helmrelease.yaml", "helmrelease.yml"):
        yield wrong(
            release.document.place, f"{component}: the HelmRelease is in {file.name}, not helmrelease.yaml", _SHAPE
        )
    flux = flux_of(stack, file.folder)
    if not flux and not file.folder:
        yield unsure(
            release.document.place, f"{component}: what applies this folder is not in it", "audit the folder above it"
        )
    elif not flux:
        yield wrong(
            release.document.place,
            f"{component}: no Flux Kustomization (ks.yaml) applies {file.folder or 'its folder'}",
            _SHAPE,
        )
    for one in flux:
        if one.file.name not in ("ks.yaml", "ks.yml"):
            yield note(one.place, f"{component}: applied from {one.file.name} rather than ks.yaml")
    kustomize = kustomize_of(stack, file.folder)
    if kustomize is None:
        yield wrong(release.document.place, f"{component}: no kustomization.yaml beside the HelmRelease", _SHAPE)
    else:
        yield from _listed(stack, release, kustomize)


def _listed(stack: Stack, release: Release, kustomize: Document) -> Iterator[Remark]:
    folder = kustomize.file.folder
    listed = {joined(folder, str(entry.scalar)): entry for entry in kustomize.node.each("resources")}
    for path, entry in listed.items():
        remote = "://" in str(entry.scalar) or path.startswith("..")
        inside = any(file.path.startswith(f"{path}/") for file in stack.tree.files)
        broken = any(problem.place.file == path for problem in stack.tree.problems)
        if not remote and not inside and not broken and not stack.tree.has(path):
            yield wrong(
                entry, f"{release.component}: lists {path}, which is not there", "add the file or take the line out"
            )
    needed = [release.document]
    if release.source is not None and release.source.file.folder == folder:
        needed.append(release.source)
    needed += [
        secret for secret in stack.of_kind("Secret") if secret.file.folder == folder and not secret.file.template
    ]
    for document in needed:
        if document.file.path not in listed:
            yield wrong(
                document.place,
                f"{release.component}: kustomization.yaml does not list {document.file.name}, so it is never applied",
                f"add ./{document.file.name} to its resources",
            )


def _source(release: Release) -> Iterator[Remark]:
    if release.source is not None and release.source.kind == "OCIRepository":
        if not release.url.startswith("oci://"):
            yield wrong(
                release.source.place, f"{release.component}: the url does not begin with oci://", "write oci://…"
            )
        if release.document.node.get("spec", "chartRef") is None:
            yield wrong(
                release.document.place,
                f"{release.component}: an OCIRepository is referred to by spec.chart",
                "use spec.chartRef with kind OCIRepository",
            )
        return
    kind = release.source.kind if release.source is not None else "something that is not here"
    yield wrong(
        release.document.place,
        f"{release.component}: the chart comes from {kind}, not from an OCIRepository",
        f"add an OCIRepository for oci://ghcr.io/grafana/helm-charts/{release.chart} and refer to it by spec.chartRef",
    )


def _version(release: Release) -> Iterator[Remark]:
    known = published(release.chart, release.url)
    name = f"{release.component}: chart {release.chart}"
    if not release.wanted:
        yield wrong(release.wanted_at, f"{name}: no version is pinned", f"set ref.tag, e.g. to {shown(known[-1])}")
        return
    exact = parsed(release.wanted)
    fitting = matching(release.wanted, known)
    if exact is None and release.wanted == "latest":
        yield wrong(release.wanted_at, f"{name}: latest is no version", f"pin one, e.g. {shown(known[-1])}")
    elif fitting is None:
        yield unsure(
            release.wanted_at, f"{name}: {release.wanted} is no version that is understood here", "pin a version"
        )
    elif not fitting and exact is not None and known[0] < exact < known[-1]:
        yield wrong(release.wanted_at, f"{name} {release.wanted} does not exist", _nearest(release, known))
    elif not fitting:
        span = f"{shown(known[0])} to {shown(known[-1])}"
        yield unsure(
            release.wanted_at, f"{name} {release.wanted} is outside of what is known ({span})", "pin one of these"
        )
    elif release.chart == "loki" and fitting[-1][0] == 7 and "/grafana/" in release.url:
        yield wrong(
            release.wanted_at,
            f"{name} {release.wanted} of grafana/helm-charts is for Grafana Enterprise Logs only",
            "use 6.55.0, or oci://ghcr.io/grafana-community/helm-charts/loki",
        )


def _nearest(release: Release, known: tuple[tuple[int, int, int], ...]) -> str:
    wanted = parsed(release.wanted)
    assert wanted is not None
    below = [version for version in known if version < wanted][-1]
    above = next(version for version in known if version > wanted)
    return (
        f"the nearest charts are {shown(below)} and {shown(above)} (the version of a chart is not that of the server)"
    )


RULE = rule_of(
    "flux_pattern",
    "each component is deployed by ks.yaml, app/kustomization.yaml, app/helmrelease.yaml and an OCIRepository, "
    "with a chart version that exists",
    _judge,
)
