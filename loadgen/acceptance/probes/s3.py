"""Asking S3: buckets with the components' own credentials, what each credential may do elsewhere, and TLS.

Nothing is changed: the one write that is tried, to see that it is refused, has a key of its own below
``loadgen-check/`` and is removed again should the bucket take it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from loadgen.acceptance.facts import BucketFacts, LifecycleRule, S3Access, T, Told
from loadgen.buckets.asking import Asking, ServerClock
from loadgen.buckets.tenants import Tenants
from loadgen.config import ConfigError, S3Target, Target
from loadgen.kinds import COMPONENTS
from loadgen.mistakes import REPORT_IT, mistake
from loadgen.model import NS, Component
from loadgen.stores import store_of
from loadgen.targets.blocks import BlockError
from loadgen.targets.connection import ConnectionKind, Transport, Trouble
from loadgen.targets.failures import s3_errors
from loadgen.targets.http import explain_connection, server_of
from loadgen.targets.s3 import error_code, explain_s3, is_not_implemented, list_page, s3_client
from loadgen.targets.tls import tls_context

PROBE_KEY = "loadgen-check/write-probe"
_ABSENT_KEY = "loadgen-check/absent"
_TIMEOUT_S = 8.0
_DENIED = frozenset(
    {"AccessDenied", "AccessForbidden", "AccessDeniedException", "403", "Forbidden", "AllAccessDisabled"}
    | {"Unauthorized", "UnauthorizedAccess"}
)
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

    lacks: list[str] = []

    def unless_lacking(name: str, call: Callable[[Any], T], otherwise: T) -> Callable[[Any], T]:
        """What a bucket's setting is where this S3 does not know such settings."""

        def asked(client: Any) -> T:
            try:
                return call(client)
            except s3_errors() as problem:
                if not is_not_implemented(problem):
                    raise
            lacks.append(name)
            return otherwise

        return asked

    page = told(lambda client: list_page(client, bucket, Delimiter="/"))
    found = page.value or {}
    prefixes = tuple(str(row["Prefix"]) for row in found.get("CommonPrefixes", ()))
    tenant = _tenant(target, component, prefixes)
    objects = told(lambda client: _objects_below(client, bucket, tenant))
    return BucketFacts(
        component=component,
        bucket=bucket,
        own_credential=own is not None,
        listed=Told(len(found.get("Contents", ())) + len(prefixes))
        if page.value is not None
        else Told(error=page.error),
        versioning=setting(unless_lacking("versioning", partial(_versioning, bucket=bucket), "")),
        lifecycle=setting(unless_lacking("lifecycle", partial(_rules, bucket=bucket), ())),
        # What there is not cannot be on.
        object_lock=setting(unless_lacking("object_lock", partial(_object_lock, bucket=bucket), False)),
        prefixes=prefixes,
        tenant=tenant,
        tenant_objects=objects,
        elsewhere=told(lambda client: _places(client, bucket, target, component)).value or ()
        if objects.value == 0
        else (),
        lacks=tuple(lacks),
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
    login = target.store(component)
    store = store_of(component)
    default, other = store.tenant, store.other_tenant
    if target.s3.prefix(component):
        return f"{target.s3.prefix(component)}/{login.tenant or default}"
    if login.tenant:
        return login.tenant
    if other and f"{default}/" not in prefixes and f"{other}/" in prefixes:
        return other
    return default


def _places(client: Any, bucket: str, target: Target, component: Component) -> tuple[str, ...]:
    """Where else in the bucket data of the component lies, as its keys tell."""
    login = target.store(component)
    asking = Asking(client, bucket, time.time_ns, ServerClock())
    tenants = Tenants(asking, component, login.tenant, target.s3.prefix(component))
    for _ in tenants.look(everywhere=True):
        pass
    return tenants.names


def _told(s3: S3Target, bucket: str, call: Callable[[Any], T]) -> Told[T]:
    try:
        return Told(call(_client(s3)))
    except ConfigError as problem:
        return Told(error=str(problem))
    except s3_errors(BlockError) as problem:
        return Told(error=explain_s3(problem, s3, bucket))
    except Exception as problem:  # noqa: BLE001 - one question that cannot be asked must not cost the others
        return Told(error=f"{mistake(problem)}; {REPORT_IT}")


def _client(s3: S3Target) -> Any:
    """A client; ConfigError, too, when the endpoint is no URL."""
    try:
        return s3_client(s3, _TIMEOUT_S)
    except ConfigError:
        raise
    except ValueError as problem:
        raise ConfigError(explain_s3(problem, s3, "")) from problem


def _versioning(client: Any, bucket: str) -> str:
    return str(client.get_bucket_versioning(Bucket=bucket).get("Status", ""))


def _rules(client: Any, bucket: str) -> tuple[LifecycleRule, ...]:
    try:
        raw = client.get_bucket_lifecycle_configuration(Bucket=bucket)
    except s3_errors() as problem:
        if error_code(problem) in _NO_CONFIGURATION:
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
    except s3_errors() as problem:
        if error_code(problem) in _NO_CONFIGURATION:
            return False
        raise
    return (raw.get("ObjectLockConfiguration") or {}).get("ObjectLockEnabled") == "Enabled"


def ask_isolation(target: Target) -> Told[tuple[S3Access, ...]]:
    """What each component's credential may do in the buckets of the two others."""
    logins = {component: target.s3.of(component) for component in COMPONENTS}
    without = [str(component) for component, login in logins.items() if login is None]
    if without:
        sections = ", ".join(f"[s3.{name}]" for name in without)
        return Told(skipped=f"the target has no {sections}: the components' own credentials are needed for this")
    found: list[S3Access] = []
    for other, whose in logins.items():
        bucket = target.s3.bucket(other)
        # A key that is there: of one that is not, S3 tells only those who may list that it is not.
        there = _told(whose or target.s3, bucket, partial(_some_key, bucket=bucket))
        for component, login in logins.items():
            if login is not None and other is not component:
                found += [
                    S3Access(component, bucket, action, _allowed(login, bucket, call, there.value is not None))
                    for action, call in (
                        ("list", partial(_list, bucket=bucket)),
                        ("read", partial(_read, bucket=bucket, key=there.value or _ABSENT_KEY)),
                        ("write", partial(_write, bucket=bucket)),
                    )
                ]
    return Told(tuple(sorted(found, key=lambda one: COMPONENTS.index(one.component))))


def _allowed(s3: S3Target, bucket: str, call: Callable[[Any], bool], is_there: bool) -> Told[bool]:
    """Whether a credential is let; ``is_there``: the bucket's owner sees it."""
    told = _told(s3, bucket, partial(_not_denied, call=call, hidden=is_there))
    return told if told.value is None else Told(told.value)


def _not_denied(client: Any, call: Callable[[Any], bool], hidden: bool) -> bool:
    try:
        return call(client)
    except s3_errors() as problem:
        code = error_code(problem)
        # Some servers do not show a bucket at all to those who have nothing to do with it.
        if code in _DENIED or (hidden and code == "NoSuchBucket"):
            return False
        raise


def _some_key(client: Any, bucket: str) -> str:
    """A key that is there; empty if the bucket is."""
    return next((str(one["Key"]) for one in list_page(client, bucket, MaxKeys=1).get("Contents") or ()), "")


def _list(client: Any, bucket: str) -> bool:
    list_page(client, bucket, MaxKeys=1)
    return True


def _read(client: Any, bucket: str, key: str) -> bool:
    """A read of one byte; who may not read gets 403 before anybody looks, who may also gets 404 or 416."""
    try:
        client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")["Body"].close()
    except s3_errors() as problem:
        if error_code(problem) not in ("NoSuchKey", "404", "InvalidRange", "416"):
            raise
    return True


def _write(client: Any, bucket: str) -> bool:
    client.put_object(Bucket=bucket, Key=PROBE_KEY, Body=b"loadgen check: this credential may write here")
    # It was let; that it may not delete as well does not make that good.
    with contextlib.suppress(*s3_errors()):
        client.delete_object(Bucket=bucket, Key=PROBE_KEY)
    return True


def ask_tls(s3: S3Target) -> Told[str]:
    """``verified`` for HTTPS with a good certificate, ``plain`` for HTTP, ``refused: …`` for a bad certificate."""
    url = urlsplit(s3.endpoint)
    if url.scheme != "https":
        return Told("plain")
    try:
        server, _ = server_of(s3.endpoint, s3)
        # What is asked is whether the certificate is good, also where the target does not insist on it.
        server = replace(server, context=tls_context(s3, verify=True))
        Transport(server).handshake(_TIMEOUT_S)
    except (ConfigError, ValueError) as problem:
        return Told(error=str(problem))
    except Trouble as trouble:
        if trouble.kind is ConnectionKind.TLS:
            cause = trouble.said
            return Told(f"refused: {getattr(cause, 'verify_message', '') or getattr(cause, 'reason', '') or cause}")
        return Told(error=explain_connection(server, trouble, _TIMEOUT_S))
    return Told("verified")
