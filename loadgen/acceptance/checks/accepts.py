"""A log line, a trace and a sample are accepted, and read back through Grafana."""

from __future__ import annotations

from functools import partial

from loadgen.acceptance.checks.base import broken, check_of, ok, untold, worst
from loadgen.acceptance.facts import Accepted, Deployment
from loadgen.judging import Finding
from loadgen.model import Component
from loadgen.stores import STORES, store_of
from loadgen.units import duration_text


def _one(probe: Accepted) -> Finding:
    if probe.pushed:
        remedy = f"see the component's log and the target's address: {store_of(probe.component).accepts.address}"
        return broken(f"{probe.way}: not accepted", remedy, f"{probe.way}: {probe.pushed}")
    if probe.seen_after_s is not None:
        return ok(f"{probe.way}: read back after {duration_text(probe.seen_after_s)}", value=probe.seen_after_s)
    waited = duration_text(probe.waited_s)
    if probe.read_error:
        why = f"{probe.way}: accepted, but reading it back failed: {probe.read_error}"
        return untold(why, "see grafana.datasources and the component's log")
    remedy = (
        "it was acknowledged and is not there: see whether the data source reads the same tenant as the push writes"
    )
    return broken(f"{probe.way}: accepted, not readable within {waited}", remedy)


def _judge(found: Deployment, component: Component) -> Finding:
    probes = [_one(probe) for probe in found.accepted if probe.component is component]
    return worst(probes, f"the target names no address to push to {component}", "add the address to the target")


CHECKS = tuple(
    check_of(
        f"{store.component}.accepts",
        f"{store.title} accepts {store.accepts.what} and gives it back",
        "accepted and read back",
        partial(_judge, component=store.component),
    )
    for store in STORES
)
