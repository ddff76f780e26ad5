"""Watches the three buckets while a run goes on: which objects with telemetry appear, and when.

Each new object is stored once, as a `StoredObject`, with what it holds. An object's LastModified is the S3 server's
clock in whole seconds, so that clock is compared with ours by the Date headers of the answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from loadgen.config import ConfigError, S3Target
from loadgen.model import NS, Component, StackSample, StoredObject
from loadgen.rundir import RunDir, RunDirError
from loadgen.targets.blocks import (
    BlockError,
    Content,
    is_mimir_meta,
    is_tempo_meta,
    loki_chunk,
    mimir_block,
    tempo_block,
    trace_ids,
)
from loadgen.targets.s3 import explain_s3, list_page, s3_client

WATCHED = (Component.LOKI, Component.TEMPO, Component.MIMIR)
# LastModified is in whole seconds, and clocks differ a little: what seems this much too old is still looked at.
_GRACE_NS = 5 * NS
_TRIES = 3
_STORE_EVERY_NS = 5 * NS
_MAX_PROBLEMS = 20
_DETAIL_CHARS = 300
_NOT_SET = "no [s3] endpoint is set in the target, so nobody can tell when data is in S3"


@dataclass(slots=True)
class _Clock:
    """How far the server's clock is ahead of ours: each answer narrows it down.

    A Date header has whole seconds, so the server's time at the answer was in [date, date + 1 s), and ours between
    sending and receiving.
    """

    low_ns: int | None = None
    high_ns: int | None = None

    def note(self, date_ns: int, sent_ns: int, done_ns: int) -> None:
        low, high = date_ns - done_ns, date_ns + NS - sent_ns
        if self.low_ns is None or self.high_ns is None or low > self.high_ns or high < self.low_ns:
            # The first answer, or a clock was set: begin anew.
            self.low_ns, self.high_ns = low, high
            return
        self.low_ns, self.high_ns = max(self.low_ns, low), min(self.high_ns, high)

    @property
    def ahead_ns(self) -> int:
        """0 as long as equal clocks explain all answers."""
        if self.low_ns is None or self.high_ns is None or self.low_ns <= 0 <= self.high_ns:
            return 0
        return (self.low_ns + self.high_ns) // 2


@dataclass(slots=True)
class _Bucket:
    """What is known of one bucket."""

    component: Component
    name: str
    seen: set[str] = field(default_factory=set)
    tries: dict[str, int] = field(default_factory=dict)
    last_listing_ns: int = 0


@dataclass(frozen=True, slots=True)
class _Listed:
    key: str
    size_bytes: int
    modified_ns: int


class S3Watcher:
    """Lists the buckets of a target again and again, in a thread of its own. Never raises for what S3 does.

    Args:
        s3: where the buckets are, with a credential that may list and read. Without an endpoint nothing is watched.
        run: where the rows go.
        clock: epoch nanoseconds.
        began_ns: objects last modified before this are left alone.
        client: makes the S3 client; for tests.
    """

    def __init__(
        self,
        s3: S3Target,
        run: RunDir,
        clock: Callable[[], int],
        began_ns: int = 0,
        client: Callable[[S3Target], Any] = s3_client,
    ) -> None:
        self._s3 = s3
        self._run = run
        self._clock = clock
        self._began_ns = began_ns
        self._make_client = client
        self._client: Any = None
        self._buckets = [_Bucket(component, s3.bucket(component)) for component in WATCHED]
        self._server = _Clock()
        self._problems: dict[str, int] = {}
        self._objects: list[StoredObject] = []
        self._looks: list[StackSample] = []
        self._stored_ns = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._known = False

    @property
    def last_listing_ns(self) -> dict[str, int]:
        """By bucket, when its last complete listing began; 0 if there was none."""
        return {bucket.name: bucket.last_listing_ns for bucket in self._buckets}

    @property
    def clock_difference_ns(self) -> int:
        """How far the S3 server's clock is ahead of ours."""
        return self._server.ahead_ns

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong, each kind once, with how often."""
        with self._lock:
            return tuple(f"{text} ({times} times)" if times > 1 else text for text, times in self._problems.items())

    def start(self) -> None:
        """Begin to watch."""
        if not self._s3.endpoint:
            self._problem(_NOT_SET)
        elif self._thread is None:
            self._over.clear()
            self._thread = threading.Thread(target=self._watch, name="s3watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Look once more, end the thread and store what was seen."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._over.set()
        thread.join(timeout=30)
        if not thread.is_alive():
            self.poll_once()

    def poll_once(self) -> None:
        """List all buckets once, and store what is new."""
        if not self._s3.endpoint:
            self._problem(_NOT_SET)
            return
        with self._lock:
            self._poll()
            self._store(force=True)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._over.is_set():
            began_s = time.monotonic()
            with self._lock:
                self._poll()
                self._store(force=False)
            took_s = time.monotonic() - began_s
            # A bucket with very many objects must not be listed all the time.
            self._over.wait(max(self._s3.poll - took_s, took_s))

    def _poll(self) -> None:
        if self._client is None:
            try:
                self._client = self._make_client(self._s3)
            except ConfigError as problem:
                self._problem(str(problem))
                return
            except Exception as problem:  # botocore's errors have no common base class
                self._problem(explain_s3(problem, self._s3, ""))
                return
        if not self._known:
            self._recall()
        for bucket in self._buckets:
            if self._over.is_set() and self._thread is not None:
                return
            self._look(bucket)

    def _recall(self) -> None:
        """Objects that an earlier watcher of the same run stored are not stored again."""
        self._known = True
        earlier, _ = self._run.rows("objects")
        for bucket in self._buckets:
            bucket.seen.update(earlier[earlier["bucket"] == bucket.name]["key"])

    def _look(self, bucket: _Bucket) -> None:
        began_ns = self._clock()
        count = 0
        fresh: list[_Listed] = []
        sizes: dict[str, int] = {}
        try:
            for listed in self._list(bucket.name):
                count += 1
                if listed.modified_ns - self._server.ahead_ns < self._began_ns - _GRACE_NS:
                    continue
                if listed.key.endswith("/data.parquet"):
                    sizes[listed.key] = listed.size_bytes
                elif listed.key not in bucket.seen and _holds_telemetry(bucket.component, listed.key):
                    fresh.append(listed)
        except Exception as problem:  # whatever goes wrong with one listing, the watching goes on
            self._problem(explain_s3(problem, self._s3, bucket.name))
            return
        # What a block holds is read after the listing, which tells when it was there.
        seen_ns = self._clock()
        for listed in fresh:
            self._take(bucket, listed, seen_ns, sizes)
        bucket.last_listing_ns = began_ns
        labels = f"component={bucket.component},bucket={bucket.name}"
        self._looks.append(StackSample(Component.S3.value, "last_listing", labels, began_ns, float(count)))

    def _list(self, bucket: str) -> Iterator[_Listed]:
        token: dict[str, str] = {}
        while True:
            sent_ns = self._clock()
            page = list_page(self._client, bucket, **token)
            self._compare_clock(page, sent_ns, self._clock())
            for item in page.get("Contents", ()):
                modified: datetime = item["LastModified"]
                yield _Listed(str(item["Key"]), int(item["Size"]), round(modified.timestamp() * 1e6) * 1000)
            if not page.get("IsTruncated"):
                return
            following = page.get("NextContinuationToken")
            if not following:
                raise BlockError("the listing says that there is more, but not where; it is incomplete")
            token = {"ContinuationToken": str(following)}

    def _compare_clock(self, page: dict[str, Any], sent_ns: int, done_ns: int) -> None:
        date = page.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if not date:
            return
        try:
            date_ns = int(parsedate_to_datetime(str(date)).timestamp()) * NS
        except (ValueError, TypeError, OverflowError):
            return
        self._server.note(date_ns, sent_ns, done_ns)

    def _take(self, bucket: _Bucket, listed: _Listed, seen_ns: int, sizes: dict[str, int]) -> None:
        """Store one new object; one that cannot be read yet is tried again at the next listings."""
        detail = ""
        content = Content()
        try:
            content = self._content(bucket, listed, sizes)
        except Exception as problem:  # an object that cannot be read must not end the watching
            said = str(problem) if isinstance(problem, BlockError) else ""
            detail = said or explain_s3(problem, self._s3, bucket.name, listed.key)
            bucket.tries[listed.key] = bucket.tries.get(listed.key, 0) + 1
            if bucket.tries[listed.key] < _TRIES:
                return
            self._problem(f"{bucket.name}/{listed.key}: {said}" if said else detail)
        bucket.seen.add(listed.key)
        bucket.tries.pop(listed.key, None)
        self._objects.append(
            StoredObject(
                component=bucket.component.value,
                bucket=bucket.name,
                key=listed.key,
                size_bytes=sizes.get(_data_key(listed.key), listed.size_bytes),
                modified_ns=listed.modified_ns - self._server.ahead_ns,
                first_seen_ns=seen_ns,
                stream=content.stream,
                from_ns=content.from_ns,
                through_ns=content.through_ns,
                items=content.items,
                ids=content.ids,
                detail=detail[:_DETAIL_CHARS],
            )
        )

    def _content(self, bucket: _Bucket, listed: _Listed, sizes: dict[str, int]) -> Content:
        if bucket.component is Component.LOKI:
            return loki_chunk(listed.key) or Content()
        meta = self._read(bucket.name, listed.key)
        if bucket.component is Component.MIMIR:
            return mimir_block(meta)
        data = _data_key(listed.key)
        if data not in sizes:
            raise BlockError("there is a meta.json without a data.parquet beside it")
        ids = trace_ids(sizes[data], lambda offset, length: self._read(bucket.name, data, offset, length))
        return tempo_block(meta, ids)

    def _read(self, bucket: str, key: str, offset: int = 0, length: int = 0) -> bytes:
        part = {"Range": f"bytes={offset}-{offset + length - 1}"} if length else {}
        body = self._client.get_object(Bucket=bucket, Key=key, **part)["Body"]
        try:
            content: bytes = body.read()
            return content
        finally:
            body.close()

    def _problem(self, text: str) -> None:
        if text in self._problems or len(self._problems) < _MAX_PROBLEMS:
            self._problems[text] = self._problems.get(text, 0) + 1

    def _store(self, force: bool) -> None:
        """Hand rows to the run: objects at once, because others wait for them, the rest now and then."""
        now_ns = self._clock()
        try:
            if self._objects:
                self._run.append(self._objects)
                self._objects = []
            if self._looks and (force or now_ns - self._stored_ns >= _STORE_EVERY_NS):
                self._run.append(self._looks)
                self._looks, self._stored_ns = [], now_ns
        except RunDirError as problem:
            # The rows are kept for the next attempt.
            self._problem(str(problem))


def _holds_telemetry(component: Component, key: str) -> bool:
    if component is Component.LOKI:
        return loki_chunk(key) is not None
    return is_tempo_meta(key) if component is Component.TEMPO else is_mimir_meta(key)


def _data_key(key: str) -> str:
    return key.removesuffix("meta.json") + "data.parquet" if key.endswith("/meta.json") else ""
