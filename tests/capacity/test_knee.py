"""The knee says what broke first, at which load, and whether a limit or the machine was the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.capacity.knee import knee_of, level_text, machine_text
from loadgen.capacity.model import Broken, Ending, Flow, Limit, Refusal, Search, SearchKind, Step, Usage, Why

LIMIT = Limit("loki", "limits_config.ingestion_rate_mb", "4 MB/s", 4e6, "ingestion rate limit exceeded")
RATE = Broken("logs.throughput", "Loki takes the rate", "≥ 97 %", "80 % of the plan")
LOSS = Broken("logs.loss", "every line can be read back", "≤ 0", "12 missing")
SLOW = Broken("logs.query", "Loki answers in time", "p99 ≤ 3 s", "p99 8 s")
FOUND = Search(SearchKind.LOGS, "B/s", 50e6, Why.FOUND, 4e6, 4.2e6)


def flow(lost: int | None = 0) -> Flow:
    return Flow("logs", 4e6, 4e6, 20_000, 4, 0, 0.0, lost, 0.01, 0.2, 0.5)


KEPT = Step(3, SearchKind.LOGS, 4e6, "", 0, 60, 30, Ending.KEPT, flows=(flow(),))
REFUSED = replace(
    KEPT,
    number=5,
    level=4.2e6,
    ending=Ending.BROKEN,
    broken=(SLOW, RATE),
    refusals=(Refusal("logs", "rejected", 429, 9, LIMIT.message, LIMIT), Refusal("logs", "unknown", 0, 1, "reset")),
)


def test_a_configured_limit_is_named_with_its_value_and_the_setting_to_raise() -> None:
    knee = knee_of(FOUND, (KEPT, REFUSED))
    assert (knee.kept_step, knee.broke_step, knee.limit, knee.machine) == (3, 5, LIMIT, "")
    assert knee.checks == ("logs.throughput", "logs.query")
    assert knee.sentence == (
        "Loki carries 4 MB/s; at 4.2 MB/s its limit limits_config.ingestion_rate_mb (4 MB/s) refuses more; "
        "raise it to carry more."
    )


def test_a_limit_on_streams_that_is_met_by_those_of_all_steps_is_told_as_such() -> None:
    limit = Limit("loki", "limits_config.max_global_streams_per_user", "5,000 streams", 5000, "stream limit")
    full = replace(REFUSED, refusals=(Refusal("logs", "rejected", 429, 9, limit.message, limit),))
    assert "Streams of the steps before count as well" in knee_of(FOUND, (KEPT, full)).sentence
    by_streams = Search(SearchKind.LOGS, "streams", 50e6, Why.FOUND, 4e6, 4.2e6, counted=5000)
    assert "steps before" not in knee_of(by_streams, (KEPT, full)).sentence


def test_a_load_that_the_component_counts_otherwise_is_told_both_ways() -> None:
    counted = replace(KEPT, usage=(Usage("loki", "/metrics", received_bytes_per_s=3.6e6),))
    assert "4 MB/s (3.6 MB/s as Loki counts)" in knee_of(FOUND, (counted, REFUSED)).sentence
    same = replace(KEPT, usage=(Usage("loki", "/metrics", received_bytes_per_s=3.95e6),))
    assert "as Loki counts" not in knee_of(FOUND, (same, REFUSED)).sentence


def test_a_server_that_is_full_says_how_many_it_takes() -> None:
    limit = Limit("mimir", "limits.max_global_series_per_user", "1,700 series", 1700, "per-user series limit")
    kept = Step(1, SearchKind.METRICS, 1000, "", 0, 60, 30, Ending.KEPT)
    refusal = Refusal("metrics", "unknown", 400, 9, limit.message, limit)
    broke = replace(kept, number=2, level=2000, ending=Ending.BROKEN, broken=(RATE,), refusals=(refusal,))
    search = Search(SearchKind.METRICS, "series", 9999, Why.FOUND, 1000, 2000, counted=1600)
    assert knee_of(search, (kept, broke)).sentence == (
        "Mimir carries 1,000 series; at 2,000 series it is full: its limit limits.max_global_series_per_user lets "
        "1,600 series of them through."
    )


def test_without_a_limit_the_broken_promise_and_what_was_used_up_are_told() -> None:
    slow = replace(
        REFUSED,
        refusals=(),
        broken=(SLOW,),
        usage=(
            Usage("loki", "prometheus", cores=1.9, memory_bytes=950e6, memory_limit_bytes=1e9, throttled_share=0.4),
        ),
    )
    knee = knee_of(FOUND, (KEPT, slow))
    assert knee.limit is None and "950 MB of the 1 GB" in knee.machine and "40 %" in knee.machine
    assert "logs.query is broken: p99 8 s, promised p99 ≤ 3 s" in knee.sentence


def test_the_cores_are_told_when_nothing_was_short_by_its_own_account() -> None:
    step = replace(
        REFUSED, refusals=(), usage=(Usage("loki", "/metrics", cores=1.2), Usage("grafana", "/metrics", cores=0.1))
    )
    assert machine_text(step) == "no limit was named; cores used: loki 1.2, grafana 0.1"
    assert machine_text(replace(step, usage=())) == ""


def test_what_went_down_or_was_lost_is_named_before_what_was_slow() -> None:
    down = Broken("loki.up", "Loki stays up", "no crash", "it went down")
    step = replace(
        REFUSED,
        refusals=(),
        broken=(SLOW, LOSS, down),
        crashed=("loki",),
        flows=(flow(12),),
        usage=(Usage("loki", "", starts=1),),
    )
    knee = knee_of(FOUND, (KEPT, step))
    assert knee.checks == ("loki.up", "logs.loss", "logs.query") and knee.lost_items == 12
    assert knee.sentence.endswith("at 4.2 MB/s loki went down. 12 accepted items were lost. Loki started anew.")


def test_nothing_that_was_kept_is_said_as_such() -> None:
    knee = knee_of(replace(FOUND, why=Why.LOWEST, kept=None), (REFUSED,))
    assert knee.kept_step == 0 and "does not carry the load: even 4.2 MB/s is too much" in knee.sentence


@pytest.mark.parametrize(
    ("why", "text"),
    [
        (Why.CEILING, "at least 4 MB/s; no promise broke up to the configured ceiling"),
        (Why.MINUTES, "the time for the search was over (the steps took 3 h)"),
        (Why.BYTES, "max_s3_bytes"),
        (Why.UNRECOVERED, "did not come back to work"),
        (Why.INTERRUPTED, "was interrupted"),
    ],
)
def test_a_search_that_ended_otherwise_says_at_least_and_why(why: Why, text: str) -> None:
    detail = "the steps took 3 h" if why is Why.MINUTES else ""
    knee = knee_of(Search(SearchKind.LOGS, "B/s", 50e6, why, 4e6, None, detail), (KEPT,))
    assert text in knee.sentence and "at least 4 MB/s" in knee.sentence and knee.checks == ()


def test_the_generator_is_never_taken_for_the_stack() -> None:
    late = replace(REFUSED, ending=Ending.GENERATOR, broken=(), refusals=())
    knee = knee_of(replace(FOUND, why=Why.GENERATOR), (KEPT, late))
    assert "at least 4 MB/s; at 4.2 MB/s the generator was the limit, not the stack" in knee.sentence
    assert knee.checks == () and knee.limit is None


def test_a_search_of_queries_names_their_latency_first() -> None:
    both = replace(REFUSED, refusals=(), broken=(RATE, SLOW))
    assert knee_of(FOUND, (KEPT, both)).checks == ("logs.throughput", "logs.query")
    assert knee_of(replace(FOUND, kind=SearchKind.QUERIES), (KEPT, both)).checks == ("logs.query", "logs.throughput")


def test_what_could_not_be_judged_is_named() -> None:
    untold = replace(REFUSED, ending=Ending.UNTOLD, broken=(), refusals=(), untold=(LOSS,))
    assert "logs.loss could not be judged" in knee_of(replace(FOUND, why=Why.UNTOLD), (KEPT, untold)).sentence


def test_where_the_server_refused_nothing_the_figures_and_what_the_verdict_goes_by_are_shown() -> None:
    slow = replace(RATE, measured="88 % of the plan", evidence=("76 planned", "9 pushes never tried"))
    step = replace(REFUSED, refusals=(), broken=(slow,))
    assert knee_of(FOUND, (KEPT, step)).said == ("88 % of the plan", "76 planned", "9 pushes never tried")


def test_too_much_with_nothing_to_judge_by_below_says_both() -> None:
    slow = replace(REFUSED, kind=SearchKind.QUERIES, level=16.0, refusals=())
    knee = knee_of(Search(SearchKind.QUERIES, "queries/s", 50, Why.UNTOLD, None, 16.0), (slow,))
    assert "even 16 queries/s is too much" in knee.sentence
    assert "At lower levels promises could not be judged." in knee.sentence
    stopped = knee_of(Search(SearchKind.QUERIES, "queries/s", 50, Why.UNTOLD, None, 16.0, "no space left"), (slow,))
    assert "No space left." in stopped.sentence and "lower levels" not in stopped.sentence


def test_a_search_that_never_began_says_so() -> None:
    pending = Search(SearchKind.ALL, "times", 5, Why.PENDING, detail="the stack did not come back")
    assert knee_of(pending, ()).sentence == "all: not searched (the stack did not come back)."


def test_a_search_that_waits_to_be_resumed_says_what_is_known_so_far() -> None:
    waiting = replace(FOUND, why=Why.PENDING, broke=None, detail="the time was over")
    assert (
        "at least" in knee_of(waiting, (KEPT,)).sentence and "the time was over" in knee_of(waiting, (KEPT,)).sentence
    )


@pytest.mark.parametrize(
    ("level", "unit", "text"),
    [
        (4.04e6, "B/s", "4.04 MB/s"),
        (12_000, "series", "12,000 series"),
        (7.5, "queries/s", "7.5 queries/s"),
        (2.5, "times", "2.5 times the profile's load"),
        (40, "streams", "40 streams"),
    ],
)
def test_levels_are_written_as_people_do(level: float, unit: str, text: str) -> None:
    assert level_text(level, unit) == text
