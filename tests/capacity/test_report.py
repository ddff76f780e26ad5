"""The report of a search: complete, honest about what is not known, self-contained, escaped."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from capacity_kit import (
    LOGS_SENTENCE,
    LOKI_LIMIT,
    a_capacity,
    a_flow,
    a_sizing,
    a_step,
    an_outcome,
    logs_knee,
    logs_search,
    logs_steps,
    some_costs,
    whole,
)
from rich.console import Console

from loadgen.capacity.charts import search_chart
from loadgen.capacity.model import (
    Capacity,
    Cost,
    Ending,
    Refusal,
    Search,
    SearchKind,
    SearchOutcome,
    SizedRow,
    Usage,
    Why,
)
from loadgen.capacity.report import head_of, parts_of, print_capacity, sizing_json, write_capacity
from loadgen.capacity.wording import level_text, number_text, share_text, short
from loadgen.config import Profile
from loadgen.history.directory import RunDirError
from loadgen.report.html import page
from loadgen.report.markdown import escape, summary
from loadgen.report.parts import Chart, Link, Part, Table, Text

EVIL = "<script>alert('x')</script> | [b](javascript:y) & \"q\" \x1b[31m\x00" + "long " * 500
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Reader(HTMLParser):
    """Collects what an HTML file holds, and that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
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
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def html_of(capacity: Capacity, outcome: SearchOutcome) -> str:
    return page(head_of(capacity, outcome), parts_of(capacity, outcome))


def part(parts: Sequence[Part], name: str) -> Part:
    return next(one for one in parts if one.name == name)


def tables(one: Part) -> list[Table]:
    return [block for block in one.blocks if isinstance(block, Table)]


def texts(one: Part) -> str:
    return " ".join(block.text for block in one.blocks if isinstance(block, Text))


def rows_of(table: Table) -> list[dict[str, str]]:
    cells = [[cell.text if isinstance(cell, Link) else cell for cell in row] for row in table.rows]
    return [dict(zip(table.columns, row, strict=True)) for row in cells]


def only(search: Search, steps: Sequence[object], **others: object) -> tuple[Capacity, SearchOutcome]:
    return a_capacity([search], steps), an_outcome(**others)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def everything() -> tuple[Capacity, SearchOutcome]:
    return whole()


@pytest.fixture(scope="module")
def everything_html(everything: tuple[Capacity, SearchOutcome]) -> str:
    return html_of(*everything)


# -- files ---------------------------------------------------------------------------------------------------------


def test_three_files_are_written_and_named(tmp_path: Path, everything: tuple[Capacity, SearchOutcome]) -> None:
    files = write_capacity(tmp_path / "search", *everything)
    assert [file.name for file in files] == ["capacity.html", "capacity.md", "sizing.json"]
    assert sorted(file.name for file in (tmp_path / "search").iterdir()) == sorted(file.name for file in files)
    assert all(file.stat().st_size > 1000 for file in files)
    assert files[0].stat().st_size < 2_500_000


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirError, match="cannot write here"):
        write_capacity(tmp_path / "file", a_capacity(), an_outcome())


def test_the_page_is_well_formed_and_needs_no_network(everything_html: str) -> None:
    reader = Reader(everything_html)
    assert (reader.wrong, reader.open) == ([], [])
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in reader.tags:
        assert tag not in {"link", "img", "iframe", "object"}
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith(("#", "./"))
    assert len([tag for tag, _ in reader.tags if tag == "h1"]) == 1


def test_every_section_could_be_made(everything: tuple[Capacity, SearchOutcome]) -> None:
    parts = parts_of(*everything)
    assert [one.name for one in parts] == [
        "carries", "load-logs", "load-traces", "load-metrics", "load-queries", "load-all", "costs", "sizing", "steps",
        "what-ran",
    ]  # fmt: skip
    assert "could not be made" not in str(parts)


def test_a_section_that_cannot_be_made_costs_only_itself(everything: tuple[Capacity, SearchOutcome]) -> None:
    capacity, outcome = everything
    odd = replace(outcome, costs=(replace(outcome.costs[0], low="much"),))  # type: ignore[arg-type]
    parts = parts_of(capacity, odd)
    assert "could not be made" in texts(part(parts, "costs"))
    assert all("could not be made" not in texts(one) for one in parts if one.name != "costs")


# -- the first sentences -------------------------------------------------------------------------------------------


