"""Commands run as a user runs them, with a lab directory of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Workplace:
    """A folder to run commands in, with a lab directory of its own."""

    path: Path
    env: dict[str, str]

    def run(self, *arguments: str, timeout_s: float = 240, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a Python module or script with arguments and wait for it."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.path,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one and go on."""
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=self.path,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def verdicts(self, run: Path) -> dict[str, dict[str, Any]]:
        """The stored verdicts of a run by check."""
        stored = json.loads((run / "verdicts.json").read_text())
        return {verdict["check"]: verdict for verdict in stored["verdicts"]}
