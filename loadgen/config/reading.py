"""From TOML files, stored values and ``LOADGEN_*`` variables to a checked profile or target, or a clear error."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from loadgen.config.base import ConfigError
from loadgen.config.profile import NO_SUCH_FAULT, Profile
from loadgen.config.target import Target
from loadgen.faults import FAULTS

_Model = TypeVar("_Model", Profile, Target)
_FAULTS = {kind.name: kind.settings for kind in FAULTS}


def load_profile(
    path: Path, overrides: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
) -> Profile:
    """Read a profile; ``overrides`` (dotted names) win over the environment, which wins over the file."""
    return _load(Profile, _read_toml(path), path.name, overrides or {}, os.environ if env is None else env)


def load_target(path: Path, env: Mapping[str, str] | None = None) -> Target:
    """Read a target file."""
    return _load(Target, _read_toml(path), path.name, {}, os.environ if env is None else env)


def parse_profile(raw: Mapping[str, Any], origin: str) -> Profile:
    """A profile from values that were stored with a run."""
    return _load(Profile, dict(raw), origin, {}, {})


def parse_target(raw: Mapping[str, Any], origin: str, env: Mapping[str, str] | None = None) -> Target:
    """A target from values, completed from the environment."""
    return _load(Target, dict(raw), origin, {}, os.environ if env is None else env)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read ({problem.strerror})") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from problem


def _load(
    model: type[_Model], raw: dict[str, Any], origin: str, overrides: Mapping[str, Any], env: Mapping[str, str]
) -> _Model:
    raw = _with_environment(model, raw, "LOADGEN", env)
    for dotted, value in overrides.items():
        *sections, name = dotted.split(".")
        level = raw
        for section in sections:
            level[section] = dict(level.get(section, {}))
            level = level[section]
        level[name] = value
    try:
        return model.model_validate(raw)
    except ValidationError as problem:
        raise ConfigError("\n".join(_explain(model, origin, error) for error in problem.errors())) from problem


def _with_environment(
    model: type[BaseModel], raw: dict[str, Any], before: str, env: Mapping[str, str]
) -> dict[str, Any]:
    """The values with those of ``LOADGEN_<SECTION>_<KEY>`` over them; a section in a section adds its name."""
    merged = dict(raw)
    for section, field in model.model_fields.items():
        kind, name = field.annotation, f"{before}_{section}".upper()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            inner = raw.get(section, {})
            if isinstance(inner, dict) and (found := _with_environment(kind, inner, name, env)) != inner:
                merged[section] = found
        elif before != "LOADGEN" and name in env:
            merged[section] = env[name]
    return merged


def _explain(model: type[BaseModel], origin: str, error: Any) -> str:
    """One validation error as a sentence: where, what, and the nearest right key. Never the value of a secret."""
    path = _path(error["loc"])
    if error["type"] == NO_SUCH_FAULT:
        path = (*path, "kind")
    location = [str(part) for part in path]
    where = f"{origin}: " + (f"[{'.'.join(location[:-1])}] {location[-1]}" if len(location) > 1 else ".".join(location))
    if error["type"] == "value_error" and location and _keys_at(model, path, error["loc"]):
        where = f"{origin}: [{'.'.join(location)}]"
    if error["type"] == "extra_forbidden":
        allowed = _keys_at(model, path[:-1], error["loc"])
        near = difflib.get_close_matches(location[-1], allowed, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(allowed))}"
        return f"{where}: no such setting; {hint}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where.rstrip(': ')}: {message}"


def _path(loc: tuple[Any, ...]) -> tuple[Any, ...]:
    """Where an error is, as a file has it: without the kind that pydantic names behind the number of a fault."""
    return (*loc[:2], *loc[3:]) if loc[:1] == ("faults",) and loc[2:3] and loc[2] in _FAULTS else loc


def _keys_at(model: type[BaseModel], path: tuple[Any, ...], loc: tuple[Any, ...]) -> list[str]:
    if _path(loc) != loc and len(path) == 2:
        return list(_FAULTS[loc[2]].model_fields)
    level: Any = model
    for part in path:
        if isinstance(part, int):
            continue
        field = level.model_fields.get(part) if hasattr(level, "model_fields") else None
        if field is None:
            return []
        level = field.annotation
        arguments = [a for a in getattr(level, "__args__", ()) if hasattr(a, "model_fields")]
        level = arguments[0] if arguments else level
    return list(level.model_fields) if hasattr(level, "model_fields") else []
