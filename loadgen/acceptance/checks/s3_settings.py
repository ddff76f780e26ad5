"""How the buckets are set: versioning, lifecycle rules, object lock."""

from __future__ import annotations

from loadgen.acceptance.checks.base import broken, check_of, not_told, ok, skipped, untold, worst
from loadgen.acceptance.facts import BucketFacts, Deployment, LifecycleRule
from loadgen.judging import Finding
from loadgen.model import Component

MAX_DAYS = 30
_MAY_READ = "the credential must be allowed to read the bucket's settings (s3:GetBucket…), or look at them by hand"


def _bucket(found: Deployment, component: Component) -> BucketFacts | Finding:
    if found.s3.value is None:
        return skipped(found.s3.skipped or found.s3.error, "give the target an [s3] section")
    bucket = next((one for one in found.buckets if one.component is component), None)
    return bucket or untold("the bucket was not asked for", "run loadgen check again")


def _versioning(found: Deployment) -> Finding:
    bucket = _bucket(found, Component.LOKI)
    if isinstance(bucket, Finding):
        return bucket
    missing = not_told(bucket.versioning, _MAY_READ)
    if missing is not None:
        return missing
    if "versioning" in bucket.lacks:
        remedy = "keep Loki's chunks in an S3 that can keep versions, or judge without this promise: this S3 cannot"
        return broken(f"{bucket.bucket}: this S3 does not know versioning (not implemented)", remedy)
    status = bucket.versioning.value or "never enabled"
    if status == "Enabled":
        return ok(f"enabled on {bucket.bucket}")
    remedy = (
        f"enable it: aws s3api put-bucket-versioning --bucket {bucket.bucket} --versioning-configuration Status=Enabled"
    )
    return broken(f"{status} on {bucket.bucket}", remedy)


def _lifecycle(found: Deployment) -> Finding:
    return worst([_expires(found), _old_versions(found)], "no bucket was asked for", "")


def _whole(rule: LifecycleRule, bucket: BucketFacts) -> bool:
    """A rule for the whole bucket, or at least for its tenant's objects."""
    known = rule.prefix.rstrip("/") in ("", "single-tenant", "fake")
    return rule.enabled and (known or f"{bucket.tenant}/".startswith(rule.prefix))


def _expires(found: Deployment) -> Finding:
    bucket = _bucket(found, Component.TEMPO)
    if isinstance(bucket, Finding):
        return bucket
    missing = not_told(bucket.lifecycle, _MAY_READ)
    if missing is not None:
        return missing
    if "lifecycle" in bucket.lacks:
        remedy = (
            f"this S3 cannot delete by itself: let Tempo do it (compaction.block_retention ≤ {24 * MAX_DAYS}h), or use "
            "an S3 that knows lifecycle rules"
        )
        return broken(f"{bucket.bucket}: this S3 does not know lifecycle rules (not implemented)", remedy)
    days = [rule.days for rule in bucket.lifecycle.value or () if _whole(rule, bucket) and rule.days]
    if days and min(days) <= MAX_DAYS:
        return ok(f"{bucket.bucket}: deleted after {min(days)} days")
    remedy = f"add a lifecycle rule to {bucket.bucket} that expires all objects after {MAX_DAYS} days or fewer"
    said = f"deleted after {min(days)} days" if days else "no rule deletes anything"
    return broken(f"{bucket.bucket}: {said}", remedy)


def _old_versions(found: Deployment) -> Finding:
    bucket = _bucket(found, Component.LOKI)
    if isinstance(bucket, Finding):
        return bucket
    missing = not_told(bucket.lifecycle, _MAY_READ) or not_told(bucket.versioning, _MAY_READ)
    if missing is not None:
        return missing
    if bucket.versioning.value != "Enabled":
        return ok(f"{bucket.bucket}: no versions to expire")
    if "lifecycle" in bucket.lacks:
        remedy = f"delete old versions in {bucket.bucket} in another way, or turn versioning off: they fill the disk"
        return broken(f"{bucket.bucket}: old versions are kept, and this S3 does not know lifecycle rules", remedy)
    days = [
        rule.noncurrent_days for rule in bucket.lifecycle.value or () if _whole(rule, bucket) and rule.noncurrent_days
    ]
    if days:
        return ok(f"{bucket.bucket}: old versions deleted after {min(days)} days")
    remedy = (
        f"add a rule with NoncurrentVersionExpiration to {bucket.bucket}: with versioning on, what Loki's retention "
        "deletes stays as an old version and fills the disk"
    )
    return broken(f"{bucket.bucket}: old versions are kept for ever", remedy)


def _object_lock(found: Deployment) -> Finding:
    bucket = _bucket(found, Component.MIMIR)
    if isinstance(bucket, Finding):
        return bucket
    missing = not_told(bucket.object_lock, _MAY_READ)
    if missing is not None:
        return missing
    if "object_lock" in bucket.lacks:
        return ok(f"off on {bucket.bucket}: this S3 does not know object lock")
    if not bucket.object_lock.value:
        return ok(f"off on {bucket.bucket}")
    remedy = (
        f"make {bucket.bucket} anew without object lock (it cannot be turned off): Mimir's compactor must delete blocks"
    )
    return broken(f"on for {bucket.bucket}", remedy)


CHECKS = (
    check_of(
        "s3.versioning",
        "versioning is enabled on Loki's bucket",
        "enabled",
        _versioning,
    ),
    check_of(
        "s3.lifecycle",
        "Tempo's bucket deletes by itself, and old versions in Loki's go too",
        f"≤ {MAX_DAYS} days",
        _lifecycle,
    ),
    check_of("s3.object_lock", "object lock is off on Mimir's bucket", "off", _object_lock),
)
