"""The recorded requests and answers of real servers, as values."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CAPTURES = Path(__file__).parent / "captures"

SERVER_OF = {"loki": "loki", "mimir-like-cortex": "mimir", "tempo-otlp-http": "otlp_http", "tempo": "tempo"}
"""File of recorded cases to the endpoint that it is about. What the third pushes, the fourth reads."""

# Two answers of the OTLP receiver were recorded as text in an encoding that somebody guessed: their bytes were these.
_BYTES = {
    "\n": b"\x0a\x00",
    "ࠃሎ畮數灥捴敤⁅但": b"\x08\x03\x12\x0eunexpected EOF",
}
_REPEATED = re.compile(r"x+…\[(\d+) times x\]")


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: ``body`` is text where it was recorded as text or JSON, else bytes."""

    method: str
    path: str
    headers: dict[str, str]
    body: str | bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Case:
    """One recorded request with its answer."""

    file: str
    name: str
    request: Request
    answer: Answer


def load(file: str) -> tuple[Case, ...]:
    """The cases of a file, in their order."""
    content = json.loads((CAPTURES / f"{file}.json").read_text(encoding="utf-8"))
    return tuple(_case(file, one) for one in content["cases"])


def load_objects() -> dict[str, list[dict[str, Any]]]:
    """Bucket to what was listed in it, with the content of every meta.json."""
    listed: dict[str, list[dict[str, Any]]] = json.loads((CAPTURES / "s3-layout.json").read_text(encoding="utf-8"))
    return listed


def _case(file: str, raw: dict[str, Any]) -> Case:
    asked, got = raw["request"], raw["response"]
    if "json" in asked:
        body: str | bytes = json.dumps(_whole(asked["json"]), ensure_ascii=False)
    elif "body_base64" in asked:
        body = base64.b64decode(asked["body_base64"])
    else:
        body = asked.get("body", "")
    headers = {name.lower(): value for name, value in got["headers"].items()}
    text = got["body"]
    answer = text.encode()
    if file == "tempo-otlp-http" and headers["content-type"] == "application/x-protobuf":
        answer = _BYTES.get(text, answer)
    return Case(
        file,
        raw["case"],
        Request(asked["method"], asked["path"], dict(asked["headers"]), body),
        Answer(got["status"], headers, answer),
    )


def _whole(value: Any) -> Any:
    """JSON in which a text that was shortened for the record is whole again."""
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    match = _REPEATED.fullmatch(value) if isinstance(value, str) else None
    return "x" * int(match[1]) if match else value