def test_the_sentences_come_first_each_with_how_its_search_ended(
    everything: tuple[Capacity, SearchOutcome], everything_html: str
) -> None:
    capacity, outcome = everything
    head = head_of(capacity, outcome)
    assert tuple(one.text for one in head.sentences) == outcome.headline
    words = ["measured", "at least", "crashed", "at least", "unfinished"]
    assert [one.word for one in head.sentences] == words
    assert head.overall.word == "crashed" and head.overall.tone == "fail"
    words_of_page = Reader(everything_html).words
    places = [words_of_page.index(text) for text in outcome.headline]
    assert places == sorted(places)
    assert places[-1] < words_of_page.index("how the search ended")
    assert "<title>crashed – homelab-20260921-1000 – loadgen</title>" in everything_html


def test_the_markdown_has_the_same_sentences(everything: tuple[Capacity, SearchOutcome]) -> None:
    capacity, outcome = everything
    text = summary(head_of(capacity, outcome), parts_of(capacity, outcome))
    for sentence in outcome.headline:
        assert escape(sentence) in text
    assert text.startswith("# ✗ crashed: homelab-20260921-1000\n")
    assert "- **= measured:** Loki carries" in text
    assert "Capacity search of 2026-09-21" in text


def test_a_table_in_markdown_has_as_many_cells_in_every_row(everything: tuple[Capacity, SearchOutcome]) -> None:
    cells = 0
    for line in summary(head_of(*everything), parts_of(*everything)).splitlines():
        here = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (here and cells) or here == cells
        cells = here


def test_one_search_alone_gives_one_sentence_with_its_badge() -> None:
    steps = logs_steps()
    capacity, outcome = only(logs_search(), steps, headline=(LOGS_SENTENCE,), knees=(logs_knee(steps),))
    head = head_of(capacity, outcome)
    assert [(one.word, one.tone) for one in head.sentences] == [("measured", "skipped")]
    assert head.overall == head.sentences[0]


@pytest.mark.parametrize(
    ("why", "word", "told"),
    [
        (Why.CEILING, "at least", "every promise was kept up to the ceiling of 50 MB/s"),
        (Why.GENERATOR, "at least", "the generator was the limit, not the stack: at least 2 MB/s is carried"),
        (Why.UNTOLD, "unknown", "steps could not be judged"),
        (Why.MINUTES, "unfinished", "the time for the search was over"),
        (Why.BYTES, "unfinished", "the next step would have written more than is allowed"),
        (Why.UNRECOVERED, "did not recover", "did not come back to work after a step"),
        (Why.INTERRUPTED, "unfinished", "interrupted by a person"),
        (Why.PENDING, "unfinished", "not finished: this is what is known so far"),
    ],
)
def test_a_search_without_a_found_end_says_so_in_words(why: Why, word: str, told: str) -> None:
    search = Search(SearchKind.LOGS, "B/s", 50e6, why, 2e6, None, detail="more on it")
    capacity, outcome = only(search, logs_steps()[:2])
    (row,) = rows_of(tables(part(parts_of(capacity, outcome), "carries"))[0])
    assert row["carries"] == "at least 2 MB/s"
    assert (
        word in row["how the search ended"]
        and told in row["how the search ended"]
        and "more on it" in row["how the search ended"]
    )
    head = head_of(capacity, outcome)
    assert head.overall.word == word
    assert told in head.sentences[0].text


def test_a_level_that_broke_at_once_carries_less_than_that() -> None:
    search = Search(SearchKind.LOGS, "B/s", 50e6, Why.LOWEST, None, 1e6)
    capacity, outcome = only(search, [a_step(1, SearchKind.LOGS, 1e6, Ending.BROKEN, heat=0.9)])
    (row,) = rows_of(tables(part(parts_of(capacity, outcome), "carries"))[0])
    assert (row["carries"], row["breaks at"]) == ("less than 1 MB/s", "1 MB/s")
    assert head_of(capacity, outcome).overall.tone == "fail"


def test_a_level_that_only_the_generator_did_not_reach_is_none_that_the_stack_broke_at() -> None:
    search = Search(SearchKind.LOGS, "B/s", 50e6, Why.GENERATOR, 1e6, 2e6)
    steps = [a_step(1, SearchKind.LOGS, 1e6), a_step(2, SearchKind.LOGS, 2e6, Ending.GENERATOR)]
    capacity, outcome = only(search, steps)
    (row,) = rows_of(tables(part(parts_of(capacity, outcome), "carries"))[0])
    assert (row["carries"], row["breaks at"]) == ("at least 1 MB/s", "–")
    chart = search_chart(capacity, search)
    assert chart is not None and "were broken from" not in chart.alt


