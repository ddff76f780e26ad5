"""Runs kept in S3: a pod leaves its report where it can be got, and another reads the run back days later.

A run lies at ``s3://bucket/prefix/<run>/``, its files as in the run directory. It is written once; what a later
verification finds goes beside it, under ``verified-<time>/``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen.config import ConfigError, S3Target
from loadgen.history.directory import RunDir, RunDirError, write_atomically
from loadgen.model import NS
from loadgen.targets.failures import s3_errors
from loadgen.targets.s3 import explain_s3, list_page, s3_client
from loadgen.units import duration_text

SCHEME = "s3://"
OUTCOME_FILES = ("report.html", "summary.md", "junit.xml", "verdicts.json")
_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,62})((?:/[A-Za-z0-9._=-]+)*)/?")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_RUN_TIME = re.compile(r"(\d{8}-\d{6})-[0-9a-f]+")
_TYPES = {".html": "text/html; charset=utf-8", ".md": "text/markdown; charset=utf-8", ".xml": "application/xml"}
_TYPES |= {".json": "application/json", ".log": "text/plain; charset=utf-8"}
_TIMEOUT_S = 60.0
_MAY_NOT_WRITE = (
    "this credential may not write here; give it Write on this bucket (and List and Read, to verify runs later), "
    "or name another place in s3.reports_url"
)


class ArchiveError(Exception):
    """A run cannot be kept or got; the text says where, why and what to do. No secret is in it."""


@dataclass(frozen=True, slots=True)
class ArchivePlace:
    """A folder in a bucket; ``prefix`` is empty or ends with a slash."""

    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """As people write it."""
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part of the prefix."""
        return self.prefix.rstrip("/").rpartition("/")[2]

    def below(self, name: str) -> ArchivePlace:
        """A folder in this one."""
        return ArchivePlace(self.bucket, f"{self.prefix}{name}/")


def place_of(url: str, what: str = "s3.reports_url") -> ArchivePlace:
    """The place that a URL names; ConfigError when it is none."""
    match = _PLACE.fullmatch(url)
    if match is None or ".." in url:
        raise ConfigError(f"{what}: {url!r} is no place in S3; write it like s3://bucket/prefix")
    return ArchivePlace(match[1], match[2].lstrip("/") + "/" if match[2] else "")


class Archive:
    """Reads and writes runs in S3 with the credential of a target.

    Raises:
        ConfigError: the target does not say where S3 is, or the file with the secret key cannot be read.
    """

    def __init__(self, s3: S3Target, client: Any = None) -> None:
        if not s3.endpoint:
            raise ConfigError("the target has no [s3] endpoint; without it nothing can be kept in S3 or got from there")
        self._s3 = s3
        try:
            self._client = client or s3_client(s3, _TIMEOUT_S)
        except ValueError as problem:
            raise ConfigError(explain_s3(problem, s3, "")) from problem

    def keep(self, at: ArchivePlace, files: Sequence[Path]) -> None:
        """Write files of a run; ``run.json`` comes last, so that a run that can be seen is whole."""
        for path in sorted(files, key=lambda path: (path.name == "run.json", path.name)):
            key = at.prefix + path.name
            kind = _TYPES.get(path.suffix, "application/octet-stream")
            try:
                body = path.open("rb")
            except OSError as problem:
                raise ArchiveError(f"{path}: cannot be read ({problem.strerror})") from problem
            with body:
                try:
                    self._client.put_object(Bucket=at.bucket, Key=key, Body=body, ContentType=kind)
                except s3_errors() as problem:
                    raise ArchiveError(explain_s3(problem, self._s3, at.bucket, key, _MAY_NOT_WRITE)) from problem

    def holds_run(self, at: ArchivePlace) -> bool:
        """Whether a place is a run, not a folder of runs."""
        return any(name == "run.json" for name, _ in self._list(at))

    def runs(self, at: ArchivePlace) -> tuple[str, ...]:
        """Names of the runs in a folder, oldest first."""
        return tuple(sorted(name for name, folder in self._list(at) if folder and _RUN_TIME.fullmatch(name)))

    def get(self, at: ArchivePlace, out: Path) -> RunDir:
        """A run's files, copied to a folder that has none yet; RunDirError when that cannot be written."""
        names = [name for name, folder in self._list(at) if not folder and _FILE.fullmatch(name)]
        if "run.json" not in names:
            raise ArchiveError(f"{at.url}: no run here (run.json is missing); `verify` takes a run or a folder of runs")
        if (out / "run.json").exists():
            raise RunDirError(f"{out}: already holds a run; verify that one, or choose another folder with --out")
        for name in sorted(names, key=lambda name: (name == "run.json", name)):
            try:
                body = self._client.get_object(Bucket=at.bucket, Key=at.prefix + name)["Body"].read()
            except s3_errors() as problem:
                raise ArchiveError(explain_s3(problem, self._s3, at.bucket, at.prefix + name)) from problem
            write_atomically(out / name, body)
        return RunDir.open(out)

    def _list(self, at: ArchivePlace) -> Iterator[tuple[str, bool]]:
        """Names directly below a place, and whether each is a folder."""
        more: dict[str, Any] = {}
        while True:
            try:
                page = list_page(self._client, at.bucket, Prefix=at.prefix, Delimiter="/", **more)
            except s3_errors() as problem:
                raise ArchiveError(explain_s3(problem, self._s3, at.bucket, at.prefix)) from problem
            for folder in page.get("CommonPrefixes", ()):
                yield str(folder["Prefix"])[len(at.prefix) :].rstrip("/"), True
            for listed in page.get("Contents", ()):
                yield str(listed["Key"])[len(at.prefix) :], False
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}


