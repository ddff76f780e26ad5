"""S3 credentials come from the environment, filled from the component's own secret; none is written into the values."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.audit.components import MIMIR_S3_USERS, SECRET_KEYS, sources, storages, targets
from loadgen.audit.node import Node
from loadgen.audit.rule import Remark, Remarks, absent, fine, rule_of, unsure, wrong
from loadgen.audit.secrets import data_of, is_reference, variable
from loadgen.audit.stack import COMPONENTS, Effective, Release, Stack

_FLAG = "config.expand-env"
_AWS = {"access key": "AWS_ACCESS_KEY_ID", "secret key": "AWS_SECRET_ACCESS_KEY"}


def _judge(stack: Stack) -> Remarks:
    for component in COMPONENTS:
        releases = stack.of(component)
        if not releases:
            yield absent(component)
        for release in releases:
            remarks = tuple(_one(stack, release))
            yield from remarks
            if not remarks:
                yield fine(release, f"{component}: credentials come from the environment")


def _one(stack: Stack, release: Release) -> Iterator[Remark]:
    if release.patched is not None or release.replaced_config() is not None:
        setting = release.effective("config", server=True)
        yield unsure(setting, f"{release.component}: credentials are not known: {setting.source}", "use the values")
        return
    if release.substituted is not None and any(_lost(node) for _, node in release.values.walk()):
        yield wrong(
            release.substituted,
            f"Flux replaces ${{…}} in the HelmRelease of {release.component} before the server sees it",
            "annotate the HelmRelease with kustomize.toolkit.fluxcd.io/substitute: disabled, or write $${…}",
        )
        return
    used: set[str] = set()
    for storage in storages(release):
        for what, setting in (("access key", storage.access_key), ("secret key", storage.secret_key)):
            yield from _credential(release, storage.name, what, setting, used)
        for setting in (storage.endpoint, *storage.buckets):
            used |= {name for name in [variable(str(setting.value))] if name}
    for target in targets(release):
        yield from _container(stack, release, target, used)


def _lost(node: Node) -> bool:
    """A reference to the S3 secret that Flux takes for one of its own."""
    text = node.scalar if isinstance(node.scalar, str) else ""
    return text.startswith("${") and variable(text) in SECRET_KEYS


def _credential(release: Release, store: str, what: str, setting: Effective, used: set[str]) -> Iterator[Remark]:
    name = f"{release.component}: the {what} of {store}"
    if setting.hidden:
        yield unsure(setting, f"{name} is not known: {setting.source}", f"set {setting.path} in the values")
    elif setting.unset:
        # The S3 client looks for these by itself.
        if release.component == "mimir" or not _gives(release, _AWS[what]):
            yield wrong(
                setting,
                f"{name} is not set, and nothing gives {_AWS[what]}",
                f"set {setting.path} to ${{{SECRET_KEYS[what == 'secret key']}}}",
            )
    elif not is_reference(str(setting.value)):
        yield wrong(
            setting,
            f"{name} stands in the values",
            f"set {setting.path} to ${{{SECRET_KEYS[what == 'secret key']}}}, and replace the credential",
        )
    else:
        used.add(variable(str(setting.value)))


def _gives(release: Release, name: str) -> bool:
    return all(any(source.variable == name for source in sources(release, target)) for target in targets(release))


def _container(stack: Stack, release: Release, target: str, used: set[str]) -> Iterator[Remark]:
    wanted = f"{release.component}-s3-secret"
    found = sources(release, target)
    if release.component == "mimir" and not found:
        # Without a global list, each container that talks to S3 needs its own.
        each = [sources(release, name) for name in MIMIR_S3_USERS]
        found = each[0] if all(each) else ()
    where = f"{target}.extraEnvFrom" if release.component != "mimir" else "global.extraEnvFrom"
    if not any(source.secret == wanted for source in found):
        names = sorted({source.secret for source in found})
        yield wrong(
            found[0].node if found else release,
            f"{release.component}: {target} does not have its environment from {wanted}"
            + (f" but from {', '.join(names)}" if names else ""),
            f"add a secretRef to {wanted} to {where}",
        )
    yield from _missing(stack, release, target, used)
    if used and not _expands(release, target):
        yield wrong(
            release,
            f"{release.component}: {target} is started without -{_FLAG}, so ${{…}} stays as it is",
            f"add -{_FLAG}=true to {target}.extraArgs",
        )


def _missing(stack: Stack, release: Release, target: str, used: set[str]) -> Iterator[Remark]:
    """Variables that no secret of the container gives."""
    given: set[str] = set()
    for source in sources(release, target):
        secret = stack.secret(source.secret)
        if secret is None and not source.variable:
            return  # secret_keys says so
        given |= {source.variable} if source.variable else set(data_of(secret)) if secret is not None else set()
    # That the S3 secret lacks one of its own keys is told by secret_keys.
    for name in sorted(used - given - set(SECRET_KEYS)) if given else ():
        yield wrong(
            release,
            f"{release.component}: nothing gives {target} the variable {name}",
            f"use the keys of the secret: {', '.join(SECRET_KEYS)}",
        )


def _expands(release: Release, target: str) -> bool:
    if release.component == "mimir":
        return True  # the chart itself passes it
    paths = [(target, "extraArgs")]
    if release.component == "loki":
        paths.append(("global", "extraArgs"))
    for path in paths:
        node = release.values.get(*path)
        if node is None:
            continue
        if any(str(entry.scalar).lstrip("-") in (_FLAG, f"{_FLAG}=true") for entry in node.items):
            return True
        # Given without a value, the flag stands alone, which means true.
        if _FLAG in node.names and node.text(_FLAG).lower() in ("true", ""):
            return True
    return False


RULE = rule_of(
    "secret_from_env",
    "S3 credentials reach the servers by environment variables from their own secret, and the servers expand them",
    _judge,
)
