"""The data source part of the embedded Grafana: listing, health checks, and the proxy to the components."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from loadgen.lab.grafana.upstream import Upstream, UpstreamAnswer, UpstreamError
from loadgen.lab.settings import LabDatasource

AGENT = "Grafana/12.3.0"

_PROMETHEUS_POSTS = ("query", "query_range", "series", "labels", "query_exemplars")
# What belongs to one connection only (RFC 9110), and what is not the component's business.
_NOT_FORWARDED = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
     "upgrade", "host", "authorization", "cookie", "origin", "referer", "content-length", "user-agent",
     "x-ds-authorization"}
)  # fmt: skip
_NOT_RETURNED = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade", "set-cookie",
     "content-length", "date", "server"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProxyHealth:
    """Outcome of a data source's own check."""

    ok: bool
    message: str


def describe(source: LabDatasource, number: int, full: bool) -> dict[str, Any]:
    """A data source as the API shows it; ``full`` as for a single one, else as in the list."""
    names = {"loki": "Loki", "tempo": "Tempo", "prometheus": "Prometheus"}
    row: dict[str, Any] = {
        "id": number,
        "uid": source.uid,
        "orgId": 1,
        "name": source.name,
        "type": source.type,
        "typeLogoUrl": f"public/app/plugins/datasource/{source.type}/img/{source.type}_logo.svg",
        "access": "proxy",
        "url": source.url,
        "user": "",
        "database": "",
        "basicAuth": False,
        "isDefault": number == 1,
        "jsonData": json.loads(source.json_data),
        "readOnly": True,
    }
    if full:
        row.update(basicAuthUser="", withCredentials=False, secureJsonFields={}, version=1, apiVersion="")
    else:
        row["typeName"] = names.get(source.type, source.type)
    return row


def check(source: LabDatasource, upstream: Upstream) -> ProxyHealth:
    """Asks the component what the data source's own "Save & test" asks."""
    base = source.url.rstrip("/")
    try:
        if source.type == "loki":
            answer = upstream.request("GET", f"{base}/loki/api/v1/query?query={quote('vector(1)+vector(1)')}&time=4")
            ok = answer.status == 200 and _value(answer) == "2"
            bad = "Unable to connect with Loki. Please check the server logs for more details."
            return ProxyHealth(ok, "Data source successfully connected." if ok else bad)
        if source.type == "tempo":
            answer = upstream.request("GET", f"{base}/api/echo")
            ok = answer.status == 200
            bad = f"Tempo echo endpoint returned status {answer.status}"
            return ProxyHealth(ok, "Data source is working" if ok else bad)
        answer = upstream.request("GET", f"{base}/api/v1/query?query={quote('1+1')}&time=4")
        ok = answer.status == 200 and _value(answer) == "2"
        bad = f"{answer.status} - There was an error returned querying the Prometheus API."
        return ProxyHealth(ok, "Successfully queried the Prometheus API." if ok else bad)
    except UpstreamError as error:
        if source.type == "loki":
            return ProxyHealth(False, "Unable to connect with Loki. Please check the server logs for more details.")
        if source.type == "tempo":
            return ProxyHealth(False, f"Failed to connect to Tempo: {error}")
        return ProxyHealth(False, f"{error} - There was an error returned querying the Prometheus API.")


def _value(answer: UpstreamAnswer) -> str:
    """The value of an instant query that has one."""
    try:
        data = json.loads(answer.body)["data"]
        pair = data["result"] if data["resultType"] == "scalar" else data["result"][0]["value"]
        return str(pair[1])
    except (ValueError, KeyError, IndexError, TypeError):
        return ""


def refusal(source: LabDatasource, method: str, path: str) -> str:
    """Why Grafana does not pass such a request on; empty if it does.

    Loki and Prometheus take GET, and only listed paths otherwise; Tempo takes anything.
    """
    if method in ("GET", "HEAD", "OPTIONS") or source.type not in ("loki", "prometheus"):
        return ""
    if source.type == "prometheus" and method == "POST" and path.removeprefix("api/v1/") in _PROMETHEUS_POSTS:
        return ""
    return f"non allow-listed {method}s not allowed on proxied {source.type} datasource"


def forward(
    source: LabDatasource,
    upstream: Upstream,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
) -> tuple[int, dict[str, str], bytes]:
    """Passes a request on.

    Args:
        source: where to.
        upstream: the connections.
        method, path, query: as asked; ``path`` still percent-encoded and relative to the data source.
        headers, body: of the request.

    Returns:
        Status, headers and body for the client. The body stays compressed if the component compressed it.
    """
    url = f"{source.url.rstrip('/')}/{path.lstrip('/')}" + (f"?{query}" if query else "")
    passed = {name: value for name, value in headers.items() if name.lower() not in _NOT_FORWARDED}
    passed["User-Agent"] = AGENT
    # Without this header the HTTP client below would add one that the asker did not send.
    passed.setdefault("accept-encoding", "identity")
    try:
        answer = upstream.request(method, url, passed, body or None, decode=False)
    except UpstreamError as error:
        return (504 if error.timed_out else 502), {}, b""
    if answer.status == 401:
        # Else a browser would take it for Grafana's own and ask the person to log in.
        return 400, {"content-type": "text/plain; charset=utf-8"}, b"Authentication to data source failed"
    returned = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in _NOT_RETURNED}
    return answer.status, returned, answer.body
