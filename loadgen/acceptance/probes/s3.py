"""Asking S3: buckets with the components' own credentials, what each credential may do elsewhere, and TLS.

Nothing is changed: the one write that is tried, to see that it is refused, has a key of its own below
``loadgen-check/`` and is removed again should the bucket take it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from loadgen.acceptance.facts import Access, BucketFacts, LifecycleRule, T, Told
from loadgen.config import ConfigError, S3Target, Target
from loadgen.model import NS, Component
from loadgen.targets.s3 import explain_s3, list_page, s3_client

COMPONENTS = (Component.LOKI, Component.TEMPO, Component.MIMIR)
TENANTS = {Component.LOKI: "fake", Component.TEMPO: "single-tenant", Component.MIMIR: "anonymous"}
"""The names that the servers give to the one tenant of a stack without tenants."""

PROBE_KEY = "loadgen-check/write-probe"
_ABSENT_KEY = "loadgen-check/absent"
_TIMEOUT_S = 8.0
_DENIED = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "Unauthorized"})
_NO_CONFIGURATION = frozenset(
    {"NoSuchLifecycleConfiguration", "ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration"}
)


def ask_buckets(target: Target) -> tuple[BucketFacts, ...]:
    """The three buckets, each with the component's own credential, or with loadgen's where the target has no other."""
    return tuple(_bucket(target, component) for component in COMPONENTS)


def _bucket(target: Target, component: Component) -> BucketFacts:
    own = target.s3.of(component)
    s3 = own or target.s3
    bucket = s3.bucket(component)

    def told(call: Callable[[Any], T]) -> Told[T]:
        return _told(s3, bucket, call)

    def setting(call: Callable[[Any], T]) -> Told[T]:
        """A component's own credential rarely may read its bucket's settings; loadgen's may."""
        first = told(call)
        return first if first.value is not None or own is None else _told(target.s3, bucket, call)

    page = told(lambda client: list_page(client, bucket, Delimiter="/"))
    found = page.value or {}
    prefixes = tuple(str(row["Prefix"]) for row in found.get("CommonPrefixes", ()))
    tenant = _tenant(target, component, prefixes)
    return BucketFacts(
        component=component,
        bucket=bucket,
        own_credential=own is not None,
        listed=Told(len(found.get("Contents", ())) + len(prefixes))
        if page.value is not None
        else Told(error=page.error),
        versioning=setting(lambda client: str(client.get_bucket_versioning(Bucket=bucket).get("Status", ""))),
        lifecycle=setting(lambda client: _rules(client, bucket)),
        object_lock=setting(lambda client: _object_lock(client, bucket)),
        prefixes=prefixes,
        tenant=tenant,
        tenant_objects=told(lambda client: _objects_below(client, bucket, tenant)),
    )


def ask_prefixes(
    target: Target,
    buckets: tuple[BucketFacts, ...],
    clock: Callable[[], int],
    sleep: Callable[[float], None],
    wait_s: float,
) -> tuple[BucketFacts, ...]:
    """The buckets again, until each holds an object of its tenant or ``wait_s`` is over."""
    give_up_ns = clock() + round(wait_s * NS)
    found = buckets
    while True:
        found = tuple(one if one.tenant_objects.value else _bucket(target, one.component) for one in found)
        if all(one.tenant_objects.value or one.tenant_objects.error for one in found) or clock() > give_up_ns:
            return found
        sleep(1.0)


def _objects_below(client: Any, bucket: str, tenant: str) -> int:
    return len(list_page(client, bucket, Prefix=f"{tenant}/").get("Contents", ()))


def _tenant(target: Target, component: Component, prefixes: tuple[str, ...]) -> str:
    """The tenant's directory: the configured one, else the server's own name, else (Cortex) what stands there."""
    login = {Component.LOKI: target.loki, Component.TEMPO: target.tempo, Component.MIMIR: target.mimir}[component]
    default = TENANTS[component]
    if component is Component.MIMIR and target.s3.mimir_prefix:
        return f"{target.s3.mimir_prefix}/{login.tenant or default}"
    if login.tenant:
        return login.tenant
    if component is Component.MIMIR and f"{default}/" not in prefixes and "fake/" in prefixes:
        return "fake"
    return default


