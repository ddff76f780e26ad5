"""Accepted data that is missing: the advice names the reason that the component's own counters give."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from made_history import BEGAN_NS, Made, good_run

from loadgen.kinds import kind_of
from loadgen.model import NS, Component, Outcome, Result, Signal, StackSample
from loadgen.scrape.discard import LABEL
from loadgen.scrape.discards import COUNTERS, DISCARDS, discard_of
from loadgen.scrape.figure import STARTED
from loadgen.scrape.figures import KEPT
from loadgen.scrape.scraper import parse_exposition

DATA = Path(__file__).parent.parent / "data"
STARTED_S = BEGAN_NS / NS - 3600.0


def lost(signal: Signal, missing: int = 4) -> Made:
    """A run in which one accepted batch has lost something, and of whose stack nothing was scraped."""
    made = good_run()
    made.stack.clear()
    made.change(
        "sightings",
        lambda s: (s.signal, s.phase, s.where, s.user, s.n) == (signal, "verify", "grafana", 1, 3),
        missing=missing,
    )
    return made


def scrape(made: Made, component: Component, at_s: float, started_s: float = STARTED_S, **reasons: float) -> None:
    """One look at a component's counters, by reason."""
    at_ns = BEGAN_NS + round(at_s * NS)
    made.stack.append(StackSample(component.value, STARTED, "", at_ns, started_s))
    for reason, value in reasons.items():
        labels = f'{LABEL}="{reason}"'
        made.stack.append(StackSample(component.value, COUNTERS[component], labels, at_ns, value))


def remedy_of(made: Made, signal: Signal) -> str:
    verdict = made.verdict(f"{signal}.loss")
    assert verdict.result is Result.FAIL
    return verdict.remedy


def test_what_tempo_dropped_in_silence_is_named_with_its_number_and_its_limit() -> None:
    made = lost(Signal.TRACES)
    scrape(made, Component.TEMPO, 0)
    scrape(made, Component.TEMPO, 10, live_traces_exceeded=4.0)
    verdict = made.verdict("traces.loss")
    assert verdict.remedy == (
        "Tempo took pushes and then dropped a part of them for live_traces_exceeded, by its own count 4 spans: raise "
        "overrides.defaults.ingestion.max_traces_per_user"
    )
    assert any(
        "4 spans for live_traces_exceeded (tempo_discarded_spans_total); it counts" in t for t in verdict.evidence
    )


def test_what_was_counted_before_the_run_is_not_its_reason() -> None:
    made = lost(Signal.TRACES)
    for at_s in (0, 10):
        scrape(made, Component.TEMPO, at_s, trace_too_large=900.0)
    assert "trace_too_large" not in remedy_of(made, Signal.TRACES)
    assert any("counts nothing as discarded" in text for text in made.verdict("traces.loss").evidence)


def test_a_restart_in_between_counts_from_zero() -> None:
    made = lost(Signal.TRACES, 9)
    scrape(made, Component.TEMPO, 0, trace_too_large=900.0)
    scrape(made, Component.TEMPO, 5, trace_too_large=903.0)
    scrape(made, Component.TEMPO, 10, started_s=BEGAN_NS / NS + 7, trace_too_large=6.0)
    assert "for trace_too_large, by its own count 9 spans" in remedy_of(made, Signal.TRACES)


def test_where_less_was_discarded_than_is_missing_the_rest_has_its_own_advice() -> None:
    made = lost(Signal.TRACES, 4)
    scrape(made, Component.TEMPO, 0, live_traces_exceeded=1.0)
    scrape(made, Component.TEMPO, 10, live_traces_exceeded=2.0)
    remedy = remedy_of(made, Signal.TRACES)
    assert "by its own count 1 span:" in remedy
    assert "for the rest, look at the failed flushes" in remedy


def test_every_reason_is_named_the_largest_first() -> None:
    made = lost(Signal.TRACES)
    scrape(made, Component.TEMPO, 0)
    scrape(made, Component.TEMPO, 10, live_traces_exceeded=3.0, trace_too_large=5.0)
    remedy = remedy_of(made, Signal.TRACES)
    assert remedy.index("trace_too_large") < remedy.index("live_traces_exceeded")
    assert "global.max_bytes_per_trace" in remedy


@pytest.mark.parametrize(
    ("signal", "reason", "setting"),
    [
        (Signal.LOGS, "stream_limit", "limits_config.max_global_streams_per_user"),
        (Signal.METRICS, "per_user_series_limit", "limits.max_global_series_per_user"),
        (Signal.METRICS, "sample-out-of-order", "limits.out_of_order_time_window"),
        (Signal.TRACES, "rate_limited", "overrides.defaults.ingestion.rate_limit_bytes"),
    ],
)
def test_a_reason_to_refuse_counts_only_where_no_push_was_refused(signal: Signal, reason: str, setting: str) -> None:
    made = lost(signal)
    scrape(made, kind_of(signal).store, 0)
    scrape(made, kind_of(signal).store, 10, **{reason: 20.0})
    assert re.search(f"for {reason}, by its own count 20 [a-z]+: raise {setting}", remedy_of(made, signal))
    made.change(
        "receipts",
        lambda r: (r.signal, r.user, r.n) == (signal, 0, 2),
        outcome=Outcome.REJECTED.value,
        status=429,
        detail="http://server: 429, 'too much'; lower the rate",
    )
    verdict = made.verdict(f"{signal}.loss")
    assert reason not in verdict.remedy
    assert any("20 " in text and f"for {reason}" in text for text in verdict.evidence)
    assert any("these do not count as accepted" in text for text in verdict.evidence)