def choose(runs: Sequence[str], now_ns: int, older_s: float, younger_s: float) -> str:
    """The newest run whose age lies between two bounds; ArchiveError when there is none."""
    for name in sorted(runs, reverse=True):
        match = _RUN_TIME.fullmatch(name)
        if match is None:
            continue
        began = dt.datetime.strptime(match[1], "%Y%m%d-%H%M%S").replace(tzinfo=dt.UTC)
        age_s = now_ns / NS - began.timestamp()
        if older_s <= age_s <= younger_s:
            return name
    raise ArchiveError(
        f"none of {len(runs)} runs is between {duration_text(older_s)} and {duration_text(younger_s)} old; "
        "wait, or say otherwise with --older-than and --younger-than"
    )


def fetch_run(
    url: str, s3: S3Target, out: Path | None, now_ns: int, ages_s: tuple[float, float]
) -> tuple[Path, ArchivePlace]:
    """The local copy of a run in S3, and where it came from.

    Args:
        url: a run, or a folder of runs, of which the newest is taken whose age lies between ``ages_s``.
        s3: with a credential that may list and read there.
        out: where to copy it to; by default below ``reports/``.
        now_ns: epoch nanoseconds.
        ages_s: lowest and highest age.

    Raises:
        ArchiveError, ConfigError, RunDirError: there is no such run, or it cannot be got.
    """
    archive, at = Archive(s3), place_of(url, "RUN")
    if not archive.holds_run(at):
        at = at.below(choose(archive.runs(at), now_ns, *ages_s))
    return archive.get(at, out or Path("reports") / at.name).path, at


def keep_run(run: RunDir, s3: S3Target) -> str:
    """Keep a whole run where the target says; gives its URL.

    Raises:
        ArchiveError, ConfigError: it is not (wholly) there.
    """
    at = place_of(s3.reports_url).below(run.info().key.run)
    Archive(s3).keep(at, run.files())
    return at.url


def keep_verification(run: RunDir, s3: S3Target, at: ArchivePlace, now_ns: int) -> str:
    """Keep what a verification found beside the run at ``at``; gives its URL.

    Raises:
        ArchiveError, ConfigError: it is not (wholly) there.
    """
    moment = dt.datetime.fromtimestamp(now_ns // NS, dt.UTC)
    beside = at.below(f"verified-{moment:%Y%m%d-%H%M%S}")
    Archive(s3).keep(beside, [path for path in run.files() if path.name in OUTCOME_FILES])
    return beside.url
