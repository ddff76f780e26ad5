"""What all readers share: one query in, a value or an error out, and its timing handed on.

A failed query is an error, never an empty success: an answer counts as success only when it is complete, is JSON, says
that it succeeded, and has every field that its reader needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from loadgen.model import NS, Component, QueryTiming
from loadgen.targets.http import Answer, HttpClient, json_of

T = TypeVar("T")
Record = Callable[[QueryTiming], None]
Labels = tuple[tuple[str, str], ...]


class MalformedAnswer(ValueError):
    """A 2xx answer that lacks what the API promises; the text says what."""


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """The outcome of one question, which may have taken several queries.

    Attributes:
        value: what was asked for; None if and only if there is an error.
        error: empty, or a sentence that says where, what, and what to do next.
        status: HTTP status of the last query, 0 without an answer.
        sent_ns, done_ns: first query sent, last answer read.
    """

    value: T | None
    error: str
    status: int
    sent_ns: int
    done_ns: int

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return not self.error

    def failed(self) -> Reply[Any]:
        """The same failure as the reply to another question."""
        return Reply(None, self.error, self.status, self.sent_ns, self.done_ns)

    def with_value(self, value: Any) -> Reply[Any]:
        """The same success with another value."""
        return Reply(value, "", self.status, self.sent_ns, self.done_ns)


@dataclass(frozen=True, slots=True)
class Sized(Generic[T]):
    """A parsed value and the number of lines, samples or traces in it."""

    value: T
    items: int


@dataclass(frozen=True, slots=True)
class Absence(Generic[T]):
    """An answer that is no success and means "there is no such thing": ``means`` tells it, ``value`` is what it is."""

    value: Sized[T]
    means: Callable[[Answer], bool]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a question waits for a server that has too many others, which it says by HTTP 429.

    It is for reading back. People and probes do not wait: what they would see is what counts.

    Attributes:
        sleep: waits so many seconds, or less.
        stop: true when a person wants the end.
        within_s: of one question in all; one that asks for a longer pause is not repeated.
    """

    sleep: Callable[[float], None]
    stop: Callable[[], bool]
    within_s: float = 20.0


_TOO_MANY_QUESTIONS = 429
_FIRST_PAUSE_S = 0.25


class Asker:
    """Sends the queries of one component by one way, and hands on their timings.

    Args:
        component: who answers in the end.
        client: whom the requests go to: Grafana or the component.
        prefix: what comes before the component's own paths, e.g. Grafana's proxy path.
        via: ``grafana`` or ``direct``.
        source: who asks, as in `QueryTiming`.
        record: takes the timing of every query; None drops them.
        lacking: why an answer means that Grafana has no such data source; empty when it does not mean that.
        patience: with a server that has too many questions; None: none. Each attempt has its timing.
    """

    def __init__(
        self,
        component: Component,
        client: HttpClient,
        prefix: str,
        via: str,
        source: str,
        record: Record | None = None,
        lacking: Callable[[Answer], str] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.component = component
        self.via = via
        self._client = client
        self._prefix = prefix
        self._source = source
        self._record = record
        self._lacking = lacking
        self._patience = patience

    def recording(self, record: Record | None) -> Asker:
        """The same, with timings handed to ``record``."""
        return Asker(
            self.component, self._client, self._prefix, self.via, self._source, record, self._lacking, self._patience
        )

    def hand_on(self, timings: Iterable[QueryTiming]) -> None:
        """Give timings to whoever takes those of this one."""
        if self._record is not None:
            for timing in timings:
                self._record(timing)

    def get(
        self,
        kind: str,
        path: str,
        params: Mapping[str, str],
        range_s: float,
        parse: Callable[[Any], Sized[T]],
        due_ns: int = 0,
        absence: Absence[T] | None = None,
    ) -> Reply[T]:
        """Ask by GET. ``due_ns`` is the planned time (0: now)."""
        waited_s, pause_s = 0.0, _FIRST_PAUSE_S
        while True:
            answer = self._client.get(self._prefix + path, params)
            reply = self._reply(kind, self._prefix + path, range_s, parse, due_ns, absence, answer)
            pause_s = max(pause_s, answer.retry_after_s)
            if self._patience is None or answer.status != _TOO_MANY_QUESTIONS or self._patience.stop():
                return reply
            if waited_s + pause_s > self._patience.within_s:
                return reply
            self._patience.sleep(pause_s)
            waited_s, pause_s = waited_s + pause_s, 2 * pause_s

    def post(
        self,
        kind: str,
        path: str,
        body: object,
        range_s: float,
        parse: Callable[[Any], Sized[T]],
        due_ns: int = 0,
        absence: Absence[T] | None = None,
    ) -> Reply[T]:
        """Ask by POST of a JSON body."""
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}
        answer = self._client.post_query(self._prefix + path, json.dumps(body).encode(), headers)
        return self._reply(kind, self._prefix + path, range_s, parse, due_ns, absence, answer)

    def _reply(
        self,
        kind: str,
        path: str,
        range_s: float,
        parse: Callable[[Any], Sized[T]],
        due_ns: int,
        absence: Absence[T] | None,
        answer: Answer,
    ) -> Reply[T]:
        where = self._client.where + path
        sized: Sized[T] | None = None
        # First, or a data source that is not there would be taken for a trace that is not there.
        error = self._lacking(answer) if self._lacking is not None else ""
        if error:
            pass
        elif absence is not None and absence.means(answer):
            sized = absence.value
        else:
            raw, error = json_of(answer, where)
            if not error:
                try:
                    sized = parse(raw)
                except MalformedAnswer as problem:
                    error = self._client.hide(f"{where}: {answer.status}, but {problem}")
                except (KeyError, IndexError, TypeError, ValueError, AttributeError) as problem:
                    why = f"the answer is not as the API promises ({problem!r:.120})"
                    error = self._client.hide(f"{where}: {answer.status}, but {why}")
        if self._record is not None:
            self._record(
                QueryTiming(
                    component=self.component.value,
                    kind=kind,
                    via=self.via,
                    source=self._source,
                    range_s=range_s,
                    due_ns=due_ns or answer.sent_ns,
                    sent_ns=answer.sent_ns,
                    done_ns=answer.done_ns,
                    ok=not error,
                    status=answer.status,
                    items=sized.items if sized is not None else 0,
                    detail=error[:300],
                )
            )
        value = sized.value if sized is not None else None
        return Reply(value, error, answer.status, answer.sent_ns, answer.done_ns)


