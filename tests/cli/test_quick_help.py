"""Help is quick: a command imports what it works with when it is called, not before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    *("boto3", "botocore", "gevent", "grpc", "kubernetes", "locust", "numpy", "opentelemetry", "pandas", "plotly"),
    *("pyarrow", "requests", "urllib3", "yaml"),
)
PROBE = """
import sys
from loadgen.cli.main import app
try:
    app({arguments!r}, standalone_mode=False)
except BaseException as end:
    print(type(end).__name__, getattr(end, "exit_code", ""), file=sys.stderr)
print("loaded:", *sorted({{name.partition(".")[0] for name in sys.modules}} & set({heavy!r})))
"""


def loaded(*arguments: str, heavy: tuple[str, ...] = HEAVY) -> str:
    """Which of the heavy modules a command has imported at its end."""
    code = PROBE.format(arguments=list(arguments), heavy=heavy)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()[-1].removeprefix("loaded:").strip()


@pytest.mark.parametrize(
    "command", ["", "demo", "run", "worker", "verify", "report", "audit", "capacity", "check", "lab", "lab up"]
)
def test_help_imports_nothing_heavy(command: str) -> None:
    assert loaded(*command.split(), "--help") == ""


def test_the_probe_sees_what_a_command_imports(tmp_path: Path) -> None:
    assert "pandas" in loaded("report", str(tmp_path / "none"))


def test_the_status_of_the_lab_imports_neither_a_table_nor_an_exporter(tmp_path: Path) -> None:
    heavy = tuple(
        name for name in HEAVY if name not in ("pydantic", "urllib3", "requests", "botocore", "boto3", "yaml")
    )
    assert loaded("lab", "status", "--dir", str(tmp_path), heavy=heavy) == ""
