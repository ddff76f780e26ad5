"""What a store is: what is true of Loki, Mimir or Tempo without asking it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadgen.model import Component


@dataclass(frozen=True, slots=True)
class Accepts:
    """How loadgen asks whether a deployed store takes data and gives it back.

    Attributes:
        what: what it pushes for that.
        address: where the store's way in usually is.
        due_s: after how long data must be in S3, in seconds, as the promises have it.
        due: when the store writes to S3.
    """

    what: str
    address: str
    due_s: float
    due: str


@dataclass(frozen=True, slots=True)
class InGrafana:
    """The store as Grafana knows it.

    Attributes:
        plugin: Grafana's plugin for it.
        links: settings of the data source that lead to other signals.
        address: the URL that it usually has.
        answers_s: within how long one small query is answered, in seconds.
        title, panel, query: of the panel of the dashboard that `loadgen check` makes.
    """

    plugin: str
    links: tuple[str, ...]
    address: str
    answers_s: float
    title: str
    panel: str
    query: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """Names of metrics that tell how much a store takes.

    Attributes:
        items, plain_bytes: counters of what it received.
        held, copies: what is in memory of all its processes, and in how many of them each is; ``what`` that is.
        sent, sent_held: what tells the same of those who send, where the store is not scraped.
    """

    items: str
    plain_bytes: str = ""
    held: str = ""
    copies: str = ""
    what: str = ""
    sent: str = ""
    sent_held: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """A component that stores signals.

    Attributes:
        component: its name in rows and settings.
        tenant: the name that it gives to the one tenant of a stack without tenants.
        other_tenant: what servers that speak the same protocol call it.
        beside: what it keeps in S3 beside the blocks of a tenant, also while there are none.
        promised_s: the range that the promise about its queries speaks of, in seconds; 0 if it speaks of none.
        ahead_s, behind_s: how far in the future and in the past it takes data by default, in seconds; None: any.
        discards: the counter of what it discarded; its label ``reason`` says why.
        keepers: the role, as ``app.kubernetes.io/component`` has it, of pods that hold data which is not in S3 yet.
        counts_more: what that counter takes for discarded beside what was, if it does.
    """

    component: Component
    tenant: str
    discards: str
    accepts: Accepts
    datasource: InGrafana
    received: Received
    beside: frozenset[str] = frozenset()
    other_tenant: str = ""
    promised_s: float = 0.0
    ahead_s: float | None = None
    behind_s: float | None = None
    keepers: tuple[str, ...] = ("ingester",)
    counts_more: str = ""

    @property
    def title(self) -> str:
        """Its name as people write it."""
        return self.component.value.capitalize()