def test_a_push_that_was_taken_after_a_refusal_was_refused() -> None:
    made = lost(Signal.LOGS)
    scrape(made, Component.LOKI, 0)
    scrape(made, Component.LOKI, 10, rate_limited=20.0)
    again = {"attempts": 2, "detail": "http://loki:3100/push: 429, 'rate'; lower it"}
    made.change("receipts", lambda r: (r.signal, r.user, r.n) == ("logs", 0, 2), **again)
    assert "rate_limited" not in remedy_of(made, Signal.LOGS)


def test_a_connection_that_broke_is_no_refusal() -> None:
    made = lost(Signal.LOGS)
    scrape(made, Component.LOKI, 0)
    scrape(made, Component.LOKI, 10, stream_limit=20.0)
    again = {"attempts": 2, "detail": "http://loki:3100/push: connection refused; check that the server runs"}
    made.change("receipts", lambda r: (r.signal, r.user, r.n) == ("logs", 0, 2), **again)
    assert "for stream_limit" in remedy_of(made, Signal.LOGS)


def test_what_is_dropped_in_silence_is_named_although_pushes_were_refused_for_something_else() -> None:
    made = lost(Signal.TRACES)
    scrape(made, Component.TEMPO, 0)
    scrape(made, Component.TEMPO, 10, live_traces_exceeded=4.0, rate_limited=64.0)
    refused = {"outcome": Outcome.REJECTED.value, "status": 1008, "detail": "grpc://tempo: RESOURCE_EXHAUSTED"}
    made.change("receipts", lambda r: (r.signal, r.user, r.n) == ("traces", 0, 2), **refused)
    remedy = remedy_of(made, Signal.TRACES)
    assert "live_traces_exceeded" in remedy and "rate_limited" not in remedy


def test_an_unknown_reason_is_named_as_it_is() -> None:
    made = lost(Signal.METRICS)
    scrape(made, Component.MIMIR, 0)
    scrape(made, Component.MIMIR, 10, brand_new=4.0)
    assert "for brand_new, by its own count 4 samples: see mimir's log" in remedy_of(made, Signal.METRICS)


@pytest.mark.parametrize("signal", list(Signal))
@pytest.mark.parametrize("looks", [0, 1])
def test_without_counters_the_general_advice_stays_and_the_evidence_says_so(signal: Signal, looks: int) -> None:
    made = lost(signal)
    for _ in range(looks):
        scrape(made, kind_of(signal).store, 1, stream_limit=3.0)
    verdict = made.verdict(f"{signal}.loss")
    assert "persistent volume" in verdict.remedy
    assert any("/metrics were not seen" in text for text in verdict.evidence)


def test_a_run_without_a_loss_says_nothing_of_it() -> None:
    made = good_run()
    made.stack.clear()
    scrape(made, Component.TEMPO, 0)
    scrape(made, Component.TEMPO, 10, live_traces_exceeded=4.0)
    verdict = made.verdict("traces.loss")
    assert (verdict.result, verdict.remedy) == (Result.PASS, "")
    assert not any("discarded" in text for text in verdict.evidence)


@pytest.mark.parametrize("component", list(COUNTERS))
def test_the_scraper_keeps_the_counter_of_each_component_by_reason(component: Component) -> None:
    text = f'{COUNTERS[component]}{{reason="a-b",tenant="x"}} 2\n{COUNTERS[component]}{{reason="a-b",tenant="y"}} 3\n'
    samples = list(parse_exposition(text, component.value, 1))
    assert KEPT[COUNTERS[component]] == (LABEL,)
    assert [(one.labels, one.value) for one in samples] == [('reason="a-b"', 5.0)]


def test_reasons_are_named_once_and_those_dropped_in_silence_are_known() -> None:
    assert len({(one.component, one.reason) for one in DISCARDS}) == len(DISCARDS)
    silent = {one.reason for one in DISCARDS if one.silent and one.component is Component.TEMPO}
    assert {"live_traces_exceeded", "trace_too_large"} <= silent
    assert not discard_of(Component.TEMPO, "rate_limited").silent


SEEN = json.loads((DATA / "discarded-reasons.json").read_text())


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, all_ in SEEN.items() for reason in all_])
def test_reasons_that_real_servers_gave_are_known_or_plainly_bad_data(name: str, reason: str) -> None:
    component = next(one for one, counter in COUNTERS.items() if counter == name)
    known = discard_of(component, reason)
    # What is refused for being no valid data has no limit to raise.
    assert known.setting or known.advice or any(word in reason for word in ("invalid", "missing", "duplicate", "parse"))
