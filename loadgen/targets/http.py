"""One HTTP client for pushing and for reading: answers are values, and trouble is a sentence.

Nothing is retried and no redirect is followed: a retry that nobody sees would falsify latencies, counts and outcomes.
The one exception is a query on a kept connection that was closed meanwhile, which is asked again at once, in the same
time. Safe for threads, and for greenlets once gevent has patched the standard library.
"""

from __future__ import annotations

import base64
import email.utils
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode

import urllib3
from urllib3.exceptions import LocationParseError

from loadgen import __version__
from loadgen.config import ConfigError
from loadgen.config.access import Access, split_login, value_problem
from loadgen.config.target import GrafanaTarget, Login
from loadgen.targets.connection import ConnectionKind, Server, Transport, Trouble
from loadgen.targets.hiding import hiding_of, url_without_secrets
from loadgen.targets.proxies import proxy_of
from loadgen.targets.tls import tls_context

USER_AGENT = f"loadgen/{__version__}"
_PROTOBUF = frozenset(("application/x-protobuf", "application/protobuf"))
_EXCERPT_CHARS = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from one request.

    Attributes:
        status: HTTP status; 0 without an answer.
        body: the decoded body, empty without an answer.
        content_type: as the server said, lower case, without parameters.
        error: empty for a 2xx answer; else a sentence that says where, what, and what to do next.
        sent_ns, done_ns: before the request, and after the last byte of the answer.
        delivered: the request may have reached the server; False when no connection came about.
        retry_after_s: what a ``Retry-After`` header asks for, in seconds; 0 without one.
        date_ns: what a ``Date`` header says, which has whole seconds; 0 without one.
    """

    status: int
    body: bytes
    content_type: str
    error: str
    sent_ns: int
    done_ns: int
    delivered: bool = True
    retry_after_s: float = 0.0
    date_ns: int = 0

    @property
    def ok(self) -> bool:
        """A complete 2xx answer."""
        return not self.error


def login_headers(login: Login | None) -> dict[str, str]:
    """The headers that authenticate, the tenant's, and what the target adds.

    ConfigError when a file with a secret cannot be read, or when it holds what no header can.
    """
    if login is None:
        return {}
    headers = login.secret_headers()
    if token := login.secret_token():
        headers["Authorization"] = f"Bearer {token}"
    elif login.user:
        pair = f"{login.user}:{login.secret_password()}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    if login.tenant:
        headers["X-Scope-OrgID"] = login.tenant
    if isinstance(login, GrafanaTarget) and login.org_id:
        headers["X-Grafana-Org-Id"] = str(login.org_id)
    for name, value in headers.items():
        if problem := value_problem("bearer_token" if name == "Authorization" else name, value):
            raise ConfigError(problem)
    return headers


def server_of(base_url: str, access: Access | None) -> tuple[Server, str]:
    """The server of a base URL, by the way that its section names, and the URL's path.

    Raises:
        ValueError: it is no URL.
        ConfigError: a file or a proxy cannot be used.
    """
    if not base_url:
        raise ValueError("it is empty")
    url = urllib3.util.parse_url(base_url)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("http:// or https:// and a host are needed")
    host = unquote(url.host.strip("[]"))
    port = url.port or (443 if url.scheme == "https" else 80)
    context = tls_context(access) if url.scheme == "https" else None
    return Server(host, port, context, proxy_of(url.scheme, host, port, access)), (url.path or "").rstrip("/")


class HttpClient:
    """Requests below one base URL. Nothing is raised for trouble on the network or with the answer.

    Args:
        base_url: what all paths hang under, e.g. ``http://loki:3100``; a path prefix is kept.
        login: whom to authenticate as and whom to trust; None for nobody and the system's authorities.
        timeout_s: limit for a whole request, from looking up the name to the last byte.
        clock: gives epoch nanoseconds for ``sent_ns`` and ``done_ns``.
        connections: idle connections that are kept.
    """

    def __init__(
        self,
        base_url: str,
        login: Login | None = None,
        timeout_s: float = 30.0,
        clock: Callable[[], int] = time.time_ns,
        connections: int = 16,
    ) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._where = url_without_secrets(base_url).rstrip("/")
        self._ca_file = login.ca_file if login is not None else ""
        self._prefix = ""
        self._server: Server | None = None
        self._transport: Transport | None = None
        self._problem = ""
        self._headers = {"User-Agent": USER_AGENT, **login_headers(login)}
        bare_url, given = split_login(base_url)
        if given and "Authorization" not in self._headers:
            self._headers["Authorization"] = "Basic " + base64.b64encode(unquote(given).encode()).decode()
        self.hide = hiding_of(login, also=(unquote(given.partition(":")[2]), given.partition(":")[2]))
        try:
            self._server, self._prefix = server_of(bare_url, login)
            self._transport = Transport(self._server, connections)
        except ConfigError as problem:
            self._problem = f"{self._where}: {problem}"
        except (LocationParseError, ValueError) as problem:
            self._problem = f"{self._where or 'a URL'}: not a URL ({problem}); write it like http://host:3100"

    @property
    def where(self) -> str:
        """The base URL as it may be shown."""
        return self._where

    def get(self, path: str, params: Mapping[str, str] | None = None, timeout_s: float | None = None) -> Answer:
        """A GET of ``path`` with ``params`` as the query."""
        target = f"{path}?{urlencode(params)}" if params else path
        return self._request("GET", target, None, {"Accept-Encoding": "gzip"}, timeout_s)

    def post(
        self, path: str, body: bytes | memoryview, headers: Mapping[str, str], timeout_s: float | None = None
    ) -> Answer:
        """A POST of ``body``, which is sent as it is."""
        return self._request("POST", path, body, headers, timeout_s)

    def post_query(self, path: str, body: bytes, headers: Mapping[str, str], timeout_s: float | None = None) -> Answer:
        """A POST that only asks: it may be sent twice, as a GET may."""
        return self._request("POST", path, body, headers, timeout_s, repeatable=True)

    def close(self) -> None:
        """Close the idle connections; the client can still be used."""
        if self._transport is not None:
            self._transport.close()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | memoryview | None,
        headers: Mapping[str, str],
        timeout_s: float | None,
        repeatable: bool = False,
    ) -> Answer:
        sent_ns = self._clock()
        if self._transport is None:
            return Answer(0, b"", "", self._problem, sent_ns, sent_ns, delivered=False)
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            response = self._transport.ask(
                method,
                self._prefix + path or "/",
                {**self._headers, **headers},
                body,
                limit_s,
                repeatable=repeatable or method == "GET",
            )
        except Trouble as trouble:
            text = self._explain(trouble, path, limit_s)
            return Answer(0, b"", "", text, sent_ns, self._clock(), trouble.delivered)
        done_ns = self._clock()
        status, content = response.status, response.body
        content_type = (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        date_ns = date_of(response.headers.get("Date") or "")
        if 200 <= status < 300:
            return Answer(status, content, content_type, "", sent_ns, done_ns, date_ns=date_ns)
        error = self._refusal(path, status, content_type, content, response.headers.get("Location"))
        retry_after_s = _retry_after_s(response.headers.get("Retry-After"), done_ns)
        return Answer(status, content, content_type, error, sent_ns, done_ns, True, retry_after_s, date_ns)

    def _place(self, path: str) -> str:
        """Where a request went, and by which way."""
        proxy = self._server.proxy if self._server is not None else None
        return self._where + path.split("?", 1)[0] + (f" (by way of {proxy.told})" if proxy is not None else "")

    def _explain(self, trouble: Trouble, path: str, limit_s: float) -> str:
        """A sentence for a request without an answer."""
        where, said = self._place(path), self.hide.brief(trouble.said) if trouble.said else ""
        if trouble.at_proxy:
            return f"{where}: {proxy_trouble(trouble, said, limit_s)}"
        match trouble.kind:
            case ConnectionKind.NAME:
                return f"{where}: the host name cannot be resolved; check the URL and the DNS"
            case ConnectionKind.REFUSED:
                return f"{where}: connection refused; check that the server runs and that the port is right"
            case ConnectionKind.CONNECT_TIMEOUT:
                return f"{where}: no connection within {limit_s:g} s; check the address, firewalls, and that it runs"
            case ConnectionKind.TLS:
                return self._explain_tls(where, said)
            case ConnectionKind.TIMEOUT:
                return (
                    f"{where}: no complete answer within {limit_s:g} s; the server is slow or stuck, or set more time"
                )
            case ConnectionKind.ANSWER:
                return f"{where}: {said}"
            case ConnectionKind.BROKEN:
                secure = self._server is not None and self._server.context is not None
                hint = "; perhaps it speaks https, not http" if "BadStatusLine" in said and not secure else ""
                hint = MAY_WANT_CERTIFICATE if trouble.after_handshake else hint
                return f"{where}: the connection broke before the answer was complete ({said}){hint}; ask again"
        return f"{where}: no connection ({said}); check address and network"

    def _explain_tls(self, where: str, text: str) -> str:
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
            trusted = f"the ca_file {self._ca_file}" if self._ca_file else "the system's authorities (no ca_file set)"
            reason = text.rpartition("certificate verify failed: ")[2].partition(" (_ssl")[0]
            return (
                f"{where}: the TLS certificate cannot be verified against {trusted}: {reason}; "
                "set ca_file to the authority's PEM file, and use the host name that the certificate is for"
            )
        if wants_certificate(text):
            return (
                f"{where}: the server refuses us by TLS ({text}); if it wants a certificate, set cert_file and key_file"
            )
        if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
            return f"{where}: the server does not speak TLS here ({text}); perhaps the URL must begin with http://"
        return f"{where}: TLS failed ({text}); check the certificate and the protocol versions"

    def _refusal(self, path: str, status: int, content_type: str, content: bytes, location: str | None) -> str:
        """A sentence for an answer that is not 2xx."""
        where = self._place(path)
        said = self._said(content_type, content)
        if 300 <= status < 400:
            to = url_without_secrets(location) if location else "nowhere"
            return f"{where}: {status}, redirected to {to}; put the final URL into the target (a login page?)"
        hint = {
            401: "user, password or token are missing or wrong; check the target's login",
            403: "the login is known but not allowed to do this; check its role, or the proxy's rules",
            404: "nothing here; check the base URL, its path prefix and the port",
            405: "this path does not take the method; check the base URL",
            407: "the proxy wants a login; set proxy_user and proxy_password",
            413: "too large for the server or a proxy before it; push less at a time, or raise the limit",
            414: "the query is too long for the server or a proxy before it",
            415: "this server does not take the format; check that the URL belongs to the right component",
            429: "over the server's limits; lower the rate, or raise the limits",
            502: "a proxy is there, the server behind it is not; check that the component runs",
            503: "the server is not ready, or overloaded; see its log",
            504: "a proxy waited in vain for the server behind it",
        }.get(status, "see the server's log" if status >= 500 else "the server refuses this request")
        return f"{where}: {status}{said}; {hint}"

    def _said(self, content_type: str, content: bytes) -> str:
        if not content:
            return ""
        if looks_like_html(content_type, content):
            title = re.search(rb"<title[^>]*>([^<]{1,200})", content[:20_000], re.IGNORECASE)
            named = f" titled {self.hide.brief(title[1].decode(errors='replace'))!r}" if title else ""
            return f", an HTML page{named}, so from a proxy or another program"
        text = _status_message(content) if content_type in _PROTOBUF else ""
        return f", {self.hide.brief(text or content[:2000].decode(errors='replace'))!r}"


def _status_message(content: bytes) -> str:
    """The message of a ``google.rpc.Status``, which OTLP has as the body of a refusal; empty if it is none."""
    from google.protobuf.message import DecodeError
    from google.rpc.status_pb2 import Status

    try:
        return str(Status.FromString(content).message)
    except DecodeError:
        return ""


def looks_like_html(content_type: str, content: bytes) -> bool:
    """Whether an answer is a page for people: none of the APIs gives one, so it is a proxy's or another program's."""
    return content_type == "text/html" or content[:200].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def json_of(answer: Answer, where: str) -> tuple[Any, str]:
    """The JSON value of a 2xx answer and an empty text, or None and a sentence that says why there is none."""
    if answer.error:
        return None, answer.error
    if looks_like_html(answer.content_type, answer.body):
        return None, (
            f"{where}: {answer.status} with an HTML page instead of JSON, so a proxy or a login page answered; "
            "check the URL, and what stands before the server"
        )
    try:
        return json.loads(answer.body), ""
    except (ValueError, RecursionError) as problem:
        return (
            None,
            f"{where}: {answer.status} with malformed JSON ({str(problem)[:120]}); a proxy may have cut it; ask again",
        )


def wants_certificate(text: str) -> bool:
    """Whether a TLS error says that the server wants a certificate of ours, or another one."""
    return any(word in text for word in ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE"))


MAY_WANT_CERTIFICATE = "; perhaps it wants a certificate of ours, set cert_file and key_file"


def proxy_trouble(trouble: Trouble, said: str, limit_s: float) -> str:
    """What is wrong with the way to a proxy, or with what it answers."""
    what = {
        ConnectionKind.NAME: "the proxy's name cannot be resolved",
        ConnectionKind.REFUSED: "the proxy does not take connections",
        ConnectionKind.CONNECT_TIMEOUT: f"the proxy does not answer within {limit_s:g} s",
        ConnectionKind.PROXY: f"the proxy does not let us through ({said})",
    }.get(trouble.kind, f"no connection to the proxy ({said})")
    remedy = 'correct it, except this server with NO_PROXY, or set proxy = "none" in its section of the target'
    if trouble.kind is ConnectionKind.PROXY and "407" in said:
        remedy = "it wants a login; set proxy_user and proxy_password"
    return f"{what}; {remedy}"


def date_of(value: str) -> int:
    """The moment that a Date header names, in ns; 0 when it names none."""
    try:
        return round(email.utils.parsedate_to_datetime(value).timestamp()) * 1_000_000_000
    except (ValueError, TypeError, OverflowError):
        return 0


def explain_connection(server: Server, trouble: Trouble, limit_s: float) -> str:
    """A sentence for a connection that did not come about; TLS apart."""
    where = f"{server.host}:{server.port}"
    if server.proxy is not None:
        where += f" (by way of {server.proxy.told})"
    if trouble.at_proxy:
        return f"{where}: {proxy_trouble(trouble, str(trouble.said), limit_s)}"
    return f"{where}: no connection ({trouble}); check the endpoint"


def _retry_after_s(value: str | None, now_ns: int) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 when it is neither."""
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now_ns / 1e9)
    except (ValueError, TypeError, OverflowError):
        return 0.0
