"""How a batch gets to a server: senders by way, retries, and what an answer means."""

from __future__ import annotations

from collections.abc import MutableMapping

_ONLY_TALK = ("GRPC_VERBOSITY", "GRPC_TRACE")


def forget_grpc_settings(environ: MutableMapping[str, str]) -> None:
    """Take gRPC's variables out of the environment: roots, ciphers, resolvers. The target says what holds for all.

    gRPC reads them when it is loaded, so this comes before its import.
    """
    for name in [name for name in environ if name.startswith("GRPC_") and name not in _ONLY_TALK]:
        del environ[name]
