"""Queries of people answer in time. Latency counts from the planned time, so that a stall cannot hide itself."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import (
    EXAMPLES,
    RUN_LONGER,
    Case,
    RunCheck,
    Times,
    counted,
    nearest_rank,
    records,
    skipped,
    touches,
)
from loadgen.checks.few import ALLOWED, Tally
from loadgen.checks.own import OwnFacts, is_refused, own_facts, proves_nothing
from loadgen.checks.planned import UNABLE, ending_text, is_asked, is_failed, planned_texts, tells, unable_text
from loadgen.checks.ranges import held, own_queries, range_text
from loadgen.checks.suggest import more_queries
from loadgen.checks.wrong_answers import wrong_answers
from loadgen.judging import Finding
from loadgen.kinds import KINDS, kind_of
from loadgen.kinds.kind import Kind
from loadgen.model import HIDING, NS, Component, Result
from loadgen.units import duration_text

_REFUSED = "mend the query in the profile ([[queries]]); the server's own words are above"
_HIDING = (
    "a query must fail rather than hide data: look at result caches, at queriers that leave out what they cannot reach "
    "(ingesters, store-gateways, blocks that are not polled yet), and at proxies that answer for the component"
)
_FAILING = (
    "read the errors above: an HTTP 401 or 403 is the login, 404 a wrong data source uid, 502 or 504 a component that "
    "did not answer Grafana in time, 429 a query limit"
)


def people(case: Case, component: Component | None = None) -> pd.DataFrame:
    """Queries that stand for people: of viewers and of the user's own configuration."""
    queries = case.history.queries
    mine = queries[queries["source"].isin(["viewer", "own"])]
    return mine if component is None else mine[mine["component"] == component.value]


def latency_ns(queries: pd.DataFrame) -> Times:
    """From planned to done, or to when it was given up without having been asked or answered."""
    took: Times = np.maximum(0, queries["done_ns"].to_numpy(np.int64) - queries["due_ns"].to_numpy(np.int64))
    return took


def in_outage(case: Case, component: Component, queries: pd.DataFrame) -> NDArray[np.bool_]:
    """Which queries shared a moment with a fault of the component."""
    from_ns, until_ns = queries["due_ns"].to_numpy(np.int64), queries["done_ns"].to_numpy(np.int64)
    return touches(from_ns, until_ns, case.outages(component))


def in_own_delay(case: Case, queries: pd.DataFrame) -> NDArray[np.bool_]:
    """Which queries were asked while the generator itself came too late to its work."""
    from_ns, until_ns = queries["due_ns"].to_numpy(np.int64), queries["done_ns"].to_numpy(np.int64)
    return touches(from_ns, until_ns, case.own_delays())


def own_delay_texts(count: int) -> list[str]:
    """That so many queries do not count, because their times may be the generator's own."""
    text = f"{counted(count, 'queries')} while the generator itself came too late are not counted; see loadgen.health"
    return [text] if count else []


def kinds_text(queries: pd.DataFrame) -> str:
    """Which kinds and ranges were asked, how often, and how long they took at most."""
    parts = []
    took_s = pd.Series(latency_ns(queries) / NS, index=queries.index)
    groups = queries.assign(took_s=took_s).groupby(["kind", "range_s"])["took_s"].agg(["size", "max"]).reset_index()
    for row in records(groups):
        ranged = f" over {range_text(row['range_s'])}" if row["range_s"] else ""
        parts.append(f"{row['size']:,} × {row['kind']}{ranged} (slowest {duration_text(row['max'])})")
    return "asked: " + (", ".join(parts) or "none that came to an end")


def slowest_texts(case: Case, queries: pd.DataFrame, count: int) -> list[str]:
    """The slowest queries, one text each."""
    took = latency_ns(queries)
    texts = []
    slowest = np.argsort(took)[::-1][:count]
    for position, row in zip(slowest, records(queries.iloc[slowest]), strict=True):
        ranged = f" over {range_text(row['range_s'])}" if row["range_s"] else ""
        late_ns = row["sent_ns"] - row["due_ns"] if row["sent_ns"] else 0
        waited = f", of which {duration_text(late_ns / NS)} before it was sent" if late_ns > NS // 10 else ""
        waited = f", {ending}" if (ending := ending_text(row)) else waited
        texts.append(
            f"{duration_text(took[position] / NS)}: {row['component']} {row['kind']}{ranged}, due "
            f"{case.at(row['due_ns'])}" + waited
        )
    return texts


