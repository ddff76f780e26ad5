"""The connection between Locust's processes, made so that only those of a run take part in it.

Locust opens its sockets deep inside of its runners, so the class that does it is dressed here, before it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gevent
import zmq.green as zmq
from locust.rpc import zmqrpc
from locust.rpc.protocol import Message
from zmq.utils.monitor import recv_monitor_message

from loadgen.run.joining import seal

log = logging.getLogger("loadgen")

MAX_MESSAGE_BYTES = 32 << 20
"""ZeroMQ drops the connection of who sends more at once."""


def dress(token: str, refused: Callable[[], None]) -> None:
    """Let all sockets that Locust opens from now on be sealed with the token, if there is one.

    ``refused`` is called by a master for every connection without the token.
    """
    opened, received = zmqrpc.BaseSocket.__init__, zmqrpc.BaseSocket.recv_from_client

    def open_sealed(self: Any, sock_type: int, *more: Any, **named: Any) -> None:
        opened(self, sock_type, *more, **named)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        master = sock_type == zmq.ROUTER
        seal(self.socket, token, master)
        if master and token:
            gevent.spawn(_watch, self.socket.get_monitor_socket(), refused)

    def receive(self: Any) -> tuple[str, Any]:
        while True:
            try:
                sender, message = received(self)
            except (TypeError, ValueError, KeyError, RecursionError) as problem:
                # Anybody can send what is no message where no token is asked for; Locust would stop listening.
                log.warning("a message that is none was left out: %s", problem)
                continue
            if _is_message(message):
                return sender, message
            log.warning("a message of a wrong form was left out")

    zmqrpc.BaseSocket.__init__ = open_sealed
    zmqrpc.BaseSocket.recv_from_client = receive


def _is_message(message: Message) -> bool:
    return isinstance(message.type, str) and isinstance(message.node_id, str)


def _watch(monitor: Any, refused: Callable[[], None]) -> None:
    while True:
        event = recv_monitor_message(monitor)["event"]
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            refused()
        elif event == zmq.EVENT_MONITOR_STOPPED:
            return
