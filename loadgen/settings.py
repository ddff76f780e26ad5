"""What settings are made of: sections that refuse unknown ones, durations, sizes, and names of stores."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from loadgen.model import Component
from loadgen.stores import STORES
from loadgen.units import seconds, size_bytes

Seconds = Annotated[float, BeforeValidator(seconds)]
Size = Annotated[float, BeforeValidator(size_bytes)]


def _store(value: object) -> object:
    names = [store.component.value for store in STORES]
    if value not in names:
        raise ValueError(f"should be one of {', '.join(names)}")
    return value


StoreName = Annotated[Component, BeforeValidator(_store)]
"""A component that stores signals."""


class Section(BaseModel):
    """A table of a configuration file."""

    # pydantic's own messages would quote what was given, which may be a secret in the wrong place.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)
