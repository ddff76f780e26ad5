"""The user's own queries: asked in their component's language, timed from when they were due."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from loadgen.config import ConfigError, OwnQuery, Target, parse_profile
from loadgen.lab.manager import Lab
from loadgen.lab.target import lab_target
from loadgen.model import HELD_DATA, NS
from loadgen.own import ask, held_data, is_log_query, look_back
from loadgen.targets.mimir import MimirReader
from loadgen.targets.readers import Readers, open_readers
from loadgen.targets.reading import Reply, Series

NOW_NS = 1_790_000_000 * NS


def query(component: str, text: str, range_s: float = 3600.0, **more: Any) -> OwnQuery:
    return OwnQuery.model_validate({"component": component, "query": text, "range": range_s, **more})


def nobody() -> Readers:
    target = Target.model_validate({"grafana": {"url": "http://127.0.0.1:1"}})
    return open_readers(target, time.time_ns, None, 1.0, "own")


@pytest.mark.parametrize(
    ("component", "text", "path"),
    [
        ("loki", '{namespace="monitoring"}', "/loki/api/v1/query_range"),
        ("loki", 'sum(rate({namespace="monitoring"}[5m]))', "/loki/api/v1/query_range"),
        ("mimir", "up", "/api/v1/query_range"),
        ("tempo", "{}", "/api/search"),
    ],
)
def test_each_component_is_asked_in_its_own_way_from_the_due_time(component: str, text: str, path: str) -> None:
    timing = ask(nobody(), query(component, text, name="mine"), NOW_NS, 123)
    assert (timing.component, timing.kind, timing.source, timing.due_ns) == (component, "mine", "own", 123)
    assert not timing.ok and path in timing.detail
    assert timing.range_s == 3600.0


@pytest.mark.parametrize(("text", "lines"), [('  {a="b"} |= "x"', True), ('count_over_time({a="b"}[1m])', False)])
def test_a_query_that_begins_with_a_selector_gives_lines(text: str, lines: bool) -> None:
    assert is_log_query(text) is lines


class _Held(MimirReader):
    """A Mimir that has data in the last so many seconds."""

    def __init__(self, held_s: float) -> None:
        self._held_s = held_s

    def range(
        self, expression: str, start_ns: int, end_ns: int, step_s: int, due_ns: int = 0
    ) -> Reply[tuple[Series, ...]]:
        moments = range(start_ns, end_ns + 1, step_s * NS)
        points = tuple((at / NS, 1.0) for at in moments if at > end_ns - self._held_s * NS)
        return Reply((Series((), points),) if points else (), "", 200, 1, 2)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_share_of_a_range_that_held_data_is_told(share: float) -> None:
    readers = replace(nobody(), mimir=_Held(share * 604_800))
    assert held_data(readers, query("mimir", "up", 604_800), NOW_NS) == pytest.approx(share, abs=0.02)


def test_what_cannot_be_told_is_left_out() -> None:
    assert held_data(nobody(), query("loki", '{a="b"}'), NOW_NS) is None
    assert held_data(nobody(), query("tempo", "{}"), NOW_NS) is None
    assert look_back(nobody(), (query("loki", '{a="b"}'),), lambda: NOW_NS) == []


def test_the_embedded_servers_answer_the_queries_of_the_profiles_with_nothing(tmp_path: Any) -> None:
    lab = Lab.open(tmp_path / "lab")
    try:
        readers = open_readers(lab_target(lab.up()), time.time_ns, None, 10.0, "own")
        queries = (
            query("loki", '{namespace="monitoring"}', 86_400),
            query("mimir", "up", 604_800),
            query("tempo", "{}"),
        )
        for one in queries:
            timing = ask(readers, one, time.time_ns(), time.time_ns())
            assert (timing.ok, timing.items, timing.detail) == (True, 0, "")
        shares = look_back(readers, queries, time.time_ns)
        assert [(sample.metric, sample.value) for sample in shares] == [(HELD_DATA, 0.0)] * 3
    finally:
        lab.wipe()


def test_two_queries_of_one_name_cannot_be_told_apart_and_are_refused() -> None:
    twice = [{"component": "mimir", "query": "up"}, {"component": "mimir", "query": "up", "range": "24h"}]
    with pytest.raises(ConfigError, match="different names"):
        parse_profile({"queries": twice}, "test")
    parse_profile({"queries": [twice[0], {**twice[1], "name": "up, a day"}]}, "test")
