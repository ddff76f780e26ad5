"""What the embedded Mimir accepts and refuses, over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mimir_harness import Client, Series, limits, message, packed, served
from opentelemetry.exporter.prometheus_remote_write.gen.remote_pb2 import WriteRequest

NOW_MS = int(time.time() * 1000)
GOOD = Series({"__name__": "good_total", "job": "x"}, [(NOW_MS, 1.0)])


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with served(tmp_path) as client:
        yield client


def named(name: str, *samples: tuple[int, float], **labels: str) -> Series:
    return Series({"__name__": name, **labels}, samples)


def test_samples_read_back_with_their_own_times_and_values(client: Client) -> None:
    answer = client.push(named("up", (NOW_MS - 2001, 0.1), (NOW_MS - 1000, -3e300), (NOW_MS, float("inf")), a="b"))
    assert (answer.status_code, answer.content) == (200, b"")
    assert client.samples("up", NOW_MS) == {
        '{"__name__": "up", "a": "b"}': [(NOW_MS - 2001, 0.1), (NOW_MS - 1000, -3e300), (NOW_MS, float("inf"))]
    }


def test_an_empty_request_is_accepted(client: Client) -> None:
    assert client.push_body(b"\x00").status_code == 200


def test_the_same_sample_again_is_accepted_and_not_doubled(client: Client) -> None:
    assert client.push(GOOD).status_code == 200
    assert client.push(GOOD).status_code == 200
    assert client.only("good_total", NOW_MS) == [(NOW_MS, 1.0)]


def test_the_last_sample_again_followed_by_a_newer_one_is_accepted(client: Client) -> None:
    client.push(GOOD)
    assert client.push(named("good_total", (NOW_MS, 1.0), (NOW_MS + 1, 2.0), job="x")).status_code == 200
    assert client.only("good_total", NOW_MS + 1) == [(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]


@pytest.mark.parametrize(
    ("series", "text"),
    [
        (named("good_total", (NOW_MS, 5.0), job="x"), "err-mimir-sample-duplicate-timestamp"),
        (named("good_total", (NOW_MS - 1, 1.0), job="x"), "err-mimir-sample-out-of-order"),
        (named("good_total", (NOW_MS + 1, 5.0), (NOW_MS - 1, 1.0), job="x"), "err-mimir-sample-out-of-order"),
        (named("new", (NOW_MS - 3_600_001, 1.0)), "its timestamp is too old (err-mimir-sample-timestamp-too-old)"),
        (named("new", (NOW_MS + 3_600_000, 1.0)), "err-mimir-too-far-in-future"),
        (named("1 x", (NOW_MS, 1.0)), "received a series with invalid metric name: '1 x'"),
        (named("", (NOW_MS, 1.0), job="x"), "received series has no metric name (err-mimir-missing-metric-name)"),
        (named("new", (NOW_MS, 1.0), **{"0bad": "x"}), "err-mimir-label-invalid"),
        (named("new", (NOW_MS, 1.0), long="x" * 3000), "err-mimir-label-value-too-long"),
        (named("new", (NOW_MS, 1.0), **{"l" * 1100: "x"}), "err-mimir-label-name-too-long"),
        (named("new", (NOW_MS, 1.0), **{f"l{i}": "x" for i in range(30)}), "err-mimir-max-label-names-per-series"),
    ],
)
def test_a_bad_sample_is_refused_and_the_rest_of_its_push_is_stored(client: Client, series: Series, text: str) -> None:
    client.push(GOOD)
    answer = client.push(series, named("beside", (NOW_MS, 7.0)))
    assert answer.status_code == 400
    assert text in answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.only("beside", NOW_MS) == [(NOW_MS, 7.0)]
    assert client.only("good_total", NOW_MS) == [(NOW_MS, 1.0)]


def test_a_request_that_is_not_in_order_in_itself_is_accepted_and_the_later_ones_dropped(client: Client) -> None:
    answer = client.push(named("mixed", (NOW_MS - 9, 1.0), (NOW_MS, 2.0), (NOW_MS - 5, 3.0), (NOW_MS, 4.0)))
    assert answer.status_code == 200
    assert client.only("mixed", NOW_MS) == [(NOW_MS - 9, 1.0), (NOW_MS, 2.0)]


def test_an_ingester_names_itself_the_tenant_the_values_and_the_whole_series(client: Client) -> None:
    client.push(GOOD)
    answer = client.push(named("good_total", (NOW_MS, 0.5), job="x"))
    assert answer.text.startswith(
        "send data to ingesters: failed pushing to ingester embedded: user=anonymous: duplicate sample for timestamp "
        f"{NOW_MS}; overrides not allowed: existing 1, new value 0.5 (err-mimir-sample-duplicate-timestamp). "
    )
    assert answer.text.endswith(' and is from series good_total{job="x"} (sampled 1/10)\n')


def test_how_far_a_sample_may_lie_behind_is_counted_from_the_newest_of_all(client: Client) -> None:
    hour_ms = 3_600_000
    assert client.push(named("old", (NOW_MS - 5 * hour_ms, 1.0))).status_code == 200
    assert client.push(named("newer", (NOW_MS - 3 * hour_ms, 1.0))).status_code == 200
    assert client.push(named("old", (NOW_MS - 4 * hour_ms, 1.0))).status_code == 200
    assert client.push(named("old", (NOW_MS - 4 * hour_ms + 1, 1.0), (NOW_MS, 1.0))).status_code == 200
    assert client.push(named("other", (NOW_MS - hour_ms, 1.0))).status_code == 200
    assert client.push(named("another", (NOW_MS - hour_ms - 1, 1.0))).status_code == 400


def test_bytes_that_are_not_utf8_refuse_their_series_only(client: Client) -> None:
    body = message(named("odd", (NOW_MS, 1.0), a="XY"), named("beside", (NOW_MS, 1.0))).replace(b"XY", b"\xff\xfe")
    answer = client.push_body(packed(body))
    text = "received a series with invalid value in label 'a': '\ufffd' metric: 'odd' (err-mimir-label-value-invalid)\n"
    assert (answer.status_code, answer.content.decode()) == (400, text)
    assert client.only("beside", NOW_MS) == [(NOW_MS, 1.0)]


def test_metadata_that_names_no_metric_is_refused(client: Client) -> None:
    request = WriteRequest.FromString(message(GOOD))
    request.metadata.add(help="of nothing")
    answer = client.push_body(packed(request.SerializeToString()))
    assert (answer.status_code, "err-mimir-metadata-missing-metric-name" in answer.text) == (400, True)
    assert client.only("good_total", NOW_MS) == [(NOW_MS, 1.0)]


def test_duplicate_label_names_are_refused(client: Client) -> None:
    request = WriteRequest()
    row = request.timeseries.add()
    for name, value in (("__name__", "x"), ("a", "1"), ("a", "2")):
        row.labels.add(name=name, value=value)
    row.samples.add(timestamp=NOW_MS, value=1)
    answer = client.push_body(packed(request.SerializeToString()))
    assert (answer.status_code, "err-mimir-duplicate-label-names" in answer.text) == (400, True)


def test_unsorted_and_empty_labels_name_the_same_series(client: Client) -> None:
    client.push(Series({"z": "1", "empty": "", "__name__": "same", "a": "2"}, [(NOW_MS, 1.0)]))
    client.push(Series({"__name__": "same", "a": "2", "z": "1"}, [(NOW_MS + 1, 2.0)]))
    assert client.samples("same", NOW_MS + 1) == {
        '{"__name__": "same", "a": "2", "z": "1"}': [(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]
    }


def test_a_native_histogram_is_refused_by_name_and_the_floats_beside_it_are_stored(client: Client) -> None:
    labels = message(Series({"__name__": "native"}, []))[2:]
    # TimeSeries.histograms, field 4, with count_int = 3.
    inside = labels + b"\x22\x02\x08\x03"
    answer = client.push_body(packed(message(GOOD) + b"\x0a" + bytes((len(inside),)) + inside))
    assert (answer.status_code, "native histogram for series 'native'" in answer.text) == (400, True)
    assert client.only("good_total", NOW_MS) == [(NOW_MS, 1.0)]


def test_metadata_and_exemplars_do_not_disturb(client: Client) -> None:
    request = WriteRequest.FromString(message(GOOD))
    request.metadata.add(metric_family_name="good_total", help="how good", unit="")
    exemplar = request.timeseries[0].exemplars.add(value=1, timestamp=NOW_MS)
    exemplar.labels.add(name="trace_id", value="abc")
    assert client.push_body(packed(request.SerializeToString())).status_code == 200
    assert client.only("good_total", NOW_MS) == [(NOW_MS, 1.0)]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"nope", 400, "decompress snappy: snappy: corrupt input\n"),
        (b"", 400, "getting snappy decoded length: snappy: corrupt input\n"),
        (packed(b"\xff\xff\xff"), 400, "unexpected EOF\n"),
        (b"\xff\xff\xff\xff\x0f" + b"x" * 50, 400, "err-mimir-distributor-max-write-message-size"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(client: Client, body: bytes, status: int, text: str) -> None:
    answer = client.push_body(body)
    assert answer.status_code == status
    assert text in answer.text


def test_remote_write_2_is_answered_415(client: Client) -> None:
    body = packed(message(GOOD))
    kind = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    assert client.push_body(body, kind).status_code == 415
    assert client.push_body(body, "application/x-protobuf;proto=prometheus.WriteRequest").status_code == 200
    assert client.push_body(body, "application/x-protobuf;proto=io.prometheus.write.v3.Request").status_code == 400


def test_a_rate_limit_refuses_the_whole_push_and_says_when_to_retry(tmp_path: Path) -> None:
    with served(tmp_path, limits=limits(rate_samples_per_s=1.0, burst_samples=2)) as client:
        assert client.push(named("a", (NOW_MS, 1.0)), named("b", (NOW_MS, 1.0))).status_code == 200
        answer = client.push(named("c", (NOW_MS, 1.0)), named("d", (NOW_MS, 1.0)))
        assert answer.status_code == 429
        assert "err-mimir-tenant-max-ingestion-rate" in answer.text
        assert int(answer.headers["Retry-After"]) >= 6
        assert "rate limit, set to 1 items/s with a maximum allowed burst of 2." in answer.text
        assert client.samples('{__name__=~"c|d"}', NOW_MS) == {}
        answer = client.push(*(named(name, (NOW_MS, 1.0)) for name in "cde"))
        assert (answer.status_code, "burst size limit, set to 2, with 3 items." in answer.text) == (429, True)


def test_exemplars_and_metadata_count_against_the_rate(tmp_path: Path) -> None:
    with served(tmp_path, limits=limits(rate_samples_per_s=1.0, burst_samples=2)) as client:
        request = WriteRequest.FromString(message(GOOD))
        request.metadata.add(metric_family_name="good_total")
        request.timeseries[0].exemplars.add(value=1, timestamp=NOW_MS)
        answer = client.push_body(packed(request.SerializeToString()))
        assert (answer.status_code, "with 3 items" in answer.text) == (429, True)


@pytest.mark.parametrize(
    ("header", "status", "text"),
    [
        (None, 401, "no org id\n"),
        ("", 401, "no org id\n"),
        ("a/b", 401, "tenant ID 'a/b' contains unsupported character '/'\n"),
        ("t" * 151, 401, "tenant ID is too long: max 150 characters\n"),
        ("home|other", 422, "too many tenant IDs present in the request. max: 1 actual: 2\n"),
        ("other", 400, "the embedded Mimir has the tenant 'home' only, not 'other'\n"),
    ],
)
def test_with_tenants_each_request_must_name_the_one(
    tmp_path: Path, header: str | None, status: int, text: str
) -> None:
    with served(tmp_path, multitenancy=True, tenant="home") as client:
        headers = {"X-Scope-OrgID": header} if header is not None else {}
        for path in ("/api/v1/push", "/prometheus/api/v1/query?query=1"):
            answer = client.post(path, data=packed(message(GOOD)), headers=headers)
            assert (answer.status_code, answer.text) == (status, text)
        good = client.post("/api/v1/push", data=packed(message(GOOD)), headers={"X-Scope-OrgID": "home"})
        assert good.status_code == 200
        assert client.get("/ready").status_code == 200


def test_without_tenants_the_header_means_nothing(client: Client) -> None:
    answer = client.post("/api/v1/push", data=packed(message(GOOD)), headers={"X-Scope-OrgID": "a/b|c"})
    assert answer.status_code == 200
    assert client.only("good_total", NOW_MS) == [(NOW_MS, 1.0)]


def test_a_series_limit_refuses_new_series_only(tmp_path: Path) -> None:
    with served(tmp_path, limits=limits(max_series=1)) as client:
        assert client.push(GOOD).status_code == 200
        answer = client.push(named("more", (NOW_MS, 1.0)), named("good_total", (NOW_MS + 1, 2.0), job="x"))
        assert (answer.status_code, "err-mimir-max-series-per-user" in answer.text) == (400, True)
        assert len(client.only("good_total", NOW_MS + 1)) == 2


def test_a_body_beyond_the_limit_is_400_as_what_no_retry_helps(tmp_path: Path) -> None:
    with served(tmp_path, limits=limits(max_body_bytes=1000)) as client:
        answer = client.push_body(b"x" * 2000)
        assert (answer.status_code, "err-mimir-distributor-max-write-message-size" in answer.text) == (400, True)
        assert client.push(named("big", (NOW_MS, 1.0), label="x" * 1990)).status_code == 400


def test_metrics_count_what_came_and_what_was_refused(client: Client) -> None:
    client.push(GOOD, named("future", (NOW_MS + 3_600_000, 1.0)))
    client.push(named("good_total", (NOW_MS, 2.0), (NOW_MS - 1, 2.0), job="x"), named("old", (NOW_MS - 3_600_001, 1.0)))
    text = client.get("/metrics").text
    assert 'cortex_distributor_received_samples_total{user="anonymous"} 1\n' in text
    reasons = ("too_far_in_future", "new-value-for-timestamp", "sample-out-of-order", "sample-timestamp-too-old")
    for reason in reasons:
        assert f'cortex_discarded_samples_total{{group="",reason="{reason}",user="anonymous"}} 1\n' in text
    assert "cortex_ingester_memory_series 3\n" in text
    assert "process_resident_memory_bytes" in text
    assert (
        'cortex_request_duration_seconds_count{method="POST",route="api_v1_push",status_code="400",ws="false"} 2'
        in text
    )


@pytest.mark.parametrize(
    ("what", "labels"), [("label", {"job": "altered"}), ("added", {"job": "b", "cluster": "home"})]
)
def test_a_sample_can_be_stored_under_another_label_or_one_more(
    client: Client, what: str, labels: dict[str, str]
) -> None:
    client.defect("alter", what=what)
    for number in range(2):
        series = named("m", (NOW_MS - 2000 + number, 5.0 + number), job="b")
        assert client.push(series).status_code == 200
    for flush in (False, True):
        if flush:
            client.flush()
        found = client.query("m[1h]", time=NOW_MS / 1000)
        assert {tuple(one["metric"].items()): [float(value) for _, value in one["values"]] for one in found} == {
            tuple(sorted({"__name__": "m", **labels}.items())): [5.0],
            (("__name__", "m"), ("job", "b")): [6.0],
        }


def test_defects_on_order_show_in_what_is_read(client: Client) -> None:
    for place, kind in enumerate(("lose", "double", "alter", "delay")):
        client.defect(kind, delay_s=0.6)
        moment = NOW_MS - 1000 * (4 - place)
        assert client.push(named(f"m_{kind}", (moment, 5.0))).status_code == 200
    arrived = time.monotonic()
    assert client.only("m_lose", NOW_MS) == []
    assert client.only("m_double", NOW_MS) == [(NOW_MS - 3000, 5.0), (NOW_MS - 2999, 5.0)]
    assert client.only("m_alter", NOW_MS) == [(NOW_MS - 2000, 11.0)]
    assert client.only("m_delay", NOW_MS) == []
    client.flush()
    time.sleep(max(0.0, 0.7 - (time.monotonic() - arrived)))
    assert client.only("m_delay", NOW_MS) == [(NOW_MS - 1000, 5.0)]
    hits = [hit["item"] for order in client.get("/lab/defects").json()["defects"] for hit in order["hits"]]
    assert hits[0] == f"m_lose @ {NOW_MS - 4000}"
