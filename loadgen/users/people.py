"""The people who look at dashboards while the load goes on."""

from __future__ import annotations

from dataclasses import replace

from gevent.pool import Group
from locust import User, task
from locust.env import Environment

from loadgen.model import NS, QueryTiming
from loadgen.queries.dashboard import panels
from loadgen.queries.panel import Panel
from loadgen.users.looking import ViewerLooks
from loadgen.users.pushing import LoadError, load_of

STOP_WITHIN_S = 3.0


class DashboardViewer(User):  # type: ignore[misc]
    """A person who looks at panels through Grafana, one at each planned time, whatever became of those before."""

    def on_start(self) -> None:
        load = self._load = load_of(self.environment)
        self._n = load.next_viewer()
        self._due_ns = load.clock()
        self._refresh_ns = round(load.profile.dashboards.refresh * NS)
        self._looks = ViewerLooks(self._ask, self._record, load.clock, Group(), load.readers.via)

    def on_stop(self) -> None:
        # What has fallen due by now was planned, though nobody comes to it any more.
        self._looks.close()
        now_ns = self._load.clock()
        try:
            while self._due_ns <= now_ns:
                self.look()
        finally:
            self._looks.end(STOP_WITHIN_S)

    def wait_time(self) -> float:
        return max(0, self._due_ns - self._load.clock()) / NS

    @task
    def look(self) -> None:
        load = self._load
        due_ns, self._n = self._due_ns, self._n + 1
        self._due_ns += self._refresh_ns
        try:
            choice = panels(load.plan, load.readers, load.clock(), *load.known.trace())
        except Exception as problem:
            # A mistake of ours, and it goes up; but what was planned must not vanish with it.
            self._looks.unable(due_ns, f"loadgen could not plan a panel: {type(problem).__name__}: {problem}"[:300])
            raise
        if choice:
            self._looks.plan(choice[self._n % len(choice)], due_ns)
        else:
            self._looks.unable(due_ns, "there was no panel to look at")

    def _ask(self, panel: Panel, due_ns: int) -> QueryTiming:
        return replace(self._load.shown.judged(panel, panel.ask(self._load.readers, due_ns)), source="viewer")

    def _record(self, timing: QueryTiming) -> None:
        self._load.recorder.add(timing)
        tell_of_query(self.environment, timing)


def tell_of_query(environment: Environment, timing: QueryTiming) -> None:
    """Let Locust's own statistics show a query."""
    environment.events.request.fire(
        request_type=timing.component,
        name=f"{timing.kind} {timing.range_s:g} s",
        response_time=(timing.done_ns - timing.due_ns) / 1e6,
        response_length=0,
        exception=None if timing.ok else LoadError(timing.detail),
        context={},
    )
