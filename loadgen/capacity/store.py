"""``capacity.json``: the only reader and writer of a search. Written after every step, so that a cut loses one step."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from loadgen.capacity.model import FORMAT, Capacity
from loadgen.history.directory import RunDirError, write_atomically

FILE = "capacity.json"
STEPS = "steps"

_ADAPTER = TypeAdapter(Capacity)


def save(folder: Path, capacity: Capacity) -> None:
    """Store a search; RunDirError when that fails."""
    text = json.dumps(dataclasses.asdict(capacity), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / FILE, text.encode("utf-8", "replace") + b"\n")


def holds_search(folder: Path) -> bool:
    """Whether this is the folder of a search, and not that of a run."""
    return (folder / FILE).is_file()


def load(folder: Path) -> Capacity:
    """Read a search; RunDirError when there is none, or it is damaged or of another version."""
    path = folder / FILE
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise RunDirError(f"{folder}: no capacity search here ({FILE}: {problem.strerror})") from problem
    try:
        raw = json.loads(content)
        found = raw.get("format") if isinstance(raw, dict) else None
        if found != FORMAT:
            raise RunDirError(
                f"{path}: has format {found!r}, this version of loadgen reads {FORMAT}; make a new search"
            )
        return _ADAPTER.validate_json(content)
    except (ValueError, ValidationError) as problem:
        first = str(problem).splitlines()[0]
        raise RunDirError(f"{path}: damaged ({first}); its steps under {STEPS}/ are runs of their own") from problem


def create(folder: Path, capacity: Capacity) -> None:
    """A new search's folder; RunDirError when it cannot be written or holds one."""
    if (folder / FILE).exists():
        raise RunDirError(
            f"{folder}: already holds a search; choose another folder with --out, or go on: --resume {folder}"
        )
    if (folder / "run.json").exists():
        raise RunDirError(f"{folder}: holds a run; choose another folder with --out")
    save(folder, capacity)
