"""What pushing has in common, by whatever transport: how long to retry, and what is known afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from loadgen.model import NS, Outcome


@dataclass(frozen=True, slots=True)
class PushPolicy:
    """How long and how often.

    Attributes:
        timeout_s: limit of one attempt.
        retry_for_s: no attempt begins later than this after the first one.
        backoff_first_s, backoff_max_s: the wait after the first attempt, doubled after each further one up to the
            maximum; each wait is varied by half of it, so that many agents do not come back at the same time.
    """

    timeout_s: float
    retry_for_s: float
    backoff_first_s: float = 0.2
    backoff_max_s: float = 5.0

    def wait_s(self, attempts: int, random: float, asked_s: float) -> float:
        """The wait after so many attempts; ``random`` is in [0, 1), ``asked_s`` what the server asked for."""
        backoff_s: float = min(self.backoff_max_s, self.backoff_first_s * 2.0 ** min(attempts - 1, 30))
        return max(backoff_s * (0.5 + random), asked_s)


@dataclass(frozen=True, slots=True)
class PushResult:
    """What became of one push with all its attempts.

    Attributes:
        outcome: accepted, rejected or unknown.
        status: HTTP status (gRPC: 1000 + code) of the deciding attempt; 0 without an answer.
        detail: what went wrong; when accepted, what went wrong at the attempt before, empty if it was the first one.
        attempts: attempts made.
        ambiguous_attempts: attempts before the deciding one that may have stored the data all the same.
        sent_ns, last_sent_ns, done_ns: first attempt began, deciding attempt began, its answer was there.
    """

    outcome: Outcome
    status: int
    detail: str
    attempts: int
    ambiguous_attempts: int
    sent_ns: int
    last_sent_ns: int
    done_ns: int


class AttemptStep(Enum):
    """What an attempt means."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    """Stored nothing, and it would not help to ask again."""
    UNKNOWN = "unknown"
    """May have stored something, and must not be asked again."""
    AGAIN = "again"
    """Stored nothing; worth another try."""
    AGAIN_UNSURE = "again, unsure"
    """May have stored something; worth another try."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: what it means, and when it happened."""

    step: AttemptStep
    status: int
    detail: str
    sent_ns: int
    done_ns: int
    asked_s: float = 0.0


def push_with_retries(
    attempt: Callable[[], Attempt],
    policy: PushPolicy,
    sleep: Callable[[float], None],
    random: Callable[[], float],
) -> PushResult:
    """Make attempts until one decides or the time for retries is over.

    A push that ends with "stored nothing" is unknown all the same when an earlier attempt may have stored it.
    """
    attempts = ambiguous = first_ns = 0
    before = ""
    while True:
        made = attempt()
        attempts += 1
        first_ns = first_ns or made.sent_ns
        detail = made.detail
        if made.step in (AttemptStep.AGAIN, AttemptStep.AGAIN_UNSURE):
            wait_s = policy.wait_s(attempts, random(), made.asked_s)
            if made.done_ns + wait_s * NS <= first_ns + policy.retry_for_s * NS:
                ambiguous += made.step is AttemptStep.AGAIN_UNSURE
                before = made.detail
                sleep(wait_s)
                continue
            if attempts > 1:
                detail += f" (given up after {attempts} attempts in {(made.done_ns - first_ns) / NS:.1f} s)"
        if made.step is AttemptStep.ACCEPTED:
            outcome, detail = Outcome.ACCEPTED, before
        elif made.step in (AttemptStep.UNKNOWN, AttemptStep.AGAIN_UNSURE) or ambiguous:
            outcome = Outcome.UNKNOWN
        else:
            outcome = Outcome.REJECTED
        return PushResult(outcome, made.status, detail, attempts, ambiguous, first_ns, made.sent_ns, made.done_ns)


def partial_success_of(body: bytes) -> str:
    """What an ExportTraceServiceResponse says about refused spans; empty when all were taken."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return "a 2xx answer that is not an OTLP response; check that the URL is the OTLP endpoint"
    if not partial.rejected_spans:
        return ""
    return (
        f"partial success: {partial.rejected_spans} spans refused: {partial.error_message[:200] or 'no reason given'}"
    )
