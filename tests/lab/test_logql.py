from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.lab.loki.logql import parse, parse_selector
from loadgen.lab.loki.logql_ast import LogQLError, LogQuery
from loadgen.lab.loki.logql_lexer import parse_bytes, parse_duration
from loadgen.lab.loki.logql_pipeline import Pipeline

PIECES = [
    "{", "}", "(", ")", "[", "]", ",", "=", "!=", "=~", "!~", "|=", "|~", "|", "==", ">", "<", ">=", "+", "-", "/",
    "by", "without", "sum", "topk", "rate", "count_over_time", "vector", "offset", "or", "and", "json", "logfmt",
    "drop", "a", '"x"', '"(("', '"\\xzz"', "`y`", "5m", "1h30m", "3", "0.5", "1e999", "5KB", "9" * 40 + "h", "unwrap",
    "regexp", "sum_over_time", "#c\n", '"', "é",
]  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join)))
@settings(max_examples=400, deadline=None)
def test_the_parser_raises_nothing_but_its_own_error(text: str) -> None:
    for read in (parse, parse_selector):
        with contextlib.suppress(LogQLError):
            read(text)


@pytest.mark.parametrize("text", ["(" * 100_000, "sum(" * 5000, '{a="b"} | ' + "(" * 5000, "-" * 5000, "x" * 200_000])
def test_deep_or_long_input_is_refused(text: str) -> None:
    with pytest.raises(LogQLError, match="parse error"):
        parse(text)


@given(line=st.binary(max_size=60), labels=st.dictionaries(st.sampled_from("abc"), st.text(max_size=5), max_size=3))
@settings(max_examples=200, deadline=None)
def test_no_line_breaks_a_pipeline(line: bytes, labels: dict[str, str]) -> None:
    for text in ('{a="b"} | json | a>5', '{a="b"} | logfmt | b=~"x.*" or c<1s', '{a="b"} | json | logfmt | drop a'):
        query = parse(text)
        assert isinstance(query, LogQuery)
        Pipeline(query.stages).labels(line, tuple(sorted(labels.items())))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{run=", "parse error at line 1, col 6: syntax error: unexpected $end, expecting STRING"),
        ('{run="x"', "parse error at line 1, col 9: syntax error: unexpected $end, expecting } or ,"),
        ('{\nrun="x" y', "parse error at line 2, col 9: syntax error: unexpected IDENTIFIER, expecting } or ,"),
        ("", "parse error at line 1, col 1: syntax error: unexpected $end"),
        ('{a="b', "parse error at line 1, col 4: literal not terminated"),
        ('{a=~"(("}', "parse error : error parsing regexp: "),
        ("{}", "parse error : queries require at least one regexp or equality matcher"),
        ('topk(sum(rate({a="b"}[1m])))', "parameter required for operation topk"),
        ('sum(rate({a="b"}))', "unexpected ), expecting RANGE"),
        ('rate({a="b"}[5parsecs])', 'not a valid duration string: "5parsecs"'),
        ('{a="b"} | line_format "x"', "the stage 'line_format' is not supported by the embedded Loki"),
        ('{a="b"} | json x="y"', "json with parameters is not supported by the embedded Loki"),
        ('quantile_over_time(0.9, {a="b"} | unwrap x [1m])', "quantile_over_time() is not supported"),
        ('sum(rate({a="b"}[1m])) > 3', "the operator '>' between expressions is not supported"),
        ('sum_over_time({a="b"}[1m])', "invalid aggregation sum_over_time without unwrap"),
        ('rate({a="b"} | unwrap x [1m])', "unwrap in rate is not supported"),
        ('sum_over_time({a="b"} | unwrap bytes(x) [1m])', "unwrap with a conversion"),
        ('{a="b"} | unwrap x', "unexpected |"),
        ('{a="b"} | regexp "x"', "at least one named capture must be supplied"),
        ('{a="b"} | regexp', "unexpected $end"),
        ('rate({a="b"}[1m]) by (x)', "grouping not allowed for rate aggregation"),
    ],
)
def test_what_is_wrong_is_named(text: str, error: str) -> None:
    with pytest.raises(LogQLError) as caught:
        parse(text)
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('sum by (a) (rate({a="b"}[1m]))', 'sum(rate({a="b"}[1m])) by (a)'),
        ('rate({a="b"} |= "x" [1m])', 'rate({a="b"}[1m] |= "x")'),
        ('rate(({a="b"} |= "x")[60s])', 'rate({a="b"} |= `x` [1m])'),
        ('{a="b"} | x="1", y="2"', '{a="b"} | x="1" and y="2"'),
        ('{a="\\x41\\u0042\\n"}', '{a="AB\\n"} # a comment'),
        ("1 + 2 * 3", "1 + (2 * 3)"),
    ],
)
def test_different_spellings_mean_the_same(one: str, other: str) -> None:
    assert parse(one) == parse(other)


def test_durations_and_sizes_are_read() -> None:
    assert [parse_duration(t) for t in ("1h30m", "5m", "100ms", "1.5s", "2d", "x", "", "5")] == [
        5400.0, 300.0, 0.1, 1.5, 172800.0, None, None, None,
    ]  # fmt: skip
    assert [parse_bytes(t) for t in ("5KB", "1.5MiB", "7b", "x")] == [5000.0, 1.5 * 2**20, 7.0, None]
