"""Logs: every user is a pod that writes one Loki stream, and every line says which one it is.

Line ``i`` of batch ``n`` has sequence number ``n * lines_per_batch + i`` and time ``due_ns + i * gap_ns``. From a
line that is read back, `LogSource.find` tells run, user and sequence number; `LogSource.locate` the batch and the
place in it; and `LogSource.lines` makes the batch again, to compare. The text carries the id of a trace that was
running then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from loadgen.kinds import text
from loadgen.kinds.hashing import stream_key, words
from loadgen.kinds.load import LogLoad
from loadgen.kinds.logs.lines import (
    CLOCK,
    CUSTOMER,
    MILLIS,
    SECONDS,
    SEQ,
    SERVICES,
    SIZE,
    TRACE,
    LineFormat,
    LineRef,
    choose_line,
    find_line,
    line_pieces,
)
from loadgen.kinds.names import checked, expect
from loadgen.kinds.traces.source import TraceSource
from loadgen.model import Batch, Body, RunKey, Signal
from loadgen.pacing import Pace, pace_of
from loadgen.wire import loki
from loadgen.wire.template import Hole, IndexPool, Piece, Template


@dataclass(frozen=True, slots=True)
class _Column:
    """One hole of every line of a batch, filled."""

    hole: Hole
    texts: text.Texts


class LogSource:
    """The logs of all pods of a run."""

    signal = Signal.LOGS

    def __init__(self, key: RunKey, load: LogLoad, traces: TraceSource | None = None, trace_users: int = 0):
        """Lines carry ids of ``traces`` of the emitters 0 … ``trace_users - 1``, or made-up ones if there are none.

        Raises:
            ValueError: if the run's name cannot be used.
        """
        self.key, self.load = checked(key), load
        self._traces = traces if trace_users > 0 else None
        self._trace_users = trace_users
        self._offsets = np.arange(load.lines_per_batch, dtype=np.int64) * load.gap_ns
        self._streams: dict[tuple[int, str], int] = {}
        self._shapes: dict[int, tuple[tuple[Piece, ...], ...]] = {}
        self._templates: dict[int, Template] = {}
        self._pool = IndexPool()

    def pace(self, user: int) -> Pace:
        """When the pushes of a pod are due."""
        return pace_of(user, self.key.began_ns, self.load.interval_ns)

    def batch(self, user: int, n: int) -> Batch:
        """Push ``n`` of a pod; its items are lines."""
        return Batch(self.signal, user, n, self.pace(user).due(n), self.load.lines_per_batch)

    def labels(self, user: int) -> tuple[tuple[str, str], ...]:
        """The labels of a pod's stream, sorted. With ``service_name`` among them Loki adds none of its own."""
        app = _app(user)
        return (
            ("app", app),
            ("job", "loadgen"),
            ("pod", _pod(user)),
            ("run", self.key.run),
            ("service_name", app),
        )

    def fingerprint(self, user: int) -> str:
        """The number of the stream in the keys of Loki's chunks: see `fingerprint`."""
        return fingerprint(self.labels(user))

    def span_ns(self, due_ns: NDArray[np.int64], _done_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """From when to when the items of batches are, in two rows; those of logs follow from the plan."""
        batch = self.batch(0, 0)
        times = self.line_times(batch) - batch.due_ns
        return np.stack([due_ns + times[0], due_ns + times[-1]])

    def line_times(self, batch: Batch) -> NDArray[np.int64]:
        """The times of the batch's lines in ns, strictly ascending."""
        return self._offsets + expect(batch, self.signal).due_ns

    def lines(self, batch: Batch) -> list[str]:
        """The text of the batch's lines, in order."""
        columns: dict[Hole, list[bytes]] = {
            column.hole: column.texts.view(f"S{column.hole.width}").tolist()
            for column in self._columns(expect(batch, self.signal))
        }
        return [
            b"".join([piece if isinstance(piece, bytes) else columns[piece][i] for piece in shape]).decode()
            for i, shape in enumerate(self._shape(batch.user))
        ]

    def find(self, line: str) -> LineRef | None:
        """Which line this is, in whichever format; None if it is not one of loadgen's."""
        return find_line(line)

    def locate(self, seq: int) -> tuple[int, int]:
        """Batch and place in it of the line with a sequence number."""
        return divmod(seq, self.load.lines_per_batch)

    def prepare(self, user: int) -> None:
        """Lay out the body of a pod now, so that its first push does not have to."""
        self._template(user)

    def body(self, batch: Batch) -> Body:
        """The compressed PushRequest of the batch; valid until the next one of the same pod.

        Raises:
            ValueError: if it is due outside of 1970 to 2109, or a sequence number has more than ten digits.
        """
        stamps = loki.stamps(self.line_times(batch))
        columns = self._columns(batch)
        template = self._template(batch.user)
        template.write(loki.TIME.field, stamps)
        for column in columns:
            template.write(column.hole.field, column.texts)
        return Body(template.wire, template.plain_bytes, batch.items)

    def _columns(self, batch: Batch) -> tuple[_Column, ...]:
        count, times = self.load.lines_per_batch, self.line_times(batch)
        detail = words(self._stream(batch.user, "detail"), batch.n, count)
        always = (
            _Column(SEQ, text.sequence(batch.n * count, count)),
            _Column(TRACE, self._trace_texts(batch, times)),
        )
        if _format(batch.user) is LineFormat.ACCESS:
            return (
                *always,
                _Column(CLOCK, text.clock(times)),
                _Column(SIZE, text.four_digits(detail)),
                _Column(SECONDS, text.seconds(detail)),
            )
        return (*always, _Column(CUSTOMER, text.six_digits(detail)), _Column(MILLIS, text.millis(detail)))

    def _trace_texts(self, batch: Batch, times: NDArray[np.int64]) -> text.Texts:
        if self._traces is None:
            return text.hexadecimal(self._own_ids(batch))
        emitter = batch.user % self._trace_users
        seqs = self._traces.last_started(emitter, times)
        # Lines are in order, so those of one trace lie side by side: make each id once.
        begins = np.flatnonzero(np.diff(seqs, prepend=seqs[:1] - 1))
        distinct = seqs[begins]
        texts = text.hexadecimal(self._traces.ids_of(emitter, np.maximum(distinct, 0)))
        texts = texts.repeat(np.diff(begins, append=len(seqs)))
        if distinct[0] < 0:
            return np.where(seqs < 0, text.hexadecimal(self._own_ids(batch)), texts)
        return texts

    def _own_ids(self, batch: Batch) -> NDArray[np.uint8]:
        own = words(self._stream(batch.user, "trace_id"), batch.n, 2 * self.load.lines_per_batch).reshape(-1, 2)
        np.maximum(own[:, 0], np.uint64(1), out=own[:, 0])
        return own.view(np.uint8)

    def _stream(self, user: int, field: str) -> int:
        name = (user, field)
        if name not in self._streams:
            self._streams[name] = stream_key(self.key, self.signal, user, field)
        return self._streams[name]

    def _shape(self, user: int) -> tuple[tuple[Piece, ...], ...]:
        if user not in self._shapes:
            hashes = words(self._stream(user, "message"), 0, self.load.lines_per_batch)
            run, pod, line_format = self.key.run, _pod(user), _format(user)
            choices = [choose_line(line_format, int(word)) for word in hashes]
            shapes = {choice: line_pieces(line_format, run, pod, choice) for choice in set(choices)}
            self._shapes[user] = tuple(shapes[choice] for choice in choices)
        return self._shapes[user]

    def _template(self, user: int) -> Template:
        if user not in self._templates:
            layout = loki.lay(loki.label_text(self.labels(user)), self._shape(user))
            self._templates[user] = Template(layout, self._pool)
        return self._templates[user]


def fingerprint(labels: tuple[tuple[str, str], ...]) -> str:
    """A stream's number as Loki's chunk keys have it: xxhash64 of the sorted labels, in hex without leading zeros.

    Source: ``labels.StableHash`` of Prometheus, which Loki uses; each label is hashed as ``name 0xff value 0xff``.
    """
    joined = b"".join(name.encode() + b"\xff" + value.encode() + b"\xff" for name, value in sorted(labels))
    return f"{xxhash.xxh64_intdigest(joined):x}"


def _app(user: int) -> str:
    return SERVICES[user % len(SERVICES)]


def _pod(user: int) -> str:
    return f"{_app(user)}-{user:05d}"


def _format(user: int) -> LineFormat:
    return LineFormat(user % len(LineFormat))
