"""What became of every push."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadgen.checks.case import records
from loadgen.model import Outcome, status_text
from loadgen.report.parts import Facts, Part, Table, Text
from loadgen.units import bytes_text

MOST_ERRORS = 12


def section(facts: Facts) -> Part | None:
    """Counts by signal, transport and outcome, and the errors in the servers' own words."""
    receipts = facts.history.receipts
    if receipts.empty:
        return Part("receipts", "Receipts", (Text("No push was recorded."),))
    rows = []
    for key, group in receipts.groupby(["signal", "transport", "outcome"]):
        signal, transport, outcome = (str(part) for part in key)
        retried = int((group["attempts"] > 1).sum())
        ambiguous = int((group["ambiguous_attempts"] > 0).sum())
        sizes = [bytes_text(float(group[column].sum())) for column in ("plain_bytes", "wire_bytes")]
        counts = (f"{len(group):,}", f"{int(group['items'].sum()):,}", *sizes, f"{retried:,}", f"{ambiguous:,}")
        rows.append((signal, transport, outcome, *counts))
    columns = ("signal", "by", "outcome", "pushes", "items", "plain", "on the wire", "retried", "of them ambiguous")
    blocks = [Table(columns, tuple(rows), right=(3, 4, 5, 6, 7, 8))]
    failed = receipts[receipts["outcome"] != Outcome.ACCEPTED.value]
    if len(failed):
        errors = failed.groupby(["signal", "outcome", "status", "detail"]).size().reset_index(name="count")
        texts = [
            (row["signal"], row["outcome"], _status(row), f"{row['count']:,}", row["detail"] or "–")
            for row in records(errors.sort_values("count", ascending=False).head(MOST_ERRORS))
        ]
        blocks.append(Table(("signal", "outcome", "status", "pushes", "detail"), tuple(texts), right=(2, 3)))
    return Part("receipts", "Receipts", tuple(blocks))


def _status(row: Mapping[str, Any]) -> str:
    return "–" if row["outcome"] == Outcome.DROPPED else status_text(row["status"])
