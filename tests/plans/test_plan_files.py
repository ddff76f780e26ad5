"""What a deployment was asked to be is data: its own plan file takes the place of the shipped one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_history import good_run
from typer.testing import CliRunner

from loadgen.checks import CHECKS, judge
from loadgen.cli.main import app, guarded
from loadgen.config import ConfigError
from loadgen.model import Objective, Result, Verdict
from loadgen.plans import DEFAULT, Deployed, default_plan, load_plan, parse_plan
from loadgen.report import facts_of, parts_of
from loadgen.report.junit import junit_xml
from loadgen.report.markdown import summary

OWN = """
name = "mine"
[audit]
loki_mode = "any"
[[requirements]]
id = "OPS-7"
title = "no line is lost"
run = ["logs.loss"]
audit = ["sops"]
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return str(path)


def test_the_shipped_plan_is_the_one_without_a_name_and_by_its_name() -> None:
    assert load_plan("") is load_plan(DEFAULT) is default_plan()
    assert default_plan().audit.replicas == 1


def test_a_plan_of_ones_own_names_what_its_checks_show(tmp_path: Path) -> None:
    plan = load_plan(written(tmp_path, OWN))
    assert (plan.ids_of("logs.loss"), plan.ids_of("sops"), plan.ids_of("logs.query")) == (("OPS-7",), ("OPS-7",), ())
    assert plan.audit.replicas == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "not valid TOML"),
        ("[audit]\nreplicas = -1", "audit.replicas: "),
        ("[audit]\nmode = 1", "audit.mode: no such setting"),
        (
            '[[requirements]]\nid = "A"\ntitle = ""\n[[requirements]]\nid = "A"\ntitle = ""',
            "two requirements are called A",
        ),
        ('[[requirements]]\ntitle = "x"', "requirements.0.id: Field required"),
    ],
)
def test_a_mistake_is_told_with_file_and_place(tmp_path: Path, text: str, says: str) -> None:
    place = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_plan(place)
    assert says in str(caught.value) and place in str(caught.value)


def test_a_plan_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give a TOML file, or lgtm-homelab"):
        load_plan(str(tmp_path / "none.toml"))


def test_a_name_that_no_check_has_is_told_with_the_nearest_one() -> None:
    plan = parse_plan({"requirements": [{"id": "A", "title": "", "run": ["logs.los"]}]}, "mine")
    (text,) = plan.unknown("run", [check.name for check in CHECKS])
    assert text == "A: loadgen run has no 'logs.los'; did you mean 'logs.loss'?"
    assert not plan.unknown("audit", [])


def test_planned_checks_may_be_named(tmp_path: Path) -> None:
    plan = parse_plan({"planned": ["x"], "requirements": [{"id": "A", "title": "", "run": ["x"]}]}, "mine")
    assert not plan.unknown("run", [])


def test_reports_without_ids_have_no_column_for_them() -> None:
    made = good_run()
    history, plan = made.history(), made.plan
    for deployed, there in ((Deployed(), False), (default_plan(), True)):
        facts = facts_of(history, plan, deployed.with_ids(judge(history, plan)), deployed)
        parts = parts_of(facts)
        assert ("| requirements |" in summary(facts.head, parts)) is there
        assert (b"requirements:" in junit_xml(facts.head)) is there
        assert ("Requirements" in [part.title for part in parts]) is there


def test_the_commands_refuse_a_plan_with_mistakes_before_anything_else(tmp_path: Path, capsys) -> None:
    place = written(tmp_path, OWN.replace("sops", "soaps"))
    code = guarded(lambda: app(["audit", str(tmp_path), "--plan", place], standalone_mode=False))
    assert code == 2
    assert "OPS-7: loadgen audit has no 'soaps'; did you mean 'sops'?" in " ".join(capsys.readouterr().err.split())


def test_the_audit_names_the_requirements_of_its_plan(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "one.yaml").write_text("kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n")
    done = CliRunner().invoke(app, ["audit", str(tree), "--plan", written(tmp_path, OWN), "--format", "json"])
    told = {one["check"]: one["requirements"] for one in json.loads(done.stdout)["verdicts"]}
    assert told["sops"] == ["OPS-7"] and told["modes"] == []


def test_ids_do_not_change_a_verdict() -> None:
    one = Verdict("sops", "a promise", Result.PASS, Objective("", 0.0, ""), "x", None, 1)
    (made,) = default_plan().with_ids([one])
    assert made.requirements and (made.check, made.result, made.measured) == (one.check, one.result, one.measured)
