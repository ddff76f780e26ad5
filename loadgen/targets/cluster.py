"""The cluster's API, for one namespace: a client, and trouble in words."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

from loadgen.config import ConfigError, KubernetesTarget
from loadgen.config.access import Access
from loadgen.stores import STORES
from loadgen.targets.connection import Transport, Trouble
from loadgen.targets.http import explain_connection, server_of

SELECTORS = {store.component: f"app.kubernetes.io/name={store.component}" for store in STORES}
"""The labels that the charts give to the pods of each component."""

KEEPERS = {store.component: store.keepers for store in STORES}
"""Values of ``app.kubernetes.io/component`` of the pods that hold data which is not in S3 yet."""

TIMEOUT_S = 15
_OF_THE_WAY = ("content-encoding", "content-length", "transfer-encoding")


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
    # By our own way: the package has rules of its own for proxies, and on newer Pythons refuses ordinary authorities.
    configuration.proxy = None
    made = client.ApiClient(configuration)
    made.rest_client.pool_manager = _Pool(configuration, target)
    return made


class _Pool:
    """What the package uses of a pool of urllib3's, by our transport: the target's proxy, and one deadline."""

    def __init__(self, configuration: Any, target: KubernetesTarget) -> None:
        access = Access(
            ca_file=configuration.ssl_ca_cert or "",
            verify_tls=bool(configuration.verify_ssl),
            cert_file=configuration.cert_file or "",
            key_file=configuration.key_file or "",
            proxy=target.proxy,
            proxy_user=target.proxy_user,
            proxy_password=target.proxy_password,
            proxy_password_file=target.proxy_password_file,
        )
        try:
            server, self._prefix = server_of(configuration.host, access)
        except ValueError as problem:
            raise ConfigError(
                f"no way to the cluster: its address is no URL ({problem}); see the kubeconfig"
            ) from problem
        self._server = replace(server, server_name=configuration.tls_server_name or "")
        self._transport = Transport(self._server)

    def request(
        self,
        method: str,
        url: str,
        fields: Mapping[str, Any] | list[tuple[str, Any]] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: Any = None,
        **_: object,
    ) -> Any:
        """One request; raises urllib3's errors, which is what the package's users catch."""
        parts = urlsplit(url)
        query = "&".join(filter(None, (parts.query, urlencode(fields or ()))))
        limit_s = getattr(timeout, "total", None) or TIMEOUT_S
        target = (parts.path or "/") + (f"?{query}" if query else "")
        try:
            answer = self._transport.ask(
                method, target, headers or {}, body, float(limit_s), repeatable=method == "GET"
            )
        except Trouble as trouble:
            raise HTTPError(explain_connection(self._server, trouble, float(limit_s))) from trouble
        plain = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_THE_WAY}
        return HTTPResponse(io.BytesIO(answer.body), plain, answer.status, reason=answer.reason)

    def clear(self) -> None:
        """Close what is open."""
        self._transport.close()


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
