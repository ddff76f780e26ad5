"""The TraceQL parser: trees, precedence, errors as Tempo words them, and no other exception for any text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.lab.tempo.lexer import TraceQLError, parse_duration_ns
from loadgen.lab.tempo.nodes import (
    Aggregate,
    Attribute,
    Metric,
    Not,
    SpanBinary,
    SpanSelect,
    SpansetFilter,
    SpansetOperation,
    Static,
)
from loadgen.lab.tempo.traceql import parse


def expression(text: str) -> object:
    spanset = parse(text).spanset
    assert isinstance(spanset, SpansetFilter)
    return spanset.expression


def test_an_empty_filter_selects_every_span() -> None:
    assert expression("{}") is None
    assert expression(" { } ") is None


def test_a_scoped_attribute_keeps_its_dots() -> None:
    assert expression('{ resource.service.name = "a" }') == SpanBinary(
        "=", Attribute("resource", "service.name"), Static("string", "a", "`a`")
    )


@pytest.mark.parametrize(
    ("written", "type_", "value"),
    [
        ("10ms", "duration", 10_000_000),
        ("1h30m", "duration", 5_400 * 10**9),
        ("1.5s", "duration", 1_500_000_000),
        ("7", "int", 7),
        ("-7", "int", -7),
        ("1.25", "float", 1.25),
        ("1e3", "float", 1000.0),
        ("true", "bool", True),
        ("error", "status", 2),
        ("server", "kind", 2),
        ("nil", "nil", None),
        ('"a\\"b"', "string", 'a"b'),
        ("`a\\b`", "string", "a\\b"),
    ],
)
def test_literals_have_their_type(written: str, type_: str, value: object) -> None:
    node = expression("{ .a = " + written + " }")
    assert isinstance(node, SpanBinary) and isinstance(node.right, Static)
    assert (node.right.type, node.right.value) == (type_, value)


@pytest.mark.parametrize(
    ("written", "attribute"),
    [
        (".a", Attribute("", "a")),
        ("span.http.status_code", Attribute("span", "http.status_code")),
        ('span."with space"', Attribute("span", "with space")),
        ("parent.a", Attribute("parent", "a")),
        ("name", Attribute("intrinsic", "name")),
        ("span:duration", Attribute("intrinsic", "duration")),
        ("trace:id", Attribute("intrinsic", "trace:id")),
        ("rootServiceName", Attribute("intrinsic", "rootServiceName")),
    ],
)
def test_attributes_are_told_apart_by_scope(written: str, attribute: Attribute) -> None:
    node = expression("{ " + written + " != nil }")
    assert isinstance(node, SpanBinary) and node.left == attribute


def test_and_and_or_bind_equally_and_group_to_the_left() -> None:
    node = expression("{ .a = 1 || .b = 2 && .c = 3 }")
    assert isinstance(node, SpanBinary) and node.op == "&&"
    assert isinstance(node.left, SpanBinary) and node.left.op == "||"


def test_parentheses_and_not_are_kept() -> None:
    node = expression("{ !(.a = 1 || .b) }")
    assert isinstance(node, Not) and isinstance(node.operand, SpanBinary)


def test_structural_operators_bind_tighter_than_logical_ones() -> None:
    spanset = parse("{ .a } && { .b } >> { .c }").spanset
    assert isinstance(spanset, SpansetOperation) and spanset.op == "&&"
    assert isinstance(spanset.right, SpansetOperation) and spanset.right.op == ">>"


def test_a_pipeline_has_stages() -> None:
    query = parse("{} | count() > 2 | avg(duration) <= 10ms | select(.a, span.b) | { .c }")
    assert [type(stage) for stage in query.stages] == [Aggregate, Aggregate, SpanSelect, SpansetFilter]
    metric = parse("{} | rate() by(resource.service.name)").metric
    assert metric == Metric("rate", (Attribute("resource", "service.name"),))
    assert parse("{} with (most_recent=true)").hints == (("most_recent", True),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ resource.", "parse error at line 0, col 3: syntax error: unexpected END_ATTRIBUTE, expecting IDENTIFIER"),
        ("{ . }", "parse error at line 1, col 3: syntax error: unexpected END_ATTRIBUTE, expecting IDENTIFIER"),
        ("{", "parse error at line 1, col 2: syntax error: unexpected $end"),
        ("", "parse error at line 1, col 1: syntax error: unexpected $end"),
        ("{ foo = 1 }", "parse error at line 1, col 3: syntax error: unexpected IDENTIFIER"),
    ],
)
def test_errors_are_worded_as_tempo_words_them(text: str, message: str) -> None:
    with pytest.raises(TraceQLError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "{ name = 1 }",
        "{ 1 }",
        "{ status > error }",
        '{ .a =~ "(" }',
        "{ .a =~ 1 }",
        "{ .a + 1 = 2 }",
        "{} | by(.a)",
        "{} | quantile_over_time(duration, .9)",
        "{} | rate() | count() > 1",
        "{ .a = 99999999999999999999 }",
        "{ .a = 1e999 }",
        "{ event.a = 1 }",
        '{ .a = "x',
        '{ .a = "\\q" }',
        "{ .a = 1 } { .b = 1 }",
        "{ (.a }",
        "(" * 5000,
        "{ " + "!" * 5000 + ".a }",
        "{ " + " && ".join([".a = 1"] * 1000) + " }",
        "x" * 20_000,
        "{ .a = 1 } !>> { .b }",
    ],
)
def test_what_is_not_known_is_refused_with_its_own_error(text: str) -> None:
    with pytest.raises(TraceQLError):
        parse(text)


def test_durations_outside_queries_are_read_too() -> None:
    assert parse_duration_ns("2m") == 120 * 10**9
    assert parse_duration_ns("5") is None
    assert parse_duration_ns("x") is None


PIECES = st.sampled_from(
    ["{", "}", "(", ")", "&&", "||", "|", "!", "=", "!=", "=~", "<", ">>", "~", ",", "-", ".a", "resource.b", "span.",
     "name", "status", "error", "server", "nil", "true", "10ms", "1", "2.5", '"x"', '"("', "`y`", "count()", "rate()",
     "by", "select", "with", "duration", "trace:id", "parent.c", "\n", "\x00", "µs", "é"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES).map("".join)))
def test_any_text_is_parsed_or_refused_with_its_own_error(text: str) -> None:
    try:
        parse(text)
    except TraceQLError as error:
        assert str(error)
