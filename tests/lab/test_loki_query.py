from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loki_harness import NOW_NS, NS, Client, loki

from loadgen.lab.settings import Limits

SHOP = {"app": "shop", "pod": "p1"}


def fill(client: Client) -> None:
    begin = NOW_NS - 100 * NS
    client.push(
        (SHOP, [(str(begin + i * NS), f"level={'warn' if i % 5 == 0 else 'info'} seq={i} d={i}ms") for i in range(50)]),
        ({"app": "shop", "pod": "p2"}, [(str(begin + i * NS), f'{{"level":"error","seq":{i}}}') for i in range(20)]),
        ({"app": "till", "pod": "p3"}, [(str(begin), "plain text")]),
    )


@pytest.fixture(scope="module", params=["memory", "s3", "both"])
def client(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Client]:
    """The same data in memory, in S3, and in both at once (as after a crash between flush and clean-up)."""
    with loki(tmp_path_factory.mktemp("loki")) as found:
        fill(found)
        if request.param != "memory":
            found.flush()
        if request.param == "both":
            fill(found)
        yield found


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server with the data, for tests that only read."""
    with loki(tmp_path_factory.mktemp("loki")) as found:
        fill(found)
        yield found


def seqs(texts: list[str]) -> list[int]:
    return [int(t.split("seq=")[1].split()[0]) for t in texts]


def test_lines_are_split_by_labels_and_metadata_and_ordered(client: Client) -> None:
    found = client.range('{app="shop"}', limit=1000)
    assert [(g["stream"]["pod"], g["stream"]["detected_level"], len(g["values"])) for g in found] == [
        ("p2", "error", 20),
        ("p1", "info", 40),
        ("p1", "warn", 10),
    ]
    times = [int(v[0]) for v in found[1]["values"]]
    assert times == sorted(times)


def test_start_is_inclusive_and_end_exclusive(client: Client) -> None:
    begin = NOW_NS - 100 * NS
    assert seqs(client.texts('{pod="p1"}', start=begin + 3 * NS, end=begin + 6 * NS)) == [3, 4, 5]


@pytest.mark.parametrize(("direction", "expected"), [("forward", [0, 1, 2]), ("backward", [47, 48, 49])])
def test_the_limit_takes_from_the_side_of_the_direction(client: Client, direction: str, expected: list[int]) -> None:
    assert seqs(client.texts('{pod="p1"}', limit=3, direction=direction)) == expected


def test_pages_by_time_return_every_line_once(client: Client) -> None:
    found: list[int] = []
    start = NOW_NS - 200 * NS
    while True:
        groups = client.range('{pod="p1"}', start=start, limit=7)
        rows = sorted((int(v[0]), v[1]) for g in groups for v in g["values"])
        if not rows:
            break
        found += seqs([text for _, text in rows])
        start = rows[-1][0] + 1
    assert found == list(range(50))


def test_the_default_limit_is_100_and_5000_the_most(client: Client) -> None:
    assert sum(len(g["values"]) for g in client.range('{app=~".+"}')) == 71
    text = client.get("/loki/api/v1/query_range", 400, query='{app="shop"}', limit=10_000).text
    assert text == "max entries limit per query exceeded, limit > max_entries_limit_per_query (10000 > 5000)"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('{pod="p1"} |= "seq=7 "', [7]),
        ('{pod="p1"} |~ "seq=1[0-2] "', [10, 11, 12]),
        ('{pod="p1"} |= "warn" != "seq=0" !~ "seq=[1-3]"', [5, 40, 45]),
        ('{pod="p1"} |= "seq=7 " or "seq=8 "', [7, 8]),
        ('{pod="p1"} | logfmt | level="warn", seq<10', [0, 5]),
        ('{pod="p1"} | logfmt | seq>=48 or d<1ms', [0, 48, 49]),
        ('{pod="p1"} | detected_level="warn" | logfmt | d=~"4.*"', [40, 45]),
        ('{pod="p1"} | logfmt | d>47ms and level!="warn"', [48, 49]),
    ],
)
def test_filters(client: Client, query: str, expected: list[int]) -> None:
    assert seqs(client.texts(query)) == expected


def test_json_and_logfmt_labels_split_the_answer(client: Client) -> None:
    found = client.range('{pod="p2"} | json | seq="3"')
    assert found[0]["stream"] == {
        "app": "shop", "detected_level": "error", "level": "error", "pod": "p2", "seq": "3", "service_name": "shop",
    }  # fmt: skip
    assert client.range('{pod="p3"} | json')[0]["stream"]["__error__"] == "JSONParserErr"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('sum(count_over_time({app=~".+"}[1h]))', {"{}": "71"}),
        ('sum by (pod) (count_over_time({app="shop"}[1h]))', {'{"pod": "p1"}': "50", '{"pod": "p2"}': "20"}),
        (
            'sum without (pod, detected_level, service_name) (count_over_time({app="shop"}[1h]))',
            {'{"app": "shop"}': "70"},
        ),
        ('sum(rate({pod="p2"}[100s]))', {"{}": "0.19"}),
        ('sum(bytes_over_time({pod="p3"}[1h]))', {"{}": "10"}),
        ('sum(bytes_rate({pod="p3"}[10m]))', {"{}": "0.016666666666666666"}),
        ('topk(1, sum by (pod) (count_over_time({app=~".+"}[1h])))', {'{"pod": "p1"}': "50"}),
        ('bottomk(1, sum by (pod) (count_over_time({app=~".+"}[1h])))', {'{"pod": "p3"}': "1"}),
        ('count(count_over_time({app=~".+"}[1h]))', {"{}": "4"}),
        ('max(sum by (pod) (count_over_time({app="shop"}[1h])))', {"{}": "50"}),
        ('min(sum by (pod) (count_over_time({app="shop"}[1h])))', {"{}": "20"}),
        ('avg(sum by (pod) (count_over_time({app="shop"}[1h])))', {"{}": "35"}),
        ('sum(count_over_time({pod="p1"} | logfmt | level="warn" [1h]))', {"{}": "10"}),
        ('sum(count_over_time({pod="p1"}[1h])) / sum(count_over_time({pod="p2"}[1h]))', {"{}": "2.5"}),
        ('sum(count_over_time({pod="p1"}[10s] offset 90s))', {"{}": "10"}),
        ('sum(sum_over_time({pod="p1"} | regexp `seq=(?P<no>[0-9]+)` | unwrap no [1h]))', {"{}": "1225"}),
        ('sum by (pod) (sum_over_time({pod="p2"} | json | unwrap seq [1h]))', {'{"pod": "p2"}': "190"}),
        ('sum(sum_over_time({pod="p1"} | regexp "seq=(?P<no>[0-9])0" | unwrap no [1h]))', {"{}": "10"}),
        ('sum(sum_over_time({pod="p1"} | unwrap nothing [1h]))', {}),
        ("vector(1)+vector(1)", {"{}": "2"}),
        ('sum(count_over_time({app="nobody"}[1h]))', {}),
    ],
)
def test_instant_metrics(client: Client, query: str, expected: dict[str, str]) -> None:
    assert client.instant(query) == expected


def test_the_window_is_open_at_its_beginning_and_closed_at_its_end(client: Client) -> None:
    begin = NOW_NS - 100 * NS
    query = 'sum(count_over_time({pod="p1"}[5s]))'
    assert client.instant(query, time=begin + 5 * NS) == {"{}": "5"}
    assert client.instant(query, time=begin) == {"{}": "1"}


def test_range_metrics_stand_at_multiples_of_the_step(client: Client) -> None:
    query = 'sum by (pod) (count_over_time({pod="p1"}[1m]))'
    found = client.range(query, start=NOW_NS - 113 * NS, end=NOW_NS, step=60)
    assert found == [{"metric": {"pod": "p1"}, "values": [[NOW_NS // NS - 60, "41"], [NOW_NS // NS, "9"]]}]


def test_a_metric_of_lines_that_cannot_be_parsed_says_so(client: Client) -> None:
    text = client.get("/loki/api/v1/query", 400, query='sum(count_over_time({pod="p3"} | json [1h]))').text
    assert text.startswith("pipeline error: 'JSONParserErr' for series:")


def test_labels_values_and_series_know_the_time(client: Client) -> None:
    assert client.get("/loki/api/v1/labels").json()["data"] == ["app", "pod", "service_name"]
    assert client.get("/loki/api/v1/label/pod/values").json()["data"] == ["p1", "p2", "p3"]
    assert client.get("/loki/api/v1/label/pod/values", query='{app="till"}').json()["data"] == ["p3"]
    found = client.get("/loki/api/v1/series", **{"match[]": '{app="till"}'}).json()["data"]
    assert found == [{"app": "till", "pod": "p3", "service_name": "till"}]
    earlier = {"start": NOW_NS - 7200 * NS, "end": NOW_NS - 3600 * NS}
    assert client.get("/loki/api/v1/labels", **earlier).json() == {"status": "success"}


@pytest.mark.parametrize(
    ("path", "parameters", "text"),
    [
        ("query", {"query": '{app="a"}'}, "log queries are not supported as an instant query type"),
        ("query_range", {"query": "{run="}, "line 1, col 6: syntax error: unexpected $end, expecting STRING"),
        ("query_range", {"query": '{run=~".*"}'}, "parse error : queries require at least one regexp or equality"),
        ("query_range", {"query": '{a="b"}', "start": "x"}, "could not parse 'start' parameter"),
        ("query_range", {"query": '{a="b"}', "start": "9" * 30}, "could not parse 'start' parameter"),
        ("query_range", {"query": '{a="b"}', "start": "1e400.0"}, "could not parse 'start' parameter"),
        ("query_range", {"query": '{a="b"}', "start": 5, "end": 4}, "end timestamp must not be before or equal"),
        ("query_range", {"query": '{a="b"}', "limit": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("query_range", {"query": '{a="b"}', "limit": 0}, "limit must be a positive value"),
        ("query_range", {"query": '{a="b"}', "direction": "up"}, "invalid direction 'up'"),
        ("query_range", {"query": 'rate({a="b"}[1m])', "step": "0"}, "zero or negative query resolution step widths"),
        ("query_range", {"query": 'rate({a="b"}[1m])', "step": "nan"}, "cannot parse"),
        ("query_range", {"query": 'rate({a="b"}[1m])', "step": "0.001"}, "exceeded maximum resolution of 11,000"),
        ("query", {"query": 'rate({a="b"}[1m])', "time": "x"}, "parsing time"),
        ("query", {"query": 'sum_over_time({app="shop"} | logfmt | unwrap level [1m])'}, "SampleExtractionErr"),
        ("query", {"query": 'avg_over_time({a="b"} | unwrap x [1m])'}, "is not supported by the embedded Loki"),
        ("series", {"match[]": "{"}, "parse error"),
    ],
)  # fmt: skip
def test_bad_parameters_are_a_400_with_a_text(filled: Client, path: str, parameters: dict[str, str], text: str) -> None:
    assert text in filled.get(f"/loki/api/v1/{path}", 400, **parameters).text


@pytest.mark.parametrize("path", ["query_range", "labels", "label/pod/values", "series", "index/stats"])
def test_a_range_of_more_than_30_days_and_an_hour_is_refused(filled: Client, path: str) -> None:
    asked: dict[str, object] = {"query": '{app="shop"}', "match[]": '{app="shop"}', "end": NOW_NS}
    longest_ns = 721 * 3600 * NS
    filled.get(f"/loki/api/v1/{path}", 200, **asked, start=NOW_NS - longest_ns)
    text = filled.get(f"/loki/api/v1/{path}", 400, **asked, start=NOW_NS - longest_ns - 61_500_000_000).text
    assert text == "the query time range exceeds the limit (query length: 721h1m1.5s, limit: 30d1h)"


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (str(NOW_NS - 50 * NS), 0),
        (str((NOW_NS - 60 * NS) // NS), 10),
        (f"{(NOW_NS - 60 * NS) // NS}.5", 9),
        ("2026-11-23T06:07:00Z", 10),
        ("2026-11-23T07:07:00.5+01:00", 9),
        ("2026-11-23T06:07:00.000000001Z", 9),
    ],
)
def test_times_may_be_nanoseconds_seconds_or_rfc3339(filled: Client, start: str, expected: int) -> None:
    assert len(filled.texts('{pod="p1"}', start=start)) == expected


def test_queries_may_come_as_forms(filled: Client) -> None:
    form = {"query": 'sum(count_over_time({app="till"}[1h]))', "time": str(NOW_NS)}
    found = filled.session.post(f"{filled.url}/loki/api/v1/query", data=form).json()
    assert found["data"]["result"][0]["value"] == [NOW_NS // NS, "1"]


def test_too_many_series_are_refused(tmp_path: Path) -> None:
    with loki(tmp_path, limits=Limits(max_query_series=3)) as client:
        fill(client)
        text = client.get("/loki/api/v1/query", 400, query='count_over_time({app=~".+"}[1h])', time=NOW_NS).text
        assert text.startswith("maximum number of series (3) reached for a single query")


def test_volume_and_stats_count_what_is_stored(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        fill(client)
        client.flush()
        stats = client.get("/loki/api/v1/index/stats", query='{app="shop"}').json()
        assert (stats["streams"], stats["chunks"], stats["entries"]) == (2, 2, 70)
        volume = client.get("/loki/api/v1/index/volume", query='{app="till"}').json()["data"]["result"]
        assert volume[0]["metric"] == {"app": "till"}
        assert volume[0]["value"][1] == "10"


def test_the_paths_around_answer_as_loki(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        assert client.get("/ready").text == "ready\n"
        assert client.get("/nope", 404).text == "404 page not found\n"
        assert client.get("/loki/api/v1/push", 405).text == ""
        assert set(client.get("/loki/api/v1/status/buildinfo").json()) >= {"version", "revision", "goVersion"}
        assert client.metric("process_resident_memory_bytes") > 1e6
        assert client.metric("loki_request_duration_seconds_count") >= 0
