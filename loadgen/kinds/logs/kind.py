"""Logs: lines of streams, kept by Loki."""

from __future__ import annotations

from loadgen.kinds.kind import Holds, InBucket, Kind, KindWords
from loadgen.model import Component, Signal

LOGS = Kind(
    signal=Signal.LOGS,
    store=Component.LOKI,
    item="line",
    items="lines",
    counted_by=(
        "the lines of each stream are counted window by window, and their sequence numbers added up, so that a line "
        "that came twice does not make up for a lost one (several of each would, if their numbers add up alike)"
    ),
    own_load="capacity.own.logs",
    bucket=InBucket(
        holds=Holds.STREAM,
        setting="Loki's storage_config.object_prefix, or storage_prefix of its object_store",
        later="watch S3 longer (verify.s3_wait), or run `loadgen verify RUN` when the time is over",
        not_exact="dealt out by Loki among the parts of a split stream, the last of which is what counts",
        unproven=(
            "Loki split their streams (shard_streams), and as long as the chunks of all parts do not hold as many "
            "lines as were accepted, nobody can tell where each is"
        ),
        in_parts=True,
        without="without Loki's index",
    ),
    loss=KindWords(
        advice=(
            "look at loki_ingester_chunks_flush_failures_total; keep the write-ahead log on a persistent volume "
            "(ingester.wal.enabled, a PVC on the write pods)"
        ),
    ),
    duplicates=KindWords(
        advice=(
            "one line was sent once and is returned more than once: look for a second shipper or a proxy that "
            "repeats requests, and at the replication factor (a querier drops copies only of equal time and text)"
        ),
    ),
    altered=KindWords(
        advice=(
            "compare the line in the evidence with what Loki returns; look for pipeline stages, a proxy or "
            "max_line_size_truncate that rewrites lines, then for damaged chunks"
        ),
    ),
    order=KindWords(
        promise="the lines of a stream come back in the order they were written in",
        advice=(
            "lines of one stream change places when their timestamps are rewritten on the way (timestamp stages, "
            "increment_duplicate_timestamp) or when several senders share one label set; give each sender labels of "
            "its own"
        ),
    ),
    throughput=KindWords(
        advice=(
            "look at the status codes above and at Loki's limits: ingestion_rate_mb is 4 MB/s by default, "
            "ingestion_burst_size_mb 6, per_stream_rate_limit 3 MB/s; raise them in limits_config"
        ),
    ),
    freshness=KindWords(
        promise="lines are visible soon after they were acknowledged",
        advice=(
            "Loki shows lines from its ingesters at once; look at the time that pushes wait in the distributor, at "
            "query_ingesters_within, and at a result cache that serves old answers (results_cache, "
            "max_cache_freshness_per_query)"
        ),
    ),
    query=KindWords(
        promise="Loki answers people's queries in time, over ranges up to 24 h",
        advice=(
            "see which kind and range is slow; split_queries_by_interval, max_query_parallelism and the chunk and "
            "result caches decide most of it, then memory and CPU of the read path"
        ),
    ),
    s3_delay=KindWords(
        promise="accepted lines are in S3 within their time",
        advice=(
            "Loki writes a chunk when it is full, idle or old: ingester.chunk_idle_period (30m) and max_chunk_age "
            "(2h) are the defaults and cannot meet 5 min; set both, e.g. chunk_idle_period: 2m, max_chunk_age: 4m. "
            "Mind that lines are then taken out of order for at most half of max_chunk_age"
        ),
    ),
    s3_kept=KindWords(
        promise="lines that were in S3 stay there",
        advice=(
            "see who deleted it: a lifecycle rule of the bucket, Loki's compactor (retention_period, delete "
            "requests) or a hand. With versioning on, remove the delete marker to bring it back; as long as an "
            "ingester has it in its write-ahead log, stopping Loki in order writes it again"
        ),
    ),
    persistence=KindWords(
        advice=(
            "what was not yet in S3 was lost with the pod: give Loki a persistent volume and keep the write-ahead "
            "log on it (ingester.wal.enabled: true, write.persistence in the chart); flush_on_shutdown helps only "
            "for orderly stops"
        ),
    ),
    recovery=KindWords(
        advice=(
            "replaying the write-ahead log takes most of a start: look at loki_ingester_wal_replay_duration_seconds, "
            "checkpoint more often (ingester.wal.checkpoint_duration), flush earlier, and see the probes of the pod"
        ),
    ),
)