def test_what_was_lost_is_nothing_only_where_it_could_be_told() -> None:
    steps = list(logs_steps())

    def lost() -> str:
        capacity, outcome = only(logs_search(), steps, knees=(logs_knee(steps),))
        return rows_of(tables(part(parts_of(capacity, outcome), "carries"))[0])[0]["lost"]

    assert lost() == "nothing"
    steps[7] = replace(steps[7], flows=(a_flow("logs", 4.25e6, ok=False, lost=None),))
    assert lost() == "not told"


# -- nothing known -------------------------------------------------------------------------------------------------


def test_a_search_that_did_not_begin_has_a_page_without_empty_tables() -> None:
    capacity, outcome = a_capacity(), an_outcome()
    parts = parts_of(capacity, outcome)
    assert "could not be made" not in str(parts)
    assert all(table.rows for one in parts for table in tables(one))
    assert head_of(capacity, outcome).overall.word == "nothing measured"
    assert "No step was run." in texts(part(parts, "steps"))
    assert "Your own load is not known" in texts(part(parts, "sizing"))
    text = html_of(capacity, outcome)
    assert 'id="library"' not in text and Reader(text).wrong == []


def test_a_search_without_steps_says_that_it_did_not_begin() -> None:
    capacity, outcome = only(Search(SearchKind.TRACES, "B/s", 50e6), ())
    parts = parts_of(capacity, outcome)
    assert "did not begin" in texts(part(parts, "load-traces"))
    assert all(table.rows for one in parts for table in tables(one))
    assert head_of(capacity, outcome).overall.word == "nothing measured"


def test_steps_without_any_figure_say_so_instead_of_a_chart() -> None:
    bare = a_step(1, SearchKind.LOGS, 1e6, Ending.UNTOLD, flows=(), usage=(Usage("loki", ""),), queries_per_s=0.0)
    capacity, outcome = only(Search(SearchKind.LOGS, "B/s", 50e6, Why.UNTOLD), [bare])
    parts = parts_of(capacity, outcome)
    assert "could not be made" not in str(parts)
    assert "No step has a figure" in texts(part(parts, "load-logs"))
    assert "cost unknown" in texts(part(parts, "costs"))


# -- what went wrong -----------------------------------------------------------------------------------------------


def test_a_crash_is_told_where_it_happened_with_what_was_lost(everything: tuple[Capacity, SearchOutcome]) -> None:
    parts = parts_of(*everything)
    metrics = part(parts, "load-metrics")
    assert "Step 19, 32,000 series: mimir went down under the load." in texts(metrics)
    row = next(row for row in rows_of(tables(part(parts, "carries"))[0]) if row["load"] == "Metrics")
    assert row["lost"] == "123,456 items"
    assert row["how the search ended"].startswith("✗ crashed")
    step = next(row for row in rows_of(tables(part(parts, "steps"))[0]) if row["step"] == "19")
    limited = next(row for row in rows_of(tables(part(parts, "steps"))[0]) if row["step"] == "8")
    told = "9 pushes rejected with HTTP 429: limits_config.ingestion_rate_mb = 4 MB/s"
    assert told in limited["what broke, or is to note"]
    assert "mimir went down" in step["what broke, or is to note"] and step["lost"] == "123,456"


def test_a_generator_that_was_too_slow_is_not_drawn_as_the_stacks_latency(
    everything: tuple[Capacity, SearchOutcome],
) -> None:
    capacity, _ = everything
    chart = search_chart(capacity, capacity.searches[1])
    assert chart is not None
    lines = [trace for trace in chart.figure["data"] if trace["name"] == "push" and trace["mode"] == "lines"]
    assert max(lines[0]["x"]) == 16e6
    marks = [trace for trace in chart.figure["data"] if trace["name"] == "generator too slow" and trace["x"] != [None]]
    assert {tuple(trace["x"]) for trace in marks} == {(32e6,)}


def test_a_limit_is_named_with_its_value(everything: tuple[Capacity, SearchOutcome]) -> None:
    row = rows_of(tables(part(parts_of(*everything), "carries"))[0])[0]
    assert row["limit, or what ran out"] == "limits_config.ingestion_rate_mb = 4 MB/s"
    told = row["first promise broken"]
    assert told.startswith("Logs: the planned rate is accepted – 9 of 180 pushes: 429 ingestion rate limit exceeded")


