from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from loadgen.lab.processes import running as proc
from loadgen.lab.s3 import seaweed
from loadgen.lab.state import Credential, LabError

BUCKETS = ("loki-chunks", "tempo-traces", "mimir-blocks")


class S3:
    """A running SeaweedFS and its credentials."""

    def __init__(self, endpoint: str, credentials: tuple[Credential, ...]) -> None:
        self.endpoint = endpoint
        self.credentials = {credential.identity: credential for credential in credentials}

    def client(self, identity: str) -> Any:
        return seaweed.client(self.endpoint, self.credentials[identity])


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    directory = tmp_path_factory.mktemp("s3")
    ports: dict[str, int] = {}
    for name in seaweed.PORT_FLAGS:
        ports[name] = proc.free_port(ports.values())
    credentials = seaweed.new_credentials()
    server = seaweed.Seaweed(seaweed.find_weed(), directory / "data", directory / "s3.json", tuple(ports.items()))
    server.data_dir.mkdir()
    seaweed.write_config(server.config, credentials)
    children = proc.Children()
    children.start(directory, "s3", server.argv(), directory / "log", server.environment())
    try:
        running = S3(f"http://127.0.0.1:{ports['s3']}", credentials)
        seaweed.set_up(running.endpoint, running.credentials["admin"], 30, lambda: None)
        yield running
    finally:
        proc.stop(proc.find(directory), children, 1.0)
        seaweed.remove_sockets(server.argv())
        assert proc.find(directory) == []


def denied(call: Any, **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"] == "AccessDenied"
    return False


def test_set_up_makes_the_buckets_and_can_be_repeated(s3: S3) -> None:
    seaweed.set_up(s3.endpoint, s3.credentials["admin"], 5, lambda: None)
    admin = s3.client("admin")
    assert {row["Name"] for row in admin.list_buckets()["Buckets"]} == set(BUCKETS)
    assert admin.get_bucket_versioning(Bucket="loki-chunks")["Status"] == "Enabled"
    assert "Status" not in admin.get_bucket_versioning(Bucket="mimir-blocks")
    rules = admin.get_bucket_lifecycle_configuration(Bucket="tempo-traces")["Rules"]
    assert [(rule["Status"], rule["Expiration"]) for rule in rules] == [("Enabled", {"Days": 30})]


@pytest.mark.parametrize("component", ["loki", "tempo", "mimir"])
def test_a_component_can_use_its_own_bucket_and_no_other(s3: S3, component: str) -> None:
    client = s3.client(f"{component}-service")
    own = seaweed.BUCKET_OF[component]
    client.put_object(Bucket=own, Key="a/b:c", Body=b"content")
    assert client.get_object(Bucket=own, Key="a/b:c")["Body"].read() == b"content"
    assert "a/b:c" in [row["Key"] for row in client.list_objects_v2(Bucket=own)["Contents"]]
    client.delete_object(Bucket=own, Key="a/b:c")
    for other in set(BUCKETS) - {own}:
        assert denied(client.list_objects_v2, Bucket=other)
        assert denied(client.get_object, Bucket=other, Key="x")
        assert denied(client.put_object, Bucket=other, Key="x", Body=b"")


def test_loadgen_reads_and_lists_all_buckets_but_writes_none(s3: S3) -> None:
    reader = s3.client("loadgen")
    for component, bucket in seaweed.BUCKET_OF.items():
        s3.client(f"{component}-service").put_object(Bucket=bucket, Key="seen", Body=b"1")
        assert "seen" in [row["Key"] for row in reader.list_objects_v2(Bucket=bucket)["Contents"]]
        assert reader.get_object(Bucket=bucket, Key="seen")["Body"].read() == b"1"
        assert denied(reader.put_object, Bucket=bucket, Key="new", Body=b"")
        assert denied(reader.delete_object, Bucket=bucket, Key="seen")


def test_a_wrong_secret_is_refused(s3: S3) -> None:
    right = s3.credentials["loadgen"]
    wrong = seaweed.client(s3.endpoint, Credential("loadgen", right.access_key, "wrong"))
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        wrong.list_objects_v2(Bucket="loki-chunks")


def test_an_s3_that_never_answers_is_an_error(s3: S3) -> None:
    endpoint = f"http://127.0.0.1:{proc.free_port(())}"
    with pytest.raises(LabError, match="stores nothing after"):
        seaweed.set_up(endpoint, s3.credentials["admin"], 0.1, lambda: None)


def test_credentials_are_random_and_the_file_is_private(tmp_path: Path) -> None:
    first, second = seaweed.new_credentials(), seaweed.new_credentials()
    assert [c.identity for c in first] == ["loki-service", "tempo-service", "mimir-service", "loadgen", "admin"]
    assert not {c.secret_key for c in first} & {c.secret_key for c in second}
    seaweed.write_config(tmp_path / "s3.json", first)
    assert (tmp_path / "s3.json").stat().st_mode & 0o077 == 0
    rows = {row["name"]: row["actions"] for row in json.loads((tmp_path / "s3.json").read_text())["identities"]}
    assert rows["tempo-service"] == ["Read:tempo-traces", "Write:tempo-traces", "List:tempo-traces"]
    assert not [action for action in rows["loadgen"] if action.startswith("Write")]
    assert not [c for c in first if c.secret_key in repr(first)]


def test_the_server_reports_to_nobody_and_listens_on_loopback(tmp_path: Path) -> None:
    argv = seaweed.Seaweed(seaweed.find_weed(), tmp_path, tmp_path / "c", (("s3", 1),)).argv()
    assert {"-master.telemetry=false", "-ip.bind=127.0.0.1", "-s3.port=1"} <= set(argv)
