"""The limit that a server names in its refusal is told with its setting and value; other texts name none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.capacity.limits import MAX_MESSAGE, limit_of, limit_of_reason
from loadgen.model import Component

LOKI, TEMPO, MIMIR = Component.LOKI, Component.TEMPO, Component.MIMIR
TEXTS = [
    (
        LOKI,
        429,
        "ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while attempting to ingest",
        "limits_config.ingestion_rate_mb",
        4_194_304,
    ),
    (
        LOKI,
        429,
        "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while attempting",
        "limits_config.ingestion_rate_mb",
        4_194_304,
    ),
    (
        LOKI,
        429,
        "Per stream rate limit exceeded (limit: 3MB/sec) while attempting to ingest for stream '{}'",
        "limits_config.per_stream_rate_limit",
        3 * 2**20,
    ),
    (
        LOKI,
        429,
        'maximum active stream limit exceeded when trying to create stream {a="b"}, reduce the number of active',
        "limits_config.max_global_streams_per_user",
        None,
    ),
    (
        LOKI,
        429,
        "tenant 'fake' per-user streams limit exceeded, streams: 6 exceeds calculated limit: 5 (local limit: 0, global",
        "limits_config.max_global_streams_per_user",
        5,
    ),
    (
        TEMPO,
        1008,
        "RATE_LIMITED: ingestion rate limit (local: 15000000 bytes/s, global: 0 bytes/s, burst: 20000000 bytes) "
        "exceeded while adding 4000 bytes for user single-tenant. consider increasing the limit",
        "overrides.defaults.ingestion.rate_limit_bytes",
        15_000_000,
    ),
    (
        TEMPO,
        1008,
        "LIVE_TRACES_EXCEEDED: max live traces exceeded for tenant single-tenant: per-user traces limit "
        "(local: 10000 global: 0 actual local: 10000) exceeded",
        "overrides.defaults.ingestion.max_traces_per_user",
        10_000,
    ),
    (
        MIMIR,
        429,
        "the request has been rejected because the tenant exceeded the ingestion rate limit, set to 10000 items/s with "
        "a maximum allowed burst of 200000 (err-mimir-tenant-max-ingestion-rate)",
        "limits.ingestion_rate",
        10_000,
    ),
    (MIMIR, 429, "ingestion rate limit (25000) exceeded while adding 900 samples", "limits.ingestion_rate", 25_000),
    (
        MIMIR,
        400,
        "user=anonymous: per-user series limit of 150000 exceeded (err-mimir-max-series-per-user). To adjust",
        "limits.max_global_series_per_user",
        150_000,
    ),
    (
        MIMIR,
        400,
        "user=fake: per-user series limit of 5000 exceeded, please contact administrator to raise it (local limit: 0)",
        "limits.max_global_series_per_user",
        5_000,
    ),
]


@pytest.mark.parametrize(("component", "status", "text", "setting", "number"), TEXTS)
def test_the_texts_of_real_servers_name_their_limit(
    component: Component, status: int, text: str, setting: str, number: float | None
) -> None:
    found = limit_of(component, status, f"http://stack.example.com/push: {status}, '{text}'")
    assert found is not None and found.setting == setting and found.number == number
    assert bool(found.value) == (number is not None)


def test_a_proxy_that_takes_no_such_body_is_named() -> None:
    found = limit_of(LOKI, 413, "<html><h1>413 Request Entity Too Large</h1></html>")
    assert found is not None and "client_max_body_size" in found.setting


@pytest.mark.parametrize("text", ["", "connection refused", "500 internal error", "invalid labels", "503 limit"])
def test_other_texts_name_no_limit(text: str) -> None:
    assert limit_of(LOKI, 500, text) is None


def test_a_limit_of_one_component_is_not_looked_for_in_anothers_answer() -> None:
    assert limit_of(TEMPO, 429, "per-user series limit of 5000 exceeded") is None


@given(st.sampled_from(list(Component)), st.integers(-1, 2000), st.text(max_size=400))
def test_no_text_is_too_strange(component: Component, status: int, text: str) -> None:
    found = limit_of(component, status, text)
    assert found is None or len(found.message) <= MAX_MESSAGE


def test_what_a_component_only_counts_names_its_limit_too() -> None:
    found = limit_of_reason("tempo", "live_traces_exceeded", 12)
    assert found is not None and found.setting.endswith("max_traces_per_user") and "12" in found.message
    assert limit_of_reason("tempo", "unknown_error", 12) is None
