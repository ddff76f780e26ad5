"""Traces that are not in S3 yet, and the combination of what memory and blocks hold of one trace."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadgen.lab.tempo.trace import Piece, TraceView


@dataclass(slots=True)
class LiveTrace:
    """A trace in memory. ``hidden`` pieces are those whose time to be seen has not come."""

    trace_id: bytes
    segment: int
    arrived_ns: int
    pieces: list[Piece] = field(default_factory=list)
    hidden: list[tuple[int, Piece]] = field(default_factory=list)
    size_bytes: int = 0
    cached: TraceView | None = None

    def add(self, piece: Piece, arrived_ns: int, visible_ns: int) -> None:
        """Takes what one export holds of this trace."""
        self.arrived_ns = max(self.arrived_ns, arrived_ns)
        self.size_bytes += sum(len(raw) for _, raw in piece)
        if visible_ns:
            self.hidden.append((visible_ns, piece))
        else:
            self.pieces = [*self.pieces, piece]
            self.cached = None

    def join(self, later: LiveTrace) -> None:
        """Takes over what another part of the same trace holds, which arrived later."""
        self.arrived_ns = max(self.arrived_ns, later.arrived_ns)
        self.size_bytes += later.size_bytes
        self.pieces = [*self.pieces, *later.pieces]
        self.hidden = [*self.hidden, *later.hidden]
        self.cached = None

    def uncover(self, now_ns: int) -> None:
        """Moves hidden pieces whose time has come to the visible ones."""
        if self.hidden and any(visible_ns <= now_ns for visible_ns, _ in self.hidden):
            self.pieces = [*self.pieces, *(piece for visible_ns, piece in self.hidden if visible_ns <= now_ns)]
            self.hidden = [pair for pair in self.hidden if pair[0] > now_ns]
            self.cached = None


@dataclass(frozen=True, slots=True)
class SpanSource:
    """Where a read finds (a part of) a trace: pieces in memory, or a row of a block."""

    pieces: tuple[Piece, ...]
    view: TraceView | None
    live: LiveTrace | None = None


def view_of(trace: LiveTrace) -> TraceView:
    """The decoded trace, kept until another piece arrives."""
    view = trace.cached
    if view is None:
        pieces = trace.pieces
        view = TraceView(trace.trace_id, pieces)
        if pieces is trace.pieces:
            trace.cached = view
    return view


def combined(trace_id: bytes, sources: list[SpanSource]) -> TraceView | None:
    """One trace of all its sources; None without any."""
    if not sources:
        return None
    if len(sources) == 1:
        source = sources[0]
        if source.view is not None:
            return source.view
        if source.live is not None:
            return view_of(source.live)
    return TraceView(trace_id, [piece for source in sources for piece in source.pieces])
