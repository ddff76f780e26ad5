"""What is peculiar about Loki, asked of whichever Loki the stack has."""

from __future__ import annotations

import json
from collections.abc import Callable

from asking import fresh, lines, now_ns, post, push_lines, streams, wait_for
from stacks import Stack

from loadgen.kinds.logs.source import fingerprint
from loadgen.targets.blocks import loki_chunk

Need = Callable[..., Stack]
MS = 10**6


def test_one_pushed_stream_comes_back_split_by_level_and_structured_metadata(need: Need) -> None:
    stack, run, at = need("loki"), fresh("split"), now_ns()
    labels = {"app": "shop", "run": run}
    pushed = [(at, "level=info a"), (at + 1, "level=error b"), (at + 2, "level=info c"), (at + 3, "plain")]
    values = [*map(list, pushed), [at + 4, "level=info d", {"trace_id": "0af7651916cd43dd8448eb211c80319c"}]]
    assert push_lines(stack, labels, values).status == 204
    found = streams(stack, f'{{run="{run}"}}', 5, at)
    common = labels | {"service_name": "shop"}
    added = [{name: value for name, value in one["stream"].items() if name not in common} for one in found]
    expected = [
        {"detected_level": "error"},
        {"detected_level": "info"},
        {"detected_level": "info", "trace_id": "0af7651916cd43dd8448eb211c80319c"},
        {"detected_level": "unknown"},
    ]
    assert sorted(added, key=json.dumps) == sorted(expected, key=json.dumps)
    assert all(common.items() <= one["stream"].items() for one in found)
    assert lines(found) == [*pushed, (at + 4, "level=info d")]


def test_a_service_name_is_added_from_the_app_or_the_job_unless_there_is_one(need: Need) -> None:
    stack, run, at = need("loki"), fresh("named"), now_ns()
    cases = (
        ({"app": "shop", "job": "x"}, "shop"),
        ({"job": "batch"}, "batch"),
        ({"pod": "p"}, "unknown_service"),
        ({"app": "shop", "service_name": "mine"}, "mine"),
    )
    for number, (labels, _) in enumerate(cases):
        assert push_lines(stack, {**labels, "run": run, "case": str(number)}, [[at, f"line {number}"]]).status == 204
    found = streams(stack, f'{{run="{run}"}}', len(cases), at)
    names = {int(one["stream"]["case"]): one["stream"]["service_name"] for one in found}
    assert [names[number] for number in range(len(cases))] == [name for _, name in cases]


def test_an_empty_label_set_becomes_an_unknown_service(need: Need) -> None:
    stack, word, at = need("loki"), fresh("nobody"), now_ns()
    assert push_lines(stack, {}, [[at, f"a line of {word}"]]).status == 204
    found = streams(stack, f'{{service_name="unknown_service"}} |= "{word}"', 1, at)
    assert [one["stream"] for one in found] == [{"detected_level": "unknown", "service_name": "unknown_service"}]


def test_the_same_line_at_the_same_time_is_kept_once_and_another_line_is_kept(need: Need) -> None:
    stack, run, at = need("loki"), fresh("twice"), now_ns()
    labels = {"app": "shop", "run": run}
    for _ in range(2):
        assert push_lines(stack, labels, [[at, "first"]]).status == 204
    assert push_lines(stack, labels, [[at, "second"]]).status == 204
    assert lines(streams(stack, f'{{run="{run}"}}', 2, at)) == [(at, "first"), (at, "second")]


def test_a_400_for_a_part_keeps_the_valid_lines(need: Need) -> None:
    stack, run, at = need("loki"), fresh("partly"), now_ns()
    values = [[at, "good"], [at - 30 * 86_400 * 10**9, "too old"], [at + 1, "good too"], [at + 3600 * 10**9, "too new"]]
    answer = push_lines(stack, {"app": "shop", "run": run}, values)
    assert answer.status == 400
    assert b"timestamp too" in answer.body
    assert lines(streams(stack, f'{{run="{run}"}}', 2, at)) == [(at, "good"), (at + 1, "good too")]


def test_a_push_without_streams_is_422(need: Need) -> None:
    answer = post(need("loki"), "loki", "/loki/api/v1/push", b'{"streams":[]}', {"Content-Type": "application/json"})
    assert (answer.status, answer.body) == (422, b"error at least one valid stream is required for ingestion\n")


def test_a_chunk_in_s3_names_its_stream_by_the_hash_of_the_enlarged_labels(need: Need) -> None:
    stack, run, at = need("loki", buckets=True), fresh("chunk"), now_ns()
    last = at + 7 * MS
    assert push_lines(stack, {"run": run, "app": "shop"}, [[at, "a"], [last, "b"]]).status == 204
    mark = fingerprint((("app", "shop"), ("run", run), ("service_name", "shop")))
    bucket = stack.bucket("loki")

    def ask() -> list[str]:
        post(stack, "loki", "/flush", b"", {})
        return [key for key in bucket.list() if f"/{mark}/" in key]

    keys = wait_for(stack, ask, bool, 60.0)
    assert len(keys) == 1
    chunk = loki_chunk(keys[0])
    assert chunk is not None
    assert (chunk.stream, chunk.from_ns, chunk.through_ns) == (mark, at, last + MS - 1)
