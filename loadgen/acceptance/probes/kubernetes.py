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
from loadgen.model import Component

COMPONENTS = (Component.LOKI, Component.TEMPO, Component.MIMIR)
SECRET_KEYS = ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_ENDPOINT", "S3_BUCKET")
PLACEHOLDER = "REPLACE_WITH"

SELECTORS = {
    Component.LOKI: "app.kubernetes.io/name=loki",
    Component.TEMPO: "app.kubernetes.io/name=tempo",
    Component.MIMIR: "app.kubernetes.io/name=mimir",
}
"""The labels that the charts give to the pods of each component."""

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
        api, objects = _clients(target)
    except ConfigError as problem:
        nothing = str(problem)
        return replace(found, pods=Told(error=nothing), flux=Told(error=nothing), secrets=Told(error=nothing))
    namespace = target.namespace
    return replace(
        found,
        pods=_told(lambda: tuple(_pods(api, namespace)), f"pods of {namespace}"),
        flux=_told(lambda: tuple(_flux(objects, namespace)), f"Flux objects of {namespace}"),
        secrets=Told(tuple(_secret(api, namespace, component) for component in COMPONENTS)),
    )


def _clients(target: KubernetesTarget) -> tuple[Any, Any]:
    try:
        from kubernetes import client, config
    except ModuleNotFoundError as problem:
        raise ConfigError(
            "the package kubernetes is not installed; run: pip install 'loadgen[kubernetes]'"
        ) from problem
    configuration = client.Configuration()
    try:
        if target.kubeconfig or target.context:
            config.load_kube_config(
                target.kubeconfig or None, target.context or None, client_configuration=configuration
            )
        else:
            try:
                config.load_incluster_config(client_configuration=configuration)
            except config.ConfigException:
                config.load_kube_config(client_configuration=configuration)
    except (config.ConfigException, OSError) as problem:
        raise ConfigError(f"no way to the cluster: {problem}; name a kubeconfig in [kubernetes]") from problem
    configuration.retries = False
    api = client.ApiClient(configuration)
    return client.CoreV1Api(api), client.CustomObjectsApi(api)


def _told(call: Callable[[], T], what: str) -> Told[T]:
    try:
        return Told(call())
    except Exception as problem:  # the client raises urllib3's errors besides its own
        return Told(error=explain(problem, what))


def explain(problem: Exception, what: str) -> str:
    """One sentence for a failed request to the cluster."""
    status = getattr(problem, "status", None)
    if status in (401, 403):
        return f"{what}: the cluster refuses ({status}); give loadgen's service account the role that it needs"
    if status == 404:
        return f"{what}: not there (404)"
    said = " ".join(str(getattr(problem, "reason", None) or problem).split())[:160]
    return f"{what}: {status or type(problem).__name__}, {said}; check the cluster's address and the kubeconfig"


def _pods(api: Any, namespace: str) -> list[PodFacts]:
    found = []
    for component, labels in SELECTORS.items():
        listed = api.list_namespaced_pod(namespace, label_selector=labels, _request_timeout=15)
        found += [_pod(api, namespace, component, pod) for pod in listed.items]
    return found


def _pod(api: Any, namespace: str, component: Component, pod: Any) -> PodFacts:
    statuses = pod.status.container_statuses or []
    began = [status.state.running.started_at for status in statuses if status.state and status.state.running]
    ready = any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or [])
    errors, log_error = [], ""
    for container in pod.spec.containers:
        try:
            log = api.read_namespaced_pod_log(
                pod.metadata.name, namespace, container=container.name, tail_lines=_LOG_LINES, _request_timeout=15
            )
            errors += refused_lines(str(log))
        except Exception as problem:
            log_error = explain(problem, f"log of {pod.metadata.name}")
    return PodFacts(
        component=component,
        name=pod.metadata.name,
        phase=pod.status.phase or "",
        ready=ready,
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
                listed = objects.list_namespaced_custom_object(group, version, namespace, plural, _request_timeout=15)
            except Exception as problem:
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
    told = _told(lambda: api.read_namespaced_secret(name, namespace, _request_timeout=15), f"secret {name}")
    if told.value is None:
        return SecretFacts(component, name, Told(error=told.error))
    data: dict[str, str] = told.value.data or {}
    held = [key for key, value in data.items() if PLACEHOLDER.encode() in base64.b64decode(value or "")]
    return SecretFacts(component, name, Told(tuple(sorted(data))), tuple(sorted(held)))
