"""Ask everything that a target has an address for, one thing after the other, with progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from loadgen.acceptance.facts import Deployment, Told
from loadgen.acceptance.probes import accepts, grafana, prometheus, s3
from loadgen.acceptance.probes import kubernetes as cluster
from loadgen.config import Target
from loadgen.history.naming import new_run_name
from loadgen.model import MS, ClockReading
from loadgen.targets.clocks import read_clocks
from loadgen.targets.http import HttpClient
from loadgen.targets.readers import open_readers

Progress = Callable[[str], None]
_TIMEOUT_S = 10.0


def gather(
    target: Target,
    progress: Progress,
    create_dashboard: bool = False,
    s3_wait_s: float = 15.0,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], int] = time.time_ns,
) -> Deployment:
    """Everything about a deployed stack that the target allows to ask; takes some seconds.

    What is pushed are single probes, labelled like a run of loadgen; what is written to S3 is nothing but a probe that
    must be refused. ConfigError when a secret's file cannot be read.
    """
    found = Deployment(target.name, clock())
    steps: list[tuple[str, Callable[[Deployment], Deployment]]] = [
        ("clocks", lambda d: replace(d, clocks=_clocks(target, clock)))
    ]
    if target.s3.endpoint:
        steps += [
            ("S3: buckets", lambda d: replace(d, s3=Told(target.s3.endpoint), buckets=s3.ask_buckets(target))),
            ("S3: TLS", lambda d: replace(d, tls=s3.ask_tls(target.s3))),
            ("S3: who may do what", lambda d: replace(d, isolation=s3.ask_isolation(target))),
        ]
    reads = bool(target.grafana.url) or target.via == "direct"
    if reads:
        readers = open_readers(target, clock, None, _TIMEOUT_S, "check")
        plan = accepts.probe_plan(new_run_name(clock()), clock())
        steps.append(
            (
                "a line, a trace and a sample",
                lambda d: replace(d, accepted=accepts.ask_accepts(target, readers, plan)),
            )
        )
    if target.grafana.url and target.via == "grafana":
        client = HttpClient(target.grafana.url, target.grafana, _TIMEOUT_S)
        steps += [
            ("Grafana", lambda d: replace(d, grafana=grafana.ask_grafana(client), uids=grafana.ask_uids(client))),
            ("data sources", lambda d: replace(d, datasources=grafana.ask_datasources(client, target, readers))),
            ("an error on purpose", lambda d: replace(d, error_answer=grafana.ask_error(client, target))),
            (
                "the dashboard",
                lambda d: replace(d, dashboard=grafana.ask_dashboard(client, target, readers, create_dashboard)),
            ),
        ]
    if target.prometheus.url and reads:
        steps.append(("Prometheus", lambda d: _prometheus(d, target, readers.mimir, clock() // MS)))
    if target.kubernetes.namespace:
        steps.append(("Kubernetes", lambda d: cluster.ask_cluster(d, target.kubernetes)))
    if target.s3.endpoint:
        # Last, so that what was pushed above has had time to get there.
        steps.append(
            (
                "S3: the tenants' data",
                lambda d: replace(d, buckets=s3.ask_prefixes(target, d.buckets, clock, time.sleep, s3_wait_s)),
            )
        )
    for name, step in steps:
        if stop():
            break
        progress(name)
        found = step(found)
    return found


def _clocks(target: Target, clock: Callable[[], int]) -> Told[tuple[ClockReading, ...]]:
    addresses = (target.grafana.url, target.loki.url, target.tempo.otlp_http, target.mimir.url, target.s3.endpoint)
    if not any((*addresses, target.prometheus.url)):
        return Told(skipped="the target has no address that answers with its time")
    return Told(read_clocks(target, clock=clock))


def _prometheus(found: Deployment, target: Target, mimir: Any, now_ms: int) -> Deployment:
    reader = prometheus.prometheus_reader(HttpClient(target.prometheus.url, target.prometheus, _TIMEOUT_S))
    return replace(
        found,
        remote_write=prometheus.ask_remote_write(reader, now_ms),
        parity=prometheus.ask_parity(reader, mimir, now_ms),
        history=prometheus.ask_history(reader, mimir, now_ms),
    )
