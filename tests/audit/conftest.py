"""A good tree, with secrets that the real sops encrypted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from manifests import encrypt, new_recipient, secret_text, tree_of


@pytest.fixture(scope="session")
def recipient() -> str:
    """An age key of these tests."""
    return new_recipient()


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory, recipient: str) -> dict[str, str]:
    """The three S3 secrets, encrypted."""
    folder = tmp_path_factory.mktemp("sops")
    return {name: encrypt(secret_text(name), folder, recipient) for name in ("loki", "tempo", "mimir")}


@pytest.fixture
def good(secrets: dict[str, str]) -> dict[str, str]:
    """The texts of a tree in which every rule passes, by path."""
    return tree_of(secrets)
