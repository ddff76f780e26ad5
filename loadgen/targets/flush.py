"""Asking the components to write what they hold to S3 now, where they can be asked."""

from __future__ import annotations

from loadgen.config import Target
from loadgen.targets.http import HttpClient


def flush_components(target: Target) -> tuple[str, ...]:
    """Ask Loki, Mimir and Tempo to flush; what could not be asked comes back in words.

    The paths are those of the servers themselves: gateways often do not route them, and Tempo 3 has none.
    """
    problems: list[str] = []
    for name, base, path, login in (
        ("Loki", target.loki.url, "/flush", target.loki),
        ("Mimir", target.mimir.url, "/ingester/flush", target.mimir),
        ("Tempo", target.tempo.query_url, "/flush", target.tempo),
    ):
        if not base:
            problems.append(f"{name} was not asked to flush: the target does not say where it is")
            continue
        client = HttpClient(base, login, timeout_s=30.0)
        answer = client.post(path, b"", {})
        client.close()
        if answer.status == 404 and name == "Tempo":
            problems.append("Tempo was not flushed: Tempo 3 cannot be asked, it writes a block when it is old enough")
        elif not answer.ok:
            problems.append(f"{name} was not flushed: {answer.error}")
    return tuple(problems)
