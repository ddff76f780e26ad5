"""Every refusal that real servers were seen to give is told as what it is: a limit, with its value, or none."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from loadgen.capacity.limits import limit_of, limit_of_reason
from loadgen.model import Component

CAPTURES = Path(__file__).parents[1] / "conformance" / "captures"
LOKI, TEMPO, MIMIR = Component.LOKI, Component.TEMPO, Component.MIMIR
FILES = {
    "loki.json": LOKI,
    "loki-otlp.json.gz": LOKI,
    "tempo.json": TEMPO,
    "tempo-otlp-http.json": TEMPO,
    "tempo-extra.json.gz": TEMPO,
    "mimir-like-cortex.json": MIMIR,
    "mimir.json.gz": MIMIR,
    "mimir-2.16.json.gz": MIMIR,
}
# Part of a text to the setting that it names; a group is its value.
LIMITS = {
    LOKI: {
        r"^(?:error: )?ingestion rate limit exceeded .*\(limit: (\d+) bytes/sec\)": "limits_config.ingestion_rate_mb",
        r"Per stream rate limit exceeded \(limit: (\d+)B/sec\)": "limits_config.per_stream_rate_limit",
        r"maximum active stream limit exceeded": "limits_config.max_global_streams_per_user",
        r"max entry size '(\d+)' bytes exceeded": "limits_config.max_line_size",
        r"too many structured metadata labels: .* limit: '(\d+)'": (
            "limits_config.max_structured_metadata_entries_count"
        ),
        r"structured metadata too large: .* limit: '(\d+)' bytes": "limits_config.max_structured_metadata_size",
        r"has \d+ label names; limit (\d+)": "limits_config.max_label_names_per_series",
        r"has label value too long": "limits_config.max_label_value_length",
        r"has label name too long": "limits_config.max_label_name_length",
    },
    TEMPO: {
        r"RATE_LIMITED: .*\(local: (\d+) bytes/s": "overrides.defaults.ingestion.rate_limit_bytes",
        r"grpc: received message larger than max \(\d+ vs. (\d+)\)": (
            "distributor.receivers.otlp.protocols.grpc.max_recv_msg_size_mib"
        ),
    },
    MIMIR: {
        r"exceeded the ingestion burst size limit, set to (\d+), with": "limits.ingestion_burst_size",
        r"exceeded the ingestion rate limit, set to (\d+) items/s": "limits.ingestion_rate",
        r"exceeded the request rate limit, set to ([\d.]+) requests/s": "limits.request_rate",
        r"per-user series limit of (\d+) exceeded": "limits.max_global_series_per_user",
        r"per-metric series limit of (\d+) exceeded": "limits.max_global_series_per_metric",
        r"number of labels exceeds the limit \(actual: \d+, limit: (\d+)\)": "limits.max_label_names_per_series",
        r"label value length of \d+ exceeds the limit of (\d+)": "limits.max_label_value_length",
        r"label value length exceeds the limit,": "limits.max_label_value_length",
        r"label name length exceeds the limit": "limits.max_label_name_length",
        r"too many buckets, .* limit: (\d+)": "limits.max_native_histogram_buckets",
        r"OTLP request .* larger than the allowed limit of (\d+) bytes": "distributor.max_otlp_request_size",
        r"push request .* larger than the allowed limit of (\d+) bytes": "distributor.max_recv_msg_size",
        r"ingester exceeded the allowed number of in-memory series": "ingester.instance_limits.max_series",
        r"distributor exceeded the ingestion rate limit \(err": "distributor.instance_limits.max_ingestion_rate",
        r"distributor exceeded the allowed total size in bytes of inflight": (
            "distributor.instance_limits.max_inflight_push_requests_bytes"
        ),
        # These are of queries, and named as Mimir names them.
        r"configure (-query-frontend\.max-total-query-length)": "-query-frontend.max-total-query-length",
        r"configure (-query-frontend\.max-query-expression-size-bytes)": (
            "-query-frontend.max-query-expression-size-bytes"
        ),
        r"configure (-querier\.max-fetched-series-per-query)": "-querier.max-fetched-series-per-query",
    },
}
# What is wrong with the data, its time, its order, its packing or the question: more of no limit lets it in.
NO_LIMIT = re.compile(
    r"err-mimir-(sample-out-of-order|sample-timestamp-too-old|sample-duplicate-timestamp|too-far-in-(future|past)|"
    r"duplicate-label-names|(metadata-)?missing-metric-name|metric-name-invalid|label-invalid|label-value-invalid|"
    r"native-histogram-\w+|invalid-native-histogram-schema|query-blocked)|exemplar|"
    r"snappy|unexpected EOF|proto: |content.?type|Content-Encoding|media type|encoding|compression|gzip|zlib|"
    r"ReadObject|parse error|unmarshal|ids must be|invalid (parameter|limit|scope|label name|value|TraceQL)|loghttp|"
    r"404 page|405 method|no org id|tenant ID|Some services|not ready|timestamp too (old|new)|entry too far behind|"
    r"at least one|couldn't parse|enforced|required labels|disallowed|blocked|label name is empty|param is required|"
    r"missing required|no match|hex characters|must be before|time range exceeds|exceeds \d+h|log queries are not|"
    r"\[interval\] value|exceeded maximum resolution|query timed out|labelset|duplicate series|cardinality analysis|"
    r"max entries limit per query|maximum number of series \(\d+\) reached for a single query|not a metrics query|"
    r"step of 1s is too small|maximum allowed duration|duplicate label name|missing metric name|invalid metric name|"
    r"timestamp too new|length mismatch|sample invalid|maxFailure|queries require"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A refusal: who gave it to what, its status as in a receipt, and its text."""

    file: str
    case: str
    component: Component
    status: int
    text: str


