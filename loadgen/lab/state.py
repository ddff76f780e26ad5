"""What is known of a lab: its processes, addresses and throw-away credentials, in one JSON file.

The file ``lab.json`` lies in the lab directory, readable by its owner only, and is always replaced as a whole.
"""

from __future__ import annotations

import dataclasses
import json
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FILE_NAME = "lab.json"
FORMAT = 1

EMBEDDED, NATIVE, COMPOSE = "embedded", "native", "compose"


class LabError(Exception):
    """The lab cannot do it; the text says where, what and what to do next."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process of the lab.

    Attributes:
        name: ``loki``, ``tempo``, ``mimir``, ``grafana``, ``s3`` or ``prometheus``.
        pid: its process id when it was started.
        argv: its command line.
        log: file with its output.
        url: where it answers.
        engine: ``embedded``, ``seaweedfs``, or ``native`` with the program and its version.
    """

    name: str
    pid: int
    argv: tuple[str, ...]
    log: str
    url: str
    engine: str = "embedded"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the lab answers: URLs, and ``host:port`` for ``otlp_grpc``."""

    loki: str
    tempo: str
    otlp_http: str
    otlp_grpc: str
    mimir: str
    grafana: str
    s3: str


@dataclass(frozen=True, slots=True)
class Credential:
    """An S3 identity of the lab."""

    identity: str
    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LabState:
    """A lab directory's content in one value. Between ``down`` and ``up`` it has no processes but keeps all else.

    Attributes:
        directory: the lab directory.
        processes: what was started last.
        ports: name to port number, also of ports that only the lab's own parts use.
        buckets: component to bucket.
        credentials: S3 identities.
        grafana_user, grafana_password: a Grafana administrator.
        flush_age_s: how long accepted data waits before it goes to S3; 0: as each engine thinks best.
        engines: part to ``native``, for those that are not embedded.
        limits: what embedded servers refuse, by name, in plain units; see `loadgen.lab.limits`.
        proven: every store of it has taken an item and shown it through Grafana since its parts were started.
    """

    directory: str
    processes: tuple[ProcessState, ...]
    ports: tuple[tuple[str, int], ...]
    buckets: tuple[tuple[str, str], ...]
    credentials: tuple[Credential, ...]
    grafana_user: str
    grafana_password: str = field(repr=False)
    flush_age_s: float = 0.0
    engines: tuple[tuple[str, str], ...] = ()
    limits: tuple[tuple[str, float], ...] = ()
    proven: bool = False

    @property
    def endpoints(self) -> Endpoints:
        """Where the lab answers."""
        names = [f.name for f in dataclasses.fields(Endpoints)]
        return Endpoints(**{name: self.url(name) for name in names})

    def url(self, name: str) -> str:
        """Address of an endpoint, see `Endpoints`."""
        port = dict(self.ports)[name]
        return f"127.0.0.1:{port}" if name == "otlp_grpc" else f"http://127.0.0.1:{port}"

    def is_native(self, part: str) -> bool:
        """Whether this part is a real server from PATH."""
        return dict(self.engines).get(part) == NATIVE

    def process(self, name: str) -> ProcessState | None:
        """What was started under this name, if anything."""
        return next((process for process in self.processes if process.name == name), None)

    def credential(self, identity: str) -> Credential:
        """The S3 credential of this identity. Raises KeyError for an unknown one."""
        return {credential.identity: credential for credential in self.credentials}[identity]

    def with_process(self, process: ProcessState) -> LabState:
        """The same lab with this process in place of an older one of its name."""
        others = tuple(p for p in self.processes if p.name != process.name)
        return replace(self, processes=(*others, process))

    def with_ports(self, ports: Mapping[str, int]) -> LabState:
        """The same lab with these ports."""
        return replace(self, ports=tuple(ports.items()))

    def save(self) -> None:
        """Writes the file. Raises LabError if the directory cannot be written to."""
        path = Path(self.directory) / FILE_NAME
        partial = path.with_name(f"{FILE_NAME}.{os.getpid()}.partial")
        try:
            partial.unlink(missing_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({"format": FORMAT, **dataclasses.asdict(self)}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            raise LabError(f"{path}: cannot be written ({error.strerror}); choose another lab directory") from error


def lab_directory(option: Path | str | None = None, environment: Mapping[str, str] | None = None) -> Path:
    """The lab directory: the given one, else ``LOADGEN_LAB_DIR``, else ``loadgen/lab`` in ``XDG_STATE_HOME``."""
    if option is not None:
        return Path(option).expanduser()
    env = os.environ if environment is None else environment
    if env.get("LOADGEN_LAB_DIR"):
        return Path(env["LOADGEN_LAB_DIR"]).expanduser()
    # The specification of XDG_STATE_HOME says that a relative path is to be ignored.
    state_home = Path(env.get("XDG_STATE_HOME") or "")
    return (state_home if state_home.is_absolute() else Path.home() / ".local" / "state") / "loadgen" / "lab"


def load_state(directory: Path) -> LabState | None:
    """The lab of this directory, or None if there is none. Raises LabError if its file cannot be understood."""
    path = directory / FILE_NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise ValueError("it is not of this version's format")
        return _state(data)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LabError(f"{path}: cannot be read ({error.strerror}); choose another --dir") from error
    except (ValueError, TypeError, KeyError) as error:
        raise LabError(f"{path}: not understood ({error}); remove it with `loadgen lab down --wipe`") from error


def _state(data: dict[str, Any]) -> LabState:
    state = LabState(
        **{
            **data,
            "processes": tuple(ProcessState(**{**row, "argv": tuple(row["argv"])}) for row in data["processes"]),
            "ports": tuple((str(name), int(port)) for name, port in data["ports"]),
            "buckets": tuple((str(name), str(bucket)) for name, bucket in data["buckets"]),
            "engines": tuple((str(part), str(engine)) for part, engine in data.get("engines", ())),
            "limits": tuple((str(name), float(value)) for name, value in data.get("limits", ())),
            "credentials": tuple(Credential(**row) for row in data["credentials"]),
        }
    )
    hints = typing.get_type_hints(LabState)
    for name in ("directory", "grafana_user", "grafana_password"):
        if not isinstance(getattr(state, name), hints[name]):
            raise ValueError(f"{name} is not a text")
    return replace(state, flush_age_s=float(state.flush_age_s), proven=state.proven is True)
