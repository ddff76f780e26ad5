"""One HTTP client for pushing and for reading: answers are values, and trouble is a sentence.

Built on urllib3 (keep-alive, TLS), with its retries and redirects turned off: a retry that nobody sees would falsify
latencies, counts and outcomes. Safe for threads, and for greenlets once gevent has patched the standard library.
"""

from __future__ import annotations

import base64
import email.utils
import http.client
import json
import re
import ssl
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import unquote, urlencode

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InsecureRequestWarning,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from loadgen import __version__

USER_AGENT = f"loadgen/{__version__}"
_CHUNK_BYTES = 1 << 18
_MAX_BODY_BYTES = 512 << 20  # an answer larger than this is a mistake of the query, and would fill the memory
_PROTOBUF = frozenset(("application/x-protobuf", "application/protobuf"))
_EXCERPT_CHARS = 200


class Login(Protocol):
    """How to log in and whom to trust; every section of a target is one."""

    @property
    def user(self) -> str:
        """Name for basic authentication; empty for none."""

    @property
    def tenant(self) -> str:
        """Sent as ``X-Scope-OrgID`` unless empty."""

    @property
    def ca_file(self) -> str:
        """PEM file of the authorities to trust; empty: the system's."""

    @property
    def verify_tls(self) -> bool:
        """Whether certificates are verified."""

    def secret_password(self) -> str:
        """Password for basic authentication."""

    def secret_token(self) -> str:
        """Bearer token; empty for none."""


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
    """The headers that authenticate, and the tenant's. ConfigError when a file with a secret cannot be read."""
    if login is None:
        return {}
    headers: dict[str, str] = {}
    token = login.secret_token()
    if token:
        headers["Authorization"] = f"Bearer {token}"
    elif login.user:
        pair = f"{login.user}:{login.secret_password()}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    if login.tenant:
        headers["X-Scope-OrgID"] = login.tenant
    return headers


def url_without_secrets(url: str) -> str:
    """A URL for messages: without user, password and query."""
    bare = url.split("?", 1)[0].split("#", 1)[0]
    scheme, separator, rest = bare.rpartition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


