"""Requests to one bucket: pages of its listing, parts of its objects, and what they tell of the server's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

from loadgen.model import NS
from loadgen.targets.blocks import BlockError
from loadgen.targets.s3 import list_page


@dataclass(slots=True)
class ServerClock:
    """How far the server's clock is ahead of ours: each answer narrows it down.

    A Date header has whole seconds, so the server's time at the answer was in [date, date + 1 s), and ours between
    sending and receiving.
    """

    low_ns: int = 0
    high_ns: int = 0
    compared: bool = False

    def note(self, date_ns: int, sent_ns: int, done_ns: int) -> None:
        """An answer to a request of ours, sent and received at these times, was dated so."""
        low, high = date_ns - done_ns, date_ns + NS - sent_ns
        if not self.compared or low > self.high_ns or high < self.low_ns:
            # The first answer, or a clock was set: begin anew.
            self.low_ns, self.high_ns, self.compared = low, high, True
            return
        self.low_ns, self.high_ns = max(self.low_ns, low), min(self.high_ns, high)

    @property
    def ahead_ns(self) -> int:
        """0 as long as equal clocks explain all answers."""
        if self.low_ns <= 0 <= self.high_ns:
            return 0
        return (self.low_ns + self.high_ns) // 2


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a listing; LastModified as the server gives it."""

    key: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing. ``token`` asks for the next one; empty at the end."""

    objects: tuple[Listed, ...]
    prefixes: tuple[str, ...]
    token: str

    @property
    def rows(self) -> int:
        """Objects and prefixes."""
        return len(self.objects) + len(self.prefixes)


class Asking:
    """One bucket of a target. Every method raises what boto3 raises, `NotAListing` and `BlockError`.

    Args:
        client: a boto3 client.
        bucket: its name.
        clock: epoch nanoseconds.
        server: learns from every page.
    """

    def __init__(self, client: Any, bucket: str, clock: Callable[[], int], server: ServerClock) -> None:
        self._client = client
        self._clock = clock
        self.bucket = bucket
        self.server = server

    def page(self, prefix: str, after: str = "", delimiter: str = "", token: str = "") -> Page:
        """One page of what begins with ``prefix`` and sorts after ``after``.

        With a delimiter, keys that have it after the prefix are told once, up to it, in ``prefixes``.
        """
        wanted = {"Prefix": prefix, "Delimiter": delimiter, "ContinuationToken": token}
        if not token:
            wanted["StartAfter"] = after
        sent_ns = self._clock()
        raw = list_page(self._client, self.bucket, **{name: value for name, value in wanted.items() if value})
        self._compare_clock(raw, sent_ns, self._clock())
        following = str(raw.get("NextContinuationToken") or "") if raw.get("IsTruncated") else ""
        if raw.get("IsTruncated") and not following:
            raise BlockError("the listing says that there is more, but not where; it is incomplete")
        if token and following == token:
            raise BlockError("the listing goes on where it is already; it is incomplete")
        objects = tuple(_listed(item) for item in raw.get("Contents") or ())
        prefixes = [_plain(str(item.get("Prefix", ""))) for item in raw.get("CommonPrefixes") or ()]
        if delimiter and any(delimiter in one.key[len(prefix) :] for one in objects):
            # This S3 does not know delimiters.
            deep = [one.key for one in objects if delimiter in one.key[len(prefix) :]]
            prefixes += [prefix + key[len(prefix) :].partition(delimiter)[0] + delimiter for key in deep]
            objects = tuple(one for one in objects if delimiter not in one.key[len(prefix) :])
        return Page(objects, tuple(dict.fromkeys(prefixes)), following)

    def pages(self, prefix: str, after: str = "", delimiter: str = "") -> Iterator[Page]:
        """All pages, one request each."""
        page = self.page(prefix, after, delimiter)
        yield page
        while page.token:
            page = self.page(prefix, after, delimiter, page.token)
            yield page

    def read(self, key: str, offset: int = 0, length: int = 0) -> bytes:
        """An object's content, or a part of it."""
        part = {"Range": f"bytes={offset}-{offset + length - 1}"} if length else {}
        body = self._client.get_object(Bucket=self.bucket, Key=key, **part)["Body"]
        try:
            content: bytes = body.read()
            # Some servers know no ranges and give the whole.
            return content[offset : offset + length] if length and len(content) > length else content
        finally:
            body.close()

    def _compare_clock(self, raw: dict[str, Any], sent_ns: int, done_ns: int) -> None:
        date = raw.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if not date:
            return
        try:
            date_ns = int(parsedate_to_datetime(str(date)).timestamp()) * NS
        except (ValueError, TypeError, OverflowError):
            return
        self.server.note(date_ns, sent_ns, done_ns)


def _listed(item: dict[str, Any]) -> Listed:
    try:
        modified: datetime = item["LastModified"]
        return Listed(_plain(str(item["Key"])), int(item["Size"]), round(modified.timestamp() * 1e6) * 1000)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as problem:
        raise BlockError(f"a row of the listing has no usable key, size and time ({problem!r})") from problem


def _plain(key: str) -> str:
    """A key as it is: some servers encode it, as boto3 asks, and do not say so, so that boto3 does not decode it."""
    return unquote(key) if "%3A" in key or "%2F" in key else key
