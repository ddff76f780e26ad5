"""Configuration: what to load, where, and what is promised. TOML files and ``LOADGEN_*`` variables, validated in full.

Two files describe a run. The *profile* says how many users of which kind there are, how long, which faults happen and
which objectives hold. The *target* says where the stack is and how to log in. Every setting can be overridden from the
environment: ``LOADGEN_<SECTION>_<KEY>`` (for example ``LOADGEN_GRAFANA_PASSWORD``, ``LOADGEN_LOGS_USERS``). Secrets are
``SecretStr``: they appear neither in messages nor in the run directory.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from loadgen.model import Component, Signal
from loadgen.units import seconds, size_bytes

Seconds = Annotated[float, BeforeValidator(seconds)]
Size = Annotated[float, BeforeValidator(size_bytes)]


class ConfigError(Exception):
    """A configuration cannot be used; the text says where, what and what to do."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


# -- profile -------------------------------------------------------------------------------------------------------


class Run(_Section):
    """``[run]``: the frame of the load phase."""

    name: str = "default"
    duration: Seconds = Field(60.0, gt=0, description="length of the load phase")
    warmup: Seconds = Field(5.0, description="not counted for throughput")
    seed: int = Field(1, ge=0, lt=2**63, description="seed of all synthetic content")
    processes: int = Field(1, ge=1, le=64, description="Locust worker processes; 1 runs everything in one")
    max_late: Seconds = Field(30.0, description="overdue work beyond this is dropped and counted")
    retry_for: Seconds = Field(120.0, description="how long a push is retried before it is given up")
    timeout: Seconds = Field(10.0, gt=0, description="of one push")


class Logs(_Section):
    """``[logs]``: log shippers; each is one pod and one Loki stream."""

    users: int = Field(3, ge=0, le=100_000)
    lines_per_s: float = Field(100.0, gt=0, description="of each user")
    push_every: Seconds = Field(1.0, gt=0, description="time between the pushes of a user")
    rate: Size | None = Field(None, gt=0, description="plain bytes per second of all users together; sets lines_per_s")


class Metrics(_Section):
    """``[metrics]``: agents that scrape one instance each and remote-write its series."""

    users: int = Field(2, ge=0, le=100_000)
    series: int = Field(500, ge=1, le=200_000, description="active series of each user")
    push_every: Seconds = Field(2.0, gt=0, description="time between the pushes of a user")
    samples_per_push: int = Field(1, ge=1, le=1000, description="samples of every series in a push")
    rate: Size | None = Field(None, gt=0, description="plain bytes per second of all users together; sets push_every")


class Traces(_Section):
    """``[traces]``: instrumented services that emit traces of eight spans."""

    users: int = Field(2, ge=0, le=100_000)
    traces_per_s: float = Field(10.0, gt=0, description="of each user")
    push_every: Seconds = Field(0.5, gt=0, description="time between the pushes of a user")
    grpc_share: float = Field(0.5, ge=0, le=1, description="share of users that push by OTLP/gRPC instead of OTLP/HTTP")
    sdk_every: Seconds = Field(5.0, description="a probe through the OpenTelemetry SDK this often; 0 for none")
    rate: Size | None = Field(None, gt=0, description="plain bytes per second of all users together; sets traces_per_s")


class Dashboards(_Section):
    """``[dashboards]``: people who look at panels."""

    users: int = Field(1, ge=0, le=10_000)
    refresh: Seconds = Field(2.0, gt=0, description="time between two queries of a viewer")
    timeout: Seconds = Field(30.0, gt=0)


class Freshness(_Section):
    """``[freshness]``: how visibility after acknowledgement is probed."""

    every: Seconds = Field(5.0, gt=0, description="per user, a batch this often is probed")
    poll: Seconds = Field(0.5, gt=0, description="time between two looks; the reported resolution")
    give_up: Seconds = Field(120.0, gt=0)


