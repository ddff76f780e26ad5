"""How to get to a server: whom to trust, which certificate to show, which proxy to go by, what headers to bring.

A login in a URL is moved to the section's own fields when the target is read, so that no URL holds a secret afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from loadgen.config.base import ConfigError, from_file
from loadgen.settings import Section

NO_PROXY = "none"
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]]*)(:[0-9]*)?")
_NOT_IN_A_VALUE = re.compile(r"[^\t\x20-\x7e\xa0-\xff]")
_OWN_HEADERS = {
    **dict.fromkeys(
        ("host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "te"),
        "loadgen sets it itself",
    ),
    **dict.fromkeys(("accept-encoding", "expect", "upgrade", "user-agent"), "loadgen sets it itself"),
    "x-prometheus-remote-write-version": "loadgen sets it itself",
    "proxy-authorization": "use proxy_user and proxy_password",
    "x-scope-orgid": "use tenant",
    "x-grafana-org-id": "use org_id",
}


def split_login(url: str) -> tuple[str, str]:
    """A URL (or ``host:port``) without its login, and the login as it is written there, percent-encoded."""
    scheme, separator, rest = url.rpartition("://") if "://" in url else ("", "", url)
    end = min((place for place in map(rest.find, "/?#") if place >= 0), default=len(rest))
    login, _, address = rest[:end].rpartition("@")
    return f"{scheme}{separator}{address}{rest[end:]}", login


def _checked(url: str) -> str:
    """A base URL that can be shown; the messages do not repeat it, because what is wrong may be a secret."""
    bare, login = split_login(url)
    if login:
        raise ValueError("holds a login (…@); this section has settings of its own for that, take it out of the URL")
    rest = bare.partition("://")[2] or bare
    if "?" in rest or "#" in rest:
        raise ValueError("is a base URL, so without ?… and #…; a token belongs into bearer_token or headers")
    address, _, path = rest.partition("/")
    if "@" in path or not _ADDRESS.fullmatch(address):
        raise ValueError(
            "is no URL: after the host there is something else than a port and a path; in a login write / ? # @ : as "
            "%2F %3F %23 %40 %3A, or use the section's own settings for it"
        )
    return url


def _proxy(value: str) -> str:
    if value.lower() == NO_PROXY or not value:
        return value.lower()
    if "://" not in value:
        value = f"http://{value}"
    scheme, _, address = _checked(value).rstrip("/").partition("://")
    if scheme.lower() != "http" or not address or "/" in address:
        raise ValueError('only proxies that are spoken to by http can be used; write http://host:3128, or "none"')
    return f"http://{address}"


def _lines(value: object) -> object:
    """A table as it is, or text with a header a line, which is how an environment variable and a file hold them."""
    return headers_of(value) if isinstance(value, str) else value


def headers_of(text: str) -> dict[str, str]:
    """``Name: value`` lines; ValueError, without what stands there, for anything else."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, value = line.partition(":")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not colon:
            raise ValueError(f"line {number} is no header; write a line each, like Name: value")
        found[name.strip()] = value.strip()
    return found


Url = Annotated[str, AfterValidator(_checked)]
Headers = Annotated[dict[str, SecretStr], BeforeValidator(_lines)]


class Proxied(Section):
    """Which proxy to go by."""

    proxy: Annotated[str, AfterValidator(_proxy)] = Field(
        "", description='http://host:port, or "none"; not set: HTTPS_PROXY and so on, as curl reads them'
    )
    proxy_user: str = ""
    proxy_password: SecretStr = SecretStr("")
    proxy_password_file: str = ""

    @model_validator(mode="before")
    @classmethod
    def _proxy_login(cls, raw: Any) -> Any:
        return login_moved(raw, ("proxy",), "proxy_user", "proxy_password")

    def secret_proxy_password(self) -> str:
        """The proxy's password, from its file if one is named."""
        if self.proxy_password_file:
            return from_file(self.proxy_password_file)
        return self.proxy_password.get_secret_value()


class Access(Proxied):
    """What every section with an address has."""

    ca_file: str = Field("", description="PEM file of the authorities to trust; not set: the system's")
    verify_tls: bool = True
    cert_file: str = Field("", description="PEM file of the certificate to show to the server (mTLS)")
    key_file: str = Field("", description="its key; not set: it is in cert_file")
    headers: Headers = Field({}, description="sent with every request; their values are secrets")
    headers_file: str = Field("", description="the same from a file, a line each: Name: value")

    reserved_headers: ClassVar[Mapping[str, str]] = _OWN_HEADERS

    @model_validator(mode="after")
    def _usable(self) -> Access:
        for name, value in self.headers.items():
            if problem := self._header_problem(name, value.get_secret_value()):
                raise ValueError(problem)
        if self.key_file and not self.cert_file:
            raise ValueError("key_file is given without cert_file; a key belongs to a certificate")
        return self

    def secret_headers(self) -> dict[str, str]:
        """The additional headers; ConfigError when their file cannot be read, or holds something else."""
        found: dict[str, str] = {}
        if self.headers_file:
            try:
                found = headers_of(from_file(self.headers_file))
            except ValueError as problem:
                raise ConfigError(f"headers_file {self.headers_file}: {problem}") from None
            for name, value in found.items():
                if problem_found := self._header_problem(name, value):
                    raise ConfigError(f"headers_file {self.headers_file}: {problem_found}")
        return found | {name: value.get_secret_value() for name, value in self.headers.items()}

    def secrets(self) -> tuple[str, ...]:
        """Everything that must not be shown; ConfigError when a file cannot be read."""
        return (*self.secret_headers().values(), self.secret_proxy_password())

    def has_login(self) -> bool:
        """Whether this section makes an Authorization header of its own."""
        return False

    def _header_problem(self, name: str, value: str) -> str:
        if not _TOKEN.fullmatch(name):
            return "headers: one of the names is no name of a header; write a line each, like Name: value"
        if why := self.reserved_headers.get(name.lower(), ""):
            return f"headers: {name} cannot be given here; {why}"
        if name.lower() == "authorization" and self.has_login():
            return f"headers: {name} cannot be given beside user or bearer_token; choose one"
        return value_problem(f"headers: {name}", value)


def value_problem(what: str, value: str) -> str:
    """Why a secret cannot be (a part of) a header, without the secret; empty when it can."""
    if _NOT_IN_A_VALUE.search(value):
        return f"{what}: holds a line's end or another character that no header can have; look at where it comes from"
    return ""


def login_moved(raw: Any, names: tuple[str, ...], user: str, password: str) -> Any:
    """A section's values with the logins of its URLs moved to ``user`` and ``password``."""
    if not isinstance(raw, Mapping):
        return raw
    moved: dict[str, Any] = dict(raw)
    for name in names:
        value = moved.get(name)
        bare, login = split_login(value) if isinstance(value, str) else ("", "")
        if not login:
            continue
        who, _, secret = login.partition(":")
        if not who or not secret:
            raise ValueError(f"{name}: holds half a login (…@); use {user} and {password}, or headers for a token")
        new = {user: unquote(who), password: unquote(secret)}
        old = {key: _plain(moved[key]) for key in new if moved.get(key)}
        if any(new[key] != value for key, value in old.items()) or moved.get(f"{password}_file"):
            raise ValueError(f"{name}: holds another login (…@) than {user} and {password} say; give it once")
        moved |= {name: bare, **new}
    return moved


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
