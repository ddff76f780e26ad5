"""The outcome told elsewhere: verdicts as metrics in Mimir, the run as an annotation in Grafana, its files in S3.

Nothing here changes an outcome: what could not be told is a note.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import snappy

from loadgen.config import ConfigError, Publish, Target
from loadgen.history.archive import ArchiveError, ArchivePlace, keep_run, keep_verification
from loadgen.history.directory import RunDir, RunDirError
from loadgen.history.values import RunInfo
from loadgen.model import MS, Outcome, Result, Verdict
from loadgen.push.retry import PushPolicy, PushResult
from loadgen.push.ways.remote_write import REMOTE_WRITE
from loadgen.push.ways.way import Pushing
from loadgen.report.words import WORD, headline
from loadgen.targets.http import HttpClient
from loadgen.wire.proto import bytes_field, double_field, number_field, text_field

_JOB = ("job", "loadgen")
_TIMEOUT_S = 10.0
_RETRY_S = 30.0


def verdict_series(run: str, verdicts: Sequence[Verdict]) -> list[tuple[list[tuple[str, str]], float]]:
    """Labels, sorted by name, and value of every series.

    ``loadgen_verdict`` is 1, its label ``result`` says what of; ``loadgen_measured`` is the measured value in ``unit``.
    """
    series: list[tuple[list[tuple[str, str]], float]] = []
    for verdict in verdicts:
        common = [("check", verdict.check), _JOB]
        labels = [("__name__", "loadgen_verdict"), *common, ("result", str(verdict.result)), ("run", run)]
        series.append((labels, 1.0))
        if verdict.value is not None:
            # A label without a value is none, and may not be sent.
            unit = [("unit", verdict.objective.unit)] if verdict.objective.unit else []
            series.append(([("__name__", "loadgen_measured"), *common, ("run", run), *unit], float(verdict.value)))
    return series


def verdict_body(run: str, verdicts: Sequence[Verdict], at_ns: int) -> bytes:
    """A remote write with one sample of every series."""
    sent = b""
    for labels, value in verdict_series(run, verdicts):
        named = b"".join(bytes_field(1, text_field(1, name) + text_field(2, text)) for name, text in labels)
        sample = double_field(1, value) + number_field(2, at_ns // MS)
        sent += bytes_field(1, named + bytes_field(2, sample))
    return bytes(snappy.compress(sent))


def push_verdicts(target: Target, run: str, verdicts: Sequence[Verdict], at_ns: int) -> str:
    """Write the verdicts to Mimir; gives why that failed, or an empty text."""
    if not target.mimir.url:
        return "the target has no url of [mimir]"
    pusher = REMOTE_WRITE.open(target, Pushing(PushPolicy(timeout_s=_TIMEOUT_S, retry_for_s=_RETRY_S)))
    try:
        result: PushResult = pusher.push(verdict_body(run, verdicts, at_ns))
    finally:
        pusher.close()
    return "" if result.outcome == Outcome.ACCEPTED else result.detail


def annotate(target: Target, info: RunInfo, verdicts: Sequence[Verdict], outcome: Result) -> str:
    """Mark the time of the run in Grafana; gives why that failed, or an empty text. Needs the role Editor."""
    if not target.grafana.url:
        return "the target has no url of [grafana]"
    if not info.key.began_ns:
        return "its load never began"
    began_ms = info.key.began_ns // MS
    body = {
        "time": began_ms,
        "timeEnd": max(began_ms, info.load_ended_ns // MS),
        "tags": ["loadgen", f"loadgen:{outcome}"],
        "text": f"loadgen {info.key.run}: {WORD[outcome]}. {headline(outcome, verdicts)}",
    }
    client = HttpClient(target.grafana.url, target.grafana, timeout_s=_TIMEOUT_S)
    try:
        answer = client.post("/api/annotations", json.dumps(body).encode(), {"Content-Type": "application/json"})
    finally:
        client.close()
    if answer.status in (401, 403):
        return f"{answer.error} (annotations need the role Editor)"
    return answer.error


@dataclass(frozen=True, slots=True)
class Published:
    """Where a run was kept (empty: nowhere), and a sentence for everything that failed."""

    url: str
    notes: tuple[str, ...]


def publish(
    run: RunDir,
    verdicts: Sequence[Verdict],
    outcome: Result,
    settings: Publish,
    target: Target,
    now_ns: int,
    verified: ArchivePlace | None = None,
) -> Published:
    """Tell the outcome wherever profile and target want it; raises nothing for what fails there.

    Args:
        run: the run, judged and reported.
        verdicts, outcome: its judgement.
        settings: what the profile wants.
        target: where Mimir, Grafana and S3 are; a run is kept when it says where (``s3.reports_url``).
        now_ns: epoch nanoseconds.
        verified: where in S3 the run came from, when this is a later verification: what it found goes beside it.
    """
    notes: list[str] = []
    url = ""
    info = run.info()
    if settings.metrics and verdicts:
        notes += _failed("the verdicts are not in Mimir", lambda: push_verdicts(target, info.key.run, verdicts, now_ns))
    if settings.annotation and verified is None:  # the run itself was marked already
        notes += _failed("the run is not marked in Grafana", lambda: annotate(target, info, verdicts, outcome))
    if notes:
        run.write_info(replace(info, notes=(*info.notes, *notes)))
    try:
        if verified is not None:
            url = keep_verification(run, target.s3, verified, now_ns)
        elif target.s3.reports_url:
            url = keep_run(run, target.s3)
    except (ArchiveError, ConfigError, RunDirError) as problem:
        notes.append(f"the run is not kept in S3: {problem}")
    return Published(url, tuple(notes))


def _failed(what: str, tell: Callable[[], str]) -> list[str]:
    try:
        problem = tell()
    except ConfigError as unreadable:  # a file with a secret
        problem = str(unreadable)
    return [f"{what}: {problem}"] if problem else []
