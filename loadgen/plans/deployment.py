"""A plan file: requirements by the ids of a deployment's own documents, and what its manifests are expected to say."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from loadgen.config import ConfigError
from loadgen.model import Verdict
from loadgen.settings import Section

DEFAULT = "lgtm-homelab"
"""The plan that is shipped."""


class Requirement(Section):
    """``[[requirements]]``: a task, requirement, acceptance criterion, quality or decision."""

    id: str = Field(..., min_length=1, description="as the deployment's own documents call it")
    title: str = Field(..., description="what it asks for, in a few words")
    run: tuple[str, ...] = Field((), description="checks of `loadgen run` that show it")
    check: tuple[str, ...] = Field((), description="checks of `loadgen check` that show it")
    audit: tuple[str, ...] = Field((), description="rules of `loadgen audit` that show it")
    manual: str = Field("", description="what only a person can do; the checks prove it afterwards")

    @property
    def names(self) -> tuple[str, ...]:
        """All that show it."""
        return (*self.run, *self.check, *self.audit)


class Expected(Section):
    """``[audit]``: what the manifests are expected to say."""

    loki_mode: Literal["SimpleScalable", "SingleBinary", "Distributed", "any"] = Field(
        "any", description="how Loki is deployed"
    )
    tempo_mode: Literal["monolithic", "any"] = Field("any", description="how Tempo is deployed")
    replicas: int = Field(0, ge=0, description="how often everything runs; 0: as often as the manifests say")


class Deployed(Section):
    """A whole plan. Without requirements, reports have no columns for them."""

    name: str = "own"
    planned: tuple[str, ...] = Field((), description="checks that requirements name and that do not exist yet")
    audit: Expected = Expected()
    requirements: tuple[Requirement, ...] = ()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Deployed:
        ids = [requirement.id for requirement in self.requirements]
        twice = next((one for one in ids if ids.count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"two requirements are called {twice}; give each an id of its own")
        return self

    def ids_of(self, name: str) -> tuple[str, ...]:
        """The ids of the requirements that a check or rule shows, in the order of the file."""
        return tuple(requirement.id for requirement in self.requirements if name in requirement.names)

    def with_ids(self, verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
        """Verdicts with the ids of what they show."""
        return tuple(replace(verdict, requirements=self.ids_of(verdict.check)) for verdict in verdicts)

    def unknown(self, command: Literal["run", "check", "audit"], known: Iterable[str]) -> tuple[str, ...]:
        """A sentence for each name that no check of a command has."""
        there = (*known, *self.planned)
        texts = []
        for requirement in self.requirements:
            for name in getattr(requirement, command):
                if name not in there:
                    near = difflib.get_close_matches(name, there, n=1, cutoff=0.5)
                    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known))}"
                    texts.append(f"{requirement.id}: loadgen {command} has no {name!r}; {hint}")
        return tuple(texts)


def load_plan(place: str) -> Deployed:
    """The plan of a file, or the shipped one by its name; ConfigError says where, what and what to do."""
    if place in ("", DEFAULT):
        return default_plan()
    try:
        raw = tomllib.loads(Path(place).read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError(
            f"--plan {place}: cannot be read ({problem.strerror}); give a TOML file, or {DEFAULT}"
        ) from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"--plan {place}: not valid TOML: {problem}") from problem
    return parse_plan(raw, place)


def parse_plan(raw: Mapping[str, Any], origin: str) -> Deployed:
    """A plan from values; ConfigError if they are none."""
    try:
        return Deployed.model_validate(raw)
    except ValidationError as problem:
        texts = []
        for error in problem.errors():
            where = ".".join(str(part) for part in error["loc"])
            said = error["msg"].removeprefix("Value error, ")
            if error["type"] == "extra_forbidden":
                said = "no such setting; see loadgen/plans for one that works"
            texts.append(f"{origin}: {where}: {said}" if where else f"{origin}: {said}")
        raise ConfigError("\n".join(texts)) from problem


@cache
def default_plan() -> Deployed:
    """The plan that is shipped."""
    path = Path(__file__).with_name(f"{DEFAULT}.toml")
    return Deployed.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
