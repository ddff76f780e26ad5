"""The report's files: complete, self-contained, escaped, valid."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from made_history import BEGAN_NS, Made, empty_run, good_run
from rich.console import Console

from loadgen import report
from loadgen.checks import judge, outcome
from loadgen.history.directory import RunDir
from loadgen.model import HELD_DATA, NS, QueryTiming, Result, RunKey, StackSample, Verdict
from loadgen.report import facts_of, parts_of, write_report
from loadgen.report.html import page
from loadgen.report.junit import clean, junit_xml
from loadgen.report.markdown import escape
from loadgen.report.parts import Chart, Facts, Promises, Table, Text
from loadgen.report.terminal import print_verdicts
from loadgen.report.words import headline

EVIL = "<script>alert('x')</script> | [b](javascript:y) & \"q\""
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Reader(HTMLParser):
    """Collects what an HTML file holds, and that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def spoiled() -> Made:
    """A run with a lost line, refused pushes and a late component."""
    own = {"component": "mimir", "query": EVIL, "name": EVIL, "range": "7d"}
    made = good_run({"objectives": {"logs": {"query_p99": 2}}, "queries": [own, {"component": "tempo", "query": "{}"}]})
    made.queries.append(
        QueryTiming("mimir", EVIL, "grafana", "own", 604_800.0, BEGAN_NS, BEGAN_NS, BEGAN_NS, False, 400, 0, EVIL)
    )
    made.change(
        "sightings",
        lambda s: (s.signal, s.phase, s.user, s.n) == ("logs", "verify", 1, 17),
        missing=1,
        detail=EVIL,
    )
    made.change("receipts", lambda r: r.signal == "metrics" and r.n == 31, outcome="rejected", status=429, detail=EVIL)
    made.drop("objects", lambda o: o.component == "mimir")
    made.info = replace(
        made.info,
        key=RunKey(EVIL, 1, BEGAN_NS),
        notes=(EVIL,),
        versions={"loadgen": EVIL},
        engines={"loki": "embedded", "grafana": EVIL},
        target={"via": "direct", "name": EVIL, "s3": {"endpoint": "http://s3", "secret_access_key": "hunter2"}},
    )
    made.damaged = (EVIL,)
    return made


def facts(made: Made) -> Facts:
    history = made.history()
    return facts_of(history, made.plan, judge(history, made.plan))


@pytest.fixture(scope="module")
def good() -> Facts:
    return facts(good_run())


@pytest.fixture(scope="module")
def bad() -> Facts:
    return facts(spoiled())


@pytest.fixture(scope="module")
def good_html(good: Facts) -> str:
    return page(good.head, parts_of(good))


@pytest.fixture(scope="module")
def bad_html(bad: Facts) -> str:
    return page(bad.head, parts_of(bad))


def test_three_files_are_written(tmp_path: Path) -> None:
    made = good_run()
    history = made.history()
    run = RunDir.create(tmp_path / "run", made.info)
    files = write_report(run, history, made.plan, judge(history, made.plan))
    assert [file.name for file in files] == ["report.html", "summary.md", "junit.xml"]
    assert all(file.stat().st_size > 1000 for file in files)
    assert files[0].stat().st_size < 2_500_000


def test_the_html_is_well_formed(good_html: str, bad_html: str) -> None:
    for text in (good_html, bad_html):
        reader = Reader(text)
        assert reader.wrong == []
        assert reader.open == []
        ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
        assert len(ids) == len(set(ids))


