"""S3 is spoken to by HTTPS only, and the endpoint is written as each server wants it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from loadgen.audit.components import Storage, all_sources, storages
from loadgen.audit.rule import Remark, Remarks, absent, fine, rule_of, unknown_value, unsure, wrong
from loadgen.audit.secrets import expanded
from loadgen.audit.stack import COMPONENTS, Effective, Release, Stack


def _judge(stack: Stack) -> Remarks:
    for component in COMPONENTS:
        releases = stack.of(component)
        if not releases:
            yield absent(component)
        for release in releases:
            found = storages(release)
            if not found:
                yield unsure(release, f"{component}: no S3 storage is set", f"set the storage of {component} to s3")
            for storage in found:
                yield from _one(stack, release, storage)


def _one(stack: Stack, release: Release, storage: Storage) -> Iterator[Remark]:
    name = f"{release.component}: {storage.name}"
    insecure, endpoint = storage.insecure, storage.endpoint
    if not insecure.known:
        yield unknown_value(insecure, f"{name}: whether TLS is off")
    elif str(insecure.value).lower() == "true":
        yield wrong(
            insecure, f"{name}: insecure is on, so S3 is spoken to without TLS", f"set {insecure.path} to false"
        )
    if endpoint.hidden:
        yield unknown_value(endpoint, f"{name}: the endpoint")
        return
    if endpoint.unset:
        yield wrong(endpoint, f"{name}: no endpoint is set", f"set {endpoint.path}, e.g. to s3.example.com")
        return
    value = expanded(stack, endpoint, all_sources(release))
    if value.text is None:
        yield unsure(
            endpoint,
            f"{name}: the endpoint cannot be seen: {value.why}",
            "leave S3_ENDPOINT readable: sops --encrypted-regex '^S3_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)$'",
        )
        return
    yield from _endpoint(release, name, endpoint, value.text)


def _endpoint(release: Release, name: str, endpoint: Effective, text: str) -> Iterator[Remark]:
    scheme, separator, rest = text.rpartition("://")
    host = _host(rest if separator else text)
    if not host:
        yield wrong(
            endpoint, f"{name}: the endpoint is empty", "set it to the host of the S3 server, e.g. s3.example.com"
        )
    elif separator and scheme.lower() != "https":
        yield wrong(endpoint, f"{name}: the endpoint begins with {scheme}://", f"use {_right(release, host)}")
    elif separator and release.component != "loki":
        yield wrong(
            endpoint,
            f"{name}: the endpoint begins with https://, which {release.component.capitalize()} refuses",
            f"write host[:port] alone, {host}; with insecure off it is HTTPS all the same",
        )
    elif re.search(r":80$", host):
        yield wrong(endpoint, f"{name}: the endpoint has port 80", "use the port that speaks TLS, e.g. 443")
    else:
        yield fine(endpoint, f"{name}: HTTPS to {host}")


def _right(release: Release, host: str) -> str:
    return f"https://{host}" if release.component == "loki" else host


def _host(text: str) -> str:
    """Host and port, without a path, and without credentials that someone wrote before it."""
    return text.rpartition("@")[2].partition("/")[0]


RULE = rule_of(
    "https_s3",
    "S3 endpoints are HTTPS, and host:port without a scheme where the server wants it so",
    _judge,
)
