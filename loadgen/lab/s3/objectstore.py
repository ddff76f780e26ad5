"""Objects in S3, with one typed error: the servers must live on while S3 is away.

All methods block: call them from a thread (``await asyncio.to_thread(store.put, …)``), never on the event loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import SecretStr

from loadgen.lab.s3.store import ObjectInfo, StoreError
from loadgen.lab.settings import ServerSettings

Observer = Callable[[str, str, float, int], None]
"""Told of each request: operation (``S3.PutObject``, …), status code as text, seconds, bytes that it carried to S3."""


class ObjectStore:
    """One bucket of an S3 server, by boto3. Thread-safe; the client is made at the first use: it takes long."""

    def __init__(self, settings: ServerSettings, observe: Observer | None = None) -> None:
        self._settings = settings
        self._observe = observe
        self._lock = threading.Lock()
        self._made: Any = None

    def put(self, key: str, data: bytes) -> None:
        def store(s3: Any) -> Any:
            return s3.put_object(Bucket=self._settings.s3_bucket, Key=key, Body=data)

        self._call("S3.PutObject", store, key, len(data))

    def get(self, key: str) -> bytes | None:
        def fetch(s3: Any) -> bytes:
            body: bytes = s3.get_object(Bucket=self._settings.s3_bucket, Key=key)["Body"].read()
            return body

        try:
            content: bytes = self._call("S3.GetObject", fetch, key)
            return content
        except _Missing:
            return None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        token = ""
        while True:
            more = {"ContinuationToken": token} if token else {}

            def page(s3: Any, more: dict[str, str] = more) -> Any:
                return s3.list_objects_v2(Bucket=self._settings.s3_bucket, Prefix=prefix, **more)

            answer = self._call("S3.List", page, prefix)
            for row in answer.get("Contents", ()):
                yield ObjectInfo(row["Key"], row["Size"], int(row["LastModified"].timestamp() * 1000) * 1_000_000)
            token = answer.get("NextContinuationToken", "") if answer.get("IsTruncated") else ""
            if not token:
                return

    def delete(self, key: str) -> None:
        self._call("S3.DeleteObject", lambda s3: s3.delete_object(Bucket=self._settings.s3_bucket, Key=key), key)

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                from loadgen.config import S3Target
                from loadgen.targets.s3 import s3_client

                settings = self._settings
                target = S3Target(
                    endpoint=settings.s3_endpoint,
                    access_key_id=settings.s3_access_key,
                    secret_access_key=SecretStr(settings.s3_secret_key),
                    proxy="none",
                )
                self._made = s3_client(target, timeout_s=20.0, connections=16, attempts=3, lean=True)
            return self._made

    def _call(self, operation: str, action: Callable[[Any], Any], key: str, size_bytes: int = 0) -> Any:
        began = time.perf_counter()
        status = "200"
        try:
            return action(self._client())
        except Exception as error:
            # boto3 raises its own, urllib3's and socket errors alike; a server only needs to know "not now".
            response: dict[str, Any] = getattr(error, "response", None) or {}
            code = str(response.get("Error", {}).get("Code", ""))
            status = str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            if operation == "S3.GetObject" and code in {"NoSuchKey", "404", "NotFound"}:
                raise _Missing(key) from error
            where = f"{self._settings.s3_endpoint} bucket {self._settings.s3_bucket}"
            text = f"{operation} {key} at {where}: {code or type(error).__name__}: {error}"
            raise StoreError(f"{text}; check that S3 runs and that the credentials may use this bucket") from error
        finally:
            if self._observe is not None:
                self._observe(operation, status, time.perf_counter() - began, size_bytes if status == "200" else 0)


class _Missing(Exception):
    """No object with this key."""
