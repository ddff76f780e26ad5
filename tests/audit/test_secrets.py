"""What counts as encrypted, as a template, as a placeholder, as a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests import SECRET_KEY, encrypt, secret_text, write

from loadgen.audit import audit, read_tree
from loadgen.audit.secrets import is_open, is_placeholder, is_reference, names_secret, variable
from loadgen.model import Result, Verdict

PATH = "loki/app/secret.sops.yaml"
PLACEHOLDERS = secret_text("loki", "REPLACE_WITH_LOKI_ACCESS_KEY", "REPLACE_WITH_LOKI_SECRET_KEY")


def sops(tmp_path: Path, text: str, path: str = PATH, strict: bool = False) -> Verdict:
    tree = read_tree(write(tmp_path / "tree", {path: text}))
    return next(verdict for verdict in audit(tree, strict) if verdict.check == "sops")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (f"# A template: fill it in.\n{PLACEHOLDERS}", PATH),
        (PLACEHOLDERS.replace("metadata:", "metadata:\n  annotations: {loadgen/template: 'true'}"), PATH),
        (PLACEHOLDERS, f"{PATH}.example"),
        (PLACEHOLDERS, f"{PATH}.template"),
    ],
    ids=["comment", "annotation", "example", "template"],
)
def test_a_secret_that_says_it_is_a_template_is_reported_and_fails_only_strictly(tmp_path, text, path):
    verdict = sops(tmp_path, text, path)
    assert verdict.result is Result.PASS
    assert "Secret loki-s3-secret: template, not yet encrypted" in verdict.measured
    assert "S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY to fill in" in verdict.evidence[0]
    assert sops(tmp_path, text, path, strict=True).result is Result.FAIL


def test_placeholders_without_that_word_fail(tmp_path):
    assert sops(tmp_path, PLACEHOLDERS).result is Result.FAIL


def test_a_template_that_someone_filled_in_fails(tmp_path):
    verdict = sops(tmp_path, f"# A template.\n{secret_text('loki')}")
    assert verdict.result is Result.FAIL
    assert "replace the credential" in verdict.remedy
    assert SECRET_KEY not in repr(verdict)


def test_base64_hides_neither_a_placeholder_nor_a_secret(tmp_path):
    import base64

    def secret(text: str) -> str:
        value = base64.b64encode(text.encode()).decode()
        return f"apiVersion: v1\nkind: Secret\nmetadata: {{name: x}}\ndata: {{token: {value}}}\n"

    assert "still a placeholder" in sops(tmp_path, secret("CHANGE_ME"), "a.yaml").evidence[0]
    assert "is not encrypted" in sops(tmp_path, secret(SECRET_KEY), "a.yaml").evidence[0]


def test_a_placeholder_that_was_encrypted_cannot_be_seen_and_passes(tmp_path, recipient):
    # That is what ``loadgen check`` looks for in the cluster.
    assert sops(tmp_path, encrypt(PLACEHOLDERS, tmp_path, recipient)).result is Result.UNKNOWN  # nothing decrypts it


def test_a_file_called_sops_that_is_no_secret_must_be_encrypted_too(tmp_path):
    verdict = sops(tmp_path, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b}\n", "values.sops.yaml")
    assert verdict.result is Result.FAIL
    assert "no block of SOPS" in verdict.evidence[0]


@pytest.mark.parametrize("text", ["$__file{/etc/token}", "${TOKEN}", "/run/secrets/token", "{{ .Values.token }}"])
def test_a_reference_is_no_secret(tmp_path, text):
    good = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata: {{adminPassword: '{text}'}}\n"
    assert sops(tmp_path, good, "a.yaml").result is Result.UNKNOWN  # no secret here at all


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("REPLACE_WITH_X", True),
        ("<your key>", True),
        ("changeme", True),
        ("xxxx", True),
        (SECRET_KEY, False),
        ("s3cr3t", False),
    ],
)
def test_placeholders(text, expected):
    assert is_placeholder(text) is expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("adminPassword", True),
        ("secret_access_key", True),
        ("accessKeyId", True),
        ("bearer_token", True),
        ("passwordKey", False),
        ("existingSecret", False),
        ("num_tokens", False),
        ("tokens_file_path", False),
        ("secretName", False),
    ],
)
def test_keys_that_name_a_secret(key, expected):
    assert names_secret(key) is expected


def test_open_keys_references_and_variables():
    assert is_open("S3_ENDPOINT")
    assert not is_open("S3_ACCESS_KEY_ID")
    assert is_reference("${S3_BUCKET}")
    assert not is_reference("x${S3_BUCKET}")
    assert variable("${S3_BUCKET:-x}") == variable("$${S3_BUCKET}") == "S3_BUCKET"
    assert variable("loki-chunks") == ""
