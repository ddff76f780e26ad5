"""Traces: a small shop's checkout, eight spans over five services, some of them failing.

Everything of trace ``k`` of a batch follows from the batch and ``k``: its ids, when it starts (``due_ns + k *
gap_ns``), how long its spans take, and whether it fails. About one trace in twenty fails in ``payment``; the failing
span and its ancestors have status ERROR and HTTP status 500.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from loadgen.kinds.hashing import Words, stream_key, words, words_at
from loadgen.kinds.load import TraceLoad
from loadgen.kinds.names import checked, expect
from loadgen.model import Batch, Body, RunKey, Signal
from loadgen.pacing import Pace, pace_of
from loadgen.wire import otlp
from loadgen.wire.template import IndexPool, Template

INTERNAL, SERVER = 1, 2
STATUS_UNSET, STATUS_ERROR = 0, 2
FAILS_ONE_IN = 20
SDK_USER = 900_000
"""The probe through the OpenTelemetry SDK is a user of its own, numbered far above the ordinary ones."""


@dataclass(frozen=True, slots=True)
class SpanFacts:
    """One span as it must be found.

    Attributes:
        parent_id: empty for the root.
        kind: OTLP's number: 1 internal, 2 server, 3 client.
        status: OTLP's number: 0 unset, 2 error.
        attributes: name and value, in the order sent.
        resource: the same of its resource.
    """

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    service: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    status: int
    attributes: tuple[tuple[str, str | int], ...]
    resource: tuple[tuple[str, str], ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class _Step:
    """A span of the fixed shape; ``begin`` and ``end`` in 1/1024 of the trace's duration."""

    service: str
    name: str
    kind: int
    parent: int | None
    begin: int
    end: int
    on_failing_path: bool
    attributes: tuple[tuple[str, str], ...]


_HTTP_STATUS = "http.response.status_code"
_SEQ = "loadgen.seq"

SHAPE = (
    _Step("gateway", "POST /checkout", SERVER, None, 0, 1024, True, (("http.route", "/checkout"),)),
    _Step("cart", "GET /cart", SERVER, 0, 40, 280, False, (("http.route", "/cart"),)),
    _Step("database", "SELECT carts", SERVER, 1, 90, 230, False, (("db.system.name", "postgresql"),)),
    _Step("checkout", "POST /orders", SERVER, 0, 310, 990, True, (("http.route", "/orders"),)),
    _Step("checkout", "price order", INTERNAL, 3, 330, 420, False, ()),
    _Step("payment", "POST /charge", SERVER, 3, 450, 800, True, (("http.route", "/charge"),)),
    _Step("database", "INSERT payments", SERVER, 5, 620, 770, False, (("db.system.name", "postgresql"),)),
    _Step("database", "INSERT orders", SERVER, 3, 830, 960, False, (("db.system.name", "postgresql"),)),
)
SPANS_PER_TRACE = len(SHAPE)


def _has_http(step: _Step) -> bool:
    return bool(step.attributes) and step.attributes[0][0] == "http.route"


def _http_shape(step: _Step) -> tuple[otlp.Attribute, ...]:
    if not _has_http(step):
        return ()
    return ((_HTTP_STATUS, otlp.HTTP_STATUS if step.on_failing_path else 200),)


@dataclass(frozen=True, slots=True)
class _TraceColumns:
    """A batch as arrays: ``trace_ids`` has a row of two words per trace, the next three a row per span of `SHAPE`."""

    trace_ids: Words
    span_ids: Words
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    failed: NDArray[np.bool_]
    first_seq: int