# -- charts --------------------------------------------------------------------------------------------------------


def test_each_search_has_one_chart_with_words_and_its_numbers(everything: tuple[Capacity, SearchOutcome]) -> None:
    for one in parts_of(*everything):
        if not one.name.startswith("load-"):
            continue
        (chart,) = [block for block in one.blocks if isinstance(block, Chart)]
        assert "steps from" in chart.alt
        assert any(table.folded == "the numbers of the chart" for table in tables(one))


def test_the_chart_has_latency_loss_and_cost_over_a_logarithmic_load(
    everything: tuple[Capacity, SearchOutcome],
) -> None:
    capacity, _ = everything
    chart = search_chart(capacity, capacity.searches[0])
    assert chart is not None
    layout = chart.figure["layout"]
    titles = [note["text"] for note in layout["annotations"]]
    rows = [re.sub("<[^>]*>", "", title) for title in titles if title.startswith("<b>")]
    assert rows == [
        "logs p99 push · panel query · freshness",
        "not accepted logs",
        "CPU cores loki · grafana",
        "memory loki · grafana",
    ]
    assert {"query bound 3 s", "freshness bound 30 s", "promises broken from 4.25 MB/s on"} <= set(titles)
    assert layout["xaxis"]["type"] == "log"
    assert layout["xaxis"]["ticktext"] == ["1 MB", "2 MB", "5 MB"]
    assert layout["xaxis"]["title"]["text"] == "plain bytes per second"
    broken = [trace for trace in chart.figure["data"] if trace["name"] == "broken" and trace["x"] != [None]]
    assert {x for trace in broken for x in trace["x"]} == {8e6, 6e6, 5e6, 4.5e6, 4.25e6}
    json.dumps(chart.figure, allow_nan=False)


def test_a_line_of_load_goes_from_left_to_right(everything: tuple[Capacity, SearchOutcome]) -> None:
    capacity, _ = everything
    for search in capacity.searches:
        chart = search_chart(capacity, search)
        assert chart is not None
        for trace in chart.figure["data"]:
            if trace["mode"] == "lines" and trace["x"] != [None]:
                assert trace["x"] == sorted(trace["x"])


def test_a_level_that_was_tried_twice_counts_by_its_last_try() -> None:
    steps = [
        a_step(1, SearchKind.LOGS, 1e6),
        a_step(2, SearchKind.LOGS, 2e6, Ending.BROKEN, heat=0.97),
        a_step(3, SearchKind.LOGS, 2e6, heat=0.3),
    ]
    search = Search(SearchKind.LOGS, "B/s", 2e6, Why.CEILING, 2e6, None)
    chart = search_chart(a_capacity([search], steps), search)
    assert chart is not None
    push = next(trace for trace in chart.figure["data"] if trace["name"] == "push")
    assert push["x"] == [1e6, 2e6] and push["y"][1] == pytest.approx(push["y"][0])
    broken = [trace for trace in chart.figure["data"] if trace["name"] == "broken" and trace["x"] != [None]]
    assert broken and all(trace["x"] == [2e6] for trace in broken)


@pytest.mark.parametrize("levels", [(1.0,), (1.0, 1.05), (1000.0, 200_000.0), (0.001, 1e9), (3.0, 3.0)])
def test_an_axis_has_a_few_readable_ticks_whatever_its_span(levels: tuple[float, ...]) -> None:
    search = Search(SearchKind.METRICS, "series", 1e9, Why.CEILING, levels[-1])
    steps = [a_step(i + 1, SearchKind.METRICS, level) for i, level in enumerate(levels)]
    chart = search_chart(a_capacity([search], steps), search)
    assert chart is not None
    axis = chart.figure["layout"]["xaxis"]
    low, high = (10**bound for bound in axis["range"])
    assert low < min(levels) and max(levels) < high
    assert 1 <= len(axis["tickvals"]) <= 8
    assert all(low <= tick <= high for tick in axis["tickvals"])
    assert len(set(axis["ticktext"])) == len(axis["ticktext"])


