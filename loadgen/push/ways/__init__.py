"""The ways in: how each kind of signal gets into its store. To add one, write a file and put it into `WAYS`."""

from __future__ import annotations

from collections.abc import Mapping

from loadgen.config import Profile, Target
from loadgen.model import Signal
from loadgen.push.ways.loki_push import LOKI_PUSH
from loadgen.push.ways.otlp_traces import OTLP_GRPC, OTLP_HTTP
from loadgen.push.ways.remote_write import REMOTE_WRITE
from loadgen.push.ways.way import Way

__all__ = ["LOKI_PUSH", "OTLP_GRPC", "OTLP_HTTP", "REMOTE_WRITE", "WAYS", "Way", "shares_of", "ways_of"]

WAYS: tuple[Way, ...] = (LOKI_PUSH, REMOTE_WRITE, OTLP_HTTP, OTLP_GRPC)
"""In the order of the kinds; of several of a kind the first one takes what the others do not."""


def ways_of(signal: Signal) -> tuple[Way, ...]:
    """The ways that a kind of signal can go."""
    return tuple(way for way in WAYS if way.signal is signal)


def shares_of(signal: Signal, target: Target, profile: Profile) -> Mapping[Way, float]:
    """The ways for which the target names an address, and their shares of the users; without any the first way."""
    ways = ways_of(signal)
    return {way: way.share(profile) for way in ways if way.address(target)} or {ways[0]: 1.0}
