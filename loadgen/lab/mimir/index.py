"""The ``index`` of a block of the embedded Mimir: format 2 of Prometheus as far as it says which series have a label.

It has that format's header, lists of series by label pair, the table of these lists and the table of contents. In the
place of the series there is a payload of our own, symbols are left out, and checksums are 0.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable

import numpy as np

from loadgen.lab.mimir.promql_values import Labels
from loadgen.wire.proto import varint

_MAGIC = b"\xba\xaa\xd7\x00\x02"
_CONTENTS = struct.Struct(">6QI")
_COUNTS = struct.Struct(">II")
_NO_CHECKSUM = b"\0\0\0\0"


def encode_index(series: Iterable[Labels], payload: bytes) -> bytes:
    """The object for series with these labels, in their order."""
    lists: dict[tuple[str, str], array[int]] = {}
    for number, labels in enumerate(series, 1):
        for pair in labels:
            lists.setdefault(pair, array("I")).append(number)
    begin = len(_MAGIC) + len(payload)
    postings, table = bytearray(), bytearray()
    for name, value in sorted(lists):
        numbers = lists[name, value]
        table += b"\x02" + _text(name) + _text(value) + varint(begin + len(postings))
        postings += _COUNTS.pack(4 + 4 * len(numbers), len(numbers))
        postings += np.array(numbers, ">u4").tobytes() + _NO_CHECKSUM
    at = begin + len(postings)
    head = _COUNTS.pack(4 + len(table), len(lists))
    contents = _CONTENTS.pack(0, len(_MAGIC), 0, 0, begin, at, 0)
    return b"".join((_MAGIC, payload, postings, head, table, _NO_CHECKSUM, contents))


def payload_of(index: bytes) -> bytes:
    """The payload of an object that `encode_index` made. Raises ValueError if it is none."""
    if not index.startswith(_MAGIC) or len(index) < len(_MAGIC) + _CONTENTS.size:
        raise ValueError("not an index in format 2")
    contents = _CONTENTS.unpack_from(index, len(index) - _CONTENTS.size)
    return index[contents[1] : contents[4]]


def _text(text: str) -> bytes:
    content = text.encode()
    return varint(len(content)) + content
