from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import requests
import urllib3
from mimir_harness import Client, Series
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from typer.testing import CliRunner, Result

from loadgen.capacity.usage import usage_of
from loadgen.cli.lab import app
from loadgen.history.directory import RunDir
from loadgen.lab.limits import KINDS, limits_of, parse_limits, tell, watch_memory
from loadgen.lab.processes import planning as plan
from loadgen.lab.processes import running as proc
from loadgen.lab.processes.manager import Lab
from loadgen.lab.settings import Limits
from loadgen.lab.state import NATIVE, LabError, LabState, load_state
from loadgen.lab.target import lab_target
from loadgen.model import StackSample
from loadgen.scrape.scraper import Scraper

MB = 1_000_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab.open(tmp_path_factory.mktemp("limits") / "lab")
    lab.up(flush_age_s=600.0, limits={"loki.rate": 1.5 * MB, "mimir.series": 7})
    yield lab
    lab.down()
    assert proc.find(lab.directory) == []


def command(lab: Lab, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--dir", str(lab.directory)], env={"COLUMNS": "200"})


def pid(lab: Lab, name: str) -> int:
    assert lab.state is not None
    process = lab.state.process(name)
    assert process is not None
    return process.pid


def push(url: str, line: str, at_ns: int) -> int:
    body = {"streams": [{"stream": {"job": "limits"}, "values": [[str(at_ns), line]]}]}
    try:
        return int(urllib3.request("POST", f"{url}/loki/api/v1/push", json=body, retries=False, timeout=10).status)
    except urllib3.exceptions.HTTPError:
        return 0


def count(url: str) -> int:
    query = "query=count_over_time(%7Bjob%3D%22limits%22%7D%5B1h%5D)"
    data = urllib3.request("GET", f"{url}/loki/api/v1/query?{query}", retries=False, timeout=30).json()
    return sum(int(float(row["value"][1])) for row in data["data"]["result"])


def metric(url: str, name: str) -> float:
    text = urllib3.request("GET", f"{url}/metrics", retries=False, timeout=10).data.decode()
    return sum(float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith((f"{name} ", f"{name}{{")))


# --- names and values


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("loki.rate=4MB/s", 4e6),
        ("loki.streams=200", 200.0),
        ("tempo.rate=2MiB/s", 2_097_152.0),
        ("tempo.live_traces=1000", 1000.0),
        ("mimir.rate=50000", 50_000.0),
        (" mimir.rate = 50000/s", 50_000.0),
        ("mimir.series=20_000", 20_000.0),
        ("grafana.memory=200MB", 2e8),
        ("loki.rate=none", None),
    ],
)
def test_a_limit_is_read_in_plain_units(text: str, number: float | None) -> None:
    assert list(parse_limits([text]).values()) == [number]


def test_every_example_can_be_read_and_sets_something() -> None:
    for kind in KINDS:
        values = parse_limits([f"{kind.name}={kind.example}"])
        assert limits_of(kind.component, ((kind.name, values[kind.name] or 0.0),)) != Limits()


def test_none_takes_all_away_but_what_comes_after_it() -> None:
    wanted = parse_limits(["loki.rate=1MB/s", "none", "mimir.series=9"])
    assert set(wanted) == {kind.name for kind in KINDS}
    assert {name: value for name, value in wanted.items() if value is not None} == {"mimir.series": 9.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loki.series=5", "no limit is called 'loki.series'; there are loki.rate, loki.streams"),
        ("s3.memory=5MB", "no limit is called 's3.memory'"),
        ("loki.rate", "limit 'loki.rate' has no value; write it like loki.rate=4MB/s"),
        ("loki.rate=fast", "limit loki.rate: 'fast' is no number of B/s above zero; write it like loki.rate=4MB/s"),
        ("loki.rate=0", "above zero"),
        ("mimir.rate=-1", "above zero"),
        ("mimir.rate=inf", "above zero"),
        ("mimir.rate=nan", "above zero"),
        ("loki.streams=1.5", "'1.5' is no number of streams"),
        ("mimir.series=1e999", "no number of series"),
    ],
)
def test_what_is_no_limit_is_an_error_that_shows_one(text: str, said: str) -> None:
    with pytest.raises(LabError) as caught:
        parse_limits([text])
    assert said in str(caught.value)


def test_a_limit_is_of_one_server_only() -> None:
    values = (("loki.rate", 4e6), ("tempo.live_traces", 5.0), ("loki.memory", 2e8))
    assert limits_of("loki", values) == Limits(rate_bytes_per_s=4e6, max_memory_bytes=200_000_000)
    assert limits_of("tempo", values) == Limits(max_live_traces=5)
    assert limits_of("mimir", values) == Limits()


