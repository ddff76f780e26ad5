"""Who asks the embedded Grafana: basic authentication and service account tokens, and what a role may do."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

from loadgen.lab.grafana.store import GrafanaStore
from loadgen.lab.settings import User

ROLES = ("None", "Viewer", "Editor", "Admin")


@dataclass(frozen=True, slots=True)
class BasicLogin:
    """Who asks."""

    name: str
    role: str

    def may(self, role: str) -> bool:
        """Whether this login has the rights of a role."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True, slots=True)
class LoginRefused:
    """Why nobody is logged in, as Grafana words it."""

    message: str
    message_id: str


_NOBODY = LoginRefused("Unauthorized", "auth.unauthorized")
_WRONG_PASSWORD = LoginRefused("Invalid username or password", "password-auth.failed")
_WRONG_TOKEN = LoginRefused("Invalid API key", "api-key.invalid")


class Logins:
    """Checks ``Authorization`` headers against the configured users and the stored tokens."""

    def __init__(self, users: tuple[User, ...], store: GrafanaStore) -> None:
        self._users = users
        self._store = store

    def check(self, header: str | None) -> BasicLogin | LoginRefused:
        """Who a header belongs to. Every known and right one is looked at in full: nothing here is worth a cache."""
        scheme, _, value = (header or "").partition(" ")
        value = value.strip()
        if scheme.lower() == "basic":
            return self._basic(value)
        if scheme.lower() == "bearer":
            return self._token(value)
        return _NOBODY

    def _basic(self, value: str) -> BasicLogin | LoginRefused:
        try:
            name, colon, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return LoginRefused("Invalid Basic Auth Header", "auth.basic.invalid-header")
        if not colon:
            return LoginRefused("Invalid Basic Auth Header", "auth.basic.invalid-header")
        # Grafana takes a service account token as the password of the user api_key.
        if name == "api_key":
            return self._token(password)
        for user in self._users:
            same = hmac.compare_digest(user.password.encode(), password.encode())
            if user.name == name and same and user.role in ROLES:
                return BasicLogin(user.name, user.role)
        return _WRONG_PASSWORD

    def _token(self, value: str) -> BasicLogin | LoginRefused:
        account = self._store.account_of(value)
        if account is None:
            return _WRONG_TOKEN
        return BasicLogin(f"sa-{account['name']}", str(account["role"]))
