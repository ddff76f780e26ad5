"""What a lab consists of: its parts, their ports, and the settings of each server. Starts nothing."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from loadgen.lab import limits as limiting
from loadgen.lab.processes import native
from loadgen.lab.processes import running as proc
from loadgen.lab.s3 import seaweed
from loadgen.lab.settings import LabDatasource, ServerSettings, User
from loadgen.lab.state import EMBEDDED, NATIVE, LabError, LabState
from loadgen.model import Component

Progress = Callable[[str], None]

S3 = "s3"
SERVERS = ("loki", "tempo", "mimir", "grafana")
PARTS = (S3, *SERVERS)
PROMETHEUS = "prometheus"
"""A part that a lab has only when it is asked for, and only as a real server."""
EMBEDDED_FLUSH_AGE_S = 5.0
ENDPOINTS = ("loki", "tempo", "otlp_http", "otlp_grpc", "mimir", "grafana", "s3")
"""What has an address that a person may ask for."""

PORTS_OF = {
    "s3": tuple(seaweed.PORT_FLAGS),
    "loki": ("loki",),
    "tempo": ("tempo", "otlp_http", "otlp_grpc"),
    "mimir": ("mimir",),
    "grafana": ("grafana",),
    PROMETHEUS: (PROMETHEUS,),
}
"""Part to the names of the ports that people and other parts use."""

# Real servers listen for their own kind too.
_INNER_PORTS = {name: (f"{name}_grpc", f"{name}_gossip") for name in ("loki", "tempo", "mimir")}

PART_OF = {endpoint: part for part, ports in PORTS_OF.items() for endpoint in ports if endpoint in ENDPOINTS}
"""Endpoint to the part that serves it."""

READY_PATH = {
    "loki": "/ready",
    "tempo": "/ready",
    "mimir": "/ready",
    "grafana": "/api/health",
    PROMETHEUS: "/-/ready",
}

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


def parts_of(state: LabState) -> tuple[str, ...]:
    """The parts of this lab, in the order of their start."""
    return (*PARTS, PROMETHEUS) if PROMETHEUS in dict(state.engines) else PARTS


def endpoints_of(state: LabState) -> tuple[str, ...]:
    """What of this lab has an address that a person may ask for."""
    return (*ENDPOINTS, PROMETHEUS) if PROMETHEUS in dict(state.engines) else ENDPOINTS


def with_engines(state: LabState, wanted: Mapping[str, str], running: Collection[str]) -> LabState:
    """The lab with these engines (part to ``embedded`` or ``native``); other parts keep theirs.

    What a real server and an embedded one store in S3 and on the disk is laid out alike, but neither can go on with the
    other's, so a component that has data keeps its engine. Raises LabError for that, and for what is not on PATH.
    """
    engines = dict(state.engines)
    for part, engine in wanted.items():
        if part not in (*SERVERS, PROMETHEUS):
            raise LabError(f"no part '{part}' can be chosen; there are {', '.join((*SERVERS, PROMETHEUS))}")
        if engine not in (EMBEDDED, NATIVE) or (part == PROMETHEUS and engine != NATIVE):
            raise LabError(f"{part} cannot be '{engine}'; {NATIVE} or {EMBEDDED} it can be (Prometheus only {NATIVE})")
        if engine == NATIVE:
            native.need_program(part)
        if engine == engines.get(part, EMBEDDED):
            continue
        data = Path(state.directory) / "data" / part
        if part in running or (data.is_dir() and any(data.iterdir())):
            old = engines.get(part, EMBEDDED)
            raise LabError(
                f"{part} in {state.directory} is {old} and has data that the {engine} one cannot go on with; "
                "use another lab directory (--dir or LOADGEN_LAB_DIR), or empty this one: `loadgen lab down --wipe`"
            )
        engines[part] = engine
    kept = tuple((part, engine) for part, engine in engines.items() if engine != EMBEDDED)
    return replace(state, engines=kept)


def with_limits(state: LabState, wanted: Mapping[str, float | None]) -> LabState:
    """The lab with these limits changed: name to value in plain units, None for no limit; others stay as they are.

    Raises LabError for what is no limit, and where a real server would have to keep one.
    """
    state = replace(state, limits=limiting.merged(dict(state.limits), wanted))
    for name, value in state.limits:
        kind = limiting.kind_of(name)
        if kind.component in dict(state.engines):
            raise LabError(
                f"{kind.component} is a real server here, which `{name}={value:g}` cannot limit: set {kind.setting} "
                f"(in {native.CONFIG}), and take the limit away with --limit {name}={limiting.NONE}"
            )
    return state


def limited_anew(before: LabState | None, after: LabState) -> set[str]:
    """The parts whose limits differ, and that therefore must start again."""
    old = set(before.limits if before is not None else ())
    return {name.partition(".")[0] for name, _ in old ^ set(after.limits)}


def ports_of(state: LabState, part: str) -> tuple[str, ...]:
    """The names of all ports of a part."""
    return PORTS_OF[part] + (_INNER_PORTS.get(part, ()) if state.is_native(part) else ())


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
    for name in (port for part in parts_of(state) if part in missing for port in ports_of(state, part)):
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


def lost_port(state: LabState, missing: Collection[str]) -> bool:
    """Whether somebody else has a port of these parts, which do not run."""
    ports = dict(state.ports)
    return not all(proc.becomes_free(ports[port]) for part in missing for port in ports_of(state, part))


def stores_behind(started: Collection[str]) -> tuple[Component, ...]:
    """The stores whose answers depend on these parts: all of them on Grafana, and on S3."""
    through_all = {"grafana", S3} & set(started)
    return tuple(
        store for store in (Component.LOKI, Component.TEMPO, Component.MIMIR) if through_all or store in started
    )


def affected(before: LabState, after: LabState, running: Collection[str]) -> set[str]:
    """The running parts that must start again because another part, which they talk to, has moved."""
    old, new = dict(before.ports), dict(after.ports)
    reads = ("loki", "tempo", "mimir")
    uses = {"grafana": reads, PROMETHEUS: reads, **dict.fromkeys(seaweed.BUCKET_OF, (S3,))}
    return {part for part in running if any(old.get(name) != new[name] for name in uses.get(part, ()))}


def server_settings(state: LabState, name: str) -> ServerSettings:
    """The settings of one embedded server of this lab."""
    ports = dict(state.ports)
    flush_age_s = state.flush_age_s or EMBEDDED_FLUSH_AGE_S
    base = ServerSettings(
        component=name,
        data_dir=str(Path(state.directory) / "data" / name),
        port=ports[name],
        flush_age_s=flush_age_s,
        flush_check_s=min(1.0, max(0.1, flush_age_s / 5)),
        limits=limiting.limits_of(name, state.limits),
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


def _datasources(state: LabState) -> tuple[LabDatasource, ...]:
    """Grafana's data sources, linked to each other from logs to traces and back."""
    trace_id = {"name": "trace_id", "matcherRegex": r"trace_id[\":=]+\s*(\w+)"}
    logs = {"derivedFields": [{**trace_id, "datasourceUid": "tempo", "url": "${__value.raw}"}]}
    traces = {
        "tracesToLogsV2": {"datasourceUid": "loki", "filterByTraceID": True},
        "tracesToMetrics": {"datasourceUid": "mimir"},
    }
    metrics = {"httpMethod": "GET", "prometheusType": "Mimir"}
    return (
        LabDatasource("loki", "loki", "Loki", state.url("loki"), json.dumps(logs)),
        LabDatasource("tempo", "tempo", "Tempo", state.url("tempo"), json.dumps(traces)),
        LabDatasource("mimir", "prometheus", "Mimir", state.url("mimir") + "/prometheus", json.dumps(metrics)),
    )
