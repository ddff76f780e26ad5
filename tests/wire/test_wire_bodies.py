"""Every body, decoded with the official messages, says what the predictive functions say."""

from typing import Any

import numpy as np
import pytest
from decoding import ExportTraceServiceRequest, PushRequest, WriteRequest, push_request, trace_request, write_request
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.kinds.load import LogLoad, MetricLoad, TraceLoad
from loadgen.kinds.logs.source import LogSource
from loadgen.kinds.metrics.source import MetricSource
from loadgen.kinds.traces.source import SPANS_PER_TRACE, TraceSource
from loadgen.model import MS, NS, Batch, RunKey, Signal
from loadgen.wire import loki, otlp, remote_write
from loadgen.wire.template import Hole, Piece, Template

KEY = RunKey("r1", 7, 1_795_414_024_000 * MS)
_began = st.integers(0, 2_000_000_000_000).map(lambda ms: ms * MS)
_seeds = st.integers(-(1 << 63), 1 << 64)
_runs = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)
_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)


def _expected_push(source: LogSource, batch: Batch) -> Any:
    request = PushRequest()
    stream = request.streams.add(labels=loki.label_text(source.labels(batch.user)))
    for time_ns, line in zip(source.line_times(batch).tolist(), source.lines(batch), strict=True):
        entry = stream.entries.add(line=line)
        entry.timestamp.seconds, entry.timestamp.nanos = divmod(time_ns, NS)
    return request


def _expected_write(source: MetricSource, batch: Batch) -> Any:
    request = WriteRequest()
    times = source.times_ms(batch).tolist()
    for labels, values in zip(source.series(batch.user), source.values(batch).tolist(), strict=True):
        series = request.timeseries.add()
        for name, value in labels:
            series.labels.add(name=name, value=value)
        for time_ms, value in zip(times, values, strict=True):
            series.samples.add(value=value, timestamp=time_ms)
    return request


def _expected_export(source: TraceSource, batch: Batch) -> Any:
    request = ExportTraceServiceRequest()
    scopes: dict[str, Any] = {}
    for service in ("gateway", "cart", "database", "checkout", "payment"):
        spans = request.resource_spans.add()
        resource = {"service.name": service, "loadgen.run": source.key.run, "loadgen.user": f"{batch.user:05d}"}
        for name, value in resource.items():
            spans.resource.attributes.add(key=name).value.string_value = value
        scopes[service] = spans.scope_spans.add()
        scopes[service].scope.name = "loadgen"
    for trace in source.spans(batch):
        for facts in trace:
            span = scopes[facts.service].spans.add(
                trace_id=facts.trace_id,
                span_id=facts.span_id,
                parent_span_id=facts.parent_id,
                name=facts.name,
                kind=facts.kind,
                start_time_unix_nano=facts.start_ns,
                end_time_unix_nano=facts.end_ns,
            )
            for name, attribute in facts.attributes:
                value = span.attributes.add(key=name).value
                if isinstance(attribute, str):
                    value.string_value = attribute
                else:
                    value.int_value = attribute
            span.status.SetInParent()
            span.status.code = facts.status
    return request


@settings(max_examples=60, deadline=None)
@given(
    run=_runs,
    seed=_seeds,
    began=_began,
    lines=st.integers(1, 60),
    interval_ms=st.integers(1, 100_000),
    user=st.integers(0, 200_000),
    batches=st.lists(st.integers(0, 20_000), min_size=1, max_size=4),
    emitters=st.integers(0, 3),
)
def test_a_log_body_holds_exactly_the_predicted_lines(
    run: str, seed: int, began: int, lines: int, interval_ms: int, user: int, batches: list[int], emitters: int
) -> None:
    key = RunKey(run, seed, began)
    source = LogSource(key, LogLoad(lines, interval_ms * MS), TraceSource(key, TraceLoad(7, 900 * MS)), emitters)
    for n in batches:
        batch = source.batch(user, n)
        body = source.body(batch)
        request = push_request(body.wire)
        assert request == _expected_push(source, batch)
        assert body.items == lines == len(request.streams[0].entries)


