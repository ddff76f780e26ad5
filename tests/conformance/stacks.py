"""The servers that are asked: a lab of our own with embedded or real servers, or servers at given addresses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import urllib3
from captured import Answer, Request
from known import UNKNOWN

from loadgen.lab.processes import native
from loadgen.lab.processes.manager import Lab, LabError
from loadgen.lab.s3 import seaweed
from loadgen.lab.state import LabState

ENDPOINTS = ("loki", "tempo", "otlp_http", "mimir")
_PART = {"otlp_http": "tempo"}
FLUSH_AGE_S = {"embedded": 5.0, "native": 10.0}


@dataclass(frozen=True)
class Stack:
    """What is asked.

    Attributes:
        urls: endpoint to address.
        engines: endpoint to ``embedded``, the program that serves it (``cortex``), or ``unknown``.
        missing: endpoint to why nothing serves it.
        patience_s: how long an answer may take to become the recorded one.
        lab: the lab whose buckets can be listed; None if the buckets are not known.
    """

    urls: dict[str, str]
    engines: dict[str, str]
    missing: dict[str, str]
    patience_s: float
    lab: LabState | None = None
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=30.0))

    def ask(self, endpoint: str, request: Request) -> Answer:
        """Sends a request once."""
        body = request.body.encode() if isinstance(request.body, str) else request.body
        headers = {"Accept-Encoding": "gzip", **request.headers}
        sent = body if body or request.method == "POST" else None
        try:
            got = self.http.request(request.method, self.urls[endpoint] + request.path, body=sent, headers=headers)
        except urllib3.exceptions.ProtocolError:
            return Answer(0, {}, b"")  # closed without an answer
        return Answer(got.status, {name.lower(): value for name, value in got.headers.items()}, got.data)

    @cached_property
    def mimir_file(self) -> str:
        """Which recording the server in Mimir's place is to be held against."""
        info = self.ask("mimir", Request("GET", "/prometheus/api/v1/status/buildinfo", {}, ""))
        if b'"Grafana Mimir"' not in info.body:
            return "mimir-like-cortex"
        # Its version may be unset; the engine of Mimir 3 cannot do this.
        stats = self.ask("mimir", Request("GET", "/prometheus/api/v1/query?query=1&stats=all", {}, ""))
        return "mimir" if stats.status == 400 else "mimir-2.16"

    def bucket(self, part: str) -> Bucket:
        """The bucket of a component of the lab."""
        assert self.lab is not None
        client = seaweed.client(self.lab.url("s3"), self.lab.credential(seaweed.READER))
        return Bucket(client, dict(self.lab.buckets)[part])


@dataclass(frozen=True)
class Bucket:
    """What lies in one bucket."""

    client: Any
    name: str

    def list(self) -> list[str]:
        """All keys in it, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [row["Key"] for page in pages for row in page.get("Contents", ())]

    def get(self, key: str) -> bytes:
        """One object."""
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content


@contextmanager
def opened(option: str, directory: Path) -> Iterator[Stack]:
    """The stack that ``--stack`` names; a lab is stopped and removed afterwards. ValueError for another word."""
    if "=" in option:
        yield _addressed(option)
        return
    if option not in FLUSH_AGE_S:
        raise ValueError(f"--stack {option}: it is embedded, native, or addresses such as loki=http://localhost:3100")
    engines = dict.fromkeys(ENDPOINTS, "embedded")
    missing: dict[str, str] = {}
    if option == "native":
        for endpoint in ENDPOINTS:
            part = _PART.get(endpoint, endpoint)
            program = native.find_program(part)
            if program is None:
                missing[endpoint] = f"no {part} is on PATH"
                del engines[endpoint]
            else:
                engines[endpoint] = program.name
    lab = Lab.open(directory)
    wanted = {part: "native" for part in ("loki", "tempo", "mimir") if option == "native" and part not in missing}
    try:
        state = lab.up(flush_age_s=FLUSH_AGE_S[option], engines=wanted, timeout_s=120.0)
        urls = {name: state.url(name) for name in ENDPOINTS if name not in missing}
        yield Stack(urls, engines, missing, 60.0 if wanted else 5.0, state)
    finally:
        # Real servers take up to a minute to end by themselves, and nobody needs what they hold.
        for part in wanted if lab.state is not None else ():
            with suppress(LabError):
                lab.kill(part)
        lab.wipe()


def _addressed(option: str) -> Stack:
    urls = dict(one.split("=", 1) for one in option.split(",") if one)
    strange = set(urls) - set(ENDPOINTS)
    if strange:
        raise ValueError(f"--stack: {', '.join(sorted(strange))} is not one of {', '.join(ENDPOINTS)}")
    missing = {name: f"--stack gives no address of {name}" for name in ENDPOINTS if name not in urls}
    return Stack(urls, dict.fromkeys(urls, UNKNOWN), missing, 90.0)


def until(seconds: float, pause_s: float = 0.1) -> Iterator[None]:
    """Rounds of a loop that asks again until the time is over; there is always one."""
    give_up = time.monotonic() + seconds
    while True:
        yield
        if time.monotonic() > give_up:
            return
        time.sleep(pause_s)
        pause_s = min(2.0, pause_s * 1.5)
