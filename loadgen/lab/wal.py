"""A write-ahead log: what was acknowledged is on disk and comes back after a kill or a power cut.

Files are segments ``<number>.wal`` of frames: length (uint32), CRC-32 of length and payload (uint32), payload. A frame
is cut short or does not match its checksum ends its segment: it was being written when the process died, so nobody was
told that it is stored. Every opening starts a new segment, so a torn tail is never written behind.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_HEADER = struct.Struct("<II")
_SUFFIX = ".wal"


class Position(NamedTuple):
    """A place in the log: everything written up to it can be waited for with `WriteAheadLog.sync`."""

    segment: int
    offset_bytes: int


class WriteAheadLog:
    """The log in one directory; only one process may have it open. All methods may be called from any thread.

    ``append`` is ``sync(write(payload))``. Calling the two apart lets a server put the payload into its memory in the
    same step as `write`, and wait for the disk elsewhere; waiting calls share one flush of the disk.
    """

    def __init__(self, directory: Path | str) -> None:
        """Opens or makes the directory; raises OSError if that is not possible."""
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._write_lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._earlier = self._segments()
        self._segment = (self._earlier[-1] if self._earlier else 0) + 1
        self._file = self._open(self._segment)
        self._written = Position(self._segment, 0)
        self._synced = Position(self._segment, 0)

    @property
    def segment(self) -> int:
        """Number of the segment that is being written."""
        return self._segment

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments on disk."""
        total = 0
        for number in self._segments():
            try:
                total += self._path(number).stat().st_size
            except FileNotFoundError:
                continue
        return total

    def write(self, payload: bytes) -> Position:
        """Hands the frame to the operating system (survives a kill, not yet a power cut); OSError if it refuses."""
        length = len(payload).to_bytes(4, "little")
        frame = _HEADER.pack(len(payload), zlib.crc32(payload, zlib.crc32(length))) + payload
        with self._write_lock:
            begin = self._written.offset_bytes
            try:
                done = 0
                while done < len(frame):
                    done += os.write(self._file, memoryview(frame)[done:])
            except OSError:
                # A partial frame must not stand in front of later, good ones.
                os.ftruncate(self._file, begin)
                os.lseek(self._file, begin, os.SEEK_SET)
                raise
            self._written = Position(self._segment, begin + len(frame))
            return self._written

    def sync(self, position: Position) -> None:
        """Returns when everything up to ``position`` is on disk."""
        if self._synced >= position:
            return
        with self._sync_lock:
            if self._synced >= position:
                return
            # Only `rotate` changes the file, and it holds this lock too.
            target = self._written
            os.fdatasync(self._file)
            self._synced = max(self._synced, target)

    def append(self, payload: bytes) -> None:
        """Stores one payload; it is on disk when this returns. OSError if the disk refuses."""
        self.sync(self.write(payload))

    def replay(self) -> Iterator[bytes]:
        """The payloads of all segments that were there at the opening, oldest first; torn tails are dropped."""
        for number in list(self._earlier):
            yield from _frames(self._path(number))

    def rotate(self) -> int:
        """Starts a new segment and returns the number of the closed one, which is on disk in full."""
        with self._sync_lock:
            fresh = self._open(self._segment + 1)
            with self._write_lock:
                closed, before = self._segment, self._file
                self._file = fresh
                self._segment = closed + 1
                self._written = Position(self._segment, 0)
            # Writers go on meanwhile; who waits for the old segment waits for the lock that is held here.
            try:
                os.fdatasync(before)
            finally:
                os.close(before)
            self._synced = Position(self._segment, 0)
            return closed

    def drop_through(self, segment: int) -> None:
        """Deletes the segments up to and including ``segment`` (never the one being written)."""
        for number in self._segments():
            if number <= segment and number != self._segment:
                self._path(number).unlink(missing_ok=True)
        self._earlier = [n for n in self._earlier if n > segment]

    def close(self) -> None:
        """Puts everything on disk and closes the file."""
        with self._sync_lock, self._write_lock:
            if self._file >= 0:
                os.fdatasync(self._file)
                os.close(self._file)
                self._file = -1

    def _segments(self) -> list[int]:
        names = (path.stem for path in self._directory.glob(f"*{_SUFFIX}"))
        return sorted(int(name) for name in names if name.isdecimal())

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:08d}{_SUFFIX}"

    def _open(self, number: int) -> int:
        file = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # Without this the new name itself may be lost in a power cut.
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return file


def _frames(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while True:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return
            length, checksum = _HEADER.unpack(header)
            # A damaged length must not make us read gigabytes.
            if length > size - file.tell():
                return
            payload = file.read(length)
            if len(payload) < length or zlib.crc32(payload, zlib.crc32(header[:4])) != checksum:
                return
            yield payload
