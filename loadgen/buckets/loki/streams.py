"""Loki's bucket: the chunks of the run's streams, found by the keys alone.

The fingerprints of the run's streams follow from the plan, and under ``<tenant>/<fingerprint>/`` keys begin with the
time of the chunk's first line. So each stream that still lacks data is listed from where its data is complete. With
many streams, a page that begins at one of them is read as far as it reaches, and the next one begins at the next stream
of ours: never more requests than streams, nor more than the pages of the whole bucket.

Fast streams are split by Loki, and keys do not tell which of their lines are where; of chunks of such streams the lines
are counted. Slow ones may be split as well, for some seconds after Loki was restarted by whomever: parts are looked for
where a chunk is known beyond a time that none has, and in a look at everything where a line is not there in its time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from loadgen.buckets.asking import Listed, Page
from loadgen.buckets.loki.keys import KEYS
from loadgen.buckets.loki.stream_names import Naming, labels_in, lines_in, naming_of
from loadgen.buckets.sweep import Searched
from loadgen.buckets.wanted import GRACE_NS, Wanted
from loadgen.kinds.logs.kind import LOGS
from loadgen.model import MS, NS, StoredObject
from loadgen.targets.blocks import BlockError, Content, chunk_place, loki_chunk

# So few streams are listed one by one, which brings nothing but their own keys.
_FEW = 32
# A full page takes as long as so many requests that bring next to nothing.
_PAGE_COST = 25
_MAX_STRANGERS = 10_000
_HEADS = 300
# A chunk may have begun so long before its last line; Loki's max_chunk_age is 2 h unless it is set shorter.
_LONGEST_CHUNK_NS = 9_000 * NS


@dataclass(slots=True)
class _Stream:
    """One stream of the run.

    Attributes:
        user: whose it is.
        part: which of several that Loki made of one, from 1; 0: it is not split.
        covered_ns: every line that was planned up to here lies in a known chunk; 0: none.
        ahead: ranges of known chunks that reach beyond that.
        start: what the last parts of the keys sort after that this cycle looks at.
        seen: the last parts of such keys of known chunks.
    """

    user: int
    part: int = 0
    covered_ns: int = 0
    ahead: tuple[tuple[int, int], ...] = ()
    start: str = ""
    seen: tuple[str, ...] = ()


class StreamSweep:
    """The chunks of the run's streams in one bucket.

    Attributes:
        undecided: of no use here, as keys tell all.
        patient: this is no look at everything, which may be the last one.
        parted: streams lack lines whose time is over, and the last cycle looked for parts of all of these.
        renamed: streams are looked for under other names than in the cycles before.
    """

    def __init__(self, searched: Searched) -> None:
        self._asking = searched.asking
        self._clock = searched.clock
        self._tenants = searched.tenants
        self._found = searched.found
        self._naming = Naming()
        self._users: tuple[int, ...] = ()
        self._sorted = 0
        self._streams: dict[str, _Stream] = {}
        self._order: list[str] = []
        self._foreign: set[str] = set()
        self._any = False
        self._counts = False
        self._split: set[int] = set()
        self._across_requests = 0
        self.undecided = 0
        self.patient = True
        self.parted = False
        self.renamed = False

    def recall(self, wanted: Wanted, stored: pd.DataFrame) -> None:
        """Chunks that were stored before; whatever else was known is forgotten."""
        self._users, self._sorted, self._streams, self._any = (), 0, {}, False
        self._know(wanted)
        if len(stored) and stored["part"].max():
            self._expect_parts(wanted, int(stored["part"].max()) + 1)
        columns = [stored[name].tolist() for name in ("key", "from_ns", "through_ns", "items")]
        places = [chunk_place(key) for key in columns[0]]
        streams = [self._streams.get(place.stream) if place is not None else None for place in places]
        self._split |= {stream.user for stream in streams if stream is not None and stream.part}
        for place, stream, from_ns, through_ns, lines in zip(places, streams, *columns[1:], strict=True):
            # What was found before its stream was known to be split is found again, and counted.
            if place is not None and stream is not None and (lines or stream.user not in self._split):
                self._tenants.settle(place.tenant)
                self._add(wanted, stream, place.rest, from_ns, through_ns)

    def cycle(self, wanted: Wanted) -> Iterator[int]:
        """Look through the streams that lack data once; yields after each request how many rows it brought."""
        self._know(wanted)
        self.renamed = self.parted = False
        now_ns = self._clock()
        waiting = [name for name in self._order if not self._complete(wanted, self._streams[name])]
        if waiting:
            yield from self._tenants.look(everywhere=wanted.is_over(self._clock()) and not self._any)
        while waiting:
            known, split = set(self._streams), set(self._split)
            for name in waiting:
                self._begin(wanted, self._streams[name])
            one_by_one = len(waiting) <= max(_FEW, _PAGE_COST * self._across_requests)
            for tenant in self._tenants.names:
                yield from (self._one_by_one if one_by_one else self._across)(wanted, tenant, waiting)
            # Parts of split streams that turned up, or may be there; and what must be counted because of them.
            self._expect_what_lacks(wanted, now_ns)
            again = self._count_again(self._split - split)
            self._know(wanted)
            waiting = [name for name in self._order if name not in known or name in again]
        overdue = [name for name in self._order if self._overdue(wanted, self._streams[name], now_ns)]
        self.parted = bool(overdue) and all(self._part_of(wanted, name) in self._streams for name in overdue)

    @property
    def note(self) -> str:
        """What a reader of the report should know of the names of streams."""
        return self._naming.text

    def strangers(self, wanted: Wanted) -> Iterator[int]:
        """As long as no chunk of the run's streams is known: look into the chunks of others of the run's time.

        Reads the whole listing. When a chunk tells that Loki has other labels than were pushed, streams are looked for
        under those from then on, and there is nothing more to count. Yields after each request how many streams nobody
        could look into; stops at some thousands.
        """
        names: set[str] = set()
        heads = _HEADS
        for tenant in () if self._any else self._tenants.names:
            for page in self._asking.pages(f"{tenant}/"):
                for listed in page.objects:
                    content = loki_chunk(listed.key)
                    if content is None or not self._may_be_ours(wanted, content, listed):
                        continue
                    labels = labels_in(self._asking, listed) if heads else None
                    heads = max(0, heads - 1)
                    if labels is not None and labels.get("run") != wanted.plan.key.run:
                        self._foreign.add(content.stream)
                        names.discard(content.stream)
                        continue
                    users = wanted.users[LOGS.signal]
                    naming = naming_of(labels, content.stream, wanted, users) if labels is not None else None
                    if naming is not None and naming != self._naming:
                        self._naming, self._users, self._streams = naming, (), {}
                        self.renamed = True
                        yield 0
                        return
                    names.add(content.stream)
                yield len(names)
                if len(names) >= _MAX_STRANGERS:
                    return

    # -- inside ----------------------------------------------------------------------------------------------------

    def _know(self, wanted: Wanted) -> None:
        """The fingerprints of the run's streams; it is known better who they are once the load is over."""
        users = wanted.users[LOGS.signal]
        if users != self._users:
            self._users, self._sorted = users, 0
            self._counts = bool(users) and self._naming.may_split(wanted)
            for user in users:
                self._streams.setdefault(self._naming.stream(wanted, user), _Stream(user))
                if self._counts:
                    # Every push that is dealt out has lines for the first part, and for each up to the last.
                    self._streams.setdefault(self._naming.stream(wanted, user, 1), _Stream(user, 1))
        if self._sorted != len(self._streams):
            self._sorted = len(self._streams)
            mine = set(users)
            self._order = sorted(name for name, stream in self._streams.items() if stream.user in mine)

    def _expect_parts(self, wanted: Wanted, upto: int) -> None:
        """Every user's streams may have so many parts."""
        for user in self._users:
            for part in range(1, upto + 1):
                self._streams.setdefault(self._naming.stream(wanted, user, part), _Stream(user, part))

    def _part_of(self, wanted: Wanted, name: str) -> str:
        """The first part of a stream: every push that Loki deals out begins there, or comes after one that did."""
        return self._naming.stream(wanted, self._streams[name].user, 1)

    def _expect_what_lacks(self, wanted: Wanted, now_ns: int) -> None:
        """Streams may have parts that have a hole, and when this may be the last look those that are overdue.

        Elsewhere what lacks is most likely not written yet, and looking for parts would double the requests.
        """
        for name in self._order:
            stream = self._streams[name]
            holed = bool(stream.ahead) and not stream.part and wanted.plan.key.began_ns > 0
            if holed or (not self.patient and self._overdue(wanted, stream, now_ns)):
                self._streams.setdefault(self._part_of(wanted, name), _Stream(stream.user, 1))

    def _overdue(self, wanted: Wanted, stream: _Stream, now_ns: int) -> bool:
        """A whole stream lacks a line that was to be in S3 by now."""
        if stream.part or not wanted.plan.key.began_ns or self._complete(wanted, stream):
            return False
        due_ns, _ = self._next_line(wanted, stream)
        return now_ns - due_ns > wanted.plan.profile.objectives.logs.s3_delay_max * NS

    def _count_again(self, users: set[int]) -> set[str]:
        """Of users whose stream turns out to be split, the chunks that were found uncounted are looked for anew."""
        again = set()
        for name, stream in self._streams.items() if users and not self._counts else ():
            if stream.user in users and not stream.part:
                stream.covered_ns, stream.ahead, stream.seen = 0, (), ()
                again.add(name)
        return again

    def _may_be_ours(self, wanted: Wanted, content: Content, listed: Listed) -> bool:
        """Whether a chunk of an unknown stream can hold lines of the run."""
        return (
            content.stream not in self._streams
            and content.stream not in self._foreign
            and listed.modified_ns - self._asking.server.ahead_ns >= wanted.began_ns
            and wanted.began_ns <= content.through_ns
            and content.from_ns <= (wanted.ended_ns or self._clock())
        )

    def _one_by_one(self, wanted: Wanted, tenant: str, names: list[str]) -> Iterator[int]:
        for name in names:
            # Without the slash, so that keys of older schemas come too, which have a colon there.
            for page in self._asking.pages(f"{tenant}/{name}", f"{tenant}/{name}/{self._streams[name].start}"):
                self._take(wanted, tenant, page)
                yield page.rows

    def _across(self, wanted: Wanted, tenant: str, names: list[str]) -> Iterator[int]:
        at, after = 0, ""
        self._across_requests = 0
        while at < len(names):
            start = f"{tenant}/{names[at]}/{self._streams[names[at]].start}"
            page = self._asking.page(f"{tenant}/", max(after, start))
            self._across_requests += 1
            self._take(wanted, tenant, page)
            yield page.rows
            if not page.token or not page.objects:
                return
            if page.objects[-1].key <= max(after, start):
                raise BlockError("the listing does not begin where it was asked to; it is incomplete")
            # All keys of the streams before the last one of the page are known now, and it may have more.
            after = page.objects[-1].key
            at = bisect_left(names, after[len(tenant) + 1 :].partition("/")[0].partition(":")[0], at)

    @staticmethod
    def _begin(wanted: Wanted, stream: _Stream) -> None:
        """From where a cycle looks at a stream: a line may come late, and its chunk may have begun long before."""
        from_ns = max(wanted.began_ns, stream.covered_ns - wanted.late_ns - _LONGEST_CHUNK_NS) - GRACE_NS
        stream.start = f"{max(0, from_ns) // MS:x}"
        stream.seen = tuple(one for one in stream.seen if one > stream.start)

    def _take(self, wanted: Wanted, tenant: str, page: Page) -> None:
        seen_ns = self._clock()
        ahead_ns = self._asking.server.ahead_ns
        for listed in page.objects:
            place, content = chunk_place(listed.key), loki_chunk(listed.key)
            stream = self._streams.get(place.stream) if place is not None and place.tenant == tenant else None
            if stream is None or place is None or content is None:
                continue
            if place.rest <= stream.start or place.rest in stream.seen:
                continue
            if listed.modified_ns - ahead_ns < wanted.began_ns - GRACE_NS:
                continue
            counts = self._counts or stream.part > 0 or stream.user in self._split
            lines = lines_in(self._asking, listed) if counts else 0
            self._tenants.settle(tenant)
            self._found(self._object(wanted, stream, listed, content, lines, seen_ns))
            self._add(wanted, stream, place.rest, content.from_ns, content.through_ns)
            if stream.part:
                self._split.add(stream.user)
                following = self._naming.stream(wanted, stream.user, stream.part + 1)
                self._streams.setdefault(following, _Stream(stream.user, stream.part + 1))

    def _object(
        self, wanted: Wanted, stream: _Stream, listed: Listed, content: Content, lines: int, seen_ns: int
    ) -> StoredObject:
        return StoredObject(
            component=KEYS.component.value,
            bucket=self._asking.bucket,
            key=listed.key,
            size_bytes=listed.size_bytes,
            modified_ns=listed.modified_ns - self._asking.server.ahead_ns,
            first_seen_ns=seen_ns,
            stream=wanted.plan.logs.fingerprint(stream.user),
            from_ns=content.from_ns,
            through_ns=content.through_ns,
            items=lines,
            ids=b"",
            compacted=False,
            cut_ns=0,
            detail="",
            part=stream.part,
        )

    def _add(self, wanted: Wanted, stream: _Stream, rest: str, from_ns: int, through_ns: int) -> None:
        """A chunk of a stream is known: see how far its data is complete now."""
        self._any = True
        stream.seen = (*stream.seen, rest)
        stream.ahead = (*stream.ahead, (from_ns, through_ns))
        if not wanted.plan.key.began_ns:
            return
        while True:
            _, next_ns = self._next_line(wanted, stream)
            reach_ns = max((end for begin, end in stream.ahead if begin <= next_ns <= end), default=0)
            if not reach_ns:
                break
            stream.covered_ns = reach_ns
        stream.ahead = tuple(one for one in stream.ahead if one[1] > stream.covered_ns)

    def _complete(self, wanted: Wanted, stream: _Stream) -> bool:
        """Nothing more can come: the load is over, and the next planned push would have been after it."""
        if not wanted.ended_ns or not stream.covered_ns:
            return False
        due_ns, _ = self._next_line(wanted, stream)
        return due_ns > wanted.ended_ns

    def _next_line(self, wanted: Wanted, stream: _Stream) -> tuple[int, int]:
        """The first planned line after what is covered: the due time of its push, and its own."""
        load, pace = wanted.plan.logs.load, wanted.plan.logs.pace(stream.user)
        n = max(0, pace.last_at(stream.covered_ns))
        due_ns = pace.due(n)
        line = (stream.covered_ns - due_ns) // load.gap_ns + 1 if stream.covered_ns >= due_ns else 0
        if line >= load.lines_per_batch:
            due_ns, line = pace.due(n + 1), 0
        return due_ns, due_ns + line * load.gap_ns
