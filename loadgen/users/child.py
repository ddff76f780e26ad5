"""Locust as ``loadgen run`` and ``loadgen worker`` start it: what it does is what its command line says, nothing else.

Run as a script with ``python -P``. Locust by itself would also read ``~/.locust.conf``, ``locust.conf`` and
``pyproject.toml``, and search the current folder for modules before all others, so that a file ``locust.py`` or
``secrets.py`` there would be run in place of the right one. Variables are held back by who starts this, see
``loadgen.config.surroundings``. Who starts ``locust -f scenarios/lgtm.py`` keeps all of that: it is Locust's own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Run Locust with the arguments of this process."""
    root = str(Path(__file__).resolve().parents[2])
    if root not in sys.path:  # a checkout that is not installed
        sys.path.append(root)
    # Locust puts the current folder on the search path when it loads the scenario: so that is where it stands then.
    here, path = os.open(".", os.O_RDONLY), list(sys.path)

    from locust import argument_parser, events
    from locust import main as locust_main

    from loadgen.run.locate import locustfile

    class Unconfigured(argument_parser.LocustArgumentParser):  # type: ignore[misc]
        """Locust's own options, from no configuration file."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **{**named, "default_config_files": []})

    argument_parser.LocustArgumentParser = Unconfigured
    scenario = locustfile().resolve()

    def stand_where_started(**_: Any) -> None:
        os.fchdir(here)
        sys.path[:] = path

    # Comes after the scenario was loaded, and before its options are read.
    events.init_command_line_parser.add_listener(stand_where_started)
    sys.argv[1:1] = ["-f", str(scenario)]
    os.chdir(scenario.parent)
    locust_main.main()


if __name__ == "__main__":
    main()