# -- answers in the form of the Prometheus API, which Loki shares ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    """One element of an instant vector."""

    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One element of a matrix: times in seconds, as they came."""

    labels: Labels
    points: tuple[tuple[float, float], ...]


def labels_of(raw: Mapping[str, str]) -> Labels:
    """Labels sorted by name."""
    return tuple(sorted(raw.items()))


def result_of(raw: Any, *types: str) -> list[Any]:
    """``data.result`` of a successful query answer of one of these result types; MalformedAnswer otherwise."""
    data = data_of(raw)
    if not isinstance(data, dict) or "resultType" not in data or not isinstance(data.get("result"), list):
        raise MalformedAnswer("the answer has no data.resultType and data.result; is this the right component?")
    if data["resultType"] not in types:
        raise MalformedAnswer(f"the result is a {data['resultType']}, not a {' or '.join(types)}; check the query")
    result: list[Any] = data["result"]
    return result


def data_of(raw: Any) -> Any:
    """``data`` of a successful answer; MalformedAnswer otherwise."""
    if not isinstance(raw, dict) or "status" not in raw:
        raise MalformedAnswer("the answer has no status; is this the right component?")
    if raw["status"] != "success":
        raise MalformedAnswer(f"the status is {raw['status']!r}: {str(raw.get('error', 'no reason given'))[:200]}")
    if "data" not in raw:
        raise MalformedAnswer("the answer says success but has no data; a proxy may have cut it")
    return raw["data"]


def vector_of(raw: Any) -> Sized[tuple[Point, ...]]:
    """An instant vector."""
    points = tuple(Point(labels_of(item["metric"]), float(item["value"][1])) for item in result_of(raw, "vector"))
    return Sized(points, len(points))


def matrix_of(raw: Any) -> Sized[tuple[Series, ...]]:
    """A matrix."""
    series = tuple(
        Series(labels_of(item["metric"]), tuple((float(at), float(value)) for at, value in item["values"]))
        for item in result_of(raw, "matrix")
    )
    return Sized(series, sum(len(one.points) for one in series))


def names_of(raw: Any) -> Sized[tuple[str, ...]]:
    """A list of label names or values. Loki leaves ``data`` out when there are none."""
    if isinstance(raw, dict) and raw.get("status") == "success" and raw.get("data", ()) in (None, ()):
        return Sized((), 0)
    data = data_of(raw)
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise MalformedAnswer("data is not a list of names")
    return Sized(tuple(data), len(data))


def selector(**labels: str) -> str:
    """A selector with equality matchers, e.g. ``{run="r1", pod="cart-00001"}``."""
    return "{" + ", ".join(f"{name}={quoted(value)}" for name, value in labels.items()) + "}"


def quoted(value: str) -> str:
    """A string literal of LogQL, PromQL and TraceQL."""
    return json.dumps(value, ensure_ascii=False)


def duration_text(duration_ns: int) -> str:
    """A duration of a range selector in its largest whole unit."""
    for unit, size_ns in (("s", NS), ("ms", 1_000_000), ("us", 1_000)):
        if duration_ns % size_ns == 0:
            return f"{duration_ns // size_ns}{unit}"
    return f"{duration_ns}ns"
