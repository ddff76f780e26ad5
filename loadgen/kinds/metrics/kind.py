"""Metrics: samples of series, kept by Mimir."""

from __future__ import annotations

from loadgen.kinds.kind import Holds, InBucket, Kind, KindWords
from loadgen.model import Component, Signal

METRICS = Kind(
    signal=Signal.METRICS,
    store=Component.MIMIR,
    item="sample",
    items="samples",
    counted_by=(
        "the samples of each series are counted window by window, and their values added up, so that a surplus "
        "sample does not make up for a lost one (one of the same value would)"
    ),
    own_load="capacity.own.metrics_samples and metrics_series",
    bucket=InBucket(
        holds=Holds.SERIES,
        setting="Mimir's blocks_storage.storage_prefix",
        later=(
            "Mimir keeps samples in its ingesters for 2 to 3.5 h before it writes a block: run with `--flush`, or run "
            "`loadgen verify RUN` a few hours later, which looks at S3 again"
        ),
        not_exact=(
            "first seen in a compacted object, which is younger than what it was made of, or pushed while an earlier "
            "block was on its way"
        ),
        unproven=(
            "blocks may hold them, but need not: they were pushed while a block was being made, or it has a part of "
            "their user's series only, as when there are several ingesters, or samples that came out of order"
        ),
    ),
    loss=KindWords(
        advice=(
            "look at cortex_ingester_shipper_upload_failures_total; keep the ingesters' TSDB and write-ahead log on "
            "a persistent volume"
        ),
    ),
    duplicates=KindWords(
        advice=(
            "one sample was sent once and is returned more than once: look for a proxy that repeats requests, for "
            "overlapping blocks and for a compactor that does not run"
        ),
    ),
    altered=KindWords(
        advice=(
            "compare the sample in the evidence with what Mimir returns; look for relabelling or recording rules, a "
            "second sender of the same series, and downsampling"
        ),
    ),
    order=KindWords(
        promise="the samples of a series come back in order of time",
        advice="look for a second sender of the same series, and at out_of_order_time_window",
    ),
    throughput=KindWords(
        advice=(
            "look at the status codes above and at Mimir's limits: ingestion_rate is 10,000 samples/s by default, "
            "max_global_series_per_user 150,000; nginx in front takes bodies up to client_max_body_size, 1 MB by "
            "default"
        ),
    ),
    freshness=KindWords(
        promise="samples are visible soon after they were acknowledged",
        advice=(
            "Mimir shows samples from its ingesters at once; look at the clocks, at query_ingesters_within, at a "
            "result cache that serves old answers (max_cache_freshness), and at the remote write's own lag"
        ),
    ),
    query=KindWords(
        promise="Mimir answers people's queries in time, over ranges up to 7 d",
        advice=(
            "see which kind and range is slow; query sharding, split_queries_by_interval and the result cache decide "
            "most of it, then the store-gateway's memory and index cache"
        ),
    ),
    s3_delay=KindWords(
        promise="accepted samples are in a block in S3 within their time",
        advice=(
            "Mimir writes blocks of two hours (blocks_storage.tsdb.block_ranges_period: 2h), which arrive 2 to 3.5 h "
            "after the data; the ingesters' logs and cortex_ingester_shipper_upload_failures_total tell why they "
            "come later"
        ),
    ),
    s3_kept=KindWords(
        promise="samples that were in S3 stay there, also when blocks are compacted",
        advice=(
            "see who deleted it: a lifecycle rule of the bucket, Mimir's compactor "
            "(limits.compactor_blocks_retention_period, compactor.deletion_delay) or a hand; queries go on as long "
            "as an ingester has the block on its disk"
        ),
    ),
    persistence=KindWords(
        advice=(
            "what was not yet in S3 was lost with the pod: give the ingesters persistent volumes "
            "(ingester.persistentVolume.enabled), where their TSDB and write-ahead log survive"
        ),
    ),
    recovery=KindWords(
        advice=(
            "replaying the TSDB's write-ahead log takes most of a start: fewer series per ingester make it shorter; "
            "see the probes of the pod and the ring's heartbeat timeout"
        ),
    ),
    continues=True,
)
