"""Object stores without a server: in memory and in a directory, for trying things out and for tests."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from loadgen.lab.s3.store import ObjectInfo, StoreError


class MemoryStore:
    """Objects in a dict. While ``away`` is true every call raises `StoreError`; counts puts and gets."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.modified_ns: dict[str, int] = {}
        self.away = False
        self.puts = 0
        self.gets = 0

    def put(self, key: str, data: bytes) -> None:
        self._check(key)
        self.puts += 1
        self.objects[key] = bytes(data)
        self.modified_ns[key] = time.time_ns()

    def get(self, key: str) -> bytes | None:
        self._check(key)
        self.gets += 1
        return self.objects.get(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._check(prefix)
        for key in sorted(k for k in list(self.objects) if k.startswith(prefix)):
            yield ObjectInfo(key, len(self.objects[key]), self.modified_ns[key])

    def delete(self, key: str) -> None:
        self._check(key)
        self.objects.pop(key, None)
        self.modified_ns.pop(key, None)

    def _check(self, key: str) -> None:
        if self.away:
            raise StoreError(f"{key}: the store is away; bring it back")


class DirectoryStore:
    """One file per object; the key is the file's name with everything but letters, digits and ``_.-~`` escaped."""

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)

    def put(self, key: str, data: bytes) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            partial = self._directory / f".{time.time_ns()}.{os.getpid()}.partial"
            partial.write_bytes(data)
            partial.replace(self._path(key))
        except OSError as error:
            raise StoreError(f"{self._directory}: cannot store {key}: {error.strerror}") from error

    def get(self, key: str) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self._directory}: cannot read {key}: {error.strerror}") from error

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        try:
            names = sorted(unquote(p.name) for p in self._directory.iterdir() if not p.name.startswith("."))
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{self._directory}: cannot list: {error.strerror}") from error
        for key in names:
            if key.startswith(prefix):
                stat = self._path(key).stat()
                yield ObjectInfo(key, stat.st_size, stat.st_mtime_ns)

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._directory / quote(key, safe="")
