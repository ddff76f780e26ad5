"""Whose clock is wrong, told from the dates of answers."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Reply, free_port, scripted
from test_preflight import stack, target

from loadgen.clock import ANCHOR, ClockWatch, anchored, handed_clock, steady_clock, step_text
from loadgen.config import parse_profile, parse_target
from loadgen.history.directory import RunDir
from loadgen.history.naming import new_info
from loadgen.model import NS, ClockReading, RunKey, Signal, WorkerGap
from loadgen.run.orchestrate import RunError, compare_clocks
from loadgen.skew import reading_of, refusal, weigh
from loadgen.targets.clocks import LOOKS, read_clocks

NOW_NS = 1_790_000_000 * NS


def readings(**ahead_s: float) -> tuple[ClockReading, ...]:
    return tuple(ClockReading(name, round((at - 0.4) * NS), round((at + 0.4) * NS)) for name, at in ahead_s.items())


# -- one server ----------------------------------------------------------------------------------------------------


@given(st.floats(-1e6, 1e6), st.lists(st.tuples(st.floats(0, 5), st.floats(0, 0.2), st.floats(0, 0.2)), min_size=1))
def test_the_true_difference_lies_within_the_bounds(ahead_s, looks):
    dates, now_ns = [], NOW_NS
    for wait_s, out_s, back_s in looks:
        now_ns += round(wait_s * NS)
        sent_ns, at_ns = now_ns, now_ns + round(out_s * NS)
        date_ns = (at_ns + round(ahead_s * NS)) // NS * NS
        dates.append((date_ns, sent_ns, at_ns + round(back_s * NS)))
    found = reading_of("one", dates)
    assert found.low_ns - 2 <= round(ahead_s * NS) <= found.high_ns + 2
    assert found.high_ns - found.low_ns <= NS + round(0.41 * NS)


def test_equal_clocks_are_no_difference_as_long_as_they_explain_the_answer():
    assert reading_of("one", [(NOW_NS, NOW_NS + NS // 2, NOW_NS + NS // 2 + 1)]).ahead_ns == 0
    assert reading_of("one", []) is None


def test_a_clock_that_is_set_in_between_counts_as_it_is_now():
    found = reading_of("one", [(NOW_NS - 600 * NS, NOW_NS, NOW_NS), (NOW_NS + NS, NOW_NS + NS, NOW_NS + NS)])
    assert found.ahead_ns == 0


# -- several servers -----------------------------------------------------------------------------------------------


def test_clocks_that_agree_say_nothing():
    skew = weigh(readings(Grafana=0.5, Loki=-1, Tempo=0, Mimir=1.5))
    assert (skew.ours_ns, skew.odd, skew.texts()) == (0, (), ())
    assert weigh(()).texts() == ()


@pytest.mark.parametrize("ours_s", [1200, -1200, 5, 60, -5])
def test_when_all_servers_agree_on_another_time_ours_is_wrong(ours_s):
    skew = weigh(readings(Grafana=-ours_s, Loki=-ours_s - 0.3, Tempo=-ours_s + 0.2, Mimir=-ours_s, S3=-ours_s))
    assert skew.ours_s == pytest.approx(ours_s, abs=0.5)
    assert not skew.odd
    [text] = skew.texts()
    assert ("ahead of" if ours_s > 0 else "behind") in text
    assert "Grafana, Loki, Tempo, Mimir and S3" in text


def test_one_server_that_differs_from_all_others_is_the_odd_one():
    skew = weigh(readings(Grafana=0, Loki=0, Mimir=-1200))
    assert skew.ours_ns == 0
    [text] = skew.texts()
    assert text == (
        "the clock of Mimir, or of a proxy before it, is 20 min behind those of Grafana and Loki and this machine's"
    )


def test_a_wrong_proxy_and_a_wrong_clock_of_ours_are_told_apart():
    skew = weigh(readings(Grafana=-60, Loki=-60, Tempo=-60, Mimir=3600))
    ours, odd = skew.texts()
    assert "this machine's clock is 60 s ahead of those of Grafana, Loki and Tempo" in ours
    assert "the clock of Mimir, or of a proxy before it, is 61 min ahead of those of Grafana, Loki and Tempo" in odd


def test_a_single_server_that_differs_makes_ours_the_doubtful_one():
    assert weigh(readings(Loki=-1200)).ours_s == pytest.approx(1200)


@given(st.lists(st.floats(-1e5, 1e5), max_size=6))
def test_every_server_is_either_a_judge_or_odd(ahead_s):
    given_ = readings(**{f"s{n}": at for n, at in enumerate(ahead_s)})
    skew = weigh(given_)
    assert sorted(one.name for one in (*skew.judges, *skew.odd)) == [one.name for one in given_]
    assert len(skew.texts()) == len(skew.odd) + bool(skew.ours_ns)


@pytest.mark.parametrize(
    ("ours_s", "sent", "refused"),
    [
        (1200, Signal, True),
        (601, [Signal.LOGS], True),
        (601, [Signal.TRACES], False),
        (500, Signal, False),
        (60, Signal, False),
        (0, Signal, False),
        (-1200, Signal, False),
        (-3700, Signal, True),
        (-3700, [Signal.LOGS], False),
        (-8 * 86_400, [Signal.LOGS], True),
    ],
)
def test_a_run_is_refused_when_the_servers_would_refuse_what_it_sends(ours_s, sent, refused):
    text = refusal(weigh(readings(Grafana=-ours_s, Loki=-ours_s)), list(sent), NOW_NS)
    assert bool(text) is refused
    if refused:
        assert "2026-09-21 14:13:20 UTC here" in text
        assert "Grafana and Loki" in text and "then begin again" in text


# -- asked of servers ----------------------------------------------------------------------------------------------


def dated(ahead_s: float):
    def answer(request):
        reply = stack(request)
        moment = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + ahead_s))
        return Reply(reply.status, reply.body, {**reply.headers, "Date": moment})

    return answer


SMALL = parse_profile({"run": {"name": "t", "duration": 5, "warmup": 0}}, "test")


class Told:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_servers_of_the_same_time_are_asked_once():
    with scripted(answer=dated(0)) as server:
        found = read_clocks(target(server.url), sleep=lambda _: None)
        asked = len(server.requests)
    assert [one.name for one in found] == ["Grafana", "Loki", "Mimir", "Tempo"]
    assert asked == 4


@pytest.mark.parametrize("ahead_s", [-1200, 1200, 5, -60])
def test_the_difference_is_found_by_a_few_looks(ahead_s):
    with scripted(answer=dated(ahead_s)) as server:
        found = read_clocks(target(server.url), sleep=lambda _: None)
        assert len(server.requests) == 4 * LOOKS
    assert weigh(found).ours_s == pytest.approx(-ahead_s, abs=1.1)


def test_who_does_not_answer_is_left_out_and_s3_is_asked_too():
    denied = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
    moment = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - 1200))
    s3 = {"access_key_id": "AK", "secret_access_key": "verysecret"}
    with scripted(Reply(403, denied, {"Date": moment})) as storage:
        nobody = f"http://127.0.0.1:{free_port()}"
        found = read_clocks(target(nobody, s3={**s3, "endpoint": storage.url}), sleep=lambda _: None)
    [one] = found
    assert one.name == "S3"
    assert one.ahead_ns / NS == pytest.approx(-1200, abs=1.5)


def test_a_run_by_a_clock_that_is_20_minutes_ahead_does_not_start():
    with scripted(answer=dated(-1200)) as server, pytest.raises(RunError, match="this machine's clock is 20 min ahead"):
        compare_clocks(target(server.url), SMALL, Told())


def test_a_clock_that_is_a_minute_off_is_noted_and_the_run_starts():
    told = Told()
    with scripted(answer=dated(-60)) as server:
        assert len(compare_clocks(target(server.url), SMALL, told)) == 4
    assert len(told.notes) == 1 and "ahead of those of Grafana" in told.notes[0]


# -- a clock that is set -------------------------------------------------------------------------------------------


def test_a_step_of_the_wall_clock_is_seen_once_and_slewing_is_none():
    wall, now = [NOW_NS], [NOW_NS]
    watch = ClockWatch(lambda: now[0], lambda: wall[0])
    for step_ns, seen_ns in ((0, 0), (NS // 100, 0), (1200 * NS, 1200 * NS), (0, 0), (-3 * NS, -3 * NS), (-NS // 2, 0)):
        now[0] += NS
        wall[0] += NS + step_ns
        assert watch.step_ns() == seen_ns
    assert "set back by 3.0 s, +9.0 s into the load" in step_text("this machine", -3 * NS, 9.0)


def test_parent_and_child_have_one_clock_whatever_the_wall_clock_does(monkeypatch):
    parent = steady_clock()
    handed = {ANCHOR: anchored(parent)}
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert abs(handed_clock(handed)() - parent()) < NS
    assert handed_clock({ANCHOR: "soon"})() < 100 * NS


def test_a_clock_that_is_known_to_be_ahead_is_put_right():
    assert abs(steady_clock(90 * NS)() + 90 * NS - time.time_ns()) < NS


def test_clocks_and_gaps_are_kept_with_a_run(tmp_path):
    info = new_info(RunKey("r", 1, 0), SMALL, parse_target({}, "test", env={}), "")
    run = RunDir.create(tmp_path / "run", info)
    kept = replace(info, clocks=readings(Loki=5), gaps=(WorkerGap(1, 2, 3),))
    run.write_info(kept)
    assert (run.info().clocks, run.info().gaps) == (kept.clocks, kept.gaps)
    raw = json.loads((run.path / "run.json").read_text())
    del raw["clocks"], raw["gaps"]
    (run.path / "run.json").write_text(json.dumps(raw))
    assert (run.info().clocks, run.info().gaps) == ((), ())
