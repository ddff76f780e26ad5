import numpy as np
import pytest

from loadgen.kinds.load import LogLoad, TraceLoad
from loadgen.kinds.logs import source as logs_module
from loadgen.kinds.logs.source import LogSource
from loadgen.kinds.traces import source as traces_module
from loadgen.kinds.traces.source import SPANS_PER_TRACE, SpanFacts, TraceSource
from loadgen.model import MS, NS, RunKey

KEY = RunKey("r", 7, 1_795_414_024_000 * MS)


def traces_of(source: TraceSource, user: int, batches: int) -> list[list[SpanFacts]]:
    return [trace for n in range(batches) for trace in source.spans(source.batch(user, n))]


def test_a_trace_is_a_tree_of_eight_spans_over_five_services() -> None:
    for trace in traces_of(TraceSource(KEY, TraceLoad(5, NS)), 2, 3):
        assert len(trace) == SPANS_PER_TRACE
        assert {span.service for span in trace} == {"gateway", "cart", "checkout", "payment", "database"}
        assert len({span.trace_id for span in trace}) == 1
        by_id = {span.span_id: span for span in trace}
        assert len(by_id) == SPANS_PER_TRACE
        assert [span.parent_id for span in trace].count(b"") == 1
        for span in trace:
            assert span.start_ns < span.end_ns
            if span.parent_id:
                parent = by_id[span.parent_id]
                assert parent.start_ns <= span.start_ns and span.end_ns <= parent.end_ns


def test_traces_start_at_even_distances_from_due() -> None:
    source = TraceSource(KEY, TraceLoad(4, NS))
    batch = source.batch(1, 6)
    starts = [trace[0].start_ns for trace in source.spans(batch)]
    assert starts == [batch.due_ns + k * 250 * MS for k in range(4)]
    assert batch.due_ns % MS == 0
    assert batch.items == 4 * SPANS_PER_TRACE


def test_a_trace_lasts_between_20_and_300_ms() -> None:
    durations = [trace[0].end_ns - trace[0].start_ns for trace in traces_of(TraceSource(KEY, TraceLoad(50, NS)), 0, 10)]
    assert 20 * MS <= min(durations) < 40 * MS
    assert 260 * MS < max(durations) < 300 * MS


def test_about_one_trace_in_twenty_fails_in_payment_and_its_ancestors() -> None:
    traces = traces_of(TraceSource(KEY, TraceLoad(100, NS)), 0, 40)
    failed = [trace for trace in traces if any(span.status == 2 for span in trace)]
    assert 0.04 < len(failed) / len(traces) < 0.06
    for trace in traces:
        bad = {span.name for span in trace if span.status == 2}
        assert bad in (set(), {"POST /checkout", "POST /orders", "POST /charge"})
        for span in trace:
            status = dict(span.attributes).get("http.response.status_code")
            assert (status == 500) == (span.status == 2)


def test_every_span_has_the_sequence_number_of_its_trace() -> None:
    source = TraceSource(KEY, TraceLoad(3, NS))
    for n in (0, 1, 77):
        for k, trace in enumerate(source.spans(source.batch(4, n))):
            assert {dict(span.attributes)["loadgen.seq"] for span in trace} == {n * 3 + k}


def test_ids_are_unique_and_the_same_from_every_function() -> None:
    source = TraceSource(KEY, TraceLoad(20, NS))
    seen = set()
    for user in range(3):
        for n in range(10):
            batch = source.batch(user, n)
            ids = [row.tobytes() for row in source.trace_ids(batch)]
            assert ids == [trace[0].trace_id for trace in source.spans(batch)]
            assert ids == [row.tobytes() for row in source.ids_of(user, np.arange(n * 20, n * 20 + 20))]
            seen.update(ids)
    assert len(seen) == 600


def test_ids_are_never_zero_even_if_the_hash_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_words(*arguments: int) -> np.ndarray:
        return np.zeros(arguments[2], dtype=np.uint64)

    monkeypatch.setattr(traces_module, "words", no_words)
    monkeypatch.setattr(
        traces_module, "words_at", lambda *args: np.zeros(np.broadcast(*args[1:]).shape, dtype=np.uint64)
    )
    monkeypatch.setattr(logs_module, "words", no_words)
    source = TraceSource(KEY, TraceLoad(2, NS))
    assert source.trace_ids(source.batch(0, 0)).any(axis=1).all()
    assert source.ids_of(0, np.array([0, 1])).any(axis=1).all()
    assert all(any(span.span_id) for trace in source.spans(source.batch(0, 0)) for span in trace)
    logs = LogSource(KEY, LogLoad(3, NS))
    assert all("0" * 32 not in line for line in logs.lines(logs.batch(0, 0)))


@pytest.mark.parametrize(("traces", "interval_ns"), [(0, NS), (1, 0), (1, 999_999), (2_000_000, MS)])
def test_an_impossible_load_is_refused(traces: int, interval_ns: int) -> None:
    with pytest.raises(ValueError, match="traces"):
        TraceLoad(traces, interval_ns)
