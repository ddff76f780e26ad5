"""Prometheus writes everything on to Mimir, which has the same samples and reaches back further."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from loadgen.acceptance.checks.base import broken, check_of, not_told, ok, skipped, untold, worst
from loadgen.acceptance.facts import Deployment, RemoteWrite
from loadgen.judging import Finding
from loadgen.units import duration_text

LAG_S = 60.0
_ASK = "check [prometheus] url in the target"


def _one(target: RemoteWrite) -> Finding:
    about = (
        f"{target.url}: {target.failed_samples:,.0f} samples failed, lag {duration_text(max(0.0, target.lag_s))}, "
        f"{target.shards:g} of at most {target.max_shards:g} shards"
        if math.isfinite(target.lag_s)
        else f"{target.url}: its metrics are incomplete"
    )
    if not all(map(math.isfinite, (target.failed_samples, target.lag_s, target.shards, target.max_shards))):
        return untold(about, "see prometheus_remote_storage_* of this Prometheus: has it sent anything yet?")
    if target.failed_samples > 0:
        remedy = (
            "see Prometheus' log for the answers of Mimir: 400 is bad data, 429 a limit (limits.ingestion_rate), and "
            "is lost unless queue_config.retry_on_http_429 is true"
        )
        return broken(f"{target.failed_samples:,.0f} samples lost", remedy, about)
    if target.lag_s > LAG_S:
        remedy = "see that Mimir answers at this URL (mimir-nginx:80, /api/v1/push), and raise max_shards or capacity"
        return broken(f"lags {duration_text(target.lag_s)} behind", remedy, about, value=target.lag_s)
    if target.shards >= target.max_shards:
        return broken("all shards are in use", "raise queue_config.max_shards, or see why Mimir answers slowly", about)
    return ok(f"lag {duration_text(max(0.0, target.lag_s))}", 1, about, value=target.lag_s)


def _remote_write(found: Deployment) -> Finding:
    missing = not_told(found.remote_write, _ASK)
    if missing is not None:
        return missing
    targets = found.remote_write.value or ()
    if not targets:
        remedy = "add remote_write with url http://mimir-nginx/api/v1/push to Prometheus (remoteWrite in the chart)"
        return broken("it writes nowhere", remedy)
    return worst([_one(target) for target in targets], "", _ASK)


def _parity(found: Deployment) -> Finding:
    missing = not_told(found.parity, _ASK)
    if missing is not None:
        return missing
    parity = found.parity.value
    if parity is None or not parity.samples:
        return untold(
            "Prometheus has no samples of `up` of some minutes ago to compare", "wait some minutes, then again"
        )
    measured = f"{parity.samples - parity.missing:,} of {parity.samples:,} samples of {parity.series:,} series"
    evidence = [
        f"external labels: {', '.join('='.join(label) for label in parity.external) or 'none'}",
        *parity.examples,
    ]
    if parity.surplus:
        evidence.append(f"{parity.surplus:,} samples are only in Mimir: another Prometheus may write there too")
    if parity.missing or parity.differing:
        remedy = "see prometheus.remote_write, write_relabel_configs, and Mimir's discarded samples"
        return broken(
            f"{measured}; {parity.missing:,} missing, {parity.differing:,} different", remedy, *evidence,
            samples=parity.samples,
        )  # fmt: skip
    return ok(f"{measured} are the same", parity.samples, *evidence)


def _history(found: Deployment) -> Finding:
    missing = not_told(found.history, _ASK)
    if missing is not None:
        return missing
    history = found.history.value
    if history is None:
        return untold("nothing came back", _ASK)
    asked, oldest = _moment(history.asked_ms), _moment(history.oldest_prometheus_ms)
    evidence = f"Prometheus reaches back to {oldest}; Mimir was asked for {asked}"
    if history.mimir_series:
        return ok(f"{history.mimir_series:,} series at {asked}", history.mimir_series, evidence)
    if not history.dropped:
        return skipped(
            "Prometheus still has everything that it ever scraped, so nothing can be older", "ask again later"
        )
    why = "Mimir has nothing from before Prometheus' oldest sample"
    remedy = (
        "it may be too young: ask again when it has run for longer than Prometheus' retention; then see the "
        "store-gateway and compactor_blocks_retention_period"
    )
    return broken(why, remedy, evidence)


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


CHECKS = (
    check_of(
        "prometheus.remote_write",
        "Prometheus writes to Mimir without losing or lagging",
        f"0 failed, lag ≤ {LAG_S:g} s, shards below the maximum",
        _remote_write,
    ),
    check_of("prometheus.parity", "Prometheus and Mimir hold the same samples", "0 different", _parity),
    check_of(
        "mimir.history",
        "Mimir answers for a time before Prometheus' oldest sample",
        "data there",
        _history,
    ),
)
