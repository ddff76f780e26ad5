from __future__ import annotations

from dataclasses import fields

import pandas as pd
import pytest

from loadgen.capacity.model import Usage
from loadgen.capacity.usage import usage_of
from loadgen.model import NS, StackSample
from loadgen.scrape.figures import FIGURES

BEGAN_NS = 1_795_500_000 * NS
STARTED_S = 1_795_000_000.0
COLUMNS = [field.name for field in fields(StackSample)]
CPU = "process_cpu_seconds_total"
MEMORY = "process_resident_memory_bytes"
START = "process_start_time_seconds"
STREAMS = "loki_ingester_memory_streams"
DISCARDED = "loki_discarded_samples_total"

Values = dict[str | tuple[str, str], float]


def frame(*scrapes: tuple[float, Values], component: str = "loki") -> pd.DataFrame:
    """A frame of scrapes, each its second and metric (or metric with labels) to value."""
    rows = []
    for second, values in scrapes:
        for key, value in values.items():
            metric, labels = key if isinstance(key, tuple) else (key, "")
            rows.append((component, metric, labels, BEGAN_NS + round(second * NS), value))
    return pd.DataFrame(rows, columns=COLUMNS)


def used(stack: pd.DataFrame, component: str = "loki", from_s: float = 0.0, until_s: float = 1000.0) -> Usage:
    return usage_of(stack, component, BEGAN_NS + round(from_s * NS), BEGAN_NS + round(until_s * NS))


def test_counters_are_increases_per_second_and_gauges_peaks() -> None:
    stack = frame(
        (0, {START: STARTED_S, CPU: 100, MEMORY: 5e8, STREAMS: 10}),
        (5, {START: STARTED_S, CPU: 102, MEMORY: 9e8, STREAMS: 30}),
        (10, {START: STARTED_S, CPU: 107, MEMORY: 7e8, STREAMS: 20}),
    )
    usage = used(stack)
    assert (usage.component, usage.source) == ("loki", "/metrics")
    assert (usage.cores, usage.memory_bytes, usage.streams, usage.starts) == (0.7, 9e8, 30, 0)


def test_nothing_scraped_is_nothing_known() -> None:
    empty = Usage("tempo", "/metrics")
    assert used(pd.DataFrame([], columns=COLUMNS), "tempo") == empty
    assert used(frame((0, {CPU: 1})), "tempo") == empty
    assert used(frame((0, {CPU: 1}), (5, {CPU: 2}), component="tempo"), "tempo", from_s=20) == empty


def test_one_sample_tells_gauges_but_no_rate() -> None:
    usage = used(frame((3, {START: STARTED_S, CPU: 100, MEMORY: 5e8, (DISCARDED, 'reason="rate_limited"'): 7})))
    assert (usage.memory_bytes, usage.cores, usage.discarded) == (5e8, None, ())


def test_what_lies_outside_the_window_does_not_count() -> None:
    stack = frame(*((second, {CPU: float(second**2), MEMORY: 1e6 * second}) for second in range(0, 60, 5)))
    usage = used(stack, from_s=10, until_s=20)
    assert usage.cores == pytest.approx((400 - 100) / 10)
    assert usage.memory_bytes == 20e6


def test_a_process_that_starts_anew_counts_from_zero_and_is_a_start() -> None:
    again_s = BEGAN_NS / NS + 7
    stack = frame(
        (0, {START: STARTED_S, CPU: 100}),
        (5, {START: STARTED_S, CPU: 110}),
        (10, {START: again_s, CPU: 4}),
        (15, {START: again_s, CPU: 6}),
    )
    usage = used(stack)
    assert (usage.starts, usage.cores) == (1, pytest.approx((10 + 6) / 15))


def test_a_new_process_that_has_already_done_more_counts_from_zero_too() -> None:
    stack = frame((0, {START: STARTED_S, CPU: 3}), (5, {START: BEGAN_NS / NS + 1, CPU: 8}))
    usage = used(stack)
    assert (usage.starts, usage.cores) == (1, pytest.approx(8 / 5))


def test_a_counter_that_falls_began_anew_also_where_no_start_is_told() -> None:
    usage = used(frame((0, {CPU: 100}), (5, {CPU: 104}), (10, {CPU: 1})))
    assert (usage.starts, usage.cores) == (0, pytest.approx(0.5))


