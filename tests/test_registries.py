"""A new check, section or way in is a file and a line in its registry: a dummy of each works beside the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from made_history import good_run

from loadgen.checks import CHECKS, judge
from loadgen.checks.case import Case, RunCheck
from loadgen.config import Target
from loadgen.judging import Finding, outcome
from loadgen.kinds.logs.kind import LOGS
from loadgen.model import MS, NS, Objective, Outcome, Result, RunKey, Signal
from loadgen.plan import plan_of
from loadgen.push import preflight, ways
from loadgen.push.retry import PushResult
from loadgen.push.senders import Senders
from loadgen.push.ways.way import Pushing, Way, way_for
from loadgen.report import SECTIONS, facts_of, parts_of
from loadgen.report.html import page
from loadgen.report.markdown import summary
from loadgen.report.parts import Facts, Part, Text

ADDRESS = "http://dummy.example.com"


class DummyPusher:
    """Keeps what it is given."""

    where = ADDRESS

    def __init__(self) -> None:
        self.pushed: list[bytes] = []
        self.closed = False

    def push(self, body: bytes | memoryview) -> PushResult:
        self.pushed.append(bytes(body))
        return PushResult(Outcome.ACCEPTED, 204, "", 1, 0, 1, 1, 2)

    def close(self) -> None:
        self.closed = True


def dummy_way(pusher: DummyPusher, share: float = 1.0) -> Way:
    return Way(
        "dummy", "pigeon", LOGS.signal, LOGS.store, "query_url", lambda *_: pusher, lambda *_: "", lambda _: share
    )


def test_a_check_is_judged_and_its_verdict_counts() -> None:
    def dummy(case: Case) -> Finding:
        return Finding(Result.FAIL, Objective("no dummy", 0.0, ""), f"{len(case.history.receipts)} receipts")

    made = good_run()
    check = RunCheck("dummy.check", "there is no dummy", dummy, ("receipts",))
    verdicts = judge(made.history(), made.plan, (*CHECKS, check))
    assert (verdicts[-1].check, verdicts[-1].result) == ("dummy.check", Result.FAIL)
    assert verdicts[-1].measured.endswith(" receipts")
    assert outcome(verdicts) is Result.FAIL


def test_a_section_is_printed_in_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    def dummy(facts: Facts) -> Part:
        return Part("dummy", "A dummy", (Text(f"seen by {facts.history.info.key.run}"),))

    monkeypatch.setattr("loadgen.report.SECTIONS", (*SECTIONS, dummy))
    made = good_run()
    facts = facts_of(made.history(), made.plan, judge(made.history(), made.plan))
    parts = parts_of(facts)
    assert parts[-1].title == "A dummy"
    assert "seen by made" in page(facts.head, parts) and "seen by made" in summary(facts.head, parts)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[Way], None]:
    def add(way: Way) -> None:
        monkeypatch.setattr(ways, "WAYS", (*ways.WAYS, way))
        monkeypatch.setattr(preflight, "WAYS", (*ways.WAYS,))

    return add


def test_a_way_is_taken_by_its_share_of_the_users(register: Callable[[Way], None]) -> None:
    pusher = DummyPusher()
    register(dummy_way(pusher, share=0.25))
    made = good_run()
    target = Target.model_validate({"loki": {"url": "http://loki.example.com", "query_url": ADDRESS}})
    senders = Senders(plan_of(RunKey("dummy", 1, 10**9 * NS // MS * MS), made.plan.profile), target, lambda: 1)
    taken = [senders.of(Signal.LOGS, user).transport for user in range(8)]
    assert taken.count("pigeon") == 2
    batch = made.plan.logs.batch(3, 0)
    sender = senders.of(Signal.LOGS, taken.index("pigeon"))
    assert sender.push(batch, made.plan.body(batch)).outcome is Outcome.ACCEPTED
    assert len(pusher.pushed) == 1
    senders.close()
    assert pusher.closed


def test_a_way_that_is_named_is_asked_before_a_run(register: Callable[[Way], None]) -> None:
    asked: list[str] = []
    way = dummy_way(DummyPusher())
    register(
        Way(
            *(way.name, way.transport, way.signal, way.store, way.setting),
            way.open,
            lambda *_: asked.append("x") or "no",
        )
    )
    target = Target.model_validate({"via": "direct", "loki": {"query_url": ADDRESS}})
    assert preflight._pushing(target, [Signal.LOGS], 1.0) == ["loki does not take pushes: no"]
    assert asked == ["x"]


@pytest.mark.parametrize("share", [0.0, 0.1, 1 / 3, 0.5, 0.9, 1.0])
def test_shares_are_kept_to_the_user(share: float) -> None:
    first, second = dummy_way(DummyPusher()), dummy_way(DummyPusher())
    taken = [way_for(user, {first: 1.0, second: share}) for user in range(30)]
    for upto in range(1, 31):
        assert abs(taken[:upto].count(second) - share * upto) < 1


def test_three_ways_share_the_users_as_they_are_asked_to() -> None:
    a, b, c = (dummy_way(DummyPusher()) for _ in range(3))
    taken = [way_for(user, {a: 0.5, b: 0.3, c: 0.2}) for user in range(100)]
    assert (taken.count(b), taken.count(c)) == (30, 20)


def test_pushing_hands_on_what_it_was_given() -> None:
    made = Pushing(policy=None, clock=len, sleep=print, random=max)  # type: ignore[arg-type]
    assert made.arguments == (None, len, print, max)
