"""The addresses at which a release can be reached inside of the cluster, as its chart names them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from loadgen.audit.amounts import number
from loadgen.audit.components import SINGLE, mode
from loadgen.audit.stack import Release

_URL = re.compile(
    r"(?P<scheme>https?)://(?:[^/@]*@)?(?P<host>[A-Za-z0-9.-]+)(?::(?P<port>\d{1,5}))?(?P<path>/.*)?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a release: its name and the ports that it has."""

    name: str
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, taken apart. ``namespace`` is empty where the URL leaves it to the reader's own."""

    scheme: str
    service: str
    namespace: str
    port: int
    path: str
    outside: bool


def ways_in(release: Release) -> tuple[Service, ...] | None:
    """The services that take its API, best first; None when that is not known for its chart."""
    if release.component == "loki":
        return _loki(release)
    if release.component == "tempo":
        port = number(release.effective("(service port)").value)
        return None if port is None or release.chart != "tempo" else (Service(release.fullname, (int(port),)),)
    return _mimir(release)


def url_of(release: Release, path: str) -> str:
    """The URL to write for a release; empty when it is not known."""
    services = ways_in(release)
    if not services:
        return ""
    best = services[0]
    port = "" if best.ports[0] == 80 else f":{best.ports[0]}"
    namespace = release.namespace or "NAMESPACE"
    return f"http://{best.name}.{namespace}.svc.cluster.local{port}{path}"


def _loki(release: Release) -> tuple[Service, ...] | None:
    single = mode(release).value in SINGLE
    backend = Service(release.fullname if single else release.service("-read"), (3100,))
    enabled = release.effective("gateway.enabled")
    if not enabled.known:
        return None
    if enabled.value is False:
        return (backend,)
    port = number(release.effective("gateway.service.port").value)
    return None if port is None else (Service(release.service("-gateway"), (int(port),)), backend)


def _mimir(release: Release) -> tuple[Service, ...] | None:
    if release.version is None:
        return None
    gateway = release.version >= (6, 0, 0) or release.effective("gateway.enabledNonEnterprise").value is True
    section = "gateway" if gateway else "nginx"
    port = number(release.effective(f"{section}.service.port").value)
    if port is None:
        return None
    legacy = number(release.effective("gateway.service.legacyPort").value) if gateway else None
    ports = (int(port),) if legacy is None else (int(port), int(legacy))
    name = release.values.text("gateway", "service", "nameOverride") if gateway else ""
    return (Service(name or release.service(f"-{section}"), ports),)


def address_of(url: str) -> Address | None:
    """A URL taken apart; None when it is none."""
    found = _URL.fullmatch(url.strip())
    if found is None or int(found["port"] or 0) > 65535:
        return None
    scheme, labels = found["scheme"].lower(), found["host"].split(".")
    inside = len(labels) <= 2 or labels[2] == "svc"
    return Address(
        scheme,
        labels[0],
        labels[1] if inside and len(labels) > 1 else "",
        int(found["port"] or (443 if scheme == "https" else 80)),
        (found["path"] or "").partition("?")[0].rstrip("/"),
        not inside,
    )


def shown_url(url: str) -> str:
    """A URL without the credentials that may stand in it."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def mistake(release: Release, url: str, path: str, reader_namespace: str) -> tuple[str, str]:
    """What is wrong with a URL that should reach a release under ``path``, and what to write; empty if nothing is.

    A text that begins with ``?`` says that it cannot be told.
    """
    right = url_of(release, path)
    services = ways_in(release)
    if services is None:
        return f"?the services of {release.chart_text} are not known here", "use the service that the chart makes"
    address = address_of(url)
    if address is None:
        return "it is no URL", f"use {right}"
    if address.outside:
        return "?it leads out of the cluster, so it cannot be compared with the services", f"inside it is {right}"
    found = next((service for service in services if service.name == address.service), None)
    if found is None:
        return f"there is no service {address.service}", f"use {right}"
    if address.port not in found.ports:
        ports = " or ".join(map(str, found.ports))
        return f"the service {found.name} has port {ports}, not {address.port}", f"use {right}"
    if address.scheme != "http":
        return "the service speaks plain HTTP inside of the cluster", f"use {right}"
    namespace = address.namespace or reader_namespace
    if namespace and release.namespace and namespace != release.namespace:
        return f"{release.name} is in the namespace {release.namespace}, not {namespace}", f"use {right}"
    if address.path != path:
        return f"its path is {address.path or '/'}, not {path or '/'}", f"use {right}"
    return "", ""
