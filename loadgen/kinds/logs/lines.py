"""What log lines look like: three formats, each with its messages, as pieces with holes for what changes.

The constant text of a line follows from the user and the line's position in the batch; the holes (sequence number,
trace id, customer, duration, …) change with every batch and are equally wide in all lines of a format.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from loadgen.kinds.text import SEQ_DIGITS
from loadgen.wire.template import Hole, Piece

SERVICES = ("gateway", "cart", "checkout", "payment", "database")


class LineFormat(IntEnum):
    """How a user writes its lines: its number modulo three."""

    LOGFMT = 0
    JSON = 1
    ACCESS = 2


@dataclass(frozen=True, slots=True)
class LineRef:
    """Which line it is: line ``seq`` of ``user`` in ``run``."""

    run: str
    user: int
    seq: int


@dataclass(frozen=True, slots=True)
class _Message:
    level: str
    text: str
    method: str
    route: str
    status: int


_INFO = (
    _Message("info", "order placed", "POST", "/api/orders", 201),
    _Message("info", "cart updated", "PUT", "/api/cart/items", 200),
    _Message("info", "cart loaded", "GET", "/api/cart", 200),
    _Message("info", "product page rendered", "GET", "/products/espresso-machine", 200),
    _Message("info", "search served from index", "GET", "/api/search", 200),
    _Message("info", "payment authorised", "POST", "/api/payments", 201),
    _Message("info", "session renewed", "POST", "/api/session", 204),
    _Message("info", "stock reserved", "POST", "/api/stock/reservations", 201),
    _Message("info", "recommendations from cache", "GET", "/api/recommendations", 304),
    _Message("info", "health probe answered", "GET", "/healthz", 200),
)
_WARN = (
    _Message("warn", "slow query, retrying once", "GET", "/api/orders/history", 200),
    _Message("warn", "coupon has expired", "POST", "/api/coupons", 422),
    _Message("warn", "stock is running low", "GET", "/api/stock", 200),
)
_ERROR = (
    _Message("error", "payment provider timed out", "POST", "/api/payments", 504),
    _Message("error", "connection to database lost", "GET", "/api/orders", 500),
)
_CLIENTS = ("10.42.0.17", "10.42.1.203", "192.168.7.24", "203.0.113.9", "198.51.100.77", "10.42.3.5")

SEQ = Hole("seq", SEQ_DIGITS)
TRACE = Hole("trace", 32)
CUSTOMER = Hole("customer", 6)
MILLIS = Hole("millis", 5)
CLOCK = Hole("clock", 20)
SIZE = Hole("size", 4)
SECONDS = Hole("seconds", 5)


_MESSAGES = (*_INFO, *_WARN, *_ERROR)


@dataclass(frozen=True, slots=True)
class LineChoice:
    """What the constant text of a line is made from: a message and, in access logs, a client."""

    message: int
    client: int


def choose_line(line_format: LineFormat, word: int) -> LineChoice:
    """The choice that a hash makes: 88 % info, 8 % warn, 4 % error."""
    share, choice = word % 100, word >> 32
    messages = _INFO if share < 88 else _WARN if share < 96 else _ERROR
    message = _MESSAGES.index(messages[choice % len(messages)])
    return LineChoice(message, (word >> 40) % len(_CLIENTS) if line_format is LineFormat.ACCESS else 0)


def line_pieces(line_format: LineFormat, run: str, pod: str, choice: LineChoice) -> tuple[Piece, ...]:
    """One line of ``pod`` in ``run``."""
    message = _MESSAGES[choice.message]
    if line_format is LineFormat.LOGFMT:
        return (
            f'level={message.level} msg="{message.text}" route={message.route} customer='.encode(),
            CUSTOMER,
            b" duration=",
            MILLIS,
            f"ms run={run} pod={pod} seq=".encode(),
            SEQ,
            b" trace_id=",
            TRACE,
        )
    if line_format is LineFormat.JSON:
        return (
            f'{{"level":"{message.level}","msg":"{message.text}","run":"{run}","pod":"{pod}","seq":"'.encode(),
            SEQ,
            b'","trace_id":"',
            TRACE,
            b'","customer":',
            CUSTOMER,
            b',"duration_ms":',
            MILLIS,
            b"}",
        )
    return (
        f"{_CLIENTS[choice.client]} - - [".encode(),
        CLOCK,
        f' +0000] "{message.method} {message.route} HTTP/1.1" {message.status} '.encode(),
        SIZE,
        b" ",
        SECONDS,
        f" run={run} pod={pod} seq=".encode(),
        SEQ,
        b" trace_id=",
        TRACE,
    )


SEQ_PATTERN = r'seq"?[=:]"?(?P<seq>[0-9]{10})'
"""Finds the sequence number in a line of any format; means the same in Python and in LogQL."""

_TEXT_REF = re.compile(r"(?:^| )run=([A-Za-z0-9._-]+) pod=[a-z]+-([0-9]{5,}) seq=([0-9]{10})(?: |$)")
_JSON_REF = re.compile(r'"run":"([A-Za-z0-9._-]+)","pod":"[a-z]+-([0-9]{5,})","seq":"([0-9]{10})"')


def find_line(line: str) -> LineRef | None:
    """Which line this is, by its text alone; None if it does not say so."""
    match = (_JSON_REF if line.startswith("{") else _TEXT_REF).search(line)
    if match is None:
        return None
    return LineRef(match[1], int(match[2]), int(match[3]))