class Verify(_Section):
    """``[verify]``: reading everything back after the load."""

    settle: Seconds = Field(2.0, description="wait between load and reading back")
    patience: Seconds = Field(
        120.0, description="how long something missing is asked for again, from its acknowledgement"
    )
    sample: float = Field(1.0, ge=0, le=1, description="share of batches whose content is compared")
    max_compared: int = Field(200_000, ge=0, description="lines, samples and spans compared, at most, of each signal")
    parallel: int = Field(4, ge=1, le=64, description="queries at a time")
    timeout: Seconds = Field(60.0, gt=0)
    s3_wait: Seconds = Field(60.0, description="how long to watch S3 after the load for data that is not there yet")
    flush: bool = Field(
        False, description="ask the components to flush after the load; the verdict says that it was forced"
    )


class Fault(_Section):
    """``[[faults]]``: one fault of the timeline."""

    at: Seconds = Field(..., description="after the beginning of the load")
    component: Literal["loki", "tempo", "mimir"]
    kind: Literal["kill", "restart"] = "kill"
    down: Seconds = Field(0.5, description="time until it is started again")


class OwnQuery(_Section):
    """``[[queries]]``: a query of the user's own, timed and judged for errors and latency, not for content."""

    component: Literal["loki", "tempo", "mimir"]
    query: str = Field(..., min_length=1, description="LogQL, TraceQL or PromQL")
    name: str = Field("", max_length=80, description="what reports call it; not set: the query itself")
    range: Seconds = Field(3600.0, gt=0, description="how far back it looks")
    every: Seconds = Field(30.0, gt=0, description="time between two of them")

    @property
    def title(self) -> str:
        """What reports call it."""
        return self.name or self.query


class SignalObjectives(_Section):
    """Bounds of one signal's promises."""

    loss: int = Field(0, ge=0, description="accepted items that may be missing")
    duplicates: int = Field(0, ge=0)
    altered: int = Field(0, ge=0)
    order: int = Field(0, ge=0)
    throughput: Size | None = Field(None, gt=0, description="plain bytes per second; not set: the profile's own rate")
    not_accepted_percent: float = Field(0.1, ge=0, le=100)
    query_p99: Seconds = 3.0
    freshness_p99: Seconds = 60.0
    freshness_max: Seconds = 75.0
    s3_delay_max: Seconds = 300.0
    recovery_max: Seconds = 300.0
    persistence: int = Field(0, ge=0, description="items accepted before a restart that may be missing after it")


class LogObjectives(SignalObjectives):
    """``[objectives.logs]``."""

    freshness_p99: Seconds = 30.0
    freshness_max: Seconds = 45.0


class TraceObjectives(SignalObjectives):
    """``[objectives.traces]``."""

    query_p99: Seconds = 5.0
    s3_delay_max: Seconds = 600.0


class MetricObjectives(SignalObjectives):
    """``[objectives.metrics]``."""

    s3_delay_max: Seconds = 14_400.0


class AllObjectives(_Section):
    """``[objectives.all]``: promises that hold for the whole stack, and for loadgen itself."""

    query_max: Seconds = 5.0
    dropped_percent: float = Field(1.0, ge=0, le=100, description="work that loadgen itself may drop")
    lag_p99: Seconds = Field(0.5, description="how late loadgen itself may start its work")


class Objectives(_Section):
    """``[objectives]``: what is promised."""

    logs: LogObjectives = LogObjectives()
    metrics: MetricObjectives = MetricObjectives()
    traces: TraceObjectives = TraceObjectives()
    all: AllObjectives = AllObjectives()

    def of(self, signal: Signal) -> SignalObjectives:
        """The bounds of one signal."""
        return {Signal.LOGS: self.logs, Signal.METRICS: self.metrics, Signal.TRACES: self.traces}[signal]


