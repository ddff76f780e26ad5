"""Which object store the settings of a server name."""

from __future__ import annotations

from loadgen.lab.s3.localstore import DirectoryStore
from loadgen.lab.s3.objectstore import ObjectStore, Observer
from loadgen.lab.s3.store import BucketStore
from loadgen.lab.settings import ServerSettings


def open_store(settings: ServerSettings, observe: Observer | None = None) -> BucketStore | None:
    """The store that the settings name: S3, a directory (``file:`` endpoint), or None if there is none."""
    if not settings.s3_endpoint:
        return None
    if settings.s3_endpoint.startswith("file:"):
        return DirectoryStore(settings.s3_endpoint.removeprefix("file://").removeprefix("file:"))
    return ObjectStore(settings, observe)
