"""The Locust users and everything else that needs Locust; no other part of the package imports it.

`configure` hangs loadgen on Locust's events: it reads profile and target, numbers the users across workers, collects
the rows of all processes in the run directory and sets the exit code.
"""

import os

from loadgen.push import forget_grpc_settings

forget_grpc_settings(os.environ)  # who starts Locust by itself comes by here first

# ruff: noqa: E402
from loadgen.users.logs import LogShipper
from loadgen.users.metrics import MetricsAgent
from loadgen.users.people import DashboardViewer
from loadgen.users.session import configure
from loadgen.users.traces import TracedService

__all__ = ["DashboardViewer", "LogShipper", "MetricsAgent", "TracedService", "configure"]
