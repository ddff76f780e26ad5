"""What the lab pushes into each store to see that it works: one stream, one series, one trace, always the same.

Under names of their own, which no run, panel or watcher asks for. The embedded servers leave them out of what they
count against a limit, so that a limit means what it says.
"""

from __future__ import annotations

LINE_LABELS = (("loadgen_lab", "ready"), ("service_name", "loadgen-lab"))
"""Sorted, and with a service name, or Loki would add one."""
SERIES_LABELS = (("__name__", "loadgen_lab_ready"),)
TRACE_ID = bytes.fromhex("6c6f616467656e206c61622072656164")
SERVICE = "loadgen-lab"


def without_proof(count: int, holds_proof: bool) -> int:
    """How many are held beside the lab's own one."""
    return count - 1 if holds_proof else count
