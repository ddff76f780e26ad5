"""A small API server of a cluster: pods, logs, secrets and Flux objects of some namespaces, behind RBAC.

It answers the requests that loadgen makes, in the shapes of the real one, and refuses what the role does not allow.
Deleted pods come back under a new name and uid, after a while, as a controller would make them.
"""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from loadgen.lab.processes.serve import application, serving

TOKEN = "token-of-loadgen"


@dataclass
class Rule:
    """One rule of a Role."""

    groups: Sequence[str]
    resources: Sequence[str]
    verbs: Sequence[str]
    names: Sequence[str] = ()

    def allows(self, group: str, resource: str, verb: str, name: str) -> bool:
        return (
            group in self.groups
            and resource in self.resources
            and verb in self.verbs
            and (not self.names or name in self.names)
        )


@dataclass
class FakePod:
    component: str
    role: str = ""
    ready: bool = True
    log: str = ""
    ready_after_s: float = 0.0
    uid: str = ""
    born_s: float = 0.0
    doomed_s: float = 0.0


@dataclass
class FakeCluster:
    """What there is, and what loadgen's role allows in which namespace."""

    namespace: str = "monitoring"
    rules: list[Rule] = field(default_factory=list)
    pods: list[FakePod] = field(default_factory=list)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    flux: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    comes_back: bool = True
    end_takes_s: float = 0.2

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        for pod in self.pods:
            self._born(pod)

    def _born(self, pod: FakePod) -> None:
        pod.uid = f"uid-{next(self._numbers)}"
        pod.born_s = time.monotonic()

    def name(self, pod: FakePod) -> str:
        return f"{pod.component}-{pod.role or 'all'}-{pod.uid}"

    def living(self) -> list[FakePod]:
        now = time.monotonic()
        for pod in [one for one in self.pods if one.doomed_s and now >= one.doomed_s]:
            self.pods.remove(pod)
            if self.comes_back:
                successor = FakePod(pod.component, pod.role, True, pod.log, 0.3)
                self._born(successor)
                self.pods.append(successor)
        return self.pods

    def allowed(self, request: Request, group: str, resource: str, verb: str, name: str = "") -> Response | None:
        self.requests.append((request.method, request.url.path))
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized")
        here = request.path_params.get("namespace") == self.namespace
        if here and any(rule.allows(group, resource, verb, name) for rule in self.rules):
            return None
        return _status(403, f'{resource} "{name}" is forbidden: the role does not allow to {verb} it')

    def app(self) -> Any:
        core = "/api/v1/namespaces/{namespace}"
        return application(
            [
                Route(f"{core}/pods", self._list),
                Route(f"{core}/pods/{{name}}", self._delete, methods=["DELETE"]),
                Route(f"{core}/pods/{{name}}/log", self._log),
                Route(f"{core}/secrets/{{name}}", self._secret),
                Route("/apis/{group}/{version}/namespaces/{namespace}/{plural}", self._custom),
            ]
        )

    async def _list(self, request: Request) -> Response:
        refused = self.allowed(request, "", "pods", "list")
        if refused:
            return refused
        _, _, component = request.query_params.get("labelSelector", "").partition("app.kubernetes.io/name=")
        pods = [self._as_json(pod) for pod in self.living() if not component or pod.component == component]
        return JSONResponse({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})

    def _as_json(self, pod: FakePod) -> dict[str, Any]:
        age_s = time.monotonic() - pod.born_s
        ready = pod.ready and age_s >= pod.ready_after_s
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age_s - 3600))
        amounts = {"memory": "512Mi"}
        labels = {"app.kubernetes.io/name": pod.component}
        if pod.role:
            labels["app.kubernetes.io/component"] = pod.role
        metadata: dict[str, Any] = {
            "name": self.name(pod), "namespace": self.namespace, "uid": pod.uid, "labels": labels,
        }  # fmt: skip
        if pod.doomed_s:
            metadata["deletionTimestamp"] = started
        return {
            "metadata": metadata,
            "spec": {"containers": [{"name": pod.component, "resources": {"limits": amounts, "requests": amounts}}]},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": str(ready)}],
                "containerStatuses": [
                    {
                        "name": pod.component, "image": "x", "imageID": "x", "ready": ready, "restartCount": 0,
                        "state": {"running": {"startedAt": started}},
                    }
                ],
            },
        }  # fmt: skip

    async def _delete(self, request: Request) -> Response:
        name = request.path_params["name"]
        refused = self.allowed(request, "", "pods", "delete", name)
        if refused:
            return refused
        pod = next((one for one in self.living() if self.name(one) == name), None)
        if pod is None:
            return _status(404, f'pods "{name}" not found')
        grace_s = float(request.query_params.get("gracePeriodSeconds", 30))
        pod.doomed_s = time.monotonic() + min(grace_s, self.end_takes_s)
        return JSONResponse(self._as_json(pod))

    async def _log(self, request: Request) -> Response:
        refused = self.allowed(request, "", "pods/log", "get", request.path_params["name"])
        if refused:
            return refused
        pod = next(one for one in self.living() if self.name(one) == request.path_params["name"])
        return PlainTextResponse(pod.log)

    async def _secret(self, request: Request) -> Response:
        name = request.path_params["name"]
        refused = self.allowed(request, "", "secrets", "get", name)
        if refused:
            return refused
        if name not in self.secrets:
            return _status(404, f'secrets "{name}" not found')
        data = {key: base64.b64encode(value.encode()).decode() for key, value in self.secrets[name].items()}
        return JSONResponse({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name}, "data": data})

    async def _custom(self, request: Request) -> Response:
        plural = request.path_params["plural"]
        refused = self.allowed(request, request.path_params["group"], plural, "list")
        if refused:
            return refused
        if request.path_params["version"] not in ("v2", "v1"):
            return _status(404, "the server could not find the requested resource")
        return JSONResponse({"items": self.flux.get(plural, [])})


def _status(code: int, message: str) -> Response:
    return JSONResponse({"kind": "Status", "status": "Failure", "message": message, "code": code}, code)


@contextmanager
def kubeconfig(cluster: FakeCluster, folder: Path, token: str = TOKEN) -> Iterator[str]:
    """Serves the cluster while the block runs; gives the path of a kubeconfig for it."""
    with serving(cluster.app()) as url:
        path = folder / "kubeconfig"
        path.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
            f"clusters: [{{name: c, cluster: {{server: '{url}'}}}}]\n"
            f"users: [{{name: u, user: {{token: {token}}}}}]\n"
            "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
        )
        yield str(path)
