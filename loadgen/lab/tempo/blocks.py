"""Blocks of traces in S3, in Tempo's key layout: ``<tenant>/<uuid>/{data.parquet,bloom-0,index,meta.json}``.

``data.parquet`` has Tempo's trace-level columns and one of our own, ``TraceProtobuf``, with the whole trace, sorted by
trace id. ``index`` is ours: the sorted ids and the values of resource attributes, so that most blocks need not be
fetched for a query. ``meta.json`` is written last: a block without it does not exist.
"""

from __future__ import annotations

import io
import json
import struct
import threading
import uuid
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import DecodeError

from loadgen.lab.s3.store import BucketStore, StoreError
from loadgen.lab.tempo.trace import Piece, Scopes, TraceView, from_protobuf, to_protobuf

NS = 1_000_000_000
FORMAT = "vParquet4"
# Attributes that Tempo gives columns of their own, unless told otherwise, and says so.
_DEDICATED = ("http.request.method", "url.path", "url.route", "server.address", "http.route")
MAX_INDEXED_VALUES = 200
CACHE_BYTES = 64 * 1024 * 1024
# Measured: a decoded span of the usual size weighs so many times its serialized bytes.
DECODED_WEIGHT = 3

_LENGTH = struct.Struct("<I")


class TempoBlockError(Exception):
    """An object of a block is not what this server writes."""


@dataclass(frozen=True, slots=True)
class Meta:
    """``meta.json`` of a block; times are whole seconds, both inclusive."""

    block_id: str
    tenant: str
    start_s: int
    end_s: int
    traces: int
    size_bytes: int
    footer_bytes: int

    def to_json(self) -> dict[str, Any]:
        """As Tempo writes it."""
        return {
            "format": FORMAT,
            "blockID": self.block_id,
            "tenantID": self.tenant,
            "startTime": _rfc3339(self.start_s),
            "endTime": _rfc3339(self.end_s),
            "totalObjects": self.traces,
            "size": self.size_bytes,
            "compactionLevel": 0,
            "indexPageSize": 0,
            "totalRecords": 1,
            "bloomShards": 1,
            "footerSize": self.footer_bytes,
            "dedicatedColumns": [{"n": name} for name in _DEDICATED],
            "replicationFactor": 1,
        }

    @classmethod
    def from_json(cls, data: Any) -> Meta:
        """Reads what Tempo or `to_json` wrote; raises `TempoBlockError`."""
        try:
            return cls(
                str(data["blockID"]),
                str(data["tenantID"]),
                int(datetime.fromisoformat(data["startTime"]).timestamp()),
                int(datetime.fromisoformat(data["endTime"]).timestamp()),
                int(data["totalObjects"]),
                int(data["size"]),
                int(data.get("footerSize", 0)),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise TempoBlockError(f"meta.json is not a block's: {type(error).__name__} {error}") from None

    def overlaps(self, start_ns: int, end_ns: int) -> bool:
        """Whether a trace in it can lie in the range."""
        return self.start_s * NS <= end_ns and start_ns < (self.end_s + 1) * NS


@dataclass(frozen=True, slots=True)
class Index:
    """Trace ids (16 bytes each, sorted, in one string) and the string values of resource attributes.

    A resource attribute that is missing from ``resources`` occurs nowhere in the block; None means that its values are
    not listed: too many, or not all of them text.
    """

    ids: bytes
    resources: Mapping[str, frozenset[str] | None]

    def row(self, trace_id: bytes) -> int | None:
        """The row of the trace in ``data.parquet``."""
        row = bisect_left(_SpanRows(self.ids), trace_id)
        return row if self.ids[row * 16 : row * 16 + 16] == trace_id else None

    def may_match(self, required: Iterable[tuple[str, str]]) -> bool:
        """False if no trace can have all these resource attributes."""
        for name, value in required:
            values = self.resources.get(name, frozenset())
            if values is not None and value not in values:
                return False
        return True

    def encode(self) -> bytes:
        """The object ``index``."""
        listed = {name: None if values is None else sorted(values) for name, values in self.resources.items()}
        head = json.dumps({"resources": listed}, separators=(",", ":")).encode()
        return _LENGTH.pack(len(head)) + head + self.ids

    @classmethod
    def decode(cls, data: bytes) -> Index:
        """Reads what `encode` wrote; raises `TempoBlockError`."""
        try:
            (length,) = _LENGTH.unpack_from(data)
            listed = json.loads(data[4 : 4 + length])["resources"]
            resources = {name: None if values is None else frozenset(values) for name, values in listed.items()}
        except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TempoBlockError(f"the index is not one of this server: {type(error).__name__}") from None
        return cls(data[4 + length :], resources)


class _SpanRows(Sequence[bytes]):
    def __init__(self, ids: bytes) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids) // 16

    def __getitem__(self, row: Any) -> Any:
        return self._ids[row * 16 : row * 16 + 16]


