"""The three buckets exist and are reachable with the components' own credentials."""

from __future__ import annotations

from loadgen.acceptance.checks.base import broken, check_of, ok, skipped, untold, worst
from loadgen.acceptance.facts import BucketFacts, Deployment
from loadgen.judging import Finding

_SET_S3 = "give the target an [s3] section with endpoint and credential"


def _one(bucket: BucketFacts) -> Finding:
    whose = "its own credential" if bucket.own_credential else "loadgen's credential"
    if bucket.listed.value is None:
        error = bucket.listed.error
        text = f"{bucket.component}: {bucket.bucket} cannot be listed with {whose}: {error}"
        # S3 itself answered: the bucket or the credential is wrong. Without an answer nothing is known.
        if any(
            word in error for word in ("NoSuchBucket", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")
        ):
            remedy = (
                f"create the bucket {bucket.bucket}, and let {bucket.component}'s credential list, read and write in it"
            )
            return broken(f"{bucket.bucket}: not usable", remedy, text)
        return untold(text, "see that S3 runs, and that its endpoint and certificate are right in the target")
    text = f"{bucket.component}: {bucket.bucket} listed with {whose}, {bucket.listed.value} entries on its first level"
    return ok(f"{bucket.bucket}", 1, text)


def _judge(found: Deployment) -> Finding:
    if found.s3.value is None:
        return skipped(found.s3.skipped or found.s3.error, _SET_S3)
    return worst([_one(bucket) for bucket in found.buckets], "no bucket was asked for", _SET_S3)


CHECKS = (
    check_of(
        "s3.buckets",
        "the three buckets exist, and each component's credential can use its own",
        "3 of 3 reachable",
        _judge,
    ),
)
