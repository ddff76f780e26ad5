"""The recorded requests and answers of real servers, as values."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

CAPTURES = Path(__file__).parent / "captures"

SERVER_OF = {
    "loki": "loki",
    "mimir-like-cortex": "mimir",
    "tempo-otlp-http": "otlp_http",
    "tempo": "tempo",
    "mimir": "mimir",
    "mimir-2.16": "mimir",
    "loki-otlp": "loki",
    "tempo-extra": "tempo",
}
"""File of recorded cases to the endpoint that it is about. What the third pushes, the fourth reads."""

PACKED = ("mimir", "mimir-2.16", "loki-otlp", "tempo-extra")
"""The files of the second recording: compressed, each with its own time, and with cases that need a server set up."""

_PORTS = {"api": "tempo", "otlp_http": "otlp_http"}

RECORDED_S = 1_795_414_024
"""When the files were recorded that do not say so themselves."""

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
    """One recorded request with its answer.

    Attributes:
        file, name: which one.
        request, answer: what was sent and what came back.
        endpoint: who was asked.
        setup: how the server was set up if not as usual, as JSON text; empty as usual.
        apart: why it cannot be asked of a server that has been running for a while; empty if it can.
    """

    file: str
    name: str
    request: Request
    answer: Answer
    endpoint: str
    setup: str = ""
    apart: str = ""


@cache
def content(file: str) -> dict[str, Any]:
    """What a file holds."""
    path = CAPTURES / (f"{file}.json.gz" if file in PACKED or file == "s3-layout-mimir" else f"{file}.json")
    raw = path.read_bytes()
    found: dict[str, Any] = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    return found


@cache
def load(file: str) -> tuple[Case, ...]:
    """The cases of a file, in their order."""
    return tuple(_case(file, one) for one in content(file)["cases"])


def recorded_s(file: str) -> int:
    """When a file was recorded, in seconds since 1970."""
    return int(content(file).get("recorded_s", RECORDED_S))


def load_objects() -> dict[str, list[dict[str, Any]]]:
    """Bucket to what was listed in it, with the content of every meta.json."""
    listed: dict[str, list[dict[str, Any]]] = content("s3-layout")
    return listed


def load_mimir_objects() -> dict[str, dict[str, Any]]:
    """What genuine Mimir has in its bucket, by its version: ``3`` and ``2.16``."""
    found = {key.split()[1]: value for key, value in content("s3-layout-mimir").items() if key.startswith("Mimir ")}
    return {"3": found["3.0.3"], "2.16": found["2.16"]}


def _case(file: str, raw: dict[str, Any]) -> Case:
    asked, got = raw["request"], raw["response"]
    if "json" in asked:
        body: str | bytes = json.dumps(_whole(asked["json"]), ensure_ascii=False)
    elif "body_base64" in asked:
        body = b"" if _is_cut(raw) else base64.b64decode(asked["body_base64"])
    else:
        body = asked.get("body", "")
    headers = {name.lower(): value for name, value in got.get("headers", {}).items()}
    text = got.get("body", "")
    answer = base64.b64decode(got["body_base64"]) if "body_base64" in got else text.encode()
    if file == "tempo-otlp-http" and headers["content-type"] == "application/x-protobuf":
        answer = _BYTES.get(text, answer)
    return Case(
        file,
        raw["case"],
        Request(asked["method"], asked["path"], dict(asked["headers"]), body),
        Answer(got.get("status", 0), headers, answer),
        _PORTS.get(asked.get("port", ""), SERVER_OF[file]),
        json.dumps(raw["setup"]) if "setup" in raw else "",
        _apart(raw),
    )


def _apart(raw: dict[str, Any]) -> str:
    """Why a case cannot be asked of any server at any time."""
    if "after_start_s" in raw:
        return "only a server that has just been started answers so"
    if "grpc_code" in raw["response"]:
        return "it is asked by gRPC, by test_grpc_ways"
    if "websocket_frames" in raw["response"] or "Sec-WebSocket-Accept" in raw["response"].get("headers", {}):
        return "it is asked by a websocket, which nothing here speaks"
    if _is_cut(raw):
        return "its body was too long to be recorded"
    return ""


def _is_cut(raw: dict[str, Any]) -> bool:
    return "…" in str(raw["request"].get("body_base64", ""))


def _whole(value: Any) -> Any:
    """JSON in which a text that was shortened for the record is whole again."""
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    match = _REPEATED.fullmatch(value) if isinstance(value, str) else None
    return "x" * int(match[1]) if match else value
