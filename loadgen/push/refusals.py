"""What the HTTP answer to a push means for what is stored, by its status and the server's own words. Pure.

What may be tried again follows the Prometheus remote-write specification, the OTLP specification and promtail: broken
connections, time-outs, 5xx and 429; never another 4xx. What is stored does not follow from a status alone: Loki and
Mimir answer 400 to a push of which they keep the valid part, and to one that they cannot even read; and both have a
2xx with which they drop a push. Seen of Loki 3, Mimir 2.16 and 3.0; the ids are those of Mimir's pkg/util/globalerror.
"""

from __future__ import annotations

import re

from loadgen.push.retry import AttemptStep

_REJECTING = frozenset((401, 403, 404, 405, 407, 413, 414, 415, 422))
_EXCERPT_CHARS = 200
_TAKEN = frozenset((200, 201, 204))
"""Prometheus, Loki and Mimir answer 200 or 204, some agents in front of them 201."""

# Limits that Mimir's distributor looks at before it hands anything on.
_BEFORE_ALL = re.compile(
    rb"err-mimir-(?:tenant-max-(?:ingestion|request)-rate|distributor-max-ingestion-rate"
    rb"|distributor-max-inflight-push-requests)"
)
# What is refused before it is read, or because it cannot be: all of it.
_UNREADABLE = re.compile(
    rb"err-mimir-distributor-max-write-message-size"
    rb"|^(?:decompress snappy|getting snappy decoded length|snappy: corrupt input|unexpected EOF|proto: )"
    rb"|^got .* content type; expected "
)
# Of these 429 the rest of the push is stored: lines before the limit of a stream was met, series that are known.
_IN_PART = re.compile(rb"per stream rate limit exceeded|err-mimir-max-active-series", re.IGNORECASE)
# Mimir's tracker of replicas (202), and Loki while an operator blocks a tenant (260, or as configured).
_DROPPED = re.compile(rb"replicas did not match|ingestion blocked for user", re.IGNORECASE)


def step_of(status: int, body: bytes, otlp: bool) -> AttemptStep:
    """What an answer with a status means.

    Args:
        status: of the answer; not 0.
        body: of the answer.
        otlp: it is an OTLP endpoint: a 400 of it stores nothing, and its 2xx has a message as its body.
    """
    if 200 <= status < 300:
        return AttemptStep.ACCEPTED if otlp or status in _TAKEN or not body.strip() else _polite(body)
    if status == 429:
        return AttemptStep.AGAIN_UNSURE if _IN_PART.search(body) else AttemptStep.AGAIN
    if status >= 500:
        return AttemptStep.AGAIN if _BEFORE_ALL.search(body) else AttemptStep.AGAIN_UNSURE
    if status in _REJECTING or 300 <= status < 400:
        return AttemptStep.REJECTED
    if status == 400 and (otlp or _UNREADABLE.search(body)):
        return AttemptStep.REJECTED
    # Loki and Mimir answer 400 to a push of which they may have kept the valid part.
    return AttemptStep.UNKNOWN


def dropped_text(where: str, status: int, body: bytes) -> str:
    """A sentence for a 2xx that is a refusal."""
    said = " ".join(body.decode(errors="replace").split())[:_EXCERPT_CHARS]
    advice = "see the server's documentation of this status"
    if b"replicas did not match" in body:
        advice = (
            "it takes the push for the copy of another replica; send no labels of replicas, or turn its HA tracker off"
        )
    elif _DROPPED.search(body):
        advice = "its operator blocks what this tenant sends (limits_config.block_ingestion_until)"
    return f"{where}: {status}, {said!r}; it answers success and drops the push: {advice}"


def _polite(body: bytes) -> AttemptStep:
    """A success that comes with a reason is a refusal; whether it is one of all is known of two only."""
    return AttemptStep.REJECTED if _DROPPED.search(body) else AttemptStep.UNKNOWN
