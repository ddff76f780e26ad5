"""Reads a directory of manifests. The only part of the audit that touches files; it follows no link out of the tree."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadgen.audit.node import Node, Place, YamlProblem, documents
from loadgen.config import ConfigError

MAX_FILE_BYTES = 2_000_000
MAX_FILES = 50_000
# Text beside the manifests is looked through for keys up to this size.
MAX_OTHER_BYTES = 256_000

_YAML = (".yaml", ".yml")
_TEMPLATE = (".template", ".tmpl", ".example", ".sample")
_KEYS = re.compile(
    r"AGE-SECRET-KEY-1[0-9A-Z]{58}|-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bglsa_[A-Za-z0-9]{32}_[0-9a-f]{8}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b"
)


@dataclass(frozen=True, slots=True)
class Remarked:
    """A place and what is to be said of it."""

    place: Place
    what: str


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A YAML file.

    Attributes:
        path: relative to the tree, with slashes.
        documents: what is in it, empty documents left out.
        head: the comment that it begins with.
        template: its name says that it is one, e.g. ``secret.sops.yaml.example``.
    """

    path: str
    documents: tuple[Node, ...]
    head: str
    template: bool

    @property
    def folder(self) -> str:
        """Where it lies, relative to the tree; empty for the tree itself."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its name without the folders and without what marks it as a template."""
        name = self.path.rpartition("/")[2]
        return name.rpartition(".")[0] if self.template else name


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory of manifests, read.

    Attributes:
        files: the YAML files, by path.
        problems: what could not be read; a rule that passes without it proves nothing.
        keys: private keys and tokens that stand in files as they are.
        others: paths of all other files.
        left_out: folders that were not read, and why.
    """

    files: tuple[SourceFile, ...]
    problems: tuple[Remarked, ...] = ()
    keys: tuple[Remarked, ...] = ()
    others: tuple[str, ...] = ()
    left_out: tuple[Remarked, ...] = ()

    def has(self, path: str) -> bool:
        """Whether a file of this path is there."""
        return any(file.path == path for file in self.files) or path in self.others

    def file(self, path: str) -> SourceFile | None:
        """The YAML file of this path."""
        return next((file for file in self.files if file.path == path), None)


def read_tree(root: Path) -> Tree:
    """Read every YAML file below ``root``; ConfigError when there is no such folder or no YAML in it.

    Files that cannot be read or are no YAML become problems, not errors.
    """
    if not root.exists():
        raise ConfigError(f"{root}: no such folder; name the folder that holds the manifests, e.g. kubernetes/")
    if not root.is_dir():
        raise ConfigError(f"{root}: a file, not a folder; name the folder that holds it")
    files: list[SourceFile] = []
    problems: list[Remarked] = []
    keys: list[Remarked] = []
    others: list[str] = []
    left_out: list[Remarked] = []
    for count, path in enumerate(_paths(root, left_out, problems)):
        if count >= MAX_FILES:
            raise ConfigError(f"{root}: more than {MAX_FILES:,} files; name the folder of the manifests itself")
        name = path.relative_to(root).as_posix()
        kind = _kind(name)
        text = _text(root, path, name, kind, problems)
        if text is None:
            others += [] if kind else [name]
            continue
        keys += _plain_keys(name, text)
        if not kind:
            others.append(name)
            continue
        try:
            found = documents(text, name)
        except YamlProblem as problem:
            problems.append(Remarked(problem.place, problem.what))
            continue
        files.append(SourceFile(name, tuple(node for node in found if not node.empty), _head(text), kind == "template"))
    if not files and not problems:
        raise ConfigError(f"{root}: no YAML file in it or below; name the folder that holds the manifests")
    return Tree(tuple(files), tuple(problems), tuple(keys), tuple(others), tuple(left_out))


def _kind(name: str) -> str:
    """``yaml``, ``template`` or empty. ``.sops.yaml`` is the configuration of SOPS, not a manifest."""
    base = name.rpartition("/")[2].lower()
    if base == ".sops.yaml":
        return ""
    stem, _, ending = base.rpartition(".")
    if f".{ending}" in _TEMPLATE and stem.endswith(_YAML):
        return "template"
    return "yaml" if base.endswith(_YAML) else ""


def _paths(root: Path, left_out: list[Remarked], problems: list[Remarked]) -> Iterator[Path]:
    def refused(problem: OSError) -> None:
        name = os.path.relpath(str(problem.filename), root)
        problems.append(Remarked(Place(name, 0), f"the folder cannot be read ({problem.strerror})"))

    for folder, below, names in os.walk(root, onerror=refused, followlinks=False):
        here = Path(folder)
        for name in sorted(below):
            path = here / name
            relative = path.relative_to(root).as_posix()
            why = _why_left_out(path, "Chart.yaml" in names)
            if why:
                below.remove(name)
                if name != ".git":
                    left_out.append(Remarked(Place(relative, 0), why))
        below.sort()
        for name in sorted(names):
            yield here / name


def _why_left_out(folder: Path, in_chart: bool) -> str:
    if folder.is_symlink():
        return "a link to a folder, not followed"
    if folder.name.startswith("."):
        return "a hidden folder, not read"
    if in_chart and folder.name in ("templates", "charts"):
        return "part of a Helm chart, not manifests"
    return ""


def _text(root: Path, path: Path, name: str, kind: str, problems: list[Remarked]) -> str | None:
    """The text of a file; None, and a problem if it should be YAML, when there is none to be had."""

    def refuse(what: str) -> str | None:
        if kind:
            problems.append(Remarked(Place(name, 0), what))
        return None

    try:
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            return refuse("a link to something outside of the tree, not followed")
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            return refuse("not a regular file, not read")
        if about.st_size > (MAX_FILE_BYTES if kind else MAX_OTHER_BYTES):
            return refuse(f"larger than {MAX_FILE_BYTES:,} bytes, not read; keep data out of the manifests")
        content = path.read_bytes()
    except (OSError, RuntimeError) as problem:
        # A loop of links is one or the other, depending on the version of Python.
        return refuse(f"cannot be read ({getattr(problem, 'strerror', None) or 'a loop of links'})")
    if b"\0" in content:
        return refuse("binary data, not YAML")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        if kind:
            problems.append(Remarked(Place(name, line), "not UTF-8; save the file as UTF-8"))
        return None


def _plain_keys(name: str, text: str) -> Iterator[Remarked]:
    for found in _KEYS.finditer(text):
        if "EXAMPLE" not in found[0]:
            line = text.count("\n", 0, found.start()) + 1
            yield Remarked(Place(name, line), "a private key or token stands here as it is")


def _head(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if line.strip() and not line.startswith(("#", "---")):
            break
        lines.append(line)
    return "\n".join(lines)
