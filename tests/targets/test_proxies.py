"""Which proxy is used: one rule, whoever asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.config import ConfigError, LokiTarget
from loadgen.targets.proxies import proxy_of, without_proxies

P = "http://proxy.home:3128"


def used(host: str, env: dict[str, str], scheme: str = "https", port: int = 443, **settings: str) -> str:
    proxy = proxy_of(scheme, host, port, LokiTarget.model_validate(settings), env)
    return f"{proxy.url} {proxy.source}" if proxy is not None else ""


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "s3.localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0"]
)
@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"])
def test_this_machine_is_never_reached_by_a_proxy_of_the_environment(host: str, name: str) -> None:
    assert used(host, {name: P}) == ""


@pytest.mark.parametrize(
    ("scheme", "env", "source"),
    [
        ("https", {"https_proxy": P}, "https_proxy"),
        ("https", {"HTTPS_PROXY": P}, "HTTPS_PROXY"),
        ("https", {"HTTPS_PROXY": "http://other:1", "https_proxy": P}, "https_proxy"),
        ("https", {"HTTPS_PROXY": P, "https_proxy": ""}, "HTTPS_PROXY"),
        ("http", {"http_proxy": P}, "http_proxy"),
        ("http", {"HTTP_PROXY": P}, "HTTP_PROXY"),
        ("http", {"ALL_PROXY": P}, "ALL_PROXY"),
        ("https", {"all_proxy": "proxy.home:3128"}, "all_proxy"),
        ("https", {"all_proxy": "http://other:1", "https_proxy": P}, "https_proxy"),
    ],
)
def test_a_deployed_server_is_reached_by_the_proxy_of_its_scheme(scheme: str, env: dict[str, str], source: str) -> None:
    assert used("stack.test", env, scheme) == f"{P} {source}"


@pytest.mark.parametrize(("scheme", "env"), [("https", {"http_proxy": P}), ("http", {"https_proxy": P}), ("http", {})])
def test_the_other_schemes_proxy_is_not_used(scheme: str, env: dict[str, str]) -> None:
    assert used("stack.test", env, scheme) == ""


@pytest.mark.parametrize(
    ("host", "exceptions", "is_excepted"),
    [
        ("loki.stack.test", "stack.test", True),
        ("loki.stack.test", ".stack.test", True),
        ("loki.stack.test", "*.stack.test", True),
        ("LOKI.Stack.test.", "a, b ,STACK.TEST", True),
        ("stack.test", ".stack.test", True),
        ("mystack.test", "stack.test", False),
        ("loki.stack.test", "stack.test:443", True),
        ("loki.stack.test", "stack.test:80", False),
        ("loki.stack.test", "*", True),
        ("loki.stack.test", "", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("10.1.2.3", "10.1.2.3:80", False),
        ("11.1.2.3", "10.0.0.0/8 192.168.0.0/16", False),
        ("fd00::7", "fd00::/8", True),
        ("fd00::7", "[fd00::7]:443", True),
        ("fd00::7", "[fd00::7]", True),
        ("stack.test", "10.0.0.0/8", False),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_exceptions_are_hosts_domains_ports_and_networks(
    name: str, host: str, exceptions: str, is_excepted: bool
) -> None:
    assert (used(host, {"https_proxy": P, name: exceptions}) == "") == is_excepted


def test_a_setting_wins_over_the_environment_and_its_exceptions() -> None:
    env = {"https_proxy": "http://other:1", "no_proxy": "*"}
    assert used("stack.test", env, proxy="proxy.home:3128") == f"{P} the setting proxy"
    assert used("localhost", env, proxy=P) == f"{P} the setting proxy"
    assert used("stack.test", {"https_proxy": P}, proxy="none") == ""


def test_the_proxys_login_is_sent_to_it_and_shown_to_nobody() -> None:
    proxy = proxy_of("https", "stack.test", 443, None, {"https_proxy": "http://me:hunter%4022@proxy.home:3128"})
    assert proxy is not None and proxy.headers() == {"Proxy-Authorization": "Basic bWU6aHVudGVyQDIy"}
    assert "hunter" not in repr(proxy) + proxy.url + proxy.told


@pytest.mark.parametrize("value", ["socks5://proxy:1080", "https://proxy:443", "http://proxy:port", "http://"])
def test_a_proxy_that_cannot_be_used_is_an_error_that_names_the_variable(value: str) -> None:
    with pytest.raises(ConfigError, match=r"ALL_PROXY: only proxies .* NO_PROXY"):
        used("stack.test", {"ALL_PROXY": value})


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_stands_in_the_variables_is_a_proxy_or_a_clear_error(value: str, exceptions: str) -> None:
    try:
        found = used("stack.test", {"https_proxy": value, "no_proxy": exceptions})
    except ConfigError as problem:
        assert "https_proxy" in str(problem)
    else:
        assert found == "" or found.endswith("https_proxy")


def test_the_labs_processes_see_no_proxy() -> None:
    assert without_proxies({"HTTP_PROXY": P, "https_proxy": P, "No_Proxy": "x", "PATH": "/bin"}) == {"PATH": "/bin"}
