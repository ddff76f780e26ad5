"""TraceQL: from text to a tree of frozen nodes, with the errors and the precedence of Tempo's own parser.

Covered: spanset filters ``{ … }`` with ``&& || !``, parentheses and comparisons over attributes, intrinsics and
literals; ``&& || > >> < << ~`` between spansets; the pipeline stages ``{ … }``, ``count() avg() min() max() sum()``
with a comparison, ``select(…)``, and ``rate() | count_over_time()`` with ``by(…)`` for metrics. As in Tempo's grammar,
``&&`` and ``||`` bind equally and group to the left. Everything else raises `TraceQLError`, whose text begins as
Tempo's does (``parse error at line 1, col 3: …``).
"""

from __future__ import annotations

import re

from loadgen.lab.tempo.lexer import TraceQLError, TraceqlToken, syntax_error, tokens_of
from loadgen.lab.tempo.nodes import (
    AGGREGATES,
    COMPARISONS,
    INTRINSIC_TYPES,
    LOGICAL,
    METRICS,
    SPANSET_OPERATORS,
    Aggregate,
    Attribute,
    FieldExpression,
    Metric,
    Not,
    Query,
    SpanBinary,
    SpanSelect,
    Spanset,
    SpansetFilter,
    SpansetOperation,
    Stage,
    Static,
    StaticValue,
)  # fmt: skip

MAX_QUERY_CHARS = 16_384
MAX_OPERATORS = 300
MAX_DEPTH = 60
_NUMERIC = frozenset(("int", "float", "duration"))


def parse(text: str) -> Query:
    """The tree of ``text``; raises `TraceQLError` and nothing else."""
    if len(text) > MAX_QUERY_CHARS:
        raise TraceQLError(f"parse error: the query has {len(text)} characters, more than {MAX_QUERY_CHARS}")
    return _Parser(tokens_of(text)).query()


