"""Asking the Prometheus that writes to Mimir: its remote write, and whether both hold the same samples."""

from __future__ import annotations

import math

from loadgen.acceptance.facts import MetricHistory, Parity, RemoteWrite, Told
from loadgen.acceptance.parity import compare
from loadgen.targets.hiding import url_without_secrets
from loadgen.targets.http import HttpClient
from loadgen.targets.mimir import MimirReader
from loadgen.targets.reading import Asker

PARITY_SELECTOR = "up"
_PARITY_MS = 300_000
_LAG_ALLOWED_MS = 20_000
_DAY_MS = 86_400_000
_USUAL_RETENTION_MS = 14 * _DAY_MS


def prometheus_reader(client: HttpClient) -> MimirReader:
    """Prometheus has the API that Mimir has."""
    return MimirReader(Asker(MimirReader.component, client, "", "direct", "check", None))


def ask_remote_write(prometheus: MimirReader, now_ms: int) -> Told[tuple[RemoteWrite, ...]]:
    """Every remote-write target of this Prometheus, by what it says of itself.

    The lag is held against the newest sample that there is to send; its metric has two names by version.
    """
    values: dict[str, dict[str, float]] = {}
    for name, expression in (
        ("failed", "prometheus_remote_storage_samples_failed_total"),
        ("shards", "prometheus_remote_storage_shards"),
        ("max", "prometheus_remote_storage_shards_max"),
        ("sent", "prometheus_remote_storage_queue_highest_sent_timestamp_seconds"),
        ("newest", "prometheus_remote_storage_queue_highest_timestamp_seconds"),
    ):
        reply = prometheus.instant(expression, now_ms)
        if reply.value is None:
            return Told(error=reply.error)
        for point in reply.value:
            values.setdefault(dict(point.labels).get("url", ""), {})[name] = point.value
    newest = prometheus.instant("max(prometheus_remote_storage_highest_timestamp_in_seconds)", now_ms)
    newest_s = newest.value[0].value if newest.value else math.nan
    found = [
        RemoteWrite(
            url=url_without_secrets(url),
            failed_samples=one.get("failed", math.nan),
            lag_s=one.get("newest", newest_s) - one.get("sent", math.nan),
            shards=one.get("shards", math.nan),
            max_shards=one.get("max", math.nan),
        )
        for url, one in sorted(values.items())
        if "sent" in one or "failed" in one
    ]
    return Told(tuple(found))


def ask_parity(prometheus: MimirReader, mimir: MimirReader, now_ms: int) -> Told[Parity]:
    """The raw samples of ``up`` of some minutes in both, but for the newest, which may be under way."""
    end_ms = now_ms - _LAG_ALLOWED_MS
    here = prometheus.raw(PARITY_SELECTOR, end_ms - _PARITY_MS, end_ms)
    there = mimir.raw(PARITY_SELECTOR, end_ms - _PARITY_MS, end_ms)
    if here.value is None or there.value is None:
        return Told(error=here.error or there.error)
    # Mimir may hold the same metric of others, who also write to it: what is not Prometheus' own is left alone.
    jobs = {dict(one.labels).get("job") for one in here.value}
    ours = [one for one in there.value if dict(one.labels).get("job") in jobs]
    return Told(compare(here.value, ours))


def ask_history(prometheus: MimirReader, mimir: MimirReader, now_ms: int) -> Told[MetricHistory]:
    """Whether Mimir answers for a time before Prometheus' oldest sample."""
    oldest = prometheus.instant("min(prometheus_tsdb_lowest_timestamp_seconds)", now_ms)
    if oldest.value is None:
        return Told(error=oldest.error)
    if not oldest.value or not math.isfinite(oldest.value[0].value):
        return Told(error="Prometheus does not say how far back it reaches (prometheus_tsdb_lowest_timestamp_seconds)")
    oldest_ms = round(oldest.value[0].value * 1000)
    removed = prometheus.instant(
        "sum(prometheus_tsdb_time_retentions_total) + sum(prometheus_tsdb_size_retentions_total)", now_ms
    )
    # The counters begin anew with Prometheus; its usual retention of 15 days tells it after a restart.
    counted = removed.value[0].value if removed.value else 0.0
    dropped = counted > 0 or now_ms - oldest_ms > _USUAL_RETENTION_MS
    asked_ms = oldest_ms - _DAY_MS // 24
    reply = mimir.instant('count({__name__=~".+"})', asked_ms)
    if reply.value is None:
        return Told(error=reply.error)
    return Told(MetricHistory(oldest_ms, dropped, asked_ms, round(reply.value[0].value) if reply.value else 0))