def test_the_html_needs_no_network(bad_html: str) -> None:
    reader = Reader(bad_html)
    for tag, attributes in reader.tags:
        assert tag not in {"link", "img", "iframe", "object"}
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(a["content"] for t, a in reader.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'")
    style = re.search(r"<style>(.*?)</style>", bad_html, re.S)
    assert style is not None and "url(" not in style[1] and "@import" not in style[1]


def test_the_outcome_and_one_sentence_come_first_then_the_promises(bad: Facts, bad_html: str) -> None:
    reader = Reader(bad_html)
    first = next(i for i, (tag, _) in enumerate(reader.tags) if tag == "h1")
    sections = [a["id"] for tag, a in reader.tags[first:] if tag == "section"]
    assert sections[:2] == ["promises", "throughput"]
    assert headline(bad.outcome, bad.verdicts) in reader.words
    assert "logs.loss" in headline(bad.outcome, bad.verdicts)


def test_every_verdict_is_in_the_html_with_word_and_sign(bad: Facts, bad_html: str) -> None:
    words = Reader(bad_html).words
    for verdict in bad.verdicts:
        assert verdict.check in words
        for text in (*verdict.evidence, verdict.measured):
            assert " ".join(text.split()) in words
    assert "✗ FAIL" in words and "✓ pass" in words and "? unknown" in words


def test_broken_promises_come_before_kept_ones(bad: Facts) -> None:
    block = next(b for part in parts_of(bad) for b in part.blocks if isinstance(b, Promises))
    results = [verdict.result for verdict in block.verdicts]
    assert results[0] is Result.FAIL
    assert results == sorted(results, key=[Result.FAIL, Result.UNKNOWN, Result.PASS, Result.SKIPPED].index)


def test_an_own_objective_is_marked(bad_html: str) -> None:
    assert "set by the profile" in Reader(bad_html).words


def test_text_from_outside_is_escaped_in_html(bad_html: str) -> None:
    assert "<script>alert" not in bad_html
    reader = Reader(bad_html)
    assert not any("alert" in script for script in reader.scripts if "Plotly" in script)
    assert len([tag for tag, _ in reader.tags if tag == "script"]) == 3
    assert EVIL in " ".join(reader.text)


def test_text_from_outside_cannot_leave_the_charts_data() -> None:
    made = spoiled()
    made.change("queries", lambda q: q.component == "loki" and q.kind == "logs", kind="</script><b>x</b>")
    text = page((f := facts(made)).head, parts_of(f))
    assert "</script><b>" not in text
    data = next(script for script in Reader(text).scripts if script.startswith("{"))
    assert "&lt;/script&gt;&lt;b&gt;" in json.dumps(json.loads(data))


def test_no_secret_is_shown(bad_html: str) -> None:
    assert "hunter2" not in bad_html
    assert "(not shown)" in Reader(bad_html).words


def test_embedded_servers_are_named_beside_the_verdicts_in_plain_words(good: Facts) -> None:
    text = " ".join(b.text for b in parts_of(good)[0].blocks if hasattr(b, "text"))
    assert "Loki, Tempo and Mimir: embedded" in text
    assert "not the real ones" in text


def test_reading_without_grafana_is_said_beside_the_verdicts(bad: Facts) -> None:
    text = " ".join(b.text for b in parts_of(bad)[0].blocks if hasattr(b, "text"))
    assert "not through Grafana" in text
    assert "damaged" in text


def test_the_charts_library_is_inside_and_unpacks(good_html: str) -> None:
    scripts = Reader(good_html).scripts
    packed = next(script for script in scripts if script.startswith("H4sI"))
    assert b"plotly.js" in gzip.decompress(base64.b64decode(packed))[:200]


def test_charts_are_there_with_words_for_those_who_cannot_see_them(good: Facts) -> None:
    charts = [b for part in parts_of(good) for b in part.blocks if isinstance(b, Chart)]
    assert {c.name for c in charts} == {"throughput", "push-latency", "query-latency", "freshness", "s3-delay", "stack"}
    for part in parts_of(good):
        if any(isinstance(b, Chart) for b in part.blocks):
            assert any(isinstance(b, Table) for b in part.blocks)


def test_restarts_are_marked_in_every_chart(good: Facts) -> None:
    for part in parts_of(good):
        for block in part.blocks:
            if isinstance(block, Chart):
                bands = [s for s in block.figure["layout"]["shapes"] if s["type"] == "rect"]
                assert [band["x0"] for band in bands] == [20, 30, 40]
                names = {a["text"] for a in block.figure["layout"]["annotations"]}
                assert {"loki kill", "tempo kill", "mimir kill"} <= names


def test_charts_of_a_long_run_stay_small() -> None:
    made = good_run(
        {"run": {"duration": 6 * 3600}, "dashboards": {"refresh": 5}, "freshness": {"every": 10}, "faults": []}
    )
    for block in (b for part in parts_of(facts(made)) for b in part.blocks):
        if isinstance(block, Chart):
            assert all(len(trace["x"]) <= 2000 for trace in block.figure["data"])
            assert all(len(trace["x"]) == len(trace["y"]) for trace in block.figure["data"])


def test_the_largest_value_survives_the_thinning() -> None:
    made = good_run({"run": {"duration": 3600}, "dashboards": {"refresh": 0.25}, "faults": []})
    position = next(i for i, q in enumerate(made.queries) if q.component == "loki" and q.due_ns > BEGAN_NS + 1800 * NS)
    slow = made.queries[position]
    made.queries[position] = replace(slow, done_ns=slow.due_ns + 47 * NS)
    chart = next(
        b for part in parts_of(facts(made)) for b in part.blocks if isinstance(b, Chart) and b.name == "query-latency"
    )
    assert max(y for trace in chart.figure["data"] for y in trace["y"] if y) == pytest.approx(47)


def test_a_run_without_data_has_a_report_too() -> None:
    f = facts(empty_run())
    text = page(f.head, parts_of(f))
    assert Reader(text).wrong == []
    assert "could not be made" not in text
    assert 'id="library"' not in text  # nothing to draw


def test_a_section_that_breaks_costs_only_itself(monkeypatch: pytest.MonkeyPatch, good: Facts) -> None:
    def broken(_: Facts) -> None:
        raise RuntimeError("out of ink")

    monkeypatch.setattr(report, "SECTIONS", (*report.SECTIONS[:1], broken))
    parts = parts_of(good)
    assert parts[0].name == "promises"
    assert "out of ink" in str(parts[1].blocks)


# -- own queries ---------------------------------------------------------------------------------------------------


def asked(made: Made, component: str, title: str, took_ms: int, items: int, ok: bool = True) -> None:
    for number in range(100):
        due_ns = BEGAN_NS + number * NS // 2
        done_ns = due_ns + took_ms * (number + 1) * 1_000_000
        status, detail = (200, "") if ok else (400, "parse error: no such thing")
        made.queries.append(
            QueryTiming(component, title, "grafana", "own", 1.0, due_ns, due_ns, done_ns, ok, status, items, detail)
        )


def test_own_queries_have_a_table_with_all_that_is_known_of_them() -> None:
    logs = {"component": "loki", "query": '{a="b"}', "range": "24h"}
    empty = {"component": "mimir", "query": "up", "name": "targets", "range": "7d"}
    wrong = {"component": "tempo", "query": "{ nonsense", "range": "1h"}
    unasked = {"component": "mimir", "query": "down"}
    made = good_run({"faults": [], "queries": [logs, empty, wrong, unasked]})
    asked(made, "loki", '{a="b"}', 1, 250)
    asked(made, "mimir", "targets", 2, 0)
    asked(made, "tempo", "{ nonsense", 1, 0, ok=False)
    made.stack += [
        StackSample("loki", HELD_DATA, '{a="b"}', BEGAN_NS, 0.25),
        StackSample("mimir", HELD_DATA, "targets", BEGAN_NS, 0.0),
    ]
    part = next(part for part in parts_of(facts(made)) if part.name == "own-queries")
    table = next(block for block in part.blocks if isinstance(block, Table))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["query"] for row in rows] == ['{a="b"}', "up", "down", "{ nonsense"]
    assert rows[0] == {
        "component": "loki", "name": "–", "query": '{a="b"}', "range": "24 h",
        "held data": "at most 6 h of 24 h", "asked": "100", "refused": "0", "failed": "0", "p50": "50 ms",
        "p99": "99 ms", "slowest": "100 ms", "items": "up to 250",
    }  # fmt: skip
    assert (rows[1]["name"], rows[1]["held data"], rows[1]["items"]) == ("targets", "0 of 7 d", "nothing")
    assert (rows[2]["asked"], rows[2]["p99"], rows[2]["items"], rows[2]["held data"]) == ("0", "–", "–", "not known")
    assert (rows[3]["refused"], rows[3]["failed"], rows[3]["p50"]) == ("100", "0", "–")
    texts = [block.text for block in part.blocks if isinstance(block, Text)]
    assert "{ nonsense: parse error: no such thing" in texts
    assert "targets returned nothing, so its speed proves nothing." in texts


