"""What follows for the user's own load."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from made_steps import flow, step, usage

from loadgen.capacity.cost import MB_S, QUERIES
from loadgen.capacity.model import (
    Advice,
    Capacity,
    Cost,
    Ending,
    Limit,
    OwnLoad,
    Refusal,
    Search,
    SearchKind,
    SizedRow,
    Sizing,
    Stored,
    Why,
)
from loadgen.capacity.scales.metrics import SERIES
from loadgen.capacity.scales.need import rounded_up
from loadgen.capacity.sizing import GIVEN, sizing_of

DAY_S = 86_400.0
MEASURED = "Prometheus, last 24 h"
OWN_LOGS = OwnLoad("logs", 2e6, None, 40.0, MEASURED)
OWN_METRICS = OwnLoad("metrics", None, 1000.0, 15_000.0, MEASURED)
LOGS_STEPS = tuple(
    step(n, flow(mb_s=mb, users=4), usage(streams=100.0 * n), level=mb * 1e6, ending=ending)
    for n, (mb, ending) in enumerate([(4, Ending.KEPT), (8, Ending.KEPT), (16, Ending.BROKEN), (12, Ending.KEPT)], 1)
)
LOGS_SEARCH = Search(SearchKind.LOGS, "B/s", 1e9, Why.FOUND, 12e6, 16e6)
MEMORY = Cost("loki", "memory_bytes", MB_S, 1e7, 1e8, 0.99, 4, 0.0, 12.0)
CORES = Cost("loki", "cores", MB_S, 0.05, 0.1, 0.99, 4, 4.0, 12.0)


def capacity(**changes: Any) -> Capacity:
    base = Capacity(
        name="made",
        began_ns=0,
        ended_ns=1,
        version="1",
        profile={"logs": {"push_every": 1.0}},
        target={},
        target_source="lab",
        engines={},
        own=(OWN_LOGS,),
        searches=(LOGS_SEARCH,),
        steps=LOGS_STEPS,
        stored=(Stored("logs", 1e9, 5_000_000, 2e8, 0.8, 0.0),),
    )
    return replace(base, **changes)


def row(sizing: Sizing, signal: str = "logs", times: float = 1.0) -> SizedRow:
    (found,) = [one for one in sizing.rows if one.signal == signal and one.times == times]
    return found


def advice(sizing: Sizing, name: str) -> Advice:
    (found,) = [one for one in sizing.advice if one.setting.endswith(name)]
    return found


def noted(sizing: Sizing, *words: str) -> bool:
    return any(all(word in note for word in words) for note in sizing.notes)


def test_headroom_is_the_highest_kept_load_over_the_own_one():
    sizing = sizing_of(capacity(), [])
    assert [row(sizing, times=times).headroom for times in (1, 2, 5)] == [6.0, 3.0, pytest.approx(1.2)]
    assert [row(sizing, times=times).load_bytes_per_s for times in (1, 2, 5)] == [2e6, 4e6, 1e7]
    assert noted(sizing, "came on top")


def test_the_frame_of_each_line_which_loki_does_not_count_is_load_too():
    # 10,000 lines a second have 0.2 MB of times, lengths and tags.
    sizing = sizing_of(capacity(own=(replace(OWN_LOGS, items_per_s=10_000.0),)), [])
    assert row(sizing).load_bytes_per_s == pytest.approx(2.2e6)
    assert row(sizing).headroom == pytest.approx(12 / 2.2)
    assert row(sizing).s3_bytes_per_day == pytest.approx(2.2e6 * 0.25 * DAY_S)
    # The limit counts the text.
    assert advice(sizing, ".ingestion_rate_mb").for_own == "3.9"


def test_a_kept_step_above_a_broken_one_is_no_headroom():
    lucky = step(5, flow(mb_s=20.0), level=20e6)
    assert row(sizing_of(capacity(steps=(*LOGS_STEPS, lucky)), [])).headroom == 6.0


def test_a_kept_step_of_the_combined_search_is_headroom_too():
    both = step(5, flow(mb_s=14.0), kind=SearchKind.ALL, level=3.0)
    searches = (LOGS_SEARCH, Search(SearchKind.ALL, "times", 9.0, Why.FOUND, 3.0, 4.0))
    assert row(sizing_of(capacity(steps=(*LOGS_STEPS, both), searches=searches), [])).headroom == 7.0


def test_no_kept_step_has_no_headroom_and_says_how_to_get_one():
    sizing = sizing_of(capacity(searches=(replace(LOGS_SEARCH, kept=None),)), [])
    assert row(sizing).headroom is None
    assert noted(sizing, "headroom is not known", "loadgen capacity --signal logs")


@pytest.mark.parametrize("why", [Why.CEILING, Why.GENERATOR, Why.MINUTES, Why.BYTES])
def test_headroom_of_a_search_that_broke_nothing_is_at_least_that(why):
    search = replace(LOGS_SEARCH, broke=None, why=why)
    assert noted(sizing_of(capacity(searches=(search,)), []), "at least this", str(why))
    assert not noted(sizing_of(capacity(), []), "at least this")


def test_memory_at_once_the_measured_load_is_what_was_used_without_loadgen():
    sizing = sizing_of(capacity(), [MEMORY, CORES])
    # The stack carried 2 MB/s all the time, so only what is more is added.
    assert [row(sizing, times=times).memory_bytes for times in (1, 2, 5)] == [1e8, 1.2e8, 1.8e8]
    assert row(sizing, times=5).cores == pytest.approx(0.5)
    assert [row(sizing, times=times).guess for times in (1, 2, 5)] == [True, True, False]


def test_a_load_that_was_given_is_added_whole():
    given = {"capacity": {"own": {"logs": 2e6, "traces": None, "metrics_samples": None, "metrics_series": None}}}
    sizing = sizing_of(capacity(own=(), profile=given), [MEMORY])
    assert [row(sizing, times=times).memory_bytes for times in (1, 2, 5)] == [1.2e8, 1.4e8, 2e8]
    assert [row(sizing, times=times).guess for times in (1, 2, 5)] == [False] * 3
    assert [one.source for one in sizing.own] == [GIVEN]


def test_beyond_the_line_is_a_guess():
    given = {"capacity": {"own": {"logs": 4e6}}}
    sizing = sizing_of(capacity(profile=given), [MEMORY])
    assert [row(sizing, times=times).guess for times in (1, 2, 5)] == [False, False, True]


def test_what_the_profile_gives_counts_before_what_was_measured():
    given = {"capacity": {"own": {"logs": 1e6}}}
    sizing = sizing_of(capacity(profile=given), [])
    assert row(sizing).headroom == 12.0
    (own,) = sizing.own
    assert (own.bytes_per_s, own.series) == (1e6, 40.0)
    assert own.source == f"{GIVEN}; the rest: {MEASURED}"


def test_a_poor_line_is_a_guess_and_says_so():
    sizing = sizing_of(capacity(), [replace(MEMORY, fit=0.2)])
    assert row(sizing).guess
    assert noted(sizing, "hardly follows", "0.20")


def test_less_than_nothing_is_not_told():
    sizing = sizing_of(capacity(), [replace(MEMORY, per_unit=-1e8)])
    assert row(sizing, times=5).memory_bytes is None
    everywhere = sizing_of(capacity(), [replace(MEMORY, idle=-1e9)])
    assert noted(everywhere, "memory", "less than nothing")


def test_no_cost_means_no_memory_and_a_note():
    sizing = sizing_of(capacity(), [])
    assert row(sizing).memory_bytes is None and row(sizing).cores is None
    assert not row(sizing).guess
    assert noted(sizing, "Loki's memory is not known", "three loads")
    assert noted(sizing, "Loki's CPU is not known")


def test_queries_of_the_own_are_not_counted_and_that_is_said():
    sizing = sizing_of(capacity(), [CORES, replace(CORES, unit=QUERIES, per_unit=20.0, low=0.0, high=0.01)])
    assert row(sizing).cores == pytest.approx(0.1)
    assert noted(sizing, "without the queries of your own")


def metrics_capacity(**changes: Any) -> Capacity:
    steps = tuple(
        step(
            n,
            flow("metrics", mb_s=0.1 * x, accepted_items_per_s=1000.0 * x, series=10_000 * x),
            usage("mimir", series=12_000.0 * x),
            kind=SearchKind.METRICS,
            level=10_000.0 * x,
        )
        for n, x in enumerate((1, 2, 4, 6), 1)
    )
    return capacity(
        own=(OWN_METRICS,),
        steps=steps,
        searches=(Search(SearchKind.METRICS, "series", 1e6, Why.FOUND, 60_000.0, 66_000.0),),
        stored=(Stored("metrics", 1e9, 10_000_000, 4e7, 0.5, 1.0),),
        profile={"metrics": {"push_every": 15.0}},
        **changes,
    )


def test_headroom_of_metrics_is_the_nearer_of_samples_and_series():
    sizing = sizing_of(metrics_capacity(), [])
    # 6 times the samples, but only 4 times the series.
    assert row(sizing, "metrics").headroom == pytest.approx(4.0)
    assert row(sizing, "metrics").load_bytes_per_s == pytest.approx(1e5)
    assert noted(sizing, "reckoned from what an item of loadgen's takes")


def test_memory_by_held_series_counts_the_own_ones_whole():
    memory = Cost("mimir", "memory_bytes", SERIES, 8e6, 5e7, 0.9, 4, 12.0, 72.0)
    sizing = sizing_of(metrics_capacity(), [memory])
    assert row(sizing, "metrics").memory_bytes == pytest.approx(5e7 + 15 * 8e6)
    assert [row(sizing, "metrics", times).guess for times in (1, 2, 5)] == [False, False, True]


def test_memory_by_series_is_not_told_when_the_own_series_are_not_known():
    memory = Cost("mimir", "memory_bytes", SERIES, 8e6, 5e7, 0.9, 4, 12.0, 72.0)
    sizing = sizing_of(replace(metrics_capacity(), own=(replace(OWN_METRICS, series=None),)), [memory])
    assert row(sizing, "metrics").memory_bytes is None
    assert noted(sizing, "Mimir's memory is not known", "series")


def test_growth_of_metrics_goes_by_samples():
    # 10 million samples, half of them seen in 40 MB: 8 bytes each.
    assert row(sizing_of(metrics_capacity(), []), "metrics").s3_bytes_per_day == pytest.approx(1000 * 8 * DAY_S)


def test_growth_of_logs_goes_by_plain_bytes_that_were_seen():
    sizing = sizing_of(capacity(), [], retention_s=30 * DAY_S)
    # 0.2 GB for the 0.8 GB that were seen: a quarter.
    assert row(sizing).s3_bytes_per_day == pytest.approx(2e6 * 0.25 * DAY_S)
    assert row(sizing, times=5).s3_bytes_kept == pytest.approx(2e6 * 0.25 * DAY_S * 5 * 30)
    assert sizing.retention_days == 30


def test_a_bucket_that_is_too_small_is_full_in_so_many_days():
    per_day = 2e6 * 0.25 * DAY_S
    sizing = sizing_of(capacity(), [], 30 * DAY_S, 40 * per_day)
    assert row(sizing).days_until_full is None
    assert noted(sizing, "never fills at 1×")
    assert row(sizing, times=2).days_until_full == pytest.approx(20.0)
    assert row(sizing, times=5).days_until_full == pytest.approx(8.0)


def test_without_a_retention_a_bucket_fills_in_the_end():
    sizing = sizing_of(capacity(), [], None, 4e12)
    assert row(sizing).days_until_full == pytest.approx(4e12 / (2e6 * 0.25 * DAY_S))
    assert row(sizing).s3_bytes_kept is None and sizing.retention_days is None
    assert noted(sizing, "capacity.retention")


@pytest.mark.parametrize("stored", [(), (Stored("logs", 1e9, 1, 0.0, 0.0, 0.0),), (Stored("traces", 1, 1, 1, 1, 0),)])
def test_nothing_stored_means_no_growth_and_a_note(stored):
    sizing = sizing_of(capacity(stored=stored), [], 30 * DAY_S, 1e9)
    found = row(sizing)
    assert (found.s3_bytes_per_day, found.s3_bytes_kept, found.days_until_full) == (None, None, None)
    assert noted(sizing, "growth in S3 is not known", "s3_wait")


def test_all_signals_together_are_held_against_one_disk():
    both = (*capacity().stored, Stored("traces", 1e9, 1, 1e8, 1.0, 0.0))
    made = capacity(own=(OWN_LOGS, OwnLoad("traces", 1e6, 1.0, None, MEASURED)), stored=both)
    per_day = (2e6 * 0.25 + 1e6 * 0.1) * DAY_S
    assert noted(sizing_of(made, [], 30 * DAY_S, 10 * per_day), "full in 10 days", "logs, traces")
    assert noted(sizing_of(made, [], 30 * DAY_S, 31 * per_day), "logs, traces", "never fills")


@pytest.mark.parametrize("own", [(), (OwnLoad("logs", None, None, None, "?"),), (OwnLoad("logs", 0.0, 0.0, 5.0, "x"),)])
def test_without_a_load_of_the_user_there_are_no_rows_but_a_note(own):
    sizing = sizing_of(capacity(own=own), [MEMORY], 30 * DAY_S, 1e12)
    assert sizing.rows == () and sizing.own == ()
    assert noted(sizing, "capacity.own.logs", "Loki carries", own[0].source if own else "")


def test_limits_for_the_own_load_and_for_the_kept_one():
    sizing = sizing_of(capacity(), [])
    rate = advice(sizing, ".ingestion_rate_mb")
    # Loki's MB are 1,048,576 bytes: twice 2 MB/s are 3.81 of them, and 12 MB/s with room 12.6.
    assert (rate.component, rate.setting) == ("loki", "limits_config.ingestion_rate_mb")
    assert (rate.for_own, rate.for_kept, rate.today) == ("3.9", "13", "")
    assert advice(sizing, ".ingestion_burst_size_mb").for_own == "4"
    assert advice(sizing, ".per_stream_rate_limit").for_kept == "3300000"
    assert advice(sizing, ".per_stream_rate_limit").for_own == ""
    # 400 streams were in memory, those of earlier steps with them.
    assert advice(sizing, ".max_global_streams_per_user").for_kept == "440"
    assert advice(sizing, ".max_global_streams_per_user").for_own == "80"


def test_no_streams_in_memory_is_no_limit_of_none():
    sizing = sizing_of(capacity(own=(replace(OWN_LOGS, series=0.0),)), [])
    assert advice(sizing, ".max_global_streams_per_user").for_own == ""


def test_a_limit_lets_through_what_it_is_for():
    for mb in (0.07, 1.0, 3.3, 9.9999, 12.0, 480.0):
        steps = (step(1, flow(mb_s=mb, accepted_items_per_s=0.0), level=mb),)
        sizing = sizing_of(capacity(steps=steps, searches=(replace(LOGS_SEARCH, kept=mb),)), [])
        value = float(advice(sizing, ".ingestion_rate_mb").for_kept) * (1 << 20)
        assert mb * 1e6 < value < mb * 1e6 * 1.22 + 105_000


def test_limits_of_mimir():
    sizing = sizing_of(metrics_capacity(), [])
    assert advice(sizing, "limits.ingestion_rate").for_own == "2000"
    assert advice(sizing, "limits.ingestion_rate").for_kept == "6600"
    # A scrape of all series at once.
    assert advice(sizing, "limits.ingestion_burst_size").for_own == "30000"
    assert advice(sizing, "limits.ingestion_burst_size").for_kept == "90000"
    assert advice(sizing, "limits.max_global_series_per_user").for_own == "30000"
    assert advice(sizing, "limits.max_global_series_per_user").for_kept == "80000"


def test_limits_of_tempo():
    steps = (step(1, flow("traces", mb_s=10.0, accepted_items_per_s=8000.0), kind=SearchKind.TRACES, level=1.0),)
    made = capacity(
        own=(OwnLoad("traces", 1e6, 900.0, None, MEASURED),),
        steps=steps,
        searches=(Search(SearchKind.TRACES, "B/s", 1e9, Why.FOUND, 1.0, 1.1),),
    )
    sizing = sizing_of(made, [])
    assert advice(sizing, "ingestion.rate_limit_bytes").for_own == "2000000"
    assert advice(sizing, "ingestion.rate_limit_bytes").for_kept == "11000000"
    assert advice(sizing, "ingestion.burst_size_bytes").for_own == "4200000"
    assert advice(sizing, "ingestion.max_traces_per_user").for_kept == "33000"
    assert noted(sizing, "max_traces_per_user", "30 s")
    # Where Tempo tells how many traces were live, that counts.
    told = sizing_of(replace(made, steps=(replace(steps[0], usage=(usage("tempo", streams=7000.0),)),)), [])
    assert advice(told, "ingestion.max_traces_per_user").for_kept == "7700"
    assert not noted(told, "max_traces_per_user")


def test_todays_value_is_what_the_server_told_last():
    def refused(number: int, value: str, component: str = "loki"):
        limit = Limit(component, "limits_config.ingestion_rate_mb", value, None, "refused")
        return step(number, flow(), refusals=(Refusal("logs", "rejected", 429, 3, "refused", limit),))

    steps = (*LOGS_STEPS, refused(5, "4 MB/s"), refused(6, "8 MB/s"), refused(7, ""), refused(8, "9", "tempo"))
    assert advice(sizing_of(capacity(steps=steps), []), ".ingestion_rate_mb").today == "8 MB/s"


def test_an_own_load_that_nothing_carried_says_so():
    sizing = sizing_of(capacity(own=(replace(OWN_LOGS, bytes_per_s=9e6),)), [])
    assert noted(sizing, "ingestion_rate_mb", "more than what Loki was seen to carry")
    assert not noted(sizing_of(capacity(), []), "more than what")


def test_nothing_at_all_gives_an_empty_sizing_with_notes():
    sizing = sizing_of(capacity(own=(), searches=(), steps=(), stored=(), profile={}), [])
    assert (sizing.rows, sizing.advice, sizing.own) == ((), (), ())
    assert len(sizing.notes) == 3


@pytest.mark.parametrize(
    "profile", [{"capacity": None}, {"capacity": {"own": 5}}, {"capacity": {"own": {"logs": True}}}]
)
def test_a_profile_that_gives_no_number_gives_no_load(profile):
    assert sizing_of(capacity(own=(), profile=profile), []).own == ()


def test_rounding_never_goes_below():
    for value in (0.0, 0.123, 1.0, 10.0, 1.1 * 10, 99.0, 99.1, 1234.0, 1e9, 1.1e9):
        assert value - 1e-9 * value <= rounded_up(value) <= 1.1 * value
    assert rounded_up(1.1 * 10) == 11.0
