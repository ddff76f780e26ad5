"""``loadgen audit`` at the command line: exit codes, formats, files, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from manifests import BASE, SECRET_KEY, write

REPOSITORY = Path(__file__).parents[2]
LOKI = f"{BASE}/loki/app/helmrelease.yaml"


def loadgen(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LOADGEN_")}
    done = subprocess.run(
        [sys.executable, "-m", "loadgen", "audit", *arguments],
        cwd=cwd,
        env={**env, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout
    return done


def test_a_good_tree_ends_with_0_and_a_report(tmp_path, good):
    write(tmp_path / "tree", good)
    done = loadgen(tmp_path, "tree", "--out", "report")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 13 promises were kept." in done.stdout
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"report.html", "summary.md", "junit.xml", "verdicts.json"}
    markdown = (tmp_path / "report" / "summary.md").read_text()
    assert "## Requirements" in markdown
    assert (
        "| NFR-SEC-002 | HTTPS to S3 only | ✓ pass so far (1 of 2) | ✓ https_s3 | loadgen check: s3.tls |" in markdown
    )
    assert "Audit of 20" in markdown


def test_a_broken_promise_ends_with_1_and_names_file_line_and_remedy(tmp_path, good):
    write(tmp_path / "tree", {**good, LOKI: good[LOKI].replace("replicas: 1", "replicas: 2", 1)})
    done = loadgen(tmp_path, "tree")
    assert done.returncode == 1
    line = good[LOKI].partition("replicas: 1")[0].count("\n") + 1
    assert f"{LOKI}:{line}: loki: replicas of write: 2 instead of 1" in " ".join(done.stdout.split())
    assert "set write.replicas to 1" in done.stdout


def test_what_cannot_be_told_ends_with_2(tmp_path):
    write(tmp_path / "tree", {"a.yaml": "kind: Namespace\n"})
    assert loadgen(tmp_path, "tree").returncode == 2


@pytest.mark.parametrize("form", ["json", "junit", "markdown", "html"])
def test_every_format_is_printed_whole_and_alone(tmp_path, good, form):
    plain = good[LOKI].replace("${S3_SECRET_ACCESS_KEY}", SECRET_KEY)
    write(tmp_path / "tree", {**good, LOKI: plain})
    done = loadgen(tmp_path, "tree", "--format", form)
    assert done.returncode == 1
    assert SECRET_KEY not in done.stdout
    if form == "json":
        content = json.loads(done.stdout)
        assert content["outcome"] == "fail"
        assert len(content["verdicts"]) == 13
    elif form == "junit":
        suite = Xml.fromstring(done.stdout).find("testsuite")
        assert suite is not None
        assert (suite.get("tests"), suite.get("failures")) == ("13", "2")
    else:
        assert "loki: the secret key of storage stands in the values" in done.stdout.replace("\\", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("none",), "no such folder"),
        (("empty",), "no YAML file"),
        (("tree", "--skip", "memroy"), "there is no such rule; the rules are sops,"),
        (("tree", "--format", "xml"), "xml"),
        ((), "DIR"),
    ],
)
def test_bad_input_ends_with_2_and_says_what_to_do(tmp_path, arguments, says):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "tree", {"a.yaml": "kind: Namespace\n"})
    done = loadgen(tmp_path, *arguments)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())


def test_a_rule_that_is_left_out_is_shown_as_skipped(tmp_path, good):
    bad = good[LOKI].replace("replicas: 1", "replicas: 2", 1)
    write(tmp_path / "tree", {**good, LOKI: bad})
    done = loadgen(tmp_path, "tree", "--skip", "single_replica")
    assert done.returncode == 0, done.stdout
    assert "left out by --skip" in done.stdout


def test_the_help_says_what_is_judged_and_how_templates_count(tmp_path):
    text = " ".join(loadgen(tmp_path, "--help").stdout.split())
    for words in ("without a cluster", "--strict", "--format", "never a pass", "No value of a secret is printed"):
        assert words in text