def test_a_profile_without_own_queries_has_no_section_of_them(good: Facts) -> None:
    assert "own-queries" not in {part.name for part in parts_of(good)}


def test_the_latency_table_says_how_much_of_a_range_held_data(good: Facts) -> None:
    part = next(part for part in parts_of(good) if part.name == "query-latency")
    table = next(block for block in part.blocks if isinstance(block, Table))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    week = next(row for row in rows if row["range"] == "7 d")
    assert re.fullmatch(r"5\d(\.\d)? s", week["of it with data"])
    assert next(row for row in rows if row["kind"] == "instant")["of it with data"] == "–"


# -- markdown ------------------------------------------------------------------------------------------------------


def test_the_summary_tells_the_same_facts(bad: Facts) -> None:
    text = report.summary(bad.head, parts_of(bad))
    for verdict in bad.verdicts:
        assert escape(verdict.check) in text
        if verdict.result in (Result.FAIL, Result.UNKNOWN):
            assert escape(verdict.remedy) in text
    assert escape(headline(bad.outcome, bad.verdicts)) in text


def test_text_from_outside_stays_text_in_markdown(bad: Facts) -> None:
    text = report.summary(bad.head, parts_of(bad))
    assert "<script" not in text.replace("\\<", "")
    for line in text.splitlines():
        if line.startswith("| "):
            assert line.endswith(" |")
    assert escape("a|b\n<i>*x*`y`") == "a\\|b \\<i\\>\\*x\\*\\`y\\`"
    assert escape("max_chunk_age") == "max_chunk_age"


def test_every_table_row_has_as_many_cells_as_its_head(bad: Facts) -> None:
    cells = 0
    for line in report.summary(bad.head, parts_of(bad)).splitlines():
        here = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (here and cells) or here == cells
        cells = here


