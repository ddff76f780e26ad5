"""The keys of Loki's objects: ``<tenant>/<stream>/<chunk>``, and its index beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from loadgen.buckets.keys import Names
from loadgen.model import Component
from loadgen.targets.blocks import chunk_place

# The fingerprint of a stream has 64 bits: one in 65,536 has fewer digits, and words of hex digits are shorter.
_STREAM = re.compile(r"[0-9a-f]{12,16}")


class LokiKeys:
    """A folder for each stream, a file for each chunk; up to schema v11 the stream is a part of the file's name."""

    component = Component.LOKI

    def tenant_in(self, place: str, names: Names) -> str | None:
        """A tenant has a folder for each stream, or a file for each chunk."""
        if not place:
            return None
        if any(_STREAM.fullmatch(name) for name in names.folders):
            return place.rstrip("/")
        chunks = (chunk_place(place + name) for name in names.files[:50])
        return next((chunk.tenant for chunk in chunks if chunk is not None), None)

    def unit(self, key: str) -> str:
        """A chunk is one object."""
        return key

    def is_whole(self, size_bytes: int, there: Mapping[str, int]) -> bool:
        """It did not become smaller."""
        return there.get("", -1) >= size_bytes


KEYS = LokiKeys()
