"""Asking the cluster: pods, their logs, Flux objects and secrets of one namespace. Reads only, never outside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from loadgen.acceptance.facts import Deployment, FluxObject, PodFacts, SecretFacts, T, Told
from loadgen.config import ConfigError, KubernetesTarget
from loadgen.kinds import COMPONENTS
from loadgen.model import Component
from loadgen.targets.cluster import SELECTORS, TIMEOUT_S, api_client, explain, is_ready
from loadgen.targets.failures import cluster_errors

PLACEHOLDER = "REPLACE_WITH"

_FLUX = (
    ("HelmRelease", "helm.toolkit.fluxcd.io", "helmreleases", ("v2", "v2beta2", "v2beta1")),
    ("Kustomization", "kustomize.toolkit.fluxcd.io", "kustomizations", ("v1", "v1beta2")),
)
_LOG_LINES = 2_000
_REFUSED = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|Access ?Denied|status code: 403|AuthorizationHeaderMalformed",
    re.IGNORECASE,
)
_UNITS = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "m": 1e-3,
}


def ask_cluster(found: Deployment, target: KubernetesTarget) -> Deployment:
    """The facts of the cluster added; without a way to it every one of them says why."""
    try:
        client = api_client(target)
    except ConfigError as problem:
        nothing = str(problem)
        return replace(found, pods=Told(error=nothing), flux=Told(error=nothing), secrets=Told(error=nothing))
    from kubernetes.client import CoreV1Api, CustomObjectsApi

    api, objects, namespace = CoreV1Api(client), CustomObjectsApi(client), target.namespace
    return replace(
        found,
        pods=_told(lambda: tuple(_pods(api, namespace)), f"pods of {namespace}"),
        flux=_told(lambda: tuple(_flux(objects, namespace)), f"Flux objects of {namespace}"),
        secrets=Told(tuple(_secret(api, namespace, component) for component in COMPONENTS)),
    )


def _told(call: Callable[[], T], what: str) -> Told[T]:
    try:
        return Told(call())
    except cluster_errors() as problem:
        return Told(error=explain(problem, what))


def _pods(api: Any, namespace: str) -> list[PodFacts]:
    found = []
    for component, labels in SELECTORS.items():
        listed = api.list_namespaced_pod(namespace, label_selector=labels, _request_timeout=TIMEOUT_S)
        found += [_pod(api, namespace, component, pod) for pod in listed.items]
    return found


def _pod(api: Any, namespace: str, component: Component, pod: Any) -> PodFacts:
    statuses = pod.status.container_statuses or []
    began = [status.state.running.started_at for status in statuses if status.state and status.state.running]
    errors, log_error = [], ""
    for container in pod.spec.containers:
        try:
            log = api.read_namespaced_pod_log(
                pod.metadata.name,
                namespace,
                container=container.name,
                tail_lines=_LOG_LINES,
                _request_timeout=TIMEOUT_S,
            )
            errors += refused_lines(str(log))
        except cluster_errors() as problem:
            log_error = explain(problem, f"log of {pod.metadata.name}")
    return PodFacts(
        component=component,
        name=pod.metadata.name,
        phase=pod.status.phase or "",
        ready=is_ready(pod),
        running_s=max(0.0, (datetime.now(UTC) - max(began)).total_seconds()) if began else 0.0,
        restarts=sum(status.restart_count for status in statuses),
        limits=tuple((one.name, _memory(one, "limits")) for one in pod.spec.containers),
        requests=tuple((one.name, _memory(one, "requests")) for one in pod.spec.containers),
        log_errors=tuple(errors[:5]),
        log_error=log_error,
    )


def refused_lines(log: str) -> list[str]:
    """The lines of a log that speak of refused S3 credentials, without what looks like a key."""
    lines = [line.strip() for line in log.splitlines() if _REFUSED.search(line)]
    return [
        re.sub(r"(?i)(access.?key|secret|signature|credential)[^ ]*[=:]\s*\S+", r"\1=***", line)[:300] for line in lines
    ]


def _memory(container: Any, kind: str) -> int:
    resources = getattr(container.resources, kind, None) if container.resources else None
    return bytes_of(str((resources or {}).get("memory", "")))


def bytes_of(quantity: str) -> int:
    """A Kubernetes quantity in bytes; 0 for none, and for one that cannot be read."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", quantity.strip())
    if not match or match[2] not in {"", *_UNITS}:
        return 0
    return int(float(match[1]) * _UNITS.get(match[2], 1))


def _flux(objects: Any, namespace: str) -> list[FluxObject]:
    found = []
    for kind, group, plural, versions in _FLUX:
        for version in versions:
            try:
                listed = objects.list_namespaced_custom_object(
                    group, version, namespace, plural, _request_timeout=TIMEOUT_S
                )
            except cluster_errors() as problem:
                if getattr(problem, "status", None) == 404 and version != versions[-1]:
                    continue
                if getattr(problem, "status", None) == 404:
                    break
                raise
            for item in listed.get("items", ()):
                conditions = (item.get("status") or {}).get("conditions") or []
                ready: dict[str, Any] = next((one for one in conditions if one.get("type") == "Ready"), {})
                found.append(
                    FluxObject(
                        kind,
                        str(item["metadata"]["name"]),
                        ready.get("status") == "True",
                        str(ready.get("message", "it has no Ready condition"))[:300],
                    )
                )
            break
    return found


def _secret(api: Any, namespace: str, component: Component) -> SecretFacts:
    name = f"{component}-s3-secret"
    told = _told(lambda: api.read_namespaced_secret(name, namespace, _request_timeout=TIMEOUT_S), f"secret {name}")
    if told.value is None:
        return SecretFacts(component, name, Told(error=told.error))
    data: dict[str, str] = told.value.data or {}
    held = [key for key, value in data.items() if PLACEHOLDER.encode() in base64.b64decode(value or "")]
    return SecretFacts(component, name, Told(tuple(sorted(data))), tuple(sorted(held)))