@dataclass(frozen=True, slots=True)
class Built:
    """A block ready to be written."""

    meta: Meta
    index: Index
    objects: tuple[tuple[str, bytes], ...]
    views: tuple[TraceView, ...]


def build(views: Sequence[TraceView], tenant: str, block_id: str = "") -> Built:
    """Makes the objects of a block, ``meta.json`` last. ``views`` must not be empty."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(views, key=lambda view: view.trace_id)
    block_id = block_id or str(uuid.uuid4())
    schema = pa.schema(
        [
            ("TraceID", pa.binary(16)),
            ("TraceIDText", pa.string()),
            ("StartTimeUnixNano", pa.uint64()),
            ("EndTimeUnixNano", pa.uint64()),
            ("DurationNano", pa.uint64()),
            ("RootServiceName", pa.string()),
            ("RootSpanName", pa.string()),
            ("TraceProtobuf", pa.binary()),
        ]
    )
    columns = [
        [view.trace_id for view in ordered],
        [view.trace_id.hex() for view in ordered],
        [view.start_ns for view in ordered],
        [view.end_ns for view in ordered],
        [view.duration_ns for view in ordered],
        [view.root_service for view in ordered],
        [view.root_name for view in ordered],
        [to_protobuf(view) for view in ordered],
    ]
    table = pa.table([pa.array(c, t) for c, t in zip(columns, schema.types, strict=True)], schema=schema)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", use_dictionary=["RootServiceName", "RootSpanName"])
    data = sink.getvalue()
    index = Index(b"".join(view.trace_id for view in ordered), _resource_values(ordered))
    meta = Meta(
        block_id,
        tenant,
        min(view.start_ns for view in ordered) // NS,
        max(view.end_ns for view in ordered) // NS,
        len(ordered),
        len(data),
        int.from_bytes(data[-8:-4], "little"),
    )
    root = f"{tenant}/{block_id}"
    objects = (
        (f"{root}/data.parquet", data),
        (f"{root}/bloom-0", _bloom(index.ids)),
        (f"{root}/index", index.encode()),
        (f"{root}/meta.json", json.dumps(meta.to_json(), separators=(",", ":")).encode()),
    )
    return Built(meta, index, objects, tuple(ordered))


class Block:
    """A block in S3, known by its meta; index and data are fetched when needed."""

    def __init__(self, meta: Meta, store: BucketStore, index: Index | None = None) -> None:
        self.meta = meta
        self.foreign = False
        self._store = store
        self._index = index
        self._lock = threading.Lock()

    def index(self) -> Index:
        """The index; raises `StoreError` while S3 cannot give it. Empty for a block that another program wrote."""
        if self._index is None:
            with self._lock:
                if self._index is None:
                    try:
                        self._index = Index.decode(self._get("index"))
                    except TempoBlockError:
                        # A real Tempo's block in a shared bucket: not ours to read.
                        self.foreign = True
                        self._index = Index(b"", {})
        return self._index

    def may_match(self, required: Iterable[tuple[str, str]]) -> bool:
        """False if no trace in it has all these resource attributes, or if it is not ours to read. `StoreError`."""
        return self.index().may_match(required) and not self.foreign

    def rows(self) -> list[bytes]:
        """Every trace as protobuf, in the order of the index. Raises `StoreError`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(io.BytesIO(self._get("data.parquet")), columns=["TraceProtobuf"])
            return [value or b"" for value in table.column("TraceProtobuf").to_pylist()]
        except (pa.ArrowException, KeyError) as error:
            raise StoreError(
                f"{self.meta.block_id}/data.parquet cannot be read: {error}; restore the object"
            ) from error

    def _get(self, name: str) -> bytes:
        key = f"{self.meta.tenant}/{self.meta.block_id}/{name}"
        data = self._store.get(key)
        if data is None:
            raise StoreError(f"{key} is missing although its block has a meta.json; restore it or delete the block")
        return data