def _told(s3: S3Target, bucket: str, call: Callable[[Any], T]) -> Told[T]:
    try:
        return Told(call(s3_client(s3, _TIMEOUT_S)))
    except ConfigError as problem:
        return Told(error=str(problem))
    except Exception as problem:  # botocore has no base class for everything that it raises
        return Told(error=explain_s3(problem, s3, bucket))


def _code(problem: Exception) -> str:
    response = getattr(problem, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _rules(client: Any, bucket: str) -> tuple[LifecycleRule, ...]:
    try:
        raw = client.get_bucket_lifecycle_configuration(Bucket=bucket)
    except Exception as problem:
        if _code(problem) in _NO_CONFIGURATION:
            return ()
        raise
    return tuple(
        LifecycleRule(
            enabled=rule.get("Status") == "Enabled",
            prefix=str(rule.get("Prefix") or (rule.get("Filter") or {}).get("Prefix") or ""),
            days=int((rule.get("Expiration") or {}).get("Days", 0)),
            noncurrent_days=int((rule.get("NoncurrentVersionExpiration") or {}).get("NoncurrentDays", 0)),
        )
        for rule in raw.get("Rules", ())
    )


def _object_lock(client: Any, bucket: str) -> bool:
    try:
        raw = client.get_object_lock_configuration(Bucket=bucket)
    except Exception as problem:
        if _code(problem) in _NO_CONFIGURATION:
            return False
        raise
    return (raw.get("ObjectLockConfiguration") or {}).get("ObjectLockEnabled") == "Enabled"


def ask_isolation(target: Target) -> Told[tuple[Access, ...]]:
    """What each component's credential may do in the buckets of the two others."""
    logins = {component: target.s3.of(component) for component in COMPONENTS}
    without = [str(component) for component, login in logins.items() if login is None]
    if without:
        sections = ", ".join(f"[s3.{name}]" for name in without)
        return Told(skipped=f"the target has no {sections}: the components' own credentials are needed for this")
    found: list[Access] = []
    for component, login in logins.items():
        for other in COMPONENTS:
            if login is not None and other is not component:
                bucket = target.s3.bucket(other)
                found += [
                    Access(component, bucket, action, _allowed(login, bucket, partial(call, bucket=bucket)))
                    for action, call in (("list", _list), ("read", _read), ("write", _write))
                ]
    return Told(tuple(found))


def _allowed(s3: S3Target, bucket: str, call: Callable[[Any], object]) -> Told[bool]:
    try:
        call(s3_client(s3, _TIMEOUT_S))
    except ConfigError as problem:
        return Told(error=str(problem))
    except Exception as problem:
        if _code(problem) in _DENIED:
            return Told(False)
        return Told(error=explain_s3(problem, s3, bucket))
    return Told(True)


def _list(client: Any, bucket: str) -> None:
    list_page(client, bucket, MaxKeys=1)


def _read(client: Any, bucket: str) -> None:
    """A read of a key that is not there: who may read gets 404, who may not gets 403 before anybody looks."""
    try:
        client.get_object(Bucket=bucket, Key=_ABSENT_KEY)["Body"].close()
    except Exception as problem:
        if _code(problem) not in ("NoSuchKey", "404"):
            raise


def _write(client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key=PROBE_KEY, Body=b"loadgen check: this credential may write here")
    client.delete_object(Bucket=bucket, Key=PROBE_KEY)


def ask_tls(s3: S3Target) -> Told[str]:
    """``verified`` for HTTPS with a good certificate, ``plain`` for HTTP, ``refused: …`` for a bad certificate."""
    url = urlsplit(s3.endpoint)
    if url.scheme != "https":
        return Told("plain")
    try:
        context = ssl.create_default_context(cafile=s3.ca_file or None)
    except OSError as problem:
        return Told(error=f"the ca_file {s3.ca_file} cannot be used ({problem}); name a PEM file")
    host, port = url.hostname or "", url.port or 443
    try:
        with (
            socket.create_connection((host, port), _TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            secure.getpeercert()
    except ssl.SSLCertVerificationError as problem:
        return Told(f"refused: {problem.verify_message}")
    except ssl.SSLError as problem:
        return Told(f"refused: {problem.reason or problem}")
    except OSError as problem:
        return Told(error=f"{host}:{port}: no connection ({problem}); check the endpoint")
    return Told("verified")
