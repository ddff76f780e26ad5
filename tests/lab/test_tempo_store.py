"""The embedded Tempo's storage: nothing acknowledged is ever invisible or lost, whatever S3 and the process do."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from loadgen.lab.defects import DefectError
from loadgen.lab.exposition import Exposition
from loadgen.lab.s3.localstore import MemoryStore
from loadgen.lab.s3.store import StoreError
from loadgen.lab.settings import Limits, ServerSettings
from loadgen.lab.tempo.ingest import IngestError, RateLimit
from loadgen.lab.tempo.match import SpanMatcher
from loadgen.lab.tempo.search import Bounds, SearchRange, search
from loadgen.lab.tempo.store import TraceStore
from loadgen.lab.tempo.traceql import parse

NS = 1_000_000_000
NOW = 1_800_000_000 * NS


class Clock:
    def __init__(self) -> None:
        self.now_ns = NOW

    def __call__(self) -> int:
        return self.now_ns


def tid(number: int) -> bytes:
    return number.to_bytes(16, "big")


def export(*spans: tuple[int, int], run: str = "r1", at_ns: int = NOW) -> bytes:
    """A request with these (trace, span) numbers; span 1 is the root."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    for key, value in (("service.name", "shop"), ("run", run)):
        pair = resource.resource.attributes.add()
        pair.key, pair.value.string_value = key, value
    part = resource.scope_spans.add()
    for trace, number in spans:
        span = part.spans.add()
        span.trace_id, span.span_id = tid(trace), number.to_bytes(8, "big")
        span.parent_span_id = b"" if number == 1 else (1).to_bytes(8, "big")
        span.name = f"span {number}"
        span.start_time_unix_nano = at_ns + number
        span.end_time_unix_nano = at_ns + NS
    return request.SerializeToString()


class Lab:
    def __init__(self, directory: Path, limits: Limits | None = None) -> None:
        self.s3 = MemoryStore()
        self.clock = Clock()
        self.metrics = Exposition()
        self._settings = ServerSettings("tempo", str(directory), flush_age_s=5, limits=limits or Limits())
        self.store = self.open()

    def open(self) -> TraceStore:
        store = TraceStore(self._settings, self.s3, self.metrics, self.clock)
        store.load_block_list()
        return store

    def restart(self) -> None:
        """As after a kill: nothing of the old one is closed or flushed."""
        self.store = self.open()

    def spans(self, trace: int, blocks_only: bool = False) -> list[str] | None:
        view = self.store.trace(tid(trace), blocks_only=blocks_only)
        return None if view is None else [span.name for span in view.spans]

    def found(self, query: str = "{}", start_s: int = 0, end_s: int = 0, limit: int = 20) -> list[str]:
        answer = search(
            self.store,
            SpanMatcher(parse(query)),
            SearchRange(start_s * NS, end_s * NS, self.clock.now_ns),
            Bounds(limit),
        )
        return [trace["traceID"] for trace in answer["traces"]]

    def wal_files(self) -> int:
        return sum(path.stat().st_size > 0 for path in Path(self._settings.data_dir, "wal").iterdir())

    def keys(self, name: str) -> list[str]:
        return [key for key in self.s3.objects if key.endswith(name)]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_an_acknowledged_trace_is_there_after_a_kill(lab: Lab) -> None:
    lab.store.ingest(export((1, 1), (1, 2), (2, 1)))
    lab.restart()
    assert lab.spans(1) == ["span 1", "span 2"]
    assert lab.found() == ["1", "2"]


def test_a_trace_goes_to_s3_when_it_is_old_enough_and_then_leaves_memory_and_log(lab: Lab) -> None:
    lab.store.ingest(export((1, 1)))
    assert lab.store.flush()
    assert lab.keys("meta.json") == []
    lab.clock.now_ns += 6 * NS
    assert lab.store.flush()
    assert len(lab.keys("meta.json")) == 1
    assert lab.store.live_traces == 0
    assert lab.wal_files() == 0
    assert lab.spans(1) == ["span 1"] == lab.spans(1, blocks_only=True)
    lab.restart()
    assert lab.spans(1) == ["span 1"]
    assert lab.found() == ["1"]


