"""What the embedded Grafana keeps on disk: annotations, dashboards, service accounts and their tokens.

One JSON file, replaced as a whole and synced at every change, so that a kill at any moment loses nothing that was
answered. Tokens are stored as hashes only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]


@dataclass(slots=True)
class _Content:
    """The whole file."""

    next_id: int = 1
    annotations: list[JsonObject] = field(default_factory=list)
    dashboards: dict[str, JsonObject] = field(default_factory=dict)
    accounts: list[JsonObject] = field(default_factory=list)
    tokens: dict[str, JsonObject] = field(default_factory=dict)


class GrafanaStore:
    """The stored state; thread-safe. Raises OSError or ValueError if the file cannot be read."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "grafana.json"
        self._lock = threading.Lock()
        self._content = _Content()
        directory.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            self._content = _Content(**json.loads(self._path.read_text(encoding="utf-8")))

    def add_annotation(self, annotation: JsonObject) -> int:
        """Stores an annotation; returns its id."""
        with self._lock:
            number = self._id()
            self._content.annotations.append({**annotation, "id": number})
            self._save()
            return number

    def annotations(self) -> list[JsonObject]:
        """All annotations, oldest first."""
        with self._lock:
            return list(self._content.annotations)

    def remove_annotation(self, number: int) -> bool:
        """Removes an annotation; False if there is none with this id."""
        with self._lock:
            kept = [row for row in self._content.annotations if row["id"] != number]
            if len(kept) == len(self._content.annotations):
                return False
            self._content.annotations = kept
            self._save()
            return True

    def save_dashboard(self, dashboard: JsonObject, folder_uid: str, overwrite: bool, now: str) -> JsonObject | str:
        """Stores a dashboard; returns the stored row, or why not: ``version-mismatch`` or ``name-exists``."""
        with self._lock:
            uid = str(dashboard.get("uid") or "") or secrets.token_hex(7)
            title = str(dashboard.get("title"))
            for other_uid, other in self._content.dashboards.items():
                if other_uid != uid and other["dashboard"]["title"] == title and other["folderUid"] == folder_uid:
                    return "name-exists"
            old = self._content.dashboards.get(uid)
            version = 1
            if old is not None:
                if not overwrite and dashboard.get("version") != old["dashboard"]["version"]:
                    return "version-mismatch"
                version = old["dashboard"]["version"] + 1
            number = old["dashboard"]["id"] if old else self._id()
            row = {
                "dashboard": {**dashboard, "uid": uid, "id": number, "version": version},
                "folderUid": folder_uid,
                "created": old["created"] if old else now,
                "updated": now,
            }
            self._content.dashboards[uid] = row
            self._save()
            return row

    def dashboard(self, uid: str) -> JsonObject | None:
        """A dashboard by uid."""
        with self._lock:
            return self._content.dashboards.get(uid)

    def dashboards(self) -> list[JsonObject]:
        """All dashboards."""
        with self._lock:
            return list(self._content.dashboards.values())

    def remove_dashboard(self, uid: str) -> JsonObject | None:
        """Removes a dashboard and returns it; None if there is none."""
        with self._lock:
            row = self._content.dashboards.pop(uid, None)
            if row is not None:
                self._save()
            return row

    def add_account(self, name: str, role: str) -> JsonObject | None:
        """Makes a service account; None if the name is taken."""
        with self._lock:
            if any(row["name"] == name for row in self._content.accounts):
                return None
            row = {"id": self._id(), "name": name, "role": role}
            self._content.accounts.append(row)
            self._save()
            return row

    def account(self, number: int) -> JsonObject | None:
        """A service account by id."""
        with self._lock:
            return next((row for row in self._content.accounts if row["id"] == number), None)

    def accounts(self) -> list[JsonObject]:
        """All service accounts."""
        with self._lock:
            return list(self._content.accounts)

    def add_token(self, account: int, name: str) -> tuple[int, str] | None:
        """Makes a token; returns its id and, this once, the token itself. None if the name is taken."""
        with self._lock:
            if any(row["name"] == name for row in self._content.tokens.values()):
                return None
            token = f"glsa_{secrets.token_urlsafe(24).replace('_', 'x').replace('-', 'y')}_{secrets.token_hex(4)}"
            number = self._id()
            self._content.tokens[_hash(token)] = {"id": number, "account": account, "name": name}
            self._save()
            return number, token

    def account_of(self, token: str) -> JsonObject | None:
        """The service account that a token belongs to."""
        with self._lock:
            row = self._content.tokens.get(_hash(token))
            if row is None:
                return None
            return next((account for account in self._content.accounts if account["id"] == row["account"]), None)

    def _id(self) -> int:
        number = self._content.next_id
        self._content.next_id += 1
        return number

    def _save(self) -> None:
        partial = self._path.with_name("grafana.json.partial")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(self._content), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
