"""Certificates made by openssl as people make them at home: the authority has no key usage."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pki:
    """An authority, a server's certificate for ``localhost`` and ``stack.test``, and a client's."""

    folder: Path

    def path(self, name: str) -> str:
        """``ca.pem``, ``server.pem``, ``server.key``, ``client.pem``, ``client.key``."""
        return str(self.folder / name)


def make_pki(folder: Path) -> Pki:
    """All of it."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    constraint = ("-addext", "basicConstraints=critical,CA:TRUE")
    openssl(
        "req", "-x509", *key, "-days", "2", "-subj", "/CN=home-ca", *constraint, "-keyout", "ca.key", "-out", "ca.pem"
    )
    for name, extension in (
        ("server", "subjectAltName=DNS:localhost,DNS:stack.test"),
        ("client", "subjectAltName=DNS:me"),
    ):
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (folder / "ext").write_text(extension)
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "ext", "-days", "2")
        openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")
    return Pki(folder)
