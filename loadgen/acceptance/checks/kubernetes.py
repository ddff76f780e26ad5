"""The cluster: pods, their logs, Flux objects, and the components' S3 secrets."""

from __future__ import annotations

from loadgen.acceptance.checks.base import broken, check_of, not_told, ok, untold, worst
from loadgen.acceptance.facts import Deployment, PodFacts, SecretFacts
from loadgen.judging import Finding
from loadgen.kinds import COMPONENTS
from loadgen.units import bytes_text, duration_text

SECRET_KEYS = ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_ENDPOINT", "S3_BUCKET")
MAX_MEMORY_BYTES = 2 * 2**30
_CLUSTER = "set [kubernetes] namespace (and kubeconfig, context) in the target; in a pod its service account is used"


def _pod(pod: PodFacts) -> Finding:
    about = f"{pod.name}: {pod.phase}, running {duration_text(pod.running_s)}, {pod.restarts} restarts"
    if pod.phase != "Running" or not pod.ready:
        remedy = f"kubectl describe pod {pod.name}, and its log; wrong S3 credentials end in CrashLoopBackOff"
        return broken(f"{pod.name} is {pod.phase}{'' if pod.ready else ', not ready'}", remedy, about)
    for kind, amounts in (("request", pod.requests), ("limit", pod.limits)):
        for container, size_bytes in amounts:
            if not size_bytes:
                remedy = f"set resources.{kind}s.memory below 2Gi in the HelmRelease's values"
                return broken(f"{pod.name}/{container} has no memory {kind}", remedy, about)
            if size_bytes >= MAX_MEMORY_BYTES:
                text = f"{pod.name}/{container}: memory {kind} {bytes_text(size_bytes)}"
                return broken(
                    text, "lower it below 2Gi; Loki's chunks-cache asks for 8 GB unless it is turned off", about
                )
    return ok("", 1, about)


def _pods(found: Deployment) -> Finding:
    missing = not_told(found.pods, _CLUSTER)
    if missing is not None:
        return missing
    pods = found.pods.value or ()
    absent = [component for component in COMPONENTS if not any(pod.component is component for pod in pods)]
    if absent:
        remedy = f"see its HelmRelease; its pods must carry the label app.kubernetes.io/name={absent[0]}"
        return broken(f"no pod of {', '.join(absent)}", remedy, samples=len(pods))
    finding = worst([_pod(pod) for pod in pods], "there are no pods", _CLUSTER)
    return finding if finding.measured else ok(f"{len(pods)} running and ready", len(pods), *finding.evidence)


def _flux(found: Deployment) -> Finding:
    missing = not_told(found.flux, _CLUSTER)
    if missing is not None:
        return missing
    objects = found.flux.value or ()
    if not objects:
        return untold(
            "there is neither a HelmRelease nor a Kustomization here", "is this the namespace that Flux fills?"
        )
    bad = [one for one in objects if not one.ready]
    if bad:
        remedy = (
            f"flux get {bad[0].kind.lower()}s {bad[0].name}; the charts tempo 1.19.1 and mimir-distributed 5.6.2 do "
            "not exist (1.19.0 and 5.6.0 do)"
        )
        texts = (f"{one.kind} {one.name}: {one.message}" for one in bad)
        return broken(f"{len(bad)} of {len(objects)} not ready", remedy, *texts, samples=len(objects))
    return ok(f"{len(objects)} ready", len(objects))


def _secret(secret: SecretFacts) -> Finding:
    if secret.keys.value is None:
        if "404" in secret.keys.error:
            return broken(f"{secret.name} does not exist", f"create {secret.name} with SOPS, with the four keys")
        return untold(secret.keys.error, "let loadgen's service account get this one secret, by name")
    lacking = [key for key in SECRET_KEYS if key not in secret.keys.value]
    if lacking:
        return broken(f"{secret.name} lacks {', '.join(lacking)}", f"add the keys; needed are {', '.join(SECRET_KEYS)}")
    if secret.placeholders:
        remedy = "put the real values in, encrypt the file with SOPS, and let Flux apply it"
        return broken(f"{secret.name} still holds a placeholder in {', '.join(secret.placeholders)}", remedy)
    return ok(secret.name)


def _secrets(found: Deployment) -> Finding:
    missing = not_told(found.secrets, _CLUSTER)
    if missing is not None:
        return missing
    return worst([_secret(one) for one in found.secrets.value or ()], "no secret was asked for", _CLUSTER)


def _logs(found: Deployment) -> Finding:
    missing = not_told(found.pods, _CLUSTER)
    if missing is not None:
        return missing
    pods = found.pods.value or ()
    if not pods:
        return untold("there are no pods whose log could be read", _CLUSTER)
    refused = [(pod.name, line) for pod in pods for line in pod.log_errors]
    if refused:
        remedy = (
            "the S3 credential is refused: check the secret, then restart the pod, which reads it at its start only"
        )
        return broken(f"{len(refused)} refusals", remedy, *(f"{name}: {line}" for name, line in refused[:5]))
    unread = [pod.log_error for pod in pods if pod.log_error]
    if unread:
        return untold(unread[0], "let loadgen's service account get pods/log")
    return ok(f"none in the logs of {len(pods)} pods", len(pods))


CHECKS = (
    check_of(
        "k8s.pods",
        "the pods run, are ready, and have memory bounds",
        "running, ready, memory < 2Gi",
        _pods,
    ),
    check_of(
        "k8s.helmreleases",
        "Flux has applied everything",
        "ready",
        _flux,
    ),
    check_of(
        "k8s.secrets",
        "each component's S3 secret has its four keys and no placeholder",
        "4 keys, real values",
        _secrets,
    ),
    check_of(
        "k8s.logs",
        "S3 refuses no component's credential",
        "no refusal logged",
        _logs,
    ),
)
