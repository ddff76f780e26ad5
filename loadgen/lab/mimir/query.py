"""The query API of the embedded Mimir, ``/prometheus/api/v1/…``, with the answers and errors of the real one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import parse_qs

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from loadgen.lab.mimir import promql
from loadgen.lab.mimir.promql_text import float_text, parse_duration_ms, parse_time_ms, time_text
from loadgen.lab.mimir.promql_values import (
    ErrorKind,
    LabelMatcher,
    Labels,
    PromQLError,
    PromText,
    Samples,
    Scalar,
    Value,
    Vector,
)
from loadgen.lab.mimir.store import SampleStore
from loadgen.lab.s3.store import StoreError

MAX_POINTS = 11_000
_FOREVER_MS = 1 << 60
_STATUS = {ErrorKind.BAD_DATA: 400, ErrorKind.EXECUTION: 422}
_TOO_MANY_POINTS = (
    "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
)
_BUILD_INFO = {
    "application": "Grafana Mimir",
    "version": "embedded",
    "revision": "loadgen",
    "branch": "",
    "goVersion": "",
    "features": {
        "ruler_config_api": "false",
        "alertmanager_config_api": "false",
        "query_sharding": "false",
        "federated_rules": "false",
    },
}
_TRUNCATED = "results truncated due to limit"


class _Parameters:
    """The parameters of a request: those of the URL, and of the form that was posted."""

    def __init__(self, query: str, form: str) -> None:
        self._values = parse_qs(form, keep_blank_values=True, max_num_fields=1000)
        for name, values in parse_qs(query, keep_blank_values=True, max_num_fields=1000).items():
            self._values.setdefault(name, []).extend(values)

    def text(self, name: str) -> str:
        """The first value, empty if there is none."""
        return self._values.get(name, [""])[0]

    def texts(self, name: str) -> list[str]:
        """All values."""
        return self._values.get(name, [])

    def time_ms(self, name: str, default: int | None = None) -> int:
        """A time; needed if there is no default."""
        text = self.text(name)
        if not text and default is not None:
            return default
        found = parse_time_ms(text)
        if found is None:
            # Mimir says it twice.
            where = f'invalid parameter "{name}": '
            raise PromQLError(f'{where}{where}cannot parse "{text}" to a valid timestamp')
        return found

    def limit(self) -> int:
        """Most names or series that are asked for; 0 without a limit."""
        text = self.text("limit")
        if not text.isascii() or not text.isdigit():
            return 0
        return int(text[:18])

    def step_ms(self) -> int:
        """The step of a range query."""
        text = self.text("step")
        if not text:
            raise PromQLError('missing required parameter "step"')
        found = parse_duration_ms(text)
        if found is None:
            raise PromQLError(f'invalid parameter "step": cannot parse "{text}" to a valid duration')
        if found <= 0:
            raise PromQLError(
                'invalid parameter "step": zero or negative query resolution step widths are not accepted. '
                "Try a positive integer"
            )
        return found


Answer = Callable[[_Parameters], str]
"""Takes the parameters, gives the ``data`` of the answer as JSON text, and what follows it."""

FRONTEND, QUERIER = "Accept-Encoding", "Origin"
"""``Vary`` of what the query frontend answers itself, and of what it hands through."""


def server_timing(seconds: float) -> str:
    """What Mimir says of the work behind an answer; of the four figures only the time is measured here."""
    took = f"dur={seconds * 1000:.6f}"
    return f"querier_wall_time;{took}, response_time;{took}, bytes_processed;val=0, samples_processed;val=0"


class QueryApi:
    """The routes of the query API over one store."""

    def __init__(self, store: SampleStore, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._clock_ns = clock_ns

    def routes(self, prefix: str = "/prometheus/api/v1") -> list[BaseRoute]:
        """Routes for GET and form POST."""
        both = ["GET", "POST"]
        return [
            Route(f"{prefix}/query", self._endpoint(self._query), methods=both),
            Route(f"{prefix}/query_range", self._endpoint(self._query_range), methods=both),
            Route(f"{prefix}/labels", self._endpoint(self._labels, QUERIER), methods=both),
            Route(f"{prefix}/label/{{name}}/values", self._label_values, methods=["GET"]),
            Route(f"{prefix}/series", self._endpoint(self._series, QUERIER), methods=both),
            Route(f"{prefix}/metadata", self._endpoint(lambda _parameters: "{}"), methods=["GET"]),
            Route(f"{prefix}/status/buildinfo", _buildinfo, methods=["GET"]),
        ]

    def _endpoint(self, answer: Answer, vary: str = FRONTEND) -> Callable[[Request], object]:
        async def endpoint(request: Request) -> Response:
            return await self._answer(request, answer, vary)

        return endpoint

    async def _answer(self, request: Request, answer: Answer, vary: str) -> Response:
        form = ""
        if request.method == "POST":
            kind = request.headers.get("content-type", "").partition(";")[0].strip()
            if kind in ("", "application/x-www-form-urlencoded"):
                form = (await request.body()).decode("utf-8", "replace")
        try:
            parameters = _Parameters(request.url.query, form)
        except ValueError as error:
            return _error(400, ErrorKind.BAD_DATA.value, f"the parameters cannot be read: {error}", vary)
        # Computing takes long enough to hold up pushes if it ran here.
        began = time.perf_counter()
        response = await run_in_threadpool(_guarded, answer, parameters, vary)
        # The frontend refuses by itself, before anything is timed; what it hands through is timed, refused or not.
        if response.status_code == 200 or vary == QUERIER:
            response.headers["Server-Timing"] = server_timing(time.perf_counter() - began)
        return response

    def _query(self, parameters: _Parameters) -> str:
        at_ms = parameters.time_ms("time", self._clock_ns() // 1_000_000)
        expression = _expression(parameters)
        if expression.is_range_selector:
            return _matrix_of_samples(promql.raw_samples(expression, self._store, at_ms))
        value = promql.evaluate(expression, self._store, np.array([at_ms], dtype=np.int64))
        return _instant(value, at_ms)

    def _query_range(self, parameters: _Parameters) -> str:
        start_ms, end_ms = parameters.time_ms("start"), parameters.time_ms("end")
        if end_ms < start_ms:
            raise PromQLError('invalid parameter "end": end timestamp must not be before start time')
        step_ms = parameters.step_ms()
        if (end_ms - start_ms) // step_ms > MAX_POINTS:
            raise PromQLError(_TOO_MANY_POINTS)
        expression = _expression(parameters)
        if expression.is_range_selector or expression.is_text:
            kind = "range vector" if expression.is_range_selector else "string"
            raise PromQLError(
                f'invalid parameter "query": query expression produces a {kind}, but expression for range queries '
                "must produce an instant vector or scalar"
            )
        steps = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        value = promql.evaluate(expression, self._store, steps, end_ms)
        if isinstance(value, Scalar):
            value = Vector([()], value.values[None, :], np.ones((1, len(steps)), dtype=bool))
        assert isinstance(value, Vector)
        return _matrix(value, [time_text(step) for step in steps.tolist()])

    def _found(self, parameters: _Parameters, needed: bool) -> list[Labels]:
        selectors = [_selector(text) for text in parameters.texts("match[]")]
        if not selectors and needed:
            raise PromQLError("no match[] parameter provided")
        everything: list[list[LabelMatcher]] = [[]]
        start_ms, end_ms = parameters.time_ms("start", -_FOREVER_MS), parameters.time_ms("end", _FOREVER_MS)
        return self._store.series(selectors or everything, start_ms, end_ms)

    def _labels(self, parameters: _Parameters) -> str:
        names = {name for labels in self._found(parameters, False) for name, _ in labels}
        return _limited([_json(name) for name in sorted(names)], parameters)

    async def _label_values(self, request: Request) -> Response:
        name = str(request.path_params["name"])

        def answer(parameters: _Parameters) -> str:
            found = self._found(parameters, False)
            values = {value for labels in found for label, value in labels if label == name}
            return _limited([_json(value) for value in sorted(values)], parameters)

        return await self._answer(request, answer, QUERIER)

    def _series(self, parameters: _Parameters) -> str:
        return _limited([_labels_json(labels) for labels in self._found(parameters, True)], parameters)


async def _buildinfo(_request: Request) -> Response:
    return _respond(200, '{"status":"success","data":' + _json(_BUILD_INFO) + "}", FRONTEND)


def _expression(parameters: _Parameters) -> promql.Expression:
    if parameters.text("stats") == "all":
        raise PromQLError('invalid parameter "query": per-step stats are not supported by Mimir query engine')
    try:
        return promql.parse(parameters.text("query"))
    except PromQLError as error:
        raise PromQLError(f'invalid parameter "query": {error}', error.kind) from error


def _selector(text: str) -> list[LabelMatcher]:
    try:
        return promql.parse_matchers(text)
    except PromQLError as error:
        reason = str(error)
        if reason.endswith(promql.NO_MATCHER):
            reason = "match[] must contain at least one non-empty matcher"
        raise PromQLError(f'invalid parameter "match[]": {reason}', error.kind) from error


def _limited(found: list[str], parameters: _Parameters) -> str:
    """As many as were asked for, and a warning if that is not all."""
    limit = parameters.limit()
    if not limit or len(found) <= limit:
        return "[" + ",".join(found) + "]"
    return "[" + ",".join(found[:limit]) + f'],"warnings":["{_TRUNCATED}"]'


def _guarded(answer: Answer, parameters: _Parameters, vary: str) -> Response:
    try:
        data = answer(parameters)
    except PromQLError as error:
        return _error(_STATUS[error.kind], error.kind.value, str(error), vary)
    except StoreError as error:
        return _error(500, "internal", f"blocks cannot be read from S3: {error}", vary)
    except MemoryError:
        text = "the query needs more memory than there is; ask for fewer series or steps"
        return _error(422, "execution", text, vary)
    return _respond(200, '{"status":"success","data":' + data + "}", vary)


def _error(status: int, kind: str, text: str, vary: str) -> Response:
    return _respond(status, _json({"status": "error", "errorType": kind, "error": text}), vary)


def _respond(status: int, body: str, vary: str) -> Response:
    return Response(body.encode("utf-8", "replace"), status, {"Content-Type": "application/json", "Vary": vary})


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _json(value: object) -> str:
    return _ENCODER.encode(value)


@lru_cache(65_536)
def _pair_json(pair: tuple[str, str]) -> str:
    return f"{_json(pair[0])}:{_json(pair[1])}"


def _labels_json(labels: Labels) -> str:
    return "{" + ",".join(map(_pair_json, labels)) + "}"


def _instant(value: Value, at_ms: int) -> str:
    moment = time_text(at_ms)
    if isinstance(value, PromText):
        return f'{{"resultType":"string","result":[{moment},{_json(value.value)}]}}'
    if isinstance(value, Scalar):
        return f'{{"resultType":"scalar","result":[{moment},"{float_text(float(value.values[0]))}"]}}'
    rows = zip(value.labels, value.values[:, 0].tolist(), value.present[:, 0].tolist(), strict=True)
    result = ",".join(
        f'{{"metric":{_labels_json(labels)},"value":[{moment},"{float_text(number)}"]}}'
        for labels, number, present in rows
        if present
    )
    return f'{{"resultType":"vector","result":[{result}]}}'


def _matrix(vector: Vector, moments: list[str]) -> str:
    rows = []
    for row in sorted(range(len(vector.labels)), key=vector.labels.__getitem__):
        steps = np.flatnonzero(vector.present[row])
        numbers = vector.values[row, steps].tolist()
        values = ",".join(
            f'[{moments[step]},"{float_text(number)}"]' for step, number in zip(steps.tolist(), numbers, strict=True)
        )
        if values:
            rows.append(f'{{"metric":{_labels_json(vector.labels[row])},"values":[{values}]}}')
    return '{"resultType":"matrix","result":[' + ",".join(rows) + "]}"


def _matrix_of_samples(samples: Samples) -> str:
    times, numbers = samples.times.tolist(), samples.values.tolist()
    starts = samples.starts.tolist()
    rows = []
    for row, labels in enumerate(samples.labels):
        low, high = starts[row], starts[row + 1]
        values = ",".join(
            f'[{time_text(moment)},"{float_text(number)}"]'
            for moment, number in zip(times[low:high], numbers[low:high], strict=True)
        )
        if values:
            rows.append(f'{{"metric":{_labels_json(labels)},"values":[{values}]}}')
    return '{"resultType":"matrix","result":[' + ",".join(rows) + "]}"
