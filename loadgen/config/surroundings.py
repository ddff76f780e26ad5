"""What a process that loadgen starts takes over from the shell around it, and what not.

Variables that say where things are and whom to trust go on: PATH, HOME, the locale, TZ, proxies, certificates, all of
LOADGEN_*. Those that would set up a program inside ours do not: a person's own Locust, OpenTelemetry or Python settings
are meant for other programs, and would silently make another run of this one. What is not named here goes on, because
nobody can list all that a system needs (library paths, a faked clock, a sanitizer).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

_FOREIGN = ("LOCUST_", "OTEL_", "GEVENT_")
# Of the lab, every part talks to the others on loopback only, with the credentials and settings of its own files.
_FOREIGN_TO_LAB = ("AWS_", "GF_", "WEED_", "JAEGER_", "UVICORN_")
_PROXIES = frozenset(("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"))
# Of Python's own: where things are, how texts are read, and what leaves no trace in what a program does.
_PYTHON_KEPT = frozenset(
    (
        "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONUTF8", "PYTHONIOENCODING",
        "PYTHONCOERCECLOCALE", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONFAULTHANDLER",
        "PYTHONHASHSEED", "PYTHONUNBUFFERED",
    )
)  # fmt: skip


def child_environment(environ: Mapping[str, str], here: Path, lab: bool = False) -> dict[str, str]:
    """The environment of a child, from ours; ``here`` is the current folder, ``lab`` is for the lab's servers."""
    kept = {name: value for name, value in environ.items() if not _is_foreign(name, lab)}
    if "PYTHONPATH" in kept:
        kept["PYTHONPATH"] = os.pathsep.join(search_path(kept["PYTHONPATH"], here))
        if not kept["PYTHONPATH"]:
            del kept["PYTHONPATH"]
    return kept


def search_path(python_path: str, here: Path) -> Sequence[str]:
    """The entries of a PYTHONPATH without the current folder, as which Python takes an empty one too.

    ``PYTHONPATH=$PYTHONPATH:/x`` leaves one behind without anybody wanting it. An absolute path is meant.
    """
    entries = python_path.split(os.pathsep)
    # Absolute, because a child may stand in another folder.
    found = [(Path(entry).is_absolute(), here / entry) for entry in entries]
    return [str(path) for meant, path in found if meant or path.resolve() != here.resolve()]


def current_folder() -> Path:
    """Where this process stands; some folder that is not there when it was removed meanwhile."""
    try:
        return Path.cwd()
    except OSError:
        return Path("/nowhere")


def _is_foreign(name: str, lab: bool) -> bool:
    if name.startswith("PYTHON"):
        return name not in _PYTHON_KEPT
    if name.startswith(_FOREIGN):
        return True
    return lab and (name.startswith(_FOREIGN_TO_LAB) or name.lower() in _PROXIES)