def test_two_processes_that_answer_in_turns_are_no_starts_and_no_leaps() -> None:
    first, second = {START: STARTED_S}, {START: STARTED_S + 50}
    stack = frame(
        (0, {**first, CPU: 1000}), (5, {**second, CPU: 10}), (10, {**first, CPU: 1005}), (15, {**second, CPU: 15})
    )
    usage = used(stack)
    assert (usage.starts, usage.cores) == (0, pytest.approx(10 / 15))


def test_an_older_process_that_answers_after_another_did_not_start() -> None:
    stack = frame(
        (0, {START: STARTED_S, CPU: 3}), (5, {START: STARTED_S - 90, CPU: 8}), (10, {START: STARTED_S - 90, CPU: 9})
    )
    assert (used(stack).starts, used(stack).cores) == (0, pytest.approx(0.1))


def test_two_young_processes_that_answer_in_turns_are_no_starts() -> None:
    young_s = BEGAN_NS / NS - 10
    scrapes: list[tuple[float, Values]] = [(5.0 * n, {START: young_s + n % 2, CPU: float(n)}) for n in range(6)]
    assert used(frame(*scrapes)).starts == 0


def test_discarded_items_are_rates_by_reason_without_those_that_are_nought() -> None:
    limited, old, late = ((DISCARDED, f'reason="{reason}"') for reason in ("rate_limited", "too_old", "stream_limit"))
    stack = frame(
        (0, {CPU: 1, limited: 100, old: 7}),
        (5, {CPU: 1, limited: 120, old: 7}),
        (10, {CPU: 1, limited: 150, old: 7, late: 80}),
    )
    assert used(stack).discarded == (("stream_limit", 8.0), ("rate_limited", 5.0))


def test_series_that_differ_in_other_labels_are_added_up() -> None:
    a, b = (("loki_s3_request_duration_seconds_count", f'operation="{one}"') for one in ("S3.PutObject", "S3.List"))
    streams_a, streams_b = ((STREAMS, f'tenant="{one}"') for one in "ab")
    stack = frame((0, {a: 5, b: 5, streams_a: 3, streams_b: 4}), (10, {a: 15, b: 25, streams_a: 9, streams_b: 1}))
    usage = used(stack)
    assert (usage.s3_requests_per_s, usage.streams) == (3.0, 10.0)


def test_only_uploads_are_bytes_written_to_s3() -> None:
    metric = "thanos_objstore_bucket_operation_transferred_bytes_sum"
    up, down = (metric, 'operation="upload"'), (metric, 'operation="get"')
    stack = frame((0, {up: 0, down: 0}), (10, {up: 5000, down: 90_000}), component="mimir")
    assert used(stack, "mimir").s3_written_bytes_per_s == 500.0


def test_only_reads_are_no_bytes_written_to_s3() -> None:
    down = ("thanos_objstore_bucket_operation_transferred_bytes_sum", 'operation="get"')
    assert used(frame((0, {down: 0}), (10, {down: 9}), component="mimir"), "mimir").s3_written_bytes_per_s is None


def test_the_first_name_that_was_scraped_wins() -> None:
    lab, go = "loadgen_lab_memory_limit_bytes", "go_gc_gomemlimit_bytes"
    assert used(frame((0, {lab: 2e8, go: 9e8}))).memory_limit_bytes == 2e8
    assert used(frame((0, {go: 9e8}))).memory_limit_bytes == 9e8


def test_the_limit_that_go_tells_without_one_is_none() -> None:
    assert used(frame((0, {"go_gc_gomemlimit_bytes": 9.223372036854776e18}))).memory_limit_bytes is None


def test_every_figure_is_a_field_of_the_usage() -> None:
    names = {field.name for field in fields(Usage)} - {"component", "source", "starts", "throttled_share"}
    assert {figure.field for figure in FIGURES} <= names
    assert {figure.component for figure in FIGURES} == {"loki", "tempo", "mimir", "grafana"}
    pairs = [(figure.component, figure.field) for figure in FIGURES]
    assert len(set(pairs)) == len(pairs)
