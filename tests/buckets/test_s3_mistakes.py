"""What S3 does is told as S3's, a mistake of ours as ours, and a wrong clock by its name; none of them ends the run."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.parsers import ResponseParserError
from made_history import good_run
from s3_bench import BEGAN_NS, Bench, made, refused

from loadgen.buckets import blocks
from loadgen.buckets.loki.streams import StreamSweep
from loadgen.buckets.mimir import blocks as mimir_blocks
from loadgen.checks.s3_looks import looks_of
from loadgen.config import S3Target
from loadgen.mistakes import REPORT_IT, mistake
from loadgen.model import LISTING_FAILED, NS, OURS, Component, Result, StackSample, bucket_labels
from loadgen.targets.failures import cluster_errors, s3_errors
from loadgen.targets.s3 import NotAListing, explain_s3, is_about_object, is_not_implemented, list_page, s3_client

BLAME = ("credential", "S3's log", "endpoint")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return made(tmp_path)


def said(bench: Bench) -> str:
    return " ".join(bench.watcher.problems)


# -- ours ----------------------------------------------------------------------------------------------------------


def broken(*_: Any, **__: Any) -> Any:
    return [][3]


@pytest.mark.parametrize("kind", [IndexError, KeyError, TypeError, AttributeError, ZeroDivisionError, ValueError])
def test_a_mistake_of_ours_in_a_cycle_is_told_as_ours(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def wrong(*_: Any) -> None:
        raise kind("boom")

    monkeypatch.setattr(StreamSweep, "_take", wrong)
    bench.put_chunk()
    bench.put_metrics()
    bench.watcher.poll_once()
    assert kind.__name__ in said(bench) and REPORT_IT in said(bench)
    assert ", at loadgen/buckets/loki/streams.py:" in said(bench)
    assert not any(word in said(bench) for word in BLAME)
    assert bench.objects()["component"].tolist() == ["mimir"]
    assert not bench.watcher.last_listing_ns["loki-chunks"]
    looks = looks_of(bench.run.history(), Component.LOKI)
    assert looks.kind == OURS and REPORT_IT in looks.failed


def test_a_mistake_of_ours_names_the_place_in_our_code_and_its_text_only_where_it_may() -> None:
    with pytest.raises(TypeError) as caught:
        blocks._among(None, None)  # type: ignore[arg-type]
    assert "NoneType" in mistake(caught.value) and "at loadgen/buckets/blocks.py:" in mistake(caught.value)
    assert "NoneType" not in mistake(caught.value, with_text=False)


def test_a_row_of_a_listing_without_a_time_is_s3s_failure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    page = {"KeyCount": 1, "Contents": [{"Key": "x", "Size": 1}]}
    monkeypatch.setattr(bench.s3, "list_objects_v2", lambda **_: page)
    bench.watcher.poll_once()
    assert "no usable key, size and time" in said(bench) and REPORT_IT not in said(bench)


@pytest.mark.parametrize("where", ["_prepare", "_poll", "_store", "_count_strangers", "_keep"])
def test_the_watcher_outlives_a_mistake_of_ours_anywhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(bench.watcher, where, broken)
        bench.watcher.start()
        for _ in range(500):
            if bench.watcher.problems or where == "_count_strangers":
                break
            bench.watcher._over.wait(0.01)
        bench.put_chunk()
        bench.watcher.stop()
    assert "IndexError" in said(bench) and REPORT_IT in said(bench)
    bench.watcher.poll_once()
    assert len(bench.objects()) == 1


def test_a_block_that_we_cannot_read_by_a_mistake_of_ours_leaves_the_others_watched(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mimir_blocks, "series_counts", broken)
    bench.put_metrics()
    bench.put_traces()
    for _ in range(4):
        bench.requests()
    mimir, tempo = bench.objects().itertuples()
    assert "IndexError" in mimir.detail and REPORT_IT in mimir.detail and not tempo.detail
    assert bench.watcher.last_listing_ns["mimir-blocks"]


def test_a_verdict_that_a_mistake_of_ours_makes_impossible_says_so() -> None:
    for kind, wanted in ((OURS, REPORT_IT), ("clocks", "NTP"), ("s3", "may list and read")):
        run = good_run()
        run.drop("objects", lambda row: row.component == "loki")
        run.drop("stack", lambda row: row.metric == "last_listing")
        labels = bucket_labels(Component.LOKI, "b", kind, "IndexError, at loadgen/x.py:3, and more")
        run.stack.append(StackSample("s3", LISTING_FAILED, labels, BEGAN_NS, 1.0))
        verdict = run.verdict("logs.s3_delay")
        assert verdict.result is Result.UNKNOWN and wanted in verdict.remedy
        assert "IndexError, at loadgen/x.py:3, and more" in verdict.evidence


def test_a_failure_that_a_later_listing_has_mended_is_not_held_against_it() -> None:
    run = good_run()
    run.stack.insert(0, StackSample("s3", LISTING_FAILED, bucket_labels(Component.LOKI, "b", OURS, "x"), 5, 1.0))
    assert looks_of(run.history(), Component.LOKI).failed == ""
    assert run.result("logs.s3_delay") is Result.PASS


# -- S3's ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem",
    [
        refused("SlowDown", 503),
        refused("AccessDenied"),
        refused("NoSuchBucket", 404),
        EndpointConnectionError(endpoint_url="http://x"),
        ReadTimeoutError(endpoint_url="http://x"),
        ResponseParserError("no XML"),
        NotAListing("a page"),
        urllib3.exceptions.SSLError("in the middle of a body"),
        ConnectionResetError("gone"),
        TimeoutError("slow"),
    ],
)
def test_what_the_client_raises_is_told_as_s3s(bench: Bench, problem: Exception) -> None:
    assert isinstance(problem, s3_errors())
    bench.s3.fails["list loki-chunks"] = problem
    bench.put_metrics()
    bench.watcher.poll_once()
    assert "s3:9000/loki-chunks" in said(bench) and REPORT_IT not in said(bench)
    assert len(bench.objects()) == 1 and not bench.watcher.last_listing_ns["loki-chunks"]


@pytest.mark.parametrize("problem", [IndexError(), KeyError(), TypeError(), ValueError(), AssertionError()])
def test_what_only_we_can_raise_is_neither_s3s_nor_the_clusters(problem: Exception) -> None:
    assert not isinstance(problem, s3_errors()) and not isinstance(problem, cluster_errors())


def test_a_bucket_that_vanishes_in_mid_run_ends_the_cycle_and_no_object_is_called_unreadable(bench: Bench) -> None:
    bench.put_traces()
    bench.s3.fails["get tempo-traces"] = refused("NoSuchBucket", 404)
    for _ in range(5):
        bench.requests()
    assert bench.objects().empty and "NoSuchBucket" in said(bench)
    assert not bench.watcher.last_listing_ns["tempo-traces"]


@pytest.mark.parametrize(
    "code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "ExpiredToken"]
)
def test_what_is_said_of_the_credential_is_not_said_of_an_object(code: str) -> None:
    assert not is_about_object(refused(code)) and is_about_object(refused("AccessDenied"))


def test_a_listing_that_goes_round_or_does_not_begin_where_asked_is_no_listing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"KeyCount": 1, "IsTruncated": True, "NextContinuationToken": "same"}
    monkeypatch.setattr(bench.s3, "list_objects_v2", lambda **_: more)
    bench.watcher.poll_once()
    assert "incomplete" in said(bench) and not any(bench.watcher.last_listing_ns.values())


def test_a_server_without_start_after_is_no_endless_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = made(tmp_path, logs={"users": 100}, metrics={"users": 0}, traces={"users": 0})
    bench.s3.most = 3
    for user in range(100):
        bench.put_chunk(user)
    honest = bench.s3.list_objects_v2
    monkeypatch.setattr(bench.s3, "list_objects_v2", lambda **asked: honest(**{**asked, "StartAfter": ""}))
    bench.watcher.poll_once()
    assert "does not begin where it was asked to" in said(bench)


def test_a_server_without_delimiters_and_ranges_that_encodes_keys_is_understood(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.put_chunk()
    bench.put_traces()
    bench.put_metrics()
    honest, get = bench.s3.list_objects_v2, bench.s3.get_object

    def listing(**asked: Any) -> dict[str, Any]:
        page = honest(**{**asked, "Delimiter": ""})
        for row in page["Contents"]:
            row["Key"] = row["Key"].replace(":", "%3A")
        return page

    monkeypatch.setattr(bench.s3, "list_objects_v2", listing)
    monkeypatch.setattr(bench.s3, "get_object", lambda Bucket, Key, Range="": get(Bucket=Bucket, Key=Key))
    bench.watcher.look_whole()
    assert bench.objects()["component"].tolist() == ["loki", "mimir", "tempo"] and not bench.watcher.problems
    assert bench.run.rows("gone")[0].empty


# -- what boto3 itself makes of odd answers -------------------------------------------------------------------------


class Odd:
    """A server that gives every request the same answer."""

    def __init__(self, body: str, status: int = 200, date: str = "") -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(status)
                for name, value in (("Date", date), ("Content-Length", str(len(body)))):
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> S3Target:
        self.thread.start()
        port = self.server.server_address[1]
        return S3Target(endpoint=f"http://127.0.0.1:{port}", access_key_id="a", secret_access_key="b")

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def row(modified: str, key: str = "k", size: str = "1") -> str:
    rest = f"<LastModified>{modified}</LastModified><Size>{size}</Size>"
    return f"<ListBucketResult><Name>b</Name><Contents><Key>{key}</Key>{rest}</Contents></ListBucketResult>"


@pytest.mark.parametrize("modified", ["2026-12-01T00:00:00Z", "2026-12-01T00:00:00.123Z", "2026-12-01T00:00:00+00:00"])
def test_times_with_and_without_milliseconds_are_read(modified: str) -> None:
    with Odd(row(modified)) as target:
        [found] = list_page(s3_client(target), "b")["Contents"]
        assert found["LastModified"].replace(microsecond=0) == datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize("body", [row("yesterday"), row("2026-12-01T00:00:00Z", size="many"), "<html>", "not XML", ""])
def test_an_answer_that_boto3_cannot_read_is_s3s_failure(body: str) -> None:
    with Odd(body) as target, pytest.raises(s3_errors()) as caught:
        list_page(s3_client(target), "b")
    assert REPORT_IT not in explain_s3(caught.value, target, "b")


# -- clocks --------------------------------------------------------------------------------------------------------


def skewed(code: str, **more: Any) -> ClientError:
    headers = {"date": format_datetime(datetime.fromtimestamp(BEGAN_NS // NS, UTC), usegmt=True)}
    response: Any = {
        "Error": {"Code": code, "Message": "The difference is too large.", **more},
        "ResponseMetadata": {"HTTPStatusCode": 403, "HTTPHeaders": headers},
    }
    return ClientError(response, "ListObjectsV2")


@pytest.mark.parametrize(("ahead_s", "words"), [(1200, "20 min ahead of"), (-1200, "20 min behind")])
def test_a_request_that_is_refused_for_its_time_names_the_clock_and_the_difference(ahead_s: int, words: str) -> None:
    text = explain_s3(
        skewed("RequestTimeTooSkewed"), S3Target(endpoint="http://s3"), "b", clock=lambda: BEGAN_NS + ahead_s * NS
    )
    assert f"this machine's clock is {words} the S3 server's" in text and "NTP" in text
    assert "check endpoint, credentials" not in text


def test_the_time_in_the_refusal_counts_before_the_header() -> None:
    problem = skewed("RequestTimeTooSkewed", ServerTime="2027-01-15T08:10:00Z")
    text = explain_s3(problem, S3Target(endpoint="http://s3"), "b", clock=lambda: BEGAN_NS)
    assert "10 min behind" in text


def test_another_refusal_says_that_the_clock_differs_too_and_equal_clocks_are_not_named() -> None:
    target = S3Target(endpoint="http://s3")
    assert "20 min ahead" in explain_s3(skewed("AccessDenied"), target, "b", clock=lambda: BEGAN_NS + 1200 * NS)
    assert "clock" not in explain_s3(skewed("AccessDenied"), target, "b", clock=lambda: BEGAN_NS + 3 * NS)


def test_a_wrong_clock_makes_the_verdicts_unknown_and_is_their_reason(bench: Bench) -> None:
    for bucket in ("loki-chunks", "tempo-traces", "mimir-blocks"):
        bench.s3.fails[f"list {bucket}"] = skewed("RequestTimeTooSkewed")
    bench.s3.now_ns = BEGAN_NS + 1200 * NS
    bench.watcher.poll_once()
    for component in (Component.LOKI, Component.TEMPO, Component.MIMIR):
        looks = looks_of(bench.run.history(), component)
        assert (looks.kind, looks.listed_ns) == ("clocks", 0) and "20 min ahead" in looks.failed


# -- what an S3 does not know --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "message", "lacks"),
    [
        ("NotImplemented", 501, "Not implemented: GetObjectLockConfiguration", True),
        ("NotImplemented", 400, "A header you provided implies functionality that is not implemented", True),
        ("MethodNotAllowed", 405, "The specified method is not allowed", True),
        ("405", 405, "Method Not Allowed", True),
        ("InvalidRequest", 400, "This operation is not supported by this server", True),
        ("InvalidArgument", 400, "Unsupported header 'x-amz-checksum-crc32' received for this API call.", False),
        ("AccessDenied", 403, "not implemented for you", False),
        ("NoSuchBucket", 404, "The specified bucket does not exist", False),
        ("InternalError", 500, "not supported", False),
    ],
)
def test_what_a_server_does_not_implement_is_told_from_what_it_refuses(
    code: str, status: int, message: str, lacks: bool
) -> None:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    assert is_not_implemented(ClientError(response, "GetObjectLockConfiguration")) is lacks