def test_components_that_may_use_the_same_memory_share_one_label() -> None:
    search = Search(SearchKind.ALL, "times", 4, Why.CEILING, 2.0)
    steps = [a_step(i + 1, SearchKind.ALL, float(i + 1)) for i in range(2)]
    steps = [replace(step, usage=tuple(replace(one, memory_limit_bytes=1.6e9) for one in step.usage)) for step in steps]
    chart = search_chart(a_capacity([search], steps), search)
    assert chart is not None
    labels = [note["text"] for note in chart.figure["layout"]["annotations"] if "may use" in note["text"]]
    assert len(labels) == 1 and labels[0].count(" and ") >= 1 and labels[0].endswith("may use 1.6 GB")


def test_a_profile_that_cannot_be_read_costs_only_the_bounds() -> None:
    steps = logs_steps()
    capacity = a_capacity([logs_search()], steps, profile={"nonsense": {"a": 1}})
    chart = search_chart(capacity, logs_search())
    assert chart is not None
    assert not any("bound" in note["text"] for note in chart.figure["layout"]["annotations"])
    own = Profile.model_validate({"objectives": {"logs": {"query_p99": 1.5}}}).model_dump(mode="json")
    chart = search_chart(replace(capacity, profile=own), logs_search())
    assert chart is not None
    assert "query bound 1.5 s" in [note["text"] for note in chart.figure["layout"]["annotations"]]


# -- costs and sizing ----------------------------------------------------------------------------------------------


def test_a_cost_says_its_unit_its_range_and_how_far_its_line_can_be_trusted(
    everything: tuple[Capacity, SearchOutcome],
) -> None:
    one = part(parts_of(*everything), "costs")
    good, poor, few = rows_of(tables(one)[0])
    assert (good["costs"], good["without load"]) == ("0.12 cores per MB/s", "0.021 cores")
    assert (good["the line explains"], good["measured"]) == ("98.1 %", "1 to 8 MB/s")
    assert poor["the line explains"] == "43 % – poor, do not rely on it"
    assert few["the line explains"] == "not told: a line fits any 2 steps"
    assert few["measured"] == "4,000 to 8,000 series"
    assert "beyond it, it is a guess" in texts(one)


def test_a_cost_of_queries_is_one_of_a_rate() -> None:
    cost = Cost("loki", "cores", "1,000 queries", 7.19, 0.3, 0.95, 5, 0.002, 0.032)
    capacity, outcome = only(logs_search(), logs_steps(), costs=(cost,))
    (row,) = rows_of(tables(part(parts_of(capacity, outcome), "costs"))[0])
    assert (row["costs"], row["measured"]) == ("7.19 cores per 1,000 queries/s", "2 to 32 queries/s")


def test_a_component_that_was_not_loaded_is_not_said_to_be_unreadable() -> None:
    steps = logs_steps()
    capacity, outcome = only(logs_search(), steps, costs=some_costs()[:1])
    told = texts(part(parts_of(capacity, outcome), "costs"))
    assert "tempo: not loaded in this search" in told and "mimir: not loaded in this search" in told
    assert "loki: cost unknown" not in told
    assert "grafana: what it used was read" in told


def test_a_component_that_was_asked_but_told_nothing_has_an_unknown_cost() -> None:
    steps = [a_step(1, SearchKind.LOGS, 1e6, usage=(Usage("loki", ""),))]
    told = texts(part(parts_of(*only(logs_search(), steps)), "costs"))
    assert "loki: cost unknown" in told


def test_a_resource_that_never_changed_has_no_line_that_explains_all() -> None:
    even = replace(some_costs()[0], per_unit=0.0, fit=1.0)
    capacity, outcome = only(logs_search(), logs_steps(), costs=(even,))
    (row,) = rows_of(tables(part(parts_of(capacity, outcome), "costs"))[0])
    assert row["the line explains"] == "not told: it was the same in all steps"


def test_a_fit_that_is_no_number_is_not_told() -> None:
    odd = Cost("loki", "cores", "MB/s", float("nan"), float("inf"), float("nan"), 5, 1.0, 2.0)
    capacity, outcome = only(logs_search(), logs_steps(), costs=(odd,))
    (row,) = rows_of(tables(part(parts_of(capacity, outcome), "costs"))[0])
    assert (row["costs"], row["without load"], row["the line explains"]) == ("–", "–", "not told")


def test_what_lies_beyond_what_was_measured_is_marked_as_a_guess(everything: tuple[Capacity, SearchOutcome]) -> None:
    one = part(parts_of(*everything), "sizing")
    once, twice, five = rows_of(tables(one)[1])
    assert (once["memory"], five["memory"], five["CPU"]) == ("160 MB", "≈ 320 MB", "≈ 0.43 cores")
    assert (once["headroom"], five["headroom"]) == ("9.7×", "1.9×")
    assert "≈" not in "".join(once.values()) and "guess" in texts(one)
    assert (twice["S3 a day"], twice["kept for 30 days"]) == ("5.91 GB", "177 GB")
    full = "bucket of 100 GB full in"
    assert (once[full], twice[full], five[full]) == ("never", "85 days", "34 days")
    assert "Never: what retention keeps fits into the bucket." in texts(one)


