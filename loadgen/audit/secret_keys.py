"""Each component has its own S3 secret, of the agreed name and keys."""

from __future__ import annotations

from loadgen.audit.components import SECRET_KEYS
from loadgen.audit.node import Place
from loadgen.audit.rule import Remarks, absent, fine, rule_of, wrong
from loadgen.audit.secrets import data_of
from loadgen.audit.stack import COMPONENTS, Document, Stack


def _judge(stack: Stack) -> Remarks:
    for component in COMPONENTS:
        name = f"{component}-s3-secret"
        secret = stack.secret(name)
        if secret is not None:
            missing = [key for key in SECRET_KEYS if key not in data_of(secret)]
            if missing:
                yield wrong(
                    secret.place,
                    f"Secret {name} lacks {', '.join(missing)}",
                    f"give it the keys {', '.join(SECRET_KEYS)}",
                )
            else:
                yield fine(secret.place, f"Secret {name} has the four keys")
            continue
        other = _other(stack, component)
        if other is not None:
            what = f"the S3 secret of {component} is called {other.name or 'nothing'}"
            yield wrong(other.place, what, f"call it {name}")
        elif stack.of(component):
            release = stack.of(component)[0]
            where = Place(f"{release.folder or '.'}", 0)
            yield wrong(
                where, f"no Secret {name}", f"add {name} with {', '.join(SECRET_KEYS)} to secret.sops.yaml, encrypted"
            )
        else:
            yield absent(component)


def _other(stack: Stack, component: str) -> Document | None:
    """A secret that seems to be meant: it has some of the keys and lies beside the release."""
    folders = {release.folder for release in stack.of(component)}
    for secret in stack.of_kind("Secret"):
        if secret.file.folder in folders and set(SECRET_KEYS) & set(data_of(secret)):
            return secret
    return None


RULE = rule_of(
    "secret_keys",
    "the S3 secrets are called {component}-s3-secret and have four keys: " + ", ".join(SECRET_KEYS),
    _judge,
)
