"""Where each component's chart keeps what several rules ask for: environment, S3 settings, targets."""

from __future__ import annotations

from dataclasses import dataclass

from loadgen.audit.secrets import SecretSource, environment
from loadgen.audit.stack import Effective, Release

SECRET_KEYS = ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_ENDPOINT", "S3_BUCKET")
SCALABLE = ("write", "read", "backend")
# Loki is one process in either of these; the first is what chart 12 calls it.
SINGLE = ("Monolithic", "SingleBinary")
MIMIR_STORES = ("blocks_storage", "ruler_storage", "alertmanager_storage")
MIMIR_S3_USERS = ("ingester", "store_gateway", "compactor", "querier", "ruler", "alertmanager")


@dataclass(frozen=True, slots=True)
class Storage:
    """The settings with which a server reaches S3; one for each store of Mimir."""

    name: str
    endpoint: Effective
    access_key: Effective
    secret_key: Effective
    insecure: Effective
    buckets: tuple[Effective, ...]


def mode(release: Release) -> Effective:
    """The deployment mode of Loki."""
    return release.effective("deploymentMode")


def targets(release: Release) -> tuple[str, ...]:
    """The sections of the values that hold a container which talks to S3; for Mimir the global one."""
    if release.component == "loki":
        return ("singleBinary",) if mode(release).value in SINGLE else SCALABLE
    return ("tempo",) if release.component == "tempo" else ("global",)


def sources(release: Release, target: str) -> tuple[SecretSource, ...]:
    """The Secrets that the container of a section has its environment from."""
    paths = [f"{target}.extraEnvFrom", f"{target}.extraEnv", f"{target}.env"]
    if release.component in ("loki", "mimir"):
        paths += ["global.extraEnvFrom", "global.extraEnv"]
    return environment(release, *dict.fromkeys(paths))


def all_sources(release: Release) -> tuple[SecretSource, ...]:
    """The Secrets of all its containers."""
    names = (*targets(release), *(MIMIR_S3_USERS if release.component == "mimir" else ()))
    found: dict[tuple[str, str, str], SecretSource] = {}
    for target in names:
        for source in sources(release, target):
            found.setdefault((source.secret, source.variable, source.key), source)
    return tuple(found.values())


def storages(release: Release) -> tuple[Storage, ...]:
    """Its S3 settings; none when it is known not to store in S3."""
    if release.component == "loki":
        return () if _elsewhere(release.effective("loki.storage.type", server=True)) else (_loki(release),)
    if release.component == "tempo":
        return () if _elsewhere(release.effective("tempo.storage.trace.backend", server=True)) else (_tempo(release),)
    stores = mimir_stores(release)
    return tuple(_mimir(release, store) for store in stores if not _elsewhere(mimir_backend(release, store)))


def _elsewhere(backend: Effective) -> bool:
    return backend.known and backend.value != "s3"


def mimir_stores(release: Release) -> tuple[str, ...]:
    """The stores of Mimir whose component runs."""
    off = {name for name in ("ruler", "alertmanager") if release.effective(f"{name}.enabled").value is False}
    return tuple(store for store in MIMIR_STORES if store.removesuffix("_storage") not in off)


def mimir_backend(release: Release, store: str) -> Effective:
    """What a store of Mimir writes to."""
    base = "mimir.structuredConfig"
    if store == "blocks_storage":
        # The chart itself sets this one, so the common setting does not reach it.
        return release.effective(f"{base}.{store}.backend", server=True)
    return release.effective(
        f"{base}.{store}.backend", f"{base}.common.storage.backend", f"{base}.{store}.backend", server=True
    )


def _loki(release: Release) -> Storage:
    def setting(name: str, chart_name: str, raw: bool = True) -> Effective:
        paths = (
            f"loki.structuredConfig.storage_config.aws.{name}",
            f"loki.structuredConfig.common.storage.s3.{name}",
            f"loki.storage_config.aws.{name}",
            f"loki.storage.{chart_name}",
        )
        found = release.effective(*paths, server=True, raw=raw)
        if release.values.dotted("loki.storage.use_thanos_objstore") is not None:
            why = "use_thanos_objstore takes the settings of another section"
            return Effective(found.path, False, None, found.node, found.place, why, True)
        return found

    return Storage(
        "storage",
        setting("endpoint", "s3.endpoint"),
        setting("access_key_id", "s3.accessKeyId"),
        setting("secret_access_key", "s3.secretAccessKey"),
        setting("insecure", "s3.insecure", raw=False),
        (
            setting("bucketnames", "bucketNames.chunks"),
            release.effective("loki.storage.bucketNames.ruler", server=True, raw=True),
        ),
    )


def _tempo(release: Release) -> Storage:
    s3 = "tempo.storage.trace.s3"
    return Storage(
        "storage",
        release.effective(f"{s3}.endpoint", server=True, raw=True),
        release.effective(f"{s3}.access_key", server=True, raw=True),
        release.effective(f"{s3}.secret_key", server=True, raw=True),
        release.effective(f"{s3}.insecure", server=True),
        (release.effective(f"{s3}.bucket", server=True, raw=True),),
    )


def _mimir(release: Release, store: str) -> Storage:
    def setting(name: str) -> Effective:
        own, common = f"mimir.structuredConfig.{store}.s3.{name}", f"mimir.structuredConfig.common.storage.s3.{name}"
        return release.effective(own, common, server=True, raw=name != "insecure")

    return Storage(
        store,
        setting("endpoint"),
        setting("access_key_id"),
        setting("secret_access_key"),
        setting("insecure"),
        (setting("bucket_name"),),
    )
