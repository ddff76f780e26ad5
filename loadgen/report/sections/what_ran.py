"""What ran, against what, with which versions: enough to run it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadgen.model import NS
from loadgen.report.parts import Block, Facts, Part, Table, Text
from loadgen.report.when import moment_text
from loadgen.units import duration_text


def section(facts: Facts) -> Part:
    """The run, its profile, its target without secrets, versions, notes."""
    info = facts.history.info
    run: list[tuple[str, str]] = [
        ("run", info.key.run),
        ("seed", str(info.key.seed)),
        ("load began", moment_text(info.key.began_ns)),
        ("load lasted", f"{duration_text(facts.length_s)} of {duration_text(facts.profile.run.duration)} planned"),
        ("read back until", moment_text(info.verified_ns) if info.verified_ns else "not read back"),
        ("read via", "the components directly" if facts.case.direct else "Grafana"),
        ("target", str(info.target_source)),
    ]
    if info.load_ended_ns == 0 and len(facts.history.receipts):
        ended_s = (facts.case.ended_ns() - info.key.began_ns) / NS
        run.append(("end", f"the load did not end in order; the last push was due after {duration_text(ended_s)}"))
    if info.interrupted:
        run.append(("interrupted", "yes, before its time"))
    run += [(name, engine) for name, engine in info.engines.items()]
    blocks: list[Block] = [Table(("what", "value"), tuple(run))]
    if info.notes:
        blocks.append(Table(("notes",), tuple((note,) for note in info.notes)))
    if facts.history.damaged:
        blocks.append(Table(("damaged files, left out",), tuple((name,) for name in facts.history.damaged)))
    if info.overridden:
        blocks.append(Text("Objectives set by the profile: " + ", ".join(info.overridden)))
    blocks.append(Table(("setting", "value"), tuple(flat(info.profile)), folded="profile"))
    blocks.append(Table(("setting", "value"), tuple(flat(info.target)), folded="target, without secrets"))
    blocks.append(Table(("package", "version"), tuple(info.versions.items()), folded="versions"))
    return Part("what-ran", "What ran", tuple(blocks))


_SECRET = ("password", "token", "secret", "api_key", "credential")


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names. What is empty is left out; what looks like a secret is never shown."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        dotted = f"{prefix}{name}"
        if isinstance(value, Mapping):
            rows += flat(value, f"{dotted}.")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
            for number, entry in enumerate(value):
                rows += flat(entry, f"{dotted}[{number}].")
        elif value not in (None, "", [], ()):
            secret = any(word in name.lower() for word in _SECRET) and not name.endswith("_file")
            rows.append((dotted, "(not shown)" if secret else str(value)))
    return rows
