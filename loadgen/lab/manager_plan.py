"""What a lab consists of: its parts, their ports, and the settings of each server. Starts nothing."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from loadgen.lab import manager_processes as proc
from loadgen.lab import seaweed
from loadgen.lab.settings import Datasource, ServerSettings, User
from loadgen.lab.state import LabError, LabState

Progress = Callable[[str], None]

S3 = "s3"
SERVERS = ("loki", "tempo", "mimir", "grafana")
PARTS = (S3, *SERVERS)
ENDPOINTS = ("loki", "tempo", "otlp_http", "otlp_grpc", "mimir", "grafana", "s3")
"""What has an address that a person may ask for."""

PORTS_OF = {
    "s3": tuple(seaweed.PORT_FLAGS),
    "loki": ("loki",),
    "tempo": ("tempo", "otlp_http", "otlp_grpc"),
    "mimir": ("mimir",),
    "grafana": ("grafana",),
}
"""Part to the names of its ports."""

PART_OF = {endpoint: part for part, ports in PORTS_OF.items() for endpoint in ports if endpoint in ENDPOINTS}
"""Endpoint to the part that serves it."""

READY_PATH = {"loki": "/ready", "tempo": "/ready", "mimir": "/ready", "grafana": "/api/health"}

_ADMIN = "admin"


def new_state(directory: Path) -> LabState:
    """A lab with fresh random credentials, still without ports and processes."""
    return LabState(
        directory=str(directory),
        processes=(),
        ports=(),
        buckets=tuple(seaweed.BUCKET_OF.items()),
        credentials=seaweed.new_credentials(),
        grafana_user=_ADMIN,
        grafana_password=secrets.token_urlsafe(18),
    )


def check_wanted(state: LabState, wanted: Mapping[str, int], running: Collection[str]) -> None:
    """Refuses impossible wishes for ports with a LabError."""
    for name, port in wanted.items():
        if name not in ENDPOINTS:
            raise LabError(f"no port is called '{name}'; there are {', '.join(ENDPOINTS)}")
        if not 1 <= port <= 65_535:
            raise LabError(f"port {name}={port}: a port is a number from 1 to 65535")
        if PART_OF[name] in running and dict(state.ports).get(name) != port:
            url = state.url(name)
            raise LabError(f"{name} runs already at {url}; to have it on {port}, first run `loadgen lab down`")
    if len(set(wanted.values())) < len(wanted):
        raise LabError("two endpoints cannot have the same port; give each its own")


def choose_ports(state: LabState, missing: Collection[str], wanted: Mapping[str, int], tell: Progress) -> LabState:
    """Gives ports to the parts that do not run: the wanted ones, else those of last time, else free ones.

    Args:
        state: the lab as it was.
        missing: the parts that do not run.
        wanted: endpoint to port; LabError if somebody has it.
        tell: told of ports that had to change.
    """
    chosen = dict(state.ports)
    taken = set(chosen.values()) | set(wanted.values())
    for name in (port for part in PARTS if part in missing for port in PORTS_OF[part]):
        if name in wanted:
            if not proc.is_free(wanted[name]):
                raise LabError(f"port {wanted[name]}, asked for {name}, is in use; free it or ask for another one")
            chosen[name] = wanted[name]
            continue
        old = chosen.get(name)
        if old is not None and old not in wanted.values() and proc.becomes_free(old):
            continue
        chosen[name] = proc.free_port(taken)
        taken.add(chosen[name])
        if old is not None:
            tell(f"port {old} of {name} is taken by now; it moves to {chosen[name]}")
    return state.with_ports(chosen)


def affected(before: LabState, after: LabState, running: Collection[str]) -> set[str]:
    """The running parts that must start again because another part, which they talk to, has moved."""
    old, new = dict(before.ports), dict(after.ports)
    uses = {"grafana": ("loki", "tempo", "mimir"), **dict.fromkeys(seaweed.BUCKET_OF, (S3,))}
    return {part for part in running if any(old.get(name) != new[name] for name in uses.get(part, ()))}


def server_settings(state: LabState, name: str) -> ServerSettings:
    """The settings of one embedded server of this lab."""
    ports = dict(state.ports)
    base = ServerSettings(
        component=name,
        data_dir=str(Path(state.directory) / "data" / name),
        port=ports[name],
        flush_age_s=state.flush_age_s,
        flush_check_s=min(1.0, max(0.1, state.flush_age_s / 5)),
    )
    if name == "grafana":
        user = User(state.grafana_user, state.grafana_password, "Admin")
        return replace(base, users=(user,), datasources=_datasources(state))
    if name == "tempo":
        base = replace(base, otlp_port=ports["otlp_http"], grpc_port=ports["otlp_grpc"])
    credential = state.credential(f"{name}-service")
    return replace(
        base,
        s3_endpoint=state.url(S3),
        s3_bucket=dict(state.buckets)[name],
        s3_access_key=credential.access_key,
        s3_secret_key=credential.secret_key,
    )


def _datasources(state: LabState) -> tuple[Datasource, ...]:
    """Grafana's data sources, linked to each other from logs to traces and back."""
    trace_id = {"name": "trace_id", "matcherRegex": r"trace_id[\":=]+\s*(\w+)"}
    logs = {"derivedFields": [{**trace_id, "datasourceUid": "tempo", "url": "${__value.raw}"}]}
    traces = {
        "tracesToLogsV2": {"datasourceUid": "loki", "filterByTraceID": True},
        "tracesToMetrics": {"datasourceUid": "mimir"},
    }
    metrics = {"httpMethod": "GET", "prometheusType": "Mimir"}
    return (
        Datasource("loki", "loki", "Loki", state.url("loki"), json.dumps(logs)),
        Datasource("tempo", "tempo", "Tempo", state.url("tempo"), json.dumps(traces)),
        Datasource("mimir", "prometheus", "Mimir", state.url("mimir") + "/prometheus", json.dumps(metrics)),
    )
