"""Pushing traces by OTLP/gRPC, as bytes that are already serialized, with the same outcomes as by HTTP."""

from __future__ import annotations

import base64
import random as _random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from loadgen.config import ConfigError
from loadgen.config.access import Access
from loadgen.config.target import Login
from loadgen.model import GRPC_STATUS
from loadgen.push.retry import Attempt, AttemptStep, PushPolicy, PushResult, partial_success_of, push_with_retries
from loadgen.targets.hiding import Hiding, hiding_of, url_without_secrets
from loadgen.targets.http import USER_AGENT, login_headers
from loadgen.targets.proxies import proxy_of
from loadgen.targets.tls import authorities, client_certificate, tls_context

EXPORT_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_OPTIONS = (
    ("grpc.primary_user_agent", USER_AGENT),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 16 << 20),
    # By default gRPC waits up to two minutes between connections, which would look like the server's recovery time.
    ("grpc.initial_reconnect_backoff_ms", 200),
    # This one is no wait, it is the limit of an attempt to connect, with its TLS handshake.
    ("grpc.min_reconnect_backoff_ms", 3000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Channels to the same address would otherwise share one connection.
    ("grpc.use_local_subchannel_pool", 1),
)
_ADVICE = {
    "UNAUTHENTICATED": "user, password or token are missing or wrong; check the target's login",
    "PERMISSION_DENIED": "the login is known but not allowed to do this",
    "UNIMPLEMENTED": "no OTLP trace service here; check that the port is Tempo's OTLP/gRPC port",
    "RESOURCE_EXHAUSTED": "over the server's limits; lower the rate, or raise the limits",
    "INVALID_ARGUMENT": "the server refuses the content",
    "DEADLINE_EXCEEDED": "no answer in time; the server is slow or stuck, or set more time",
    "UNAVAILABLE": "check that the server runs, that the port is right, and TLS on both sides",
}
# What the OTLP specification lets a client ask again, beside RESOURCE_EXHAUSTED with a RetryInfo.
_RETRIED = frozenset(("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"))
_REJECTED = frozenset(
    ("INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED", "FAILED_PRECONDITION",
     "RESOURCE_EXHAUSTED")
)  # fmt: skip
_METADATA_NAME = re.compile(r"[a-z0-9_.-]+")
_NEVER_SENT = ("failed to connect", "connection refused", "dns resolution failed", "name resolution", "handshake")


