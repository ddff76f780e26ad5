"""A parser for the part of LogQL that dashboards, clients and this project use.

Anything else raises `LogQLError`, which names what is not understood and where, as far as known in the words of Loki's
own parser ("parse error at line 1, col 6: syntax error: unexpected $end, expecting STRING").
"""

from __future__ import annotations

import re
from typing import NoReturn

from loadgen.lab.loki.logql_ast import (
    Binary,
    Both,
    Capture,
    Compare,
    Condition,
    Expr,
    LabelFilter,
    LineFilter,
    Literal,
    LogQLError,
    LogQuery,
    Matcher,
    Parser,
    Query,
    RangeAggregation,
    Select,
    Stage,
    VectorAggregation,
)
from loadgen.lab.loki.logql_lexer import LogqlToken, fail, parse_bytes, parse_duration, tokens_of, unquote

RANGE_OPS = frozenset({"count_over_time", "rate", "bytes_over_time", "bytes_rate", "sum_over_time"})
VECTOR_OPS = frozenset({"sum", "min", "max", "avg", "count", "topk", "bottomk"})
_UNKNOWN_FUNCTIONS = re.compile(
    "(avg|max|min|stddev|stdvar|quantile|first|last|absent)_over_time|rate_counter|stddev|stdvar|sort|sort_desc"
    "|label_replace|approx_topk"
)
_UNKNOWN_STAGES = re.compile("pattern|unpack|line_format|label_format|decolorize|distinct|variants")
_EMPTY_MATCHER = (
    "parse error : queries require at least one regexp or equality matcher that does not have an empty-compatible "
    'value. For instance, app=~".*" does not meet this requirement, but app=~".+" will'
)
# Deeper nesting than anybody writes, and far less than what would exhaust Python's stack.
_MAX_DEPTH = 50
_MAX_LENGTH = 131_072


def parse(text: str) -> Query:
    """A query; raises `LogQLError` and nothing else."""
    return _Parse(text).query()


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """A selector alone, as ``match[]`` and the index endpoints take it; ``{}`` is allowed; raises `LogQLError`."""
    if text.strip() in {"", "{}"}:
        return ()
    parse = _Parse(text)
    matchers = parse.selector()
    parse.end()
    return matchers


