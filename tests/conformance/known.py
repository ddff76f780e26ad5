"""Where servers are known to answer otherwise than recorded, and why. An entry that is no longer true fails."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

UNKNOWN = "unknown"
"""The engine of a server at a given address: it may differ where an embedded one does, and need not."""


@dataclass(frozen=True, slots=True)
class Known:
    """A difference in one case.

    Attributes:
        engine: ``embedded``, or the program of the real server.
        file, case: which one.
        aspects: all that differ: ``status``, ``body``, or names of headers.
        reason: why it is so, and stays so.
        optional: it need not differ, or in some of these only.
    """

    engine: str
    file: str
    case: str
    aspects: tuple[str, ...]
    reason: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class NotBuilt:
    """What the embedded server of a file does not do. It must refuse what is pushed so; what reads it is not asked.

    Attributes:
        file, cases: which ones; the second is a pattern of whole names.
        reason: what they are about, and why it is not there.
    """

    file: str
    cases: re.Pattern[str]
    reason: str


def _not_built(file: str, cases: str, reason: str) -> NotBuilt:
    return NotBuilt(file, re.compile(cases), reason)


_LATER = "comes with a later change; until then it is refused"
_UNASKED = "neither loadgen nor its lab asks for it"

_ENCODING = "spellings of OTLP that neither loadgen nor the SDK uses: the embedded receiver takes gzip and deflate"
_SEARCH = (
    "searches that loadgen does not make: events, links, arrays, ids, pipelines; or more traces than were asked for"
)
_METRICS = "TraceQL metrics: of many functions there are rate and count_over_time, without exemplars"
_SIZES = "Tempo cuts long attributes and drops large traces by limits that the embedded one does not have by default"
_CATEGORIES = "answers that tell labels from structured metadata, which loadgen does not ask for"

NOT_BUILT: tuple[NotBuilt, ...] = (
    _not_built("mimir", r"(?!no tenant).*\bOTLP\b.*", f"metrics by OTLP: {_LATER}"),
    _not_built("mimir", r"no tenant, (OTLP|RW2)|(?!no tenant).*\bRW2\b.*", f"remote write 2.0 and OTLP: {_LATER}"),
    _not_built("mimir", r".*native histogram.*|write float then histogram.*", f"native histograms: {_LATER}"),
    _not_built("mimir", r"query with warning \(mixed floats and histograms\)", f"native histograms: {_LATER}"),
    _not_built("mimir", r"query_exemplars.*", f"exemplars are taken and dropped, as Mimir does; {_UNASKED}"),
    _not_built("mimir", r"metadata (of (all|one)|limit=.)", f"metadata is taken and not kept; {_UNASKED}"),
    _not_built("mimir", r"no tenant, user_limits|user_limits of a tenant with overrides", _UNASKED),
    _not_built("mimir", r"user_stats|format_query|rules|alerts|ingester tenants|services|distributor ring", _UNASKED),
    _not_built("mimir", r"build of index page", _UNASKED),
    _not_built("loki-otlp", r"(?!OTLP logs GET|OTLP logs on /v1/logs).*\bOTLP\b.*", f"logs by OTLP: {_LATER}"),
    _not_built("loki-otlp", r".*categorize-labels.*|structured metadata, (drop|odd names, read back)", _CATEGORIES),
    _not_built("loki-otlp", r"(structured metadata named as a label|same time and line, .*), read back", _CATEGORIES),
    _not_built("loki-otlp", r"drilldown limits|format_query|patterns \(off\)|volume", _UNASKED),
    _not_built("tempo-extra", r"export (zstd|snappy .*|lz4)", _ENCODING),
    _not_built("tempo-extra", r"trace v2, gRPC", "what it reads is exported by gRPC, by test_grpc_ways"),
    _not_built("tempo-extra", r"trace v2 with Accept application/vnd\.grafana\.llm", _UNASKED),
    _not_built("tempo-extra", r"trace v2, large attribute|trace over max_bytes_per_trace", _SIZES),
    _not_built(
        "tempo-extra",
        r"search (event (attribute|name)|link (trace|span) id( without leading zeros)?|(int )?array attribute|"
        r"scope name|descendant|status message|kind|select|count|span id|duration|everything|tags= \(old form\)|"
        r"minDuration)",
        _SEARCH,
    ),
    _not_built("tempo-extra", r"tags v[12]( of scope event)?|tag values (of an array|of status|v1)", _UNASKED),
    _not_built(
        "tempo-extra",
        r"metrics query_range (right after the push|rate.*|count_over_time|quantile.*|histogram|avg.*|max of .*|topk|"
        r"compare|with exemplars|no step|default times|exemplars=2)|metrics query \(instant\)",
        _METRICS,
    ),
    _not_built("tempo-extra", r"GET /status/(version|services|overrides)", _UNASKED),
)


def not_built(engine: str, file: str, case: str) -> NotBuilt | None:
    """What keeps an embedded server from being asked a case; None if nothing does."""
    if engine != "embedded":
        return None
    return next((one for one in NOT_BUILT if one.file == file and one.cases.fullmatch(case)), None)


EMBEDDED: tuple[Known, ...] = (
    Known(
        "embedded",
        "loki",
        "push 20 minutes out of order",
        ("body", "content-type", "status", "x-content-type-options"),
        "the recorded server had a max_chunk_age of one minute; here it is Loki's own two hours, and half is let in",
    ),
    Known(
        "embedded",
        "mimir",
        "label __name__ values",
        ("body",),
        "among the names are those of OTLP, remote write 2.0 and native histograms, which are not built",
    ),
    *(
        Known(
            "embedded",
            "mimir",
            case,
            ("body", "content-type", "server-timing", "status", "x-content-type-options"),
            "the embedded server has one tenant, and says so where another is named",
        )
        for case in ("query of a tenant without data", "plain tenant, read by another tenant")
    ),
    Known(
        "embedded",
        "mimir",
        "series of two matches",
        ("body",),
        "one of the two series came by remote write 2.0, which is not built",
    ),
    *(
        Known(
            "embedded",
            "mimir",
            case,
            ("body", "server-timing", "status"),
            "a subquery of 7,200,000 steps: the embedded engine computes up to 1,000,000 and says so",
        )
        for case in ("query timeout parameter passed", "query timeout", "query_range timeout")
    ),
    Known(
        "embedded",
        "mimir",
        "query execution error (many-to-many)",
        ("body",),
        "the same error in the words of Prometheus's own engine, without the time of the step",
    ),
    Known(
        "embedded",
        "tempo",
        "metrics query_range",
        ("body",),
        "Tempo hides the newest 30 s and the step that is still open; here every span counts at once, so that a panel "
        "of a short run has something to show",
    ),
    Known(
        "embedded",
        "tempo",
        "flush",
        ("body", "content-type", "status", "x-content-type-options"),
        "Tempo 3 has none; Tempo 2 has, and a run that asks for a flush is tried out here",
    ),
)

_NO_ESCAPING = "the embedded servers do not say how names are escaped; none of theirs needs it"
_OWN_WORDS = "the same refusal in words of its own: nothing reads the words of Go's decoders"

EMBEDDED += (
    *(
        Known("embedded", file, "metrics", ("content-type",), _NO_ESCAPING)
        for file in ("mimir", "loki-otlp", "tempo-extra")
    ),
    *(
        Known("embedded", "loki-otlp", f"push structured metadata {what}", ("body",), _OWN_WORDS)
        for what in ("of a number", "nested", "as text")
    ),
    Known("embedded", "loki-otlp", "labels of the last hour", ("body",), "among the names are those of OTLP logs"),
    *(
        Known("embedded", "tempo-extra", f"export {what}", ("body",), _OWN_WORDS)
        for what in (
            "gzip said, body plain",
            "deflate",
            "malformed JSON",
            "empty body JSON",
            "JSON array",
            "JSON ids in base64",
        )
    ),
    Known("embedded", "tempo-extra", "export unknown encoding", ("body", "content-type"), _OWN_WORDS),
    *(
        Known("embedded", "tempo-extra", f"metrics query_range {what}", ("body",), _OWN_WORDS)
        for what in ("parse error", "of a search", "no query", "too many points")
    ),
    Known(
        "embedded",
        "tempo-extra",
        "trace v2, duplicate spans",
        ("body",),
        "a span that comes again as it was is kept once, so that a push that is repeated doubles nothing; the real one "
        "keeps both, and where that must show there is a defect to order",
    ),
    Known(
        "embedded",
        "tempo-extra",
        "trace too large, read back",
        ("body",),
        "what comes later of a trace that was dropped is taken, if it is small: each request is judged alone",
    ),
)

_OTHERS = "the figure counts all spans of the server: those of other tests too, and not those of the two pushes of 5 MB"
_LIVE = "Tempo gives flags back as long as a trace is live, and loses them with its first block"

REAL: tuple[Known, ...] = (
    Known(
        "loki",
        "loki-otlp",
        "OTLP logs GET",
        ("body", "content-type", "status", "x-content-type-options"),
        "405 or 404 for a wrong method is up to the version",
        optional=True,
    ),
    Known("loki", "loki-otlp", "volume", ("body",), "it is told of what was flushed", optional=True),
    Known(
        "loki",
        "loki-otlp",
        "OTLP logs without resource attributes, read back",
        ("body",),
        "it asks for all lines whose service is unknown, and other cases push such too",
        optional=True,
    ),
    Known(
        "tempo",
        "tempo-extra",
        "metrics query_range right after the push",
        ("body", "content-type", "status"),
        f"{_OTHERS}; and whether a range of so few seconds lies within the newest 30 s depends on the second",
        optional=True,
    ),
    Known("tempo", "tempo-extra", "trace v2 of the protobuf export", ("body",), _LIVE, optional=True),
    Known("tempo", "tempo-extra", "trace v2, gRPC", ("body",), "it is exported by test_grpc_ways", optional=True),
    Known("tempo", "tempo-extra", "trace over max_bytes_per_trace", ("body",), "its body was too long to be recorded"),
    Known(
        "tempo",
        "tempo-extra",
        "trace v2 with Accept application/vnd.grafana.llm",
        ("body",),
        "it tells how much was looked at",
        optional=True,
    ),
    *(
        Known("tempo", "tempo-extra", name, ("body",), _OTHERS, optional=True)
        for name in (
            "search duration",
            "search minDuration",
            "tags v1",
            "tags v2",
            "tag values of status",
            "tag values v1",
            "metrics query (instant)",
            *(
                f"metrics query_range {what}"
                for what in (
                    "rate",
                    "count_over_time",
                    "rate by service",
                    "quantile",
                    "histogram",
                    "avg",
                    "avg of all, among them a span that ends before it starts",
                    "quantile of all, among them a span that ends before it starts",
                    "rate by two",
                    "topk",
                    "with exemplars",
                    "no step",
                    "default times",
                    "exemplars=2",
                )
            ),
        )
    ),
)


def known(engine: str, file: str, case: str) -> Known | None:
    """The entry of a case, if there is one; of servers at given addresses, what their configuration may make differ."""
    wanted = "embedded" if engine == UNKNOWN else engine
    found = (one for one in (*EMBEDDED, *REAL) if (one.engine, one.file, one.case) == (wanted, file, case))
    entry = next(found, None)
    return replace(entry, optional=True) if entry is not None and engine == UNKNOWN else entry
