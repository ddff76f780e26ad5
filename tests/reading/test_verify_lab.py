"""Pushing, probing and verifying against the embedded servers, in this process, through the embedded Grafana."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_stack import receipt_of

from loadgen.config import Target, parse_profile
from loadgen.history.directory import RunDir
from loadgen.history.values import RunInfo
from loadgen.lab.grafana import server as grafana
from loadgen.lab.loki import server as loki
from loadgen.lab.mimir import server as mimir
from loadgen.lab.processes.serve import serving
from loadgen.lab.settings import LabDatasource, ServerSettings, User
from loadgen.lab.tempo import server as tempo
from loadgen.model import MS, NS, Component, Receipt, RunKey, Signal
from loadgen.plan import Plan, plan_of
from loadgen.push.preflight import check_reachable
from loadgen.push.retry import PushPolicy
from loadgen.push.sdk import SdkProbe
from loadgen.push.ways import LOKI_PUSH, OTLP_GRPC, OTLP_HTTP, REMOTE_WRITE
from loadgen.push.ways.way import Pushing
from loadgen.queries.dashboard import panels
from loadgen.queries.expected import Shown
from loadgen.reading.freshness import Prober
from loadgen.reading.verify import VerifySummary, verify
from loadgen.targets.http import HttpClient
from loadgen.targets.readers import open_readers

POLICY = PushPolicy(timeout_s=10.0, retry_for_s=5.0)
SECONDS = 8


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass(frozen=True)
class Servers:
    target: Target
    urls: dict[Signal, str]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Loki, Mimir, Tempo and Grafana, without S3, so that everything stays in their write-ahead logs."""
    path = tmp_path_factory.mktemp("servers")

    def settings(component: str, **more: object) -> ServerSettings:
        (path / component).mkdir()
        return ServerSettings(component=component, data_dir=str(path / component), **more)  # type: ignore[arg-type]

    otlp_port, grpc_port = _free_port(), _free_port()
    with contextlib.ExitStack() as stack:
        at_loki = stack.enter_context(serving(loki.build(settings("loki"))))
        at_mimir = stack.enter_context(serving(mimir.build(settings("mimir"))))
        at_tempo = stack.enter_context(
            serving(tempo.build(settings("tempo", otlp_port=otlp_port, grpc_port=grpc_port)))
        )
        sources = (
            LabDatasource("loki", "loki", "Loki", at_loki),
            LabDatasource("tempo", "tempo", "Tempo", at_tempo),
            LabDatasource("mimir", "prometheus", "Mimir", at_mimir + "/prometheus"),
        )
        users = (User("view", "looks-only", "Viewer"),)
        at_grafana = stack.enter_context(serving(grafana.build(settings("grafana", users=users, datasources=sources))))
        target = Target.model_validate(
            {
                "loki": {"url": at_loki},
                "mimir": {"url": at_mimir},
                "tempo": {
                    "otlp_http": f"http://127.0.0.1:{otlp_port}",
                    "otlp_grpc": f"127.0.0.1:{grpc_port}",
                    "query_url": at_tempo,
                },
                "grafana": {"url": at_grafana, "user": "view", "password": "looks-only"},
            }
        )
        yield Servers(target, {Signal.LOGS: at_loki, Signal.METRICS: at_mimir, Signal.TRACES: at_tempo})


