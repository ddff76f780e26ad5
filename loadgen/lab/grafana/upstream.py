"""Requests of the embedded Grafana to the components behind it: blocking, pooled, for use in threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import urllib3

TIMEOUT_S = 30.0
_TRIES = 2


class UpstreamError(Exception):
    """The component gave no answer; ``timed_out`` tells a slow one from an absent one."""

    def __init__(self, text: str, timed_out: bool) -> None:
        super().__init__(text)
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """An answer, its body as it came (possibly compressed, see ``headers``)."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Upstream:
    """Keeps connections to the components open."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._pool = urllib3.PoolManager(num_pools=8, maxsize=32, timeout=urllib3.Timeout(connect=5, read=timeout_s))

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None,
        decode: bool = True,
    ) -> UpstreamAnswer:  # fmt: skip
        """Asks a component.

        Args:
            method: the HTTP method.
            url: the whole URL; what is percent-encoded stays as it is.
            headers: request headers.
            body: request body.
            decode: undo the content encoding of the answer.

        Raises:
            UpstreamError: no answer, or a broken one.
        """
        for attempt in range(_TRIES):
            try:
                response = self._pool.request(
                    method, url, headers=headers, body=body, decode_content=decode, redirect=False, retries=False
                )
                return UpstreamAnswer(response.status, response.headers, response.data)
            except urllib3.exceptions.TimeoutError as error:
                if isinstance(error, urllib3.exceptions.NewConnectionError):
                    raise UpstreamError(_refused(method, url), timed_out=False) from error
                raise UpstreamError(
                    f'{method.capitalize()} "{url}": no answer within {self._timeout_s:.0f} s', timed_out=True
                ) from error
            except urllib3.exceptions.ProtocolError as error:
                # A kept connection that the component closed meanwhile; asking again is safe for a GET only.
                if attempt + 1 == _TRIES or method != "GET":
                    raise UpstreamError(f'{method.capitalize()} "{url}": EOF', timed_out=False) from error
            except (urllib3.exceptions.HTTPError, ValueError) as error:
                raise UpstreamError(f'{method.capitalize()} "{url}": {error}', timed_out=False) from error
        raise AssertionError("unreachable")


def _refused(method: str, url: str) -> str:
    host = urllib3.util.parse_url(url).netloc
    return f'{method.capitalize()} "{url}": dial tcp {host}: connect: connection refused'
