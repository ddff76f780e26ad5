"""The proof that a lab works: what is pushed into a store is shown by a query through the lab's own Grafana.

A server that calls itself ready may still answer no query at all, because its parts look for each other at an address
where none of them listens. So each store is given a tiny item of its own (see `proof_items`), which must be read back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

import cramjam

from loadgen.config import Target
from loadgen.lab.proof_items import LINE_LABELS, SERIES_LABELS, SERVICE, TRACE_ID
from loadgen.lab.state import LabError
from loadgen.model import MS, NS, Component, Outcome
from loadgen.push.retry import PushPolicy
from loadgen.push.ways import LOKI_PUSH, OTLP_HTTP, REMOTE_WRITE
from loadgen.push.ways.way import Pusher, Pushing
from loadgen.targets.readers import Readers, open_readers
from loadgen.wire.loki import label_text
from loadgen.wire.proto import bytes_field, double_field, key, number_field, text_field

_REQUEST_S = 5.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.01, 0.5
# An item can be lost between servers that have not found each other yet, or by a defect on order.
_PUSH_AGAIN_S = 3.0
_LOOK_EVERY_S = 0.1


class _ProofStore(Protocol):
    """How one store is asked."""

    def push(self, at_ns: int) -> str:
        """Pushes an item of this time; empty, or why it was not taken."""

    def ask(self, at_ns: int) -> tuple[bool, str]:
        """Whether that item is shown, and what was answered instead."""

    @property
    def question(self) -> str:
        """What is asked for, as a person would."""

    def close(self) -> None:
        """Closes the connections."""


def prove(
    target: Target,
    stores: Collection[Component],
    timeout_s: float,
    check_alive: Callable[[Component], None] = lambda _component: None,
    clock: Callable[[], int] = time.time_ns,
) -> None:
    """Returns when each of these stores has taken an item and shown it through Grafana. All are asked at once.

    Args:
        target: the lab.
        stores: which ones to ask.
        timeout_s: how long they may take.
        check_alive: raises when the store's process has ended; called from this thread only.
        clock: epoch nanoseconds, for the items.

    Raises:
        LabError: a store does not; the text names it, what was asked, and what was answered.
    """
    readers = open_readers(target, clock, None, _REQUEST_S, "lab")
    over = threading.Event()
    with ThreadPoolExecutor(max(1, len(stores)), "proof") as pool:
        asked = [pool.submit(_prove, one, _STORES[one](target, readers), timeout_s, clock, over) for one in stores]
        try:
            while wait(asked, _LOOK_EVERY_S, FIRST_EXCEPTION).not_done:
                for component in stores:
                    check_alive(component)
                if any(one.done() and one.exception() for one in asked):
                    break
        finally:
            over.set()
    for one in asked:
        one.result()


def _prove(
    component: Component, store: _ProofStore, timeout_s: float, clock: Callable[[], int], over: threading.Event
) -> None:
    deadline_s = time.monotonic() + timeout_s
    wait_s, taken_ns, push_at_s, said = _FIRST_WAIT_S, 0, 0.0, ""
    try:
        while not over.is_set():
            if time.monotonic() >= push_at_s:
                at_ns = clock()
                refused = store.push(at_ns)
                if not refused:
                    taken_ns, push_at_s = at_ns, time.monotonic() + _PUSH_AGAIN_S
                elif not taken_ns:
                    said = refused
            if taken_ns:
                shown, said = store.ask(taken_ns)
                if shown:
                    return
            if time.monotonic() >= deadline_s:
                raise LabError(_failure(component, store, timeout_s, bool(taken_ns), said))
            over.wait(wait_s)
            wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)
    finally:
        store.close()


def _failure(component: Component, store: _ProofStore, timeout_s: float, taken: bool, said: str) -> str:
    if not taken:
        return f"{component} takes no push within {timeout_s:.0f} s, so the lab is not ready: {said}"
    return (
        f"{component} takes pushes, but does not show them through the lab's Grafana within {timeout_s:.0f} s, so the "
        f"lab is not ready; asked was {store.question}, the last answer: {said}"
    )


@dataclass(frozen=True, slots=True)
class _Way:
    """What all stores have: how to push, and how to read."""

    pusher: Pusher
    readers: Readers

    def send(self, body: bytes) -> str:
        """Empty when the body was taken, else why not."""
        result = self.pusher.push(body)
        return "" if result.outcome is Outcome.ACCEPTED else result.detail

    def close(self) -> None:
        """Closes the connections."""
        self.pusher.close()


class _Logs(_Way):
    @property
    def question(self) -> str:
        """A selector."""
        return label_text(LINE_LABELS)

    def push(self, at_ns: int) -> str:
        """One line."""
        stamp = number_field(1, at_ns // NS) + number_field(2, at_ns % NS)
        entry = bytes_field(1, stamp) + text_field(2, _line(at_ns))
        stream = text_field(1, self.question) + bytes_field(2, entry)
        return self.send(_snappy(bytes_field(1, stream)))

    def ask(self, at_ns: int) -> tuple[bool, str]:
        """The lines of the second around it."""
        reply = self.readers.loki.streams(self.question, at_ns - NS, at_ns + NS, keep=())
        if reply.value is None:
            return False, reply.error
        lines = [entry.line for stream in reply.value for entry in stream.entries]
        return _line(at_ns) in lines, f"{len(lines)} lines, not the one of this moment"


class _Metrics(_Way):
    @property
    def question(self) -> str:
        """A series."""
        return SERIES_LABELS[0][1]

    def push(self, at_ns: int) -> str:
        """One sample, whose value is its time: the same one twice does no harm."""
        labels = b"".join(bytes_field(1, text_field(1, name) + text_field(2, value)) for name, value in SERIES_LABELS)
        sample = double_field(1, at_ns // MS) + number_field(2, at_ns // MS)
        return self.send(_snappy(bytes_field(1, labels + bytes_field(2, sample))))

    def ask(self, at_ns: int) -> tuple[bool, str]:
        """Its value at that time."""
        reply = self.readers.mimir.instant(self.question, at_ns // MS)
        if reply.value is None:
            return False, reply.error
        values = [point.value for point in reply.value]
        return float(at_ns // MS) in values, f"{len(values)} series, none with the sample of this moment"


class _Traces(_Way):
    @property
    def question(self) -> str:
        """A trace."""
        return f"the trace {TRACE_ID.hex()}"

    def push(self, at_ns: int) -> str:
        """One span."""
        attribute = text_field(1, "service.name") + bytes_field(2, text_field(1, SERVICE))
        span = bytes_field(1, TRACE_ID) + bytes_field(2, _span_id(at_ns)) + text_field(5, "ready") + number_field(6, 1)
        begin_ns = at_ns - _TRACE_AGE_NS
        span += _fixed64(7, begin_ns) + _fixed64(8, begin_ns + MS)
        scoped = bytes_field(2, bytes_field(2, span))
        return self.send(bytes_field(1, bytes_field(1, bytes_field(1, attribute)) + scoped))

    def ask(self, at_ns: int) -> tuple[bool, str]:
        """All spans of the trace: it grows by one with every start of the lab."""
        reply = self.readers.tempo.trace(TRACE_ID)
        if reply.value is None:
            return False, reply.error
        spans = [span.span_id for span in reply.value]
        return _span_id(at_ns) in spans, f"{len(spans)} spans, not the one of this moment"


def _line(at_ns: int) -> str:
    return f"the lab asks whether this line can be read, {at_ns}"


def _span_id(at_ns: int) -> bytes:
    return at_ns.to_bytes(8, "big")


def _fixed64(number: int, value: int) -> bytes:
    return key(number, 1) + value.to_bytes(8, "little")


def _snappy(plain: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(plain))


# It is asked for by id. Whoever looks at the last hour, whatever is in it, finds nothing of the lab's own.
_TRACE_AGE_NS = 2 * 3600 * NS
_PUSHING = Pushing(PushPolicy(timeout_s=_REQUEST_S, retry_for_s=0.0))
_STORES: dict[Component, Callable[[Target, Readers], _ProofStore]] = {
    Component.LOKI: lambda target, readers: _Logs(LOKI_PUSH.open(target, _PUSHING), readers),
    Component.TEMPO: lambda target, readers: _Traces(OTLP_HTTP.open(target, _PUSHING), readers),
    Component.MIMIR: lambda target, readers: _Metrics(REMOTE_WRITE.open(target, _PUSHING), readers),
}