def test_a_bucket_is_never_full_only_where_that_is_known() -> None:
    row = SizedRow("logs", 1.0, 1e5, None, None, None, None, None, None, False)
    sized = replace(a_sizing(), rows=(row,))
    (told,) = rows_of(tables(part(parts_of(a_capacity(), an_outcome(sizing=sized)), "sizing"))[1])
    assert told["bucket of 100 GB full in"] == "–" and told["headroom"] == "–"


def test_headroom_is_the_least_of_it_where_the_search_found_no_end() -> None:
    row = SizedRow("logs", 1.0, 1e5, 0.7, None, None, None, None, None, False)
    sized = replace(a_sizing(), rows=(row,))

    def told(search: Search) -> tuple[str, str]:
        capacity, outcome = only(search, logs_steps(), sizing=sized)
        parts = parts_of(capacity, outcome)
        return rows_of(tables(part(parts, "sizing"))[1])[0]["headroom"], texts(part(parts, "carries"))

    found, sentence = told(logs_search())
    assert found == "0.7×" and "loadgen sent 0.7× that with every promise kept" in sentence
    assert told(Search(SearchKind.LOGS, "B/s", 4e6, Why.CEILING, 4e6, None))[0] == "≥ 0.7×"
    assert told(Search(SearchKind.TRACES, "B/s", 4e6, Why.FOUND, 3e6, 4e6))[0] == "≥ 0.7×"


def test_stored_bytes_advice_and_what_is_missing_are_told(everything: tuple[Capacity, SearchOutcome]) -> None:
    one = part(parts_of(*everything), "sizing")
    stored, advice, missing = (rows_of(table) for table in tables(one)[2:])
    assert (stored[0]["per plain byte"], stored[0]["seen in S3"]) == ("0.0832", "99.8 %")
    assert advice[0]["limit"] == "limits_config.ingestion_rate_mb" and advice[0]["today"] == "4 MB/s"
    assert "capacity.own.traces" in str(missing)


# -- steps ---------------------------------------------------------------------------------------------------------


def test_every_step_is_listed_and_leads_to_its_report(
    everything: tuple[Capacity, SearchOutcome], everything_html: str
) -> None:
    capacity, _ = everything
    table = tables(part(parts_of(*everything), "steps"))[0]
    assert len(table.rows) == len(capacity.steps) and table.folded
    hrefs = {attributes.get("href") for tag, attributes in Reader(everything_html).tags if tag == "a"}
    assert {f"./{step.folder}/report.html" for step in capacity.steps} <= hrefs
    first = rows_of(table)[0]
    assert (first["planned"], first["not accepted"], first["lost"], first["ended"]) == ("1 MB/s", "0 %", "0", "✓ kept")


def test_a_step_whose_report_is_not_there_is_no_link(
    everything: tuple[Capacity, SearchOutcome], tmp_path: Path
) -> None:
    capacity, _ = everything
    there = capacity.steps[1]
    (tmp_path / there.folder).mkdir(parents=True)
    (tmp_path / there.folder / "report.html").touch()
    table = tables(part(parts_of(*everything, tmp_path), "steps"))[0]
    assert [cell for cell in (row[0] for row in table.rows) if isinstance(cell, Link)] == [
        Link(str(there.number), f"{there.folder}/report.html")
    ]


def test_a_push_that_was_taken_at_last_is_not_told_as_refused() -> None:
    again = Refusal("logs", "accepted", 204, 7, "429 rate limited", None)
    silent = Refusal("logs", "discarded", 0, 0, "rate_limited: 12 lines/s", None)
    step = a_step(1, SearchKind.LOGS, 1e6, Ending.BROKEN, heat=0.9, refusals=(again, silent))
    (row,) = rows_of(tables(part(parts_of(*only(logs_search(), [step])), "steps"))[0])
    told = row["what broke, or is to note"]
    assert "7 pushes taken only when sent again: 429 rate limited" in told
    assert "; discarded: rate_limited: 12 lines/s" in told


