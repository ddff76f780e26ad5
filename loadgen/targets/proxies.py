"""Which proxy a request goes by: one rule for HTTP, gRPC, the SDK, S3 and the cluster's API.

A section's own ``proxy`` wins. Without it the variables count that curl reads: ``http_proxy``, ``https_proxy`` and
``all_proxy``, in either case (curl leaves ``HTTP_PROXY`` out, Go does not; people set it and mean it). They never count
for this machine itself, nor for what ``no_proxy`` names: hosts and their subdomains, with or without a port, addresses,
networks.
"""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from loadgen.config import ConfigError
from loadgen.config.access import NO_PROXY, Proxied, split_login

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_DEFAULT_PORT = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        host, port: where it listens.
        source: the variable or setting that names it.
        login: ``user:password``; empty for none.
    """

    host: str
    port: int
    source: str
    login: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """Its address, without the login."""
        return f"http://{_bracketed(self.host)}:{self.port}"

    @property
    def told(self) -> str:
        """For messages: which one, and who says so."""
        return f"the proxy {self.url} of {self.source}"

    def headers(self) -> dict[str, str]:
        """What the proxy itself wants to see."""
        if not self.login:
            return {}
        return {"Proxy-Authorization": "Basic " + base64.b64encode(self.login.encode()).decode()}


def proxy_of(
    scheme: str, host: str, port: int, section: Proxied | None = None, env: Mapping[str, str] | None = None
) -> Proxy | None:
    """The proxy for a server; None for none.

    Args:
        scheme: ``http`` or ``https``; gRPC without TLS counts as ``http``.
        host: its name or address, without brackets.
        port: its port.
        section: its section of the target.
        env: the environment; None for this process's own.

    Raises:
        ConfigError: a variable names a proxy that cannot be used, or the file with its password cannot be read.
    """
    if section is not None and section.proxy:
        if section.proxy == NO_PROXY:
            return None
        login = f"{section.proxy_user}:{section.secret_proxy_password()}" if section.proxy_user else ""
        return _parse(section.proxy, "the setting proxy", login)
    env = os.environ if env is None else env
    if is_this_machine(host) or _is_excepted(host, port, _first(env, "no_proxy")[1]):
        return None
    for variable in (f"{scheme}_proxy", "all_proxy"):
        name, value = _first(env, variable)
        if value:
            return _parse(value, name)
    return None


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine by its name or address."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address is not None and (address.is_loopback or address.is_unspecified)


def without_proxies(env: Mapping[str, str]) -> dict[str, str]:
    """An environment without the variables that name proxies."""
    return {name: value for name, value in env.items() if name.lower() not in VARIABLES}


def _first(env: Mapping[str, str], variable: str) -> tuple[str, str]:
    for name in (variable, variable.upper()):
        if value := env.get(name, "").strip():
            return name, value
    return variable, ""


def _parse(value: str, source: str, login: str = "") -> Proxy:
    bare, given = split_login(value if "://" in value else f"http://{value}")
    scheme, _, rest = bare.partition("://")
    host, port = _host_and_port(rest.partition("/")[0])
    if scheme.lower() != "http" or not host:
        raise ConfigError(
            f"{source}: only proxies that are spoken to by http can be used, not {scheme}; set another one, except this"
            ' server with NO_PROXY, or set proxy = "none" in its section of the target'
        )
    return Proxy(host, port or _DEFAULT_PORT["http"], source, login or unquote(given))


def _host_and_port(text: str) -> tuple[str, int]:
    """Host without brackets and port, 0 without one; an empty host when it is neither."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        rest = rest.removeprefix(":")
    else:
        host, _, rest = text.partition(":") if text.count(":") == 1 else (text, "", "")
    return ("", 0) if rest and not rest.isdecimal() else (host, int(rest or 0))


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    host = host.rstrip(".").lower()
    address = _address(host)
    for entry in exceptions.replace(",", " ").lower().split():
        if entry == "*":
            return True
        if address is not None and (network := _network(entry)) is not None:
            if address in network:
                return True
            continue
        name, only = _host_and_port(entry)
        if only and only != port:
            continue
        if address is not None:
            if _address(name) == address:
                return True
            continue
        name = name.removeprefix("*").strip(".")
        if name and (host == name or host.endswith(f".{name}")):
            return True
    return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
