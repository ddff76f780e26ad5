import pytest
from pydantic import TypeAdapter

from loadgen.config import PlannedFault
from loadgen.faults import FAULTS, Around, DisruptorError, FaultSettings
from loadgen.faults.timeline import PING_AFTER_END_S, Timeline
from loadgen.model import NS, Component, FaultWindow

BEGAN = 1_795_000_000 * NS


def fault(**given) -> FaultSettings:
    """As a profile has it."""
    return TypeAdapter(PlannedFault).validate_python(given)


class World:
    """A component whose state only the disruptor changes, and a clock that only sleeping moves."""

    def __init__(self, heals: bool = True, answers_after_s: float = 1.0) -> None:
        self.now = BEGAN
        self.calls: list[tuple[str, str, int]] = []
        self.up_at = 0
        self.heals = heals
        self.answers_after_s = answers_after_s
        self.told: list[tuple[FaultWindow, int]] = []
        self.stopped_at = BEGAN + 10_000 * NS
        self.needs_to_end_s = 1.0
        self.ping_takes_s = 0.0

    def kill(self, component: Component) -> None:
        self.calls.append(("kill", component, self.now))
        self.up_at = 0

    def stop(self, component: Component, grace_s: float) -> bool:
        self.calls.append(("stop", component, self.now))
        self.up_at = 0
        self.now += round(min(grace_s, self.needs_to_end_s) * NS)
        return self.needs_to_end_s <= grace_s

    def start(self, component: Component) -> None:
        self.calls.append(("start", component, self.now))
        if not self.heals:
            raise DisruptorError("its port is taken; to heal it by hand: loadgen lab up")
        self.up_at = self.now + round(self.answers_after_s * NS)

    def ping(self, component: Component) -> str:
        self.now += round(self.ping_takes_s * NS)
        return "" if self.up_at and self.now >= self.up_at else "refused"

    def sleep(self, s: float) -> None:
        self.now += max(1, round(s * NS))

    def run(self, *faults: FaultSettings, disturb: bool = True, give_up_s=20.0) -> list[FaultWindow]:
        Timeline(
            faults,
            self if disturb else None,
            self.ping,
            lambda: self.now,
            self.sleep,
            lambda: self.now >= self.stopped_at,
            lambda window: self.told.append((window, len(self.calls))),
            give_up_s,
        ).run(BEGAN)
        return [window for window, _ in self.told if not window.unfinished]


def test_a_component_is_killed_when_due_started_again_and_its_recovery_is_measured():
    world = World(answers_after_s=2.0)
    (window,) = world.run(fault(at=5, component="loki", down=1))
    assert [(what, at - BEGAN) for what, _, at in world.calls] == [("kill", 5 * NS), ("start", 6 * NS)]
    assert window.began_ns == BEGAN + 5 * NS
    assert window.healed_ns == BEGAN + 6 * NS
    assert 3 * NS <= window.query_ok_ns - window.began_ns <= 3.2 * NS
    assert window.query_failed > 10
    assert window.error == ""


def test_a_fault_is_told_of_before_it_is_injected():
    world = World()
    (window,) = world.run(fault(at=5, component="loki", down=1))
    begun, calls = world.told[0]
    assert (begun.unfinished, begun.began_ns, begun.healed_ns, calls) == (True, window.began_ns, 0, 0)
    assert [one.unfinished for one, _ in world.told] == [True, False]


def test_a_restart_ends_the_component_in_order():
    world = World()
    world.run(fault(at=1, component="mimir", kind="restart"))
    assert [what for what, _, _ in world.calls] == ["stop", "start"]


def test_a_component_that_does_not_end_within_its_grace_is_killed_and_the_window_says_so():
    world = World()
    (window,) = world.run(fault(at=1, component="tempo", kind="restart", grace=30))
    assert window.fault == "restart"
    world.needs_to_end_s = 1e6
    _, window = world.run(fault(at=50, component="tempo", kind="restart", grace=30))
    assert window.fault == "restart (killed after 30 s of grace)"
    assert window.error == ""


def test_faults_happen_in_the_order_of_their_times():
    world = World()
    windows = world.run(fault(at=9, component="tempo"), fault(at=2, component="loki"))
    assert [window.component for window in windows] == ["loki", "tempo"]


def test_a_fault_that_cannot_heal_says_how_to_heal_it_by_hand():
    (window,) = World(heals=False).run(fault(at=1, component="loki"))
    assert (window.healed_ns, window.query_ok_ns) == (0, 0)
    assert "to heal it by hand" in window.error


def test_a_component_that_never_answers_again_ends_the_wait():
    (window,) = World(answers_after_s=1e6).run(fault(at=1, component="loki"), give_up_s=10)
    assert window.healed_ns > 0
    assert window.query_ok_ns == 0


def test_a_recovery_that_takes_longer_than_it_may_is_still_measured():
    (window,) = World(answers_after_s=25).run(fault(at=1, component="loki", down=1), give_up_s=10)
    assert 26 * NS <= window.query_ok_ns - window.began_ns <= 26.2 * NS


def test_without_a_way_to_disturb_nothing_happens_and_no_window_is_left():
    world = World()
    assert world.run(fault(at=1, component="loki"), disturb=False) == []
    assert world.told == world.calls == []


def test_no_fault_begins_after_the_run_was_ended():
    world = World()
    world.stopped_at = BEGAN + 3 * NS
    assert world.run(fault(at=5, component="loki")) == []
    assert world.calls == []


def test_every_registered_fault_heals_what_it_injects():
    for kind in FAULTS:
        world = World()
        one = kind.make(fault(at=1, component="loki", kind=kind.name), Around(world, world.ping))
        one.inject()
        assert [what for what, _, _ in world.calls] == ["kill" if kind.name == "kill" else "stop"]
        assert one.affects == (Component.LOKI,)
        one.heal()
        assert world.calls[-1][0] == "start"


@pytest.mark.parametrize(("component", "waits_s"), [("loki", 30), ("tempo", 60), ("mimir", 90)])
def test_each_component_is_waited_for_as_long_as_its_own_recovery_may_take(component, waits_s):
    world = World(answers_after_s=1e6)
    world.run(fault(at=1, component=component), give_up_s=lambda one: {"loki": 10, "tempo": 20, "mimir": 30}[one])
    assert waits_s <= (world.now - BEGAN) / NS - 1 <= waits_s + 1


@pytest.mark.parametrize("stopped_at_s", [1.2, 3, 20])
def test_a_run_that_is_ended_waits_a_bounded_time_for_what_never_answers(stopped_at_s):
    world = World(answers_after_s=1e6)
    world.stopped_at = BEGAN + round(stopped_at_s * NS)
    (window,) = world.run(fault(at=1, component="loki", down=60), give_up_s=3600)
    assert (world.now - world.stopped_at) / NS <= PING_AFTER_END_S + 1
    assert window.healed_ns and not window.query_ok_ns and [what for what, _, _ in world.calls] == ["kill", "start"]


def test_pings_that_hang_do_not_add_up_when_the_run_is_ended():
    world = World(answers_after_s=1e6)
    world.stopped_at = BEGAN + 2 * NS
    world.ping_takes_s = 30.0
    world.run(fault(at=1, component="loki"), give_up_s=3600)
    assert (world.now - world.stopped_at) / NS <= PING_AFTER_END_S + 2 * 30 + 1


def test_a_component_that_answers_a_moment_after_the_end_has_recovered():
    world = World(answers_after_s=4)
    world.stopped_at = BEGAN + 2 * NS
    (window,) = world.run(fault(at=1, component="loki"))
    assert window.query_ok_ns
