"""Making a new run: its name and what ``run.json`` says of it."""

from __future__ import annotations

import datetime as dt
import platform
import secrets
from importlib import metadata

from loadgen import __version__
from loadgen.config import Profile, Target
from loadgen.history.values import RunInfo
from loadgen.model import NS, RunKey

_LIBRARIES = ("locust", "opentelemetry-sdk", "numpy", "pyarrow", "python-snappy", "urllib3", "grpcio")


def new_run_name(now_ns: int) -> str:
    """A name that sorts by time and is unique: ``20260131-235959-ab12``."""
    began = dt.datetime.fromtimestamp(now_ns // NS, tz=dt.UTC)
    return f"{began:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def new_info(key: RunKey, profile: Profile, target: Target, target_source: str) -> RunInfo:
    """What is known of a run before it starts."""
    versions = {"loadgen": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = "not installed"
    return RunInfo(
        key=key,
        profile=profile.model_dump(mode="json"),
        overridden=profile.overridden(),
        target=target.without_secrets(),
        target_source=target_source,
        engines=target.engines(),
        versions=versions,
    )
