from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from loki_harness import NOW_NS, NS, Client, loki

from loadgen.lab.protobuf import PushRequest, snappy
from loadgen.lab.settings import Limits

JSON = {"Content-Type": "application/json"}
PROTOBUF = {"Content-Type": "application/x-protobuf"}
SHOP = {"app": "shop", "pod": "p"}
NAME = '{app="shop", pod="p", service_name="shop"}'


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server for pushes that store nothing."""
    with loki(tmp_path_factory.mktemp("loki")) as client:
        yield client


def protobuf_push(line: bytes = b"hello", labels: str = '{app="shop", pod="p"}') -> bytes:
    message = PushRequest()
    stream = message.streams.add(labels=labels)
    entry = stream.entries.add(line=line)
    entry.timestamp.seconds = NOW_NS // NS
    entry.structured_metadata.add(name="trace_id", value="t1")
    return snappy(message.SerializeToString())


@pytest.mark.parametrize(
    ("body", "headers", "status", "text"),
    [
        (b"this is not snappy", PROTOBUF, 400, "snappy: corrupt input\n"),
        (snappy(b"\xff\xff\xff"), PROTOBUF, 400, "unexpected EOF\n"),
        (b"x", {}, 400, "mime: no media type\n"),
        (b'{"streams":[]}', JSON, 422, "error at least one valid stream is required for ingestion\n"),
        (b"{}", JSON, 422, "error at least one valid stream is required for ingestion\n"),
        (b"null", JSON, 422, "error at least one valid stream is required for ingestion\n"),
        (b"this is not gzip", {**JSON, "Content-Encoding": "gzip"}, 400, "gzip: invalid header\n"),
        (b"x", {**JSON, "Content-Encoding": "br"}, 400, 'Content-Encoding "br" not supported\n'),
    ],
)
def test_an_unreadable_push_is_refused(
    shared: Client, body: bytes, headers: dict[str, str], status: int, text: str
) -> None:
    assert shared.post(body, headers, status) == text


@pytest.mark.parametrize(
    "body",
    [
        b'{"streams":[',
        b"[]",
        b"1",
        b"\xff\xfe",
        b'{"streams":{}}',
        b'{"streams":[1]}',
        b'{"streams":[{"stream":1,"values":[]}]}',
        b'{"streams":[{"stream":{"a":1},"values":[]}]}',
        b'{"streams":[{"stream":{"a":"b"},"values":[1]}]}',
        b'{"streams":[{"stream":{"a":"b"},"values":[["1"]]}]}',
        b'{"streams":[{"stream":{"a":"b"},"values":[[1,"x"]]}]}',
        b'{"streams":[{"stream":{"a":"b"},"values":[["x","x"]]}]}',
        b'{"streams":[{"stream":{"a":"b"},"values":[["9999999999999999999","x"]]}]}',
        b'{"streams":[{"stream":{"a":"b"},"values":[["1",2]]}]}',
        b'{"streams":[{"stream":{"a":"b"},"values":[["1","x",{"a":1}]]}]}',
        b"[" * 100_000,
    ],
)
def test_bad_json_is_a_400_with_a_text(shared: Client, body: bytes) -> None:
    assert shared.post(body, JSON, 400).strip()


def test_json_cut_short_is_explained_as_loki_does(shared: Client) -> None:
    assert shared.post(b'{"streams":[', JSON, 400) == (
        "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: Skip: do not know how to skip: 0, error found in "
        '#10 byte of ...|streams":[|..., bigger context ...|{"streams":[|...\n'
    )


def test_json_protobuf_and_gzip_store_the_same(tmp_path: Path) -> None:
    body = json.dumps({"streams": [{"stream": SHOP, "values": [[str(NOW_NS), "hello", {"trace_id": "t1"}]]}]}).encode()
    answers = []
    for number, (data, headers) in enumerate(
        [
            (body, JSON),
            (gzip.compress(body), {**JSON, "Content-Encoding": "gzip"}),
            (protobuf_push(), PROTOBUF),
            (protobuf_push(), {**PROTOBUF, "Content-Encoding": "snappy"}),
            (gzip.compress(protobuf_push()), {**PROTOBUF, "Content-Encoding": "gzip"}),
        ]
    ):
        with loki(tmp_path / str(number)) as client:
            client.post(data, headers, 204)
        with loki(tmp_path / str(number)) as client:
            answers.append(client.range('{app="shop"}'))
    expected = {**SHOP, "service_name": "shop", "detected_level": "unknown", "trace_id": "t1"}
    assert answers == [[{"stream": expected, "values": [[str(NOW_NS), "hello"]]}]] * 5


@pytest.mark.parametrize(
    ("time_ns", "line", "text"),
    [
        (
            NOW_NS - 30 * 86400 * NS,
            "old",
            f"entry for stream '{NAME}' has timestamp too old: 2026-10-24T06:08:00Z, "
            "oldest acceptable timestamp is: 2026-11-16T06:08:00Z\n",
        ),
        (NOW_NS + 3600 * NS, "new", f"entry for stream '{NAME}' has timestamp too new: 2026-11-23T07:08:00Z\n"),
        (
            NOW_NS,
            "x" * 300_000,
            f"max entry size '262144' bytes exceeded for stream '{NAME}' "
            "while adding an entry with length '300000' bytes\n",
        ),
    ],
)
def test_a_partly_valid_push_is_a_400_and_keeps_the_valid_lines(
    tmp_path: Path, time_ns: int, line: str, text: str
) -> None:
    with loki(tmp_path) as client:
        assert client.push((SHOP, [(str(NOW_NS), "good"), (str(time_ns), line)]), status=400) == text
        assert client.texts('{app="shop"}') == ["good"]
        assert client.metric("loki_discarded_samples_total") == 1
    with loki(tmp_path) as client:
        assert client.texts('{app="shop"}') == ["good"]


def test_several_refusals_are_grouped(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        text = client.push((SHOP, [("1", "a"), ("1", "b")]), status=400)
        assert text.startswith("2 errors like: entry for stream")


def test_a_line_too_far_behind_its_stream_is_refused_and_one_within_the_window_kept(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.push((SHOP, [(str(NOW_NS), "newest")]))
        client.push((SHOP, [(str(NOW_NS - 3599 * NS), "within")]))
        text = client.push((SHOP, [(str(NOW_NS - 3601 * NS), "behind")]), status=400)
        assert text == (
            "entry with timestamp 2026-11-23 05:07:59 +0000 UTC ignored, reason: 'entry too far behind, entry "
            "timestamp is: 2026-11-23T05:07:59Z, oldest acceptable timestamp is: 2026-11-23T05:08:00Z',\n"
            f"user 'fake', total ignored: 1 out of 1 for stream: {NAME}\n"
        )
        assert client.texts('{app="shop"}') == ["within", "newest"]


def test_an_identical_entry_is_dropped_without_a_word(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.push((SHOP, [(str(NOW_NS), "a"), (str(NOW_NS + 1), "b")]))
        client.push((SHOP, [(str(NOW_NS), "a"), (str(NOW_NS + 1), "b"), (str(NOW_NS + 1), "c")]))
        assert client.texts('{app="shop"}', end=NOW_NS + NS) == ["a", "b", "c"]


def test_pieces_of_one_stream_in_a_push_are_one_stream(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.push((SHOP, [(str(NOW_NS), "b")]), (SHOP, [(str(NOW_NS - 1), "a"), (str(NOW_NS), "b")]))
        assert client.texts('{app="shop"}') == ["a", "b"]


def test_bad_labels_are_refused_as_loki_words_it(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        text = client.push(({"bad-name": "x"}, [(str(NOW_NS), "x")]), status=400)
        assert text == "couldn't parse labels: 1:5: parse error: unexpected character inside braces: '-'\n"
        many = {f"l{i:02d}": "x" for i in range(16)}
        assert "has 16 label names; limit 15" in client.push((many, [(str(NOW_NS), "x")]), status=400)


def test_no_labels_at_all_become_the_unknown_service(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.push(({}, [(str(NOW_NS), "x")]))
        found = client.range('{service_name="unknown_service"}')
        assert found[0]["stream"] == {"service_name": "unknown_service", "detected_level": "unknown"}


def test_a_rate_limit_refuses_the_whole_push_and_recovers_with_time(tmp_path: Path) -> None:
    with loki(tmp_path, limits=Limits(rate_bytes_per_s=100, burst_bytes=150)) as client:
        client.push((SHOP, [(str(NOW_NS), "x" * 120)]))
        text = client.push((SHOP, [(str(NOW_NS + 1), "y" * 120)]), status=429)
        assert text.startswith(
            "ingestion rate limit exceeded for user fake (limit: 100 bytes/sec) while attempting to ingest '1' lines "
            "totaling '120' bytes"
        )
        client.clock.now_ns += 2 * NS
        client.push((SHOP, [(str(NOW_NS + 2), "z" * 120)]))
        assert [t[0] for t in client.texts('{app="shop"}')] == ["x", "z"]


def test_one_stream_too_many_is_a_429_and_the_others_are_stored(tmp_path: Path) -> None:
    with loki(tmp_path, limits=Limits(max_streams=2)) as client:
        streams = [({"app": "a", "pod": str(i)}, [(str(NOW_NS - 1), "x"), (str(NOW_NS), "x")]) for i in range(3)]
        text = client.push(*streams, status=429)
        assert text.rstrip() == (
            'maximum active stream limit exceeded when trying to create stream {app="a", pod="2", service_name="a"}, '
            "reduce the number of active streams (reduce labels or reduce label values), or contact your Loki "
            "administrator to see if the limit can be increased, user: 'fake'"
        )
        assert client.total() == 4
        metrics = client.get("/metrics").text
        assert 'loki_discarded_samples_total{reason="stream_limit",tenant="fake"} 2\n' in metrics
        assert 'loki_discarded_bytes_total{reason="stream_limit",tenant="fake"} 2\n' in metrics


def test_a_body_over_the_limit_is_a_413(tmp_path: Path) -> None:
    with loki(tmp_path, limits=Limits(max_body_bytes=1000)) as client:
        assert "request body too large" in client.post(b"x" * 1001, PROTOBUF, 413)
        assert "request body too large" in client.post(snappy(bytes(5000)), PROTOBUF, 413)
        zeros = gzip.compress(bytes(5000))
        assert "request body too large" in client.post(zeros, {**JSON, "Content-Encoding": "gzip"}, 413)


def test_any_tenant_is_the_one_without_authentication(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.session.headers["X-Scope-OrgID"] = "somebody"
        client.lines(1)
        client.session.headers["X-Scope-OrgID"] = "else"
        assert client.total() == 1


def test_with_a_tenant_requests_must_name_it(tmp_path: Path) -> None:
    with loki(tmp_path, tenant="team") as client:
        assert client.post(protobuf_push(), PROTOBUF, 401) == "no org id\n"
        assert client.post(protobuf_push(), {**PROTOBUF, "X-Scope-OrgID": "other"}, 403)
        client.post(protobuf_push(), {**PROTOBUF, "X-Scope-OrgID": "team"}, 204)
        assert client.get("/loki/api/v1/labels", 401).text == "no org id\n"
        client.flush()
        keys = list(client.store.objects)
        assert any(key.startswith("team/") for key in keys)
        # An index that is not compacted yet is one file for all tenants.
        assert all(key.startswith(("team/", "index/")) for key in keys)


def test_lines_that_are_not_utf8_are_stored(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        client.post(protobuf_push(b"\xff\xfe"), PROTOBUF, 204)
        assert client.texts('{app="shop"}') == ["��"]


def test_received_bytes_and_lines_are_counted(tmp_path: Path) -> None:
    def received(client: Client) -> tuple[float, float]:
        names = ("loki_distributor_lines_received_total", "loki_distributor_bytes_received_total")
        lines, size = (client.metric(name) for name in names)
        return lines, size

    with loki(tmp_path) as client:
        assert received(client) == (0, 0)
        client.push((SHOP, [(str(NOW_NS), "12345", {"ab": "cde"})]))
        assert received(client) == (1, 10)