class _Parser:
    """Recursive descent with one token of look-ahead."""

    def __init__(self, tokens: list[TraceqlToken]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._operators = 0

    def query(self) -> Query:
        spanset = self._spanset()
        stages: list[Stage] = []
        while self._take("|"):
            if stages and isinstance(stages[-1], Metric):
                raise self._unexpected()
            stages.append(self._stage())
        hints = self._hints() if self._peek().text == "with" else ()
        if self._peek().type != "end":
            raise self._unexpected()
        return Query(spanset, tuple(stages), hints)

    def _peek(self) -> TraceqlToken:
        return self._tokens[self._at]

    def _next(self) -> TraceqlToken:
        token = self._tokens[self._at]
        if token.type != "end":
            self._at += 1
        return token

    def _take(self, symbol: str) -> bool:
        if self._peek().type == "symbol" and self._peek().text == symbol:
            self._at += 1
            return True
        return False

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            raise self._unexpected(f", expecting {symbol}")

    def _unexpected(self, expecting: str = "") -> TraceQLError:
        token = self._peek()
        name = token.text
        if token.type == "end":
            name = "$end"
        elif token.type == "word":
            name = "IDENTIFIER"
        elif token.type == "static" and token.node is not None and isinstance(token.node, Static):
            name = token.node.type.upper()
        return syntax_error(f"syntax error: unexpected {name}{expecting}", token.where)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise syntax_error(f"nested deeper than {MAX_DEPTH} levels", self._peek().where)

    def _count_operator(self) -> None:
        self._operators += 1
        if self._operators > MAX_OPERATORS:
            raise syntax_error(f"more than {MAX_OPERATORS} operators", self._peek().where)

    def _spanset(self) -> Spanset:
        left = self._spanset_structure()
        while self._peek().type == "symbol" and self._peek().text in LOGICAL:
            op = self._next().text
            self._count_operator()
            left = SpansetOperation(op, left, self._spanset_structure())
        return left

    def _spanset_structure(self) -> Spanset:
        left = self._spanset_operand()
        while self._peek().type == "symbol" and self._peek().text in SPANSET_OPERATORS[2:]:
            op = self._next().text
            self._count_operator()
            left = SpansetOperation(op, left, self._spanset_operand())
        return left

    def _spanset_operand(self) -> Spanset:
        if self._take("("):
            self._deeper()
            inner = self._spanset()
            self._expect(")")
            self._depth -= 1
            return inner
        self._expect_open()
        if self._take("}"):
            return SpansetFilter(None)
        expression = self._field()
        self._expect("}")
        _check_boolean(expression)
        return SpansetFilter(expression)

    def _expect_open(self) -> None:
        if not self._take("{"):
            raise self._unexpected()

    def _field(self) -> FieldExpression:
        left = self._comparison()
        while self._peek().type == "symbol" and self._peek().text in LOGICAL:
            op = self._next().text
            self._count_operator()
            left = _checked(SpanBinary(op, left, self._comparison()))
        return left

    def _comparison(self) -> FieldExpression:
        left = self._operand()
        while self._peek().type == "symbol" and self._peek().text in COMPARISONS:
            op = self._next().text
            self._count_operator()
            left = _checked(SpanBinary(op, left, self._operand()))
        return left

    def _operand(self) -> FieldExpression:
        token = self._peek()
        if token.node is not None:
            self._at += 1
            return token.node
        self._deeper()
        try:
            if self._take("("):
                inner = self._field()
                self._expect(")")
                return inner
            if self._take("!"):
                operand = self._operand()
                _check_boolean(operand)
                return Not(operand)
            if self._take("-"):
                return self._negative()
        finally:
            self._depth -= 1
        raise self._unexpected()

    def _negative(self) -> Static:
        token = self._peek()
        node = token.node
        if isinstance(node, Static) and isinstance(node.value, int | float) and node.type in _NUMERIC:
            self._at += 1
            return Static(node.type, -node.value, f"-{node.text}")
        raise self._unexpected()

    def _stage(self) -> Stage:
        token = self._peek()
        if token.type != "word":
            return self._spanset()
        if token.text in AGGREGATES:
            return self._aggregate()
        if token.text in METRICS:
            self._next()
            self._expect("(")
            self._expect(")")
            return Metric(token.text, self._attributes() if self._take_word("by") else ())
        if self._take_word("select"):
            return SpanSelect(self._attributes())
        raise syntax_error(f"syntax error: unexpected {token.text}, which is not known here", token.where)

    def _take_word(self, word: str) -> bool:
        if self._peek().type == "word" and self._peek().text == word:
            self._at += 1
            return True
        return False

    def _attributes(self) -> tuple[Attribute, ...]:
        self._expect("(")
        attributes: list[Attribute] = []
        while True:
            token = self._peek()
            if not isinstance(token.node, Attribute):
                raise self._unexpected()
            attributes.append(token.node)
            self._next()
            if not self._take(","):
                self._expect(")")
                return tuple(attributes)

    def _aggregate(self) -> Aggregate:
        function = self._next().text
        self._expect("(")
        field = None if function == "count" else self._field()
        self._expect(")")
        if field is not None and _type_of(field) not in (*_NUMERIC, ""):
            raise TraceQLError(f"parse error: {function}({field.text}) needs a number")
        token = self._peek()
        if token.type != "symbol" or token.text not in COMPARISONS or token.text in ("=~", "!~"):
            raise self._unexpected()
        op = self._next().text
        value = self._operand()
        if not isinstance(value, Static) or value.type not in _NUMERIC:
            raise TraceQLError(f"parse error: {function}() can be compared with a number or a duration only")
        return Aggregate(function, field, op, value)

    def _hints(self) -> tuple[tuple[str, StaticValue], ...]:
        self._next()
        self._expect("(")
        hints: list[tuple[str, StaticValue]] = []
        while True:
            name = self._next()
            if name.type != "word":
                raise self._unexpected()
            self._expect("=")
            value = self._operand()
            if not isinstance(value, Static):
                raise self._unexpected()
            hints.append((name.text, value.value))
            if not self._take(","):
                self._expect(")")
                return tuple(hints)


def _type_of(expression: FieldExpression) -> str:
    """Type name, or "" when only the data can tell."""
    if isinstance(expression, Static):
        return expression.type
    if isinstance(expression, Attribute):
        return INTRINSIC_TYPES[expression.name] if expression.scope == "intrinsic" else ""
    return "bool"


def _check_boolean(expression: FieldExpression) -> None:
    if _type_of(expression) not in ("bool", ""):
        raise TraceQLError(f"span filter field expressions must resolve to a boolean: {expression.text}")


def _checked(node: SpanBinary) -> SpanBinary:
    left, right = _type_of(node.left), _type_of(node.right)
    if node.op in LOGICAL:
        _check_boolean(node.left)
        _check_boolean(node.right)
    elif "nil" in (left, right):
        if node.op not in ("=", "!="):
            raise TraceQLError(f"illegal operation for the given type: {node.text}")
    elif left and right and left != right and not {left, right} <= _NUMERIC:
        raise TraceQLError(f"binary operations must operate on the same type: {node.text}")
    elif node.op in ("=~", "!~"):
        _check_regex(node)
    elif node.op in ("<", "<=", ">", ">=") and {"bool", "status", "kind"} & {left, right}:
        raise TraceQLError(f"illegal operation for the given types: {node.text}")
    return node


def _check_regex(node: SpanBinary) -> None:
    if not isinstance(node.right, Static) or not isinstance(node.right.value, str):
        raise TraceQLError(f"illegal operation for the given types: {node.text}")
    try:
        re.compile(node.right.value)
    except (re.error, RecursionError, OverflowError) as error:
        raise TraceQLError(f"invalid regex {node.right.text}: {error}") from None
