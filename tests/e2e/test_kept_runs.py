"""A run leaves its report in S3, its verdicts in Mimir and its time in Grafana, and is read back from S3 later."""

from __future__ import annotations

import base64
import json
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from workplace import Workplace

pytestmark = pytest.mark.e2e
SHORT = Path(__file__).parent / "short.toml"
BUCKET = "loadgen-reports"


def target_file(lab: Workplace, who: str, prefix: str) -> Path:
    """The lab as a target file, with one of its S3 credentials."""
    status = json.loads(lab.run("loadgen", "lab", "status", "--json").stdout)
    key = status["s3"]["credentials"][who]
    grafana = status["grafana"]
    path = lab.path / f"{prefix}.toml"
    path.write_text(f"""
[loki]
url = "{status["loki"]["url"]}"
[tempo]
otlp_http = "{status["otlp_http"]["url"]}"
otlp_grpc = "{status["otlp_grpc"]["url"]}"
[mimir]
url = "{status["mimir"]["url"]}"
[grafana]
url = "{grafana["url"]}"
user = "{grafana["user"]}"
password = "{grafana["password"]}"
[s3]
endpoint = "{status["s3"]["url"]}"
access_key_id = "{key["access_key"]}"
secret_access_key = "{key["secret_key"]}"
reports_url = "s3://{BUCKET}/{prefix}"
""")
    return path


def ask(lab: Workplace, path: str) -> Any:
    """One question to the lab's Grafana."""
    grafana = json.loads(lab.run("loadgen", "lab", "status", "--json").stdout)["grafana"]
    login = base64.b64encode(f"{grafana['user']}:{grafana['password']}".encode()).decode()
    request = urllib.request.Request(grafana["url"] + path, headers={"Authorization": f"Basic {login}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def bucket(lab: Workplace) -> Any:
    s3 = json.loads(lab.run("loadgen", "lab", "status", "--json").stdout)["s3"]
    key = s3["credentials"]["admin"]
    client = boto3.client(
        "s3",
        endpoint_url=s3["url"],
        region_name="us-east-1",
        aws_access_key_id=key["access_key"],
        aws_secret_access_key=key["secret_key"],
    )
    client.create_bucket(Bucket=BUCKET)
    return client


def test_a_run_is_kept_told_and_read_back_from_s3(lab: Workplace, bucket: Any) -> None:
    target = target_file(lab, "admin", "kept")
    profile = lab.path / "told.toml"
    profile.write_text(SHORT.read_text() + "\n[publish]\nmetrics = true\nannotation = true\n")
    done = lab.run("loadgen", "run", "--profile", str(profile), "--target", str(target), "--out", "kept")
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads((lab.path / "kept" / "run.json").read_text())["key"]["run"]
    keys = {item["Key"] for item in bucket.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert {f"kept/{run}/{name}" for name in ("report.html", "summary.md", "junit.xml", "run.json")} <= keys

    mimir = "/api/datasources/proxy/uid/mimir/api/v1/query?query="
    (told,) = ask(lab, mimir + f'loadgen_verdict%7Brun="{run}",check="logs.loss"%7D')["data"]["result"]
    assert (told["metric"]["result"], told["value"][1]) == ("pass", "1")
    marks = ask(lab, "/api/annotations?tags=loadgen")
    assert [mark for mark in marks if run in mark["text"]]

    # What was told about the run stands in Mimir under its name, and must not confuse the reading back.
    place = f"s3://{BUCKET}/kept/{run}"
    again = lab.run("loadgen", "verify", place, "--target", str(target), "--out", "fetched")
    assert again.returncode == 0, again.stdout + again.stderr
    assert (lab.path / "fetched" / "report.html").exists()
    found = {item["Key"] for item in bucket.list_objects_v2(Bucket=BUCKET)["Contents"]} - keys
    assert {key.rpartition("/")[2] for key in found} == {"report.html", "summary.md", "junit.xml", "verdicts.json"}
    assert all(key.startswith(f"kept/{run}/verified-") for key in found)

    young = lab.run("loadgen", "verify", f"s3://{BUCKET}/kept", "--target", str(target))
    assert young.returncode == 2
    assert "none of 1 runs is between 24 h and 30 d old" in young.stderr
    newest = lab.run(
        *("loadgen", "verify", f"s3://{BUCKET}/kept", "--target", str(target), "--older-than", "0s", "--out", "newest")
    )
    assert newest.returncode == 0, newest.stdout + newest.stderr


def test_a_credential_that_may_not_write_leaves_the_outcome_and_a_note(lab: Workplace, bucket: Any) -> None:
    target = target_file(lab, "loadgen", "denied")
    done = lab.run(
        *("loadgen", "run", "--profile", str(SHORT), "--target", str(target), "--out", "denied"),
        COLUMNS="400",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "this credential may not write here" in done.stdout
    assert "secret" not in done.stdout.split("not kept in S3")[1].splitlines()[0]
    assert not bucket.list_objects_v2(Bucket=BUCKET, Prefix="denied/").get("Contents")