# -- JUnit ---------------------------------------------------------------------------------------------------------


def test_junit_counts_and_kinds_follow_the_verdicts(bad: Facts) -> None:
    root = Xml.fromstring(junit_xml(bad.head))
    (suite,) = root.findall("testsuite")
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert len(cases) == len(bad.verdicts) == int(suite.get("tests", "0"))
    kinds = {Result.FAIL: "failure", Result.UNKNOWN: "error", Result.SKIPPED: "skipped"}
    for verdict in bad.verdicts:
        found = {child.tag for child in cases[verdict.check]} - {"system-out"}
        assert found == ({kinds[verdict.result]} if verdict.result in kinds else set())
    assert suite.get("failures") == str(sum(v.result is Result.FAIL for v in bad.verdicts))
    assert suite.get("errors") == str(sum(v.result is Result.UNKNOWN for v in bad.verdicts))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))


def test_junit_survives_characters_that_xml_forbids(bad: Facts) -> None:
    first = replace(bad.verdicts[0], evidence=("a\x00b\x1b[31m\ud800\uffff]]>",))
    root = Xml.fromstring(junit_xml(Facts(bad.case, (first,), Result.FAIL).head))
    assert "a�b" in "".join(root.itertext())
    assert clean("ok\n\t✓") == "ok\n\t✓"


# -- terminal ------------------------------------------------------------------------------------------------------


def shown(verdicts: tuple[Verdict, ...], width: int = 120) -> str:
    out = io.StringIO()
    print_verdicts(Console(file=out, width=width, force_terminal=False), verdicts, outcome(verdicts))
    return out.getvalue()


def test_the_terminal_shows_every_promise_and_what_to_do(bad: Facts) -> None:
    text = shown(bad.verdicts, 200)
    assert all(verdict.check in text for verdict in bad.verdicts)
    failed = next(v for v in bad.verdicts if v.result is Result.FAIL)
    assert failed.remedy[:40] in text
    assert text.rstrip().splitlines()[-1].startswith("✗ FAIL")


def test_markup_from_outside_is_not_obeyed_in_the_terminal(bad: Facts) -> None:
    odd = replace(bad.verdicts[0], evidence=("[red]not red[/red] [/nothing]",))
    assert "[red]not red[/red] [/nothing]" in shown((odd,))


def test_a_narrow_terminal_still_shows_the_outcome(good: Facts) -> None:
    assert "promises were kept" in shown(good.verdicts, 60)


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ([Result.PASS, Result.PASS], "All 2 promises were kept."),
        ([Result.PASS, Result.SKIPPED], "The promise was kept. 1 did not apply."),
        ([Result.FAIL, Result.PASS], "1 of 2 promises was broken: c0."),
        ([Result.UNKNOWN, Result.PASS], "1 of 2 promises could not be told: c0. None was seen broken."),
        ([Result.SKIPPED], "Nothing was judged: every promise was skipped."),
    ],
)
def test_the_headline_is_one_plain_sentence(good: Facts, results: list[Result], text: str) -> None:
    verdicts = [replace(good.verdicts[0], check=f"c{i}", result=result) for i, result in enumerate(results)]
    assert headline(outcome(verdicts), verdicts) == text


def test_planned_queries_that_were_never_asked_are_in_chart_and_tables_and_not_among_the_failed() -> None:
    made = good_run({"faults": [], "queries": [{"component": "mimir", "query": "up"}]})
    from_ns, until_ns = BEGAN_NS + 20 * NS, BEGAN_NS + 40 * NS
    hidden = {"end": "missed", "ok": False, "status": 0, "sent_ns": 0, "done_ns": until_ns}
    count = made.change("queries", lambda q: q.component == "loki" and from_ns <= q.due_ns < until_ns, **hidden)
    own = QueryTiming("mimir", "up", "grafana", "own", 3600.0, BEGAN_NS, 0, BEGAN_NS + NS, False, 0, 0, "", "missed")
    made.queries += [own, replace(own, end="cut")]
    parts = {part.name: part for part in parts_of(facts(made))}
    blocks = parts["query-latency"].blocks
    table = next(block for block in blocks if isinstance(block, Table))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    mine = [row for row in rows if row["component"] == "loki"]
    assert sum(int(row["never asked"]) for row in mine) == count and {row["failed"] for row in rows} == {"0"}
    assert max(float(row["slowest"].split()[0]) for row in mine) > 15
    chart = next(block for block in blocks if isinstance(block, Chart))
    assert "no answer, waited" in str(chart.figure)
    assert any("planned 1 times more" in block.text for block in parts["own-queries"].blocks if isinstance(block, Text))
    slowest = [block for block in parts["slowest"].blocks if isinstance(block, Table)][1]
    assert [row[3] for row in slowest.rows[:3]] == ["never asked"] * 3