@settings(max_examples=60, deadline=None)
@given(
    run=_runs,
    seed=_seeds,
    began=_began,
    series=st.integers(1, 70),
    samples=st.integers(1, 5),
    interval_ms=st.integers(5, 100_000),
    user=st.integers(0, 200_000),
    batches=st.lists(st.integers(0, 20_000), min_size=1, max_size=4),
)
def test_a_metric_body_holds_exactly_the_predicted_samples(
    run: str, seed: int, began: int, series: int, samples: int, interval_ms: int, user: int, batches: list[int]
) -> None:
    # Sample times before 1970 do not exist on the wire.
    key = RunKey(run, seed, began + 100_000 * MS)
    source = MetricSource(key, MetricLoad(series, interval_ms * MS, samples))
    for n in batches:
        batch = source.batch(user, n)
        body = source.body(batch)
        request = write_request(body.wire)
        assert request == _expected_write(source, batch)
        assert body.items == series * samples


@settings(max_examples=60, deadline=None)
@given(
    run=_runs,
    seed=_seeds,
    began=_began,
    traces=st.integers(1, 20),
    interval_ms=st.integers(1, 100_000),
    user=st.integers(0, 200_000),
    batches=st.lists(st.integers(0, 20_000), min_size=1, max_size=4),
)
def test_a_trace_body_holds_exactly_the_predicted_spans(
    run: str, seed: int, began: int, traces: int, interval_ms: int, user: int, batches: list[int]
) -> None:
    source = TraceSource(RunKey(run, seed, began), TraceLoad(traces, interval_ms * MS))
    for n in batches:
        batch = source.batch(user, n)
        body = source.body(batch)
        assert trace_request(body.wire) == _expected_export(source, batch)
        assert body.items == traces * SPANS_PER_TRACE
        assert body.plain_bytes == body.wire_bytes


@settings(max_examples=60, deadline=None)
@given(
    series=st.lists(st.lists(st.tuples(_text, _text), max_size=6), max_size=20),
    samples=st.integers(1, 4),
    times=st.lists(st.integers(0, (1 << 42) - 1), min_size=4, max_size=4),
    seed=st.integers(0, 1000),
)
def test_any_label_sets_survive_in_remote_write(
    series: list[list[tuple[str, str]]], samples: int, times: list[int], seed: int
) -> None:
    template = Template(remote_write.lay(series, samples))
    rows, rng = remote_write.SampleRows(len(series), samples), np.random.default_rng(seed)
    for _ in range(3):
        values = rng.normal(size=(len(series), samples))
        if series:
            template.write("sample", rows.filled(values, np.array(times[:samples])))
        expected = WriteRequest()
        for labels, row in zip(series, values, strict=True):
            added = expected.timeseries.add()
            for name, value in labels:
                added.labels.add(name=name, value=value)
            for time_ms, value in zip(times, row, strict=False):
                added.samples.add(value=value, timestamp=time_ms)
        assert write_request(template.wire) == expected


@settings(max_examples=60, deadline=None)
@given(
    labels=st.dictionaries(st.from_regex(r"[a-z_]{1,10}", fullmatch=True), _text, max_size=5),
    lines=st.lists(st.lists(st.one_of(_text, st.just(None)), max_size=5), min_size=1, max_size=30),
    times=st.lists(st.integers(0, (1 << 63) - 1), min_size=30, max_size=30),
)
def test_lines_of_any_length_survive_in_a_push(
    labels: dict[str, str], lines: list[list[str | None]], times: list[int]
) -> None:
    hole = Hole("id", 6)
    pieces: list[list[Piece]] = [[hole if part is None else part.encode() for part in line] for line in lines]
    holes = sum(part is None for line in lines for part in line)
    template = Template(loki.lay(loki.label_text(labels.items()), pieces))
    for first in (100_000, 500_000):
        ids = [str(first + i) for i in range(holes)]
        template.write("time", loki.stamps(np.array(times[: len(lines)])))
        if holes:
            template.write("id", np.frombuffer("".join(ids).encode(), dtype="V6"))
        entries = push_request(template.wire).streams[0].entries
        given_ids = iter(ids)
        assert [entry.line for entry in entries] == [
            "".join(next(given_ids) if part is None else part for part in line) for line in lines
        ]
        assert [entry.timestamp.seconds * NS + entry.timestamp.nanos for entry in entries] == times[: len(lines)]


def test_bodies_beyond_64_kib_are_whole() -> None:
    logs, metrics = LogSource(KEY, LogLoad(1500, NS)), MetricSource(KEY, MetricLoad(3000, NS, 2))
    for user, n in ((0, 0), (1, 5), (2, 1), (1, 6)):
        batch = logs.batch(user, n)
        body = logs.body(batch)
        assert body.plain_bytes > 1 << 17
        assert push_request(body.wire) == _expected_push(logs, batch)
        batch = metrics.batch(user, n)
        assert write_request(metrics.body(batch).wire) == _expected_write(metrics, batch)