class Profile(_Section):
    """A whole profile."""

    run: Run = Run()
    logs: Logs = Logs()
    metrics: Metrics = Metrics()
    traces: Traces = Traces()
    dashboards: Dashboards = Dashboards()
    freshness: Freshness = Freshness()
    verify: Verify = Verify()
    faults: tuple[Fault, ...] = ()
    queries: tuple[OwnQuery, ...] = ()
    objectives: Objectives = Objectives()

    @model_validator(mode="after")
    def _consistent(self) -> Profile:
        if self.run.warmup >= self.run.duration:
            raise ValueError("run.warmup must be shorter than run.duration")
        if not (self.logs.users or self.metrics.users or self.traces.users):
            raise ValueError("nobody sends anything; give logs, metrics or traces at least one user")
        titles = [query.title for query in self.queries]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice is not None:
            raise ValueError(f"two queries are called {twice!r}; give them different names")
        late = [fault for fault in self.faults if fault.at >= self.run.duration]
        if late:
            raise ValueError(f"a fault at {late[0].at:g} s comes after the end of the load at {self.run.duration:g} s")
        return self

    def users(self, signal: Signal) -> int:
        """Number of virtual users of a signal."""
        return {
            Signal.LOGS: self.logs.users,
            Signal.METRICS: self.metrics.users,
            Signal.TRACES: self.traces.users,
        }[signal]

    def overridden(self) -> tuple[str, ...]:
        """Dotted names of the objectives that differ from the built-in ones."""
        mine, default = self.objectives.model_dump(), Objectives().model_dump()
        return tuple(
            f"{group}.{name}"
            for group, bounds in mine.items()
            for name, value in bounds.items()
            if value != default[group][name]
        )


# -- target --------------------------------------------------------------------------------------------------------


class _Login(_Section):
    """How to log in and whom to trust. TLS certificates are verified unless that is turned off by name."""

    user: str = ""
    password: SecretStr = SecretStr("")
    password_file: str = ""
    bearer_token: SecretStr = SecretStr("")
    bearer_token_file: str = ""
    tenant: str = Field("", description="sent as X-Scope-OrgID when set")
    ca_file: str = ""
    verify_tls: bool = True

    @model_validator(mode="after")
    def _one_way(self) -> _Login:
        if self.user and (self.bearer_token.get_secret_value() or self.bearer_token_file):
            raise ValueError("both user and bearer_token are given; choose one")
        return self

    def secret_password(self) -> str:
        """The password, from its file if one is named."""
        return _from_file(self.password_file) if self.password_file else self.password.get_secret_value()

    def secret_token(self) -> str:
        """The bearer token, from its file if one is named."""
        return _from_file(self.bearer_token_file) if self.bearer_token_file else self.bearer_token.get_secret_value()


class LokiTarget(_Login):
    """``[loki]``: ``url`` is the base that ``/loki/api/v1/push`` hangs under."""

    url: str = ""
    query_url: str = Field("", description="for reading without Grafana; not set: the same as url")
    datasource: str = "loki"
    engine: str = "deployed"


class TempoTarget(_Login):
    """``[tempo]``: where OTLP goes, and where queries go without a Grafana."""

    otlp_http: str = Field("", description="base that /v1/traces hangs under, e.g. http://tempo:4318")
    otlp_grpc: str = Field("", description="host:port, e.g. tempo:4317; https:// in front for TLS")
    query_url: str = ""
    datasource: str = "tempo"
    engine: str = "deployed"


class MimirTarget(_Login):
    """``[mimir]``: ``url`` is the base that ``/api/v1/push`` and ``/prometheus`` hang under."""

    url: str = ""
    query_url: str = Field("", description="base of the Prometheus API; not set: <url>/prometheus")
    datasource: str = "mimir"
    engine: str = "deployed"


class GrafanaTarget(_Login):
    """``[grafana]``."""

    url: str = ""
    engine: str = "deployed"


class S3Target(_Section):
    """``[s3]``: a credential that may list and read is enough."""

    endpoint: str = ""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: SecretStr = SecretStr("")
    secret_access_key_file: str = ""
    loki_bucket: str = "loki-chunks"
    tempo_bucket: str = "tempo-traces"
    mimir_bucket: str = "mimir-blocks"
    ca_file: str = ""
    verify_tls: bool = True
    poll: Seconds = Field(2.0, gt=0, description="time between two listings")
    engine: str = "deployed"

    def secret_key(self) -> str:
        """The secret key, from its file if one is named."""
        if self.secret_access_key_file:
            return _from_file(self.secret_access_key_file)
        return self.secret_access_key.get_secret_value()

    def bucket(self, component: Component) -> str:
        """The bucket of a component."""
        return {
            Component.LOKI: self.loki_bucket,
            Component.TEMPO: self.tempo_bucket,
            Component.MIMIR: self.mimir_bucket,
        }[component]