class _Parse:
    def __init__(self, text: str) -> None:
        self._text = text
        self._depth = 0
        if len(text) > _MAX_LENGTH:
            raise LogQLError(f"parse error : query text exceeds the limit ({len(text)} > {_MAX_LENGTH})")
        self._tokens = tokens_of(text)
        self._next = 0

    # --- tokens

    @property
    def _now(self) -> LogqlToken:
        return self._tokens[self._next]

    def _take(self) -> LogqlToken:
        token = self._now
        if token.kind != "end":
            self._next += 1
        return token

    def _accept(self, *texts: str) -> LogqlToken | None:
        return self._take() if self._now.kind in {"symbol", "identifier"} and self._now.text in texts else None

    def _expect(self, text: str) -> None:
        if self._accept(text) is None:
            self._unexpected(text)

    def _expect_kind(self, kind: str) -> LogqlToken:
        if self._now.kind != kind:
            self._unexpected(LogqlToken(kind, "", 0).name)
        return self._take()

    def _fail_at(self, at: int, what: str) -> NoReturn:
        fail(self._text, at, what)

    def _unexpected(self, expected: str = "") -> NoReturn:
        more = f", expecting {expected}" if expected else ""
        self._fail_at(self._now.at, f"syntax error: unexpected {self._now.name}{more}")

    def _unsupported(self, what: str) -> NoReturn:
        self._fail_at(self._now.at, f"{what} is not supported by the embedded Loki; run a real Loki for such queries")

    # --- queries

    def query(self) -> Query:
        result: Query = self._log_query() if self._now.text == "{" else self._expr()
        self.end()
        return result

    def end(self) -> None:
        if self._now.kind != "end":
            self._unexpected()

    def _expr(self) -> Expr:
        self._deeper()
        left = self._term()
        while (token := self._accept("+", "-")) is not None:
            left = Binary(token.text, left, self._term())
        if self._now.text in {"==", "!=", ">", "<", ">=", "<=", "and", "or", "unless"}:
            self._unsupported(f"the operator '{self._now.text}' between expressions")
        self._depth -= 1
        return left

    def _term(self) -> Expr:
        left = self._unary()
        while (token := self._accept("*", "/", "%", "^")) is not None:
            left = Binary(token.text, left, self._unary())
        return left

    def _unary(self) -> Expr:
        if (sign := self._accept("-", "+")) is not None:
            value = float(self._expect_kind("number").text)
            return Literal(-value if sign.text == "-" else value)
        if self._now.kind == "number":
            return Literal(float(self._take().text))
        if self._accept("("):
            inner = self._expr()
            self._expect(")")
            return inner
        if self._now.kind != "identifier":
            self._unexpected()
        name = self._now.text
        if name == "vector":
            return self._vector()
        if name in RANGE_OPS:
            return self._range_aggregation()
        if name in VECTOR_OPS:
            return self._vector_aggregation()
        if _UNKNOWN_FUNCTIONS.fullmatch(name):
            self._unsupported(f"{name}()")
        return self._unexpected()

    def _vector(self) -> Literal:
        self._take()
        self._expect("(")
        sign = -1.0 if self._accept("-") else 1.0
        value = sign * float(self._expect_kind("number").text)
        self._expect(")")
        return Literal(value, vector=True)

    def _range_aggregation(self) -> RangeAggregation:
        op = self._take().text
        self._expect("(")
        wrapped = 0
        while self._now.text == "(":
            self._take()
            wrapped += 1
        matchers = self.selector()
        # The window may stand before or after the pipeline.
        window = self._window() if self._now.text == "[" else None
        stages = self._stages()
        unwrap = self._unwrap(op)
        if window is None:
            if wrapped and self._accept(")"):
                wrapped -= 1
            window = self._window()
        for _ in range(wrapped):
            self._expect(")")
        offset_ns = self._offset()
        self._expect(")")
        if self._now.text in {"by", "without"}:
            self._fail_at(0, f"grouping not allowed for {op} aggregation")
        return RangeAggregation(op, LogQuery(matchers, stages), window, offset_ns, unwrap)

    def _unwrap(self, op: str) -> str:
        """The label that ``| unwrap label`` names; empty if there is none, where none is needed."""
        needed = op == "sum_over_time"
        if self._now.text != "|":
            if needed:
                self._fail_at(0, f"invalid aggregation {op} without unwrap")
            return ""
        if not needed:
            self._unsupported(f"unwrap in {op}")
        self._take()
        self._take()
        name = self._expect_kind("identifier").text
        if self._now.text in {"(", "|"}:
            self._unsupported("unwrap with a conversion or a filter after it")
        return name

    def _window(self) -> int:
        if self._now.text != "[":
            self._unexpected("RANGE")
        self._take()
        duration = self._duration()
        self._expect("]")
        if duration <= 0:
            self._fail_at(self._now.at, "range must be greater than 0")
        return duration

    def _offset(self) -> int:
        if self._accept("offset") is None:
            return 0
        sign = -1 if self._accept("-") else 1
        return sign * self._duration()

    def _duration(self) -> int:
        token = self._expect_kind("quantity")
        seconds = parse_duration(token.text)
        if seconds is None or seconds > 1e9:
            self._fail_at(token.at, f'not a valid duration string: "{token.text}"')
        return round(seconds * 1e9)

    def _vector_aggregation(self) -> VectorAggregation:
        op = self._take().text
        grouping = self._grouping()
        self._expect("(")
        parameter = 0
        if op in {"topk", "bottomk"}:
            if self._now.kind != "number":
                self._fail_at(self._now.at, f"parameter required for operation {op}")
            token = self._take()
            if not token.text.isdecimal() or int(token.text) <= 0 or len(token.text) > 9:
                self._fail_at(token.at, f"invalid parameter {op}({token.text},")
            parameter = int(token.text)
            self._expect(",")
        inner = self._expr()
        self._expect(")")
        names, without = grouping or self._grouping() or ((), False)
        return VectorAggregation(op, inner, parameter, names, without)

    def _grouping(self) -> tuple[tuple[str, ...], bool] | None:
        token = self._accept("by", "without")
        if token is None:
            return None
        self._expect("(")
        names = []
        if self._now.text != ")":
            names.append(self._expect_kind("identifier").text)
            while self._accept(","):
                names.append(self._expect_kind("identifier").text)
        self._expect(")")
        return tuple(names), token.text == "without"

    # --- log queries

    def _log_query(self) -> LogQuery:
        return LogQuery(self.selector(), self._stages())

    def selector(self) -> tuple[Matcher, ...]:
        """``{name op "value", …}`` with at least one condition that does not match the empty value."""
        self._expect("{")
        matchers: list[Matcher] = []
        while self._now.text != "}":
            if matchers and self._accept(",") is None:
                self._unexpected("} or ,")
            if self._now.text == "}" and matchers:
                break
            if self._now.kind != "identifier":
                self._unexpected("IDENTIFIER or }" if not matchers else "IDENTIFIER")
            matchers.append(self._matcher())
        self._take()
        if all(m.matches("") for m in matchers):
            raise LogQLError(_EMPTY_MATCHER)
        return tuple(matchers)

    def _matcher(self) -> Matcher:
        name = self._take().text
        op = self._accept("=", "!=", "=~", "!~")
        if op is None:
            self._unexpected("!= or =~ or !~ or =")
        token = self._expect_kind("string")
        value = self._unquote(token)
        return Matcher(name, op.text, value, self._regex(value, token) if "~" in op.text else None)

    def _stages(self) -> tuple[Stage, ...]:
        stages: list[Stage] = []
        while not self._at_unwrap and (token := self._accept("|=", "|~", "!=", "!~", "|", "|>", "!>")) is not None:
            if token.text in {"|>", "!>"}:
                self._unsupported(f"the pattern filter '{token.text}'")
            stages.append(self._stage() if token.text == "|" else self._line_filter(token.text))
        return tuple(stages)

    @property
    def _at_unwrap(self) -> bool:
        following = self._tokens[min(self._next + 1, len(self._tokens) - 1)]
        return self._now.text == "|" and following.text == "unwrap"

    def _line_filter(self, op: str) -> LineFilter:
        needles: list[bytes] = []
        patterns: list[re.Pattern[bytes]] = []
        while True:
            if self._now.text == "ip":
                self._unsupported("ip()")
            token = self._expect_kind("string")
            value = self._unquote(token)
            needles.append(value.encode("utf-8", "surrogatepass"))
            if "~" in op:
                pattern = self._regex(value, token)
                patterns.append(_of_bytes(pattern))
            if self._accept("or") is None:
                return LineFilter(op, tuple(needles), tuple(patterns))

    def _stage(self) -> Stage:
        name = self._now.text
        following = self._tokens[min(self._next + 1, len(self._tokens) - 1)]
        is_condition = following.text in {"=", "!=", "=~", "!~", "==", ">", "<", ">=", "<="}
        if name in {"logfmt", "json"} and not is_condition:
            self._take()
            if self._now.text == "--" or self._now.kind == "identifier":
                self._unsupported(f"{name} with parameters")
            return Parser(name)
        if name in {"drop", "keep"} and not is_condition:
            self._take()
            names = {self._expect_kind("identifier").text}
            while self._accept(","):
                names.add(self._expect_kind("identifier").text)
            if self._now.text in {"=", "!=", "=~", "!~"}:
                self._unsupported(f"{name} with a matcher")
            return Select(name == "keep", frozenset(names))
        if name == "regexp" and not is_condition:
            self._take()
            token = self._expect_kind("string")
            pattern = _of_bytes(self._regex(self._unquote(token), token))
            if not pattern.groupindex:
                self._fail_at(token.at, "at least one named capture must be supplied")
            return Capture(pattern)
        if _UNKNOWN_STAGES.fullmatch(name) and not is_condition:
            self._unsupported(f"the stage '{name}'")
        return LabelFilter(self._condition())

    def _condition(self) -> Condition:
        self._deeper()
        left = self._conjunction()
        while self._accept("or"):
            left = Both("or", left, self._conjunction())
        self._depth -= 1
        return left

    def _conjunction(self) -> Condition:
        left = self._compare()
        # A comma and mere juxtaposition mean "and" too.
        while self._accept("and", ",") or (self._now.kind == "identifier" and self._now.text not in {"or", "offset"}):
            left = Both("and", left, self._compare())
        return left

    def _compare(self) -> Condition:
        if self._accept("("):
            inner = self._condition()
            self._expect(")")
            return inner
        name = self._expect_kind("identifier").text
        op = self._accept("=", "!=", "=~", "!~", "==", ">", "<", ">=", "<=")
        if op is None:
            self._unexpected("= or != or =~ or !~ or == or > or < or >= or <=")
        token = self._take()
        if token.kind == "string" and op.text in {"=", "!=", "=~", "!~", "=="}:
            value = self._unquote(token)
            pattern = self._regex(value, token) if "~" in op.text else None
            return Compare(name, op.text, "string", text=value, pattern=pattern)
        if token.kind == "number" and "~" not in op.text:
            return Compare(name, op.text, "number", number=float(token.text))
        if token.kind == "quantity" and "~" not in op.text:
            if (seconds := parse_duration(token.text)) is not None:
                return Compare(name, op.text, "duration", number=seconds)
            if (size := parse_bytes(token.text)) is not None:
                return Compare(name, op.text, "bytes", number=size)
        self._next -= token.kind != "end"
        return self._unexpected("STRING" if op.text in {"=~", "!~"} else "BYTES or STRING or DURATION or NUMBER")

    # --- helpers

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._fail_at(self._now.at, f"syntax error: nested deeper than {_MAX_DEPTH}")

    def _unquote(self, token: LogqlToken) -> str:
        value = unquote(token)
        if value is None:
            self._fail_at(token.at, "invalid char escape")
        return value

    def _regex(self, text: str, token: LogqlToken) -> re.Pattern[str]:
        # Go's flag "U" and \z have no like here; \Q…\E neither. Such expressions are refused, not misread.
        if "\\Q" in text or "\\pL" in text:
            self._fail_at(token.at, f"the regular expression {text!r} is not supported by the embedded Loki")
        try:
            return re.compile(text.replace("\\z", "\\Z"), re.DOTALL if text.startswith("(?s)") else 0)
        except (re.error, OverflowError, RecursionError, ValueError) as error:
            raise LogQLError(f"parse error : error parsing regexp: {error}: `{text}`") from error


def _of_bytes(pattern: re.Pattern[str]) -> re.Pattern[bytes]:
    return re.compile(pattern.pattern.encode(), pattern.flags & (re.I | re.S | re.M))