class GrpcPusher:
    """Pushes serialized ``ExportTraceServiceRequest`` bytes to one OTLP/gRPC endpoint.

    Works with threads, and with greenlets after ``grpc.experimental.gevent.init_gevent()``.

    Args:
        address: ``host:port``; ``https://`` in front for TLS, ``http://`` is allowed and means none.
        login: whom to authenticate as and whom to trust; None for nobody.
        policy, clock, sleep, random: as for `HttpPusher`.
    """

    def __init__(
        self,
        address: str,
        login: Login | None,
        policy: PushPolicy,
        clock: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._sleep = sleep
        self._random = random
        way = channel_way(address, login)
        self._where = "grpc://" + url_without_secrets(address).rpartition("://")[2] + way.told
        self._hide = hiding_of(login)
        self._metadata = grpc_metadata(login)
        self._channel = _channel(way)
        self._export: Callable[..., bytes] = self._channel.unary_unary(EXPORT_METHOD)

    @property
    def where(self) -> str:
        """The address as it may be shown."""
        return self._where

    def push(self, body: bytes | memoryview) -> PushResult:
        """Push one body, with retries. Raises nothing for what network or server do."""
        content = bytes(body)
        return push_with_retries(lambda: self._attempt(content), self._policy, self._sleep, self._random)

    def close(self) -> None:
        """Close the channel; the pusher cannot be used any more."""
        self._channel.close()

    def _attempt(self, content: bytes) -> Attempt:
        sent_ns = self._clock()
        try:
            answer = self._export(content, timeout=self._policy.timeout_s, metadata=self._metadata)
        except grpc.RpcError as problem:
            return failed_attempt(problem, self._where, sent_ns, self._clock(), self._hide)
        except ValueError as problem:
            # The channel was closed while a push was under way.
            return Attempt(
                AttemptStep.UNKNOWN, 0, f"{self._where}: {self._hide.brief(problem)}", sent_ns, self._clock()
            )
        done_ns = self._clock()
        refused = partial_success_of(answer) if len(answer) > 2 else ""
        step = AttemptStep.UNKNOWN if refused else AttemptStep.ACCEPTED
        return Attempt(step, GRPC_STATUS, f"{self._where}: {refused}" if refused else "", sent_ns, done_ns)


def failed_attempt(problem: Any, where: str, sent_ns: int, done_ns: int, hide: Hiding | None = None) -> Attempt:
    """What a failed call means; ``problem`` is the call or its error, ``where`` names the address."""
    code = problem.code()
    name: str = code.name
    said = (hide or Hiding(())).brief(problem.details()) if problem.details() else ""
    advice = _ADVICE.get(name, "see the server's log")
    text = f"{where}: {name}" + (f", {said!r}" if said else "") + f"; {advice}"
    asked_s = _retry_info_s(problem)
    if name == "RESOURCE_EXHAUSTED" and asked_s is not None:
        step = AttemptStep.AGAIN
    elif name in _RETRIED:
        never = name == "UNAVAILABLE" and any(sign in said.lower() for sign in _NEVER_SENT)
        step = AttemptStep.AGAIN if never else AttemptStep.AGAIN_UNSURE
    else:
        step = AttemptStep.REJECTED if name in _REJECTED else AttemptStep.UNKNOWN
    return Attempt(step, GRPC_STATUS + code.value[0], text, sent_ns, done_ns, asked_s or 0.0)


def split_address(address: str) -> tuple[str, bool]:
    """``host:port`` and whether TLS is wanted; ConfigError when it is neither."""
    scheme, _, rest = address.rpartition("://")
    host, _, port = rest.rstrip("/").rpartition(":")
    if scheme not in ("", "http", "https") or not host or not port.isdigit():
        shown = url_without_secrets(address)
        raise ConfigError(f"[tempo] otlp_grpc: {shown!r} is not an address; write it like tempo:4317")
    return rest.rstrip("/"), scheme == "https"


def channel_credentials(login: Login | None) -> Any:
    """TLS credentials for a login; ConfigError when they cannot be made."""
    if login is not None and not login.verify_tls:
        raise ConfigError(
            "[tempo] verify_tls = false: not possible by gRPC; give the certificate as ca_file, or use otlp_http"
        )
    access = login or Access()
    try:
        # As gRPC says nothing of files that do not fit, the same are tried by OpenSSL first.
        tls_context(access)
        certificate, key = client_certificate(access) or (None, None)
        return grpc.ssl_channel_credentials(authorities(access), key, certificate)
    except ConfigError as problem:
        raise ConfigError(f"[tempo] {problem}") from problem


@dataclass(frozen=True, slots=True)
class ChannelWay:
    """How a channel reaches its server.

    Attributes:
        target: whom the channel connects to: the server, or its proxy.
        credentials: for TLS; None for none.
        options: for that way, and for no other that gRPC would take from the environment.
        told: the way in words, for after the address; empty for a direct one.
    """

    target: str
    credentials: Any
    options: tuple[tuple[str, Any], ...]
    told: str


def channel_way(address: str, login: Login | None) -> ChannelWay:
    """How to reach an OTLP/gRPC endpoint; ConfigError when address, files or proxy cannot be used."""
    host_port, secure = split_address(address)
    host, _, port = host_port.rpartition(":")
    host = host.strip("[]")
    proxy = proxy_of("https" if secure else "http", host, int(port), login)
    credentials = channel_credentials(login) if secure else None
    # gRPC has rules of its own for the variables of proxies; we have decided already.
    options: tuple[tuple[str, Any], ...] = (("grpc.enable_http_proxy", 0),)
    if proxy is None:
        return ChannelWay(host_port, credentials, options, "")
    options += (("grpc.http_connect_server", host_port), ("grpc.default_authority", host_port))
    if proxy.login:
        headers = "\n".join(f"{name}:{value}" for name, value in proxy.headers().items())
        options += (("grpc.http_connect_headers", headers),)
    if secure:
        options += (("grpc.ssl_target_name_override", host),)
    target = proxy.url.partition("://")[2]
    return ChannelWay(target, credentials, options, f" (by way of {proxy.told})")


def grpc_metadata(login: Login | None) -> tuple[tuple[str, str], ...]:
    """Login and additional headers as metadata; ConfigError, without the value, for what gRPC cannot carry."""
    found = tuple((name.lower(), value) for name, value in login_headers(login).items())
    for name, value in found:
        if not _METADATA_NAME.fullmatch(name) or name.endswith("-bin") or name.startswith("grpc-"):
            raise ConfigError(f"[tempo] headers: {name} is no name that gRPC takes; rename it, or use otlp_http")
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"[tempo] {name}: gRPC takes only ASCII in it; change it, or use otlp_http")
    return found


def _channel(way: ChannelWay) -> Any:
    options = (*_OPTIONS, *way.options)
    if way.credentials is not None:
        return grpc.secure_channel(way.target, way.credentials, options=options)
    return grpc.insecure_channel(way.target, options=options)


def _retry_info_s(problem: Any) -> float | None:
    """The delay of a ``google.rpc.RetryInfo`` in a failed call's details; None without one."""
    from google.protobuf.message import DecodeError
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    for name, value in problem.trailing_metadata() or ():
        if name != "grpc-status-details-bin":
            continue
        raw = value if isinstance(value, bytes) else base64.b64decode(value + "==")
        try:
            for detail in Status.FromString(raw).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    delay = info.retry_delay
                    return float(delay.seconds) + float(delay.nanos) / 1e9
        except DecodeError:
            return None
    return None
