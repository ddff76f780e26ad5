"""What the stack was asked to be, and which check, rule or person shows that it is: one literal table.

Names of checks are those of ``loadgen run`` (`loadgen.checks`), ``loadgen check`` (`loadgen.acceptance`) and ``loadgen
audit`` (`loadgen.audit`). To add a check, add its name to what it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadgen.model import Result, Verdict

_WORST = (Result.FAIL, Result.UNKNOWN, Result.PASS, Result.SKIPPED)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A task, requirement, acceptance criterion, quality or decision.

    Attributes:
        id: e.g. ``AC-001-02``.
        title: what it asks for, in a few words.
        run, check, audit: the checks and rules that show it, by the command that they belong to.
        manual: what only a person can do; the checks prove it afterwards.
    """

    id: str
    title: str
    run: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    audit: tuple[str, ...] = ()
    manual: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All that show it."""
        return (*self.run, *self.check, *self.audit)


def _signals(*names: str) -> tuple[str, ...]:
    return tuple(f"{signal}.{name}" for name in names for signal in ("logs", "traces", "metrics"))


def _components(*names: str) -> tuple[str, ...]:
    return tuple(f"{component}.{name}" for name in names for component in ("loki", "tempo", "mimir"))


_UNALTERED = (*_signals("duplicates", "altered"), "logs.order", "metrics.order")
_DEPLOYED = ("k8s.pods", "k8s.helmreleases")
_SECRET = ("sops", "secret_keys")
_CREATE_USER = "create the S3 user and its policy"
_FILL_IN = "fill in the credential and encrypt the secret"

REQUIREMENTS: tuple[Requirement, ...] = (
    # -- tasks
    Requirement(
        "TASK-001",
        "three buckets, versioning on Loki's",
        check=("s3.buckets", "s3.versioning"),
        manual="create the buckets",
    ),
    Requirement(
        "TASK-002", "Loki's credential, for its bucket alone", check=("s3.buckets", "s3.isolation"), manual=_CREATE_USER
    ),
    Requirement("TASK-003", "Loki's S3 secret, encrypted", check=("k8s.secrets",), audit=_SECRET, manual=_FILL_IN),
    Requirement(
        "TASK-004",
        "Tempo's credential, for its bucket alone",
        check=("s3.buckets", "s3.isolation"),
        manual=_CREATE_USER,
    ),
    Requirement("TASK-005", "Tempo's S3 secret, encrypted", check=("k8s.secrets",), audit=_SECRET, manual=_FILL_IN),
    Requirement(
        "TASK-006",
        "Mimir's credential, for its bucket alone",
        check=("s3.buckets", "s3.isolation"),
        manual=_CREATE_USER,
    ),
    Requirement("TASK-007", "Mimir's S3 secret, encrypted", check=("k8s.secrets",), audit=_SECRET, manual=_FILL_IN),
    Requirement("TASK-008", "Loki deployed by Flux", ("stack.memory",), _DEPLOYED, ("secret_from_env", "flux_pattern")),
    Requirement(
        "TASK-009",
        "Loki writes to S3",
        ("logs.s3_delay",),
        ("k8s.logs", "loki.accepts", "loki.s3_prefix"),
        ("promises_possible",),
    ),
    Requirement(
        "TASK-010", "Tempo deployed by Flux", ("stack.memory",), _DEPLOYED, ("secret_from_env", "flux_pattern")
    ),
    Requirement(
        "TASK-011",
        "Tempo writes to S3",
        ("traces.s3_delay",),
        ("k8s.logs", "tempo.accepts", "tempo.s3_prefix"),
        ("promises_possible",),
    ),
    Requirement(
        "TASK-012", "Mimir deployed by Flux", ("stack.memory",), _DEPLOYED, ("secret_from_env", "flux_pattern")
    ),
    Requirement(
        "TASK-013",
        "Mimir writes to S3",
        ("metrics.s3_delay",),
        ("k8s.logs", "mimir.accepts", "mimir.s3_prefix"),
        ("promises_possible",),
    ),
    Requirement("TASK-014", "Grafana's data source for Loki", check=("grafana.datasources",), audit=("datasources",)),
    Requirement(
        "TASK-015",
        "Grafana's data source for Tempo, linked to logs and metrics",
        ("logs.correlation",),
        ("grafana.datasources",),
        ("datasources",),
    ),
    Requirement("TASK-016", "Grafana's data source for Mimir", check=("grafana.datasources",), audit=("datasources",)),
    Requirement("TASK-017", "Prometheus writes to Mimir", check=("prometheus.remote_write",), audit=("remote_write",)),
    Requirement(
        "TASK-018",
        "Loki answers through Grafana",
        ("logs.query",),
        ("grafana.health", "grafana.loki", "grafana.errors"),
    ),
    Requirement(
        "TASK-019",
        "Tempo answers through Grafana",
        ("traces.query",),
        ("grafana.health", "grafana.tempo", "grafana.errors"),
    ),
    Requirement(
        "TASK-020",
        "Mimir answers through Grafana",
        ("metrics.query",),
        ("grafana.health", "grafana.mimir", "grafana.errors"),
    ),
    Requirement(
        "TASK-021",
        "what Prometheus writes is in Mimir, soon and the same",
        (*_UNALTERED, *_signals("freshness")),
        ("prometheus.remote_write", "prometheus.parity"),
    ),
    Requirement(
        "TASK-022",
        "the whole way: all data can be read, also after restarts and days later",
        (*_signals("loss"), *_UNALTERED, *_components("persistence"), *_signals("s3_kept"), "history.reach"),
        (*_components("s3_prefix"), "grafana.dashboard", "mimir.history"),
    ),
    # -- requirements: the sum of their criteria
    Requirement(
        "REQ-001",
        "Loki on S3",
        ("logs.loss", "logs.query", "logs.s3_delay", "loki.persistence"),
        ("loki.accepts", "loki.s3_prefix", "s3.versioning"),
        ("modes", "promises_possible"),
    ),
    Requirement(
        "REQ-002",
        "Tempo on S3",
        ("traces.loss", "traces.query", "traces.s3_delay", "tempo.persistence"),
        ("tempo.accepts", "tempo.s3_prefix", "s3.lifecycle"),
        ("modes", "promises_possible"),
    ),
    Requirement(
        "REQ-003",
        "Mimir on S3, fed by Prometheus",
        ("metrics.loss", "metrics.query", "metrics.s3_delay", "mimir.persistence"),
        ("mimir.accepts", "mimir.s3_prefix", "s3.object_lock", "prometheus.remote_write"),
        ("modes", "promises_possible", "remote_write"),
    ),
    Requirement(
        "REQ-004",
        "S3 credentials: one for each component, encrypted",
        check=("s3.isolation", "k8s.secrets"),
        audit=("sops", "secret_keys", "secret_from_env", "buckets"),
    ),
    Requirement(
        "REQ-005",
        "all of it in Grafana",
        check=("grafana.datasources", "grafana.loki", "grafana.tempo", "grafana.mimir", "grafana.errors"),
        audit=("datasources",),
    ),
    # -- acceptance criteria
    Requirement("AC-001-01", "versioning on Loki's bucket", check=("s3.versioning",)),
    Requirement("AC-001-02", "log lines in S3 within 5 minutes", ("logs.s3_delay",), audit=("promises_possible",)),
    Requirement("AC-001-03", "Loki recovers from S3 after a restart", ("loki.persistence", "loki.recovery")),
    Requirement("AC-001-04", "wrong S3 credentials show in Loki's log", check=("k8s.logs",)),
    Requirement("AC-001-05", "log queries over a day within 3 s", ("logs.query",)),
    Requirement("AC-002-01", "a lifecycle rule on Tempo's bucket", check=("s3.lifecycle",)),
    Requirement("AC-002-02", "traces in S3 within 10 minutes", ("traces.s3_delay",), audit=("promises_possible",)),
    Requirement("AC-002-03", "Tempo recovers from S3 after a restart", ("tempo.persistence", "tempo.recovery")),
    Requirement("AC-002-04", "traces are deleted after 30 days", check=("s3.lifecycle",), audit=("promises_possible",)),
    Requirement("AC-002-05", "queries of recent traces within 5 s", ("traces.query",)),
    Requirement("AC-003-01", "no object lock on Mimir's bucket", check=("s3.object_lock",)),
    Requirement(
        "AC-003-02",
        "written samples can be queried within a minute",
        ("metrics.freshness",),
        ("prometheus.remote_write",),
    ),
    Requirement("AC-003-03", "blocks in S3 after compaction", ("metrics.s3_delay",)),
    Requirement("AC-003-04", "samples outlive an outage of S3", _signals("s3_outage")),
    Requirement("AC-003-05", "metric queries over a week within 3 s", ("metrics.query",)),
    Requirement("AC-004-01", "S3 secrets of the agreed names and keys", check=("k8s.secrets",), audit=("secret_keys",)),
    Requirement("AC-004-02", "credentials from the environment", audit=("secret_from_env",)),
    Requirement(
        "AC-004-03",
        "a new credential takes effect with a restart",
        check=("s3.buckets", *_components("accepts"), "k8s.logs"),
        manual="exchange the credential and restart the pods",
    ),
    Requirement("AC-004-04", "HTTPS to S3", check=("s3.tls",), audit=("https_s3",)),
    Requirement(
        "AC-005-01", "data sources are there by themselves", check=("grafana.datasources",), audit=("datasources",)
    ),
    Requirement(
        "AC-005-02", "data sources lead to the right services", check=("grafana.datasources",), audit=("datasources",)
    ),
    Requirement(
        "AC-005-03", "data sources pass their own test", check=("grafana.loki", "grafana.tempo", "grafana.mimir")
    ),
    Requirement("AC-005-04", "an unreachable component gives a clear error", check=("grafana.errors",)),
    # -- qualities
    Requirement("NFR-PERF-001", "any query over a day within 5 s", ("all.query", *_signals("query"), "loadgen.health")),
    Requirement(
        "NFR-PERF-002",
        "10 MB/s on each component without loss",
        (*_signals("throughput", "loss", "freshness"), "loadgen.health"),
        check=("clocks",),
        audit=("promises_possible",),
    ),
    Requirement("NFR-SEC-001", "credentials encrypted", check=("k8s.secrets",), audit=("sops",)),
    Requirement("NFR-SEC-002", "HTTPS to S3 only", check=("s3.tls",), audit=("https_s3",)),
    Requirement("NFR-SCALE-001", "retention by S3 lifecycle rules", check=("s3.lifecycle",)),
    Requirement(
        "NFR-SCALE-002",
        "small: under 2 GiB of memory, one replica",
        ("stack.memory", "stack.cpu"),
        ("k8s.pods",),
        ("memory", "single_replica"),
    ),
    Requirement("NFR-OPS-001", "deployed like everything else", check=("k8s.helmreleases",), audit=("flux_pattern",)),
    Requirement("NFR-OPS-002", "configured in values", audit=("values_only",)),
    Requirement(
        "NFR-RECOVER-001",
        "back within 5 minutes, without a hand",
        (*_components("persistence", "recovery"), *_signals("s3_kept")),
        audit=("promises_possible",),
    ),
    # -- decisions
    Requirement("ADR-001", "OCIRepository and HelmRelease", check=("k8s.helmreleases",), audit=("flux_pattern",)),
    Requirement("ADR-002", "one instance of each", check=("k8s.pods",), audit=("single_replica",)),
    Requirement("ADR-003", "a bucket and a credential for each component", check=("s3.isolation",), audit=("buckets",)),
    Requirement("ADR-004", "Loki simple scalable", audit=("modes",)),
    Requirement("ADR-005", "Tempo monolithic, with OTLP", check=("tempo.accepts",), audit=("modes",)),
    Requirement(
        "ADR-006",
        "Mimir as its chart can, fed by remote write",
        check=("prometheus.remote_write",),
        audit=("modes", "remote_write"),
    ),
    Requirement("ADR-007", "data sources in Grafana's values", check=("grafana.datasources",), audit=("datasources",)),
)

# Checks that are promised and not there yet; a name leaves this list when its check comes.
PLANNED: tuple[str, ...] = (
    *_signals("s3_outage"),
    "logs.correlation",
    "stack.memory",
    "stack.cpu",
)


@dataclass(frozen=True, slots=True)
class Traced:
    """A requirement and what a report says of it.

    Attributes:
        requirement: the requirement.
        result: the worst result of those that show it and were judged here; None if none was.
        judged: those that were, with their result.
        elsewhere: those that were not.
    """

    requirement: Requirement
    result: Result | None
    judged: tuple[tuple[str, Result], ...]
    elsewhere: tuple[str, ...]

    @property
    def shown(self) -> int:
        """How many of those that show it did so here; what was skipped shows nothing."""
        return sum(result is not Result.SKIPPED for _, result in self.judged)

    @property
    def whole(self) -> bool:
        """All of them did."""
        return self.shown == len(self.requirement.names)


def traced(verdicts: Sequence[Verdict], requirements: Iterable[Requirement] = REQUIREMENTS) -> tuple[Traced, ...]:
    """Every requirement with what these verdicts say of it."""
    results = {verdict.check: verdict.result for verdict in verdicts}
    return tuple(_traced(requirement, results) for requirement in requirements)


def _traced(requirement: Requirement, results: dict[str, Result]) -> Traced:
    judged = tuple((name, results[name]) for name in requirement.names if name in results)
    found = {result for _, result in judged}
    worst = next((result for result in _WORST if result in found), None)
    return Traced(requirement, worst, judged, tuple(name for name in requirement.names if name not in results))
