"""Where a component's data has to be in its bucket."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.acceptance.probes import s3 as probes
from loadgen.config import parse_target
from loadgen.model import Component


class Listing:
    """A bucket with one object, behind the method of a boto3 client that lists; everything else is refused."""

    def list_objects_v2(self, Bucket: str, Prefix: str = "", **_: Any) -> dict[str, Any]:
        there = {"mimir-blocks": "blocks/anonymous/x", "loki-chunks": "fake/x", "tempo-traces": "single-tenant/x"}
        found = [{"Key": there[Bucket]}] if there[Bucket].startswith(Prefix) else []
        return {"Name": Bucket, "Contents": found}


@pytest.mark.parametrize(
    ("raw", "folder", "objects"),
    [
        ({}, "anonymous", 0),
        ({"s3": {"mimir_prefix": "blocks"}}, "blocks/anonymous", 1),
        ({"s3": {"mimir_prefix": "blocks"}, "mimir": {"tenant": "me"}}, "blocks/me", 0),
    ],
)
def test_mimirs_tenants_lie_below_its_storage_prefix(
    monkeypatch: pytest.MonkeyPatch, raw: dict[str, Any], folder: str, objects: int
) -> None:
    monkeypatch.setattr(probes, "s3_client", lambda *_: Listing())
    facts = {one.component: one for one in probes.ask_buckets(parse_target(raw, "test", env={}))}
    assert (facts[Component.MIMIR].tenant, facts[Component.MIMIR].tenant_objects.value) == (folder, objects)
    assert facts[Component.LOKI].tenant_objects.value == 1
