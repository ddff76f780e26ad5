"""The ``[capacity]`` section of a profile: how far a search goes, and what it sizes for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loadgen.settings import Seconds, Section, Size

KindName = Literal["logs", "traces", "metrics", "queries", "all"]


class OwnLoadGiven(Section):
    """``[capacity.own]``: the load that the stack carries for its user; not set: measured from its own counters."""

    logs: Size | None = Field(None, gt=0, description="plain bytes per second")
    traces: Size | None = Field(None, gt=0, description="plain bytes per second")
    metrics_samples: float | None = Field(None, gt=0, description="samples per second")
    metrics_series: int | None = Field(None, gt=0, description="active series")


class CapacitySection(Section):
    """``[capacity]``: what a search raises, how finely, and where it stops whatever happens."""

    kinds: tuple[KindName, ...] = Field(
        ("logs", "traces", "queries", "metrics", "all"), min_length=1, description="what is raised"
    )
    logs_by: Literal["rate", "streams"] = Field("rate", description="what of logs is raised: their rate, or streams")
    precision: float = Field(0.1, ge=0.01, le=1, description="how close kept and broken level come to each other")
    max_rate: Size = Field(50e6, gt=0, description="plain bytes per second of one signal; never beyond")
    max_streams: int = Field(5_000, ge=1, description="log streams; never beyond")
    max_series: int = Field(200_000, ge=1, description="active series; never beyond")
    max_queries: float = Field(50.0, gt=0, description="queries per second; never beyond")
    max_s3_bytes: Size = Field(50e9, gt=0, description="plain bytes that all steps together may send")
    max_minutes: float = Field(180.0, gt=0, description="no step begins that would end later")
    recover_within: Seconds = Field(90.0, gt=0, description="time for the stack to work again after a step, else stop")
    s3_wait: Seconds = Field(300.0, description="after the last step: how long to wait for its data in S3")
    retention: Seconds | None = Field(30 * 86_400.0, gt=0, description="how long data is kept, for the sizing")
    bucket_size: Size | None = Field(None, gt=0, description="of one bucket: days are counted until it is full")
    own: OwnLoadGiven = OwnLoadGiven()
