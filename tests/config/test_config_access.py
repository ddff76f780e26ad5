"""How to get in: logins in URLs, headers, certificates; no secret is kept or repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loadgen.config import ConfigError, GrafanaTarget, LokiTarget, S3Target, Target, parse_target
from loadgen.model import Component
from loadgen.targets.http import login_headers

SECRET = "hunter2-example"


def parse(**raw: Any) -> Target:
    return parse_target(raw, "stack.toml", env={})


def refusal(**raw: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(**raw)
    return str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "url", "bare"),
    [
        ("grafana", "url", "https://me:{}@grafana.test/sub", "https://grafana.test/sub"),
        ("loki", "query_url", "http://me:{}@[fd00::1]:3100", "http://[fd00::1]:3100"),
        ("tempo", "otlp_grpc", "me:{}@tempo:4317", "tempo:4317"),
        ("tempo", "otlp_grpc", "https://me:{}@tempo:4317", "https://tempo:4317"),
        ("tempo", "otlp_http", "http://me:{}@tempo:4318", "http://tempo:4318"),
        ("mimir", "url", "http://me:{}@mimir", "http://mimir"),
        ("prometheus", "url", "http://me:{}@prometheus:9090", "http://prometheus:9090"),
    ],
)
@pytest.mark.parametrize("written", [SECRET, "hunter2%2Dexample", "%68unter2-example"])
def test_a_login_in_a_url_is_moved_to_the_section(section: str, key: str, url: str, bare: str, written: str) -> None:
    target = parse(**{section: {key: url.format(written)}})
    found = getattr(target, section)
    assert (getattr(found, key), found.user, found.secret_password()) == (bare, "me", SECRET)
    assert "hunter2" not in repr(target) + str(target) + str(target.without_secrets())
    assert login_headers(found)["Authorization"] == "Basic bWU6aHVudGVyMi1leGFtcGxl"


def test_a_login_that_comes_in_a_variable_is_moved_too() -> None:
    env = {"LOADGEN_GRAFANA_URL": f"http://me:{SECRET}@grafana.test"}
    stored = parse_target({"grafana": {"url": "http://old"}}, "x", env=env)
    assert (stored.grafana.url, stored.grafana.user) == ("http://grafana.test", "me")
    # What is stored can be read back beside the same variable.
    assert parse_target(stored.without_secrets(), "run.json", env=env).grafana.secret_password() == SECRET


def test_a_proxys_login_is_moved() -> None:
    target = parse(s3={"proxy": f"http://me:{SECRET}@proxy.test:3128"}, kubernetes={"proxy": f"me:{SECRET}@proxy:1"})
    assert (target.s3.proxy, target.s3.proxy_user) == ("http://proxy.test:3128", "me")
    assert target.s3.secret_proxy_password() == target.kubernetes.secret_proxy_password() == SECRET
    assert SECRET not in repr(target) + str(target.without_secrets())


@pytest.mark.parametrize(
    "raw",
    [
        {"grafana": {"url": f"http://{SECRET}@grafana"}},
        {"grafana": {"url": f"http://:{SECRET}@grafana"}},
        {"grafana": {"url": f"http://me:x{SECRET}@grafana", "user": "me", "password": SECRET}},
        {"grafana": {"url": f"http://me:{SECRET}@grafana", "bearer_token": SECRET}},
        {"grafana": {"url": f"http://grafana/?token={SECRET}"}},
        {"grafana": {"url": f"http://grafana/#{SECRET}"}},
        {"loki": {"url": "http://a:b1234@loki", "query_url": f"http://a:{SECRET}@loki"}},
        {"loki": {"url": f"http://me:{SECRET}/x@loki"}},
        {"loki": {"url": f"http://me:{SECRET}?x@loki"}},
        {"loki": {"url": f"http://me:12/{SECRET}@loki"}},
        {"loki": {"url": ["http://me", SECRET]}},
        {"loki": f"http://me:{SECRET}@loki"},
        {"s3": {"endpoint": f"https://key:{SECRET}@s3"}},
        {"s3": {"reports_url": f"s3://key:{SECRET}@bucket/x"}},
        {"s3": {"headers": {"Authorization": SECRET}}},
        {"s3": {"addressing_style": SECRET}},
        {"grafana": {"headers": {"X-Key": f"{SECRET}\nX-Other: 1"}}},
        {"grafana": {"headers": {"X Key": SECRET}}},
        {"grafana": {"headers": SECRET}},
        {"grafana": {"headers": {"X-Key": [SECRET]}}},
        {"grafana": {"headers": {"Authorization": SECRET}, "user": "me"}},
        {"grafana": {"password": {"is": SECRET}}},
        {"grafana": {"org_id": SECRET}},
        {"mimir": {"proxy": f"socks5://me:{SECRET}@proxy"}},
        {"mimir": {"proxy": f"http://{SECRET}@proxy"}},
    ],
)
def test_what_cannot_be_taken_is_refused_without_being_repeated(raw: dict[str, Any]) -> None:
    text = refusal(**raw)
    assert "stack.toml" in text and SECRET not in text


@given(st.text(min_size=4, max_size=20).filter(lambda text: text.isprintable() and not text.isspace()))
def test_no_way_to_write_a_login_leaves_it_in_what_is_stored(secret: str) -> None:
    secret = f"s3cr3t{secret}"
    for url in (f"http://me:{secret}@loki", f"http://{secret}@loki", f"http://loki?x={secret}", f"me:{secret}@loki:1"):
        if url.startswith("http://s3cr3t") and ":" in secret:
            continue  # the first part is a user's name then, and no secret
        try:
            shown = str(parse(loki={"url": url}).without_secrets())
        except ConfigError as problem:
            shown = str(problem)
        assert "s3cr3t" not in shown, url


def test_validation_itself_does_not_repeat_what_was_given() -> None:
    with pytest.raises(ValidationError) as caught:
        Target.model_validate({"loki": {"url": f"http://loki?token={SECRET}"}})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("Host", "loadgen sets it itself"),
        ("content-length", "loadgen sets it itself"),
        ("X-Scope-OrgID", "use tenant"),
        ("X-Grafana-Org-Id", "use org_id"),
        ("Proxy-Authorization", "use proxy_user"),
    ],
)
def test_a_header_that_loadgen_sets_itself_is_refused_with_the_setting(name: str, advice: str, tmp_path: Path) -> None:
    assert advice in refusal(grafana={"headers": {name: "x"}})
    (tmp_path / "headers").write_text(f"{name}: {SECRET}\n")
    with pytest.raises(ConfigError, match=advice) as caught:
        login_headers(GrafanaTarget(headers_file=str(tmp_path / "headers")))
    assert SECRET not in str(caught.value)


def test_headers_come_from_a_table_a_variable_or_a_file(tmp_path: Path) -> None:
    lines = f"CF-Access-Client-Id: id1\nCF-Access-Client-Secret: {SECRET}\n"
    (tmp_path / "headers").write_text(lines)
    wanted = {"CF-Access-Client-Id": "id1", "CF-Access-Client-Secret": SECRET}
    for target in (
        parse(grafana={"headers": wanted}),
        parse_target({}, "x", env={"LOADGEN_GRAFANA_HEADERS": lines}),
        parse(grafana={"headers_file": str(tmp_path / "headers")}),
    ):
        assert login_headers(target.grafana) == wanted
        assert SECRET not in repr(target) + str(target.without_secrets())


def test_a_headers_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the secret cannot be read"):
        login_headers(LokiTarget(headers_file=str(tmp_path / "none")))
    (tmp_path / "headers").write_text(SECRET)
    with pytest.raises(ConfigError, match="line 1 is no header") as caught:
        login_headers(LokiTarget(headers_file=str(tmp_path / "headers")))
    assert SECRET not in str(caught.value)


def test_a_token_that_no_header_can_hold_is_told_without_it() -> None:
    with pytest.raises(ConfigError, match="bearer_token: holds a line's end") as caught:
        login_headers(parse(grafana={"bearer_token": f"{SECRET}\r\nX: 1"}).grafana)
    assert SECRET not in str(caught.value)


def test_the_organisation_is_sent_when_it_is_set() -> None:
    assert login_headers(parse(grafana={"org_id": 7}).grafana) == {"X-Grafana-Org-Id": "7"}
    assert login_headers(parse(grafana={}).grafana) == {}


def test_a_key_without_its_certificate_is_refused() -> None:
    assert "key_file is given without cert_file" in refusal(loki={"key_file": "/k.pem"})


def test_a_component_brings_its_own_session_token() -> None:
    s3 = parse(s3={"session_token": "watcher", "loki": {"access_key_id": "a", "session_token": SECRET}}).s3
    own = s3.of(Component.LOKI)
    assert own is not None and own.secret_session_token() == SECRET and s3.secret_session_token() == "watcher"
    assert SECRET not in str(S3Target.model_validate(s3.model_dump()).model_dump_json())


def test_whatever_is_a_secret_by_its_type_is_not_stored() -> None:
    names = ("password", "bearer_token", "proxy_password", "secret_access_key", "session_token", "headers")
    stored = str(parse().without_secrets())
    assert not [name for name in names if f"'{name}'" in stored]
