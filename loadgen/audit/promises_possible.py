"""The settings allow the promises of a run at all: flush ages, rate limits, retention, persistence."""

from __future__ import annotations

import re
from collections.abc import Iterator

from loadgen.audit.amounts import bytes_of, duration_s, number
from loadgen.audit.components import SINGLE, mode
from loadgen.audit.rule import Remark, Remarks, absent, fine, rule_of, unknown_value, unsure, wrong
from loadgen.audit.stack import COMPONENTS, Effective, Release, Stack

LOKI_S3_S = 300.0
TEMPO_S3_S = 600.0
RETENTION_S = 30 * 86400.0
RATE_BYTES = 10_000_000
PUSH_BYTES = 900_000
# What 10 MB/s of plain bytes are when loadgen sends them: samples of about 135 bytes, traces of eight spans of 143.
SAMPLES_PER_S = 74_000
TRACES_PER_S = 8_800

_MIMIR = "mimir.structuredConfig"


def _judge(stack: Stack) -> Remarks:
    for component in COMPONENTS:
        releases = stack.of(component)
        if not releases:
            yield absent(component)
        for release in releases:
            yield from {"loki": _loki, "tempo": _tempo, "mimir": _mimir}[component](release)


# -- Loki ----------------------------------------------------------------------------------------------------------


def _loki(release: Release) -> Iterator[Remark]:
    def ingester(name: str) -> Effective:
        return release.effective(f"loki.structuredConfig.ingester.{name}", f"loki.ingester.{name}", server=True)

    def limit(name: str) -> Effective:
        return release.effective(
            f"loki.structuredConfig.limits_config.{name}", f"loki.limits_config.{name}", server=True
        )

    # Age counts what a chunk spans; one that gets nothing more waits to be idle on top of it.
    parts = (ingester("max_chunk_age"), ingester("chunk_idle_period"), ingester("flush_check_period"))
    yield from _within(
        parts,
        LOKI_S3_S,
        "loki: lines in S3",
        "set loki.ingester.max_chunk_age to 3m, chunk_idle_period to 1m and flush_check_period to 10s",
    )
    yield from _at_least(limit("ingestion_rate_mb"), RATE_BYTES / 1e6, "loki: ingestion_rate_mb", "16")
    yield from _at_least(limit("ingestion_burst_size_mb"), RATE_BYTES / 1e6, "loki: ingestion_burst_size_mb", "32")
    # One of the eight streams that send 10 MB/s together.
    yield from _at_least(limit("per_stream_rate_limit"), RATE_BYTES / 8, "loki: per_stream_rate_limit", "8MB")
    if release.effective("gateway.enabled").value is not False:
        yield from _body(release.effective("gateway.nginxConfig.clientMaxBodySize"), "loki: the gateway")
    enabled = release.effective(
        "loki.structuredConfig.compactor.retention_enabled", "loki.compactor.retention_enabled", server=True
    )
    if not enabled.known:
        yield unknown_value(enabled, "loki: whether old lines are deleted")
    elif enabled.value is True:
        yield from _kept(limit("retention_period"), "loki")
    section = "singleBinary" if mode(release).value in SINGLE else "write"
    path = "persistence.enabled" if section == "singleBinary" else "persistence.volumeClaimsEnabled"
    yield from _on(release.effective(f"{section}.{path}"), f"loki: a volume for the write-ahead log of {section}")
    yield from _on(ingester("wal.enabled"), "loki: the write-ahead log")


# -- Tempo ---------------------------------------------------------------------------------------------------------


def _tempo(release: Release) -> Iterator[Remark]:
    def ingester(name: str) -> Effective:
        return release.effective(f"tempo.ingester.{name}", server=True)

    def limit(name: str) -> Effective:
        return release.effective(f"tempo.overrides.defaults.ingestion.{name}", server=True)

    idle, check = ingester("trace_idle_period"), ingester("flush_check_period")
    yield from _within(
        (ingester("max_block_duration"), idle, check),
        TEMPO_S3_S,
        "tempo: traces in S3",
        "set tempo.ingester.max_block_duration to 5m or less",
    )
    yield from _at_least(limit("rate_limit_bytes"), RATE_BYTES, "tempo: rate_limit_bytes", "30000000")
    yield from _at_least(limit("burst_size_bytes"), RATE_BYTES, "tempo: burst_size_bytes", "60000000")
    yield from _live_traces(limit("max_traces_per_user"), idle, check)
    yield from _kept(release.effective("tempo.retention"), "tempo")
    yield from _on(release.effective("persistence.enabled"), "tempo: a volume for the write-ahead log")


def _live_traces(limit: Effective, idle: Effective, check: Effective) -> Iterator[Remark]:
    most, waits = number(limit.value), [duration_s(setting.value) for setting in (idle, check)]
    if not limit.known or most is None:
        yield unknown_value(limit, "tempo: max_traces_per_user")
    elif None in waits:
        return  # said already
    elif most and most < TRACES_PER_S * sum(wait or 0 for wait in waits):
        live = TRACES_PER_S * sum(wait or 0 for wait in waits)
        yield wrong(
            limit,
            f"tempo: max_traces_per_user {limit.text}, but 10 MB/s are about {TRACES_PER_S:,} traces a second, "
            f"each alive for {idle.value} and up to {check.value}: {live:,.0f} at a time",
            f"set {limit.path} to 0 (no limit) or {live:,.0f} and more",
        )
    else:
        yield fine(limit, f"tempo: max_traces_per_user {limit.text}")


