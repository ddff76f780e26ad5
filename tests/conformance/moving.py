"""Recorded requests and answers, moved to another time and given names of their own.

Servers refuse data that is too old, and keep what earlier sessions sent. So all times move by one offset (whole
minutes, such that steps of queries fall as they did), and the run, the metric, the traced service and the traces get
fresh names: in text, in addresses, and inside of protobuf messages.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from captured import RECORDED_S, Answer, Case, Request
from messages import MESSAGES, PROTOBUF, Fields, layout_of, packed, rewritten, unpacked

_TRACES = ("000102030405060708090a0b0c0d0e0f", "5b8efff798038103d269b633813fc60c")
# Seconds, milliseconds or nanoseconds of the weeks around the recording; only the seconds change.
_NUMBER = re.compile(r"(?<![\w.])(179\d{7})(?=(?:\d{3}|\d{9})?(?!\w))")
TIME_IN_WORDS = re.compile(r"(20\d\d-\d\d-\d\d)([T ])(\d\d:\d\d:\d\d)")


@dataclass(slots=True)
class Mover:
    """Moves by ``offset_s`` and renames.

    Attributes:
        offset_s: whole minutes.
        names: file to old and new names.
        trace_ids: old to new, 16 bytes each.
        run: the new name of the run.
        recorded_s: when the file was recorded.
    """

    offset_s: int
    run: str
    trace_ids: dict[bytes, bytes]
    recorded_s: int = RECORDED_S
    names: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def to_now(cls, now_s: float, recorded_s: int = RECORDED_S) -> Mover:
        """The newest time of the recording lies within the last minute."""
        run = "conf" + secrets.token_hex(4)
        # The first stays one with leading zeros: searches drop them.
        fresh = [_TRACES[0][:6] + secrets.token_hex(13), secrets.token_hex(16)]
        ids = {bytes.fromhex(old): bytes.fromhex(new) for old, new in zip(_TRACES, fresh, strict=True)}
        traced: list[tuple[str, str]] = [("cap1", run), ("checkout", f"checkout-{run}")]
        for old, new in ids.items():
            traced.append((old.hex(), new.hex()))
            traced.append((base64.b64encode(old).decode(), base64.b64encode(new).decode()))
            traced.append((old.hex().lstrip("0"), new.hex().lstrip("0")))
        # As long as what they replace: Mimir cuts series short in its texts, and tells sizes.
        # Sorted where the recorded ones are: before "loki" and "target_info", which answers list beside them.
        short = secrets.choice("abdefgh") + secrets.token_hex(1)
        mimir = [(f"cap{end}", f"{short}{end}") for end in "1_."]
        names = {
            "mimir": mimir,
            "mimir-2.16": mimir,
            "loki-otlp": [("checkout", f"ch{secrets.token_hex(3)}")],
            "tempo-extra": [],
            "loki": [("cap1", run)],
            "mimir-like-cortex": [("cap1", run), ("cap_requests_total", f"cap_{run}_requests_total")],
            "tempo": traced,
            "tempo-otlp-http": traced,
        }
        return cls(int(now_s - recorded_s) // 60 * 60, run, ids, recorded_s, names)

    def case(self, case: Case) -> Case:
        """The same case, moved."""
        asked = case.request
        body = self._message(case.file, asked) if isinstance(asked.body, bytes) else self.text(case.file, asked.body)
        request = Request(asked.method, self.text(case.file, asked.path), asked.headers, body)
        got = case.answer
        if got.headers.get("content-type") in PROTOBUF:
            return replace(case, request=request, answer=self._status(case.file, got))
        moved = self.text(case.file, got.body.decode()).encode()
        return replace(case, request=request, answer=Answer(got.status, got.headers, moved))

    def text(self, file: str, text: str) -> str:
        """Text, addresses and JSON, moved and renamed."""
        for old, new in self.names[file]:
            text = text.replace(old, new)
        text = _NUMBER.sub(lambda match: str(self._second(int(match[1]))), text)
        return TIME_IN_WORDS.sub(self._words, text)

    def _words(self, match: re.Match[str]) -> str:
        second = seconds_of(match)
        if abs(second - self.recorded_s) > 90 * 86_400:
            return match[0]
        moment = datetime.fromtimestamp(self._second(second), UTC)
        return f"{moment:%Y-%m-%d}{match[2]}{moment:%H:%M:%S}"

    def _second(self, second: int) -> int:
        return second + self.offset_s

    def _status(self, file: str, got: Answer) -> Answer:
        """An answer of a protobuf message, whose words name times and names too."""
        words: Fields = {2: lambda value: self.text(file, value.decode("utf-8", "surrogateescape")).encode()}
        try:
            return replace(got, body=rewritten(got.body, {1: words, **words}))
        except (ValueError, IndexError):
            return got

    def _message(self, file: str, request: Request) -> bytes:
        body = request.body
        assert isinstance(body, bytes)
        layout = layout_of(file, request)
        if layout is None:
            return body
        if request.headers.get("Content-Type") == "application/json":
            return packed(request, self.text(file, unpacked(request).decode()).encode())
        # Where texts keep their names, ids do.
        renamed_id = self._trace_id if self.names[file] else bytes
        try:
            plain = rewritten(unpacked(request), MESSAGES[layout](self._shift, self._named(file), renamed_id))
        except (ValueError, IndexError):
            return body  # broken on purpose
        return packed(request, plain)

    def _named(self, file: str) -> Callable[[bytes], bytes]:
        def named(value: bytes) -> bytes:
            for old, new in self.names[file]:
                value = value.replace(old.encode(), new.encode())
            return value

        return named

    def _shift(self, per_second: int) -> Callable[[int], int]:
        # A time that is missing stays so.
        return lambda value: value + self.offset_s * per_second if value > 10**9 * per_second else value

    def _trace_id(self, value: bytes) -> bytes:
        return self.trace_ids.get(value, value)


def seconds_of(match: re.Match[str]) -> int:
    """What `TIME_IN_WORDS` found, in seconds since 1970."""
    return int(datetime.fromisoformat(f"{match[1]}T{match[3]}+00:00").timestamp())