def test_a_block_has_tempos_keys_meta_and_columns(lab: Lab) -> None:
    lab.store.ingest(export((258, 1), (1, 1), (1, 2)))
    lab.store.flush(force=True)
    lab.store.write_block_list(100.0)
    (meta_key,) = lab.keys("/meta.json")
    tenant, block_id, _ = meta_key.split("/")
    assert tenant == "single-tenant"
    assert sorted(lab.s3.objects) == sorted(
        [f"single-tenant/{block_id}/{name}" for name in ("bloom-0", "data.parquet", "index", "meta.json")]
        + ["single-tenant/index.json.gz"]
    )
    data = lab.s3.objects[f"single-tenant/{block_id}/data.parquet"]
    meta = json.loads(lab.s3.objects[meta_key])
    footer_bytes = int.from_bytes(data[-8:-4], "little")
    assert meta == {
        "format": "vParquet4", "blockID": block_id, "tenantID": "single-tenant",
        "startTime": "2027-01-15T08:00:00Z", "endTime": "2027-01-15T08:00:01Z", "totalObjects": 2, "size": len(data),
        "compactionLevel": 0, "indexPageSize": 0, "totalRecords": 1, "bloomShards": 1, "footerSize": footer_bytes,
        "dedicatedColumns": [
            {"n": "http.request.method"}, {"n": "url.path"}, {"n": "url.route"}, {"n": "server.address"},
            {"n": "http.route"},
        ],
        "replicationFactor": 1,
    }  # fmt: skip
    rows = pq.read_table(io.BytesIO(data)).to_pylist()
    assert [row["TraceID"] for row in rows] == [tid(1), tid(258)]
    assert {k: v for k, v in rows[0].items() if k != "TraceProtobuf"} == {
        "TraceID": tid(1), "TraceIDText": tid(1).hex(), "StartTimeUnixNano": NOW + 1, "EndTimeUnixNano": NOW + NS,
        "DurationNano": NS - 1, "RootServiceName": "shop", "RootSpanName": "span 1",
    }  # fmt: skip
    listed = json.loads(gzip.decompress(lab.s3.objects["single-tenant/index.json.gz"]))
    assert [item["blockID"] for item in listed["meta"]] == [block_id]


def test_spans_that_come_late_are_combined_with_those_in_s3(lab: Lab) -> None:
    lab.store.ingest(export((1, 1)))
    lab.store.flush(force=True)
    lab.store.ingest(export((1, 2)))
    assert lab.spans(1) == ["span 1", "span 2"]
    assert lab.found("{} >> {}") == ["1"]
    lab.store.flush(force=True)
    assert len(lab.keys("meta.json")) == 2
    lab.restart()
    assert lab.spans(1) == ["span 1", "span 2"]
    assert lab.found() == ["1"]


def test_a_retried_push_is_stored_once(lab: Lab) -> None:
    lab.store.ingest(export((1, 1), (1, 2)))
    lab.store.ingest(export((1, 1), (1, 2)))
    assert lab.spans(1) == ["span 1", "span 2"]
    lab.store.flush(force=True)
    lab.store.ingest(export((1, 1), (1, 2)))
    assert lab.spans(1) == ["span 1", "span 2"]


def test_while_s3_is_away_everything_is_readable_and_nothing_is_dropped(lab: Lab) -> None:
    lab.store.ingest(export((1, 1)))
    lab.s3.away = True
    lab.clock.now_ns += 6 * NS
    assert not lab.store.flush()
    lab.store.ingest(export((2, 1)))
    assert not lab.store.flush()
    assert lab.spans(1) == ["span 1"] and lab.spans(2) == ["span 1"]
    assert sorted(lab.found()) == ["1", "2"]
    assert lab.wal_files() >= 1
    lab.s3.away = False
    lab.restart()
    assert lab.spans(1) == ["span 1"] and lab.spans(2) == ["span 1"]
    lab.clock.now_ns += 6 * NS
    assert lab.store.flush()
    assert lab.wal_files() == 0
    assert lab.spans(1, blocks_only=True) == ["span 1"] == lab.spans(2, blocks_only=True)


