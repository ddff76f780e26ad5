"""The embedded Mimir's side of the bucket: which blocks there are, uploading them, and reading them back, cached."""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from loadgen.lab.mimir.blocks import (
    BlockData,
    BlockMeta,
    MimirBlockError,
    PreparedBlock,
    StoredBlock,
    decode,
    is_ulid,
    meta_json,
    read_meta,
)
from loadgen.lab.s3.store import BucketStore, StoreError

_LOG = logging.getLogger("loadgen.lab.mimir")
_READERS = 8

Register = Callable[[StoredBlock], BlockData]
"""Turns a block's label bytes into series numbers."""


class BlockBucket:
    """The blocks of one tenant. Thread-safe; all methods but `blocks` may take as long as S3 takes."""

    def __init__(self, store: BucketStore, tenant: str, register: Register, cache_bytes: int = 128 << 20) -> None:
        self._store = store
        self._tenant = tenant
        self._register = register
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._listing = threading.Lock()
        self._blocks: dict[str, BlockMeta] | None = None
        self._cache: OrderedDict[str, BlockData] = OrderedDict()
        self._cached_bytes = 0

    @property
    def count(self) -> int:
        """Blocks known so far."""
        with self._lock:
            return len(self._blocks or ())

    def blocks(self) -> list[BlockMeta]:
        """All blocks, oldest first. They are looked up once, at the first call that reaches S3.

        Raises:
            StoreError: S3 could not tell.
        """
        with self._lock:
            if self._blocks is not None:
                return list(self._blocks.values())
        with self._listing:
            if not self._known():
                found = self._from_index()
                if found is None:
                    found = self._from_listing()
                with self._lock:
                    self._blocks = {block.ulid: block for block in sorted(found, key=lambda block: block.ulid)}
        with self._lock:
            return list((self._blocks or {}).values())

    def _known(self) -> bool:
        with self._lock:
            return self._blocks is not None

    def upload(self, blocks: Sequence[PreparedBlock]) -> None:
        """Puts blocks into the bucket, ``meta.json`` last: a block without it does not count. Uploading again is safe.

        They are not known to `blocks` before `publish`.

        Raises:
            StoreError: not all of them are there.
        """
        self.blocks()
        for block in blocks:
            prefix = f"{self._tenant}/{block.meta.ulid}"
            self._store.put(f"{prefix}/chunks/000001", block.chunks)
            self._store.put(f"{prefix}/index", block.index)
            self._store.put(f"{prefix}/meta.json", meta_json(block))
        with self._lock:
            known = list((self._blocks or {}).values())
        self._write_index([*known, *(block.meta for block in blocks)])

    def publish(self, blocks: Sequence[PreparedBlock]) -> None:
        """Makes uploaded blocks known, and keeps their content in the cache."""
        with self._lock:
            for block in blocks:
                if self._blocks is not None:
                    self._blocks[block.meta.ulid] = block.meta
                self._keep(block.meta.ulid, block.data)

    def read(self, blocks: Sequence[BlockMeta]) -> list[BlockData]:
        """The contents of blocks.

        Raises:
            StoreError: S3 could not give one.
        """
        with self._lock:
            found = {block.ulid: self._cache[block.ulid] for block in blocks if block.ulid in self._cache}
            for ulid in found:
                self._cache.move_to_end(ulid)
        missing = [block for block in blocks if block.ulid not in found]
        if len(missing) == 1:
            found[missing[0].ulid] = self._fetch(missing[0])
        elif missing:
            with ThreadPoolExecutor(_READERS, "mimir-blocks") as pool:
                for block, data in zip(missing, pool.map(self._fetch, missing), strict=True):
                    found[block.ulid] = data
        return [found[block.ulid] for block in blocks]

    def _fetch(self, block: BlockMeta) -> BlockData:
        prefix = f"{self._tenant}/{block.ulid}"
        index, chunks = self._store.get(f"{prefix}/index"), self._store.get(f"{prefix}/chunks/000001")
        if index is None or chunks is None:
            raise StoreError(f"{prefix}: the block's objects are gone from the bucket; restore them")
        try:
            data = self._register(decode(block.ulid, index, chunks))
        except MimirBlockError as error:
            # Somebody else's block must not make every query fail.
            _LOG.warning("%s", error)
            data = BlockData(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))
        with self._lock:
            self._keep(block.ulid, data)
        return data

    def _keep(self, ulid: str, data: BlockData) -> None:
        old = self._cache.pop(ulid, None)
        self._cached_bytes += data.size_bytes - (0 if old is None else old.size_bytes)
        self._cache[ulid] = data
        while self._cached_bytes > self._cache_bytes and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= dropped.size_bytes

    @property
    def _index_key(self) -> str:
        return f"{self._tenant}/bucket-index.json.gz"

    def _write_index(self, blocks: Iterable[BlockMeta]) -> None:
        content = {
            "version": 2,
            "blocks": [
                {
                    "block_id": block.ulid,
                    "min_time": block.min_ms,
                    "max_time": block.end_ms,
                    "segments_format": "1b6d",
                    "segments_num": 1,
                    "uploaded_at": block.uploaded_s,
                    "source": "receive",
                    "compaction_level": 1,
                }
                for block in blocks
            ],
            "block_deletion_marks": [],
            "updated_at": int(time.time()),
        }
        self._store.put(self._index_key, gzip.compress(json.dumps(content).encode(), 1))

    def _from_index(self) -> list[BlockMeta] | None:
        content = self._store.get(self._index_key)
        if content is None:
            return None
        try:
            rows = json.loads(gzip.decompress(content))["blocks"]
            return [
                BlockMeta(str(row["block_id"]), int(row["min_time"]), int(row["max_time"]), int(row["uploaded_at"]))
                for row in rows
            ]
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            _LOG.warning("%s cannot be read (%s): listing the blocks instead", self._index_key, error)
            return None

    def _from_listing(self) -> list[BlockMeta]:
        found: list[BlockMeta] = []
        for info in self._store.list(f"{self._tenant}/"):
            parts = info.key.split("/")
            if len(parts) == 3 and parts[2] == "meta.json" and is_ulid(parts[1]):
                content = self._store.get(info.key)
                meta = None if content is None else read_meta(content, info.modified_ns // 1_000_000_000)
                if meta is not None and meta.ulid == parts[1]:
                    found.append(meta)
        return found
