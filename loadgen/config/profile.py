"""The profile: how many users of which kind, how long, which faults happen, which objectives hold."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from loadgen.config.capacity import CapacitySection
from loadgen.faults import FAULTS, FaultSettings
from loadgen.model import Signal
from loadgen.settings import Seconds, Section, Size, StoreName

_MAX_TITLE = 80
NO_SUCH_FAULT = "fault_kind"
"""The type of the error of a fault whose kind nobody knows."""


class Run(Section):
    """``[run]``: the frame of the load phase."""

    name: str = "default"
    duration: Seconds = Field(60.0, gt=0, description="length of the load phase")
    warmup: Seconds = Field(5.0, description="not counted for throughput")
    seed: int = Field(1, ge=0, lt=2**63, description="seed of all synthetic content")
    processes: int = Field(1, ge=1, le=64, description="Locust worker processes; 1 runs everything in one")
    max_late: Seconds = Field(30.0, description="overdue work beyond this is dropped and counted")
    retry_for: Seconds = Field(120.0, description="how long a push is retried before it is given up")
    timeout: Seconds = Field(10.0, gt=0, description="of one push")


class Logs(Section):
    """``[logs]``: log shippers; each is one pod and one Loki stream."""

    users: int = Field(3, ge=0, le=100_000)
    lines_per_s: float = Field(100.0, gt=0, description="of each user")
    push_every: Seconds = Field(1.0, gt=0, description="time between the pushes of a user")
    rate: Size | None = Field(None, gt=0, description="plain bytes per second of all users together; sets lines_per_s")


class Metrics(Section):
    """``[metrics]``: agents that scrape one instance each and remote-write its series."""

    users: int = Field(2, ge=0, le=100_000)
    series: int = Field(500, ge=1, le=200_000, description="active series of each user")
    push_every: Seconds = Field(2.0, gt=0, description="time between the pushes of a user")
    samples_per_push: int = Field(1, ge=1, le=1000, description="samples of every series in a push")
    rate: Size | None = Field(None, gt=0, description="plain bytes per second of all users together; sets push_every")


class Traces(Section):
    """``[traces]``: instrumented services that emit traces of eight spans."""

    users: int = Field(2, ge=0, le=100_000)
    traces_per_s: float = Field(10.0, gt=0, description="of each user")
    push_every: Seconds = Field(0.5, gt=0, description="time between the pushes of a user")
    grpc_share: float = Field(0.5, ge=0, le=1, description="share of users that push by OTLP/gRPC instead of OTLP/HTTP")
    sdk_every: Seconds = Field(5.0, description="a probe through the OpenTelemetry SDK this often; 0 for none")
    rate: Size | None = Field(None, gt=0, description="plain bytes per second of all users together; sets traces_per_s")


class Dashboards(Section):
    """``[dashboards]``: people who look at panels."""

    users: int = Field(1, ge=0, le=10_000)
    refresh: Seconds = Field(2.0, gt=0, description="time between two queries of a viewer")
    timeout: Seconds = Field(30.0, gt=0)


class Freshness(Section):
    """``[freshness]``: how visibility after acknowledgement is probed."""

    every: Seconds = Field(5.0, gt=0, description="per user, a batch this often is probed")
    poll: Seconds = Field(0.5, gt=0, description="time between two looks; the reported resolution")
    give_up: Seconds = Field(120.0, gt=0)


class Verify(Section):
    """``[verify]``: reading everything back after the load."""

    settle: Seconds = Field(2.0, description="wait between load and reading back")
    patience: Seconds = Field(
        120.0, description="how long something missing is asked for again, from its acknowledgement"
    )
    sample: float = Field(1.0, ge=0, le=1, description="share of batches whose content is compared, drawn at random")
    max_compared: int = Field(
        200_000, ge=0, description="lines, samples and spans compared of each signal: beyond, a smaller share is drawn"
    )
    parallel: int = Field(4, ge=1, le=64, description="queries at a time")
    timeout: Seconds = Field(60.0, gt=0)
    s3_wait: Seconds = Field(60.0, description="how long to watch S3 after the load for data that is not there yet")
    flush: bool = Field(
        False, description="ask the components to flush after the load; the verdict says that it was forced"
    )


class Publish(Section):
    """``[publish]``: where the outcome is told, beside the report."""

    metrics: bool = Field(False, description="verdicts and measured values to Mimir")
    annotation: bool = Field(False, description="the run as an annotation in Grafana; needs the role Editor")


def _kind_of(raw: object) -> str:
    """Which kind of fault settings speak of."""
    given = raw.get("kind", FAULTS[0].name) if isinstance(raw, dict) else getattr(raw, "kind", "")
    return given if isinstance(given, str) else ""


if TYPE_CHECKING:
    PlannedFault = FaultSettings
else:
    PlannedFault = Annotated[
        reduce(or_, (Annotated[kind.settings, Tag(kind.name)] for kind in FAULTS)),
        Discriminator(
            _kind_of,
            custom_error_type=NO_SUCH_FAULT,
            custom_error_message=f"there is no such kind of fault; kinds are {', '.join(kind.name for kind in FAULTS)}",
        ),
    ]


class OwnQuery(Section):
    """``[[queries]]``: a query of the user's own, timed and judged for errors and latency, not for content."""

    component: StoreName
    query: str = Field(..., max_length=8192, description="LogQL, PromQL or TraceQL")
    name: str = Field("", max_length=80, description="what reports call it; not set: the query itself")
    range: Seconds = Field(3600.0, ge=1, description="how far back it looks")
    every: Seconds = Field(30.0, ge=1, description="time between two of them")

    @field_validator("query")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("it is empty; write what a panel would ask")
        return text

    @property
    def title(self) -> str:
        """What reports call it, on one line."""
        text = " ".join((self.name or self.query).split())
        return text if len(text) <= _MAX_TITLE else text[: _MAX_TITLE - 1] + "…"


