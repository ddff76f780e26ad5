"""Each component has written into its tenant's directory of its bucket."""

from __future__ import annotations

from functools import partial

from loadgen.acceptance.checks.base import Check, Finding, broken, not_told, ok, skipped, untold
from loadgen.acceptance.facts import BucketFacts, Deployment
from loadgen.kinds import COMPONENTS
from loadgen.model import Component

_WAIT = {
    Component.LOKI: "a chunk is written when it is idle or old (chunk_idle_period 30m, max_chunk_age 2h unless set)",
    Component.TEMPO: "a block is written after max_block_duration (30m in Tempo 2 unless set)",
    Component.MIMIR: "a block is written 2 to 3.5 h after its first sample unless the ingesters are asked to flush",
}
# What the promises allow until something must be there.
_DUE_S = {Component.LOKI: 300.0, Component.TEMPO: 600.0, Component.MIMIR: 14_400.0}
_TASKS = {Component.LOKI: "TASK-009", Component.TEMPO: "TASK-011", Component.MIMIR: "TASK-013"}


def _judge(found: Deployment, component: Component) -> Finding:
    if found.s3.value is None:
        return skipped(found.s3.skipped or found.s3.error, "give the target an [s3] section")
    bucket = next((one for one in found.buckets if one.component is component), None)
    if bucket is None:
        return untold("the bucket was not asked for", "run loadgen check again")
    missing = not_told(bucket.tenant_objects, "let the credential list the bucket")
    if missing is not None:
        return missing
    where = f"{bucket.bucket}/{bucket.tenant}/"
    if bucket.tenant_objects.value:
        return ok(f"{where} holds objects", bucket.tenant_objects.value)
    if bucket.elsewhere:
        return _elsewhere(bucket, where)
    others = ", ".join(bucket.prefixes) or "nothing at all"
    running_s = max((pod.running_s for pod in found.pods.value or () if pod.component is component), default=0.0)
    if running_s < _DUE_S[component]:
        why = f"{where} holds nothing yet, and it is not known that {component} has run for long enough"
        return untold(why, f"wait: {_WAIT[component]}; then run loadgen check again", f"first level: {others}")
    remedy = (
        f"wait: {_WAIT[component]}; then look into the component's log. With tenants on, the directory is named after "
        f"the tenant: set tenant in the target; with a prefix before it, set {component}_prefix in [s3]"
    )
    return broken(f"{where} holds nothing", remedy, f"the bucket's first level: {others}")


def _elsewhere(bucket: BucketFacts, where: str) -> Finding:
    """The component's layout was recognised at another place than where the target says."""
    places = ", ".join(f"{place}/" for place in bucket.elsewhere[:5])
    said = f"{where} holds nothing; what {bucket.component} writes was found below {places}"
    before, _, tenant = bucket.elsewhere[0].rpartition("/")
    settings = f'{bucket.component}_prefix = "{before}" in [s3]'
    named = bucket.tenant.rpartition("/")[2]
    if len(bucket.elsewhere) == 1 and tenant == named:
        return ok(f"{bucket.bucket}/{bucket.elsewhere[0]}/ holds objects", 1, f"{said}; set {settings} of the target")
    if tenant != named:
        settings += f' and tenant = "{tenant}" in [{bucket.component}]'
    return untold(said, f"say which of these is this stack's, e.g. {settings} of the target")


CHECKS = tuple(
    Check(
        f"{component}.s3_prefix",
        f"{component.capitalize()} has written its tenant's data to S3",
        "objects below the tenant's prefix",
        (_TASKS[component], "TASK-022"),
        partial(_judge, component=component),
    )
    for component in COMPONENTS
)
