"""What a person's dashboard asks: the panels of a run, as queries through Grafana's panel API and its proxy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

from loadgen.kinds import KINDS
from loadgen.plan import Plan
from loadgen.queries import loki, mimir, tempo
from loadgen.queries.panel import DashboardState, Panel
from loadgen.targets.readers import Readers

# In the order of KINDS.
_PANELS = (loki.panels, mimir.panels, tempo.panels)


def panels(
    plan: Plan, readers: Readers, now_ns: int, trace_id: bytes = b"", trace_seen: bool = False
) -> Sequence[Panel]:
    """The panels of a run's dashboard at a time, in a fixed order in which the components take turns.

    ``trace_id`` is a trace that was acknowledged, for the panels that show one; without it they are left out.
    ``trace_seen`` says that it has been seen already.
    A viewer who goes through them by index asks everything in turn. Components that nothing is sent to are left out,
    and so are panels by Grafana's own API when reading is direct.
    """
    shown, grafana = DashboardState(trace_id, trace_seen), readers.grafana is not None
    rows = [
        make(plan, now_ns, grafana, shown) for kind, make in zip(KINDS, _PANELS, strict=True) if plan.users(kind.signal)
    ]
    return tuple(panel for panel in chain.from_iterable(zip_longest(*rows)) if panel is not None)
