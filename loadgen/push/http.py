"""Pushing by HTTP as real agents do: retried with backoff where that can help, with an outcome that says what is known.

What an answer means is in `refusals`; what an attempt means, and how long to go on, in `retry`.
"""

from __future__ import annotations

import random as _random
import time
from collections.abc import Callable, Mapping

from loadgen.config.target import Login
from loadgen.push.refusals import dropped_text, step_of
from loadgen.push.retry import Attempt, AttemptStep, PushPolicy, PushResult, partial_success_of, push_with_retries
from loadgen.targets.http import Answer, HttpClient, looks_like_html

# An empty ExportTraceServiceResponse, or one with an empty partial_success, is at most this long.
_EMPTY_OTLP_ANSWER = 2


class HttpPusher:
    """Pushes bodies to one URL.

    Args:
        url: the whole URL of the push endpoint.
        login: whom to authenticate as; None for nobody.
        headers: content type, encoding and version as the endpoint wants them.
        policy: time limits and backoff.
        clock: epoch nanoseconds.
        sleep: waits so many seconds.
        random: gives numbers in [0, 1) for the jitter.
        otlp: the endpoint speaks OTLP: its 2xx may carry a partial success, and its 400 stores nothing.
    """

    def __init__(
        self,
        url: str,
        login: Login | None,
        headers: Mapping[str, str],
        policy: PushPolicy,
        clock: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = _random.random,
        otlp: bool = False,
    ) -> None:
        self._client = HttpClient(url, login, policy.timeout_s, clock)
        self._headers = headers
        self._policy = policy
        self._sleep = sleep
        self._random = random
        self._otlp = otlp

    @property
    def where(self) -> str:
        """The URL as it may be shown."""
        return self._client.where

    def push(self, body: bytes | memoryview) -> PushResult:
        """Push one body, with retries. Raises nothing for what network or server do."""
        return push_with_retries(lambda: self._attempt(body), self._policy, self._sleep, self._random)

    def close(self) -> None:
        """Close the idle connections."""
        self._client.close()

    def _attempt(self, body: bytes | memoryview) -> Attempt:
        answer = self._client.post("", body, self._headers)
        step, detail = judged(answer, self.where, self._otlp)
        return Attempt(step, answer.status, detail, answer.sent_ns, answer.done_ns, answer.retry_after_s)


def judged(answer: Answer, where: str, otlp: bool = False) -> tuple[AttemptStep, str]:
    """What the answer to a push means, and what to say of it; ``where`` names the endpoint."""
    status = answer.status
    if 200 <= status < 300:
        if looks_like_html(answer.content_type, answer.body):
            text = f"{where}: {status} with an HTML page; a proxy or a login page answered, not the server"
            return AttemptStep.UNKNOWN, text
        if otlp and len(answer.body) > _EMPTY_OTLP_ANSWER:
            refused = partial_success_of(answer.body)
            if refused:
                return AttemptStep.UNKNOWN, f"{where}: {refused}"
        step = step_of(status, answer.body, otlp)
        return step, "" if step is AttemptStep.ACCEPTED else dropped_text(where, status, answer.body)
    if status == 0:
        return (AttemptStep.AGAIN_UNSURE if answer.delivered else AttemptStep.AGAIN), answer.error
    return step_of(status, answer.body, otlp), answer.error


def joined(base: str, path: str) -> str:
    """The URL of a path below a base; empty if there is no base."""
    return base.rstrip("/") + path if base else ""
