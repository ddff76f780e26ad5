"""How S3s of different makes answer, and what `loadgen check` makes of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from loadgen.acceptance.checks import judge
from loadgen.acceptance.facts import Deployment, Told
from loadgen.acceptance.probes import s3 as probes
from loadgen.config import parse_target
from loadgen.mistakes import REPORT_IT
from loadgen.model import Component, Result, Verdict

LOGINS = {name: {"access_key_id": name, "secret_access_key": "x"} for name in ("loki", "tempo", "mimir")}
OWN = {"loki": "loki-chunks", "tempo": "tempo-traces", "mimir": "mimir-blocks"}
FP, MODIFIED = "0123456789abcdef", datetime(2026, 12, 1, tzinfo=UTC)
CHUNK = f"{FP}/1a206faee4e:1a206faee4f:8e1020f4"


def refused(code: str, status: int, message: str = "no") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "X")


class Bucketeer:
    """An S3 with three buckets, in which each credential may use its own, behind the methods of a boto3 client."""

    def __init__(self, who: str, keys: dict[str, list[str]], rules: dict[str, Callable[[str, str], Any]]) -> None:
        self.who, self.keys, self.rules = who, keys, rules

    def _ask(self, what: str, bucket: str, otherwise: Any) -> Any:
        if what in self.rules:
            told = self.rules[what](self.who, bucket)
            if isinstance(told, Exception):
                raise told
            if told is not None:
                return told
        if self.who != "reader" and what in ("list", "get", "put", "delete") and OWN[self.who] != bucket:
            raise refused("AccessDenied", 403)
        return otherwise() if callable(otherwise) else otherwise

    def list_objects_v2(
        self, Bucket: str, Prefix: str = "", Delimiter: str = "", MaxKeys: int = 0, **_: Any
    ) -> dict[str, Any]:
        keys = [key for key in self.keys.get(Bucket, []) if key.startswith(Prefix)]
        deep = {f"{Prefix}{key[len(Prefix) :].split('/')[0]}/" for key in keys if "/" in key[len(Prefix) :]}
        plain = [key for key in keys if not Delimiter or "/" not in key[len(Prefix) :]]
        contents = [{"Key": key, "Size": 1, "LastModified": MODIFIED} for key in plain]
        prefixes = [{"Prefix": one} for one in sorted(deep)] if Delimiter else []
        page = {"Name": Bucket, "KeyCount": len(keys), "Contents": contents, "CommonPrefixes": prefixes}
        told: dict[str, Any] = self._ask("list", Bucket, page)
        return told

    def get_object(self, Bucket: str, Key: str, Range: str = "") -> dict[str, Any]:
        there = Key in self.keys.get(Bucket, [])

        def found() -> dict[str, Any]:
            if not there:
                raise refused("NoSuchKey", 404)
            return {"Body": io.BytesIO(b"x")}

        told: dict[str, Any] = self._ask("get", Bucket, found)
        return told

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> Any:
        return self._ask("put", Bucket, {})

    def delete_object(self, Bucket: str, Key: str) -> Any:
        return self._ask("delete", Bucket, {})

    def get_bucket_versioning(self, Bucket: str) -> Any:
        return self._ask("versioning", Bucket, {"Status": "Enabled"})

    def get_bucket_lifecycle_configuration(self, Bucket: str) -> Any:
        days = {"Status": "Enabled", "Expiration": {"Days": 30}, "NoncurrentVersionExpiration": {"NoncurrentDays": 7}}
        return self._ask("lifecycle", Bucket, {"Rules": [days]})

    def get_object_lock_configuration(self, Bucket: str) -> Any:
        return self._ask("lock", Bucket, {"ObjectLockConfiguration": {}})


KEYS = {"loki-chunks": [f"fake/{CHUNK}"], "tempo-traces": ["single-tenant/x"], "mimir-blocks": ["anonymous/x"]}


def verdicts(
    monkeypatch: pytest.MonkeyPatch,
    rules: dict[str, Callable[[str, str], Any]] | None = None,
    keys: dict[str, list[str]] | None = None,
    **s3: Any,
) -> dict[str, Verdict]:
    there = {**KEYS, **(keys or {})}
    monkeypatch.setattr(probes, "s3_client", lambda login, *_: Bucketeer(login.access_key_id, there, rules or {}))
    raw = {"endpoint": "http://s3", "access_key_id": "reader", "secret_access_key": "x", **LOGINS, **s3}
    target = parse_target({"s3": raw}, "test", env={})
    found = Deployment(
        "x", 1, probes.ask_buckets(target), Told(target.s3.endpoint), isolation=probes.ask_isolation(target)
    )
    return {verdict.check: verdict for verdict in judge(found)}


def always(problem: Any) -> Callable[[str, str], Any]:
    return lambda _who, _bucket: problem


def test_a_plain_s3_keeps_all_its_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verdicts(monkeypatch)
    for name in ("s3.buckets", "s3.versioning", "s3.lifecycle", "s3.object_lock", "s3.isolation", "loki.s3_prefix"):
        assert found[name].result is Result.PASS, found[name]


@pytest.mark.parametrize(
    "problem",
    [
        refused("NotImplemented", 501),
        refused("NotImplemented", 400),
        refused("MethodNotAllowed", 405),
        refused("ObjectLockConfigurationNotFoundError", 404),
        refused("NoSuchObjectLockConfiguration", 404),
        refused("InvalidRequest", 400, "object lock is not supported"),
        refused("501", 501),
    ],
)
def test_an_s3_without_object_lock_has_it_off(monkeypatch: pytest.MonkeyPatch, problem: ClientError) -> None:
    assert verdicts(monkeypatch, {"lock": always(problem)})["s3.object_lock"].result is Result.PASS


@pytest.mark.parametrize("problem", [refused("AccessDenied", 403), refused("NoSuchBucket", 404), refused("Slow", 503)])
def test_what_is_refused_is_not_off(monkeypatch: pytest.MonkeyPatch, problem: ClientError) -> None:
    rules = dict.fromkeys(("lock", "versioning", "lifecycle"), always(problem))
    found = verdicts(monkeypatch, rules)
    for name in ("s3.object_lock", "s3.versioning", "s3.lifecycle"):
        assert found[name].result is Result.UNKNOWN


@pytest.mark.parametrize("problem", [refused("NotImplemented", 501), refused("MethodNotAllowed", 405)])
def test_versioning_and_lifecycle_that_an_s3_does_not_know_cannot_be_promised(
    monkeypatch: pytest.MonkeyPatch, problem: ClientError
) -> None:
    found = verdicts(monkeypatch, {"versioning": always(problem), "lifecycle": always(problem)})
    for name in ("s3.versioning", "s3.lifecycle"):
        assert found[name].result is Result.FAIL and "not implemented" in found[name].measured
        assert "this S3 cannot" in found[name].remedy and "aws s3api" not in found[name].remedy


def test_a_component_that_may_not_read_settings_is_asked_about_with_the_readers_credential(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def settings(who: str, _bucket: str) -> Any:
        return None if who == "reader" else refused("AccessDenied", 403)

    found = verdicts(monkeypatch, {"versioning": settings, "lock": settings, "lifecycle": settings})
    assert {found[name].result for name in ("s3.versioning", "s3.lifecycle", "s3.object_lock")} == {Result.PASS}


def test_a_mistake_of_ours_in_one_question_is_told_as_ours_and_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verdicts(monkeypatch, {"versioning": lambda *_: [][3]})
    assert found["s3.versioning"].result is Result.UNKNOWN
    assert "IndexError" in found["s3.versioning"].evidence[0] and REPORT_IT in found["s3.versioning"].evidence[0]
    assert found["s3.object_lock"].result is Result.PASS


# -- who may do what -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["AccessDenied", "AccessForbidden", "403", "Unauthorized", "NoSuchBucket"])
def test_every_way_to_say_denied_counts_as_denied(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    def rule(who: str, bucket: str) -> Any:
        return None if who == "reader" or OWN[who] == bucket else refused(code, 404 if code == "NoSuchBucket" else 403)

    found = verdicts(monkeypatch, dict.fromkeys(("list", "get", "put"), rule))["s3.isolation"]
    assert (found.result, found.measured) == (Result.PASS, "18 of 18 denied")


@pytest.mark.parametrize("code", ["SecondLevelDomainForbidden", "InvalidAccessKeyId", "RequestTimeTooSkewed", "Odd"])
def test_a_refusal_of_the_request_itself_denies_nothing(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    rules = dict.fromkeys(("list", "get", "put"), always(refused(code, 403)))
    assert verdicts(monkeypatch, rules)["s3.isolation"].result is Result.UNKNOWN


def test_a_bucket_that_is_not_there_for_anybody_denies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = dict.fromkeys(("list", "get", "put"), always(refused("NoSuchBucket", 404)))
    assert verdicts(monkeypatch, rules)["s3.isolation"].result is Result.UNKNOWN


def test_who_may_write_but_not_delete_was_let(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verdicts(monkeypatch, {"put": always({}), "delete": always(refused("AccessDenied", 403))})["s3.isolation"]
    assert found.result is Result.FAIL and found.measured == "6 of 18 were let"


def test_who_may_read_what_is_there_but_not_list_was_let(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 hides from those who may not list whether a key is there: it must be one that is."""

    class Hiding(Bucketeer):
        def get_object(self, Bucket: str, Key: str, Range: str = "") -> dict[str, Any]:
            if Key in self.keys[Bucket]:
                return {"Body": io.BytesIO(b"x")}
            raise refused("AccessDenied", 403)

    monkeypatch.setattr(probes, "s3_client", lambda login, *_: Hiding(login.access_key_id, KEYS, {}))
    target = parse_target({"s3": {"endpoint": "http://s3", "access_key_id": "reader", **LOGINS}}, "test", env={})
    let = [one.action for one in probes.ask_isolation(target).value or () if one.allowed.value]
    assert let == ["read"] * 6


