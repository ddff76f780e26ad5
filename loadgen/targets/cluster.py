"""The cluster's API, for one namespace: a client, and trouble in words."""

from __future__ import annotations

from typing import Any

from loadgen.config import ConfigError, KubernetesTarget
from loadgen.model import Component

SELECTORS = {
    Component.LOKI: "app.kubernetes.io/name=loki",
    Component.TEMPO: "app.kubernetes.io/name=tempo",
    Component.MIMIR: "app.kubernetes.io/name=mimir",
}
"""The labels that the charts give to the pods of each component."""

KEEPERS = {
    Component.LOKI: ("write", "single-binary", "ingester"),
    Component.TEMPO: ("ingester", "live-store"),
    Component.MIMIR: ("ingester",),
}
"""Values of ``app.kubernetes.io/component`` of the pods that hold data which is not in S3 yet."""

TIMEOUT_S = 15


def api_client(target: KubernetesTarget) -> Any:
    """An API client by kubeconfig, or by the service account of the pod that this runs in.

    Raises:
        ConfigError: the package is missing, or there is no way to a cluster.
    """
    try:
        from kubernetes import client, config
    except ModuleNotFoundError as problem:
        text = "the package kubernetes is not installed; run: pip install 'loadgen[kubernetes]'"
        raise ConfigError(text) from problem
    configuration = client.Configuration()
    try:
        if target.kubeconfig or target.context:
            config.load_kube_config(target.kubeconfig or None, target.context or None, configuration)
        else:
            try:
                config.load_incluster_config(configuration)
            except config.ConfigException:
                config.load_kube_config(client_configuration=configuration)
    except (config.ConfigException, OSError) as problem:
        raise ConfigError(f"no way to the cluster: {problem}; name a kubeconfig in [kubernetes]") from problem
    configuration.retries = False
    return client.ApiClient(configuration)


def explain(problem: Exception, what: str) -> str:
    """One sentence for a failed request to the cluster."""
    status = getattr(problem, "status", None)
    if status in (401, 403):
        return f"{what}: the cluster refuses ({status}); give loadgen's service account the role that it needs"
    if status == 404:
        return f"{what}: not there (404)"
    said = " ".join(str(getattr(problem, "reason", None) or problem).split())[:160]
    return f"{what}: {status or type(problem).__name__}, {said}; check the cluster's address and the kubeconfig"


def is_ready(pod: Any) -> bool:
    """Whether a pod is Ready and not on its way out."""
    if pod.metadata.deletion_timestamp is not None:
        return False
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or [])
