"""Runs in S3: kept whole, found by age, got back, and every refusal told in words without the secret."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from fake_stack import small_plan

from loadgen.config import ConfigError, S3Target, Target, parse_target
from loadgen.history import archive
from loadgen.history.archive import Archive, ArchiveError, ArchivePlace, choose, keep_run, keep_verification, place_of
from loadgen.history.directory import RunDir, RunDirError
from loadgen.history.naming import new_info
from loadgen.model import NS, Result

AT = ArchivePlace("loadgen-reports", "homelab/")
NOW_NS = 1_790_000_000 * NS  # 2026-09-21 14:13 UTC


class FakeS3:
    """One bucket in memory behind the methods of a boto3 client that the archive uses."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.page = 1000
        self.refuses = ""

    def _refuse(self, operation: str) -> None:
        if self.refuses == operation:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied."}}, operation)

    def put_object(self, Bucket: str, Key: str, Body: Any, ContentType: str) -> None:
        self._refuse("put")
        self.objects[Key], self.types[Key] = Body.read(), ContentType

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        self._refuse("get")
        return {"Body": io.BytesIO(self.objects[Key])}

    def list_objects_v2(self, Bucket: str, Prefix: str, Delimiter: str, **more: Any) -> dict[str, Any]:
        self._refuse("list")
        rest = [key[len(Prefix) :] for key in sorted(self.objects) if key.startswith(Prefix)]
        names = list(dict.fromkeys(name.split("/")[0] + ("/" if "/" in name else "") for name in rest))
        start = int(more.get("ContinuationToken", 0))
        page = names[start : start + self.page]
        return {
            "Name": Bucket,
            "CommonPrefixes": [{"Prefix": Prefix + name} for name in page if name.endswith("/")],
            "Contents": [{"Key": Prefix + name} for name in page if not name.endswith("/")],
            "IsTruncated": start + self.page < len(names),
            "NextContinuationToken": str(start + self.page),
        }


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    fake = FakeS3()
    monkeypatch.setattr(archive, "s3_client", lambda *_: fake)
    return fake


def target() -> S3Target:
    raw = {
        "endpoint": "https://s3.example.com",
        "access_key_id": "loadgen",
        "secret_access_key": "hunter2",
        "reports_url": AT.url,
    }
    return parse_target({"s3": raw}, "test", env={}).s3


def stored_run(path: Path) -> RunDir:
    plan = small_plan()
    run = RunDir.create(path, new_info(plan.key, plan.profile, Target(), "lab"))
    run.write_verdicts((), Result.UNKNOWN)
    for name in ("report.html", "summary.md", "junit.xml", "receipts.parquet"):
        (path / name).write_text(name)
    (path / ".half-written").write_text("x")
    return run


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://reports", ArchivePlace("reports", "")),
        ("s3://reports/", ArchivePlace("reports", "")),
        ("s3://reports/home/lab/", ArchivePlace("reports", "home/lab/")),
    ],
)
def test_a_place_is_a_bucket_and_a_prefix(url: str, place: ArchivePlace) -> None:
    assert place_of(url) == place
    assert place.url == url.rstrip("/")


@pytest.mark.parametrize("url", ["reports", "s3://", "https://s3.example.com/reports", "s3://a/b", "s3://reports/../x"])
def test_what_is_no_place_is_a_mistake_in_the_configuration(url: str) -> None:
    with pytest.raises(ConfigError, match="write it like s3://bucket/prefix"):
        place_of(url)


def test_a_run_is_kept_whole_and_its_name_comes_last(s3: FakeS3, tmp_path: Path) -> None:
    run = stored_run(tmp_path / "run")
    assert keep_run(run, target()) == "s3://loadgen-reports/homelab/run1"
    names = [key.removeprefix("homelab/run1/") for key in s3.objects]
    assert names[-1] == "run.json"
    assert set(names) == {
        *("report.html", "summary.md", "junit.xml", "verdicts.json", "receipts.parquet", "run.json"),
    }
    assert s3.types["homelab/run1/report.html"].startswith("text/html")


