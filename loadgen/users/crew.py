"""The workers of a master: who they are, what time they have, when they were heard last, and what they hand on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent
import pyarrow as pa
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadgen import __version__
from loadgen.clock import Clock
from loadgen.history.directory import RunDirError
from loadgen.history.recorder import MAX_ROWS, MAX_ROWS_BYTES, Sink, rows_of, to_ipc
from loadgen.model import NS, WorkerGap
from loadgen.skew import AGREE_NS
from loadgen.units import duration_text

log = logging.getLogger("loadgen")

_LOOKS = 3
_APART_S = 0.1
COMPARE_WITHIN_S = 5.0
# Better than this two machines' clocks cannot be told apart in a busy process, and need not be.
_SAME_NS = NS // 10
_MAX_TEXT = 500
_MAX_NOTES = 20


@dataclass(slots=True)
class _Member:
    number: int
    heard_ns: int
    behind_ns: int | None = None
    gap: WorkerGap | None = None
    reported: bool = False


class Crew:
    """What a master knows of its workers.

    Args:
        runner: Locust's master.
        clock: epoch nanoseconds; workers put theirs right by it.
        note: takes what a reader of the report should know.
    """

    def __init__(self, environment: Environment, clock: Clock, note: Callable[[str], None]) -> None:
        self._runner: MasterRunner = environment.runner
        self._clock, self._note = clock, note
        self._members: dict[str, _Member] = {}
        self._sink: Sink | None = None
        self._told: set[str] = set()
        self._refused = 0
        self._ending = False
        self.gaps: list[WorkerGap] = []
        self.problem = ""
        environment.events.worker_connect.add_listener(self._on_connect)
        environment.events.heartbeat_sent.add_listener(self._on_heartbeat)
        for name, listener in (
            ("loadgen_rows", self._on_rows),
            ("loadgen_hello", self._on_hello),
            ("loadgen_clock", self._on_clock),
            ("loadgen_finished", self._on_finished),
            ("loadgen_problem", self._on_problem),
        ):
            self._runner.register_message(name, listener)

    # -- of a test

    def begin(self, sink: Sink) -> None:
        """Rows go to ``sink`` from now on; waits a moment for the clocks of those that are there."""
        self._sink, self._ending = sink, False
        self.gaps.clear()
        for member in self._members.values():
            member.reported, member.gap = False, None
        give_up_ns = self._clock() + round(COMPARE_WITHIN_S * NS)
        while self._clock() < give_up_ns and any(one.behind_ns is None for one in self._present()):
            gevent.sleep(0.05)
        for one in self._present():
            if one.behind_ns is None:
                self._tell(f"the clock of worker {one.number} could not be compared with this machine's")

    def look(self) -> bool:
        """See who is lost and who is back; True when that changed ``gaps``."""
        if self._ending:
            return False
        changed = False
        for name, member in self._members.items():
            client = self._runner.clients.get(name)
            away = client is None or client.state == "missing"
            if away and member.gap is None and not member.reported:
                member.gap = WorkerGap(member.number, member.heard_ns)
                self.gaps.append(member.gap)
                log.warning("worker %d was lost", member.number)
                changed = True
            elif not away and member.gap is not None:
                back = WorkerGap(member.number, member.gap.heard_ns, member.heard_ns)
                self.gaps[self.gaps.index(member.gap)] = back
                member.gap = None
                changed = True
        return changed

    @property
    def all_lost(self) -> bool:
        """Nobody is left."""
        return bool(self._members) and all(one.gap is not None for one in self._members.values())

    def finish(self, within_s: float) -> None:
        """Ask all to hand on what they have, and wait for it. Who leaves from now on is not lost."""
        self._ending = True
        self._runner.send_message("loadgen_finish")
        give_up_ns = self._clock() + round(within_s * NS)
        while self._clock() < give_up_ns and self._silent():
            gevent.sleep(0.05)
        for member in self._silent():
            ago_s = (self._clock() - member.heard_ns) / NS
            self._tell(
                f"worker {member.number} did not report at the end, and was heard last {duration_text(ago_s)} before; "
                "its last rows are missing"
            )

    def stranger(self) -> None:
        """Somebody without the token was refused."""
        self._refused += 1
        self._tell("somebody without the token of this run tried to join as a worker, and was refused")

    def _present(self) -> list[_Member]:
        return [one for one in self._members.values() if one.gap is None]

    def _silent(self) -> list[_Member]:
        away = {client.id for client in self._runner.clients.all if client.state == "missing"}
        return [
            one
            for name, one in self._members.items()
            if one.gap is None and not one.reported and name not in away and name in self._runner.clients
        ]

    def _tell(self, text: str) -> None:
        """Note a text once, and not for ever."""
        if text not in self._told and len(self._told) < _MAX_NOTES:
            self._told.add(text)
            self._note(text)

    # -- what they say

    def _on_connect(self, client_id: str, **_: Any) -> None:
        number = self._runner.get_worker_index(client_id)
        self._members.setdefault(client_id, _Member(number, self._clock())).heard_ns = self._clock()

    def _on_heartbeat(self, client_id: str, **_: Any) -> None:
        if client_id in self._members:
            self._members[client_id].heard_ns = self._clock()

    def _member(self, msg: Any) -> _Member | None:
        member = self._members.get(msg.node_id)
        if member is None:
            self._tell("messages of somebody who did not join as a worker were left out")
            return None
        member.heard_ns = self._clock()
        return member

    def _on_rows(self, msg: Any, **_: Any) -> None:
        member = self._member(msg)
        if member is None or self._sink is None:
            return
        try:
            table, rows = rows_of(msg.data)
        except ValueError as problem:
            self._tell(f"rows of worker {member.number} were refused: {problem}")
            return
        try:
            self._sink(table, rows)
        except (RunDirError, OSError) as problem:
            self.problem = f"rows of worker {member.number} could not be stored: {problem}"
            log.error("%s", self.problem)

    def _on_hello(self, msg: Any, **_: Any) -> None:
        member = self._member(msg)
        if member is None or not isinstance(msg.data, dict):
            return
        if msg.data.get("version") != __version__:
            self._tell(
                f"worker {member.number} is of another version of loadgen ({str(msg.data.get('version'))[:20]}, not "
                f"{__version__}); give all the same one"
            )
        reply = {"sent_ns": msg.data.get("sent_ns"), "now_ns": self._clock()}
        self._runner.send_message("loadgen_time", reply, client_id=msg.node_id)

    def _on_clock(self, msg: Any, **_: Any) -> None:
        member = self._member(msg)
        if member is None or not isinstance(msg.data, dict) or not isinstance(msg.data.get("behind_ns"), int):
            return
        member.behind_ns = behind_ns = msg.data["behind_ns"]
        if abs(behind_ns) > AGREE_NS:
            way = "behind" if behind_ns > 0 else "ahead of"
            self._tell(
                f"the clock of worker {member.number} is {duration_text(abs(behind_ns) / NS)} {way} this machine's; it "
                "was put right for this run, but let NTP set it"
            )

    def _on_finished(self, msg: Any, **_: Any) -> None:
        member = self._member(msg)
        if member is not None:
            member.reported = True

    def _on_problem(self, msg: Any, **_: Any) -> None:
        member = self._member(msg)
        if member is not None:
            self._tell(f"worker {member.number}: {' '.join(str(msg.data).split())[:_MAX_TEXT]}")


class Hand:
    """A worker's side: what time its master has, and the way of its rows."""

    def __init__(self, runner: WorkerRunner, clock: Clock) -> None:
        self._runner, self._clock = runner, clock
        self._best: tuple[int, int] | None = None
        self._heard = 0
        runner.register_message("loadgen_time", self._on_time)
        self._asking = gevent.spawn(self._ask)

    @property
    def behind_ns(self) -> int:
        """How far this clock is behind the master's; 0 when it cannot be told from it, or is not known."""
        took_ns, behind_ns = self._best or (0, 0)
        return behind_ns if abs(behind_ns) > max(_SAME_NS, took_ns // 2) else 0

    def _ask(self) -> None:
        for _ in range(_LOOKS):
            self._runner.send_message("loadgen_hello", {"version": __version__, "sent_ns": self._clock()})
            gevent.sleep(_APART_S)

    def _on_time(self, msg: Any, **_: Any) -> None:
        sent_ns, now_ns, done_ns = msg.data["sent_ns"], msg.data["now_ns"], self._clock()
        look = (done_ns - sent_ns, now_ns - (sent_ns + done_ns) // 2)
        self._best = look if self._best is None else min(self._best, look)
        self._heard += 1
        if self._heard == _LOOKS:
            self._runner.send_message("loadgen_clock", {"behind_ns": self.behind_ns})
            if abs(self.behind_ns) > AGREE_NS:
                away = duration_text(abs(self.behind_ns) / NS)
                log.warning("this machine's clock is %s off the master's; it is put right for the run", away)

    def send(self, table: str, rows: pa.Table) -> None:
        """Hand rows on, in pieces that the master takes."""
        for begin in range(0, len(rows), MAX_ROWS):
            self._send(table, rows.slice(begin, MAX_ROWS))

    def _send(self, table: str, rows: pa.Table) -> None:
        content = to_ipc(rows)
        if len(content) > MAX_ROWS_BYTES and len(rows) > 1:
            half = len(rows) // 2
            self._send(table, rows.slice(0, half))
            self._send(table, rows.slice(half))
            return
        self._runner.send_message("loadgen_rows", {"table": table, "rows": content})
