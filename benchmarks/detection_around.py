"""A folder full of what must not change a run: foreign modules, other people's settings, a clock to set wrong."""

from __future__ import annotations

from pathlib import Path

CLOCK = "clock"
"""The part of the folder that sets Python's clock wrong by SKEW_S seconds, when it is on the search path."""

_MODULES = ("locust", "secrets", "numpy", "grpc", "gevent", "pandas", "random")
_SETTINGS = "tags = checkout\nusers = 50\nlogfile = mine.log\n"
_SKEWED = """
import os, time
ahead = float(os.environ.get("SKEW_S") or 0)
if ahead:
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + ahead
    time.time_ns = lambda: now_ns() + int(ahead * 1e9)
"""


def surround(folder: Path) -> Path:
    """Make the folder; it also stands for a person's home."""
    (folder / CLOCK).mkdir(parents=True)
    (folder / CLOCK / "sitecustomize.py").write_text(_SKEWED)
    for module in _MODULES:
        (folder / f"{module}.py").write_text(f"raise SystemExit('the module {module} of the current folder was run')\n")
    for name in ("locust.conf", ".locust.conf"):
        (folder / name).write_text(_SETTINGS)
    (folder / "pyproject.toml").write_text('[tool.locust]\ntags = ["checkout"]\nmaster = true\n')
    return folder
