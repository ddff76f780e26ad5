"""TLS for all transports: whom to trust, how strictly, and which certificate to show.

As strict as curl and Go are: chain, dates and host name are verified; that an authority carries a key usage, as Python
asks from 3.13 on, is not demanded, because ordinary authorities of one's own have none. Without a ``ca_file`` the
system's authorities are trusted, by every transport the same, and ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name others, as
for curl and Go.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
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
_BEGIN = b"-----BEGIN CERTIFICATE-----"


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
        pem = authorities(access)
        try:
            if pem:
                context.load_verify_locations(cadata=pem.decode("latin-1"))
        except (ssl.SSLError, ValueError) as problem:
            raise ConfigError(f"{_origin(access)} cannot be used ({problem}); name a PEM file") from problem
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
    if access.ca_file:
        try:
            pem = Path(access.ca_file).read_bytes()
        except OSError as problem:
            raise ConfigError(
                f"the ca_file {access.ca_file} cannot be used ({problem.strerror}); name a PEM file"
            ) from problem
        if _BEGIN not in pem and b"-----BEGIN TRUSTED CERTIFICATE-----" not in pem:
            raise ConfigError(f"the ca_file {access.ca_file} cannot be used (no certificate in it); name a PEM file")
        return pem
    return system_authorities(os.environ if env is None else env)


def client_certificate(access: Access) -> tuple[bytes, bytes] | None:
    """Certificate and key to show, as PEM; None for none; ConfigError when they cannot be read."""
    if not access.cert_file:
        return None
    try:
        return Path(access.cert_file).read_bytes(), Path(access.key_file or access.cert_file).read_bytes()
    except OSError as problem:
        raise ConfigError(f"{_shown_certificate(access)} cannot be used ({_said(problem)})") from problem


def system_authorities(env: Mapping[str, str]) -> bytes:
    """The PEM certificates that this system trusts, found as Go finds them; those of certifi where there is no store.

    ConfigError when ``SSL_CERT_FILE`` names a file that cannot be read.
    """
    if named := env.get("SSL_CERT_FILE", ""):
        try:
            return Path(named).read_bytes() + b"\n".join(_in_folders(env.get("SSL_CERT_DIR", "")))
        except OSError as problem:
            raise ConfigError(
                f"SSL_CERT_FILE: the authorities in {named} cannot be read ({problem.strerror}); unset it, or set ca_file"
            ) from problem
    if folders := env.get("SSL_CERT_DIR", ""):
        return b"\n".join(_in_folders(folders))
    paths = ssl.get_default_verify_paths()
    for path in (paths.openssl_cafile, *_BUNDLES):
        try:
            return Path(path).read_bytes()
        except OSError:
            continue
    if found := b"\n".join(_in_folders(paths.openssl_capath)):
        return found
    import certifi  # comes with requests

    return Path(certifi.where()).read_bytes()


def _in_folders(folders: str) -> Iterator[bytes]:
    for folder in filter(None, folders.split(os.pathsep)):
        for path in sorted(Path(folder).glob("*")):
            try:
                pem = path.read_bytes() if path.is_file() else b""
            except OSError:
                continue
            if _BEGIN in pem:
                yield pem


def _no_passphrase() -> str:
    """Without this OpenSSL asks on the terminal, in the midst of a run."""
    return ""


def _origin(access: Access) -> str:
    return f"the ca_file {access.ca_file}" if access.ca_file else "the system's store of authorities"


def _shown_certificate(access: Access) -> str:
    return f"the cert_file {access.cert_file}" + (f" with the key_file {access.key_file}" if access.key_file else "")


def _said(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLError):
        reason = (problem.reason or "").replace("_", " ").lower()
        return f"{reason or 'no certificate with its key'}; both must be PEM, belong together and have no passphrase"
    name = getattr(problem, "filename", None)
    return f"{name}: {problem.strerror}" if isinstance(problem, OSError) and name else str(problem)
