"""The series that the embedded Mimir knows: labels, an index over them, and when each had its first and last sample."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from loadgen.lab.mimir.labels import decode_labels, encode_labels
from loadgen.lab.mimir.promql_values import LabelMatcher, Labels, MatchKind

Sids = NDArray[np.int32]
"""Series numbers: positions in the registry."""

NEVER_MS = -(1 << 62)
"""``last_ms`` of a series without samples."""


class SeriesRegistry:
    """Numbers series in the order of their arrival. Not thread-safe.

    Attributes:
        first_ms, last_ms, last_value: per series, for time filters and for refusing what is out of order; the arrays
            may be longer than `count`.
    """

    def __init__(self) -> None:
        self._labels: list[Labels] = []
        self._by_spelling: dict[bytes, int] = {}
        self._pairs: dict[tuple[str, str], tuple[str, str]] = {}
        self._postings: dict[str, dict[str, array[int]]] = {}
        self._rank: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.first_ms = np.full(1024, -NEVER_MS, dtype=np.int64)
        self.last_ms = np.full(1024, NEVER_MS, dtype=np.int64)
        self.last_value = np.zeros(1024, dtype=np.float64)

    @property
    def count(self) -> int:
        """Number of series."""
        return len(self._labels)

    @property
    def newest_ms(self) -> int | None:
        """Time of the newest sample of all; None if there is none."""
        newest = int(self.last_ms[: self.count].max()) if self.count else NEVER_MS
        return None if newest == NEVER_MS else newest

    def labels(self, sid: int) -> Labels:
        """The labels of a series."""
        return self._labels[sid]

    def spellings(self) -> Iterable[bytes]:
        """The label bytes of each series in the order of their numbers, see `spelling_of`."""
        return self._by_spelling.keys()

    def find_spelling(self, spelling: bytes) -> int | None:
        """The series with these label bytes."""
        return self._by_spelling.get(spelling)

    def add(self, spelling: bytes, labels: Labels | None = None) -> int:
        """The number of the series with these label bytes; new if it is unknown. Labels save decoding the bytes.

        Raises:
            WriteRequestError: the bytes are no labels.
        """
        known = self._by_spelling.get(spelling)
        if known is not None:
            return known
        labels = decode_labels(spelling) if labels is None else labels
        sid = len(self._labels)
        # Series of a run share most of their labels: keep each pair once.
        own = tuple(self._pairs.setdefault(pair, pair) for pair in labels)
        self._labels.append(own)
        self._by_spelling[spelling] = sid
        for name, value in own:
            self._postings.setdefault(name, {}).setdefault(value, array("i")).append(sid)
        if sid >= len(self.last_ms):
            size = len(self.last_ms)
            self.first_ms = np.concatenate((self.first_ms, np.full(size, -NEVER_MS, dtype=np.int64)))
            self.last_ms = np.concatenate((self.last_ms, np.full(size, NEVER_MS, dtype=np.int64)))
            self.last_value = np.concatenate((self.last_value, np.zeros(size)))
        return sid

    def note(self, sids: Sids, times_ms: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Remembers that these series have these samples; the times of one series must not decrease."""
        np.minimum.at(self.first_ms, sids, times_ms)
        newer = times_ms >= self.last_ms[sids]
        # Of several samples of one series the last assignment stays, which is the newest.
        self.last_ms[sids[newer]] = times_ms[newer]
        self.last_value[sids[newer]] = values[newer]

    def find(self, matchers: Sequence[LabelMatcher]) -> Sids:
        """The series that satisfy all matchers, sorted by their labels."""
        chosen = np.ones(self.count, dtype=bool)
        for matcher in matchers:
            chosen &= self._matching(matcher)
        return self._sorted(np.flatnonzero(chosen).astype(np.int32))

    def within(self, sids: Sids, start_ms: int, end_ms: int) -> Sids:
        """Those of the series that have samples around this time (between their first and last one)."""
        return sids[(self.first_ms[sids] <= end_ms) & (self.last_ms[sids] >= start_ms)]

    def label_names(self, sids: Sids) -> list[str]:
        """Names of all labels of these series, sorted."""
        return sorted({name for sid in sids.tolist() for name, _ in self._labels[sid]})

    def label_values(self, name: str, sids: Sids) -> list[str]:
        """Values that these series have for a label, sorted."""
        return sorted({value for sid in sids.tolist() for key, value in self._labels[sid] if key == name})

    def _matching(self, matcher: LabelMatcher) -> NDArray[np.bool_]:
        values = self._postings.get(matcher.name, {})
        accepts = matcher.predicate()
        # A series without the label has the empty value.
        missing = accepts("")
        mask = np.full(self.count, missing, dtype=bool)
        if matcher.kind is MatchKind.EQUAL and matcher.value:
            found = values.get(matcher.value)
            if found is not None:
                mask[found] = True
            return mask
        for value, sids in values.items():
            if accepts(value) != missing:
                mask[sids] = not missing
        return mask

    def _sorted(self, sids: Sids) -> Sids:
        if len(self._rank) != self.count:
            if len(sids) * 8 < self.count:
                return np.array(sorted(sids.tolist(), key=self._labels.__getitem__), dtype=np.int32)
            order = np.array(sorted(range(self.count), key=self._labels.__getitem__), dtype=np.int64)
            rank = np.empty(self.count, dtype=np.int64)
            rank[order] = np.arange(self.count)
            self._rank = rank
        return sids[np.argsort(self._rank[sids])]


def spelling_of(labels: Labels) -> bytes:
    """The label bytes by which a series is known: sorted, without empty values."""
    return encode_labels(labels)
