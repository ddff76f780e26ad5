import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.kinds.load import LogLoad, TraceLoad
from loadgen.kinds.logs.lines import LineRef
from loadgen.kinds.logs.source import LogSource, fingerprint
from loadgen.kinds.traces.source import TraceSource
from loadgen.model import MS, NS, RunKey
from loadgen.pacing import pace_of

KEY = RunKey("run-1.x", 7, 1_795_414_024_000 * MS)


def source(lines: int = 20, interval_ns: int = NS, emitters: int = 2) -> LogSource:
    return LogSource(KEY, LogLoad(lines, interval_ns), TraceSource(KEY, TraceLoad(3, 700 * MS)), emitters)


def test_the_fingerprint_is_the_one_that_loki_gave_to_a_known_stream() -> None:
    labels = (("job", "loadgen"), ("service_name", "loadgen"), ("signal", "logs"), ("stream_id", "0001"))
    assert fingerprint(labels) == "ed2589015d8ccafa"
    assert fingerprint(tuple(reversed(labels))) == "ed2589015d8ccafa"


def test_a_fingerprint_has_no_leading_zeros() -> None:
    prints = [source().fingerprint(user) for user in range(300)]
    assert all(re.fullmatch("[1-9a-f][0-9a-f]{0,15}", text) for text in prints)
    assert any(len(text) < 16 for text in prints)
    assert len(set(prints)) == 300


def test_labels_are_sorted_and_name_the_service_so_that_loki_adds_none() -> None:
    labels = source().labels(7)
    assert labels == (
        ("app", "checkout"),
        ("job", "loadgen"),
        ("pod", "checkout-00007"),
        ("run", "run-1.x"),
        ("service_name", "checkout"),
    )
    assert list(labels) == sorted(labels)


@settings(max_examples=50, deadline=None)
@given(
    run=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True),
    lines=st.integers(1, 30),
    user=st.integers(0, 200_000),
    n=st.integers(0, 1_000_000),
)
def test_a_line_tells_which_one_it_is(run: str, lines: int, user: int, n: int) -> None:
    logs = LogSource(RunKey(run, 1, KEY.began_ns), LogLoad(lines, NS))
    texts = logs.lines(logs.batch(user, n))
    for i, text in enumerate(texts):
        assert logs.find(text) == LineRef(run, user, n * lines + i)
        assert logs.locate(n * lines + i) == (n, i)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "level=info msg=hello",
        "{",
        '{"run":"r"}',
        "run=r pod=cart-00001 seq=12",
        "run=r pod=cart-00001 seq=0000000012x",
        "prerun=r pod=cart-00001 seq=0000000012",
    ],
)
def test_a_foreign_line_is_nobodys(line: str) -> None:
    assert source().find(line) is None


def test_the_three_formats_are_what_they_claim_to_be() -> None:
    logs = source(200)
    logfmt, as_json, access = (logs.lines(logs.batch(user, 4)) for user in (0, 1, 2))
    pair = re.compile(r'[a-z_]+=("[^"]*"|[^" ]+)')
    for line in logfmt:
        assert line.startswith("level=")
        assert all(pair.fullmatch(part) for part in re.findall(r'[^ "]+="[^"]*"|[^ ]+', line))
    for line in as_json:
        entry = json.loads(line)
        assert entry["level"] in ("info", "warn", "error")
        assert len(entry["trace_id"]) == 32
        assert isinstance(entry["duration_ms"], int | float)
    common = re.compile(
        r'\d+\.\d+\.\d+\.\d+ - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "[A-Z]+ /\S* HTTP/1\.1" '
        r"\d{3} \d{4} 0\.\d{3} run=\S+ pod=\S+ seq=\d{10} trace_id=[0-9a-f]{32}"
    )
    assert all(common.fullmatch(line) for line in access)


def test_levels_are_mixed_with_errors_the_rarest() -> None:
    lines = source(2000).lines(source(2000).batch(0, 0))
    share = {level: sum(line.startswith(f"level={level} ") for line in lines) / 2000 for level in ("warn", "error")}
    assert 0.05 < share["warn"] < 0.11
    assert 0.02 < share["error"] < 0.06


