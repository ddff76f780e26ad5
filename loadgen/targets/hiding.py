"""What may be shown: URLs without what is secret in them, and texts of others in which a secret may come back."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from loadgen.config.access import Access, split_login

_SHORTEST = 4
"""A secret of a few characters occurs in texts by chance; to replace it would make them unreadable."""


class Hiding:
    """Replaces secrets in texts, in each form that they can come back in."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text with ``***`` in the place of every secret."""
        for form in self._forms:
            text = text.replace(form, "***")
        return text

    def brief(self, text: object, most: int = 200) -> str:
        """One line of at most ``most`` characters, without secrets and logins of URLs."""
        line = " ".join(self(str(text)).split()) or type(text).__name__
        line = re.sub(r"//[^/@\s]+@", "//", line)
        return line if len(line) <= most else line[: most - 1] + "…"


def hiding_of(*sections: Access | None, also: Iterable[str] = ()) -> Hiding:
    """For the secrets of sections of a target, and others; ConfigError when a file with one cannot be read."""
    secrets = list(also)
    for section in sections:
        if section is None:
            continue
        secrets += section.secrets()
        logins = [(section.proxy_user, section.secret_proxy_password())]
        if user := getattr(section, "user", ""):
            logins.append((user, section.secret_password()))  # type: ignore[attr-defined]
        secrets += [base64.b64encode(f"{who}:{what}".encode()).decode() for who, what in logins if who and what]
    return Hiding(secrets)


def url_without_secrets(url: str) -> str:
    """A URL for messages: without user, password and query."""
    return split_login(url.split("?", 1)[0].split("#", 1)[0])[0]


def _forms(secret: str) -> tuple[str, ...]:
    in_json, in_repr = json.dumps(secret)[1:-1], repr(secret)[1:-1]
    quoted = (quote(secret, safe=""), quote(secret), quote_plus(secret))
    return (secret, in_json, in_repr, html.escape(secret), *quoted, *(one.lower() for one in quoted))
