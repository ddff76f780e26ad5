"""``loadgen check`` against a running stack: all that applies passes, and each thing broken on purpose is found."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from workplace import Workplace

from loadgen.acceptance.checks import judge
from loadgen.acceptance.gather import gather
from loadgen.config import S3Login, Target
from loadgen.lab.processes import native
from loadgen.lab.processes import planning as plan
from loadgen.lab.processes.manager import Lab
from loadgen.lab.s3 import seaweed
from loadgen.lab.state import LabState
from loadgen.lab.target import lab_target
from loadgen.model import Result, Verdict

pytestmark = pytest.mark.e2e
PROMETHEUS = shutil.which("prometheus") is not None


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab.open(tmp_path_factory.mktemp("check") / "lab")
    try:
        lab.up(engines={"prometheus": "native"} if PROMETHEUS else {})
        yield lab
    finally:
        lab.wipe()


def state_of(lab: Lab) -> LabState:
    state = lab.state
    assert state is not None
    return state


def checked(
    lab: Lab, change: Callable[[Target], Target] = lambda target: target, wait_s: float = 0
) -> dict[str, Verdict]:
    target = change(lab_target(state_of(lab)))
    found = gather(target, lambda _text: None, create_dashboard=True, s3_wait_s=wait_s)
    return {one.check: one for one in judge(found)}


def failed(found: dict[str, Verdict]) -> set[str]:
    return {name for name, one in found.items() if one.result is Result.FAIL}


def admin(lab: Lab) -> Any:
    state = state_of(lab)
    return seaweed.client(state.url("s3"), state.credential(seaweed.ADMIN))


def test_everything_that_applies_to_the_local_stack_passes(lab: Lab) -> None:
    found = checked(lab, wait_s=40)
    if PROMETHEUS:
        # Two scrapes that are old enough to be compared.
        give_up_s = time.monotonic() + 150
        while found["prometheus.parity"].result is Result.UNKNOWN and time.monotonic() < give_up_s:
            time.sleep(5)
            found = checked(lab)
    results = {name: one.result for name, one in found.items()}
    skipped = {name for name, result in results.items() if result is Result.SKIPPED}
    without = set() if PROMETHEUS else {"prometheus.remote_write", "prometheus.parity"}
    assert skipped == {"s3.tls", "k8s.pods", "k8s.helmreleases", "k8s.secrets", "k8s.logs", "mimir.history"} | without
    assert {name for name, result in results.items() if result is not Result.PASS} == skipped


def test_versioning_that_was_turned_off_is_found(lab: Lab) -> None:
    s3 = admin(lab)
    s3.put_bucket_versioning(Bucket="loki-chunks", VersioningConfiguration={"Status": "Suspended"})
    try:
        assert failed(checked(lab)) == {"s3.versioning"}
    finally:
        s3.put_bucket_versioning(Bucket="loki-chunks", VersioningConfiguration={"Status": "Enabled"})


def test_a_lifecycle_rule_that_was_removed_is_found(lab: Lab) -> None:
    s3 = admin(lab)
    rules = s3.get_bucket_lifecycle_configuration(Bucket="tempo-traces")["Rules"]
    s3.delete_bucket_lifecycle(Bucket="tempo-traces")
    try:
        assert failed(checked(lab)) == {"s3.lifecycle"}
    finally:
        s3.put_bucket_lifecycle_configuration(Bucket="tempo-traces", LifecycleConfiguration={"Rules": rules})


def test_a_credential_that_may_read_another_bucket_is_found(lab: Lab) -> None:
    powerful = state_of(lab).credential(seaweed.ADMIN)
    login = S3Login.model_validate({"access_key_id": powerful.access_key, "secret_access_key": powerful.secret_key})

    def with_too_much(target: Target) -> Target:
        return target.model_copy(update={"s3": target.s3.model_copy(update={"loki": login})})

    found = checked(lab, with_too_much)
    assert failed(found) == {"s3.isolation"}
    assert any("loki's credential may write in mimir-blocks" in text for text in found["s3.isolation"].evidence)
    # What was tried is removed again.
    assert admin(lab).list_objects_v2(Bucket="mimir-blocks", Prefix="loadgen-check/").get("KeyCount", 0) == 0


def test_a_wrong_secret_key_is_found_and_not_shown(lab: Lab) -> None:
    login = S3Login.model_validate({"access_key_id": "LGNOBODY", "secret_access_key": "not-the-secret-of-anybody"})

    def with_stranger(target: Target) -> Target:
        return target.model_copy(update={"s3": target.s3.model_copy(update={"tempo": login})})

    found = checked(lab, with_stranger)
    assert "s3.buckets" in failed(found)
    assert "not-the-secret-of-anybody" not in str(found)


def test_a_data_source_with_a_wrong_url_is_found(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    right = plan._datasources

    def wrong(state: LabState) -> Any:
        loki, *others = right(state)
        return (type(loki)(loki.uid, loki.type, loki.name, "http://127.0.0.1:9", loki.json_data), *others)

    lab.kill("grafana")
    with monkeypatch.context() as patched:
        patched.setattr(plan, "_datasources", wrong)
        lab.start("grafana")
    try:
        found = checked(lab)
        assert failed(found) == {"grafana.loki"}
        assert found["loki.accepts"].result is Result.UNKNOWN
        assert found["grafana.dashboard"].result is Result.UNKNOWN
    finally:
        lab.kill("grafana")
        lab.start("grafana")


@pytest.mark.skipif(not PROMETHEUS, reason="there is no prometheus on PATH")
def test_a_prometheus_that_cannot_write_is_found(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    right = native.addresses

    def wrong(state: LabState) -> dict[str, str]:
        # Something answers there, but not as Mimir does: what it refuses is lost for good.
        return {**right(state), "LAB_MIMIR": right(state)["LAB_LOKI"]}

    lab.kill("prometheus")
    with monkeypatch.context() as patched:
        patched.setattr(native, "addresses", wrong)
        lab.start("prometheus")
    try:
        give_up_s = time.monotonic() + 60
        found = checked(lab)
        while "prometheus.remote_write" not in failed(found) and time.monotonic() < give_up_s:
            time.sleep(2)
            found = checked(lab)
        assert "lost" in found["prometheus.remote_write"].measured
    finally:
        lab.kill("prometheus")
        lab.start("prometheus")


def test_a_bucket_that_was_deleted_is_found(lab: Lab) -> None:
    s3 = admin(lab)
    for row in s3.list_objects_v2(Bucket="mimir-blocks").get("Contents", ()):
        s3.delete_object(Bucket="mimir-blocks", Key=row["Key"])
    s3.delete_bucket(Bucket="mimir-blocks")
    try:
        assert "s3.buckets" in failed(checked(lab))
    finally:
        s3.create_bucket(Bucket="mimir-blocks")


def test_a_component_that_is_away_is_found(lab: Lab) -> None:
    lab.kill("tempo")
    try:
        found = checked(lab)
        assert {"tempo.accepts", "grafana.tempo"} <= failed(found)
        assert found["loki.accepts"].result is Result.PASS
    finally:
        lab.start("tempo")


def test_the_command_writes_its_report_and_ends_with_the_outcome(lab: Lab, tmp_path: Path) -> None:
    place = Workplace(tmp_path, {**_environment(), "LOADGEN_LAB_DIR": str(lab.directory), "COLUMNS": "160"})
    done = place.run("loadgen", "check", "--out", "report", "--create-dashboard", "--s3-wait", "30s")
    outcome = json.loads((tmp_path / "report" / "verdicts.json").read_text())["outcome"]
    assert done.returncode == {"pass": 0, "fail": 1, "unknown": 2}[outcome], done.stdout + done.stderr
    assert {path.name for path in (tmp_path / "report").iterdir()} >= {"report.html", "summary.md", "junit.xml"}
    secrets = [credential.secret_key for credential in state_of(lab).credentials]
    for path in (tmp_path / "report").iterdir():
        assert not any(secret in path.read_text() for secret in secrets)


def test_a_target_that_cannot_be_reached_is_unknown_and_not_broken(tmp_path: Path) -> None:
    (tmp_path / "away.toml").write_text(
        '[loki]\nurl = "http://127.0.0.1:9"\n[grafana]\nurl = "http://127.0.0.1:9"\n'
        '[s3]\nendpoint = "http://127.0.0.1:9"\naccess_key_id = "x"\nsecret_access_key = "y"\n'
    )
    place = Workplace(tmp_path, _environment())
    done = place.run("loadgen", "check", "--target", "away.toml", "--s3-wait", "0s")
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 1  # the push to Loki is refused, and that is Loki's promise
    assert "connection refused" in done.stdout


def _environment() -> dict[str, str]:
    import os

    from workplace import REPOSITORY

    env = {name: value for name, value in os.environ.items() if not name.startswith("LOADGEN_")}
    return {**env, "PYTHONPATH": str(REPOSITORY)}
