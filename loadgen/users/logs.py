"""Who sends logs."""

from __future__ import annotations

from loadgen.model import Signal
from loadgen.users.pushing import PushingUser


class LogShipper(PushingUser):
    """A pod whose log lines are shipped to Loki."""

    signal = Signal.LOGS
