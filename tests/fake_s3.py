"""Buckets in memory behind the methods of a boto3 client that the watcher uses; requests are counted."""

from __future__ import annotations

import io
import json
from bisect import bisect_right, insort
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from loadgen.kinds.metrics.source import Labels
from loadgen.lab.mimir.index import encode_index
from loadgen.model import NS
from loadgen.targets.blocks import ulid_at

BUCKETS = ("loki-chunks", "tempo-traces", "mimir-blocks")


class FakeS3:
    """Lists as S3 does: prefix, delimiter, start-after, pages."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.ahead_ns = 0
        self.most = 1000
        self.dated = True
        self.buckets: dict[str, dict[str, tuple[bytes, int]]] = {name: {} for name in BUCKETS}
        self.fails: dict[str, Exception] = {}
        self.lists: list[tuple[str, str]] = []
        self.gets: list[str] = []
        self._sorted: dict[str, list[str]] = {}

    def clock(self) -> int:
        self.now_ns += 1_000_000
        return self.now_ns

    def put(self, bucket: str, key: str, content: bytes = b"x", age_s: float = 0.0) -> None:
        if bucket in self._sorted and key not in self.buckets[bucket]:
            insort(self._sorted[bucket], key)
        self.buckets[bucket][key] = (content, (self.now_ns + self.ahead_ns) // NS * NS - round(age_s * NS))

    def take(self, bucket: str, key: str) -> bytes:
        """Take an object away; its content."""
        self._sorted.pop(bucket, None)
        return self.buckets[bucket].pop(key)[0]

    def sort(self) -> None:
        """Do now what the first listing would do."""
        self._sorted = {bucket: sorted(objects) for bucket, objects in self.buckets.items()}

    def list_objects_v2(
        self, Bucket: str, Prefix: str = "", Delimiter: str = "", StartAfter: str = "", ContinuationToken: str = ""
    ) -> dict[str, Any]:
        self.lists.append((Bucket, Prefix))
        if f"list {Bucket}" in self.fails:
            raise self.fails[f"list {Bucket}"]
        if Bucket not in self._sorted:
            self.sort()
        keys = self._sorted[Bucket]
        after = ContinuationToken or max(StartAfter, Prefix[:-1] + chr(ord(Prefix[-1]) - 1) + "\x7f" if Prefix else "")
        place = bisect_right(keys, after)
        rows: list[str] = []
        contents, prefixes = [], []
        while place < len(keys) and keys[place].startswith(Prefix) and len(rows) < self.most:
            key = keys[place]
            cut = key.find(Delimiter, len(Prefix)) if Delimiter else -1
            if cut >= 0:
                prefixes.append({"Prefix": key[: cut + 1]})
                rows.append(key[: cut + 1] + "\x7f")
                place = bisect_right(keys, rows[-1])
            else:
                content, modified_ns = self.buckets[Bucket][key]
                modified = datetime.fromtimestamp(modified_ns / NS, UTC)
                contents.append({"Key": key, "Size": len(content), "LastModified": modified})
                rows.append(key)
                place += 1
        more = place < len(keys) and keys[place].startswith(Prefix)
        date = format_datetime(datetime.fromtimestamp((self.now_ns + self.ahead_ns) // NS, UTC), usegmt=True)
        return {
            "ResponseMetadata": {"HTTPHeaders": {"date": date} if self.dated else {}},
            "KeyCount": len(rows),
            "Contents": contents,
            "CommonPrefixes": prefixes,
            "IsTruncated": more,
            **({"NextContinuationToken": rows[-1]} if more else {}),
        }

    def get_object(self, Bucket: str, Key: str, Range: str = "") -> dict[str, Any]:
        self.gets.append(Key)
        for name in (f"get {Key}", f"get {Bucket}"):
            if name in self.fails:
                raise self.fails[name]
        content = self.buckets[Bucket][Key][0]
        if Range:
            first, last = Range.removeprefix("bytes=").split("-")
            content = content[int(first) : int(last) + 1]
        return {"Body": io.BytesIO(content)}


def put_mimir_block(
    s3: FakeS3,
    series: Sequence[Labels],
    from_s: float,
    to_s: float,
    made_s: float = 0.0,
    level: int = 1,
    age_s: float = 0.0,
    **compaction: Any,
) -> str:
    """A block of these series, made so many seconds ago with data of these seconds since the epoch; its prefix."""
    ulid = ulid_at((s3.now_ns - round((made_s + age_s) * NS)) // 1_000_000) + f"{len(s3.buckets['mimir-blocks']):016d}"
    meta = {
        "ulid": ulid,
        "minTime": round(from_s * 1000),
        "maxTime": round(to_s * 1000),
        "stats": {"numSamples": 7},
        "compaction": {"level": level, "sources": [ulid], **compaction},
    }
    for name, content in (("index", encode_index(series, b"")), ("meta.json", json.dumps(meta).encode())):
        s3.put("mimir-blocks", f"anonymous/{ulid}/{name}", content, age_s)
    return f"anonymous/{ulid}"


def put_tempo_block(
    s3: FakeS3, uuid: str, ids: list[bytes], from_s: float, to_s: float, level: int = 0, age_s: float = 0.0
) -> str:
    """A block with these trace ids; its prefix."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"TraceID": pa.array(ids, pa.binary(16))}), sink)
    times = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}" for at in (from_s, to_s))
    meta = {**dict(zip(("startTime", "endTime"), times, strict=True)), "totalObjects": 3, "compactionLevel": level}
    for name, content in (("data.parquet", sink.getvalue()), ("meta.json", json.dumps(meta).encode())):
        s3.put("tempo-traces", f"single-tenant/{uuid}/{name}", content, age_s)
    return f"single-tenant/{uuid}"
