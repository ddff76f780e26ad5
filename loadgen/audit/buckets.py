"""One bucket and one secret for each component; what Mimir keeps beside its blocks is kept apart from them."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.audit.components import Storage, all_sources, storages
from loadgen.audit.node import Place
from loadgen.audit.rule import Remark, Remarks, absent, fine, rule_of, unknown_value, wrong
from loadgen.audit.secrets import expanded
from loadgen.audit.stack import COMPONENTS, Effective, Release, Stack

NAMES = {"loki": "loki-chunks", "tempo": "tempo-traces", "mimir": "mimir-blocks"}


def _judge(stack: Stack) -> Remarks:
    buckets: dict[str, tuple[str, Place]] = {}
    secrets: dict[str, tuple[str, Place]] = {}
    for component in COMPONENTS:
        releases = stack.of(component)
        if not releases:
            yield absent(component)
        for release in releases:
            found = storages(release)
            if not found or (component == "mimir" and found[0].name != "blocks_storage"):
                yield wrong(
                    release,
                    f"{component} does not store in S3",
                    f"set its storage to s3 and its bucket to {NAMES[component]}",
                )
            for storage in found:
                for setting in storage.buckets:
                    yield from _bucket(stack, release, storage, setting, buckets)
            yield from _secrets(release, secrets)
            if component == "mimir":
                yield from _apart(stack, release)


def _bucket(
    stack: Stack, release: Release, storage: Storage, setting: Effective, seen: dict[str, tuple[str, Place]]
) -> Iterator[Remark]:
    component = release.component
    if setting.hidden:
        yield unknown_value(setting, f"{component}: the bucket of {storage.name}")
        return
    if setting.unset:
        yield wrong(
            setting,
            f"{component}: {setting.path} is not set",
            f"set it to {NAMES[component]} (${{S3_BUCKET}} of its secret)",
        )
        return
    bucket = expanded(stack, setting, all_sources(release))
    owner, place = seen.setdefault(bucket.identity, (component, setting.place))
    shown = bucket.text if bucket.text is not None else str(setting.value)
    if owner != component:
        yield wrong(
            setting,
            f"{component} uses the bucket {shown}, which is {owner}'s ({place})",
            f"give each component its own: {', '.join(NAMES.values())}",
        )
    else:
        yield fine(setting, f"{component}: bucket {shown}")


def _secrets(release: Release, seen: dict[str, tuple[str, Place]]) -> Iterator[Remark]:
    for source in all_sources(release):
        owner, place = seen.setdefault(source.secret, (release.component, source.node.place))
        if owner != release.component and "s3" in source.secret.lower():
            yield wrong(
                source.node,
                f"{release.component} has the secret {source.secret}, which is {owner}'s ({place})",
                f"give it its own: {release.component}-s3-secret",
            )


def _apart(stack: Stack, release: Release) -> Iterator[Remark]:
    """Mimir refuses to start when two stores share a bucket and a prefix."""
    seen: dict[tuple[str, str], str] = {}
    for storage in storages(release):
        setting = storage.buckets[0]
        if setting.node is None:
            continue
        prefix = release.effective(f"mimir.structuredConfig.{storage.name}.storage_prefix", server=True)
        if prefix.hidden:
            yield unknown_value(prefix, f"mimir: the prefix of {storage.name}")
            continue
        key = (expanded(stack, setting, all_sources(release)).identity, str(prefix.value or "").strip("/"))
        other = seen.setdefault(key, storage.name)
        if other != storage.name:
            yield wrong(
                prefix if prefix.node is not None else setting,
                f"mimir: {storage.name} and {other} have the same bucket and the same prefix, so Mimir does not start",
                f"set storage_prefix of each to something of its own, e.g. {other.removesuffix('_storage')} and "
                f"{storage.name.removesuffix('_storage')}, or use another bucket",
            )
        else:
            yield fine(prefix if prefix.node is not None else setting, f"mimir: {storage.name} is kept apart")


RULE = rule_of(
    "buckets",
    "each component has its own bucket and its own secret; Mimir's rules and alerts are kept apart from its blocks",
    _judge,
)
