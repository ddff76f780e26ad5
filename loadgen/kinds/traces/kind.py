"""Traces: spans, kept by Tempo."""

from __future__ import annotations

from loadgen.kinds.kind import Holds, InBucket, Kind, KindWords
from loadgen.model import Component, Signal

TRACES = Kind(
    signal=Signal.TRACES,
    store=Component.TEMPO,
    item="span",
    items="spans",
    counted_by=(
        "the spans of each trace are told by their ids, so that one that came twice does not make up for a lost one"
    ),
    own_load="capacity.own.traces",
    bucket=InBucket(
        holds=Holds.IDS,
        shared_by="traces",
        setting="Tempo's storage.trace.s3.prefix",
        later="watch S3 longer (verify.s3_wait), or run `loadgen verify RUN` when the time is over",
        not_exact="first seen in a compacted object, which is younger than what it was made of",
        without="data.parquet only, without Tempo's bloom filters and metadata",
    ),
    loss=KindWords(
        advice=(
            "look at the failed flushes; keep the write-ahead log on a persistent volume (persistence.enabled in the "
            "chart), and look at the retention of the bucket"
        ),
    ),
    duplicates=KindWords(
        advice=(
            "one span was sent once and is returned more than once: look for a collector or proxy that repeats "
            "requests, and at the compaction of the bucket"
        ),
    ),
    altered=KindWords(
        advice=(
            "compare the span in the evidence with what Tempo returns; look for collector processors that rewrite "
            "attributes, and for max_attribute_bytes, which cuts long ones"
        ),
    ),
    throughput=KindWords(
        advice=(
            "look at the status codes above and at Tempo's overrides: ingestion rate_limit_bytes is 15 MB/s by "
            "default (30 MB/s in Tempo 3), burst 20 MB, max_traces_per_user 10,000"
        ),
    ),
    freshness=KindWords(
        promise="traces are found by search soon after they were acknowledged",
        advice=(
            "search sees a trace only after it is complete: trace_idle_period (10 s) in Tempo 2; in Tempo 3 "
            "live_store.max_trace_live (30 s) and query_frontend.query_end_cutoff (30 s), which hides the newest "
            "data"
        ),
    ),
    query=KindWords(
        promise="Tempo answers people's queries in time, by id and by TraceQL",
        advice=(
            "see which kind and range is slow; search goes through whole blocks: query_frontend.search "
            "(concurrent_jobs, target_bytes_per_job), compaction, and memory and CPU of the querier"
        ),
    ),
    s3_delay=KindWords(
        promise="accepted traces are in S3 within their time",
        advice=(
            "Tempo 2 writes a block after ingester.max_block_duration, 30m by default, which cannot meet 10 min; set "
            "e.g. max_block_duration: 5m. In Tempo 3 the setting is live_store.max_block_duration"
        ),
    ),
    s3_kept=KindWords(
        promise="traces that were in S3 stay there, also when blocks are compacted",
        advice=(
            "see who deleted it: a lifecycle rule of the bucket, Tempo's compaction (block_retention, "
            "compacted_block_retention) or a hand; queries go on as long as an ingester or live-store has a copy of "
            "its own"
        ),
    ),
    persistence=KindWords(
        advice=(
            "the chart's persistence.enabled is off by default: turn it on, so that the write-ahead log survives on "
            "a persistent volume. Where only the last seconds before a kill are lost, the log is there, but traces "
            "reach it only when they have been idle (live_store.max_trace_idle 5s and flush_check_period 5s in Tempo "
            "3, ingester.trace_idle_period in Tempo 2): shorter times lose less, none loses nothing"
        ),
    ),
    recovery=KindWords(
        advice=(
            "replaying the write-ahead log takes most of a start: smaller blocks (max_block_bytes, "
            "max_block_duration) make it shorter; see the probes of the pod"
        ),
    ),
    probed="search",
)
