"""Mistakes in a configuration, and secrets in files."""

from __future__ import annotations

from pathlib import Path


class ConfigError(Exception):
    """A configuration cannot be used; the text says where, what and what to do."""


def from_file(path: str) -> str:
    """The secret in a file, without the line's end; ConfigError when it cannot be read."""
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: the secret cannot be read ({problem})") from problem