class LoadedBlock:
    """The traces of one block in memory, decoded one by one when asked for."""

    def __init__(self, ids: bytes, rows: list[bytes], scopes: Scopes, views: Sequence[TraceView] = ()) -> None:
        self._ids = ids
        self._rows = rows
        self._scopes = scopes
        self._views: list[TraceView | None] = list(views) or [None] * len(rows)
        plain = sum(map(len, rows))
        self.weight_bytes = plain + (plain or sum(view.size_bytes for view in views)) * DECODED_WEIGHT

    def view(self, row: int) -> TraceView:
        """The trace in this row; raises `StoreError` if its bytes are broken."""
        view = self._views[row]
        if view is None:
            trace_id = self._ids[row * 16 : row * 16 + 16]
            try:
                piece: Piece = from_protobuf(self._rows[row], self._scopes)
                view = self._views[row] = TraceView(trace_id, [piece])
            except DecodeError as error:
                raise StoreError(f"trace {trace_id.hex()} in its block cannot be read: {error}") from None
        return view

    def views(self) -> list[TraceView]:
        """All traces."""
        return [self.view(row) for row in range(len(self._views))]


class BlockCache:
    """Recently used blocks, bounded by the memory that they take (estimated)."""

    def __init__(self, scopes: Scopes, bound_bytes: int = CACHE_BYTES) -> None:
        self._scopes = scopes
        self._bound_bytes = bound_bytes
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, LoadedBlock] = OrderedDict()

    def put(self, built: Built) -> None:
        """Keeps a block that was just written, with its decoded traces."""
        self._keep(built.meta.block_id, LoadedBlock(built.index.ids, [], self._scopes, built.views))

    def get(self, block: Block) -> LoadedBlock:
        """The block's traces; raises `StoreError` if they must be fetched and cannot."""
        with self._lock:
            loaded = self._loaded.get(block.meta.block_id)
            if loaded is not None:
                self._loaded.move_to_end(block.meta.block_id)
                return loaded
        loaded = LoadedBlock(block.index().ids, block.rows(), self._scopes)
        self._keep(block.meta.block_id, loaded)
        return loaded

    @property
    def weight_bytes(self) -> int:
        """Estimated memory."""
        with self._lock:
            return sum(loaded.weight_bytes for loaded in self._loaded.values())

    def _keep(self, block_id: str, loaded: LoadedBlock) -> None:
        with self._lock:
            self._loaded[block_id] = loaded
            total = sum(one.weight_bytes for one in self._loaded.values())
            while total > self._bound_bytes and len(self._loaded) > 1:
                total -= self._loaded.popitem(last=False)[1].weight_bytes


def _resource_values(views: Iterable[TraceView]) -> dict[str, frozenset[str] | None]:
    values: dict[str, set[str]] = {}
    unlisted: set[str] = set()
    for scope in {span.scope for view in views for span in view.spans}:
        for name, value in scope.resource_attributes.items():
            seen = values.setdefault(name, set())
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, str):
                    seen.add(item)
                else:
                    unlisted.add(name)
    return {
        name: None if name in unlisted or len(seen) > MAX_INDEXED_VALUES else frozenset(seen)
        for name, seen in values.items()
    }


def _bloom(ids: bytes) -> bytes:
    """A bloom filter over the ids (10 bits and 7 probes an id): bits, probes, then the bits themselves.

    Tempo's key layout has one; ids are hashes already, so their two halves serve for double hashing.
    """
    bits = max(64, len(ids) // 16 * 10)
    filled = bytearray(-(-bits // 8))
    for at in range(0, len(ids), 16):
        first, second = struct.unpack_from(">QQ", ids, at)
        for probe in range(7):
            bit = (first + probe * (second | 1)) % bits
            filled[bit >> 3] |= 1 << (bit & 7)
    return struct.pack(">QQ", bits, 7) + bytes(filled)


def _rfc3339(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return "9999-12-31T23:59:59Z"
