from __future__ import annotations

from pathlib import Path

import pytest
from loki_harness import NOW_NS, NS, Client, Clock, loki, wait_for

from loadgen.lab.s3.localstore import MemoryStore

LINES = [f"level=info seq={i} id=a{i}f" for i in range(5)]


def push(client: Client) -> None:
    client.push(({"app": "a"}, [(str(NOW_NS - (10 - i) * NS), line) for i, line in enumerate(LINES)]))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("lose", LINES[1:]),
        ("double", [LINES[0], *LINES]),
        ("alter", ["level=info seq=0 id=a1f", *LINES[1:]]),
        ("reorder", [LINES[1], LINES[0], *LINES[2:]]),
        ("delay", LINES[1:]),
    ],
)
def test_a_defect_shows_in_reads_counts_after_a_flush_and_after_a_restart(
    tmp_path: Path, kind: str, expected: list[str]
) -> None:
    store, clock = MemoryStore(), Clock()
    with loki(tmp_path, store, clock=clock) as client:
        client.defect(kind)
        push(client)
        assert client.texts('{app="a"}') == expected
        assert client.total() == len(expected)
        assert len(client.hits()) == 1
        assert LINES[0] in client.hits()[0]
    with loki(tmp_path, store, clock=clock) as client:
        assert client.texts('{app="a"}') == expected
        client.flush()
        assert client.texts('{app="a"}') == expected
        assert client.total() == len(expected)
        assert all("__lab" not in name for group in client.range('{app="a"}') for name in group["stream"])


@pytest.mark.parametrize(
    ("what", "labels"),
    [("label", {"app": "a", "job": "altered"}), ("added", {"app": "a", "job": "b", "cluster": "home"})],
)
def test_a_line_can_be_stored_under_another_label_or_one_more(
    tmp_path: Path, what: str, labels: dict[str, str]
) -> None:
    store, clock = MemoryStore(), Clock()
    with loki(tmp_path, store, clock=clock) as client:
        client.defect("alter", count=2, what=what)
        client.push(({"app": "a", "job": "b"}, [(str(NOW_NS - (10 - i) * NS), line) for i, line in enumerate(LINES)]))
    with loki(tmp_path, store, clock=clock) as client:
        for flush in (False, True):
            if flush:
                client.flush()
            found = {tuple(sorted(one["stream"].items())): one["values"] for one in client.range('{app="a"}')}
            moved = [values for stream, values in found.items() if labels.items() <= dict(stream).items()]
            assert [value[1] for values in moved for value in values] == LINES[:2]
            assert sorted(value[1] for values in found.values() for value in values) == LINES


def test_a_delayed_line_appears_when_its_time_has_come(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.defect("delay", delay_s=90)
        push(client)
        client.flush()
        client.clock.now_ns += 89 * NS
        assert client.texts('{app="a"}') == LINES[1:]
        client.clock.now_ns += 2 * NS
        assert client.texts('{app="a"}') == LINES


def test_a_count_hits_that_many_items_and_then_stops(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.defect("lose", count=3)
        push(client)
        assert client.texts('{app="a"}') == LINES[3:]
        client.lines(5, back_ns=NS)
        assert client.total() == 7


def test_losing_a_whole_push_is_still_acknowledged(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.defect("lose", count=5)
        push(client)
        assert client.total() == 0


def test_orders_can_be_listed_and_withdrawn(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.defect("alter", count=2)
        assert client.get("/lab/defects").json()["defects"][0]["remaining"] == 2
        assert client.session.delete(f"{client.url}/lab/defects").status_code == 204
        push(client)
        assert client.texts('{app="a"}') == LINES


def test_an_order_that_makes_no_sense_is_a_400_that_says_why(tmp_path: Path) -> None:
    wrong = ['"shatter"', '"lose","count":0', '"lose","cuont":1', '"lose","count":true', '"delay","delay_s":"x"']
    with loki(tmp_path) as client:
        for body in (*(f'{{"kind":{w}}}' for w in wrong), "[]", "{", "[" * 100_000):
            answer = client.session.post(f"{client.url}/lab/defects", data=body)
            assert answer.status_code == 400
            assert answer.json()["error"]


def test_a_forgotten_line_is_readable_until_the_process_ends(tmp_path: Path) -> None:
    store, clock = MemoryStore(), Clock()
    with loki(tmp_path, store, clock=clock) as client:
        client.defect("forget", count=2)
        push(client)
        assert client.texts('{app="a"}') == LINES
    with loki(tmp_path, store, clock=clock) as client:
        assert client.texts('{app="a"}') == LINES[2:]


def test_a_forgotten_line_that_reached_s3_survives_the_process(tmp_path: Path) -> None:
    store, clock = MemoryStore(), Clock()
    with loki(tmp_path, store, clock=clock) as client:
        client.defect("forget", count=5)
        push(client)
        client.flush()
    with loki(tmp_path, store, clock=clock) as client:
        assert client.texts('{app="a"}') == LINES


def test_only_lines_with_the_text_are_hit(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.defect("lose", count=100, match='app="b"')
        push(client)
        client.lines(3, {"app": "b"}, back_ns=NS)
        assert client.texts('{app="a"}') == LINES
        assert client.texts('{app="b"}') == []


def test_a_refused_push_is_a_429_and_stores_nothing(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.defect("refuse")
        text = client.push(({"app": "a"}, [(str(NOW_NS), "line")]), status=429)
        assert "ingestion rate limit exceeded" in text
        assert client.total() == 0
        push(client)
        assert client.texts('{app="a"}') == LINES


def test_a_broken_push_is_a_500_and_stores_everything(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.defect("break")
        values = [(str(NOW_NS - NS), "line")]
        client.push(({"app": "a"}, values), status=500)
        client.push(({"app": "a"}, values))
        assert client.texts('{app="a"}') == ["line"]


def test_a_withheld_chunk_stays_readable_and_goes_to_s3_when_its_time_has_come(tmp_path: Path) -> None:
    store, clock = MemoryStore(), Clock()
    with loki(tmp_path, store, clock=clock, flush_age_s=1) as client:
        client.defect("withhold", delay_s=90)
        push(client)
        client.lines(1, {"app": "b"}, back_ns=NS)
        clock.now_ns += 2 * NS
        wait_for(lambda: chunks(store) == 1)
        client.lines(1, {"app": "a"}, back_ns=NS, first=50)
        clock.now_ns += 2 * NS
        wait_for(lambda: chunks(store) == 2)
        assert client.texts('{app="a"}') == [*LINES, "level=info seq=50"]
    with loki(tmp_path, store, clock=clock, flush_age_s=1e6) as client:
        assert client.texts('{app="a"}') == [*LINES, "level=info seq=50"]
    with loki(tmp_path / "other", MemoryStore(), clock=clock, flush_age_s=1) as client:
        client.defect("withhold", delay_s=90)
        push(client)
        clock.now_ns += 2 * NS
        wait_for(lambda: bool(client.hits()))
        assert chunks(client.store) == 0
        clock.now_ns += 91 * NS
        wait_for(lambda: chunks(client.store) == 1)
        client.defect("withhold", delay_s=3600)
        client.lines(1, {"app": "c"}, back_ns=NS)
        clock.now_ns += 2 * NS
        wait_for(lambda: len(client.hits()) == 2)
        assert client.session.delete(f"{client.url}/lab/defects").status_code == 204
        wait_for(lambda: chunks(client.store) == 2)
        assert client.texts('{app="a"}') == LINES


def chunks(store: MemoryStore) -> int:
    return sum(key.startswith("fake/") for key in store.objects)
