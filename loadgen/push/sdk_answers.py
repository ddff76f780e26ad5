"""What servers answered to the exporters of the OpenTelemetry SDK, taken from their own HTTP session or gRPC channel.

An exporter says no more than success or failure, tries again by rules of its own, and takes a partial success for a
whole one. What it logs is for people. So what became of a push is read where its requests pass by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import requests

from loadgen.clock import Clock
from loadgen.model import GRPC_STATUS, Outcome
from loadgen.push.grpc import failed_attempt
from loadgen.push.http import judged
from loadgen.push.retry import Attempt, AttemptStep, PushResult, partial_success_of
from loadgen.targets.hiding import Hiding
from loadgen.targets.http import Answer


class Answers:
    """The attempts of one exporter, since `begin`."""

    def __init__(self, where: str, clock: Clock, hide: Hiding) -> None:
        self._where, self._clock, self._hide = where, clock, hide
        self._attempts: list[Attempt] = []

    def begin(self) -> None:
        """Forget the attempts of the push before."""
        self._attempts = []

    def result(self, succeeded: bool, said: str, sent_ns: int) -> PushResult:
        """What became of the push.

        Args:
            succeeded: what the exporter says. A success without an answer that was seen is not believed.
            said: its words, for when no request was seen at all.
            sent_ns: when it was asked.
        """
        now_ns, said = self._clock(), self._hide(said) or "it does not say why"
        if not self._attempts:
            text = f"{self._where}: no request of the SDK's exporter was seen: {said}"
            return PushResult(Outcome.UNKNOWN, 0, text[:400], 0, 0, sent_ns, sent_ns, now_ns)
        *before, last = self._attempts
        ambiguous = sum(one.step is not AttemptStep.AGAIN for one in before)
        if last.step is AttemptStep.ACCEPTED and succeeded:
            outcome = Outcome.ACCEPTED
        elif last.step in (AttemptStep.REJECTED, AttemptStep.AGAIN) and not ambiguous:
            outcome = Outcome.REJECTED
        else:
            outcome = Outcome.UNKNOWN
        detail = last.detail if outcome is not Outcome.ACCEPTED else before[-1].detail if before else ""
        if last.step is AttemptStep.ACCEPTED and not succeeded:
            detail = f"{self._where}: answered with a success that the SDK's exporter did not take for one: {said}"
        first_ns = self._attempts[0].sent_ns
        return PushResult(
            outcome, last.status, detail[:400], len(self._attempts), ambiguous, first_ns, last.sent_ns, last.done_ns
        )

    def watch_session(self, session: requests.Session) -> requests.Session:
        """Let a session's requests pass by here."""
        send: Callable[..., requests.Response] = session.send

        def watched(request: requests.PreparedRequest, **more: Any) -> requests.Response:
            sent_ns = self._clock()
            try:
                response = send(request, **more)
            except requests.RequestException as problem:
                # How far a request came that has no answer is not known.
                text = f"{self._where}: the SDK's exporter gave up: {self._hide.brief(problem)}"
                self._attempts.append(Attempt(AttemptStep.AGAIN_UNSURE, 0, text, sent_ns, self._clock()))
                raise
            self._attempts.append(self._of_response(response, sent_ns))
            return response

        session.send = watched  # type: ignore[method-assign]
        return session

    def _of_response(self, response: requests.Response, sent_ns: int) -> Attempt:
        body, done_ns = response.content, self._clock()
        kind = (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        said = self._hide.brief(body[:200].decode(errors="replace"))
        error = "" if response.ok else f"{self._where}: {response.status_code}, {said!r}"
        answer = Answer(response.status_code, body, kind, error, sent_ns, done_ns)
        step, detail = judged(answer, self._where, otlp=True)
        return Attempt(step, response.status_code, detail, sent_ns, done_ns)

    def watch_channel(self, channel: grpc.Channel) -> grpc.Channel:
        """A channel whose calls pass by here."""
        return grpc.intercept_channel(channel, _WatchedSession(self, self._clock))

    def of_call(self, call: Any, sent_ns: int) -> None:
        """Note a call, once it has ended."""
        code = call.code()  # waits for the end
        done_ns = self._clock()
        if code is not grpc.StatusCode.OK:
            self._attempts.append(failed_attempt(call, self._where, sent_ns, done_ns, self._hide))
            return
        refused = partial_success_of(call.result().SerializeToString())
        detail = f"{self._where}: {refused}" if refused else ""
        step = AttemptStep.UNKNOWN if refused else AttemptStep.ACCEPTED
        self._attempts.append(Attempt(step, GRPC_STATUS, detail, sent_ns, done_ns))


class _WatchedSession(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Notes each call of a channel."""

    def __init__(self, answers: Answers, clock: Clock) -> None:
        self._answers, self._clock = answers, clock

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        sent_ns = self._clock()
        call = continuation(details, request)
        self._answers.of_call(call, sent_ns)
        return call
