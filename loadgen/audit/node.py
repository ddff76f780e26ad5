"""YAML as values that know where they stand: every node has the file and the line that it was read from.

Read from PyYAML's events rather than by its loaders: nothing recurses and nothing is constructed, so a file of ten
thousand brackets or a bomb of aliases ends as a `YamlProblem`, and a file cannot make an object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

MAX_DEPTH = 100
# Aliases count as often as they are used; a rule walks what they stand for.
MAX_NODES = 1_000_000

Scalar: TypeAlias = str | int | float | bool | None
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_QUOTED = re.compile(r"'[^']{2,}'|\"[^\"]{2,}\"")
_TRUE, _FALSE = {"yes", "true", "on"}, {"no", "false", "off"}


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file; ``line`` 0 means the whole file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class YamlProblem(Exception):
    """A text that cannot be read as YAML; says where and what, never what the text holds."""

    def __init__(self, place: Place, what: str) -> None:
        super().__init__(f"{place}: {what}")
        self.place, self.what = place, what


@dataclass(frozen=True, slots=True)
class Node:
    """A value: a mapping (``fields``), a list (``items``) or a scalar.

    Attributes:
        place: where it begins.
        kind: ``map``, ``list`` or ``scalar``.
        scalar: the value of a scalar.
        fields: entries of a mapping, in order.
        items: entries of a list.
        size: nodes in it, itself included.
        text_line: line on which the text of a block scalar begins, else its own.
    """

    place: Place
    kind: str
    scalar: Scalar = None
    fields: tuple[tuple[str, Node], ...] = ()
    items: tuple[Node, ...] = ()
    size: int = field(default=1, compare=False)
    text_line: int = field(default=0, compare=False)

    def get(self, *path: str | int) -> Node | None:
        """The node at a path of keys and positions; None when there is none."""
        node: Node | None = self
        for step in path:
            if node is None:
                return None
            if isinstance(step, int):
                node = node.items[step] if step < len(node.items) else None
            else:
                node = next((value for key, value in node.fields if key == step), None)
        return node

    def dotted(self, path: str) -> Node | None:
        """The node at a path such as ``write.replicas``; for keys that hold no dot."""
        return self.get(*path.split("."))

    def text(self, *path: str | int) -> str:
        """The scalar at a path as text; empty when there is none."""
        node = self.get(*path)
        return "" if node is None or node.kind != "scalar" or node.scalar is None else str(node.scalar)

    def each(self, *path: str | int) -> tuple[Node, ...]:
        """The entries of the list at a path; none when there is no list."""
        node = self.get(*path)
        return node.items if node is not None else ()

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of a mapping."""
        return tuple(key for key, _ in self.fields)

    @property
    def empty(self) -> bool:
        """Nothing is set: null, an empty text, mapping or list."""
        return not self.fields and not self.items and (self.kind != "scalar" or self.scalar in (None, ""))

    def walk(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node]]:
        """Every scalar in it, with the keys that lead there (list entries have the key of their list)."""
        todo: list[tuple[tuple[str, ...], Node]] = [(path, self)]
        while todo:
            at, node = todo.pop()
            if node.kind == "scalar":
                yield at, node
            todo += [((*at, key), value) for key, value in reversed(node.fields)]
            todo += [(at, item) for item in reversed(node.items)]


def merged(below: Node, above: Node) -> Node:
    """Two mappings as Helm merges values: ``above`` wins, mappings are merged key by key, anything else is replaced."""
    if below.kind != "map" or above.kind != "map":
        return above
    fields = dict(below.fields)
    for key, value in above.fields:
        fields[key] = merged(fields[key], value) if key in fields else value
    return mapping(above.place, fields)


def mapping(place: Place, fields: dict[str, Node]) -> Node:
    """A mapping of nodes."""
    entries = tuple(fields.items())
    return Node(place, "map", fields=entries, size=1 + sum(value.size for _, value in entries))


def documents(text: str, file: str, first_line: int = 1) -> tuple[Node, ...]:
    """The documents of a text that begins at line ``first_line`` of ``file``; YamlProblem when it is not YAML."""
    try:
        return tuple(_documents(text, file, first_line))
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        line = mark.line + first_line if mark is not None else 0
        # The parser quotes names from the text, and a name may be a secret that lost its quotes.
        what = _QUOTED.sub("…", str(problem.problem or problem.context or "not YAML"))
        raise YamlProblem(Place(file, line), f"not valid YAML: {what}{_hint(text, line - first_line)}") from None
    except yaml.reader.ReaderError as problem:
        line = text.count("\n", 0, problem.position if isinstance(problem.position, int) else 0) + first_line
        raise YamlProblem(Place(file, line), "not valid YAML: a character that YAML does not allow") from None


