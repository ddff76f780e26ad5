"""Prometheus writes all it scrapes on to Mimir, with the agreed queue."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.audit.amounts import duration_s, number
from loadgen.audit.node import Node
from loadgen.audit.resolve import namespace_of
from loadgen.audit.rule import Remark, Remarks, absent, fine, rule_of, unsure, wrong
from loadgen.audit.services import address_of, mistake, shown_url, url_of
from loadgen.audit.stack import Release, Stack

_PUSH = "/api/v1/push"
_QUEUE = (("capacity", 10_000), ("maxShards", 50), ("minShards", 1))
_BACKOFF = ("minBackoff", "maxBackoff")


def _judge(stack: Stack) -> Remarks:
    writers = tuple(_writers(stack))
    if not writers:
        yield absent("prometheus")
    for node, namespace, entries in writers:
        mimir = stack.of("mimir")
        mine = [entry for entry in entries if not mimir or _meant(entry, mimir[0])]
        if not mine:
            right = url_of(mimir[0], _PUSH) if mimir else "the address of Mimir"
            yield wrong(
                entries[0] if entries else node,
                "Prometheus has no remoteWrite to Mimir",
                f"add one with the url {right}",
            )
        for entry in mine:
            remarks = (*_url(stack, entry, namespace), *_queue(entry))
            yield from remarks
            if not remarks:
                yield fine(entry, f"remoteWrite to {shown_url(entry.text('url'))}")


def _writers(stack: Stack) -> Iterator[tuple[Node, str, tuple[Node, ...]]]:
    for release in stack.of("prometheus"):
        spec = release.values.get("prometheus", "prometheusSpec")
        node = spec if spec is not None else release.document.node
        yield node, release.namespace, release.values.each("prometheus", "prometheusSpec", "remoteWrite")
    for document in stack.of_kind("Prometheus", "monitoring.coreos.com"):
        yield document.node, namespace_of(stack, document), document.node.each("spec", "remoteWrite")


def _meant(entry: Node, mimir: Release) -> bool:
    """Whether an entry is about Mimir, even if its address is wrong."""
    address = address_of(entry.text("url"))
    host = address.service if address is not None else entry.text("url")
    return mimir.name in host or "mimir" in host or entry.text("name") == "mimir"


def _url(stack: Stack, entry: Node, namespace: str) -> Iterator[Remark]:
    url = entry.get("url")
    if url is None:
        yield wrong(entry, "remoteWrite has no url", "set url")
        return
    mimir = stack.of("mimir")
    if not mimir:
        yield unsure(url, "no release of mimir here to compare the url of remoteWrite with", "audit the whole tree")
        return
    what, right = mistake(mimir[0], url.text(), _PUSH, namespace)
    if what.startswith("?"):
        yield unsure(url, f"remoteWrite: {what[1:]}", right)
    elif what:
        yield wrong(url, f"remoteWrite: {what}", right)


def _queue(entry: Node) -> Iterator[Remark]:
    queue = entry.get("queueConfig")
    place = queue if queue is not None else entry
    for key, wanted in _QUEUE:
        node = queue.get(key) if queue is not None else None
        if node is None:
            yield wrong(place, f"remoteWrite: queueConfig.{key} is not set", f"set it to {wanted}")
        elif number(node.scalar) != wanted:
            yield wrong(node, f"remoteWrite: queueConfig.{key} is {node.scalar}", f"set it to {wanted}")
    low, high = (queue.text(key) if queue is not None else "" for key in _BACKOFF)
    if not low or not high:
        yield wrong(
            place, "remoteWrite: no backoff is set", "set queueConfig.minBackoff and maxBackoff, e.g. 30ms and 5s"
        )
        return
    first_s, last_s = duration_s(low), duration_s(high)
    if first_s is None or last_s is None or not 0 < first_s <= last_s:
        yield wrong(
            place, f"remoteWrite: backoff from {low} to {high}", "set minBackoff and maxBackoff, e.g. 30ms and 5s"
        )


RULE = rule_of(
    "remote_write",
    "Prometheus writes to Mimir: the right url, capacity 10000, maxShards 50, minShards 1, a backoff",
    _judge,
)