class Bench:
    """One run of a few seconds' data, pushed at once."""

    def __init__(
        self,
        servers: Servers,
        path: Path,
        sample: float = 1.0,
        via: str = "grafana",
        earlier_s: int = 0,
        series_of: str = "",
    ) -> None:
        self.servers = servers
        self.target = servers.target.model_copy(update={"via": via})
        profile = parse_profile(
            {
                "logs": {"users": 3, "lines_per_s": 20},
                "metrics": {"users": 2, "series": 48},
                "traces": {"users": 2, "traces_per_s": 2, "push_every": 1},
                "verify": {"sample": sample, "patience": 1.0},
            },
            "test",
        )
        now_ns = time.time_ns()
        key = RunKey(f"lab{now_ns}", 1, now_ns // MS * MS - (SECONDS + 2 + earlier_s) * NS, series_of)
        self.plan: Plan = plan_of(key, profile)
        self.run = RunDir.create(path / "run", RunInfo(key, {}, (), {}, "test", {}, {}))

    def spoil(self, signal: Signal, kind: str) -> None:
        body = json.dumps({"kind": kind, "count": 1, "delay_s": 1.0}).encode()
        client = HttpClient(self.servers.urls[signal])
        assert client.post("/lab/defects", body, {"Content-Type": "application/json"}).ok

    def push(self) -> list[Receipt]:
        pushers = {
            (Signal.LOGS, 0): LOKI_PUSH.open(self.target, Pushing(POLICY)),
            (Signal.METRICS, 0): REMOTE_WRITE.open(self.target, Pushing(POLICY)),
            (Signal.TRACES, 0): OTLP_HTTP.open(self.target, Pushing(POLICY)),
            (Signal.TRACES, 1): OTLP_GRPC.open(self.target, Pushing(POLICY)),
        }
        receipts = []
        for signal in Signal:
            for user in range(self.plan.users(signal)):
                pusher = pushers[(signal, user % 2 if signal is Signal.TRACES else 0)]
                pace = self.plan.pace(signal, user)
                for n in range(pace.last_at(pace.began_ns + SECONDS * NS) + 1):
                    batch = self.plan.source(signal).batch(user, n)
                    result = pusher.push(self.plan.body(batch).wire)
                    receipts.append(
                        receipt_of(batch, result.outcome, result.done_ns, status=result.status, detail=result.detail)
                    )
        for pusher in pushers.values():
            pusher.close()
        assert {receipt.outcome for receipt in receipts} == {"accepted"}
        self.run.append(receipts)
        return receipts

    def verify(self) -> VerifySummary:
        return verify(
            self.run,
            self.plan,
            self.target,
            clock=time.time_ns,
            sleep=time.sleep,
            progress=lambda *_: None,
            stop=lambda: False,
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """What is wrong, by signal."""
        rows, _ = self.run.rows("sightings")
        columns = ["missing", "doubled", "altered", "reordered", "unreadable"]
        sums = rows.groupby("signal")[columns].sum()
        return {str(signal): {c: int(v) for c, v in row.items() if v} for signal, row in sums.iterrows()}


CLEAN: dict[str, dict[str, int]] = {"logs": {}, "metrics": {}, "traces": {}}


@pytest.mark.parametrize("sample", [1.0, 0.0])
@pytest.mark.parametrize("via", ["grafana", "direct"])
def test_everything_pushed_is_found_again(servers: Servers, tmp_path: Path, sample: float, via: str) -> None:
    bench = Bench(servers, tmp_path, sample, via)
    receipts = bench.push()
    summary = bench.verify()
    assert bench.counts() == CLEAN
    assert sum(one.found for one in summary.signals) == sum(receipt.items for receipt in receipts)
    queries, _ = bench.run.rows("queries")
    assert len(queries) == summary.queries and queries["ok"].all()
    assert set(queries["via"]) == {via} and set(queries["source"]) == {"verify"}


@pytest.mark.parametrize("sample", [1.0, 0.0])
def test_a_run_that_goes_on_with_the_series_of_the_one_before_is_judged_by_its_own_samples(
    servers: Servers, tmp_path: Path, sample: float
) -> None:
    first = Bench(servers, tmp_path / "1", sample, earlier_s=SECONDS + 2)
    first.push()
    then = Bench(servers, tmp_path / "2", sample, series_of=first.plan.key.run)
    then.spoil(Signal.METRICS, "lose")
    receipts = then.push()
    summary = then.verify()
    assert then.counts() == {**CLEAN, "metrics": {"missing": 1}}
    assert sum(one.found for one in summary.signals) == sum(receipt.items for receipt in receipts) - 1
    first.verify()
    assert first.counts() == CLEAN
    readers = open_readers(then.target, time.time_ns, None, 10.0, "viewer")
    of_both = f'count(last_over_time({{run="{first.plan.key.run}"}}[1m]))'
    assert [point.value for point in readers.mimir.instant(of_both, time.time_ns() // MS).value or ()] == [96.0]


@pytest.mark.parametrize("sample", [1.0, 0.0])
@pytest.mark.parametrize("kind", ["lose", "double"])
def test_lost_and_doubled_items_are_found_by_content_and_by_count(
    servers: Servers, tmp_path: Path, kind: str, sample: float
) -> None:
    bench = Bench(servers, tmp_path, sample)
    for signal in Signal:
        bench.spoil(signal, kind)
    bench.push()
    bench.verify()
    wrong = {"lose": "missing", "double": "doubled"}[kind]
    assert bench.counts() == {signal.value: {wrong: 1} for signal in Signal}


def test_counts_tell_a_loss_from_a_double_of_the_same_window(servers: Servers, tmp_path: Path) -> None:
    bench = Bench(servers, tmp_path, sample=0.0)
    for signal in Signal:
        bench.spoil(signal, "lose")
        bench.spoil(signal, "double")
    bench.push()
    bench.verify()
    assert bench.counts() == {signal.value: {"missing": 1, "doubled": 1} for signal in Signal}


def test_altered_items_are_found_by_content(servers: Servers, tmp_path: Path) -> None:
    bench = Bench(servers, tmp_path)
    for signal in Signal:
        bench.spoil(signal, "alter")
    bench.push()
    bench.verify()
    assert bench.counts() == {signal.value: {"altered": 1} for signal in Signal}


def test_swapped_lines_are_found_by_content(servers: Servers, tmp_path: Path) -> None:
    bench = Bench(servers, tmp_path)
    bench.spoil(Signal.LOGS, "reorder")
    bench.push()
    bench.verify()
    assert bench.counts() == {**CLEAN, "logs": {"reordered": 2}}


def test_delayed_items_are_late_and_not_lost(servers: Servers, tmp_path: Path) -> None:
    bench = Bench(servers, tmp_path)
    for signal in Signal:
        bench.spoil(signal, "delay")
    bench.push()
    bench.verify()
    assert bench.counts() == CLEAN
    rows, _ = bench.run.rows("sightings")
    late = rows[rows["last_absent_ns"] > 0]
    assert sorted(late["signal"]) == ["logs", "metrics", "traces"]
    assert (late["first_seen_ns"] > late["last_absent_ns"]).all()


def test_traces_of_the_sdk_verify_like_all_others(servers: Servers, tmp_path: Path) -> None:
    bench = Bench(servers, tmp_path)
    traces = bench.plan.traces
    receipts = []
    for transport, user in (("http", 900_000), ("grpc", 900_001)):
        probe = SdkProbe(bench.target, transport, POLICY)  # type: ignore[arg-type]
        batch = traces.batch(user, 3)
        resource = {"loadgen.run": bench.plan.key.run, "loadgen.user": f"{user:05d}"}
        result = probe.push(traces.spans(batch), resource)
        probe.close()
        receipts.append(receipt_of(batch, result.outcome, result.done_ns))
    bench.run.append(receipts)
    summary = bench.verify()
    assert bench.counts() == {"traces": {}}
    assert summary.signals[0].compared == sum(receipt.items for receipt in receipts)


def test_probes_see_fresh_batches_through_grafana(servers: Servers, tmp_path: Path) -> None:
    bench = Bench(servers, tmp_path)
    receipts = bench.push()
    readers = open_readers(bench.target, time.time_ns, None, 10.0, "probe")
    prober = Prober(bench.plan, readers, bench.plan.profile.freshness, time.time_ns, time.sleep)
    for signal in Signal:
        newest = [receipt for receipt in receipts if receipt.signal == signal][-1]
        for sighting in prober.probe(newest):
            assert sighting.first_seen_ns > newest.done_ns and sighting.found == newest.items


def test_every_panel_gets_data(servers: Servers, tmp_path: Path) -> None:
    bench = Bench(servers, tmp_path)
    receipts = bench.push()
    readers = open_readers(bench.target, time.time_ns, None, 10.0, "viewer")
    traced = next(receipt for receipt in receipts if receipt.signal == Signal.TRACES)
    trace_id = bench.plan.traces.trace_ids(bench.plan.traces.batch(traced.user, traced.n))[0].tobytes()
    for panel in panels(bench.plan, readers, time.time_ns(), trace_id):
        timing = panel.ask(readers, time.time_ns())
        assert timing.ok, (panel.name, timing.detail)
        # In so short a run a rate may have no two samples in a window, and no request may have failed.
        chancy = panel.component == "mimir" or panel.name == "failed requests"
        assert timing.items > 0 or chancy, panel.name


def test_a_trace_that_is_not_visible_yet_is_no_failed_query_unless_it_was_seen(
    servers: Servers, tmp_path: Path
) -> None:
    bench = Bench(servers, tmp_path)
    bench.push()
    readers = open_readers(bench.target, time.time_ns, None, 10.0, "viewer")
    shown = Shown(bench.plan.key.began_ns, dict.fromkeys(Component, 1.0))
    shown.seen(Component.TEMPO, "grafana", bench.plan.key.began_ns + NS)

    def failed(seen: bool) -> set[str]:
        made = panels(bench.plan, readers, time.time_ns(), b"\x77" * 16, seen)
        return {p.name for p in made if "trace" in p.name and not shown.judged(p, p.ask(readers, time.time_ns())).ok}

    assert failed(False) == set()
    assert failed(True) == {"one trace", "trace panel"}


def test_the_preflight_check_finds_nothing_wrong(servers: Servers) -> None:
    assert check_reachable(servers.target) == ()
    wrong = servers.target.grafana.model_copy(update={"user": "nobody"})
    [problem] = check_reachable(servers.target.model_copy(update={"grafana": wrong}))
    assert "Grafana refuses the login" in problem
