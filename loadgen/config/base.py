"""What profile and target are made of: sections that refuse unknown settings, durations, sizes, secrets in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from loadgen.units import seconds, size_bytes

Seconds = Annotated[float, BeforeValidator(seconds)]
Size = Annotated[float, BeforeValidator(size_bytes)]


class ConfigError(Exception):
    """A configuration cannot be used; the text says where, what and what to do."""


class Section(BaseModel):
    """A table of a configuration file."""

    # pydantic's own messages would quote what was given, which may be a secret in the wrong place.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


def from_file(path: str) -> str:
    """The secret in a file, without the line's end; ConfigError when it cannot be read."""
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: the secret cannot be read ({problem})") from problem
