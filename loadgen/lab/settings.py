"""The configuration of one embedded server: a JSON file with one object, made by the lab and read by the server.

The file holds S3 and login secrets, so it is written with mode 0600, and secrets are left out of every ``repr``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class SettingsError(Exception):
    """The configuration cannot be used; the text says where, what and what to do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server refuses. For rates and counts 0 means unlimited; other defaults are the real servers'.

    Attributes:
        rate_bytes_per_s, burst_bytes: token bucket over plain bytes (logs, traces); burst 0 means one second's worth.
        rate_samples_per_s, burst_samples: the same over samples (metrics).
        max_streams: active log streams.
        max_series: series in memory.
        max_live_traces: traces in memory.
        max_trace_bytes: size of one trace.
        max_line_bytes: length of one log line.
        max_labels: labels of one stream or series (0: the server's own default).
        max_entries_per_query: largest ``limit`` of a log query.
        max_query_series: most series that one metric query over logs may make.
        max_body_bytes: largest request body, as sent and after decompression.
        max_age_s: older log lines are refused.
        future_grace_s: lines and samples further ahead are refused.
        max_chunk_age_s: half of it is how far a log line may lie behind its stream's newest.
        max_memory_bytes: a server that uses more resident memory dies at once, as a container does (0: never).
    """

    rate_bytes_per_s: float = 0.0
    burst_bytes: int = 0
    rate_samples_per_s: float = 0.0
    burst_samples: int = 0
    max_streams: int = 0
    max_series: int = 0
    max_live_traces: int = 0
    max_trace_bytes: int = 0
    max_line_bytes: int = 262_144
    max_labels: int = 0
    max_entries_per_query: int = 5_000
    max_query_series: int = 500
    max_body_bytes: int = 104_857_600
    max_age_s: float = 604_800.0
    future_grace_s: float = 600.0
    max_chunk_age_s: float = 7_200.0
    max_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class User:
    """A login of the embedded Grafana; ``role`` is Viewer, Editor or Admin."""

    name: str
    password: str = field(repr=False)
    role: str = "Viewer"


@dataclass(frozen=True, slots=True)
class LabDatasource:
    """A data source of the embedded Grafana; ``json_data`` is JSON text handed through as ``jsonData``."""

    uid: str
    type: str
    name: str
    url: str
    json_data: str = "{}"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One server process.

    Attributes:
        component: ``loki``, ``mimir``, ``tempo`` or ``grafana``.
        host, port: where its HTTP API listens; port 0 picks a free one.
        grpc_port, otlp_port: Tempo's OTLP receivers.
        data_dir: the write-ahead log and whatever must survive a restart.
        s3_endpoint: URL; ``file:///directory`` keeps objects as files; empty keeps all data in the write-ahead log.
        tenant: name of the tenant in keys; empty means the real server's name for "no tenants".
        multitenancy: requests must name the tenant (Mimir).
        flush_age_s: data that arrived longer ago goes to S3.
        flush_check_s: how often that is looked at.
    """

    component: str
    data_dir: str
    host: str = "127.0.0.1"
    port: int = 0
    grpc_port: int = 0
    otlp_port: int = 0
    s3_endpoint: str = ""
    s3_bucket: str = ""
    s3_access_key: str = ""
    s3_secret_key: str = field(default="", repr=False)
    tenant: str = ""
    multitenancy: bool = False
    flush_age_s: float = 5.0
    flush_check_s: float = 1.0
    limits: Limits = field(default_factory=Limits)
    users: tuple[User, ...] = ()
    datasources: tuple[LabDatasource, ...] = ()

    def save(self, path: Path) -> None:
        """Writes the file, readable by its owner only, replacing an older one at once or not at all."""
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(self), file, indent=1)
        partial.replace(path)


def load_settings(path: Path) -> ServerSettings:
    """Reads a file that `ServerSettings.save` wrote.

    Raises:
        SettingsError: the file cannot be read, is not JSON, or has a missing, unknown or mistyped key.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); give a server's settings file") from error
    except ValueError as error:
        raise SettingsError(f"{path}: not valid JSON ({error}); write it again with `loadgen lab up`") from error
    return _build(ServerSettings, data, str(path))


def _build(kind: type[T], data: object, where: str) -> T:
    if not isinstance(data, dict):
        raise SettingsError(f"{where}: must be an object, but is {type(data).__name__}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    for key in data:
        if key not in fields:
            raise SettingsError(f"{where}: unknown key '{key}'; known are {', '.join(fields)}")
    for name, spec in fields.items():
        has_default = spec.default is not dataclasses.MISSING or spec.default_factory is not dataclasses.MISSING
        if name not in data and not has_default:
            raise SettingsError(f"{where}: key '{name}' is missing; add it")
    return kind(**{key: _value(hints[key], value, f"{where}: {key}") for key, value in data.items()})


def _value(kind: Any, value: object, where: str) -> object:
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise SettingsError(f"{where} must be a list, but is {type(value).__name__}")
        return tuple(_value(typing.get_args(kind)[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build(kind, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type | types.GenericAlias) and type(value) is not kind:
        raise SettingsError(f"{where} must be of type {kind.__name__}, but is {type(value).__name__}")
    return value
