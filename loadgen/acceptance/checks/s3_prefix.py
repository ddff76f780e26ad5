"""Each component has written into its tenant's directory of its bucket."""

from __future__ import annotations

from functools import partial

from loadgen.acceptance.checks.base import broken, check_of, not_told, ok, skipped, untold
from loadgen.acceptance.facts import BucketFacts, Deployment
from loadgen.judging import Finding
from loadgen.model import Component
from loadgen.stores import STORES, store_of


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
    accepts = store_of(component).accepts
    running_s = max((pod.running_s for pod in found.pods.value or () if pod.component is component), default=0.0)
    if running_s < accepts.due_s:
        why = f"{where} holds nothing yet, and it is not known that {component} has run for long enough"
        return untold(why, f"wait: {accepts.due}; then run loadgen check again", f"first level: {others}")
    remedy = (
        f"wait: {accepts.due}; then look into the component's log. With tenants on, the directory is named after "
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
    check_of(
        f"{store.component}.s3_prefix",
        f"{store.title} has written its tenant's data to S3",
        "objects below the tenant's prefix",
        partial(_judge, component=store.component),
    )
    for store in STORES
)
