"""What a query cost, laid out as Loki does: with every counter, those of machinery that is not here at zero."""

from __future__ import annotations

from loadgen.lab.loki.query import Stats

Json = dict[str, object]

_CACHES = (
    "chunk",
    "index",
    "result",
    "statsResult",
    "volumeResult",
    "seriesResult",
    "labelResult",
    "instantMetricResult",
)
_CACHE = (
    "entriesFound",
    "entriesRequested",
    "entriesStored",
    "bytesReceived",
    "bytesSent",
    "requests",
    "downloadTime",
    "queryLengthServed",
)
_DATA_OBJECTS = (
    "prePredicateDecompressedRows",
    "prePredicateDecompressedBytes",
    "prePredicateDecompressedStructuredMetadataBytes",
    "postPredicateRows",
    "postPredicateDecompressedBytes",
    "postPredicateStructuredMetadataBytes",
    "postFilterRows",
    "pagesScanned",
    "pagesDownloaded",
    "pagesDownloadedBytes",
    "pageBatches",
    "totalRowsAvailable",
    "totalPageDownloadTime",
    "wireBytesTransferred",
)


def stats_json(stats: Stats, seconds: float) -> Json:
    """The ``stats`` of an answer that took so long."""
    seconds = max(seconds, 1e-6)
    return {
        "summary": {
            "bytesProcessedPerSecond": int(stats.size_bytes / seconds),
            "linesProcessedPerSecond": int(stats.lines / seconds),
            "totalBytesProcessed": stats.size_bytes,
            "totalLinesProcessed": stats.lines,
            "execTime": round(seconds, 6),
            "queueTime": 0,
            "subqueries": 0,
            "totalEntriesReturned": stats.returned,
            "splits": 0,
            "shards": 1,
            "totalPostFilterLines": stats.returned,
            "totalStructuredMetadataBytesProcessed": 0,
        },
        "querier": {"store": _store(Stats()), "querierExecTime": round(seconds, 6)},
        "ingester": {
            "totalReached": 1,
            "totalChunksMatched": stats.chunks,
            "totalBatches": 1,
            "totalLinesSent": stats.returned,
            "store": _store(stats),
            "recvWaitTime": 0,
        },
        "cache": {name: dict.fromkeys(_CACHE, 0) for name in _CACHES},
        "index": {
            "totalChunks": 0,
            "postFilterChunks": 0,
            "shardsDuration": 0,
            "usedBloomFilters": False,
            "totalStreams": 0,
            "chunkRefsLookupTime": 0,
            "bloomFilterTime": 0,
        },
    }


def _store(stats: Stats) -> Json:
    return {
        "totalChunksRef": stats.chunks,
        "totalChunksDownloaded": stats.chunks,
        "chunksDownloadTime": 0,
        "queryReferencedStructuredMetadata": False,
        "queryUsedV2Engine": False,
        "chunk": {
            "headChunkBytes": 0,
            "headChunkLines": 0,
            "decompressedBytes": stats.size_bytes,
            "decompressedLines": stats.lines,
            "compressedBytes": 0,
            "totalDuplicates": 0,
            "postFilterLines": stats.returned,
            "headChunkStructuredMetadataBytes": 0,
            "decompressedStructuredMetadataBytes": 0,
        },
        "chunkRefsFetchTime": 0,
        "congestionControlLatency": 0,
        "pipelineWrapperFilteredLines": 0,
        "dataobj": dict.fromkeys(_DATA_OBJECTS, 0),
    }
