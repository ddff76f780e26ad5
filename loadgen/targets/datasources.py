"""What Grafana says when it has no data source of a uid, and which ones it has: one sentence for all who ask."""

from __future__ import annotations

import re
from collections.abc import Callable

from loadgen.model import Component
from loadgen.targets.http import Answer, HttpClient, json_of

# Grafana's own words, which differ between its APIs and releases; a component's 404 looks otherwise.
_LACKS = re.compile(
    rb'"message"\s*:\s*"(?:data ?source not found|(?:unable to (?:find|load)|failed to find) data ?source)',
    re.IGNORECASE,
)
_ASK_WITHIN_S = 5.0


class Datasources:
    """The data sources of one Grafana. They are listed at most once, and only when one is not there."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._listed: str | None = None

    def of(self, component: Component, uid: str) -> Callable[[Answer], str]:
        """A function that says whether an answer means that this data source is not there; empty when it does not."""

        def explain(answer: Answer) -> str:
            if answer.ok or not _LACKS.search(answer.body[:4000]):
                return ""
            if self._listed is None:
                self._listed = self._list()
            lacks = f"{self._client.where}: no data source with the uid {uid}"
            return f"{lacks}; {self._listed}; set datasource in [{component}]"

        return explain

    def _list(self) -> str:
        answer = self._client.get("/api/datasources", timeout_s=_ASK_WITHIN_S)
        rows, error = json_of(answer, self._client.where)
        if error or not isinstance(rows, list):
            denied = answer.status in (401, 403)
            why = "this login may not list them" if denied else "they could not be listed"
            return f"which there are is not known, because {why} (Grafana shows the uid in a data source's address)"
        uids = [str(row.get("uid", "")) for row in rows if isinstance(row, dict)]
        return f"there are: {', '.join(uids)}" if uids else "there is none at all"
