import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import status_text
from loadgen.units import bytes_text, count_text, duration_text, seconds, size_bytes


@pytest.mark.parametrize(
    ("text", "value"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("250ms", 0.25), ("7d", 604800), ("2", 2), (1.5, 1.5), (" 1 h ", 3600)],
)
def test_durations_are_read_as_people_write_them(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "five", "5 parsecs", "s", "-1s", "1s2", "nan", "inf", "-3"])
def test_what_is_not_a_duration_is_named_in_the_error(text):
    with pytest.raises(ValueError, match="not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"), [("10MB/s", 1e7), ("10MB", 1e7), ("2GiB", 2**31), ("512", 512), ("1.5kB", 1500), (7, 7)]
)
def test_sizes_and_rates_are_read_as_people_write_them(text, value):
    assert size_bytes(text) == value


@pytest.mark.parametrize("text", ["", "MB", "10 XB", "-1MB", "10MB/m", "10i"])
def test_what_is_not_a_size_is_named_in_the_error(text):
    with pytest.raises(ValueError, match="not a size"):
        size_bytes(text)


@given(st.floats(min_value=0, max_value=1e9))
def test_durations_are_shown_short(value):
    assert 0 < len(duration_text(value)) < 14


def test_figures_are_shown_with_three_significant_digits():
    assert duration_text(0.01234) == "12.3 ms"
    assert duration_text(3.14159) == "3.14 s"
    assert duration_text(-0.5) == "-500 ms"
    assert duration_text(14_400) == "4 h"
    assert bytes_text(12_345_678) == "12.3 MB"
    assert bytes_text(999.6) == "1 kB"
    assert bytes_text(12) == "12 B"
    assert count_text(12345) == "12,345"


@pytest.mark.parametrize(("status", "text"), [(0, "no answer"), (429, "HTTP 429"), (1008, "gRPC 8"), (1000, "gRPC 0")])
def test_a_stored_status_is_told_by_its_protocol(status, text):
    assert status_text(status) == text