def test_lines_have_the_length_of_real_ones() -> None:
    lines = [line for user in range(6) for line in source(300).lines(source(300).batch(user, 0))]
    assert 140 < sum(map(len, lines)) / len(lines) < 190


def test_times_ascend_within_and_between_batches() -> None:
    logs = source(7)
    times = np.concatenate([logs.line_times(logs.batch(3, n)) for n in range(20)])
    assert (np.diff(times) > 0).all()
    assert times[0] == logs.pace(3).due(0)
    assert times[7] == logs.pace(3).due(1)


def test_an_access_log_line_has_the_time_of_its_line() -> None:
    logs = source(4, 8 * NS)
    batch = logs.batch(2, 0)
    stamps = [re.search(r"\[(.*) \+0000\]", line)[1] for line in logs.lines(batch)]
    began = int(logs.line_times(batch)[0]) // NS
    assert began - KEY.began_ns // NS < 8
    seconds = [int(stamp[-2:]) for stamp in stamps]
    assert seconds == [(began + 2 * i) % 60 for i in range(4)]
    assert stamps[0].startswith("23/Nov/2026:06:07:")


def _trace_by_formula(traces: TraceSource, emitter: int, time_ns: int) -> str | None:
    pace = pace_of(emitter, KEY.began_ns, traces.load.interval_ns)
    n = pace.last_at(time_ns)
    if n < 0:
        return None
    k = min((time_ns - pace.due(n)) // traces.load.gap_ns, traces.load.traces_per_batch - 1)
    return traces.trace_ids(traces.batch(emitter, n))[k].tobytes().hex()


@pytest.mark.parametrize("user", [0, 1, 2, 3, 7])
def test_lines_carry_the_trace_that_their_emitter_started_last(user: int) -> None:
    traces = TraceSource(KEY, TraceLoad(3, 700 * MS))
    logs = LogSource(KEY, LogLoad(25, NS), traces, 3)
    made_up = 0
    for n in range(5):
        batch = logs.batch(user, n)
        for time_ns, line in zip(logs.line_times(batch).tolist(), logs.lines(batch), strict=True):
            expected = _trace_by_formula(traces, user % 3, time_ns)
            found = re.search("[0-9a-f]{32}", line)[0]
            if expected is None:
                made_up += 1
            else:
                assert found == expected
    assert made_up < 25


def test_a_line_before_the_first_trace_has_an_id_of_its_own() -> None:
    traces = TraceSource(KEY, TraceLoad(1, 600 * NS))
    emitter = next(user for user in range(1, 9) if traces.pace(user).phase_ns > 60 * NS)
    logs = LogSource(KEY, LogLoad(10, NS), traces, emitter + 1)
    ids = [re.search("[0-9a-f]{32}", line)[0] for line in logs.lines(logs.batch(emitter, 0))]
    assert len(set(ids)) == 10
    assert traces.trace_ids(traces.batch(emitter, 0))[0].tobytes().hex() not in ids


def test_without_traces_every_line_has_an_id_of_its_own() -> None:
    logs = LogSource(KEY, LogLoad(50, NS))
    ids = {re.search("[0-9a-f]{32}", line)[0] for n in range(4) for line in logs.lines(logs.batch(0, n))}
    assert len(ids) == 200
    assert "0" * 32 not in ids


@pytest.mark.parametrize("run", ["", "a b", 'a"b', "a=b", "-x", "x" * 64, "ü", "a\n"])
def test_a_run_name_that_cannot_stand_in_a_line_is_refused(run: str) -> None:
    with pytest.raises(ValueError, match="run name"):
        LogSource(RunKey(run, 1, 0), LogLoad(1, NS))


@pytest.mark.parametrize(
    ("lines", "interval_ns"), [(0, NS), (-1, NS), (1, 0), (1, -NS), (1, 1_500_000), (2_000_000, MS)]
)
def test_an_impossible_load_is_refused(lines: int, interval_ns: int) -> None:
    with pytest.raises(ValueError, match="logs"):
        LogLoad(lines, interval_ns)
