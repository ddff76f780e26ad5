"""What is a secret, what is a placeholder, what is encrypted. Nothing here gives a value away."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from loadgen.audit.node import Node
from loadgen.audit.stack import Document, Effective, Release, Stack

ENCRYPTED = re.compile(r"ENC\[AES256_GCM,data:[^,\]]*,iv:[^,\]]+,tag:[^,\]]+,type:\w+\]")
_PLACEHOLDER = re.compile(
    r"REPLACE|CHANGE[_-]?ME|PLACE[_-]?HOLDER|FILL[_-]?(ME|IN)|<[^<>]+>|^x{3,}$|^\*{3,}$|^\.{3}$|YOUR[_-]|TODO|REDACTED|"
    r"^(secret|password|dummy|example|none|null)$",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"\$?\$\{?[A-Za-z_][^}]*\}?|\$__(env|file|vault)\{.*\}|\{\{.*\}\}", re.DOTALL)
# Keys of a Secret that need not be secret.
_OPEN = re.compile(
    r"(endpoint|bucket(_?name)?s?|region|url|host|port|user(_?name)?|admin[-_]?user|namespace)$", re.IGNORECASE
)
_SECRET_KEY = re.compile(
    r"(^|[._-]|(?<=[a-z]))(password|passwd|secret_?access_?key|access_?key(_?id)?|secret_?key|private_?key|api_?key|"
    r"client_?secret|(bearer|access|auth|api)_?token)$",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"\$?\$\{?([A-Za-z_][A-Za-z0-9_]*)(?::?[-=?][^}]*)?\}?")


def is_placeholder(text: str) -> bool:
    """A text that stands for a value still to be filled in."""
    return _PLACEHOLDER.search(text) is not None


def is_reference(text: str) -> bool:
    """A text that names a value kept elsewhere: ``${S3_BUCKET}``, ``$__file{…}``."""
    return _REFERENCE.fullmatch(text.strip()) is not None


def is_open(key: str) -> bool:
    """A key of a Secret whose value may be seen: an endpoint, a bucket."""
    return _OPEN.search(key) is not None


def names_secret(key: str) -> bool:
    """A key whose value is a secret wherever it stands: ``adminPassword``, ``secret_access_key``."""
    return _SECRET_KEY.search(key) is not None


def looks_random(text: str) -> bool:
    """Not the name of something: ``S3_SECRET_ACCESS_KEY``, ``access-key`` and ``admin`` are names."""
    return re.fullmatch(r"[A-Z][A-Z0-9_]*|[a-z][a-z0-9]*([-_./][a-z0-9]+)*", text) is None or len(text) > 40


def variable(text: str) -> str:
    """The environment variable that a text consists of; empty when it is something else."""
    found = _VARIABLE.fullmatch(text.strip())
    return found[1] if found else ""


def data_of(secret: Document) -> dict[str, Node]:
    """The entries of a Secret by key; ``stringData`` wins over ``data``, as in Kubernetes."""
    entries: dict[str, Node] = {}
    for block in ("data", "stringData"):
        node = secret.node.get(block)
        entries |= dict(node.fields) if node is not None else {}
    return entries


def plain(secret: Document, key: str) -> str | None:
    """The value of an entry that is not encrypted, for judging, never for showing; None if it cannot be seen."""
    in_text = secret.node.get("stringData", key)
    if in_text is not None:
        text = secret.node.text("stringData", key)
        return None if ENCRYPTED.search(text) else text
    if secret.node.get("data", key) is None:
        return None
    text = secret.node.text("data", key)
    if ENCRYPTED.search(text):
        return None
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return text


def is_template(secret: Document) -> bool:
    """A Secret that says of itself that it is a template: by its file's name or first comment, or by an annotation."""
    if secret.file.template or re.search(r"\btemplate\b", secret.file.head, re.IGNORECASE):
        return True
    return any(key.rpartition("/")[2] == "template" and text.lower() == "true" for key, text in secret.marks())


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a container has environment variables from: a whole Secret, or one key of it as ``variable``."""

    node: Node
    secret: str
    variable: str = ""
    key: str = ""


def environment(release: Release, *paths: str) -> tuple[SecretSource, ...]:
    """The Secrets behind lists such as ``write.extraEnvFrom`` and ``write.extraEnv``."""
    found = []
    for path in paths:
        node = release.values.dotted(path)
        for entry in node.items if node is not None else ():
            whole = entry.text("secretRef", "name")
            single = entry.get("valueFrom", "secretKeyRef")
            if whole:
                found.append(SecretSource(entry, whole))
            elif single is not None:
                found.append(SecretSource(entry, single.text("name"), entry.text("name"), single.text("key")))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Expanded:
    """A setting with ``${…}`` replaced by what the container's environment holds.

    Attributes:
        text: the value; None when it is hidden (encrypted, or not in the tree).
        why: why it is hidden.
        identity: two settings with the same identity have the same value.
    """

    text: str | None
    why: str
    identity: str


def expanded(stack: Stack, setting: Effective, sources: tuple[SecretSource, ...]) -> Expanded:
    """The value that the server sees."""
    text = "" if setting.value is None else str(setting.value)
    name = variable(text)
    if not name:
        hidden = "${" in text
        return Expanded(None if hidden else text, "made of several variables" if hidden else "", text)
    for source in sources:
        key = source.key if source.variable == name else name if not source.variable else ""
        if not key:
            continue
        secret = stack.secret(source.secret)
        if secret is None:
            if source.variable:
                return Expanded(None, f"Secret {source.secret} is not here", f"{source.secret}/{key}")
            continue
        if key in data_of(secret):
            seen = plain(secret, key)
            hidden_text = "" if seen is not None else f"{key} of Secret {source.secret} is encrypted"
            return Expanded(seen, hidden_text, f"{source.secret}/{key}" if seen is None else seen)
    return Expanded(None, f"no Secret here gives {name}", f"${{{name}}} of {release_secret(sources)}")


def release_secret(sources: tuple[SecretSource, ...]) -> str:
    """The Secrets of an environment, by name."""
    return ", ".join(sorted({source.secret for source in sources})) or "no Secret"
