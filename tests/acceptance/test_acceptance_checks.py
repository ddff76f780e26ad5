"""Every acceptance check with a stack that keeps its promise, one that breaks it, and one that could not be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from made_deployment import COMPONENTS, clocks, good

from loadgen.acceptance.checks import CHECKS, judge
from loadgen.acceptance.facts import Deployment, LifecycleRule, SecretFacts, Told
from loadgen.judging import Check
from loadgen.model import Component, Result, Verdict

Spoil = Callable[[Deployment], Deployment]
LOKI, TEMPO, MIMIR = COMPONENTS
NAMES = [check.name for check in CHECKS]


def verdict(found: Deployment, name: str) -> Verdict:
    return {one.check: one for one in judge(found)}[name]


def in_bucket(component: Component, **fields: Any) -> Spoil:
    return lambda d: replace(
        d, buckets=tuple(replace(one, **fields) if one.component is component else one for one in d.buckets)
    )


def in_source(component: Component, **fields: Any) -> Spoil:
    def spoil(d: Deployment) -> Deployment:
        changed = []
        for one, told in d.datasources:
            assert told.value is not None
            changed.append((one, Told(replace(told.value, **fields)) if one is component else told))
        return replace(d, datasources=tuple(changed))

    return spoil


def in_told(name: str, **fields: Any) -> Spoil:
    """One field of the first (or only) value of a fact."""

    def spoil(d: Deployment) -> Deployment:
        value = getattr(d, name).value
        if isinstance(value, tuple):
            return replace(d, **{name: Told((replace(value[0], **fields), *value[1:]))})
        return replace(d, **{name: Told(replace(value, **fields))})

    return spoil


def told(name: str, value: Any) -> Spoil:
    return lambda d: replace(d, **{name: Told(value)})


def probe(component: Component, **fields: Any) -> Spoil:
    return lambda d: replace(
        d, accepted=tuple(replace(one, **fields) if one.component is component else one for one in d.accepted)
    )


BEHIND = clocks(Grafana=-1200, Loki=-1200, Tempo=-1201, Mimir=-1200, S3=-1199)  # so this machine is ahead
DENIED = "s3.example.com/loki-chunks: AccessDenied"
BROKEN: list[tuple[str, str, Spoil]] = [
    ("clocks", "a server of another time", told("clocks", clocks(Mimir=-1200))),
    ("clocks", "a server 3 s ahead", told("clocks", clocks(S3=3))),
    ("s3.buckets", "a bucket that does not exist", in_bucket(TEMPO, listed=Told(error="NoSuchBucket"))),
    ("s3.buckets", "a credential that is refused", in_bucket(LOKI, listed=Told(error=DENIED))),
    ("s3.versioning", "versioning that was suspended", in_bucket(LOKI, versioning=Told("Suspended"))),
    ("s3.versioning", "versioning that was never enabled", in_bucket(LOKI, versioning=Told(""))),
    ("s3.lifecycle", "no rule at all", in_bucket(TEMPO, lifecycle=Told(()))),
    ("s3.lifecycle", "90 days", in_bucket(TEMPO, lifecycle=Told((LifecycleRule(True, "", 90, 0),)))),
    ("s3.lifecycle", "a disabled rule", in_bucket(TEMPO, lifecycle=Told((LifecycleRule(False, "", 30, 0),)))),
    (
        "s3.lifecycle",
        "a rule for another folder",
        in_bucket(TEMPO, lifecycle=Told((LifecycleRule(True, "tmp/", 3, 0),))),
    ),
    ("s3.lifecycle", "old versions kept for ever", in_bucket(LOKI, lifecycle=Told(()))),
    ("s3.object_lock", "object lock", in_bucket(MIMIR, object_lock=Told(True))),
    ("s3.isolation", "a credential that may read elsewhere", in_told("isolation", allowed=Told(True))),
    ("s3.tls", "plain HTTP", lambda d: replace(d, s3=Told("http://s3.example.com"), tls=Told("plain"))),
    ("s3.tls", "a bad certificate", told("tls", "refused: certificate has expired")),
    ("k8s.pods", "a pod that is not ready", in_told("pods", ready=False)),
    ("k8s.pods", "a pod that crashes", in_told("pods", phase="CrashLoopBackOff")),
    ("k8s.pods", "no memory limit", in_told("pods", limits=(("loki", 0),))),
    ("k8s.pods", "a memory limit of 8 GiB", in_told("pods", limits=(("chunks-cache", 8 * 2**30),))),
    ("k8s.pods", "no pod of a component", told("pods", ())),
    ("k8s.helmreleases", "a HelmRelease that is not ready", in_told("flux", ready=False, message="chart not found")),
    ("k8s.secrets", "a placeholder", in_told("secrets", placeholders=("S3_ACCESS_KEY_ID",))),
    ("k8s.secrets", "a missing key", in_told("secrets", keys=Told(("S3_ENDPOINT",)))),
    ("k8s.secrets", "no such secret", in_told("secrets", keys=Told(error="secret loki-s3-secret: not there (404)"))),
    ("k8s.logs", "a refused credential", in_told("pods", log_errors=("InvalidAccessKeyId",))),
    ("loki.accepts", "a refused push", probe(LOKI, pushed="401")),
    ("tempo.accepts", "a trace that never shows", probe(TEMPO, seen_after_s=None, waited_s=15.0)),
    ("mimir.accepts", "a sample that never shows", probe(MIMIR, seen_after_s=None, waited_s=15.0)),
    ("loki.s3_prefix", "an empty directory", in_bucket(LOKI, tenant_objects=Told(0))),
    ("tempo.s3_prefix", "an empty directory", in_bucket(TEMPO, tenant_objects=Told(0))),
    ("mimir.s3_prefix", "an empty directory", in_bucket(MIMIR, tenant_objects=Told(0))),
    ("grafana.datasources", "a wrong type", in_source(MIMIR, type="graphite")),
    ("grafana.datasources", "direct access", in_source(LOKI, access="direct")),
    ("grafana.datasources", "no correlation", in_source(TEMPO, links=())),
    ("grafana.datasources", "a link to nowhere", told("uids", ("loki", "mimir"))),
    ("grafana.loki", "its own check fails", in_source(LOKI, health=Told("Unable to connect"))),
    ("grafana.tempo", "a slow query", in_source(TEMPO, query_s=Told(5.5))),
    ("grafana.mimir", "a failing query", in_source(MIMIR, query_s=Told(error="502"))),
    ("grafana.errors", "an empty success", in_told("error_answer", status=200, text="{}")),
    ("grafana.errors", "an error page", in_told("error_answer", status=502, text="<html>Bad Gateway</html>")),
    ("grafana.errors", "an error without a word", in_told("error_answer", text="")),
    ("grafana.dashboard", "an empty panel", in_told("dashboard", panels=((LOKI, Told(0)),))),
    ("grafana.dashboard", "no dashboard", lambda d: replace(d, dashboard=Told(error="…: 404, not found"))),
    ("prometheus.remote_write", "lost samples", in_told("remote_write", failed_samples=12.0)),
    ("prometheus.remote_write", "a lag of two minutes", in_told("remote_write", lag_s=120.0)),
    ("prometheus.remote_write", "all shards in use", in_told("remote_write", shards=50.0)),
    ("prometheus.remote_write", "no remote write", told("remote_write", ())),
    ("prometheus.parity", "a missing sample", in_told("parity", missing=1)),
    ("prometheus.parity", "another value", in_told("parity", differing=1)),
    ("mimir.history", "nothing from before Prometheus", in_told("history", mimir_series=0)),
]
# Grafana that does not answer is unknown: nothing is known of the stack then.
NEVER_BROKEN = {"grafana.health"}


def test_a_stack_that_keeps_everything_passes_every_check() -> None:
    assert {one.check: one.result for one in judge(good())} == dict.fromkeys(NAMES, Result.PASS)


@pytest.mark.parametrize(("name", "what", "spoil"), BROKEN, ids=[f"{name}: {what}" for name, what, _ in BROKEN])
def test_what_is_broken_fails_its_check_with_advice_and_no_other(name: str, what: str, spoil: Spoil) -> None:
    found = judge(spoil(good()))
    failed = {one.check for one in found if one.result is Result.FAIL}
    assert name in failed
    assert failed <= {name, "k8s.logs"} if name == "k8s.pods" else failed == {name}
    mine = next(one for one in found if one.check == name)
    assert mine.measured and mine.remedy


def test_every_check_can_fail() -> None:
    assert {name for name, _, _ in BROKEN} | NEVER_BROKEN == set(NAMES)


@pytest.mark.parametrize("check", CHECKS, ids=NAMES)
def test_without_any_answer_nothing_passes(check: Check) -> None:
    assert check.judge(Deployment("nothing", 0)).result in (Result.SKIPPED, Result.UNKNOWN)


UNKNOWN: list[tuple[str, Spoil]] = [
    ("clocks", told("clocks", ())),
    ("clocks", told("clocks", BEHIND)),
    ("s3.buckets", in_bucket(LOKI, listed=Told(error="no answer within 8 s"))),
    ("s3.versioning", in_bucket(LOKI, versioning=Told(error=DENIED))),
    ("s3.lifecycle", in_bucket(TEMPO, lifecycle=Told(error=DENIED))),
    ("s3.object_lock", in_bucket(MIMIR, object_lock=Told(error=DENIED))),
    ("s3.isolation", in_told("isolation", allowed=Told(error="no answer"))),
    ("s3.tls", lambda d: replace(d, tls=Told(error="no connection"))),
    ("k8s.pods", lambda d: replace(d, pods=Told(error="refused (403)"))),
    ("k8s.helmreleases", lambda d: replace(d, flux=Told(()))),
    ("k8s.secrets", in_told("secrets", keys=Told(error="refused (403)"))),
    ("k8s.logs", in_told("pods", log_error="refused (403)")),
    ("loki.accepts", probe(LOKI, seen_after_s=None, read_error="502")),
    ("loki.s3_prefix", lambda d: replace(in_bucket(LOKI, tenant_objects=Told(0))(d), pods=Told(skipped="no cluster"))),
    ("mimir.s3_prefix", in_bucket(MIMIR, tenant_objects=Told(error=DENIED))),
    ("grafana.health", lambda d: replace(d, grafana=Told(error="connection refused"))),
    ("grafana.datasources", lambda d: replace(d, uids=Told(error="403"))),
    ("grafana.errors", lambda d: replace(d, error_answer=Told(error="no answer"))),
    ("grafana.dashboard", in_told("dashboard", panels=((TEMPO, Told(error="not supported")),))),
    ("prometheus.remote_write", in_told("remote_write", lag_s=float("nan"))),
    ("prometheus.parity", in_told("parity", samples=0)),
    ("mimir.history", lambda d: replace(d, history=Told(error="no answer"))),
]


@pytest.mark.parametrize(("name", "spoil"), UNKNOWN, ids=[name for name, _ in UNKNOWN])
def test_what_could_not_be_told_is_unknown_with_the_reason(name: str, spoil: Spoil) -> None:
    mine = verdict(spoil(good()), name)
    assert mine.result is Result.UNKNOWN
    assert mine.evidence and mine.remedy


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("loki.accepts", probe(LOKI, pushed="400, has timestamp too new")),
        ("mimir.accepts", probe(MIMIR, seen_after_s=None, waited_s=15.0)),
        ("prometheus.parity", in_told("parity", missing=1)),
        ("s3.buckets", in_bucket(LOKI, listed=Told(error="RequestTimeTooSkewed"))),
        ("s3.isolation", lambda d: d),
    ],
)
def test_nothing_fails_or_passes_by_this_machines_wrong_clock(name: str, spoil: Spoil) -> None:
    found = replace(spoil(good()), clocks=Told(BEHIND))
    mine = verdict(found, name)
    assert mine.result is Result.UNKNOWN
    assert "this machine's clock is 20 min ahead of those of Grafana, Loki, Tempo, Mimir and S3" in mine.evidence[0]
    assert not [one for one in judge(found) if one.result is Result.FAIL]


def test_what_does_not_depend_on_the_time_still_fails_with_a_wrong_clock() -> None:
    found = replace(in_told("pods", ready=False)(good()), clocks=Told(BEHIND))
    assert verdict(found, "k8s.pods").result is Result.FAIL


def test_s3_on_the_same_machine_needs_no_tls() -> None:
    found = replace(good(), s3=Told("http://127.0.0.1:8333"), tls=Told("plain"))
    assert verdict(found, "s3.tls").result is Result.SKIPPED


def test_a_prometheus_that_kept_everything_has_nothing_older_to_ask_for() -> None:
    assert verdict(in_told("history", dropped=False, mimir_series=0)(good()), "mimir.history").result is Result.SKIPPED


def test_an_empty_directory_of_a_young_pod_is_no_failure() -> None:
    young = in_told("pods", running_s=100.0)(in_bucket(LOKI, tenant_objects=Told(0))(good()))
    assert verdict(young, "loki.s3_prefix").result is Result.UNKNOWN


def test_an_own_health_check_that_grafana_does_not_have_is_no_failure() -> None:
    found = in_source(TEMPO, health=Told(skipped="this Grafana has no such check"))(good())
    assert verdict(found, "grafana.tempo").result is Result.PASS


def test_a_check_that_crashes_costs_only_itself() -> None:
    def crash(_: Deployment) -> Any:
        raise ValueError("boom")

    found = judge(good(), (Check("made", "a promise", crash), CHECKS[0]))
    assert [one.result for one in found] == [Result.UNKNOWN, Result.PASS]


def test_a_secret_is_described_by_its_keys_only() -> None:
    assert set(SecretFacts.__dataclass_fields__) == {"component", "name", "keys", "placeholders"}
