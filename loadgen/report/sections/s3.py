"""How soon after its acknowledgement data was in S3."""

from __future__ import annotations

from loadgen.checks.case import nearest_rank
from loadgen.checks.s3_match import s3_coverage
from loadgen.kinds import SIGNALS
from loadgen.model import NS
from loadgen.report.chart import COLOURS, Row, figure, line
from loadgen.report.parts import Chart, Facts, Part, Table, Text
from loadgen.report.series import bins_of, ranks
from loadgen.units import bytes_text, duration_text


def section(facts: Facts) -> Part | None:
    """Median and slowest batch over time, and how much is not there yet."""
    if facts.history.objects.empty:
        return None
    bins = bins_of(facts.began_ns, facts.length_s)
    rows, table = [], []
    for signal in SIGNALS:
        coverage = s3_coverage(facts.history, facts.case.plan, signal)
        if not coverage.accepted:
            continue
        delay_s = coverage.delay_ns / NS
        cells = ["–"] * 3
        if len(delay_s):
            index = bins.index(coverage.done_ns[coverage.stored_ns > 0])
            median, slowest = ranks(index, delay_s, bins.count, (0.5, 1.0))
            x = bins.middles_s()
            traces = [
                line("slowest", x, slowest, COLOURS[signal], width=1.8),
                line("median", x, median, COLOURS[signal], dash="dot", width=1.2),
            ]
            rows.append(Row(f"{signal}, until in S3", traces, "%{y:.3s}s", suffix=" s"))
            cells = [duration_text(nearest_rank(delay_s, share)) for share in (0.5, 0.99, 1.0)]
        bound = duration_text(facts.case.bounds(signal).s3_delay_max)
        objects = f"{coverage.objects:,} ({bytes_text(coverage.size_bytes)})"
        table.append((str(signal), objects, f"{coverage.accepted:,}", *cells, f"{coverage.pending:,}", bound))
    if not table:
        return None
    how = (
        "Chunks of Loki are matched by stream and time, blocks of Tempo by trace id, blocks of Mimir by time, the "
        "run's series in them and when they were cut. What was first seen compacted counts with its upper bound."
    )
    forced = " The components were asked to flush after the load." if facts.profile.verify.flush else ""
    blocks: list[Chart | Table | Text] = [
        Text(f"From acknowledgement to the object's LastModified, exact to 1 s. {how}{forced}")
    ]
    if rows:
        drawn, height = figure(facts, rows)
        alt = "Median and slowest delay from acknowledgement to S3, by signal and time of acknowledgement."
        blocks.append(Chart("s3-delay", alt, drawn, height))
    columns = ("signal", "objects", "accepted batches", "p50", "p99", "slowest", "not in S3", "bound")
    blocks.append(Table(columns, tuple(table), right=(1, 2, 3, 4, 5, 6, 7)))
    return Part("s3", "Delay to S3", tuple(blocks))
