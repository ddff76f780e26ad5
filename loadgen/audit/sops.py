"""Secrets are encrypted with SOPS and age; none stands anywhere as it is, and none is still to be filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from loadgen.audit.node import Node
from loadgen.audit.resolve import flux_of
from loadgen.audit.rule import Remark, Remarks, fine, note, rule_of, unsure, wrong
from loadgen.audit.secrets import (
    ENCRYPTED,
    data_of,
    is_open,
    is_placeholder,
    is_reference,
    is_template,
    looks_random,
    names_secret,
    plain,
)
from loadgen.audit.stack import Document, Stack

# They name secrets that are kept in a vault.
_ELSEWHERE = (
    "ExternalSecret",
    "ClusterExternalSecret",
    "SecretStore",
    "ClusterSecretStore",
    "CustomResourceDefinition",
)
_ENCRYPT = "sops --encrypt --age RECIPIENT --encrypted-regex '^(data|stringData)$' --in-place FILE"
_TO_ENCRYPT = f"fill it in and encrypt it before it is committed: {_ENCRYPT}"
_LEAKED = f"take it out, replace the credential (it is in the history now), and encrypt the new one: {_ENCRYPT}"


def _judge(stack: Stack) -> Remarks:
    for key in stack.tree.keys:
        yield wrong(key.place, key.what, _LEAKED)
    for document in stack.documents:
        named = document.file.name.endswith((".sops.yaml", ".sops.yml"))
        if document.encrypted:
            yield from _encrypted(stack, document)
        elif document.kind == "Secret":
            yield from _plain(stack, document, named)
        else:
            if named:
                yield wrong(document.place, f"{document.file.name} is not encrypted: no block of SOPS", _TO_ENCRYPT)
            yield from _inline(document)
        yield from _generated(document)
    if not any(document.encrypted or document.kind == "Secret" for document in stack.documents):
        yield unsure(
            _whole(stack), "no Secret and nothing encrypted here", "audit the folder that holds the secrets too"
        )


def _whole(stack: Stack) -> Node:
    return stack.documents[0].node if stack.documents else stack.tree.files[0].documents[0]


def _encrypted(stack: Stack, document: Document) -> Iterator[Remark]:
    block = document.node.get("sops")
    assert block is not None
    before = 0
    for remark in (*_block(block), *_values(document, block)):
        before += 1
        yield remark
    if document.kind == "Secret" and not any(
        flux.node.get("spec", "decryption") is not None for flux in flux_of(stack, document.file.folder)
    ):
        if any("decryption" in str(node.scalar) for one in _flux(stack) for _, node in one.node.walk()):
            yield note(document.place, "decrypted as a patch of a Kustomization above says")
        else:
            before += 1
            yield unsure(
                document.place,
                "nothing here decrypts it",
                "give the Kustomization in ks.yaml spec.decryption with provider sops and the secret of the age key",
            )
    if not before:
        yield fine(document.place, f"{document.kind} {document.name}: encrypted for age")


def _flux(stack: Stack) -> tuple[Document, ...]:
    return stack.of_kind("Kustomization", "kustomize.toolkit.fluxcd.io")


def _block(block: Node) -> Iterator[Remark]:
    again = f"encrypt it again: {_ENCRYPT}"
    recipients = block.each("age")
    if not recipients:
        yield wrong(block, "encrypted, but not for age: the block of SOPS has no age recipient", again)
    for recipient in recipients:
        if not re.fullmatch(r"age1[0-9a-z]{10,}", recipient.text("recipient")):
            yield wrong(recipient, "an age recipient that is none", again)
        elif "BEGIN AGE ENCRYPTED FILE" not in recipient.text("enc"):
            yield wrong(recipient, "the data key for this recipient is missing", again)
    mac = block.get("mac")
    if mac is None or not ENCRYPTED.fullmatch(block.text("mac")):
        yield wrong(mac if mac is not None else block, "no mac: changes after encryption would go unseen", again)


def _values(document: Document, block: Node) -> Iterator[Remark]:
    fields = tuple((key, node) for key, node in document.node.fields if key != "sops")
    hidden = 0
    for path, node in (pair for key, value in fields for pair in value.walk((key,))):
        text = str(node.scalar)
        if ENCRYPTED.fullmatch(text):
            hidden += 1
        elif _should_be_hidden(document, path) and text and node.scalar is not None:
            what = "a placeholder" if is_placeholder(text) else "a value"
            yield wrong(
                node,
                f"{path[-1]}: {what} that is not encrypted, in an encrypted file",
                "edit the file with `sops FILE`, which encrypts what it saves",
            )
    if not hidden:
        yield wrong(block, "a block of SOPS, but no encrypted value", f"encrypt the values: {_ENCRYPT}")


def _should_be_hidden(document: Document, path: tuple[str, ...]) -> bool:
    if document.kind == "Secret":
        return path[0] in ("data", "stringData") and not is_open(path[-1])
    return names_secret(path[-1])


def _plain(stack: Stack, document: Document, named: bool) -> Iterator[Remark]:
    entries = data_of(document)
    real: list[str] = []
    placeholders: list[str] = []
    for key in entries:
        text = plain(document, key) or ""
        if not text or is_reference(text) or is_open(key):
            continue
        (placeholders if is_placeholder(text) else real).append(key)
    for key in real:
        yield wrong(entries[key], f"{key} of Secret {document.name} is not encrypted", _LEAKED)
    if not real and is_template(document) and (placeholders or named):
        what = (
            f"Secret {document.name}: template, not yet encrypted ({', '.join(placeholders) or 'nothing'} to fill in)"
        )
        yield wrong(document.place, what, _TO_ENCRYPT) if stack.strict else note(document.place, what)
        return
    for key in placeholders:
        yield wrong(entries[key], f"{key} of Secret {document.name} is still a placeholder", _TO_ENCRYPT)
    if named and not real and not placeholders:
        yield wrong(document.place, f"{document.file.name} is not encrypted: no block of SOPS", _TO_ENCRYPT)
    elif not named and not real and not placeholders:
        yield fine(document.place, f"Secret {document.name} holds nothing secret")


def _inline(document: Document) -> Iterator[Remark]:
    if document.kind in _ELSEWHERE:
        return
    for path, node in document.node.walk():
        text = node.scalar if isinstance(node.scalar, str) else ""
        if not path or not text or not names_secret(path[-1]) or text.startswith("/"):
            continue
        named = not re.search(r"passw", path[-1], re.IGNORECASE) and not looks_random(text)
        if not named and not is_reference(text) and not ENCRYPTED.search(text):
            what = "a placeholder" if is_placeholder(text) else "a secret"
            yield wrong(
                node,
                f"{'.'.join(path[-2:])}: {what} in {document.kind} {document.name}",
                "keep it in an encrypted Secret and refer to it by name",
            )


def _generated(document: Document) -> Iterator[Remark]:
    for generator in document.node.each("secretGenerator"):
        for entry in generator.each("literals"):
            key, _, text = str(entry.scalar).partition("=")
            if text and not is_open(key) and not is_reference(text):
                what = "a placeholder" if is_placeholder(text) else "a value"
                yield wrong(
                    entry,
                    f"secretGenerator {generator.text('name')}: {what} for {key} stands here as it is",
                    f"write a Secret instead and encrypt it: {_ENCRYPT}",
                )


RULE = rule_of(
    "sops",
    "every secret is encrypted with SOPS for age; none is in plain text, none is still a placeholder",
    _judge,
)