@cache
def refusals() -> tuple[Seen, ...]:
    """All answers that are no success, and those that say that a part was refused."""
    found = []
    for file, component in FILES.items():
        raw = (CAPTURES / file).read_bytes()
        for case in json.loads(gzip.decompress(raw) if file.endswith(".gz") else raw)["cases"]:
            status, text = _told(case["response"])
            if status >= 400 or status == 260 or (200 <= status < 300 and "err-mimir-" in text):
                found.append(Seen(file, case["case"], component, status, text))
    return tuple(found)


def _told(response: dict[str, Any]) -> tuple[int, str]:
    if "grpc_code" in response:
        number = response.get("grpc_number", {"INVALID_ARGUMENT": 3, "UNAVAILABLE": 14}.get(response["grpc_code"], 0))
        return (1000 + number if number else 200), str(response.get("message") or response.get("details"))
    text = response["body"]
    for message in (response.get("decoded") or {}).values() if isinstance(response.get("decoded"), dict) else ():
        if isinstance(message, dict):
            partial = message.get("partialSuccess") or {}
            text = message.get("message") or partial.get("errorMessage") or text
    return response["status"], text


def _expected(seen: Seen) -> tuple[str, float | None] | None:
    for pattern, setting in LIMITS[seen.component].items():
        match = re.search(pattern, seen.text)
        if match is not None:
            value = next((float(group) for group in match.groups() if not group.startswith("-")), None)
            return setting, value
    return None


@pytest.mark.parametrize("file", FILES)
def test_each_refusal_is_the_limit_that_it_names_or_none(file: str) -> None:
    ours = [seen for seen in refusals() if seen.file == file]
    assert len(ours) > 3
    for seen in ours:
        # As a receipt has it.
        found = limit_of(seen.component, seen.status, f"http://stack.example.com/push: {seen.status}, '{seen.text}'")
        expected = _expected(seen)
        told = None if found is None else (found.setting, found.number)
        assert told == expected, (seen.case, seen.text[:300])
        # Two answers were recorded in an encoding that somebody guessed.
        empty = not seen.text.strip() or seen.case == "export bad protobuf"
        assert expected is not None or empty or NO_LIMIT.search(seen.text), (seen.case, seen.text)
        assert found is None or bool(found.value) == (found.number is not None)


def test_each_of_the_limits_was_seen() -> None:
    for component, patterns in LIMITS.items():
        for pattern in patterns:
            assert any(seen.component is component and re.search(pattern, seen.text) for seen in refusals()), pattern


def test_a_refusal_of_one_component_is_not_taken_for_a_limit_of_another() -> None:
    for seen in refusals():
        expected = _expected(seen)
        for other in Component:
            if other in LIMITS and other is not seen.component and seen.status != 413:
                found = limit_of(other, seen.status, seen.text)
                assert found is None or expected is not None, (seen.case, other, found)


@pytest.mark.parametrize("number", [413, 429, 4130])
def test_a_number_that_happens_to_be_a_status_means_nothing(number: int) -> None:
    text = (
        "send data to ingesters: failed pushing to ingester vm: user=anonymous: duplicate sample for timestamp "
        f"1796077684092; overrides not allowed: existing {number}, new value 5 (err-mimir-sample-duplicate-timestamp)"
    )
    assert limit_of(MIMIR, 400, text) is None


def test_a_limit_that_is_not_listed_is_named_by_its_flag() -> None:
    text = (
        "the write request has been rejected because the ingester exceeded the allowed number of inflight push "
        "requests (err-mimir-ingester-max-inflight-push-requests). To adjust the related limit, configure "
        "-ingester.instance-limits.max-inflight-push-requests, or contact your service administrator."
    )
    found = limit_of(MIMIR, 503, text)
    assert found is not None
    assert (found.setting, found.value) == ("-ingester.instance-limits.max-inflight-push-requests", "")
    assert limit_of(LOKI, 503, text) is None


@pytest.mark.parametrize(
    ("component", "reason", "setting"),
    [
        ("mimir", "rate_limited", "limits.ingestion_rate"),
        ("mimir", "per_user_series_limit", "limits.max_global_series_per_user"),
        ("mimir", "per_metric_series_limit", "limits.max_global_series_per_metric"),
        ("mimir", "sample-out-of-order", None),
        ("mimir", "sample-too-old", None),
        ("mimir", "new-value-for-timestamp", None),
        ("mimir", "too_far_in_past", None),
        ("loki", "per_stream_rate_limit", "limits_config.per_stream_rate_limit"),
        ("loki", "stream_limit", "limits_config.max_global_streams_per_user"),
        ("loki", "greater_than_max_sample_age", None),
        ("tempo", "trace_too_large", "overrides.defaults.global.max_bytes_per_trace"),
        ("tempo", "live_traces_exceeded", "overrides.defaults.ingestion.max_traces_per_user"),
        ("tempo", "rate_limited", "overrides.defaults.ingestion.rate_limit_bytes"),
        ("tempo", "invalid_span_id", None),
    ],
)
def test_the_reasons_that_servers_count_by_are_told_too(component: str, reason: str, setting: str | None) -> None:
    found = limit_of_reason(component, reason, 3.0)
    assert (None if found is None else found.setting) == setting
