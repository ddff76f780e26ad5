"""A figure of ``/metrics``, and what it tells of a component. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from loadgen.model import Component
from loadgen.scrape.discard import LABEL
from loadgen.stores import store_of


class Shape(StrEnum):
    """How the samples of a figure become one number."""

    COUNTER = "counter"
    """Its increase per second."""
    GAUGE = "gauge"
    """Its peak."""


@dataclass(frozen=True, slots=True)
class Source:
    """One way to a figure.

    Attributes:
        names: metrics that are added up, as far as they are there.
        only: a label and the value that it must have; empty if all series count.
    """

    names: tuple[str, ...]
    only: tuple[str, str] | tuple[()] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A field of the capacity search's ``Usage`` and where it is found.

    Attributes:
        component: whose.
        field: of ``Usage``; for a counter the field holds the increase per second.
        shape: counter or gauge.
        sources: the first one of which anything was scraped counts; all its series are added up.
        by: a label whose values are told apart; empty if they are added up.
    """

    component: str
    field: str
    shape: Shape
    sources: tuple[Source, ...]
    by: str = ""


STARTED = "process_start_time_seconds"
"""Tells one process from the next; the time of the server's own clock."""
NO_LIMIT_BYTES = 2.0**60
"""Go tells a limit of memory that nobody set as almost 2^63."""


def gauge(component: str, field: str, *names: str) -> Figure:
    """A gauge under the first of these names that was scraped."""
    return Figure(component, field, Shape.GAUGE, tuple(Source((name,)) for name in names))


def counter(component: str, field: str, *sources: Source) -> Figure:
    """A counter from the first of these sources of which anything was scraped."""
    return Figure(component, field, Shape.COUNTER, sources)


def process(component: str) -> tuple[Figure, ...]:
    """What every process written in Go tells of itself."""
    return (
        counter(component, "cores", Source(("process_cpu_seconds_total",))),
        gauge(component, "memory_bytes", "process_resident_memory_bytes"),
        gauge(component, "memory_limit_bytes", "loadgen_lab_memory_limit_bytes", "go_gc_gomemlimit_bytes"),
        gauge(component, "goroutines", "go_goroutines"),
    )


def discarded(component: Component) -> Figure:
    """What a store counts as discarded, by the reason."""
    return Figure(component.value, "discarded", Shape.COUNTER, (Source((store_of(component).discards,)),), by=LABEL)
