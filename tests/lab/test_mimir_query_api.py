"""The query API of the embedded Mimir: forms of answers and errors, over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from mimir_harness import Client, Series, served

NOW_MS = int(time.time()) * 1000 + 92
API = "/prometheus/api/v1"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with served(tmp_path_factory.mktemp("mimir")) as client:
        values = [(NOW_MS - 15_000 * (3 - i), float(i + 1)) for i in range(4)]
        labels = {"__name__": "cap_requests_total", "job": "loadgen", "run": "cap1"}
        assert client.push(Series(labels, values)).status_code == 200
        yield client


def seconds(time_ms: int) -> str:
    return f"{time_ms // 1000}.{time_ms % 1000:03d}"


def test_an_instant_query_answers_as_the_real_server(client: Client) -> None:
    answer = client.get(f"{API}/query", query='cap_requests_total{run="cap1"}', time=seconds(NOW_MS))
    assert answer.text == (
        '{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"cap_requests_total",'
        f'"job":"loadgen","run":"cap1"}},"value":[{seconds(NOW_MS)},"4"]}}]}}}}'
    )
    assert answer.headers["content-type"] == "application/json"


def test_a_range_selector_gives_the_raw_samples(client: Client) -> None:
    answer = client.get(f"{API}/query", query='cap_requests_total{run="cap1"}[5m]', time=seconds(NOW_MS)).json()
    assert answer["data"]["resultType"] == "matrix"
    assert answer["data"]["result"][0]["values"] == [[(NOW_MS - 15_000 * (3 - i)) / 1000, str(i + 1)] for i in range(4)]


def test_the_left_edge_of_a_range_is_open(client: Client) -> None:
    assert client.query("count_over_time(cap_requests_total[45s])", time=seconds(NOW_MS))[0]["value"][1] == "3"
    assert client.query("count_over_time(cap_requests_total[45001ms])", time=seconds(NOW_MS))[0]["value"][1] == "4"


def test_a_range_query_gives_a_matrix_on_its_steps(client: Client) -> None:
    query = 'sum by (job) (count_over_time(cap_requests_total{run="cap1"}[20s]))'
    answer = client.get(
        f"{API}/query_range", query=query, start=seconds(NOW_MS - 60_000), end=seconds(NOW_MS), step="15s"
    ).json()
    assert answer["data"]["result"] == [
        {
            "metric": {"job": "loadgen"},
            "values": [
                [(NOW_MS - 45_000) / 1000, "1"],
                [(NOW_MS - 30_000) / 1000, "2"],
                [(NOW_MS - 15_000) / 1000, "2"],
                [NOW_MS / 1000, "2"],
            ],
        }
    ]


def test_a_posted_form_answers_as_a_get(client: Client) -> None:
    answer = client.post(f"{API}/query", data={"query": "count(cap_requests_total)", "time": seconds(NOW_MS)})
    assert answer.json()["data"]["result"] == [{"metric": {}, "value": [NOW_MS / 1000, "1"]}]


def test_scalar_text_and_nothing(client: Client) -> None:
    assert client.get(f"{API}/query", query="1+1", time="100").json()["data"] == {
        "resultType": "scalar",
        "result": [100, "2"],
    }
    assert client.get(f"{API}/query", query='"x"', time="100").json()["data"] == {
        "resultType": "string",
        "result": [100, "x"],
    }
    assert client.query("nothing") == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0/0", "NaN"),
        ("1/0", "+Inf"),
        ("-1/0", "-Inf"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("0.0001", "0.0001"),
        ("0.0000001", "1e-07"),
        ("0.00001", "0.00001"),
        ("-0.5", "-0.5"),
        ("1e16", "10000000000000000"),
    ],
)
def test_numbers_are_written_as_go_writes_them(client: Client, value: str, text: str) -> None:
    assert client.query(value, time="1")[1] == text


def test_a_parse_error_says_where(client: Client) -> None:
    answer = client.get(f"{API}/query", query="sum(")
    assert answer.status_code == 400
    assert answer.text == (
        r'{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": '
        '1:5: parse error: unclosed left parenthesis"}'
    )


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"query": "up", "start": "0", "end": seconds(NOW_MS), "step": "1"}, "exceeded maximum resolution of 11,000"),
        ({"query": "up", "start": "x", "end": "1", "step": "1"}, 'invalid parameter "start": cannot parse "x"'),
        ({"query": "up", "start": "1", "step": "1"}, 'invalid parameter "end": cannot parse ""'),
        ({"query": "up", "start": "9", "end": "1", "step": "1"}, "end timestamp must not be before start time"),
        ({"query": "up", "start": "1", "end": "9", "step": "0"}, "zero or negative query resolution step"),
        ({"query": "up", "start": "1", "end": "9", "step": "-1"}, "zero or negative query resolution step"),
        ({"query": "up", "start": "1", "end": "9", "step": "soon"}, 'invalid parameter "step"'),
        ({"query": "up", "start": "nan", "end": "inf", "step": "1"}, 'invalid parameter "start"'),
        ({"query": "up[5m]", "start": "1", "end": "9", "step": "1"}, "range vector"),
        ({"query": '"x"', "start": "1", "end": "9", "step": "1"}, "string"),
        ({"query": "holt_winters(up[5m], 0.1, 0.1)", "start": "1", "end": "9", "step": "1"}, "holt_winters"),
        ({"query": "limitk(1, up)", "start": "1", "end": "9", "step": "1"}, "limitk() is not supported"),
        ({"query": "hour()", "start": "1", "end": "9", "step": "1"}, "hour() is not supported"),
        ({"query": '{a="b" or c="d"}', "start": "1", "end": "9", "step": "1"}, "is not supported"),
        ({"query": 'up{a=~"(?<x"}', "start": "1", "end": "9", "step": "1"}, ""),
        ({"query": "(" * 5000, "start": "1", "end": "9", "step": "1"}, "nested too deeply"),
        ({"query": "1" + "+1" * 4000, "start": "1", "end": "9", "step": "1"}, "nested too deeply"),
        ({"query": "1" * 20_000, "start": "1", "end": "9", "step": "1"}, "characters"),
    ],
)
def test_bad_range_queries_are_refused_with_a_text(client: Client, parameters: dict[str, str], text: str) -> None:
    answer = client.post(f"{API}/query_range", data=parameters)
    assert answer.status_code == 400, answer.text[:300]
    assert answer.json()["errorType"] == "bad_data"
    assert text in answer.json()["error"]


def test_far_times_are_no_crash(client: Client) -> None:
    for moment in ("1e300", "-1e300", "99999999999999", "0"):
        assert client.get(f"{API}/query", query="rate(cap_requests_total[5m])", time=moment).status_code == 200
    answer = client.get(
        f"{API}/query_range", query="sum(cap_requests_total)", start="-1e300", end="1e300", step="1e300"
    )
    assert answer.status_code == 200


def test_times_in_rfc3339(client: Client) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(NOW_MS // 1000)) + ".092Z"
    assert client.query("cap_requests_total", time=moment)[0]["value"] == [NOW_MS / 1000, "4"]


def test_labels_values_and_series(client: Client) -> None:
    def data(path: str, **parameters: str) -> object:
        return client.get(f"{API}/{path}", **parameters).json()["data"]

    assert data("labels") == ["__name__", "job", "run"]
    assert data("label/job/values") == ["loadgen"]
    assert data("label/none/values") == []
    assert data("series", **{"match[]": '{run="cap1"}'}) == [
        {"__name__": "cap_requests_total", "job": "loadgen", "run": "cap1"}
    ]
    assert data("series", **{"match[]": '{run="cap1"}', "start": "0", "end": "1000"}) == []
    assert data("metadata") == {}
    assert client.get(f"{API}/series").status_code == 400
    assert client.get(f"{API}/series", **{"match[]": "rate(x[5m])"}).status_code == 400
    assert data("label/0bad/values") == []


@pytest.mark.parametrize("path", ["labels", "label/__name__/values", "series"])
def test_a_limit_cuts_names_and_series_and_says_so(client: Client, path: str) -> None:
    def answer(limit: str) -> dict[str, object]:
        parameters = {"match[]": '{run="cap1"}', "limit": limit}
        found: dict[str, object] = client.get(f"{API}/{path}", **parameters).json()
        return found

    everything = answer("0")["data"]
    assert isinstance(everything, list) and everything
    cut = answer("1")
    assert cut["data"] == everything[:1]
    assert cut.get("warnings", []) == (["results truncated due to limit"] if len(everything) > 1 else [])
    assert answer(str(len(everything))) == {"status": "success", "data": everything}
    assert answer("soon") == {"status": "success", "data": everything}


def test_what_the_querier_answers_varies_by_origin_and_is_timed_and_the_frontends_refusals_are_not(
    client: Client,
) -> None:
    def headers(path: str, **parameters: str) -> tuple[str, bool]:
        answer = client.get(f"{API}/{path}", **parameters)
        return answer.headers["Vary"], "querier_wall_time;dur=" in answer.headers.get("Server-Timing", "")

    assert headers("query", query="1") == ("Accept-Encoding", True)
    assert headers("query", query="sum(") == ("Accept-Encoding", False)
    assert headers("labels") == ("Origin", True)
    assert headers("series") == ("Origin", True)
    assert headers("status/buildinfo") == ("Accept-Encoding", False)


@pytest.mark.parametrize(
    "query", ["", "{}", '{job=~".*"}', "nope(up)", "up{"], ids=["nothing", "empty", "matches empty", "unknown", "open"]
)
def test_an_error_of_a_query_names_the_parameter(client: Client, query: str) -> None:
    error = client.get(f"{API}/query", query=query).json()["error"]
    assert error.startswith('invalid parameter "query": ') and ": parse error: " in error


def test_status_pages(client: Client) -> None:
    ready = client.get("/ready")
    assert (ready.status_code, ready.text, ready.headers["content-type"].partition(";")[0]) == (
        200,
        "ready",
        "text/plain",
    )
    assert client.get(f"{API}/status/buildinfo").json()["data"]["application"] == "Grafana Mimir"
    missing = client.get(f"{API}/nope")
    assert (missing.status_code, missing.text) == (404, "404 page not found\n")
    assert client.get("/ingester/flush").status_code == 204
    assert client.post("/ingester/flush").status_code == 204