class HttpClient:
    """Requests below one base URL. Nothing is raised for trouble on the network or with the answer.

    Args:
        base_url: what all paths hang under, e.g. ``http://loki:3100``; a path prefix is kept.
        login: whom to authenticate as and whom to trust; None for nobody and the system's authorities.
        timeout_s: limit for a whole request, from connecting to the last byte.
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
        self._secure = False
        self._prefix = ""
        self._pool: urllib3.HTTPConnectionPool | None = None
        self._problem = ""
        self._headers = {"User-Agent": USER_AGENT, **login_headers(login)}
        self._secrets = _secrets_of(login)
        try:
            self._open(base_url, login, connections)
        except (LocationParseError, ValueError) as problem:
            self._problem = f"{self._where or 'a URL'}: not a URL ({problem}); write it like http://host:3100"
        except (OSError, ssl.SSLError) as problem:
            self._problem = f"{self._where}: the ca_file {self._ca_file} cannot be used ({problem}); name a PEM file"

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

    def close(self) -> None:
        """Close the idle connections; the client can still be used."""
        if self._pool is not None:
            self._pool.close()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _open(self, base_url: str, login: Login | None, connections: int) -> None:
        if not base_url:
            raise ValueError("it is empty")
        url = urllib3.util.parse_url(base_url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("http:// or https:// and a host are needed")
        if url.auth and "Authorization" not in self._headers:
            self._headers["Authorization"] = "Basic " + base64.b64encode(unquote(url.auth).encode()).decode()
            self._secrets += tuple(part for part in url.auth.split(":", 1)[1:] if part)
        self._prefix = (url.path or "").rstrip("/")
        if url.scheme == "http":
            self._pool = urllib3.HTTPConnectionPool(url.host, url.port, maxsize=connections)
            return
        self._secure = True
        verify = login.verify_tls if login is not None else True
        context = ssl.create_default_context(cafile=self._ca_file or None)
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            # The configuration asks for it by name; urllib3 would repeat its warning for every request.
            warnings.simplefilter("ignore", InsecureRequestWarning)
        self._pool = urllib3.HTTPSConnectionPool(url.host, url.port, maxsize=connections, ssl_context=context)

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | memoryview | None,
        headers: Mapping[str, str],
        timeout_s: float | None,
    ) -> Answer:
        sent_ns = self._clock()
        if self._pool is None:
            return Answer(0, b"", "", self._problem, sent_ns, sent_ns, delivered=False)
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            response = self._pool.urlopen(
                method,
                self._prefix + path or "/",
                body=cast(Any, body),  # a memoryview is taken as it is, which the annotation does not say
                headers={**self._headers, **headers},
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=limit_s,
                preload_content=False,
            )
            content = self._read(response, limit_s)
        except (HTTPError, OSError, http.client.HTTPException, ValueError) as problem:
            done_ns = self._clock()
            text, delivered = self._explain(problem, path, limit_s)
            return Answer(0, b"", "", text, sent_ns, done_ns, delivered)
        done_ns = self._clock()
        status = response.status
        content_type = (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        date_ns = date_of(response.headers.get("Date") or "")
        if 200 <= status < 300:
            return Answer(status, content, content_type, "", sent_ns, done_ns, date_ns=date_ns)
        error = self._refusal(path, status, content_type, content, response.headers.get("Location"))
        retry_after_s = _retry_after_s(response.headers.get("Retry-After"), done_ns)
        return Answer(status, content, content_type, error, sent_ns, done_ns, True, retry_after_s, date_ns)

    def _read(self, response: urllib3.BaseHTTPResponse, limit_s: float) -> bytes:
        """The whole body. The time limit holds for all of it, so that a server that drips cannot hold us for ever."""
        deadline_s = time.monotonic() + limit_s
        parts: list[bytes] = []
        size_bytes = 0
        try:
            while part := response.read1(_CHUNK_BYTES):
                parts.append(part)
                size_bytes += len(part)
                if size_bytes > _MAX_BODY_BYTES:
                    raise ValueError(f"the answer is larger than {_MAX_BODY_BYTES >> 20} MiB; ask for less at a time")
                if time.monotonic() > deadline_s:
                    raise TimeoutError
            response.release_conn()
            return parts[0] if len(parts) == 1 else b"".join(parts)
        except BaseException:
            # Also when a greenlet is killed here: a connection in the middle of an answer must not be used again.
            response.close()
            raise

    def _explain(self, problem: Exception, path: str, limit_s: float) -> tuple[str, bool]:
        """A sentence for a failed request, and whether the server may have received it."""
        where = self._where + path.split("?", 1)[0]
        cause = problem.__cause__ or problem.__context__
        if isinstance(problem, NameResolutionError):
            return f"{where}: the host name cannot be resolved; check the URL and the DNS", False
        if isinstance(problem, NewConnectionError):
            if isinstance(cause, ConnectionRefusedError):
                return f"{where}: connection refused; check that the server runs and that the port is right", False
            return f"{where}: no connection ({self._brief(cause or problem)}); check address and network", False
        if isinstance(problem, ConnectTimeoutError):
            return f"{where}: no connection within {limit_s:g} s; check the address, firewalls, and that it runs", False
        if isinstance(problem, (SSLError, ssl.SSLError)):
            return self._explain_tls(where, problem), False
        if isinstance(problem, (ReadTimeoutError, TimeoutError)):
            return (
                f"{where}: no complete answer within {limit_s:g} s; the server is slow or stuck, or set more time",
                True,
            )
        if isinstance(problem, ValueError) and not isinstance(problem, HTTPError):
            return f"{where}: {self._brief(problem)}", True
        what = self._brief(problem)
        hint = "; perhaps it speaks https, not http" if "BadStatusLine" in what and not self._secure else ""
        return f"{where}: the connection broke before the answer was complete ({what}){hint}; ask again", True

    def _explain_tls(self, where: str, problem: Exception) -> str:
        text = self._brief(problem)
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
            trusted = f"the ca_file {self._ca_file}" if self._ca_file else "the system's authorities (no ca_file set)"
            reason = text.rpartition("certificate verify failed: ")[2].partition(" (_ssl")[0]
            return (
                f"{where}: the TLS certificate cannot be verified against {trusted}: {reason}; "
                "set ca_file to the authority's PEM file, and use the host name that the certificate is for"
            )
        if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
            return f"{where}: the server does not speak TLS here ({text}); perhaps the URL must begin with http://"
        return f"{where}: TLS failed ({text}); check the certificate and the protocol versions"

    def _refusal(self, path: str, status: int, content_type: str, content: bytes, location: str | None) -> str:
        """A sentence for an answer that is not 2xx."""
        where = self._where + path.split("?", 1)[0]
        said = self._said(content_type, content)
        if 300 <= status < 400:
            to = url_without_secrets(location) if location else "nowhere"
            return f"{where}: {status}, redirected to {to}; put the final URL into the target (a login page?)"
        hint = {
            401: "user, password or token are missing or wrong; check the target's login",
            403: "the login is known but not allowed to do this; check its role, or the proxy's rules",
            404: "nothing here; check the base URL, its path prefix and the port",
            405: "this path does not take the method; check the base URL",
            407: "a proxy wants a login; check HTTP proxies on the way",
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
            named = f" titled {self._brief(title[1].decode(errors='replace'))!r}" if title else ""
            return f", an HTML page{named}, so from a proxy or another program"
        text = _status_message(content) if content_type in _PROTOBUF else ""
        return f", {self._brief(text or content[:2000].decode(errors='replace'))!r}"

    def _brief(self, problem: object) -> str:
        """One line of at most 200 characters, without the login's secrets."""
        text = " ".join(str(problem).split()) or type(problem).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = re.sub(r"//[^/@\s]+@", "//", text)
        # Python's name of the connection object says nothing to a reader.
        text = re.sub(r"<?(?:urllib3\.)?[\w.]*HTTPS?Connection(?:Pool)?[^:>]*(?:> ?)?: ", "", text)
        return text if len(text) <= _EXCERPT_CHARS else text[: _EXCERPT_CHARS - 1] + "…"


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


def _secrets_of(login: Login | None) -> tuple[str, ...]:
    if login is None:
        return ()
    # A secret of a few characters occurs in texts by chance; to replace it would make them unreadable.
    return tuple(secret for secret in (login.secret_password(), login.secret_token()) if len(secret) >= 4)


def date_of(value: str) -> int:
    """The moment that a Date header names, in ns; 0 when it names none."""
    try:
        return round(email.utils.parsedate_to_datetime(value).timestamp()) * 1_000_000_000
    except (ValueError, TypeError, OverflowError):
        return 0


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
