"""Configuration: what to load, where, and what is promised. TOML files and ``LOADGEN_*`` variables, validated in full.

Two files describe a run. The *profile* says how many users of which kind there are, how long, which faults happen and
which objectives hold. The *target* says where the stack is and how to log in. Every setting can be overridden from the
environment: ``LOADGEN_<SECTION>_<KEY>`` (for example ``LOADGEN_GRAFANA_PASSWORD``, ``LOADGEN_LOGS_USERS``). Secrets are
``SecretStr``: they appear neither in messages nor in the run directory.
"""

from loadgen.config.base import ConfigError
from loadgen.config.capacity import CapacitySection, OwnLoadGiven
from loadgen.config.profile import (
    AllObjectives,
    Dashboards,
    Freshness,
    LogObjectives,
    Logs,
    MetricObjectives,
    Metrics,
    Objectives,
    OwnQuery,
    PlannedFault,
    Profile,
    Publish,
    Run,
    SignalObjectives,
    TraceObjectives,
    Traces,
    Verify,
)
from loadgen.config.reading import load_profile, load_target, parse_profile, parse_target
from loadgen.config.target import (
    GrafanaTarget,
    KubernetesTarget,
    LokiTarget,
    MimirTarget,
    PrometheusTarget,
    S3Login,
    S3Target,
    Target,
    TempoTarget,
)
from loadgen.settings import Seconds, Size

__all__ = [
    "AllObjectives",
    "CapacitySection",
    "ConfigError",
    "Dashboards",
    "Freshness",
    "GrafanaTarget",
    "KubernetesTarget",
    "LogObjectives",
    "Logs",
    "LokiTarget",
    "MetricObjectives",
    "Metrics",
    "MimirTarget",
    "Objectives",
    "OwnLoadGiven",
    "OwnQuery",
    "PlannedFault",
    "Profile",
    "PrometheusTarget",
    "Publish",
    "Run",
    "S3Login",
    "S3Target",
    "Seconds",
    "SignalObjectives",
    "Size",
    "Target",
    "TempoTarget",
    "TraceObjectives",
    "Traces",
    "Verify",
    "load_profile",
    "load_target",
    "parse_profile",
    "parse_target",
]
