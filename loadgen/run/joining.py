"""Who may join a run as a worker: whoever knows its token.

Locust's master counts whoever connects as a worker, and tells it of the target. So the connections between our own
processes are opened with ZeroMQ's CURVE, whose keys follow from the token. Who does not know it cannot even shake
hands, neither as a worker nor as a master, and nobody in between can read or change anything. It never travels itself.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ipaddress
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from loadgen.config import ConfigError

VARIABLE = "LOADGEN_WORKER_TOKEN"
FILE_VARIABLE = "LOADGEN_WORKER_TOKEN_FILE"
MIN_LENGTH = 16
_MAKE_ONE = "make one with `openssl rand -hex 16`"
_GIVE_IT = f"give it to the run and to each worker by {VARIABLE}, {FILE_VARIABLE} or --token-file"


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """A pair of CURVE keys, in ZeroMQ's own notation."""

    public: bytes
    secret: bytes


def given_token(environ: Mapping[str, str], file: str = "") -> str:
    """The token that a person gave, empty for none; ConfigError when it cannot be read or is no good."""
    named = file or environ.get(FILE_VARIABLE, "")
    where = named or VARIABLE
    try:
        token = Path(named).read_text().strip() if named else environ.get(VARIABLE, "").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(
            f"{named}: the workers' token cannot be read ({problem}); name a file that holds it"
        ) from None
    if (named or token) and len(token) < MIN_LENGTH:
        raise ConfigError(f"{where}: the workers' token has fewer than {MIN_LENGTH} characters; {_MAKE_ONE}")
    return token


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def token_of_master(environ: Mapping[str, str], file: str, bind_host: str) -> tuple[str, bool]:
    """The token of a run, and whether it was made up here; ConfigError where others can connect and none was given."""
    token = given_token(environ, file)
    if token:
        return token, False
    if not is_loopback(bind_host):
        raise ConfigError(
            f"--bind-host {bind_host}: workers on other machines must show a token, or anybody could join; {_MAKE_ONE} "
            f"and {_GIVE_IT}"
        )
    return new_token(), True


@functools.cache
def keys_of(token: str, whose: str) -> CurveKeys:
    """The keys of ``master`` or ``worker``. Slow on purpose: who has recorded a connection must not try many tokens."""
    import zmq
    from zmq.utils import z85

    seed = hashlib.scrypt(token.encode(), salt=f"loadgen {whose}".encode(), n=1 << 14, r=8, p=1, dklen=32)
    secret = z85.encode(seed)
    return CurveKeys(zmq.curve_public(secret), secret)


def handed_on(token: str) -> dict[str, str]:
    """The variables by which a child is told the token; without one, that there is none."""
    return {VARIABLE: token, FILE_VARIABLE: ""}


# -- one machine, one person: nothing to type ----------------------------------------------------------------------


@contextlib.contextmanager
def offered(token: str, port: int) -> Iterator[None]:
    """Let workers of the same person on this machine find the token while the block runs."""
    path = _place(port)
    with contextlib.suppress(OSError):
        path.unlink()
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _check_own(path.parent)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
            file.write(token)
    except OSError as problem:
        raise ConfigError(
            f"{path}: the workers' token cannot be left there for them ({problem.strerror}); {_MAKE_ONE} and {_GIVE_IT}"
        ) from problem
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def found_token(host: str, port: int) -> str:
    """The token that a run of the same person on this machine offers; empty when there is none."""
    if not is_loopback(host):
        return ""
    path = _place(port)
    try:
        _check_own(path.parent)
        _check_own(path)
        return path.read_text().strip()
    except OSError:
        return ""


def _place(port: int) -> Path:
    """Where only this person can read and write, and which is gone after a restart."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given and Path(given).is_dir() and os.access(given, os.W_OK):
        return Path(given) / "loadgen" / f"worker-token-{port}"
    return Path(tempfile.gettempdir()) / f"loadgen-{os.getuid()}" / f"worker-token-{port}"


def _check_own(path: Path) -> None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(1, "others can get at it", str(path))


# -- before a worker starts ----------------------------------------------------------------------------------------


def knock(host: str, port: int, token: str, within_s: float = 10.0) -> str:
    """Shake hands with a master as a worker would, and send nothing; empty when it agrees, else what is wrong."""
    import zmq
    from zmq.utils.monitor import recv_monitor_message

    if not zmq.has("curve"):
        return "this ZeroMQ cannot encrypt, so no run can be joined safely; install pyzmq from PyPI"
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.ipv6 = ":" in host or not _is_ipv4(host)
        seal(socket, token, as_master=False)
        with socket.get_monitor_socket() as monitor:
            socket.connect(f"tcp://{host}:{port}")
            give_up_s = time.monotonic() + within_s
            while (left_s := give_up_s - time.monotonic()) > 0 and monitor.poll(round(left_s * 1000)):
                event = recv_monitor_message(monitor)["event"]
                if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    return ""
                if event in (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL):
                    lacks = "has another token" if token else "wants a token"
                    return f"{host}:{port}: the master {lacks}; {_GIVE_IT}"
            socket.disable_monitor()
    return f"{host}:{port}: no answer as a master gives it within {within_s:g} s; does `loadgen run` listen there?"


def seal(socket: object, token: str, as_master: bool) -> None:
    """Let a ZeroMQ socket talk only to those who know the token; without one it stays open."""
    if not token:
        return
    master, worker = keys_of(token, "master"), keys_of(token, "worker")
    mine = master if as_master else worker
    options: dict[str, object] = {"curve_publickey": mine.public, "curve_secretkey": mine.secret}
    options |= {"curve_server": True} if as_master else {"curve_serverkey": master.public}
    for name, value in options.items():
        setattr(socket, name, value)


def _is_ipv4(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 4
    except ValueError:
        return False
