"""Which way botocore's requests go: by our transport, so that proxies, certificates and the deadline are the target's.

botocore asks whoever listens to ``before-send`` whether they have the answer already; we always have. Its session knows
nothing of the environment, of ``~/.aws`` and of the machine's own credentials: only the target's keys count.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore import exceptions as theirs
from botocore.awsrequest import AWSResponse
from botocore.credentials import CredentialResolver
from botocore.loaders import Loader

from loadgen.config import S3Target
from loadgen.targets.connection import ConnectionKind, Transport, Trouble
from loadgen.targets.http import MAY_WANT_CERTIFICATE, proxy_trouble, server_of


def isolated_session() -> botocore.session.Session:
    """A session that only knows what it is told."""
    variables = botocore.session.Session.SESSION_VARIABLES
    without_sources = {name: (None, None, one[2], one[3]) for name, one in variables.items()}
    for name in ("config_file", "credentials_file"):
        without_sources[name] = (None, None, os.devnull, None)
    session = botocore.session.Session(session_vars=without_sources)
    session.register_component("credential_provider", CredentialResolver(providers=[]))
    session.register_component("data_loader", _loader())
    return session


@functools.cache
def _loader() -> Loader:
    """The descriptions of services that come with botocore: they never change, and take long to read."""
    return Loader()


class S3Sender:
    """Sends the requests of one client.

    Args:
        target: whom to trust, which proxy to go by, what headers to add.
        timeout_s: limit of one attempt, from the look-up of the name to the last byte.
        connections: idle connections that are kept to each host.

    Raises:
        ConfigError: a file or a proxy cannot be used.
        ValueError: the endpoint is no URL.
    """

    def __init__(self, target: S3Target, timeout_s: float, connections: int) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._connections = connections
        self._headers = target.secret_headers()
        self._transports: dict[str, Transport] = {}
        if target.endpoint:
            self._transport(target.endpoint)

    def __call__(self, request: Any, **_: object) -> AWSResponse:
        """The answer to one request. Raises what botocore's own session raises."""
        url = urlsplit(request.url)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        headers = {name: _text(value) for name, value in request.headers.items()} | self._headers
        try:
            answer = self._transport(request.url).ask(
                request.method,
                target,
                headers,
                request.body,
                self._timeout_s,
                repeatable=request.method in ("GET", "HEAD"),
                decode=False,
            )
        except Trouble as trouble:
            raise self._as_theirs(trouble, request) from trouble
        return AWSResponse(request.url, answer.status, dict(answer.headers.items()), _Body(answer.body))

    def _transport(self, url: str) -> Transport:
        """The transport to the host of a URL: with virtual addresses every bucket has its own."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._transports:
            self._transports[origin] = Transport(server_of(origin, self._target)[0], self._connections)
        return self._transports[origin]

    def _as_theirs(self, trouble: Trouble, request: Any) -> Exception:
        url, said = request.url.partition("?")[0], str(trouble.said)
        made: Exception
        if trouble.at_proxy:
            made = theirs.ProxyConnectionError(proxy_url=proxy_trouble(trouble, said, self._timeout_s))
        elif trouble.kind is ConnectionKind.TLS or trouble.after_handshake:
            made = theirs.SSLError(endpoint_url=url, error=said + trouble.after_handshake * MAY_WANT_CERTIFICATE)
        elif trouble.kind is ConnectionKind.CONNECT_TIMEOUT:
            made = theirs.ConnectTimeoutError(endpoint_url=url, error=said)
        elif trouble.kind is ConnectionKind.TIMEOUT:
            made = theirs.ReadTimeoutError(endpoint_url=url, error=said)
        elif trouble.kind is ConnectionKind.BROKEN:
            made = theirs.ConnectionClosedError(endpoint_url=url, error=said, request=request)
        elif trouble.kind is ConnectionKind.ANSWER:
            made = theirs.HTTPClientError(error=said)
        else:
            made = theirs.EndpointConnectionError(endpoint_url=url, error=said)
        return made


class _Body(io.BytesIO):
    """A body that is here already, behind the methods of urllib3's that botocore uses."""

    def stream(self, amt: int = 1 << 16, **_: object) -> Iterator[bytes]:
        """Its pieces."""
        while piece := self.read(amt):
            yield piece


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def style_of(target: S3Target) -> Mapping[str, str]:
    """How addresses of buckets are made: with the bucket in the path, unless the target or its S3 wants it in front."""
    if target.addressing_style != "auto":
        return {"addressing_style": target.addressing_style}
    host = (urlsplit(target.endpoint).hostname or "").rstrip(".")
    return {"addressing_style": "virtual" if host.endswith(_ONLY_VIRTUAL) else "path"}


_ONLY_VIRTUAL = (".amazonaws.com", ".amazonaws.com.cn", ".aliyuncs.com", ".myqcloud.com", ".volces.com")
"""Hosts of those S3s that are known to refuse a bucket in the path, or to be about to."""
