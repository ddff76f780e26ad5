"""One virtual user's pushes: what is due, the push, its receipt. Knows nothing of Locust."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loadgen.clock import Clock
from loadgen.model import NS, Batch, Body, Outcome, Receipt
from loadgen.pacing import Pace
from loadgen.push.retry import PushResult


@dataclass(frozen=True, slots=True)
class Sender:
    """How a user's batches are made and sent.

    Attributes:
        transport: ``http``, ``grpc`` or ``sdk``; it goes into the receipts.
        body: makes the bytes of a batch.
        push: sends them, with retries.
    """

    transport: str
    body: Callable[[Batch], Body]
    push: Callable[[Batch, Body], PushResult]


class Stream:
    """The batches of one user, in order, one at a time.

    ``every`` leaves out batches: of n, n+1, … only each ``every``-th is sent (the SDK probe sends few).
    """

    def __init__(
        self,
        pace: Pace,
        batch: Callable[[int], Batch],
        sender: Sender,
        record: Callable[[Receipt], None],
        clock: Clock,
        max_late_s: float,
        every: int = 1,
    ) -> None:
        self._pace = pace
        self._batch = batch
        self._sender = sender
        self._record = record
        self._clock = clock
        self._max_late_ns = round(max_late_s * NS)
        self._every = every
        first = pace.first_at(clock())
        self._n = -(-first // every) * every
        self._free_ns = clock()

    def wait_s(self) -> float:
        """Seconds until the next batch is due; 0 when it is overdue."""
        return max(0, self._pace.due(self._n) - self._clock()) / NS

    def step(self) -> Receipt:
        """Send the batch that is due, or drop it when it is overdue beyond the bound. Always leaves a receipt."""
        batch = self._batch(self._n)
        self._n += self._every
        free_ns, now_ns = self._free_ns, self._clock()
        if now_ns - batch.due_ns > self._max_late_ns:
            receipt = self._receipt(batch, None, free_ns, _unsent(now_ns, Outcome.DROPPED, "overdue beyond the bound"))
            self._record(receipt)
            return receipt
        body: Body | None = None
        try:
            body = self._sender.body(batch)
            result = self._sender.push(batch, body)
        except BaseException as problem:
            # A user that is stopped in the middle of a push: the bytes may have arrived.
            ended = _unsent(
                self._clock(), Outcome.UNKNOWN, f"ended in the middle of the push ({type(problem).__name__})"
            )
            self._record(self._receipt(batch, body, free_ns, ended, sent_ns=now_ns))
            raise
        self._free_ns = self._clock()
        receipt = self._receipt(batch, body, free_ns, result)
        self._record(receipt)
        return receipt

    def _receipt(
        self, batch: Batch, body: Body | None, free_ns: int, result: PushResult, sent_ns: int | None = None
    ) -> Receipt:
        return Receipt(
            signal=str(batch.signal),
            user=batch.user,
            n=batch.n,
            due_ns=batch.due_ns,
            items=batch.items,
            outcome=str(result.outcome),
            transport=self._sender.transport,
            free_ns=free_ns,
            sent_ns=result.sent_ns if sent_ns is None else sent_ns,
            last_sent_ns=result.last_sent_ns if sent_ns is None else sent_ns,
            done_ns=result.done_ns,
            attempts=result.attempts,
            ambiguous_attempts=result.ambiguous_attempts,
            plain_bytes=body.plain_bytes if body else 0,
            wire_bytes=body.wire_bytes if body else 0,
            status=result.status,
            detail=result.detail[:300],
        )


def _unsent(now_ns: int, outcome: Outcome, detail: str) -> PushResult:
    return PushResult(outcome, 0, detail, 0, 0, 0, 0, now_ns)