def test_a_body_made_a_hundred_times_stays_right_and_is_never_the_same() -> None:
    key = RunKey("again", 3, KEY.began_ns)
    logs, metrics, traces = (
        LogSource(key, LogLoad(10, NS)),
        MetricSource(key, MetricLoad(20, NS)),
        TraceSource(key, TraceLoad(2, NS)),
    )
    seen = set()
    for n in range(100):
        for source in (logs, metrics, traces):
            for user in (0, 1):
                seen.add(bytes(source.body(source.batch(user, n)).wire))
    assert len(seen) == 600
    assert push_request(logs.body(logs.batch(1, 99)).wire) == _expected_push(logs, logs.batch(1, 99))
    assert write_request(metrics.body(metrics.batch(1, 99)).wire) == _expected_write(metrics, metrics.batch(1, 99))
    assert trace_request(traces.body(traces.batch(1, 99)).wire) == _expected_export(traces, traces.batch(1, 99))


def test_the_views_of_two_users_do_not_disturb_each_other() -> None:
    source = MetricSource(KEY, MetricLoad(20, NS))
    first = source.body(source.batch(0, 3))
    source.body(source.batch(1, 8))
    assert write_request(first.wire) == _expected_write(source, source.batch(0, 3))


def test_every_item_of_consecutive_bodies_is_fresh() -> None:
    logs, metrics, traces = (
        LogSource(KEY, LogLoad(50, NS)),
        MetricSource(KEY, MetricLoad(48, NS)),
        TraceSource(KEY, TraceLoad(5, NS)),
    )
    lines, stamps, samples, spans = set(), set(), set(), set()
    for n in range(1, 21):
        for entry in push_request(logs.body(logs.batch(0, n)).wire).streams[0].entries:
            lines.add(entry.line)
            stamps.add((entry.timestamp.seconds, entry.timestamp.nanos))
        for i, series in enumerate(write_request(metrics.body(metrics.batch(0, n)).wire).timeseries):
            samples.add((i, series.samples[0].timestamp))
        for resource in trace_request(traces.body(traces.batch(0, n)).wire).resource_spans:
            spans.update((span.trace_id, span.span_id) for span in resource.scope_spans[0].spans)
    assert (len(lines), len(stamps), len(samples), len(spans)) == (1000, 1000, 960, 800)


@pytest.mark.parametrize("began_ns", [-10 * NS, -(10**18), 1 << 62, 1 << 70])
def test_a_time_outside_of_1970_to_2109_is_refused_and_not_written(began_ns: int) -> None:
    key = RunKey("r", 1, began_ns)
    for source in (
        LogSource(key, LogLoad(5, NS)),
        MetricSource(key, MetricLoad(5, NS)),
        TraceSource(key, TraceLoad(5, NS)),
    ):
        with pytest.raises(ValueError, match="1970"):
            source.body(source.batch(0, 0))


def test_a_time_beyond_the_width_of_its_place_is_refused() -> None:
    rows = remote_write.SampleRows(1, 1)
    with pytest.raises(ValueError, match=str(1 << 42)):
        rows.filled(np.zeros((1, 1)), np.array([1 << 42]))
    rows.filled(np.zeros((1, 1)), np.array([(1 << 42) - 1]))


def test_a_sequence_number_beyond_the_width_of_its_place_is_refused() -> None:
    with pytest.raises(ValueError, match="five bytes"):
        otlp.sequence((1 << 35) - 1, 2)
    logs = LogSource(KEY, LogLoad(1000, MS))
    with pytest.raises(ValueError, match="10 digits"):
        logs.body(logs.batch(0, 10**7))


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ((("b", "y"), ("a", "x")), '{a="x", b="y"}'),
        ((("a", 'say "hi"\\\n'),), '{a="say \\"hi\\"\\\\\\n"}'),
        ((), "{}"),
    ],
)
def test_labels_are_written_as_loki_reads_them(labels: tuple[tuple[str, str], ...], text: str) -> None:
    assert loki.label_text(labels) == text


def test_a_batch_of_another_signal_is_refused() -> None:
    source = LogSource(KEY, LogLoad(5, NS))
    with pytest.raises(ValueError, match="metrics"):
        source.body(Batch(Signal.METRICS, 0, 0, KEY.began_ns, 5))
