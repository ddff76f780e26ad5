"""Orders of defects on their way to an embedded server, over HTTP."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request

from loadgen.lab.state import LabError


def exchange(name: str, url: str, body: bytes | None, method: str) -> bytes:
    """One request to ``/lab/defects`` of the server ``name`` at ``url``; LabError in its own words when it refuses."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/lab/defects", body, headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        text = error.read(2_000).decode("utf-8", "replace")
        raise LabError(f"{name} does not take this defect: {_error_text(text)}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LabError(f"{name} at {url} does not answer ({error}); see `loadgen lab status`") from error


def _error_text(body: str) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.strip()
