"""Embedded servers that are set up as the recorded ones were for some cases: with a limit, or with tenants."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadgen.lab.loki.server import Loki
from loadgen.lab.mimir.server import MimirServer
from loadgen.lab.processes.serve import serving
from loadgen.lab.settings import Limits, ServerSettings
from loadgen.lab.tempo.server import Tempo

_NEVER_S = 1e9
_MIB = 1 << 20
# Limit of a real server to that of an embedded one, and what a unit of the one is in the other.
_LIMITS: dict[str, dict[str, tuple[str, float]]] = {
    "mimir": {
        "ingestion_rate": ("rate_samples_per_s", 1),
        "ingestion_burst_size": ("burst_samples", 1),
        "max_global_series_per_user": ("max_series", 1),
    },
    "loki": {
        "ingestion_rate_mb": ("rate_bytes_per_s", _MIB),
        "ingestion_burst_size_mb": ("burst_bytes", _MIB),
        "max_global_streams_per_user": ("max_streams", 1),
        "max_line_size": ("max_line_bytes", 1),
        "max_label_names_per_series": ("max_labels", 1),
        "max_entries_limit_per_query": ("max_entries_per_query", 1),
        "max_query_series": ("max_query_series", 1),
        "reject_old_samples_max_age": ("max_age_s", 60),
    },
    "tempo": {
        "rate_limit_bytes": ("rate_bytes_per_s", 1),
        "burst_size_bytes": ("burst_bytes", 1),
        "max_traces_per_user": ("max_live_traces", 1),
        "max_bytes_per_trace": ("max_trace_bytes", 1),
    },
}
_WITH_FLAGS = {"-distributor.max-recv-msg-size=1000": {"max_body_bytes": 1000}}
# Flags that change nothing for what the embedded server is asked.
_IDLE_FLAGS = {"-querier.timeout=20ms", "-distributor.max-otlp-request-size=1000"}


@dataclass(frozen=True, slots=True)
class Impossible:
    """No server can be set up so."""

    reason: str


def set_up(file: str, setup: str, engine: str, directory: Path, running: ExitStack) -> dict[str, str] | Impossible:
    """Starts a server as a case wants it; endpoint to address. It is stopped with ``running``."""
    wanted = json.loads(setup)
    part = file.partition("-")[0]
    words = _words(wanted)
    if engine != "embedded":
        return Impossible(f"it needs a server with {words}")
    limits = _limits(part, wanted)
    if limits is None or (part == "tempo" and wanted.get("multitenancy_enabled") and "tenant" not in wanted):
        return Impossible(f"the embedded server cannot have {words}")
    directory.mkdir(parents=True)
    settings = ServerSettings(
        component=part,
        data_dir=str(directory),
        tenant=wanted.get("tenant", ""),
        flush_age_s=_NEVER_S,
        limits=limits,
    )
    if part == "mimir":
        settings = replace(settings, multitenancy="tenant" in wanted or "multitenancy_enabled" in wanted)
        return {"mimir": running.enter_context(serving(MimirServer(settings).app()))}
    if part == "loki":
        return {"loki": running.enter_context(serving(Loki(settings).app()))}
    tempo = Tempo(settings)
    url = running.enter_context(serving(tempo.app))
    return {"tempo": url, "otlp_http": f"http://127.0.0.1:{tempo.otlp_port}"}


def _words(wanted: dict[str, Any]) -> str:
    named = {**wanted.get("limits", {}), **wanted.get("overrides", {})}
    flat = [name for key, value in named.items() for name in (value if isinstance(value, dict) else [key])]
    rest = [f"{key}={value}" for key, value in wanted.items() if key not in ("limits", "overrides", "tenant")]
    words = [*wanted.get("flags", ()), *flat, *(one for one in rest if not one.startswith("flags="))]
    return ", ".join(words) or "several tenants"


def _limits(part: str, wanted: dict[str, Any]) -> Limits | None:
    """The limits of an embedded server; None if it has no such limit."""
    changes: dict[str, Any] = {}
    groups = wanted.get("overrides", {})
    asked = {**wanted.get("limits", {}), **{k: v for group in groups.values() for k, v in group.items()}}
    for name, value in asked.items():
        if name not in _LIMITS[part]:
            return None
        field, factor = _LIMITS[part][name]
        number = float(str(value).removesuffix("m")) * factor
        changes[field] = number if field.startswith("rate_") or field.endswith("_s") else int(number)
    for flag in wanted.get("flags", ()):
        if flag not in _WITH_FLAGS and flag not in _IDLE_FLAGS:
            return None
        changes.update(_WITH_FLAGS.get(flag, {}))
    if set(wanted) - {"limits", "overrides", "flags", "tenant", "multitenancy_enabled"}:
        return None
    return Limits(**changes)