def _hint(text: str, line: int) -> str:
    lines = text.splitlines()
    around = "\n".join(lines[max(0, line - 1) : line + 1])
    return "; this looks like a template, render it first" if "{{" in around else ""


@dataclass(slots=True)
class _Open:
    """A mapping or list that has begun."""

    place: Place
    kind: str
    anchor: str | None
    fields: dict[str, Node] = field(default_factory=dict)
    inherited: list[Node] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)
    key: str | None = None


def _documents(text: str, file: str, first_line: int) -> Iterator[Node]:
    stack: list[_Open] = []
    anchors: dict[str, Node] = {}
    resolver = yaml.resolver.Resolver()
    for event in yaml.parse(text, Loader=_LOADER):
        mark = event.start_mark
        place = Place(file, mark.line + first_line if mark is not None else 0)
        node: Node | None = None
        if isinstance(event, yaml.DocumentStartEvent):
            anchors = {}
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            _no_collection_as_key(stack, place, text, first_line)
            if len(stack) >= MAX_DEPTH:
                raise YamlProblem(place, f"nested deeper than {MAX_DEPTH} levels")
            kind = "map" if isinstance(event, yaml.MappingStartEvent) else "list"
            stack.append(_Open(place, kind, event.anchor))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = stack.pop()
            node = _closed(done)
            if node.size > MAX_NODES:
                raise YamlProblem(done.place, f"its aliases stand for more than {MAX_NODES:,} values")
            if done.anchor:
                anchors[done.anchor] = node
        elif isinstance(event, yaml.AliasEvent | yaml.ScalarEvent):
            node = _leaf(event, place, anchors, resolver)
        if node is None:
            continue
        if stack:
            _add(stack[-1], node)
        else:
            yield node


def _leaf(
    event: yaml.AliasEvent | yaml.ScalarEvent, place: Place, anchors: dict[str, Node], resolver: yaml.resolver.Resolver
) -> Node:
    """A value without children, or what an alias stands for. A scalar with an anchor is kept in ``anchors``."""
    if isinstance(event, yaml.AliasEvent):
        if event.anchor not in anchors:
            # Also what an alias inside of its own anchor is: that one is not closed yet.
            raise YamlProblem(place, "an alias to something that is not there, or to what it is a part of")
        return anchors[event.anchor]
    block = event.style in ("|", ">")
    node = Node(place, "scalar", _value(event, resolver), text_line=place.line + 1 if block else place.line)
    if event.anchor:
        anchors[event.anchor] = node
    return node


def _no_collection_as_key(stack: list[_Open], place: Place, text: str, first_line: int) -> None:
    if stack and stack[-1].kind == "map" and stack[-1].key is None:
        raise YamlProblem(place, f"a mapping or list where a key must be{_hint(text, place.line - first_line)}")


def _add(parent: _Open, node: Node) -> None:
    if parent.kind == "list":
        parent.items.append(node)
    elif parent.key is None:
        if node.kind != "scalar":
            raise YamlProblem(node.place, "a mapping or list where a key must be")
        parent.key = "" if node.scalar is None else _key(node.scalar)
        if parent.key != "<<" and parent.key in parent.fields:
            raise YamlProblem(node.place, f"the key {parent.key!r} stands here for a second time")
    else:
        if parent.key == "<<":
            parent.inherited += node.items or [node]
        else:
            parent.fields[parent.key] = node
        parent.key = None


def _key(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _closed(done: _Open) -> Node:
    if done.kind == "list":
        return Node(done.place, "list", items=tuple(done.items), size=1 + sum(item.size for item in done.items))
    fields = dict(done.fields)
    for other in done.inherited:
        for key, value in other.fields:
            fields.setdefault(key, value)
    return mapping(done.place, fields)


def _value(event: yaml.ScalarEvent, resolver: yaml.resolver.Resolver) -> Scalar:
    """The value that YAML 1.1 (and so Flux and Helm) sees; what is neither null, number nor truth is text."""
    text = str(event.value)
    tag = event.tag or str(resolver.resolve(yaml.ScalarNode, text, event.implicit))  # type: ignore[no-untyped-call]
    kind = tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    try:
        if kind == "int":
            digits = text.replace("_", "")
            octal = re.fullmatch(r"[-+]?0[0-7]+", digits)
            return int(digits, 8) if octal else int(digits, 0)
        if kind == "float":
            return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text  # e.g. 1:30, which YAML 1.1 takes for a number of base sixty
    return text
