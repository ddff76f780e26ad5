"""The outcome told in Mimir, in Grafana and in S3; what fails there is a note and changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import snappy
from fake_stack import small_plan
from scripted import Reply, Scripted, scripted

from loadgen.config import Publish, Target, parse_target
from loadgen.history.archive import ArchivePlace
from loadgen.history.directory import RunDir
from loadgen.history.naming import new_info
from loadgen.model import MS, NS, Objective, Result, Verdict
from loadgen.run.publish import publish, verdict_body, verdict_series

NOW_NS = 1_790_000_000 * NS
BOTH = Publish(metrics=True, annotation=True)


def verdict(check: str, result: Result, value: float | None, unit: str = "s") -> Verdict:
    return Verdict(check, "a promise", result, Objective("p99 ≤ 3 s", 3, unit), "", value, 5)


VERDICTS = (
    verdict("logs.query", Result.PASS, 0.25),
    verdict("logs.loss", Result.FAIL, 3.0, "lines"),
    verdict("history.reach", Result.SKIPPED, None),
)


def run_in(path: Path) -> RunDir:
    plan = small_plan()
    info = new_info(plan.key, plan.profile, Target(), "lab")
    return RunDir.create(path, replace(info, load_ended_ns=plan.key.began_ns + 60 * NS))


def target_of(server: Scripted, **s3: str) -> Target:
    raw: dict[str, Any] = {"mimir": {"url": server.url}, "grafana": {"url": server.url, "bearer_token": "hunter2"}}
    return parse_target({**raw, "s3": s3}, "test", env={})


def test_every_verdict_is_a_series_and_every_measured_value_another() -> None:
    series = {tuple(sorted(labels)): value for labels, value in verdict_series("run1", VERDICTS)}
    assert len(series) == 5
    loss = (("__name__", "loadgen_verdict"), ("check", "logs.loss"), ("job", "loadgen"))
    assert series[(*loss, ("result", "fail"), ("run", "run1"))] == 1
    measured = (("__name__", "loadgen_measured"), ("check", "logs.loss"), ("job", "loadgen"))
    assert series[(*measured, ("run", "run1"), ("unit", "lines"))] == 3
    assert all(labels == sorted(labels) for labels, _ in verdict_series("run1", VERDICTS))


def test_the_body_decodes_to_the_official_message() -> None:
    from opentelemetry.exporter.prometheus_remote_write.gen.remote_pb2 import WriteRequest

    message = WriteRequest.FromString(snappy.decompress(verdict_body("run1", VERDICTS, NOW_NS)))
    sent = [
        ([(label.name, label.value) for label in series.labels], series.samples[0].value)
        for series in message.timeseries
    ]
    assert sent == verdict_series("run1", VERDICTS)
    assert {sample.timestamp for series in message.timeseries for sample in series.samples} == {NOW_NS // MS}


def test_mimir_and_grafana_are_told_once_each(tmp_path: Path) -> None:
    with scripted(Reply(200, b'{"message":"Annotation added","id":1}')) as server:
        told = publish(run_in(tmp_path / "run"), VERDICTS, Result.FAIL, BOTH, target_of(server), NOW_NS)
    assert told.notes == ()
    push, mark = server.requests
    assert push.path == "/api/v1/push"
    assert (mark.path, mark.headers["Authorization"]) == ("/api/annotations", "Bearer hunter2")
    said = json.loads(mark.body)
    assert said["timeEnd"] - said["time"] == 60_000
    assert said["tags"] == ["loadgen", "loadgen:fail"]
    assert "logs.loss" in said["text"]


def test_by_default_nobody_is_told(tmp_path: Path) -> None:
    with scripted(Reply(200)) as server:
        told = publish(run_in(tmp_path / "run"), VERDICTS, Result.PASS, Publish(), target_of(server), NOW_NS)
    assert (told.url, told.notes, server.requests) == ("", (), [])


def test_a_later_verification_tells_its_verdicts_and_marks_nothing_twice(tmp_path: Path) -> None:
    with scripted(Reply(200)) as server:
        target = target_of(server, endpoint="http://127.0.0.1:1", access_key_id="me", secret_access_key="x")
        publish(run_in(tmp_path / "run"), VERDICTS, Result.PASS, BOTH, target, NOW_NS, ArchivePlace("reports", "run1/"))
    assert [request.path for request in server.requests] == ["/api/v1/push"]


def test_a_run_that_never_began_is_not_marked_in_1970(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    run.write_info(replace(run.info(), key=replace(run.info().key, began_ns=0)))
    with scripted(Reply(200)) as server:
        told = publish(run, VERDICTS, Result.UNKNOWN, Publish(annotation=True), target_of(server), NOW_NS)
    assert told.notes == ("the run is not marked in Grafana: its load never began",)
    assert server.requests == []


def test_a_refusal_is_a_note_that_says_what_is_needed(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    with scripted(Reply(403, b'{"message":"forbidden"}')) as server:
        told = publish(run, VERDICTS, Result.PASS, BOTH, target_of(server), NOW_NS)
    assert len(told.notes) == 2
    assert told.notes[0].startswith("the verdicts are not in Mimir: ")
    assert "need the role Editor" in told.notes[1]
    assert "hunter2" not in "".join(told.notes)
    assert run.info().notes == told.notes


def test_a_secret_that_cannot_be_read_is_a_note(tmp_path: Path) -> None:
    target = parse_target(
        {"grafana": {"url": "http://127.0.0.1:1", "bearer_token_file": str(tmp_path / "none")}}, "test", env={}
    )
    told = publish(run_in(tmp_path / "run"), VERDICTS, Result.PASS, Publish(annotation=True), target, NOW_NS)
    assert len(told.notes) == 1
    assert "the secret cannot be read" in told.notes[0]


@pytest.mark.parametrize("verified", [None, ArchivePlace("loadgen-reports", "run1/")])
def test_an_s3_that_does_not_answer_is_a_note(tmp_path: Path, verified: ArchivePlace | None) -> None:
    target = parse_target(
        {
            "s3": {
                "endpoint": "http://127.0.0.1:1",
                "access_key_id": "me",
                "secret_access_key": "hunter2",
                "reports_url": "s3://loadgen-reports",
            }
        },
        "test",
        env={},
    )
    run = run_in(tmp_path / "run")
    (run.path / "report.html").write_text("x")
    told = publish(run, VERDICTS, Result.PASS, Publish(), target, NOW_NS, verified)
    assert told.url == ""
    assert told.notes[0].startswith("the run is not kept in S3: http://127.0.0.1:1/loadgen-reports/")
    assert "hunter2" not in told.notes[0]
