"""What the servers need of an object store, with one typed error: they must live on while S3 is away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


class StoreError(Exception):
    """S3 could not do it now (away, refused, broken); the data is still with the caller, who tries again later."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing."""

    key: str
    size_bytes: int
    modified_ns: int


class BucketStore(Protocol):
    """What the servers need of an object store."""

    def put(self, key: str, data: bytes) -> None:
        """Stores an object; it is safe when this returns. Raises `StoreError` only."""

    def get(self, key: str) -> bytes | None:
        """The content, or None if there is no such object. Raises `StoreError` only."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose key begins with ``prefix``, in order of their keys. Raises `StoreError` only."""

    def delete(self, key: str) -> None:
        """Removes an object; no error if it is not there. Raises `StoreError` only."""