def _judge(case: Case, kind: Kind) -> Finding:
    signal = kind.signal
    component, limit_s = kind_of(signal).store, case.bounds(signal).query_p99
    text = f"p99 ≤ {duration_text(limit_s)}, ≤ {100 * ALLOWED:g} % failing, no success that hides data"
    objective = case.objective(f"{signal}.query_p99", text, limit_s, "s")
    wrong = wrong_answers(case, signal)
    if wrong:
        measured = "data was hidden when it was read back"
        return Finding(Result.FAIL, objective, measured, None, len(wrong), tuple(wrong), _HIDING)
    own = any(query.component == component.value for query in case.profile.queries)
    queries = people(case, component)
    if queries.empty and not own and not (case.profile.dashboards.users and case.profile.users(signal)):
        return skipped(objective, "the profile has nobody who asks", "set dashboards.users to judge this promise")
    outage, delayed = in_outage(case, component, queries), in_own_delay(case, queries)
    refused, empty = is_refused(queries), proves_nothing(queries, limit_s)
    calm = ~outage & ~delayed
    told = calm & tells(queries, limit_s)
    counting, left_out = queries[told & ~refused & ~empty], queries[outage]
    own_ones = [own_facts(case, query, queries[told]) for query in own_queries(case, component)]
    about = [*_refusals(own_ones), *(one.text for one in own_ones), *_empty(int((empty & calm).sum()))]
    unable = unable_text(queries[calm])
    about = [*([unable] if unable else ()), *planned_texts(queries[calm], limit_s), *about]
    about += [one.alone_text(limit_s) for one in own_ones if not one.alone(limit_s).over and one.few(limit_s)]
    aside = [*_aside(left_out), *own_delay_texts(int((delayed & ~outage).sum()))]
    took_s = latency_ns(counting) / NS
    ok = ~is_failed(counting)
    failed = int((~ok).sum())
    # A query that failed never answered: it is later than any bound.
    late_s = np.where(ok, took_s, np.inf)
    tally, failing = Tally(int((late_s > limit_s).sum()), len(counting)), Tally(failed, len(counting))
    bound = f"over {duration_text(limit_s)}" + (" or failed" if failed else "")
    hiding = counting[~ok & counting["detail"].astype(str).str.startswith(HIDING).to_numpy(bool)]
    own_slow = [one for one in own_ones if one.alone(limit_s).result is Result.FAIL]
    # With an own query that was asked a few times and was quick, nothing speaks against the promise about all.
    own_doubts = [one for one in own_ones if one.alone(limit_s).over and one.alone(limit_s).result is Result.UNKNOWN]
    broken = len(hiding) or own_slow or Result.FAIL in (tally.result, failing.result)
    if not broken and tally.result is Result.UNKNOWN:
        remedy = more_queries(case, tally, component)
        remedy = f"{_REFUSED}; {remedy}" if refused.any() else remedy
        measured = tally.text(bound) if tally.over else ""
        texts = (tally.lacking("queries", bound), *about, *aside, *_failures(case, counting[~ok]))
        return Finding(Result.UNKNOWN, objective, measured, None, len(counting), texts, remedy)
    p99_s = nearest_rank(late_s, 0.99)
    text = duration_text(p99_s) if np.isfinite(p99_s) else "never"
    slowest = f", slowest {duration_text(float(took_s[ok].max()))}" if ok.any() else ""
    asked = counting[is_asked(counting)]
    full = held(case, component, asked)
    ranged = f" {full.text}" if full is not None else ""
    measured = f"p99 {text}{ranged}{slowest}, {failed:,} of {len(counting):,} failed; {tally.text(bound)}"
    evidence = [
        *(full.warnings if full is not None else ()),
        *([f"{counted(len(hiding), 'queries')} hid data, of which none may"] if len(hiding) else ()),
        *(one.alone_text(limit_s) for one in (*own_slow, *own_doubts)),
        *about,
        kinds_text(asked) + ("; asked directly, not through Grafana" if case.direct else ""),
        "p99 is nearest-rank over every raw latency, from the planned time; a failed query counts as never answered",
        *aside,
        *slowest_texts(case, counting[ok], 2),
        *_failures(case, counting[~ok]),
    ]
    value = p99_s if np.isfinite(p99_s) else None

    def finding(result: Result, remedy: str = "") -> Finding:
        return Finding(result, objective, measured, value, len(counting), tuple(evidence), remedy)

    if len(hiding):
        return finding(Result.FAIL, _HIDING)
    if failing.result is Result.FAIL or any(one.failed > 1 for one in own_slow):
        return finding(Result.FAIL, _FAILING)
    if broken:
        return finding(Result.FAIL, kind.query.advice)
    if refused.any() or unable:
        return finding(Result.UNKNOWN, _REFUSED if refused.any() else UNABLE)
    if own_doubts:
        return finding(Result.UNKNOWN, f"{RUN_LONGER}, or ask your own queries more often (every)")
    return finding(Result.PASS)


def _refusals(own_ones: list[OwnFacts]) -> list[str]:
    return [
        f"own query {one.query.title} was refused {one.refused:,} ×: {one.words}" for one in own_ones if one.refused
    ]


def _empty(count: int) -> list[str]:
    text = f"{counted(count, 'own queries')} returned nothing; how quick they were proves nothing and does not count"
    return [text] if count else []


def _aside(left_out: pd.DataFrame) -> list[str]:
    if left_out.empty:
        return []
    failed = left_out[is_failed(left_out)]
    first = next((text for text in failed["detail"] if text), "")
    text = f"{counted(len(left_out), 'queries')} during restarts are not counted, {len(failed):,} of them failed"
    return [text + (f", e.g. {first}" if first else "")]


def _failures(case: Case, failed: pd.DataFrame) -> list[str]:
    texts = []
    groups = failed.groupby(["kind", "status", "detail"]).agg(count=("ok", "size"), first=("due_ns", "min"))
    for row in records(groups.reset_index().sort_values("count", ascending=False).head(EXAMPLES)):
        answer = f"status {row['status']}" if row["status"] else "no answer"
        detail = f": {row['detail']}" if row["detail"] else ""
        texts.append(f"{row['count']:,} failed: {row['kind']}, {answer}{detail} (first {case.at(row['first'])})")
    return texts


CHECKS = tuple(
    RunCheck(
        f"{kind.signal}.query",
        kind.query.promise,
        partial(_judge, kind=kind),
        ("queries", "sightings"),
        disturbed_by=(kind.store,),
    )
    for kind in KINDS
)
