"""Pseudo-random content without state: every value is a hash of what it belongs to.

A *stream* is one field of one user, named by `stream_key`. Word ``index`` of batch ``n`` of a stream is a function of
these three numbers alone (the splitmix64 generator, used as a hash), so any value can be made again in any order, and
a new field never changes the values of another one. The scalar and the vector functions give the same words.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import xxhash
from numpy.typing import NDArray

from loadgen.model import RunKey, Signal

Words = NDArray[np.uint64]

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15  # splitmix64: 2^64 divided by the golden ratio
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB

_U_STEP, _U_FIRST, _U_SECOND = np.uint64(_STEP), np.uint64(_FIRST), np.uint64(_SECOND)
_U27, _U30, _U31 = np.uint64(27), np.uint64(30), np.uint64(31)


def mix(word: int) -> int:
    """splitmix64's finaliser of one 64-bit word."""
    word = ((word ^ (word >> 30)) * _FIRST) & _MASK
    word = ((word ^ (word >> 27)) * _SECOND) & _MASK
    return word ^ (word >> 31)


def mix_words(words: Words) -> Words:
    """`mix` of every word, in place; returns its argument."""
    shifted = words >> _U30
    words ^= shifted
    words *= _U_FIRST
    np.right_shift(words, _U27, out=shifted)
    words ^= shifted
    words *= _U_SECOND
    np.right_shift(words, _U31, out=shifted)
    words ^= shifted
    return words


def stream_key(key: RunKey, signal: Signal, user: int, field: str) -> int:
    """The 64-bit name of the stream of ``field`` of a user."""
    return xxhash.xxh64_intdigest(f"{key.run}\0{signal}\0{user}\0{field}".encode(), seed=key.seed & _MASK)


def batch_key(stream: int, n: int) -> int:
    """The key of batch ``n`` within a stream (an output of `stream_key`)."""
    return mix((stream + (n + 1) * _STEP) & _MASK)


def word(stream: int, n: int, index: int) -> int:
    """Word ``index`` of batch ``n`` of a stream."""
    return mix((batch_key(stream, n) + (index + 1) * _STEP) & _MASK)


@lru_cache(maxsize=64)
def _steps(count: int) -> Words:
    steps = np.arange(1, count + 1, dtype=np.uint64) * _U_STEP
    steps.flags.writeable = False
    return steps


def words(stream: int, n: int, count: int) -> Words:
    """Words 0 … ``count - 1`` of batch ``n`` of a stream: a new array."""
    return mix_words(_steps(count) + np.uint64(batch_key(stream, n)))


def words_at(stream: int, n: NDArray[np.int64], index: NDArray[np.int64]) -> Words:
    """Words ``index`` of batches ``n`` (none negative), element by element; the two are broadcast to one shape."""
    batches = (n.astype(np.uint64) + np.uint64(1)) * _U_STEP
    batches += np.uint64(stream)
    return mix_words(mix_words(batches) + (index.astype(np.uint64) + np.uint64(1)) * _U_STEP)