def test_a_kill_between_the_block_and_the_log_shows_nothing_twice(lab: Lab) -> None:
    lab.store.ingest(export((1, 1), (1, 2)))
    written = {path: path.read_bytes() for path in Path(lab._settings.data_dir, "wal").iterdir()}
    lab.store.flush(force=True)
    for path, data in written.items():
        path.write_bytes(data)
    lab.restart()
    assert lab.store.live_traces == 1 and lab.store.block_count == 1
    assert lab.spans(1) == ["span 1", "span 2"]
    answer = search(lab.store, SpanMatcher(parse("{}")), SearchRange(0, 0, lab.clock.now_ns), Bounds())
    assert [trace["spanSet"]["matched"] for trace in answer["traces"]] == [2]


def test_a_block_without_meta_does_not_exist_and_its_traces_come_from_the_log(lab: Lab) -> None:
    lab.store.ingest(export((1, 1)))

    put = lab.s3.put

    def only_data(key: str, data: bytes) -> None:
        if key.endswith("meta.json"):
            raise StoreError("away")
        put(key, data)

    lab.s3.put = only_data  # type: ignore[method-assign]
    assert not lab.store.flush(force=True)
    lab.s3.put = put  # type: ignore[method-assign]
    lab.restart()
    assert lab.spans(1, blocks_only=True) is None
    assert lab.spans(1) == ["span 1"]