def test_limits_are_told_for_people() -> None:
    assert tell((("loki.rate", 4e6), ("mimir.series", 2e4))) == "loki.rate 4 MB/s, mimir.series 20,000 series"


@pytest.mark.parametrize(
    ("limit", "setting"),
    [
        ("loki.rate", "limits_config.ingestion_rate_mb in loki.yaml"),
        ("tempo.live_traces", "max_traces_per_user in tempo.yaml"),
        ("mimir.series", "max_global_series_per_user in mimir.yaml"),
        ("mimir.memory", "GOMEMLIMIT"),
    ],
)
def test_a_real_server_takes_no_limit_and_the_error_names_its_own_setting(
    tmp_path: Path, limit: str, setting: str
) -> None:
    state = replace(plan.new_state(tmp_path), engines=((limit.partition(".")[0], NATIVE),))
    with pytest.raises(LabError, match="is a real server here") as caught:
        plan.with_limits(state, {limit: 5.0})
    assert setting in str(caught.value) and f"{limit}=none" in str(caught.value)
    assert plan.with_limits(state, {limit: None}).limits == ()


def test_limits_survive_the_file_of_the_lab(tmp_path: Path) -> None:
    state = plan.with_limits(plan.new_state(tmp_path), {"mimir.series": 20_000, "loki.rate": 4e6})
    state.save()
    read = load_state(tmp_path)
    assert read is not None and read.limits == (("loki.rate", 4e6), ("mimir.series", 20_000.0))


# --- memory


def test_a_process_beyond_its_memory_is_killed_and_not_before() -> None:
    used, killed = [99], threading.Event()
    thread = watch_memory(100, lambda: used[0], killed.set, every_s=0.005)
    assert not killed.wait(0.1)
    used[0] = 100
    assert not killed.wait(0.1)
    used[0] = 101
    assert killed.wait(5)
    thread.join(5)


def test_a_server_beyond_its_memory_dies_stays_dead_and_has_all_that_it_acknowledged(lab: Lab) -> None:
    url = lab.up(limits=parse_limits(["none"])).url("loki")
    before = metric(url, "process_resident_memory_bytes")
    limit = before + 40 * MB
    lab.up(limits={"loki.memory": limit})
    assert metric(url, "loadgen_lab_memory_limit_bytes") == int(limit)
    accepted, began_ns = count(url), time.time_ns()
    for n in range(400):
        status = push(url, f"{n} " + "x" * 200_000, began_ns + n)
        if status != 204:
            break
        accepted += 1
    assert 10 < accepted < 400
    row = {row.name: row for row in lab.status()}["loki"]
    assert (row.running, row.pid) == (False, 0)
    assert lab.state is not None
    assert "killed, as a container is at its limit" in (lab.directory / "logs" / "loki.log").read_text()
    lab.up(limits={"loki.memory": None})
    # The push that it died on may have been stored too.
    assert count(url) in (accepted, accepted + 1)


def test_a_limit_below_what_a_server_needs_at_all_is_an_error_with_its_last_words(lab: Lab) -> None:
    with pytest.raises(LabError, match="more than 5 MB of memory: killed"):
        lab.up(limits={"grafana.memory": 5 * MB})
    lab.up(limits={"grafana.memory": None})
    assert all(row.running for row in lab.status())


# --- the lab