class Target(_Section):
    """A whole target. ``via`` says whether reading goes through Grafana or to the components themselves."""

    name: str = "stack"
    via: Literal["grafana", "direct"] = "grafana"
    loki: LokiTarget = LokiTarget()
    tempo: TempoTarget = TempoTarget()
    mimir: MimirTarget = MimirTarget()
    grafana: GrafanaTarget = GrafanaTarget()
    s3: S3Target = S3Target()

    def engines(self) -> dict[str, str]:
        """What each component is: embedded, native, compose or deployed."""
        return {
            str(component): section.engine
            for component, section in (
                (Component.LOKI, self.loki),
                (Component.TEMPO, self.tempo),
                (Component.MIMIR, self.mimir),
                (Component.GRAFANA, self.grafana),
                (Component.S3, self.s3),
            )
        }

    def without_secrets(self) -> dict[str, Any]:
        """What may be stored of it; reading it back gives a target whose secrets come from the environment."""
        dumped = self.model_dump(mode="json")
        for section in dumped.values():
            if isinstance(section, dict):
                for name in ("password", "bearer_token", "secret_access_key"):
                    section.pop(name, None)
        return dumped


# -- reading -------------------------------------------------------------------------------------------------------

_Model = TypeVar("_Model", Profile, Target)


def load_profile(
    path: Path, overrides: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
) -> Profile:
    """Read a profile; ``overrides`` (dotted names) win over the environment, which wins over the file."""
    return _load(Profile, _read_toml(path), path.name, overrides or {}, os.environ if env is None else env)


def load_target(path: Path, env: Mapping[str, str] | None = None) -> Target:
    """Read a target file."""
    return _load(Target, _read_toml(path), path.name, {}, os.environ if env is None else env)


def parse_profile(raw: Mapping[str, Any], origin: str) -> Profile:
    """A profile from values that were stored with a run."""
    return _load(Profile, dict(raw), origin, {}, {})


def parse_target(raw: Mapping[str, Any], origin: str, env: Mapping[str, str] | None = None) -> Target:
    """A target from values, completed from the environment."""
    return _load(Target, dict(raw), origin, {}, os.environ if env is None else env)


def _from_file(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: the secret cannot be read ({problem})") from problem


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read ({problem.strerror})") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from problem


def _load(
    model: type[_Model], raw: dict[str, Any], origin: str, overrides: Mapping[str, Any], env: Mapping[str, str]
) -> _Model:
    for section, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(raw.get(section, {}), dict):
            for name in kind.model_fields:
                value = env.get(f"LOADGEN_{section}_{name}".upper())
                if value is not None:
                    raw[section] = {**raw.get(section, {}), name: value}
    for dotted, value in overrides.items():
        *sections, name = dotted.split(".")
        level = raw
        for section in sections:
            level[section] = dict(level.get(section, {}))
            level = level[section]
        level[name] = value
    try:
        return model.model_validate(raw)
    except ValidationError as problem:
        raise ConfigError("\n".join(_explain(model, origin, error) for error in problem.errors())) from problem


def _explain(model: type[BaseModel], origin: str, error: Any) -> str:
    """One validation error as a sentence: where, what, and the nearest right key. Never the value of a secret."""
    location = [str(part) for part in error["loc"]]
    where = f"{origin}: " + (f"[{'.'.join(location[:-1])}] {location[-1]}" if len(location) > 1 else ".".join(location))
    if error["type"] == "extra_forbidden":
        allowed = _keys_at(model, error["loc"][:-1])
        near = difflib.get_close_matches(location[-1], allowed, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(allowed))}"
        return f"{where}: no such setting; {hint}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where.rstrip(': ')}: {message}"


def _keys_at(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    level: Any = model
    for part in path:
        if isinstance(part, int):
            continue
        field = level.model_fields.get(part) if hasattr(level, "model_fields") else None
        if field is None:
            return []
        level = field.annotation
        arguments = [a for a in getattr(level, "__args__", ()) if hasattr(a, "model_fields")]
        level = arguments[0] if arguments else level
    return list(level.model_fields) if hasattr(level, "model_fields") else []