def test_an_outage_at_the_start_is_an_error_not_an_absence(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadgen.lab.tempo.store.WAIT_FOR_LIST_S", 0.01)
    lab.store.ingest(export((1, 1)))
    lab.store.flush(force=True)
    lab.s3.away = True
    lab.restart()
    with pytest.raises(StoreError):
        lab.spans(1)
    lab.s3.away = False
    assert lab.store.load_block_list()
    assert lab.spans(1) == ["span 1"]


def test_a_search_returns_the_newest_first_and_stops_at_its_limit(lab: Lab) -> None:
    for number in range(1, 7):
        lab.store.ingest(export((number, 1), at_ns=NOW + number * 10 * NS))
        if number % 2 == 0:
            lab.store.flush(force=True)
    lab.restart()
    assert lab.found(start_s=NOW // NS, end_s=NOW // NS + 100, limit=3) == ["6", "5", "4"]
    gets = lab.s3.gets
    assert lab.found('{ resource.run = "none" }', start_s=NOW // NS, end_s=NOW // NS + 100) == []
    assert lab.s3.gets == gets or lab.s3.gets <= gets + 3
    assert lab.found(start_s=NOW // NS + 25, end_s=NOW // NS + 45) == ["4", "3"]
    lab.clock.now_ns += 3600 * NS
    assert lab.found() == []


def test_a_block_of_another_program_is_left_alone(lab: Lab) -> None:
    lab.store.ingest(export((1, 1)))
    lab.store.flush(force=True)
    (index,) = lab.keys("/index")
    lab.s3.objects[index] = b"x" * 42
    lab.restart()
    assert lab.spans(1) is None
    assert lab.found(start_s=NOW // NS - 1, end_s=NOW // NS + 9) == []


def test_segments_of_the_log_stay_while_a_live_trace_is_in_them(lab: Lab) -> None:
    lab.store.ingest(export((1, 1)))
    lab.clock.now_ns += 6 * NS
    lab.store.ingest(export((2, 1)))
    lab.store.flush()
    assert len(lab.keys("meta.json")) == 1
    lab.restart()
    assert lab.spans(2) == ["span 1"]


def test_losing_hits_one_span_or_the_whole_trace(lab: Lab) -> None:
    lab.store.defects.place({"kind": "lose"})
    lab.store.defects.place({"kind": "lose", "what": "trace"})
    lab.store.ingest(export((1, 1), (1, 2), (2, 1), (2, 2), (3, 1)))
    lab.restart()
    assert lab.spans(1) == ["span 1"]
    assert lab.spans(2) is None
    assert lab.spans(3) == ["span 1"]
    with pytest.raises(DefectError):
        lab.store.defects.place({"kind": "double", "what": "trace"})


def test_doubling_and_altering_survive_restart_and_flush(lab: Lab) -> None:
    lab.store.defects.place({"kind": "double"})
    lab.store.defects.place({"kind": "alter"})
    lab.store.ingest(export((1, 1), (1, 2), (2, 1)))
    hits = [hit.item for order in lab.store.defects._orders for hit in order.hits]
    assert hits == [f"trace {tid(1).hex()}", f"trace {tid(2).hex()}"]
    expected = (["span 1", "span 1", "span 2"], ["span x"])
    assert (lab.spans(1), lab.spans(2)) == expected
    lab.restart()
    assert (lab.spans(1), lab.spans(2)) == expected
    lab.store.flush(force=True)
    assert (lab.spans(1), lab.spans(2)) == expected
    lab.restart()
    assert (lab.spans(1), lab.spans(2)) == expected


def test_a_delayed_trace_is_hidden_from_every_read_until_its_time(lab: Lab) -> None:
    lab.store.defects.place({"kind": "delay", "delay_s": 90})
    lab.store.ingest(export((1, 1), (2, 1)))
    lab.clock.now_ns += 60 * NS
    lab.store.flush()
    lab.store.flush(force=True)
    lab.restart()
    assert lab.spans(1) is None
    assert lab.found() == ["2"]
    lab.clock.now_ns += 31 * NS
    assert lab.spans(1) == ["span 1"]
    assert lab.found() == ["1", "2"]
    lab.store.flush()
    assert lab.spans(1, blocks_only=True) == ["span 1"]


def test_traces_beyond_the_limits_are_dropped_though_acknowledged_and_a_restart_has_none_of_them(
    tmp_path: Path,
) -> None:
    limits = Limits(max_live_traces=2, max_trace_bytes=400)
    lab = Lab(tmp_path, limits)
    lab.store.ingest(export((1, 1)))
    lab.store.ingest(export((2, 1), (3, 1), (3, 2)))
    lab.store.ingest(export(*[(1, n) for n in range(2, 12)]))
    lab.store.close()
    for one in (lab, Lab(tmp_path, limits)):
        assert (one.spans(1), one.spans(2), one.spans(3)) == (["span 1"], ["span 1"], None)
    for reason, spans in (("live_traces_exceeded", 2), ("trace_too_large", 10)):
        assert lab.metrics.value("tempo_discarded_spans_total", reason=reason, tenant="single-tenant") == spans
    assert lab.metrics.value("tempo_distributor_spans_received_total", tenant="single-tenant") == 14


def test_the_rate_limit_is_a_token_bucket() -> None:
    now = [0.0]
    rate = RateLimit(Limits(rate_bytes_per_s=100, burst_bytes=150), lambda: now[0])
    rate.take(150, 1)
    with pytest.raises(IngestError) as caught:
        rate.take(1, 1)
    assert str(caught.value) == (
        "RATE_LIMITED: ingestion rate limit (local: 100 bytes/s, global: 0 bytes/s, burst: 150 bytes) exceeded while "
        "adding 1 bytes for user single-tenant. consider increasing the limit or reducing ingestion rate."
    )
    with pytest.raises(IngestError, match=r"^RATE_LIMITED: batch size \(151 bytes\) exceeds ingestion limit"):
        rate.take(151, 1)
    now[0] = 0.5
    rate.take(50, 1)
    RateLimit(Limits()).take(10**9, 1)


@pytest.mark.parametrize("data", [b"\xff\xff", b"\x0a\x05abc", b"hello, I am no protobuf"])
def test_what_is_no_export_is_refused(lab: Lab, data: bytes) -> None:
    with pytest.raises(IngestError):
        lab.store.ingest(data)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("name", ("span x", NS - 1, "shop")),
        ("duration", ("span 1", NS - 1 + 1_000_000, "shop")),
        ("attribute", ("span 1", NS - 1, "shox")),
    ],
)
def test_an_altered_span_differs_in_what_was_asked_for(lab: Lab, what: str, expected: tuple[str, int, str]) -> None:
    lab.store.defects.place({"kind": "alter", "what": what})
    request = ExportTraceServiceRequest.FromString(export((1, 1), (1, 2)))
    pair = request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="kind")
    pair.value.string_value = "shop"
    lab.store.ingest(request.SerializeToString())
    view = lab.store.trace(tid(1))
    assert view is not None
    span = Span.FromString(view.spans[0].raw)
    took_ns = span.end_time_unix_nano - span.start_time_unix_nano
    assert (span.name, took_ns, span.attributes[0].value.string_value) == expected


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("resource", {"service.name": "shop", "run": "rx"}),
        ("added", {"service.name": "shop", "run": "r1", "cluster": "home"}),
    ],
)
def test_an_altered_resource_has_another_value_or_one_more(lab: Lab, what: str, expected: dict[str, str]) -> None:
    lab.store.defects.place({"kind": "alter", "what": what})
    lab.store.ingest(export((1, 1)))
    view = lab.store.trace(tid(1))
    assert view is not None
    resource = Resource.FromString(view.spans[0].scope.resource or b"")
    assert {pair.key: pair.value.string_value for pair in resource.attributes} == expected


