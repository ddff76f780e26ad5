"""Faults in a cluster: pods of a component are deleted, in the one configured namespace and nowhere else.

What is deleted are the pods that hold data which is not in S3 yet (write, ingester), or all of the component where none
says so. The cluster itself starts them again; starting here means waiting for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from loadgen.config import KubernetesTarget
from loadgen.faults.disruptor import DisruptorError
from loadgen.model import Component
from loadgen.targets.cluster import KEEPERS, SELECTORS, TIMEOUT_S, api_client, explain, is_ready
from loadgen.targets.failures import cluster_errors

_EVERY_S = 0.5
_ROLE = "app.kubernetes.io/component"


class ClusterDisruptor:
    """Deletes pods and waits for their successors.

    Args:
        target: namespace and the way to the cluster.
        ready_within_s: how long the successors may take to become Ready.
        api: a ``CoreV1Api`` in place of the real one, for tests.
        sleep: waits so many seconds.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        target: KubernetesTarget,
        ready_within_s: float = 300.0,
        api: Any = None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._namespace, self._ready_within_s = target.namespace, ready_within_s
        self._sleep, self._monotonic = sleep, monotonic
        if api is None:
            from kubernetes.client import CoreV1Api

            api = CoreV1Api(api_client(target))
        self._api = api
        self._gone: dict[Component, tuple[str, ...]] = {}

    def kill(self, component: Component) -> None:
        """Delete the pods without any grace."""
        self._delete(component, 0)

    def stop(self, component: Component, grace_s: float) -> bool:
        """Delete the pods with this grace, and wait until they are gone; True if that took less than the grace."""
        began_s = self._monotonic()
        uids = self._delete(component, round(grace_s))
        while any(pod.metadata.uid in uids for pod in self._pods(component)):
            if self._monotonic() - began_s > grace_s + self._ready_within_s:
                raise DisruptorError(f"a pod of {component} does not go away; {self._by_hand(component)}")
            self._sleep(_EVERY_S)
        return self._monotonic() - began_s < grace_s

    def start(self, component: Component) -> None:
        """Wait until as many successors are Ready as pods were deleted."""
        old = self._gone.get(component, ())
        give_up_s = self._monotonic() + self._ready_within_s
        while True:
            ready = [pod for pod in self._pods(component) if pod.metadata.uid not in old and is_ready(pod)]
            if len(ready) >= max(1, len(old)):
                return
            if self._monotonic() > give_up_s:
                text = f"{len(ready)} of {len(old)} pods of {component} are Ready after {self._ready_within_s:g} s"
                raise DisruptorError(f"{text}; {self._by_hand(component)}")
            self._sleep(_EVERY_S)

    def _by_hand(self, component: Component) -> str:
        return f"to heal it by hand: kubectl -n {self._namespace} get pods -l {SELECTORS[component]}"

    def _delete(self, component: Component, grace_s: int) -> tuple[str, ...]:
        pods = self._pods(component)
        keepers = [pod for pod in pods if (pod.metadata.labels or {}).get(_ROLE) in KEEPERS[component]]
        chosen = keepers or pods
        if not chosen:
            selector = SELECTORS[component]
            raise DisruptorError(f"{self._namespace} has no pod with {selector}; is this the right namespace?")
        for pod in chosen:
            name = pod.metadata.name
            try:
                self._api.delete_namespaced_pod(
                    name, self._namespace, grace_period_seconds=grace_s, _request_timeout=TIMEOUT_S
                )
            except cluster_errors() as problem:
                raise DisruptorError(f"{explain(problem, f'deleting {name}')}; nothing to heal") from problem
        self._gone[component] = tuple(pod.metadata.uid for pod in chosen)
        return self._gone[component]

    def _pods(self, component: Component) -> list[Any]:
        try:
            listed = self._api.list_namespaced_pod(
                self._namespace, label_selector=SELECTORS[component], _request_timeout=TIMEOUT_S
            )
        except cluster_errors() as problem:
            raise DisruptorError(f"{explain(problem, 'listing pods')}; {self._by_hand(component)}") from problem
        return list(listed.items)