# -- Mimir ---------------------------------------------------------------------------------------------------------


def _mimir(release: Release) -> Iterator[Remark]:
    def limit(name: str) -> Effective:
        return release.effective(f"{_MIMIR}.limits.{name}", server=True)

    yield from _at_least(limit("ingestion_rate"), SAMPLES_PER_S, "mimir: ingestion_rate (samples a second)", "200000")
    yield from _at_least(
        limit("ingestion_burst_size"), SAMPLES_PER_S, "mimir: ingestion_burst_size (samples)", "2000000"
    )
    yield from _kept(limit("compactor_blocks_retention_period"), "mimir")
    yield from _on(
        release.effective("ingester.persistentVolume.enabled"), "mimir: a volume for the ingester's write-ahead log"
    )
    if release.effective("gateway.enabledNonEnterprise").value is False:
        yield from _body(_nginx_limit(release), "mimir: nginx")
    minio = release.effective("minio.enabled")
    if not minio.known:
        yield unknown_value(minio, "mimir: whether the chart's own MinIO runs")
    elif minio.value is not False:
        yield wrong(
            minio, f"mimir: the chart's own MinIO runs: {minio.text}; blocks go there", "set minio.enabled to false"
        )


def _nginx_limit(release: Release) -> Effective:
    """The largest body that Mimir's nginx takes: what a snippet of its configuration says, or nginx's own limit."""
    for path in ("nginx.nginxConfig.serverSnippet", "nginx.nginxConfig.httpSnippet"):
        node = release.values.dotted(path)
        found = re.search(r"client_max_body_size\s+(\w+)\s*;", str(node.scalar)) if node is not None else None
        if node is not None and found is not None:
            return Effective(path, True, found[1], node, node.place, "set")
    return release.effective("(body limit of nginx)")


# -- what they share -----------------------------------------------------------------------------------------------


def _within(parts: tuple[Effective, ...], most_s: float, what: str, remedy: str) -> Iterator[Remark]:
    lengths = [duration_s(part.value) for part in parts]
    for part, length in zip(parts, lengths, strict=True):
        if not part.known:
            yield unknown_value(part, f"{what}: {part.path}")
        elif length is None:
            yield unsure(part, f"{what}: {part.path} is {part.text}, no duration", "write it like 3m")
    if any(not part.known for part in parts) or None in lengths:
        return
    total_s = sum(length or 0 for length in lengths)
    listed = " + ".join(f"{part.path.rpartition('.')[2]} {part.text}" for part in parts)
    largest = max(zip(parts, lengths, strict=True), key=lambda pair: pair[1] or 0)[0]
    if total_s > most_s:
        yield wrong(
            largest, f"{what} only after up to {total_s:,.0f} s, {most_s:,.0f} s are promised: {listed}", remedy
        )
    else:
        yield fine(largest, f"{what} after at most {total_s:,.0f} s: {listed}")


def _at_least(setting: Effective, least: float, what: str, example: str) -> Iterator[Remark]:
    value = number(setting.value)
    value = bytes_of(setting.value) if value is None else value
    if not setting.known:
        yield unknown_value(setting, what)
    elif value is None:
        yield unsure(setting, f"{what}: {setting.text} is no number", f"set {setting.path}, e.g. to {example}")
    elif value < least:
        yield wrong(
            setting,
            f"{what} {setting.text}: less than the {least:,.0f} that 10 MB/s take, so pushes are refused",
            f"set {setting.path}, e.g. to {example}",
        )
    else:
        yield fine(setting, f"{what} {setting.text}")


def _body(setting: Effective, what: str) -> Iterator[Remark]:
    """A push may have 900 kB; nginx takes 0 for no limit."""
    size = bytes_of(str(setting.value).upper().removesuffix("B"))
    if not setting.known:
        yield unknown_value(setting, f"{what}: the largest body that it takes")
    elif size is not None and 0 < size < PUSH_BYTES:
        yield wrong(
            setting,
            f"{what} refuses bodies over {setting.text}, pushes have up to 900 kB",
            f"set {setting.path} to 16M",
        )
    else:
        yield fine(setting, f"{what} takes bodies up to {setting.text}")


def _kept(setting: Effective, component: str) -> Iterator[Remark]:
    length_s = duration_s(setting.value)
    if not setting.known:
        yield unknown_value(setting, f"{component}: the retention")
    elif length_s is None:
        yield unsure(setting, f"{component}: retention {setting.text} is no duration", "write it like 720h")
    elif 0 < length_s < RETENTION_S:
        yield wrong(
            setting,
            f"{component}: data is kept for {setting.text}, 30 days are promised",
            f"set {setting.path} to 720h",
        )
    else:
        yield fine(setting, f"{component}: data is kept for {setting.text if length_s else 'ever'}")


def _on(setting: Effective, what: str) -> Iterator[Remark]:
    if not setting.known:
        yield unknown_value(setting, what)
    elif setting.value is not True:
        yield wrong(
            setting,
            f"{what} is off: {setting.text}; a restart loses what is not in S3 yet",
            f"set {setting.path} to true",
        )
    else:
        yield fine(setting, f"{what} is on")


RULE = rule_of(
    "promises_possible",
    "flush ages, rate limits, retention and volumes are such that the promises of a run can be kept",
    _judge,
)
