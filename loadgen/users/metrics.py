"""Who sends metrics."""

from __future__ import annotations

from loadgen.model import Signal
from loadgen.users.pushing import PushingUser


class MetricsAgent(PushingUser):
    """An agent that scrapes one instance and remote-writes its series to Mimir."""

    signal = Signal.METRICS
