"""A session of `requests` that goes by our transport, for libraries that want one: the SDK's exporter is such.

Proxies, certificates, headers and the deadline are those of the target's section. Nothing comes from ``~/.netrc``,
``REQUESTS_CA_BUNDLE`` or from headers that somebody else has put into the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import BaseAdapter

from loadgen.config import ConfigError
from loadgen.config.target import Login
from loadgen.targets.connection import ConnectionKind, Transport, Trouble
from loadgen.targets.hiding import hiding_of
from loadgen.targets.http import USER_AGENT, login_headers, proxy_trouble, server_of

_OF_THE_BODY = ("content-type", "content-encoding", "content-length")
_TIMEOUT_S = 30.0


def session_for(url: str, login: Login) -> tuple[requests.Session, str]:
    """A session for one server, and the way to it in words, to be put after its address (empty for a direct one).

    ConfigError when a file, a proxy or the URL cannot be used.
    """
    session = requests.Session()
    session.trust_env = False
    adapter = _Adapter(url, login)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session, adapter.way


class _Adapter(BaseAdapter):
    def __init__(self, url: str, login: Login) -> None:
        super().__init__()
        try:
            server, _ = server_of(url, login)
        except ValueError as problem:
            raise ConfigError(f"{hiding_of(login)(url)}: not a URL ({problem})") from problem
        self._proxy = server.proxy
        self.way = f" (by way of {server.proxy.told})" if server.proxy is not None else ""
        self._transport = Transport(server)
        self._headers = {"User-Agent": USER_AGENT, **login_headers(login)}
        self._hide = hiding_of(login)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002
        timeout: Any = None,
        verify: Any = True,  # noqa: ARG002
        cert: Any = None,  # noqa: ARG002
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> requests.Response:
        """One request. What decides where it goes and how is the target, not the arguments."""
        limit_s = float(timeout) if isinstance(timeout, (int, float)) else _TIMEOUT_S
        headers = {name: value for name, value in request.headers.items() if name.lower() in _OF_THE_BODY}
        try:
            answer = self._transport.ask(
                request.method or "GET", request.path_url, {**self._headers, **headers}, request.body, limit_s
            )
        except Trouble as trouble:
            raise self._as_theirs(trouble, request, limit_s) from trouble
        response = requests.Response()
        response.status_code, response.reason = answer.status, answer.reason
        response.headers.update(answer.headers.items())
        response._content = answer.body
        response.url, response.request = request.url or "", request
        return response

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def _as_theirs(self, trouble: Trouble, request: requests.PreparedRequest, limit_s: float) -> Exception:
        said = self._hide.brief(trouble.said) if trouble.said else ""
        text = f"{trouble.kind.value}" + (f": {said}" if said else "")
        if self._proxy is not None:
            told = proxy_trouble(trouble, said, limit_s) if trouble.at_proxy else text
            text = f"by way of {self._proxy.told}: {told}"
        kinds: dict[ConnectionKind, type[requests.RequestException]] = {
            ConnectionKind.TIMEOUT: requests.exceptions.ReadTimeout,
            ConnectionKind.CONNECT_TIMEOUT: requests.exceptions.ConnectTimeout,
            ConnectionKind.TLS: requests.exceptions.SSLError,
        }
        kind = requests.exceptions.ProxyError if trouble.at_proxy else kinds.get(trouble.kind)
        return (kind or requests.exceptions.ConnectionError)(text, request=request)