def test_a_forgotten_trace_is_read_until_the_process_ends_unless_it_reached_s3(lab: Lab) -> None:
    lab.store.defects.place({"kind": "forget", "count": 2})
    lab.store.ingest(export((1, 1)))
    lab.store.flush(force=True)
    lab.store.ingest(export((2, 1), (3, 1)))
    assert lab.spans(2) == ["span 1"]
    lab.restart()
    assert (lab.spans(1), lab.spans(2), lab.spans(3)) == (["span 1"], None, ["span 1"])


def test_a_refused_export_is_over_the_rate_and_stores_nothing(lab: Lab) -> None:
    lab.store.defects.place({"kind": "refuse"})
    with pytest.raises(IngestError, match="RATE_LIMITED"):
        lab.store.ingest(export((1, 1)))
    assert lab.spans(1) is None


def test_a_withheld_block_is_read_and_kept_in_the_log_until_it_goes_to_s3(lab: Lab) -> None:
    lab.store.defects.place({"kind": "withhold", "delay_s": 90})
    lab.store.ingest(export((1, 1)))
    lab.store.flush(force=True)
    assert lab.keys("meta.json") == []
    lab.store.ingest(export((1, 2), (2, 1)))
    lab.store.flush(force=True)
    assert len(lab.keys("meta.json")) == 1
    assert lab.spans(1) == ["span 1", "span 2"]
    lab.restart()
    assert lab.spans(1) == ["span 1", "span 2"]
    lab.store.defects.place({"kind": "withhold", "delay_s": 90})
    lab.store.flush(force=True)
    lab.clock.now_ns += 91 * NS
    lab.store.ingest(export((1, 3)))
    lab.store.flush(force=True)
    assert len(lab.keys("meta.json")) == 2
    assert lab.spans(1) == ["span 1", "span 2", "span 3"]
    lab.store.defects.place({"kind": "withhold", "delay_s": 90})
    lab.store.ingest(export((3, 1)))
    lab.store.flush(force=True)
    assert len(lab.keys("meta.json")) == 2
    lab.store.defects.clear()
    lab.store.flush(force=True)
    assert len(lab.keys("meta.json")) == 3


def test_a_broken_export_is_unavailable_and_stores_everything(lab: Lab) -> None:
    lab.store.defects.place({"kind": "break"})
    with pytest.raises(IngestError, match="deadline"):
        lab.store.ingest(export((1, 1)))
    lab.store.ingest(export((1, 1)))
    lab.restart()
    # Copies of a span from different exports are one, as in the real one.
    assert lab.spans(1) == ["span 1"]
