from pathlib import Path

import pytest

from loadgen.config import ConfigError, Profile, Target, load_profile, load_target, parse_profile, parse_target
from loadgen.model import Component, Signal
from loadgen.run.locate import find_profile, profile_folder


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "homelab.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(profile_folder().glob("*.toml")), ids=lambda path: path.stem)
def test_every_built_in_profile_is_valid(path):
    assert load_profile(path, env={}).run.name == path.stem


def test_a_misspelt_setting_is_named_with_the_nearest_right_one(tmp_path):
    path = write(tmp_path, "[logs]\nline_per_s = 5\n")
    with pytest.raises(
        ConfigError, match=r"homelab\.toml: \[logs\] line_per_s: no such setting; did you mean 'lines_per_s'"
    ):
        load_profile(path, env={})


def test_a_misspelt_setting_within_a_list_is_named(tmp_path):
    path = write(tmp_path, '[[faults]]\nat = "1s"\ncomponent = "loki"\nkindd = "kill"\n')
    with pytest.raises(ConfigError, match=r"did you mean 'kind'"):
        load_profile(path, env={})


def test_all_mistakes_are_told_at_once(tmp_path):
    path = write(tmp_path, '[logs]\nusers = -1\n[run]\nduration = "soon"\n')
    with pytest.raises(ConfigError) as caught:
        load_profile(path, env={})
    assert "[logs] users" in str(caught.value)
    assert "'soon' is not a duration" in str(caught.value)


@pytest.mark.parametrize("content", [b"[logs\n", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_file_that_is_not_toml_is_a_clear_error(tmp_path, content):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_profile(path, env={})


def test_a_missing_file_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_target(tmp_path / "none.toml", env={})


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(ConfigError, match="demo, homelab, nfr"):
        find_profile("demmo")


def test_the_environment_wins_over_the_file_and_options_win_over_both(tmp_path):
    path = write(tmp_path, "[logs]\nusers = 1\n[metrics]\nusers = 1\n")
    env = {"LOADGEN_LOGS_USERS": "2", "LOADGEN_METRICS_USERS": "2"}
    profile = load_profile(path, {"metrics.users": 3}, env)
    assert (profile.logs.users, profile.metrics.users) == (2, 3)


def test_a_fault_after_the_end_of_the_load_is_refused(tmp_path):
    path = write(tmp_path, '[run]\nduration = "10s"\n[[faults]]\nat = "11s"\ncomponent = "loki"\n')
    with pytest.raises(ConfigError, match="after the end of the load"):
        load_profile(path, env={})


def test_a_profile_in_which_nobody_sends_is_refused(tmp_path):
    path = write(tmp_path, "[logs]\nusers=0\n[metrics]\nusers=0\n[traces]\nusers=0\n")
    with pytest.raises(ConfigError, match="nobody sends anything"):
        load_profile(path, env={})


def test_a_profile_survives_being_stored():
    profile = load_profile(find_profile("demo"), env={})
    assert parse_profile(profile.model_dump(mode="json"), "run.json") == profile


def test_overridden_objectives_are_known():
    assert Profile().overridden() == ()
    profile = parse_profile({"objectives": {"logs": {"query_p99": "1s"}, "all": {"query_max": 9}}}, "x")
    assert profile.overridden() == ("logs.query_p99", "all.query_max")


def test_secrets_appear_neither_in_a_repr_nor_in_what_is_stored():
    target = parse_target(
        {"grafana": {"user": "me", "password": "hunter2"}, "s3": {"secret_access_key": "s3cr3t"}}, "x", env={}
    )
    assert target.grafana.secret_password() == "hunter2"
    shown = repr(target) + str(target.without_secrets())
    assert "hunter2" not in shown
    assert "s3cr3t" not in shown
    assert parse_target(target.without_secrets(), "run.json", env={}).s3.secret_key() == ""


def test_a_secret_with_a_wrong_type_is_not_shown_in_the_error():
    with pytest.raises(ConfigError) as caught:
        parse_target({"grafana": {"password": ["hunter2"]}}, "x", env={})
    assert "hunter2" not in str(caught.value)


def test_a_secret_comes_from_its_file(tmp_path):
    (tmp_path / "token").write_text("glsa_x\n")
    target = parse_target({"grafana": {"bearer_token_file": str(tmp_path / "token")}}, "x", env={})
    assert target.grafana.secret_token() == "glsa_x"
    missing = parse_target({"grafana": {"bearer_token_file": str(tmp_path / "none")}}, "x", env={})
    with pytest.raises(ConfigError, match="the secret cannot be read"):
        missing.grafana.secret_token()


def test_two_ways_to_log_in_are_refused():
    with pytest.raises(ConfigError, match="choose one"):
        parse_target({"loki": {"user": "a", "bearer_token": "b"}}, "x", env={})


def test_tls_is_verified_unless_that_is_turned_off_by_name():
    assert Target().loki.verify_tls
    assert Target().s3.verify_tls


def test_every_component_has_a_bucket_and_every_signal_objectives():
    assert {Target().s3.bucket(c) for c in (Component.LOKI, Component.TEMPO, Component.MIMIR)} == {
        "loki-chunks",
        "tempo-traces",
        "mimir-blocks",
    }
    assert [Profile().objectives.of(signal).s3_delay_max for signal in Signal] == [300, 14400, 600]


def test_the_environment_reaches_a_section_in_a_section():
    env = {"LOADGEN_S3_LOKI_ACCESS_KEY_ID": "loki-service", "LOADGEN_S3_LOKI_BUCKET": "chunks"}
    s3 = parse_target({"s3": {"loki": {"secret_access_key": "s3cr3t"}}}, "x", env=env).s3
    assert (s3.loki.access_key_id, s3.loki.secret_key(), s3.loki_bucket) == ("loki-service", "s3cr3t", "chunks")
    assert s3.tempo.access_key_id == ""
