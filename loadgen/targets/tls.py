"""TLS for all transports: whom to trust, how strictly, and which certificate to show.

As strict as curl and Go are: chain, dates and host name are verified; that an authority carries a key usage, as Python
asks from 3.13 on, is not demanded, because ordinary authorities of one's own have none. Without a ``ca_file`` every
transport trusts the system's authorities; ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name others, as for curl and Go.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loadgen.config import ConfigError
from loadgen.config.access import Access

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",  # Alpine, macOS
)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_LARGEST_BYTES = 4 << 20


def tls_context(access: Access | None = None, verify: bool | None = None) -> ssl.SSLContext:
    """A context for a client.

    Args:
        access: whom to trust and which certificate to show; None: the system's authorities, and none.
        verify: whether to verify all the same, or not; None: as ``access`` says.

    Raises:
        ConfigError: one of the files cannot be used.
    """
    access = access or Access()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    # Like curl and Go: what is in the file is trusted, also a server's own certificate or an authority between.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    if access.verify_tls if verify is None else verify:
        _trust(context, access)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.cert_file:
        try:
            context.load_cert_chain(access.cert_file, access.key_file or None, password=_no_passphrase)
        except (OSError, ValueError) as problem:
            raise ConfigError(f"{_shown_certificate(access)} cannot be used ({_said(problem)})") from problem
    return context


def authorities(access: Access, env: Mapping[str, str] | None = None) -> bytes:
    """The PEM certificates of the authorities to trust; ConfigError when the file that is named has none."""
    store = TrustStore(access.ca_file, "") if access.ca_file else system_store(os.environ if env is None else env)
    try:
        pem = _certificates(Path(store.file).read_bytes()) if store.file else b""
    except OSError as problem:
        raise _unusable(access, store, problem) from problem
    if store.file and not pem:
        raise _unusable(access, store, "no certificate in it")
    return pem + _in_folders(store.folders)


def client_certificate(access: Access) -> tuple[bytes, bytes] | None:
    """Certificate and key to show, as PEM; None for none; ConfigError when they cannot be read."""
    if not access.cert_file:
        return None
    try:
        return Path(access.cert_file).read_bytes(), Path(access.key_file or access.cert_file).read_bytes()
    except OSError as problem:
        raise ConfigError(f"{_shown_certificate(access)} cannot be used ({_said(problem)})") from problem


@dataclass(frozen=True, slots=True)
class TrustStore:
    """Where authorities are: a bundle, folders of files (divided as in a path), or both."""

    file: str
    folders: str


def system_store(env: Mapping[str, str]) -> TrustStore:
    """What this system trusts, found as Go finds it; certifi's bundle where there is nothing."""
    file, folders = env.get("SSL_CERT_FILE", ""), env.get("SSL_CERT_DIR", "")
    if file or folders:
        return TrustStore(file, folders)
    paths = ssl.get_default_verify_paths()
    for bundle in (paths.openssl_cafile, *_BUNDLES):
        if os.access(bundle, os.R_OK):
            return TrustStore(bundle, "")
    if _in_folders(paths.openssl_capath):
        return TrustStore("", paths.openssl_capath)
    import certifi  # comes with requests

    return TrustStore(certifi.where(), "")


def _trust(context: ssl.SSLContext, access: Access) -> None:
    store = TrustStore(access.ca_file, "") if access.ca_file else system_store(os.environ)
    try:
        if store.file:
            context.load_verify_locations(cafile=store.file)
        if pem := _in_folders(store.folders):
            context.load_verify_locations(cadata=pem.decode("ascii"))
    except ssl.SSLError as problem:
        raise _unusable(access, store, "no certificate in it") from problem
    except OSError as problem:
        raise _unusable(access, store, problem) from problem


def _unusable(access: Access, store: TrustStore, why: OSError | str) -> ConfigError:
    what = "the ca_file" if access.ca_file else "the system's store of authorities (see SSL_CERT_FILE)"
    said = why if isinstance(why, str) else why.strerror or type(why).__name__
    return ConfigError(f"{what} {store.file} cannot be used ({said}); name a PEM file")


def _certificates(text: bytes) -> bytes:
    """The certificates in a text, without what stands between them, which may be in any language."""
    return b"".join(one + b"\n" for one in _CERTIFICATE.findall(text))


def _in_folders(folders: str) -> bytes:
    found: list[bytes] = []
    for folder in filter(None, folders.split(os.pathsep)):
        for path in sorted(Path(folder).glob("*")):
            with contextlib.suppress(OSError):
                if path.is_file() and path.stat().st_size < _LARGEST_BYTES:
                    found += _CERTIFICATE.findall(path.read_bytes())
    return b"".join(one + b"\n" for one in dict.fromkeys(found))


def _no_passphrase() -> str:
    """Without this OpenSSL asks on the terminal, in the midst of a run."""
    return ""


def _shown_certificate(access: Access) -> str:
    return f"the cert_file {access.cert_file}" + (f" with the key_file {access.key_file}" if access.key_file else "")


def _said(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLError):
        reason = (problem.reason or "").replace("_", " ").lower()
        return f"{reason or 'no certificate with its key'}; both must be PEM, belong together and have no passphrase"
    name = getattr(problem, "filename", None)
    return f"{name}: {problem.strerror}" if isinstance(problem, OSError) and name else str(problem)