# -- where the data is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["loki", "loki/", "a/b", "/a/b/"])
def test_a_prefix_of_the_target_is_looked_below(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    keys = {"loki-chunks": [f"{prefix.strip('/')}/fake/{CHUNK}"]}
    found = verdicts(monkeypatch, keys=keys, loki_prefix=prefix)["loki.s3_prefix"]
    assert found.result is Result.PASS and f"loki-chunks/{prefix.strip('/')}/fake/ holds" in found.measured


def test_a_prefix_that_the_target_does_not_name_is_found_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verdicts(monkeypatch, keys={"loki-chunks": [f"a/b/fake/{CHUNK}"]})["loki.s3_prefix"]
    assert found.result is Result.PASS and 'loki_prefix = "a/b" in [s3]' in found.evidence[0]


@pytest.mark.parametrize("keys", [[f"a/fake/{CHUNK}", f"b/fake/{CHUNK}"], [f"a/theirs/{CHUNK}"]])
def test_where_it_is_not_clear_whose_data_it_is_nothing_is_judged(
    monkeypatch: pytest.MonkeyPatch, keys: list[str]
) -> None:
    found = verdicts(monkeypatch, keys={"loki-chunks": keys})["loki.s3_prefix"]
    assert found.result is Result.UNKNOWN and "loki_prefix" in found.remedy


def test_an_empty_bucket_is_elsewhere_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verdicts(monkeypatch, keys={"loki-chunks": []})["loki.s3_prefix"]
    assert found.result is Result.UNKNOWN and "holds nothing yet" in found.evidence[0]


def test_every_component_has_its_prefix() -> None:
    names = {f"{component}_prefix": "x/" for component in ("loki", "tempo", "mimir")}
    target = parse_target({"s3": names}, "test", env={"LOADGEN_S3_TEMPO_PREFIX": "y"})
    prefixes = [target.s3.prefix(one) for one in (Component.LOKI, Component.TEMPO, Component.MIMIR)]
    assert prefixes == ["x", "y", "x"]
