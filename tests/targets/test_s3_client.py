"""The S3 client: what the target says and nothing from the environment, in the ways that real S3s ask for."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from scripted import Reply, Request, scripted

from loadgen.config import S3Target
from loadgen.targets.s3 import explain_s3, list_page, s3_client
from loadgen.targets.s3_way import style_of

LISTING = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name></ListBucketResult>'
XML = {"Content-Type": "application/xml"}
FOREIGN = {
    "AWS_PROFILE": "homelab",
    "AWS_DEFAULT_PROFILE": "homelab",
    "AWS_CONFIG_FILE": "/nowhere/at/all",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/at/all",
    "AWS_ACCESS_KEY_ID": "FOREIGNKEY",
    "AWS_SECRET_ACCESS_KEY": "foreign",
    "AWS_SESSION_TOKEN": "foreign",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_REGION": "foreign-1",
    "AWS_DEFAULT_REGION": "foreign-1",
    "AWS_CA_BUNDLE": "/nowhere/at/all",
    "REQUESTS_CA_BUNDLE": "/nowhere/at/all",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_supported",
    "AWS_MAX_ATTEMPTS": "many",
    "AWS_RETRY_MODE": "foreign",
    "AWS_DATA_PATH": "/nowhere/at/all",
    "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES": "0",
}


def target(url: str, **more: Any) -> S3Target:
    keys = {"access_key_id": "OURKEY", "secret_access_key": "ours"}
    return S3Target.model_validate({"endpoint": url, **keys, **more})


def refusal(url: str, call: Any = None, **more: Any) -> str:
    s3 = target(url, **more)
    with pytest.raises(Exception, match=".") as caught:
        (call or (lambda client: list_page(client, "b")))(s3_client(s3, 5.0, attempts=1))
    return explain_s3(caught.value, s3, "b")


@pytest.mark.parametrize("broken_files", [False, True], ids=["no files", "files of others"])
def test_nothing_of_the_environment_has_a_part(
    broken_files: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".aws").mkdir()
    if broken_files:
        (tmp_path / ".aws" / "config").write_text("[profile [broken\n")
        (tmp_path / ".aws" / "credentials").write_text("[default]\naws_session_token = foreign\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in FOREIGN.items():
        if not broken_files or not name.endswith("_FILE"):
            monkeypatch.setenv(name, value)
    with scripted(Reply(200, LISTING, XML)) as server:
        client = s3_client(target(server.url), 5.0, attempts=1)
        list_page(client, "b")
        client.put_object(Bucket="b", Key="k", Body=b"content")
    for request in server.requests:
        assert re.search(r"Credential=OURKEY/\d+/us-east-1/s3/", request.headers["Authorization"])
        assert not [name for name in request.headers if "checksum" in name.lower() or "token" in name.lower()]


def test_without_keys_none_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FOREIGNKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "foreign")
    with scripted(Reply(200, LISTING, XML)) as server:
        told = refusal(server.url, access_key_id="", secret_access_key="")
    assert "set access_key_id and secret_access_key" in told and server.requests == []


def test_a_session_token_is_sent() -> None:
    with scripted(Reply(200, LISTING, XML)) as server:
        list_page(s3_client(target(server.url, session_token="temporary-example"), 5.0), "b")
    sent = {name.lower(): value for name, value in server.requests[0].headers.items()}
    assert sent["x-amz-security-token"] == "temporary-example"


def error(status: int, code: str, more: str = "") -> Reply:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message>{more}</Error>"
    return Reply(status, body.encode(), XML)


def test_the_region_that_s3_names_is_taken() -> None:
    def answer(request: Request) -> Reply:
        if "/garage/s3/" in request.headers["Authorization"]:
            return Reply(200, LISTING, XML)
        return error(400, "AuthorizationHeaderMalformed", "<Region>garage</Region>")

    with scripted(answer=answer) as server:
        assert list_page(s3_client(target(server.url), 5.0), "b")["Name"] == "b"


@pytest.mark.parametrize(
    ("reply", "advice"),
    [
        (error(400, "AuthorizationHeaderMalformed"), "set the region of this S3 in [s3] region"),
        (error(400, "AuthorizationHeaderMalformed", "<Region>garage</Region>"), 'set region = "garage" in [s3]'),
        (error(403, "SecondLevelDomainForbidden"), 'set addressing_style = "virtual"'),
        (error(403, "InvalidAccessKeyId"), "session_token if it is a temporary one"),
        (error(400, "ExpiredToken"), "get a new one"),
        (
            error(403, "RequestTimeTooSkewed", "<RequestTime>A</RequestTime><ServerTime>B</ServerTime>"),
            "S3 refuses requests of another time",
        ),
        (error(403, "RequestTimeTooSkewed"), "set both clocks by NTP"),
    ],
)
def test_refusals_say_what_to_set(reply: Reply, advice: str) -> None:
    with scripted(reply) as server:
        assert advice in refusal(server.url)


def test_secrets_that_s3_repeats_are_not_shown() -> None:
    reply = error(403, "Forbidden", "").body.replace(b"no<", b"key ours-example token temporary-example header h1234<")
    settings = {
        "secret_access_key": "ours-example",
        "session_token": "temporary-example",
        "headers": {"X-Key": "h1234"},
    }
    with scripted(Reply(403, reply, XML)) as server:
        told = refusal(server.url, **settings)
    assert not [secret for secret in ("ours-example", "temporary-example", "h1234") if secret in told] and "***" in told


def test_virtual_addresses_have_the_bucket_in_front() -> None:
    with scripted(Reply(200, LISTING, XML)) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        list_page(s3_client(target(url, addressing_style="virtual"), 5.0), "b-1")
        list_page(s3_client(target(url), 5.0), "b-1")
    hosts = [(request.headers["Host"].partition(":")[0], request.path.partition("?")[0]) for request in server.requests]
    assert hosts == [("b-1.localhost", "/"), ("localhost", "/b-1")]


@pytest.mark.parametrize(
    ("endpoint", "style"),
    [
        ("https://s3.home.test", "path"),
        ("http://10.0.0.5:9000", "path"),
        ("https://s3.eu-central-1.amazonaws.com", "virtual"),
        ("https://oss-cn-hangzhou.aliyuncs.com", "virtual"),
    ],
)
def test_the_style_of_addresses_follows_the_endpoint(endpoint: str, style: str) -> None:
    assert style_of(target(endpoint)) == {"addressing_style": style}
    assert style_of(target(endpoint, addressing_style="path")) == {"addressing_style": "path"}


def test_objects_are_read_as_they_are_stored() -> None:
    packed = gzip.compress(b"content")
    with scripted(Reply(200, packed, {"Content-Encoding": "gzip"})) as server:
        assert s3_client(target(server.url), 5.0).get_object(Bucket="b", Key="k")["Body"].read() == packed
