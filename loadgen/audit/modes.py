"""Loki simple scalable; Tempo monolithic with OTLP; Mimir as its chart can: microservices."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.audit.components import mode
from loadgen.audit.node import Node
from loadgen.audit.rule import Remark, Remarks, absent, fine, rule_of, unknown_value, wrong
from loadgen.audit.stack import COMPONENTS, Release, Stack
from loadgen.plans import Expected

_MODES = {"SimpleScalable": "simple scalable", "SingleBinary": "single binary", "Distributed": "microservices"}
_OTLP = (("grpc", "4317"), ("http", "4318"))


def _judge(stack: Stack) -> Remarks:
    for component in COMPONENTS:
        releases = stack.of(component)
        if not releases:
            yield absent(component)
        for release in releases:
            yield from {"loki": _loki, "tempo": _tempo, "mimir": _mimir}[component](release, stack.expected)


def _loki(release: Release, expected: Expected) -> Iterator[Remark]:
    setting = mode(release)
    if not setting.known:
        yield unknown_value(setting, "loki: the deployment mode")
    elif expected.loki_mode not in ("any", setting.value):
        yield wrong(setting, f"loki runs as {setting.text}", f"set deploymentMode to {expected.loki_mode}")
    else:
        yield fine(setting, f"loki: {_MODES.get(str(setting.value), setting.text)}")


def _tempo(release: Release, expected: Expected) -> Iterator[Remark]:
    if release.chart != "tempo" and expected.tempo_mode == "any":
        yield fine(release, f"tempo: microservices, by the chart {release.chart}")
        return
    if release.chart != "tempo":
        yield wrong(
            release.wanted_at,
            f"tempo is deployed by the chart {release.chart}, as microservices",
            "use the chart tempo",
        )
        return
    open_ports = True
    for protocol, port in _OTLP:
        path = f"tempo.receivers.otlp.protocols.{protocol}"
        node = release.values.dotted(path)
        removed = _removed(release, protocol)
        setting = release.effective(f"{path}.endpoint", server=True)
        where = f"tempo: OTLP/{protocol} on {port}"
        if removed is not None:
            open_ports = False
            yield wrong(removed, f"{where} is turned off", f"set {path}.endpoint to 0.0.0.0:{port}")
        elif not setting.known and not (node is not None and node.kind == "map"):
            open_ports = False
            yield unknown_value(setting, where)
        elif setting.known and not str(setting.value).endswith(f":{port}"):
            open_ports = False
            yield wrong(setting, f"{where}: it listens to {setting.text}", f"set {path}.endpoint to 0.0.0.0:{port}")
        elif setting.known and str(setting.value).startswith(("127.", "localhost")):
            open_ports = False
            yield wrong(
                setting, f"{where} is reachable inside of the pod only", f"set {path}.endpoint to 0.0.0.0:{port}"
            )
    if open_ports:
        yield fine(release, "tempo: monolithic, OTLP on 4317 and 4318")


def _removed(release: Release, protocol: str) -> Node | None:
    """The null that takes a receiver out of the chart's defaults, as a place."""
    for path in (
        "tempo.receivers",
        "tempo.receivers.otlp",
        "tempo.receivers.otlp.protocols",
        f"tempo.receivers.otlp.protocols.{protocol}",
    ):
        node = release.values.dotted(path)
        if node is not None and node.kind == "scalar" and node.scalar is None:
            return node
    return None


def _mimir(release: Release, expected: Expected) -> Iterator[Remark]:  # noqa: ARG001 - its chart has one mode
    target = release.effective("mimir.structuredConfig.target", server=True)
    asked = target.node or release.values.get("deploymentMode")
    if asked is not None:
        yield wrong(
            asked,
            f"mimir: {asked.scalar} is asked for, which the chart mimir-distributed does not have",
            "take it out: the chart runs microservices, one replica each; there is no monolithic mode in any version",
        )
    elif target.hidden:
        yield unknown_value(target, "mimir: the target")
    else:
        yield fine(release, "mimir: microservices; the chart has no monolithic mode")


RULE = rule_of(
    "modes",
    "Loki is simple scalable, Tempo monolithic with OTLP, Mimir microservices (its chart has nothing else)",
    _judge,
)