def test_a_short_list_of_steps_is_not_folded() -> None:
    capacity, outcome = only(logs_search(), logs_steps())
    assert not tables(part(parts_of(capacity, outcome), "steps"))[0].folded


@pytest.mark.parametrize("folder", ["javascript:alert(1)", "//example.com/x", "../../etc", "a b<c>\"'", "é"])
def test_a_folder_from_a_stored_file_leads_nowhere_else(folder: str) -> None:
    capacity, outcome = only(logs_search(), [replace(logs_steps()[0], folder=folder)])
    hrefs = [a.get("href") or "" for tag, a in Reader(html_of(capacity, outcome)).tags if tag == "a"]
    outside = [href for href in hrefs if not href.startswith("#")]
    assert all(re.fullmatch(r"\./[\w.%-][\w./%-]*/report\.html", href, re.A) and ".." not in href for href in outside)


def test_settings_of_the_search_read_as_one_writes_them(everything: tuple[Capacity, SearchOutcome]) -> None:
    what = tables(part(parts_of(*everything), "what-ran"))
    told = dict(next(table for table in what if table.columns[0] == "[capacity]").rows)
    assert (told["max_rate"], told["recover_within"], told["retention"]) == ("50 MB/s", "90 s", "30 d")
    assert told["kinds"] == "logs, traces, queries, metrics, all"
    assert ("notes",) in [table.columns for table in what]


# -- text from outside ---------------------------------------------------------------------------------------------


def hostile() -> tuple[Capacity, SearchOutcome]:
    steps = list(logs_steps())
    limit = replace(LOKI_LIMIT, setting=EVIL, value=EVIL, message=EVIL)
    evil_broken = tuple(
        replace(one, check=EVIL, promise=EVIL, objective=EVIL, measured=EVIL, remedy=EVIL) for one in steps[7].broken
    )
    steps[7] = replace(
        steps[7], broken=evil_broken, note=EVIL, crashed=(EVIL,), refusals=(Refusal("logs", EVIL, 429, 9, EVIL, limit),)
    )
    usage = tuple(replace(one, component="</script><b>x</b>") for one in steps[0].usage[:1])
    steps[0] = replace(steps[0], usage=usage)
    knee = replace(logs_knee(steps), promise=EVIL, said=(EVIL, EVIL), limit=limit, machine=EVIL, sentence=EVIL)
    capacity = a_capacity(
        [replace(logs_search(), unit=EVIL, detail=EVIL)],
        steps,
        name=EVIL,
        version=EVIL,
        notes=(EVIL,),
        engines={EVIL: EVIL},
        target_source=EVIL,
        target={"name": EVIL, "password": "hunter2"},
    )
    sized = a_sizing()
    sized = replace(
        sized,
        notes=(EVIL,),
        stored=tuple(replace(one, note=EVIL) for one in sized.stored),
        own=tuple(replace(one, source=EVIL) for one in sized.own),
        advice=tuple(replace(one, component=EVIL, setting=EVIL, today=EVIL) for one in sized.advice),
    )
    cost = replace(some_costs()[0], component=EVIL, resource=EVIL, unit=EVIL)
    return capacity, SearchOutcome((EVIL,), (knee,), (cost,), sized)


def test_text_from_outside_is_escaped_and_shortened_in_html() -> None:
    text = html_of(*hostile())
    reader = Reader(text)
    assert "could not be made" not in reader.words
    assert (reader.wrong, reader.open) == ([], [])
    assert "<script>alert" not in text and "</script><b>" not in text
    assert len([tag for tag, _ in reader.tags if tag == "script"]) == 3
    assert "alert('x')" in reader.words
    assert max(len(piece) for piece in reader.text) < 1000
    assert "\x1b" not in text and "\x00" not in text
    assert "hunter2" not in text


def test_text_from_outside_stays_text_in_markdown() -> None:
    capacity, outcome = hostile()
    text = summary(head_of(capacity, outcome), parts_of(capacity, outcome))
    assert "<script" not in text.replace("\\<", "")
    assert "](javascript" not in text.replace("\\]", "")
    assert "\x1b" not in text
    assert all(line.endswith(" |") for line in text.splitlines() if line.startswith("| "))


def test_text_is_shortened_and_cannot_steer_a_terminal() -> None:
    assert short("a\x1b[31mb\n c\u202e") == "a [31mb c"
    assert short("x" * 1000, 10) == "x" * 9 + "…"
    assert short(" " * 5000 + "x", 10).endswith("…")
    assert short("ok") == "ok"


