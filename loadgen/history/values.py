"""What is known of a run, as values: its description, and the frames of rows that checks and the report read. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_type_hints

import pandas as pd
import pyarrow as pa

from loadgen.model import (
    ClockReading,
    FaultWindow,
    GoneObject,
    QueryTiming,
    Receipt,
    RunKey,
    Sighting,
    StackSample,
    StoredObject,
    WorkerGap,
)

Row = Receipt | QueryTiming | Sighting | StoredObject | GoneObject | StackSample
ROWS: dict[str, type[Row]] = {
    "receipts": Receipt,
    "queries": QueryTiming,
    "sightings": Sighting,
    "objects": StoredObject,
    "gone": GoneObject,
    "stack": StackSample,
}
_ARROW = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), bytes: pa.binary(), str: pa.string()}


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What ``run.json`` keeps: enough to verify and judge the run again without anything else, and no secret.

    Attributes:
        key: name, seed and beginning of the run.
        profile: the complete profile as its model dumps it.
        overridden: dotted names of the profile's settings that were set by the user.
        target: the target without its secrets.
        target_source: ``lab``, or the path of the target file.
        engines: what each component was: ``embedded``, ``native``, ``compose``, ``deployed``.
        versions: of loadgen, Python and the libraries that matter.
        load_ended_ns: end of the load phase (0: not ended in order).
        verified_ns: end of the last verification (0: not verified).
        interrupted: a person or the system ended the run before its time.
        notes: things that a reader of the report should know.
        users: virtual users that really ran of each signal; empty: as many as the profile says.
        workers: Locust workers when the load began; numbers of users are spread over them, and may have gaps then.
        clocks: the servers' clocks beside ours, before the load.
        gaps: times in which a Locust worker was not heard of.
        deployment: the plan that the report names requirements by; empty: the shipped one.
    """

    key: RunKey
    profile: Mapping[str, Any]
    overridden: tuple[str, ...]
    target: Mapping[str, Any]
    target_source: str
    engines: Mapping[str, str]
    versions: Mapping[str, str]
    load_ended_ns: int = 0
    verified_ns: int = 0
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    users: Mapping[str, int] = field(default_factory=dict)
    workers: int = 1
    clocks: tuple[ClockReading, ...] = ()
    gaps: tuple[WorkerGap, ...] = ()
    deployment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """Everything known of a run, as the checks and the report read it.

    The frames have exactly the columns of the row types in `ROWS`, and may be empty.
    """

    info: RunInfo
    receipts: pd.DataFrame
    queries: pd.DataFrame
    sightings: pd.DataFrame
    objects: pd.DataFrame
    stack: pd.DataFrame
    faults: tuple[FaultWindow, ...]
    damaged: tuple[str, ...] = ()
    gone: pd.DataFrame = field(default_factory=lambda: frame_of([], GoneObject))


def schema_of(row: type[Row]) -> pa.Schema:
    """The Arrow schema of a row type, one column a field."""
    hints = get_type_hints(row)
    return pa.schema([(field.name, _ARROW[hints[field.name]]) for field in dataclasses.fields(row)])


def table_of(rows: Sequence[Row], row: type[Row]) -> pa.Table:
    """Rows as an Arrow table."""
    names = [field.name for field in dataclasses.fields(row)]
    return pa.table({name: [getattr(r, name) for r in rows] for name in names}, schema=schema_of(row))


def frame_of(rows: Sequence[Row], row: type[Row]) -> pd.DataFrame:
    """Rows as a frame, with the right columns and types even when there are none."""
    frame: pd.DataFrame = table_of(rows, row).to_pandas()
    return frame
