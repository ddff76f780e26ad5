import pytest

from loadgen.model import MS, NS, Batch, Body, Outcome, Receipt, Signal
from loadgen.pacing import Pace
from loadgen.push.retry import PushResult
from loadgen.push.stream import Sender, Stream

BEGAN = 1_795_000_000 * NS


class Bench:
    """A stream with a clock that only the push moves."""

    def __init__(self, takes_ns: int = MS, max_late_s: float = 5.0, every: int = 1) -> None:
        self.now = BEGAN
        self.takes_ns = takes_ns
        self.receipts: list[Receipt] = []
        self.error: BaseException | None = None
        self.stream = Stream(
            Pace(BEGAN, NS),
            lambda n: Batch(Signal.LOGS, 4, n, BEGAN + n * NS, 10),
            Sender("http", lambda batch: Body(b"wire", 9, batch.items), self.push),
            self.receipts.append,
            lambda: self.now,
            max_late_s,
            every,
        )

    def push(self, batch: Batch, body: Body) -> PushResult:
        sent = self.now
        self.now += self.takes_ns
        if self.error:
            raise self.error
        return PushResult(Outcome.ACCEPTED, 204, "", 1, 0, sent, sent, self.now)

    def step(self) -> Receipt:
        self.now += round(self.stream.wait_s() * NS)
        return self.stream.step()


def test_batches_follow_the_plan_and_latency_counts_from_due():
    bench = Bench(takes_ns=20 * MS)
    for n in range(3):
        receipt = bench.step()
        assert (receipt.n, receipt.due_ns) == (n, BEGAN + n * NS)
        assert receipt.done_ns - receipt.due_ns == 20 * MS


def test_a_stalled_push_shows_in_the_batches_behind_it_and_they_are_not_dropped():
    bench = Bench(takes_ns=3 * NS)
    bench.step()
    bench.takes_ns = MS
    late = [bench.step() for _ in range(4)]
    assert [receipt.n for receipt in late] == [1, 2, 3, 4]
    assert (late[0].done_ns - late[0].due_ns) == 2 * NS + MS
    assert late[0].free_ns == BEGAN + 3 * NS, "the generator itself was not late: it had been waiting for the answer"


def test_work_overdue_beyond_the_bound_is_dropped_and_leaves_a_receipt():
    bench = Bench(takes_ns=8 * NS, max_late_s=5.0)
    bench.step()
    bench.takes_ns = MS
    outcomes = [bench.step().outcome for _ in range(8)]
    assert outcomes == ["dropped"] * 2 + ["accepted"] * 6
    assert [receipt.n for receipt in bench.receipts] == list(range(9))


def test_a_user_stopped_in_the_middle_of_a_push_leaves_an_unknown_receipt():
    bench = Bench()
    bench.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        bench.step()
    assert [receipt.outcome for receipt in bench.receipts] == ["unknown"]
    assert bench.receipts[0].sent_ns == BEGAN


def test_only_every_so_many_batches_are_sent_when_asked():
    bench = Bench(every=5)
    assert [bench.step().n for _ in range(3)] == [0, 5, 10]
