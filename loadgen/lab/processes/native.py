"""Real servers from PATH in the lab: which there are, and how each is started with the configuration that is shipped.

The files in ``loadgen/lab/config`` name no address, directory or secret: those come from the environment of the process
(``LAB_…``), which the servers fill in themselves. Prometheus cannot, so its file is filled in here; it has no secrets.
"""

from __future__ import annotations

import re
import shutil
import string
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loadgen.lab.state import LabError, LabState

PARTS = ("loki", "tempo", "mimir", "grafana", "prometheus")
"""What can be a real server from PATH."""

CONFIG = Path(__file__).resolve().parents[1] / "config"
FLUSH_AGE_S = 240.0
"""How old data gets before it goes to S3, unless the lab says otherwise: inside Loki's 5 minutes."""

STOP_WITHIN_S = 90.0
"""Tempo waits half a minute by itself when it is asked to end, and others finish what they write."""

_BIND = "127.0.0.1"
# What only newer releases know, so that the file, which older ones read too, cannot say it.
_NEWER_OPTIONS = (
    # The ring of queriers of Mimir 3: with an address, as every other ring has one in mimir.yaml.
    ("mimir", 3, (f"-querier.ring.instance-addr={_BIND}", "-querier.ring.store=inmemory")),
)
_VERSION = re.compile(r"version[ :]+v?(\d[\w.+-]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Program:
    """A real server found on PATH.

    Attributes:
        part: whose place it takes.
        name: of the program; ``cortex`` may stand in for Mimir.
        path: where it lies.
        version: as it says itself, empty if it does not.
    """

    part: str
    name: str
    path: Path
    version: str

    @property
    def engine(self) -> str:
        """How reports call it."""
        stands_in = ", in Mimir's place" if self.part == "mimir" and self.name != "mimir" else ""
        return f"native, {f'{self.name} {self.version}'.strip()}{stands_in}"


@dataclass(frozen=True, slots=True)
class Launch:
    """How a process is started. The environment may hold secrets, so it is left out of every ``repr``."""

    argv: tuple[str, ...]
    engine: str
    environment: Mapping[str, str] = field(repr=False)


# Part to program, its configuration file, and what its own words about its version begin with.
_PROGRAMS = {
    "loki": (("loki", "loki.yaml", "loki,"),),
    "tempo": (("tempo", "tempo.yaml", "tempo,"),),
    "mimir": (("mimir", "mimir.yaml", "mimir,"), ("cortex", "cortex.yaml", "cortex,")),
    "grafana": (("grafana", "grafana.ini", "grafana"),),
    "prometheus": (("prometheus", "prometheus.yaml", "prometheus,"),),
}


def find_program(part: str) -> Program | None:
    """The real server of this part on PATH, the genuine one before one that stands in; None if there is none.

    A program of the same name that is something else (there are others called tempo) is passed over.
    """
    for name, _file, begins in _PROGRAMS.get(part, ()):
        path = shutil.which(name)
        if path is None:
            continue
        said = _ask_version(path)
        if any(line.lower().startswith(begins) for line in said.splitlines()):
            match = _VERSION.search(said)
            return Program(part, name, Path(path), match[1] if match else "")
    return None


def need_program(part: str) -> Program:
    """As `find_program`; LabError names the programs that would do."""
    program = find_program(part)
    if program is None:
        names = " or ".join(name for name, *_ in _PROGRAMS.get(part, ()))
        if not names:
            raise LabError(f"{part} cannot be native; {', '.join(PARTS)} can")
        raise LabError(f"{part} is to be native, but no {names} is on PATH; install one, or leave it embedded")
    return program


def launch(state: LabState, program: Program) -> Launch:
    """How to start a real server in this lab; makes the directories and the filled-in files that it needs."""
    part = program.part
    data = Path(state.directory) / "data" / part
    # Cortex ends at its start when one of these is missing.
    for folder in (data, data / "rules", data / "alerts"):
        folder.mkdir(parents=True, exist_ok=True)
    config = CONFIG / next(file for name, file, _ in _PROGRAMS[part] if name == program.name)
    ports = dict(state.ports)
    environment = {
        "LAB_BIND": _BIND,
        "LAB_DATA": str(data),
        "LAB_HTTP_PORT": str(ports[part]),
        # Two cores do not get faster by more threads, and the garbage of a busy server would fill the memory.
        "GOMEMLIMIT": "1500MiB",
    }
    if part == "grafana":
        return Launch(_grafana(state, program, config, environment), program.engine, environment)
    if part == "prometheus":
        filled = fill_prometheus(state, addresses(state))
        options = (
            f"--config.file={filled}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address={_BIND}:{ports[part]}",
            "--log.level=warn",
        )
        return Launch((str(program.path), *options), program.engine, environment)
    credential = state.credential(f"{part}-service")
    environment |= flush_environment(state)
    environment |= {
        "LAB_GRPC_PORT": str(ports[f"{part}_grpc"]),
        "LAB_GOSSIP_PORT": str(ports[f"{part}_gossip"]),
        "LAB_OTLP_HTTP_PORT": str(ports["otlp_http"]),
        "LAB_OTLP_GRPC_PORT": str(ports["otlp_grpc"]),
        "LAB_S3_HOST": state.url("s3").removeprefix("http://"),
        "LAB_S3_BUCKET": dict(state.buckets)[part],
        "LAB_S3_ACCESS_KEY": credential.access_key,
        "LAB_S3_SECRET_KEY": credential.secret_key,
    }
    argv = (str(program.path), f"-config.file={config}", "-config.expand-env=true", *_newer_options(program))
    return Launch(argv, program.engine, environment)


def _newer_options(program: Program) -> tuple[str, ...]:
    """The options that this release knows and older ones do not."""
    major = program.version.partition(".")[0]
    release = int(major) if major.isascii() and major.isdigit() else 0
    return tuple(
        option
        for name, first, options in _NEWER_OPTIONS
        if name == program.name and release >= first
        for option in options
    )


def _grafana(state: LabState, program: Program, config: Path, environment: dict[str, str]) -> tuple[str, ...]:
    environment |= {
        "LAB_PROVISIONING": str(fill_provisioning(state, addresses(state))),
        "LAB_GRAFANA_USER": state.grafana_user,
        "LAB_GRAFANA_PASSWORD": state.grafana_password,
    }
    # Its own files lie beside the program, or where packages put them.
    homes = (program.path.resolve().parent.parent, Path("/usr/share/grafana"))
    home = next((one for one in homes if (one / "conf" / "defaults.ini").is_file()), None)
    if home is None:
        raise LabError(f"grafana at {program.path}: its conf/defaults.ini is not beside it; leave Grafana embedded")
    return (str(program.path), "server", f"--homepath={home}", f"--config={config}")


def flush_environment(state: LabState) -> dict[str, str]:
    """How old data may get before it goes to S3, as the configuration files want it."""
    age_s = state.flush_age_s or FLUSH_AGE_S
    return {
        "LAB_FLUSH_AGE": f"{age_s * 1000:.0f}ms",
        "LAB_FLUSH_IDLE": f"{age_s * 500:.0f}ms",
        "LAB_FLUSH_CHECK": f"{min(15_000, age_s * 125):.0f}ms",
    }


def addresses(state: LabState) -> dict[str, str]:
    """``host:port`` of each component of a lab on this machine, under the names that the files use."""
    names = {"LAB_LOKI": "loki", "LAB_TEMPO": "tempo", "LAB_MIMIR": "mimir", "LAB_SELF": "prometheus"}
    return {key: f"{_BIND}:{dict(state.ports)[name]}" for key, name in names.items() if name in dict(state.ports)}


def fill_prometheus(state: LabState, hosts: Mapping[str, str]) -> Path:
    """Prometheus' configuration with these addresses in it."""
    return _filled(CONFIG / "prometheus.yaml", Path(state.directory) / "config" / "prometheus.yaml", hosts)


def fill_provisioning(state: LabState, hosts: Mapping[str, str]) -> Path:
    """Grafana's provisioning folder, with data sources at these addresses."""
    folder = Path(state.directory) / "config" / "provisioning"
    _filled(CONFIG / "grafana-datasources.yaml", folder / "datasources" / "lab.yaml", hosts)
    return folder


def _filled(template: Path, to: Path, hosts: Mapping[str, str]) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(string.Template(template.read_text(encoding="utf-8")).safe_substitute(hosts), encoding="utf-8")
    return to


def _ask_version(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + "\n" + done.stderr