# -- numbers -------------------------------------------------------------------------------------------------------


def test_no_number_is_told_with_more_digits_than_it_has(everything: tuple[Capacity, SearchOutcome]) -> None:
    parts = parts_of(*everything)
    words = [
        cell.text if isinstance(cell, Link) else cell
        for one in parts
        for t in tables(one)
        for row in t.rows
        for cell in row
    ]
    words += [block.text for one in parts for block in one.blocks if isinstance(block, Text)]
    assert len(words) > 300
    for text in words:
        assert not re.search(r"\d\.\d{5,}", text), text
        assert "nan" not in text.lower().split() and "None" not in text and "e+" not in text, text


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (level_text(3.9999999e6, "B/s"), "4 MB/s"),
        (level_text(12_345.0, "series"), "12,345 series"),
        (level_text(12.5, "queries/s"), "12.5 queries/s"),
        (level_text(2.0, "times"), "2×"),
        (level_text(None, "B/s"), "–"),
        (number_text(0.0), "0"),
        (number_text(0.000012345), "1e-05"),
        (number_text(123_456.7), "123,457"),
        (number_text(99.96), "100"),
        (number_text(float("nan")), "–"),
        (share_text(0.00001), "< 0.01 %"),
        (share_text(0.99999), "> 99.9 %"),
        (share_text(0.0), "0 %"),
        (share_text(None), "–"),
    ],
)
def test_numbers_read_as_people_write_them(told: str, text: str) -> None:
    assert told == text


# -- JSON ----------------------------------------------------------------------------------------------------------


def test_the_json_has_stable_names(everything: tuple[Capacity, SearchOutcome]) -> None:
    told = json.loads(sizing_json(*everything))
    assert list(told) == [
        "format", "name", "began_ns", "ended_ns", "version", "engines", "outcome", "headline", "searches", "knees",
        "costs", "sizing",
    ]  # fmt: skip
    assert told["outcome"] == "crashed"
    assert told["searches"][0]["why"] == "found" and told["searches"][0]["kept"] == 3.9999999e6
    assert told["knees"][0]["limit"]["number"] == 4_194_304.0
    assert told["costs"][0]["per_unit"] == 0.1234567
    assert told["sizing"]["rows"][0]["days_until_full"] is None
    assert told["sizing"]["stored"][0]["stored_bytes_per_plain_byte"] == pytest.approx(99.6 / 1200 / 0.998)


def test_the_json_of_nothing_is_json_and_a_number_that_is_none_is_null() -> None:
    assert json.loads(sizing_json(a_capacity(), an_outcome()))["outcome"] == "nothing measured"
    odd = replace(some_costs()[0], fit=float("nan"), idle=float("inf"))
    told = json.loads(sizing_json(a_capacity(), an_outcome(costs=(odd,))))
    assert told["costs"][0]["fit"] is None and told["costs"][0]["idle"] is None


# -- terminal ------------------------------------------------------------------------------------------------------


def shown(capacity: Capacity, outcome: SearchOutcome, width: int = 140, terminal: bool = False) -> str:
    out = io.StringIO()
    print_capacity(Console(file=out, width=width, force_terminal=terminal), capacity, outcome)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_terminal_ends_with_the_sentences_at_any_width(
    everything: tuple[Capacity, SearchOutcome], width: int
) -> None:
    text = " ".join(shown(*everything, width).split())
    for sentence in everything[1].headline:
        assert sentence in text
    assert text.rindex("= measured") < text.rindex("✗ crashed") < text.rindex("? unfinished")
    assert "limits_config.ingestion_rate_mb" in text and "9.7×" in text


def test_colours_are_only_for_a_terminal(everything: tuple[Capacity, SearchOutcome]) -> None:
    assert "\x1b" not in shown(*everything)
    assert "\x1b[" in shown(*everything, terminal=True)


def test_markup_from_outside_is_not_obeyed_in_the_terminal() -> None:
    odd = "[red]not red[/red] [/nothing] \x1b[2J"
    capacity, outcome = only(logs_search(), logs_steps(), headline=(odd,))
    text = shown(capacity, outcome, terminal=True)
    assert "[red]not red[/red] [/nothing]" in text
    assert "\x1b[2J" not in text


def test_a_search_of_nothing_prints_one_sentence() -> None:
    text = shown(a_capacity(), an_outcome())
    assert text.strip() == "? nothing measured  Nothing was measured: the search did not begin."
