"""What a kind of signal is: all that is true of it without asking anybody."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from loadgen.model import Component, Signal


class Holds(Enum):
    """What an object in S3 tells of the data in it, by which it is matched with what was sent."""

    STREAM = "the stream, and from when to when"
    SERIES = "how many series of each user, and from when to when"
    IDS = "the ids of all that is in it"


@dataclass(frozen=True, slots=True)
class KindWords:
    """What a check says of a kind, where it differs from what it says of others.

    Attributes:
        promise: what is promised, one line; empty where all kinds are promised the same.
        advice: what to do when it is broken.
    """

    promise: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class InBucket:
    """What is true of a kind's objects in S3.

    Attributes:
        holds: what they tell of their data.
        setting: where the server keeps the prefix that it puts before their keys.
        later: what to do when they are not there yet.
        not_exact: which moments of their arrival are not known exactly, and why.
        unproven: why it may not be provable that data is in them; empty if it always is.
        in_parts: the server may make several streams of one, whose objects have other names.
        shared_by: what tells the run's share of an object that holds other data too.
        without: what is there beside the data and not counted as its size.
    """

    holds: Holds
    setting: str
    later: str
    not_exact: str
    unproven: str = ""
    in_parts: bool = False
    shared_by: str = "samples"
    without: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of signal.

    Attributes:
        signal: its name in rows and settings.
        store: the component that keeps it.
        item, items: one of what is counted, and several.
        probed: where a person looks for what is new, as `Sighting.where` has it: ``search``, or empty where all of
            it can be read as soon as it is there.
        counted_by: how completeness is told where content is not compared.
        bucket: of its objects in S3.
        continues: a run may go on with what an earlier one began, as with its series.
        own_load: the settings of a profile that say how much of it the person's own programs send.
        loss, duplicates, …: what each check says of it; without ``order`` its items have none.
    """

    signal: Signal
    store: Component
    item: str
    items: str
    counted_by: str
    bucket: InBucket
    own_load: str
    loss: KindWords
    duplicates: KindWords
    altered: KindWords
    throughput: KindWords
    freshness: KindWords
    query: KindWords
    s3_delay: KindWords
    s3_kept: KindWords
    persistence: KindWords
    recovery: KindWords
    order: KindWords | None = None
    probed: str = ""
    continues: bool = False

    @property
    def title(self) -> str:
        """The name of the component that keeps it, as people write it."""
        return self.store.value.capitalize()
