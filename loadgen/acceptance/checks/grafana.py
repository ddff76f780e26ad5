"""Grafana: health, data sources and their links, queries through them, errors, and the dashboard."""

from __future__ import annotations

from functools import partial

from loadgen.acceptance.checks.base import broken, check_of, not_told, ok, skipped, untold, worst
from loadgen.acceptance.facts import DatasourceFacts, Deployment, Told
from loadgen.judging import Finding
from loadgen.kinds import COMPONENTS
from loadgen.model import Component
from loadgen.stores import store_of
from loadgen.units import duration_text

_LOGIN = "check [grafana] url and login in the target"


def _health(found: Deployment) -> Finding:
    return not_told(found.grafana, _LOGIN) or ok(f"version {found.grafana.value}")


def _source(found: Deployment, component: Component) -> Told[DatasourceFacts] | None:
    return dict(found.datasources).get(component)


def _datasource(found: Deployment, component: Component) -> Finding:
    told = _source(found, component)
    if told is None:
        return skipped("no [grafana] url is set in the target", _LOGIN)
    if told.error:
        if "404" in told.error:
            remedy = "provision the data source with this uid, or set datasource in the target to the right uid"
            return broken(f"{component}: no such data source", remedy, told.error)
        remedy = "its settings can be read by an Admin, or with the permission datasources:read"
        return untold(f"{component}: {told.error}", remedy)
    source = told.value
    if source is None:
        return untold(f"{component}: nothing came back", _LOGIN)
    wrong = []
    if source.type != store_of(component).datasource.plugin:
        wrong.append(f"its type is {source.type}, not {store_of(component).datasource.plugin}")
    if source.access != "proxy":
        wrong.append(
            f"its access is {source.access!r}, not proxy: browsers would have to reach the component themselves"
        )
    linked = dict(source.links)
    wrong += [f"it has no {name} link" for name in store_of(component).datasource.links if name not in linked]
    uids = found.uids.value
    if uids is not None:
        wrong += [f"{name} points at {uid!r}, which does not exist" for name, uid in source.links if uid not in uids]
    where = f"{component}: {source.uid} at {source.url}"
    if wrong:
        remedy = f"mend the data source {source.uid}; its URL should be like {store_of(component).datasource.address}"
        return broken(f"{component}: {wrong[0]}", remedy, *(f"{where}: {text}" for text in wrong))
    if source.links and uids is None:
        return untold(f"{where}: whether its links point at something could not be told: {found.uids.error}", _LOGIN)
    return ok(f"{component}: {source.uid}", 1, where)


def _datasources(found: Deployment) -> Finding:
    if found.grafana.skipped:
        return skipped(found.grafana.skipped, _LOGIN)
    return worst([_datasource(found, component) for component in COMPONENTS], "nothing was asked", _LOGIN)


def _works(found: Deployment, component: Component) -> Finding:
    told = _source(found, component)
    if told is None:
        return skipped("no [grafana] url is set in the target", _LOGIN)
    source = told.value
    if source is None:
        return untold(told.error or "nothing came back", _LOGIN)
    address = store_of(component).datasource.address
    remedy = f"see that the data source's URL is right, e.g. {address}, and that the component runs"
    evidence = []
    if source.health.value:
        return broken("its own check fails", remedy, source.health.value)
    if source.health.value is None:
        evidence.append(f"its own check: {source.health.skipped or source.health.error}")
    if source.query_s.value is None:
        return broken("a query through it fails", remedy, source.query_s.error, *evidence)
    took_s = source.query_s.value
    took = f"a query took {duration_text(took_s)}"
    if took_s > store_of(component).datasource.answers_s:
        return broken(took, "see the component's query path and its limits", *evidence, value=took_s)
    return ok(took, 1, *evidence, value=took_s)


def _errors(found: Deployment) -> Finding:
    missing = not_told(found.error_answer, _LOGIN)
    if missing is not None:
        return missing
    answer = found.error_answer.value
    if answer is None:
        return untold("nothing came back", _LOGIN)
    said = f"status {answer.status}: {answer.text}"
    if 200 <= answer.status < 300:
        return broken("a query that nobody can read succeeded", "see what answers in Mimir's place", said)
    if answer.status in (401, 403):
        return untold(said, _LOGIN)
    if not answer.text or answer.text.lstrip().startswith("<"):
        remedy = "see what stands between Grafana and Mimir: it hides the reason of errors"
        return broken(f"status {answer.status} without a reason", remedy, said)
    return ok(f"status {answer.status} with a reason", 1, said)


def _dashboard(found: Deployment) -> Finding:
    remedy = "create it with `loadgen check --create-dashboard` (needs an Editor's token)"
    if found.dashboard.value is None and "404" in found.dashboard.error:
        return broken("it does not exist", remedy, found.dashboard.error)
    missing = not_told(found.dashboard, remedy)
    if missing is not None or found.dashboard.value is None:
        return missing or untold("nothing came back", remedy)
    board = found.dashboard.value
    evidence = [
        f"{component}: {f'{rows.value:,} rows' if rows.value is not None else rows.error}"
        for component, rows in board.panels
    ]
    failed = [component for component, rows in board.panels if rows.value is None]
    empty = [component for component, rows in board.panels if rows.value == 0]
    if failed:
        # Grafana before 12.2 cannot search traces in its backend; then the panel works in a browser only.
        return untold(f"the panel of {failed[0]} could not be asked", "open the dashboard in a browser", *evidence)
    if empty:
        why = "see that something sends this kind of data (log shipper, instrumented program, Prometheus)"
        return broken(f"no data in the panel of {empty[0]}", why, *evidence, samples=len(board.panels))
    return ok(f"{board.title!r} with {len(board.panels)} panels", len(board.panels), *evidence)


CHECKS = (
    check_of("grafana.health", "Grafana answers", "healthy", _health),
    check_of(
        "grafana.datasources",
        "the data sources are as configured, and their links point at each other",
        "uid, type, access and links",
        _datasources,
    ),
    *(
        check_of(
            f"grafana.{component}",
            f"the data source of {component.capitalize()} works",
            f"its check passes, a query ≤ {store_of(component).datasource.answers_s:g} s",
            partial(_works, component=component),
        )
        for component in COMPONENTS
    ),
    check_of("grafana.errors", "a failing query comes back with its reason", "a clear error", _errors),
    check_of(
        "grafana.dashboard",
        "a dashboard shows logs, traces and metrics",
        "every panel returns data",
        _dashboard,
    ),
)