def too_much(state: LabState, limit: str) -> tuple[int, str]:
    """Status and text of a push beyond the limits of `ONE_OF_EACH`, or for traces in memory what the metric says."""
    now_ns = time.time_ns()
    kind = limit.partition(".")[2]
    if limit.startswith("loki"):
        streams = [
            {"stream": {"job": "limits", "n": str(n)}, "values": [[str(now_ns + i), "x" * 200_000] for i in range(8)]}
            for n in range(1 if kind == "rate" else 9)
        ]
        if kind == "streams":
            streams = [{**stream, "values": [[str(now_ns), "x"]]} for stream in streams]
        answer = requests.post(f"{state.url('loki')}/loki/api/v1/push", json={"streams": streams}, timeout=10)
    elif limit.startswith("tempo"):
        request = ExportTraceServiceRequest()
        spans = request.resource_spans.add().scope_spans.add().spans
        for _ in range(9):
            size = 200_000 if kind == "rate" else 1
            spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name="x" * size, start_time_unix_nano=now_ns)
        answer = requests.post(
            f"{state.url('otlp_http')}/v1/traces",
            data=request.SerializeToString(),
            headers={"Content-Type": "application/x-protobuf"},
            timeout=10,
        )
        if kind == "live_traces":
            name = 'tempo_discarded_spans_total{reason="live_traces_exceeded",tenant="single-tenant"}'
            return answer.status_code, f"discarded {metric(state.url('tempo'), name):g}"
    else:
        labels = [{"__name__": "limited", "n": str(n)} for n in range(9)]
        samples = [(now_ns // 1_000_000 + n, 1.0) for n in range(9 if kind == "rate" else 1)]
        answer = Client(state.url("mimir")).push(*(Series(one, samples) for one in labels))
    return answer.status_code, answer.text


ONE_OF_EACH = {"rate": 1.5 * MB, "streams": 5.0, "live_traces": 3.0, "series": 7.0}


@pytest.mark.parametrize(
    ("limit", "status", "text"),
    [
        ("loki.rate", 429, "ingestion rate limit exceeded for user fake (limit: 1500000 bytes/sec)"),
        ("loki.streams", 429, "maximum active stream limit exceeded when trying to create stream"),
        ("tempo.rate", 429, "RATE_LIMITED: batch size (1800"),
        ("tempo.live_traces", 200, "discarded 6"),
        ("mimir.rate", 429, "exceeded the ingestion burst size limit, set to 50"),
        ("mimir.series", 400, "per-user series limit of 7 exceeded (err-mimir-max-series-per-user)"),
    ],
)
def test_a_limit_refuses_as_the_real_server_does_and_a_restart_keeps_it(
    lab: Lab, limit: str, status: int, text: str
) -> None:
    component, _, kind = limit.partition(".")
    value = 50.0 if limit == "mimir.rate" else ONE_OF_EACH[kind]
    state = lab.up(limits={**parse_limits(["none"]), limit: value})
    before = too_much(state, limit)
    lab.kill(component)
    lab.start(component)
    after = too_much(state, limit)
    assert (before[0], after[0]) == (status, status)
    assert text in before[1]
    # Of the traces that were in memory before, those of the log still are.
    assert text in after[1] or (limit == "tempo.live_traces" and after[1] == "discarded 9")
    assert lab.state is not None and lab.state.limits == ((limit, value),)


def test_only_the_part_whose_limit_changes_starts_again(lab: Lab) -> None:
    lab.up(limits={"loki.streams": 5})
    before = {name: pid(lab, name) for name in ("loki", "tempo", "mimir", "grafana", "s3")}
    lab.up(limits={"loki.streams": 5})
    assert pid(lab, "loki") == before["loki"]
    lab.up(limits={"loki.streams": 6})
    after = {name: pid(lab, name) for name in before}
    assert {name for name in before if before[name] != after[name]} == {"loki"}


def test_status_shows_the_limits_and_none_removes_them(lab: Lab) -> None:
    result = command(lab, "up", "--limit", "none", "--limit", "tempo.live_traces=3")
    assert result.exit_code == 0
    assert "Limits tempo.live_traces 3 traces" in result.output
    assert json.loads(command(lab, "status", "--json").stdout)["limits"] == {"tempo.live_traces": 3.0}
    assert command(lab, "up", "--limit", "none").exit_code == 0
    assert json.loads(command(lab, "status", "--json").stdout)["limits"] == {}


def test_a_bad_limit_ends_the_command_with_what_to_write(lab: Lab) -> None:
    result = command(lab, "up", "--limit", "loki.rat=4MB/s")
    assert result.exit_code == 2
    assert "no limit is called 'loki.rat'" in result.output


# --- what the servers tell of themselves


def test_embedded_servers_tell_what_they_use(lab: Lab, tmp_path: Path) -> None:
    state = lab.up(limits={**parse_limits(["none"]), "tempo.memory": 900 * MB})
    push(state.url("loki"), "x", time.time_ns())
    scraper = Scraper(lab_target(state), RunDir(tmp_path), time.time_ns, 60.0)
    samples: list[StackSample] = []
    for _ in range(2):
        samples += scraper.scrape_once()
        time.sleep(0.01)
    stack = pd.DataFrame([asdict(sample) for sample in samples])
    common = {"cores", "memory_bytes"}
    for component, fields in {
        "loki": common
        | {"wal_bytes", "streams", "chunks", "flush_queue"}
        | {"s3_written_bytes_per_s", "received_bytes_per_s"},
        "tempo": common | {"wal_bytes", "streams", "memory_limit_bytes", "received_bytes_per_s"},
        "mimir": common | {"wal_bytes", "series"},
        "grafana": common,
    }.items():
        usage = usage_of(stack, component, 0, time.time_ns())
        known = {name for name, value in asdict(usage).items() if isinstance(value, float)}
        assert fields <= known <= fields | {"s3_requests_per_s", "s3_written_bytes_per_s"}, component
        assert usage.starts == 0
    assert usage_of(stack, "tempo", 0, time.time_ns()).memory_limit_bytes == 900 * MB
    assert (usage_of(stack, "loki", 0, time.time_ns()).streams or 0) >= 1
    assert len(samples) < 2 * 60
