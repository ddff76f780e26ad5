"""The stack that this project ships keeps its own rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.audit import audit, read_tree
from loadgen.model import Result

OWN = Path(__file__).parents[2] / "kubernetes"

pytestmark = pytest.mark.skipif(not OWN.is_dir(), reason="this copy of the project has no kubernetes folder")


def test_every_rule_passes_on_the_manifests_of_this_repository():
    verdicts = audit(read_tree(OWN))
    assert {verdict.check: verdict.evidence for verdict in verdicts if verdict.result is not Result.PASS} == {}


@pytest.mark.parametrize("component", ["loki", "tempo", "mimir"])
def test_its_secrets_are_templates_and_reported_as_such(component):
    (sops,) = (verdict for verdict in audit(read_tree(OWN)) if verdict.check == "sops")
    wanted = f"Secret {component}-s3-secret: template, not yet encrypted"
    assert any(wanted in text for text in sops.evidence)
    assert "template, not yet encrypted" in sops.measured


def test_strictly_they_are_mistakes():
    failing = {verdict.check for verdict in audit(read_tree(OWN), strict=True) if verdict.result is Result.FAIL}
    assert failing == {"sops"}
