from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.lab.loki.labels import LabelError, fingerprint, format_labels, parse_labels, with_service_name
from loadgen.lab.loki.level import detect, level_of_line

NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), min_size=1, max_size=12)


def test_the_fingerprint_is_the_one_that_a_real_loki_gave() -> None:
    labels = parse_labels('{job="loadgen", service_name="loadgen", signal="logs", stream_id="0001"}')
    assert fingerprint(labels) == "ed2589015d8ccafa"


@given(st.dictionaries(NAMES, VALUES, max_size=5))
@settings(max_examples=200, deadline=None)
def test_formatted_labels_parse_to_the_same(values: dict[str, str]) -> None:
    labels = tuple(sorted(values.items()))
    assert parse_labels(format_labels(labels)) == labels


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_the_label_parser(text: str) -> None:
    for candidate in (text, "{" + text, "{" + text + "}", '{a="' + text + '"}'):
        with contextlib.suppress(LabelError):
            parse_labels(candidate)


@pytest.mark.parametrize(
    ("text", "service"),
    [
        ('{app="x", service="y"}', "y"),
        ('{job="x", container="y"}', "y"),
        ('{job="x", k8s_job_name="y"}', "x"),
        ('{a="x"}', "unknown_service"),
        ('{app="", name="n"}', "n"),
        ('{service_name="kept", app="x"}', "kept"),
        ("{}", "unknown_service"),
    ],
)
def test_the_service_name_is_found_in_lokis_order(text: str, service: str) -> None:
    assert dict(with_service_name(parse_labels(text)))["service_name"] == service


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (b"level=info seq=0", "info"),
        (b"ts=1 level=WARN x", "warn"),
        (b'ts=1 Level="error" x', "error"),
        (b"lvl=dbg x=1", "debug"),
        (b"severity=info lvl=error", "info"),
        (b'{"level":"error","seq":0}', "error"),
        (b'{"seq":0, "severity": "Fatal"}', "fatal"),
        (b'{"a":{"lvl":"trc"}}', "trace"),
        (b'{"level":5,"msg":"warning: x"}', "warn"),
        (b"plain", "unknown"),
        (b"", "unknown"),
        (b"an ERROR happened after a warning", "error"),
        (b"misc:error", "unknown"),
        (b"information trace_id=1 critically", "unknown"),
        (b"debug: x", "debug"),
        (b"level=strange error", "error"),
        (b'"GET /x?level=info HTTP/1.1" 200 err=1', "info"),
    ],
)
def test_the_level_of_a_line_is_the_one_that_loki_detects(line: bytes, level: str) -> None:
    assert level_of_line(line) == level


@given(st.lists(st.binary(max_size=40), max_size=6))
@settings(max_examples=200, deadline=None)
def test_a_batch_detects_what_single_lines_detect(lines: list[bytes]) -> None:
    found = detect((("app", "x"),), lines, [()] * len(lines))
    assert found == [(("detected_level", level_of_line(line)),) for line in lines]


def test_levels_of_labels_and_metadata_come_first() -> None:
    assert detect((("level", "WARN"),), [b"level=info"], [()]) == [(("detected_level", "warn"),)]
    assert detect((), [b"level=info"], [(("severity", "err"),)]) == [(("severity", "err"), ("detected_level", "error"))]
    assert detect((), [b"level=info"], [(("detected_level", "WARNING"),)]) == [(("detected_level", "warn"),)]
