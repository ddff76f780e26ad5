"""Who may do what in S3, and by which way: credentials kept apart, and TLS."""

from __future__ import annotations

import re

from loadgen.acceptance.checks.base import broken, check_of, not_told, ok, skipped, untold
from loadgen.acceptance.facts import Deployment
from loadgen.judging import Finding

_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/|$)")
_OWN = "name the components' own credentials in [s3.loki], [s3.tempo] and [s3.mimir] of the target"


def _isolation(found: Deployment) -> Finding:
    missing = not_told(found.isolation, _OWN)
    if missing is not None:
        return missing
    tried = found.isolation.value or ()
    if not tried:
        return untold("nothing was tried", _OWN)
    let = [one for one in tried if one.allowed.value]
    unclear = [one for one in tried if one.allowed.value is None]
    evidence = [f"{one.component}'s credential may {one.action} in {one.bucket}" for one in let]
    if let:
        remedy = "give each credential a policy for its own bucket only (list, read, write, delete)"
        return broken(f"{len(let)} of {len(tried)} were let", remedy, *evidence, samples=len(tried))
    if unclear:
        first = unclear[0]
        why = f"{first.component}'s credential, {first.action} in {first.bucket}: {first.allowed.error}"
        return untold(why, "see that S3 answers, then run loadgen check again")
    return ok(f"{len(tried)} of {len(tried)} denied", len(tried))


def _tls(found: Deployment) -> Finding:
    missing = not_told(found.tls, "see that the endpoint is right and S3 runs")
    if missing is not None:
        return missing
    told = found.tls.value or ""
    if told == "verified":
        return ok("HTTPS, the certificate verifies")
    if told == "plain" and _LOOPBACK.match(found.s3.value or ""):
        return skipped("S3 is on this very machine, so nothing travels", "check the address that the cluster uses")
    if told == "plain":
        remedy = "serve S3 by HTTPS and put https:// into the target and the components' configuration"
        return broken(f"{found.s3.value} is plain HTTP: keys and data are readable on the way", remedy)
    return broken(told, "install a certificate for this host name, or name its authority's PEM file in [s3] ca_file")


CHECKS = (
    check_of(
        "s3.isolation",
        "each component's credential is denied in the two other buckets",
        "list, read and write denied",
        _isolation,
    ),
    check_of("s3.tls", "S3 is reached by HTTPS with a good certificate", "verified", _tls),
)