class TraceSource:
    """The traces of all emitters of a run."""

    signal = Signal.TRACES

    def __init__(self, key: RunKey, load: TraceLoad):
        """Raises ValueError if the run's name cannot be used."""
        self.key, self.load = checked(key), load
        self._gaps = np.arange(load.traces_per_batch, dtype=np.int64) * load.gap_ns
        self._templates: dict[int, Template] = {}
        self._pool = IndexPool()
        self._streams: dict[tuple[int, str], int] = {}

    def pace(self, user: int) -> Pace:
        """When the batches of an emitter are due."""
        return pace_of(user, self.key.began_ns, self.load.interval_ns)

    def batch(self, user: int, n: int) -> Batch:
        """Batch ``n`` of an emitter; its items are spans."""
        return Batch(self.signal, user, n, self.pace(user).due(n), self.load.traces_per_batch * SPANS_PER_TRACE)

    def span_ns(self, due_ns: NDArray[np.int64], done_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """From when to when the items of batches are, in two rows; spans of traces may last until they are pushed."""
        return np.stack([due_ns, done_ns])

    def trace_ids(self, batch: Batch) -> NDArray[np.uint8]:
        """The ids of the batch's traces, a row of 16 bytes each; never all zero."""
        return self._trace_words(expect(batch, self.signal)).view(np.uint8)

    def span_ids(self, batch: Batch) -> NDArray[np.uint8]:
        """The ids of the batch's spans: by trace, by place in `SHAPE`, 8 bytes each; never all zero."""
        ids = self._span_words(expect(batch, self.signal)).T
        return np.ascontiguousarray(ids).view(np.uint8).reshape(-1, SPANS_PER_TRACE, 8)

    def last_started(self, user: int, times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sequence number of the trace that an emitter started last at or before each time; negative for none."""
        load = self.load
        since = times_ns - self.pace(user).due(0)
        n = since // load.interval_ns
        since -= n * load.interval_ns
        since //= load.gap_ns
        # The interval need not be a whole number of gaps; the last trace lasts until the next batch.
        np.minimum(since, load.traces_per_batch - 1, out=since)
        n *= load.traces_per_batch
        n += since
        return n

    def ids_of(self, user: int, seqs: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The ids of an emitter's traces with these sequence numbers (none negative): rows of 16 bytes."""
        n, k = np.divmod(seqs, self.load.traces_per_batch)
        ids = words_at(self._stream(user, "trace_id"), n[:, None], 2 * k[:, None] + _BOTH)
        np.maximum(ids[:, 0], np.uint64(1), out=ids[:, 0])
        return ids.view(np.uint8)

    def spans(self, batch: Batch) -> list[list[SpanFacts]]:
        """All spans of the batch: a list per trace, in the order of `SHAPE`."""
        columns = self._columns(expect(batch, self.signal))
        traces = []
        for k in range(self.load.traces_per_batch):
            trace_id = columns.trace_ids[k].tobytes()
            ids = [columns.span_ids[j, k].tobytes() for j in range(SPANS_PER_TRACE)]
            traces.append(
                [
                    SpanFacts(
                        trace_id=trace_id,
                        span_id=ids[j],
                        parent_id=b"" if step.parent is None else ids[step.parent],
                        service=step.service,
                        name=step.name,
                        kind=step.kind,
                        start_ns=int(columns.starts[j, k]),
                        end_ns=int(columns.ends[j, k]),
                        status=STATUS_ERROR if step.on_failing_path and columns.failed[k] else STATUS_UNSET,
                        attributes=self._attributes(step, columns.first_seq + k, bool(columns.failed[k])),
                        resource=self.resource(batch.user, step.service),
                    )
                    for j, step in enumerate(SHAPE)
                ]
            )
        return traces

    def resource(self, user: int, service: str) -> tuple[tuple[str, str], ...]:
        """The attributes of the resource that is one service of an emitter."""
        return (("service.name", service), ("loadgen.run", self.key.run), ("loadgen.user", f"{user:05d}"))

    def prepare(self, user: int) -> None:
        """Lay out the body of an emitter now, so that its first push does not have to."""
        self._template(user)

    def body(self, batch: Batch) -> Body:
        """The ExportTraceServiceRequest of the batch, uncompressed; valid until the next one of the same emitter.

        Raises:
            ValueError: if it is due outside of 1970 to 2109, or a sequence number is 2^35 or more.
        """
        columns = self._columns(expect(batch, self.signal))
        template = self._template(batch.user)
        _write(template, columns)
        return Body(template.wire, template.plain_bytes, batch.items)

    @staticmethod
    def _attributes(step: _Step, seq: int, failed: bool) -> tuple[tuple[str, str | int], ...]:
        attributes: tuple[tuple[str, str | int], ...] = (*step.attributes, (_SEQ, seq))
        if not _has_http(step):
            return attributes
        return (*attributes, (_HTTP_STATUS, 500 if failed and step.on_failing_path else 200))

    def _stream(self, user: int, field: str) -> int:
        name = (user, field)
        if name not in self._streams:
            self._streams[name] = stream_key(self.key, self.signal, user, field)
        return self._streams[name]

    def _trace_words(self, batch: Batch) -> Words:
        ids = words(self._stream(batch.user, "trace_id"), batch.n, 2 * self.load.traces_per_batch).reshape(-1, 2)
        np.maximum(ids[:, 0], np.uint64(1), out=ids[:, 0])
        return ids

    def _span_words(self, batch: Batch) -> Words:
        """The ids of spans: a row per span of `SHAPE`, a column per trace."""
        shape = (SPANS_PER_TRACE, self.load.traces_per_batch)
        ids = words(self._stream(batch.user, "span_id"), batch.n, shape[0] * shape[1]).reshape(shape)
        np.maximum(ids, np.uint64(1), out=ids)
        return ids

    def _columns(self, batch: Batch) -> _TraceColumns:
        count, user, n = self.load.traces_per_batch, batch.user, batch.n
        span_ids = self._span_words(batch)
        # 20 to 288 ms, in units of 1,024 ns so that fractions of it are exact.
        unit = (words(self._stream(user, "duration"), n, count) & np.uint64(0x3FFFF)).view(np.int64) + 20_000
        start = self._gaps + batch.due_ns
        starts = unit * _BEGINS[:, None]
        starts += start
        ends = unit * _ENDS[:, None]
        ends += start
        failed = words(self._stream(user, "failed"), n, count) < _FAILS_BELOW
        return _TraceColumns(self._trace_words(batch), span_ids, starts, ends, failed, n * count)

    def _template(self, user: int) -> Template:
        if user not in self._templates:
            self._templates[user] = Template(otlp.lay(self._request(user)), self._pool)
        return self._templates[user]

    def _request(self, user: int) -> list[otlp.ServiceSpans]:
        services = dict.fromkeys(step.service for step in SHAPE)
        return [
            otlp.ServiceSpans(
                resource=self.resource(user, service),
                spans=tuple(
                    otlp.SpanShape(
                        name=step.name,
                        kind=step.kind,
                        slot=j,
                        parent_slot=step.parent,
                        attributes=(
                            *step.attributes,
                            (_SEQ, otlp.SEQ),
                            *_http_shape(step),
                        ),
                        status=otlp.STATUS if step.on_failing_path else STATUS_UNSET,
                    )
                    for j, step in enumerate(SHAPE)
                    if step.service == service
                ),
                traces=self.load.traces_per_batch,
            )
            for service in services
        ]


_BEGINS = np.array([step.begin for step in SHAPE], dtype=np.int64)
_ENDS = np.array([step.end for step in SHAPE], dtype=np.int64)
_BOTH = np.arange(2, dtype=np.int64)
_FAILS_BELOW = np.uint64((1 << 64) // FAILS_ONE_IN)


def _write(template: Template, columns: _TraceColumns) -> None:
    trace_ids = columns.trace_ids.view("V16").reshape(-1)
    seqs = otlp.sequence(columns.first_seq, len(trace_ids))
    http = otlp.http_statuses(columns.failed, 200, 500)
    codes = np.where(columns.failed, np.uint8(STATUS_ERROR), np.uint8(STATUS_UNSET))
    for j, step in enumerate(SHAPE):
        template.write(f"trace{j}", trace_ids)
        template.write(f"span{j}", columns.span_ids[j])
        if step.parent is not None:
            template.write(f"parent{j}", columns.span_ids[step.parent])
        template.write(f"start{j}", columns.starts[j])
        template.write(f"end{j}", columns.ends[j])
        template.write(f"seq{j}", seqs)
        if step.on_failing_path:
            template.write(f"status{j}", codes)
            template.write(f"http{j}", http)
