"""What the embedded Grafana answers to a query that a defect on order has hit."""

from __future__ import annotations

import json
import zlib
from typing import Any

from starlette.responses import HTMLResponse, Response

from loadgen.lab.defects import DefectKind

_LOGIN = "<!doctype html><html><head><title>Sign in</title></head><body>Sign in to continue</body></html>"
_GATEWAY = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
# Where the answers of the three components keep what was found.
_RESULTS: dict[str, Any] = {"result": [], "traces": [], "trace": {}, "tagValues": [], "frames": [], "batches": []}


def page(kind: DefectKind) -> Response | None:
    """A page for people, as a login page or a proxy gives it; None for defects that answer otherwise."""
    if kind is DefectKind.PAGE:
        return HTMLResponse(_LOGIN)
    return HTMLResponse(_GATEWAY, 502) if kind is DefectKind.UNAVAILABLE else None


def asked_sources(body: bytes) -> str:
    """The data sources that a request of panels asks, by uid."""
    try:
        queries = json.loads(body)["queries"]
        return " ".join(str(query["datasource"]["uid"]) for query in queries)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def without_results(content: Any) -> Any:
    """The same answer as if there were no data: a list of names, streams, series, traces or frames is empty."""
    if not isinstance(content, dict):
        return content
    made = {key: _RESULTS[key] if key in _RESULTS else without_results(value) for key, value in content.items()}
    if content.get("status") == "success" and isinstance(content.get("data"), list):
        made["data"] = []
    return made


def emptied(headers: dict[str, str], content: bytes) -> tuple[dict[str, str], bytes]:
    """An answer of a component without its results, not compressed; one that is no JSON stays as it is."""
    try:
        plain = zlib.decompress(content, 31) if headers.get("content-encoding") == "gzip" else content
        text = json.dumps(without_results(json.loads(plain)), separators=(",", ":"))
    except (ValueError, zlib.error, RecursionError):
        return headers, content
    return {name: value for name, value in headers.items() if name != "content-encoding"}, text.encode()