class SignalObjectives(Section):
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


class AllObjectives(Section):
    """``[objectives.all]``: promises that hold for the whole stack, and for loadgen itself."""

    query_max: Seconds = 5.0
    dropped_percent: float = Field(1.0, ge=0, le=100, description="work that loadgen itself may drop")
    lag_p99: Seconds = Field(0.5, description="how late loadgen itself may start its work")
    history_missing: int = Field(0, ge=0, description="items that may be missing from a run of days ago")
    history_after: Seconds = Field(86_400.0, description="age from which a run that is read back counts as of days ago")
    history_until: Seconds = Field(30 * 86_400.0, description="age up to which data is kept")


class Objectives(Section):
    """``[objectives]``: what is promised."""

    logs: LogObjectives = LogObjectives()
    metrics: MetricObjectives = MetricObjectives()
    traces: TraceObjectives = TraceObjectives()
    all: AllObjectives = AllObjectives()

    def of(self, signal: Signal) -> SignalObjectives:
        """The bounds of one signal."""
        bounds: SignalObjectives = getattr(self, signal.value)
        return bounds


class Profile(Section):
    """A whole profile."""

    run: Run = Run()
    logs: Logs = Logs()
    metrics: Metrics = Metrics()
    traces: Traces = Traces()
    dashboards: Dashboards = Dashboards()
    freshness: Freshness = Freshness()
    verify: Verify = Verify()
    publish: Publish = Publish()
    faults: tuple[PlannedFault, ...] = ()
    queries: tuple[OwnQuery, ...] = ()
    objectives: Objectives = Objectives()
    capacity: CapacitySection = CapacitySection()

    @model_validator(mode="after")
    def _consistent(self) -> Profile:
        if self.run.warmup >= self.run.duration:
            raise ValueError("run.warmup must be shorter than run.duration")
        if not (self.logs.users or self.metrics.users or self.traces.users):
            raise ValueError("nobody sends anything; give logs, metrics or traces at least one user")
        titles = [query.title for query in self.queries]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice is not None:
            raise ValueError(f'two queries are called {twice!r}; give each a name of its own (name = "…")')
        late = [fault for fault in self.faults if fault.at >= self.run.duration]
        if late:
            raise ValueError(f"a fault at {late[0].at:g} s comes after the end of the load at {self.run.duration:g} s")
        return self

    def users(self, signal: Signal) -> int:
        """Number of virtual users of a signal."""
        users: int = getattr(self, signal.value).users
        return users

    def overridden(self) -> tuple[str, ...]:
        """Dotted names of the objectives that differ from the built-in ones."""
        mine, default = self.objectives.model_dump(), Objectives().model_dump()
        return tuple(
            f"{group}.{name}"
            for group, bounds in mine.items()
            for name, value in bounds.items()
            if value != default[group][name]
        )