def test_a_run_comes_back_as_it_was(s3: FakeS3, tmp_path: Path) -> None:
    run = stored_run(tmp_path / "run")
    keep_run(run, target())
    s3.page = 2
    back = Archive(target()).get(AT.below("run1"), tmp_path / "back")
    assert back.info() == run.info()
    assert {path.name: path.read_bytes() for path in back.files()} == {
        path.name: path.read_bytes() for path in run.files()
    }


def test_what_a_later_verification_found_lies_beside_the_run(s3: FakeS3, tmp_path: Path) -> None:
    run = stored_run(tmp_path / "run")
    keep_run(run, target())
    before = dict(s3.objects)
    url = keep_verification(run, target(), AT.below("run1"), NOW_NS)
    assert url == "s3://loadgen-reports/homelab/run1/verified-20260921-141320"
    assert {key for key in s3.objects if key not in before} == {
        f"homelab/run1/verified-20260921-141320/{name}" for name in archive.OUTCOME_FILES
    }
    assert {key: s3.objects[key] for key in before} == before
    # The verification is no file of the run, nor a run.
    assert "verified" not in str(Archive(target()).get(AT.below("run1"), tmp_path / "back").files())


def test_keys_that_lead_elsewhere_are_not_followed(s3: FakeS3, tmp_path: Path) -> None:
    keep_run(stored_run(tmp_path / "run"), target())
    s3.objects["homelab/run1/..%2Fx"] = s3.objects["homelab/run1/.bashrc"] = b"x"
    s3.objects["homelab/run1/..\\x"] = b"x"
    back = Archive(target()).get(AT.below("run1"), tmp_path / "back")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"x"} <= {
        ".half-written"
    }
    assert back.info().key.run == "run1"


def test_a_folder_of_runs_is_told_from_a_run(s3: FakeS3, tmp_path: Path) -> None:
    keep_run(stored_run(tmp_path / "run"), target())
    s3.objects["homelab/20260920-120000-ab12/run.json"] = s3.objects["homelab/notes/x"] = b"{}"
    reader = Archive(target())
    assert reader.holds_run(AT.below("run1"))
    assert not reader.holds_run(AT)
    assert reader.runs(AT) == ("20260920-120000-ab12",)


def test_the_newest_run_that_is_old_enough_is_chosen() -> None:
    runs = ["20260921-120000-ab12", "20260920-120000-ab12", "20260918-120000-ab12", "20260801-120000-ab12", "other"]
    day = 86_400.0
    assert choose(runs, NOW_NS, day, 30 * day) == "20260920-120000-ab12"
    assert choose(runs, NOW_NS, 2 * day, 30 * day) == "20260918-120000-ab12"
    with pytest.raises(ArchiveError, match=r"none of 5 runs is between 4 d and 30 d old"):
        choose(runs, NOW_NS, 4 * day, 30 * day)


def test_a_refused_write_says_what_is_missing_and_no_secret(s3: FakeS3, tmp_path: Path) -> None:
    s3.refuses = "put"
    with pytest.raises(ArchiveError) as refused:
        keep_run(stored_run(tmp_path / "run"), target())
    assert "may not write here" in str(refused.value)
    assert "s3.reports_url" in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("operation", ["list", "get"])
def test_a_refused_read_is_told_too(s3: FakeS3, tmp_path: Path, operation: str) -> None:
    keep_run(stored_run(tmp_path / "run"), target())
    s3.refuses = operation
    with pytest.raises(ArchiveError, match="may not list or read here"):
        Archive(target()).get(AT.below("run1"), tmp_path / "back")


def test_a_place_without_a_run_and_a_folder_with_one_are_refused(s3: FakeS3, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no run here"):
        Archive(target()).get(AT.below("nobody"), tmp_path / "back")
    keep_run(stored_run(tmp_path / "run"), target())
    with pytest.raises(RunDirError, match="already holds a run"):
        Archive(target()).get(AT.below("run1"), tmp_path / "run")


def test_without_an_endpoint_nothing_can_be_kept() -> None:
    with pytest.raises(ConfigError, match="no \\[s3\\] endpoint"):
        Archive(S3Target(reports_url=AT.url))
