"""What a run sends, as far as it decides which objects can hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loadgen.config import Profile, parse_profile
from loadgen.history.values import RunInfo
from loadgen.kinds import COMPONENTS
from loadgen.model import NS, Component, Signal
from loadgen.plan import Plan, plan_of

_MARGIN_NS = 60 * NS
# Components clamp and round the times of a block, and clocks differ: what lies so near is opened to see.
_NEAR_NS = 900 * NS
# LastModified is in whole seconds, and clocks differ a little: what seems this much too old is still looked at.
GRACE_NS = 5 * NS


@dataclass(frozen=True, slots=True)
class Wanted:
    """The run that is watched for.

    Attributes:
        plan: what it sends; its ``key.began_ns`` is 0 until the load begins.
        began_ns: nothing of the run is older.
        ended_ns: end of the load, 0 while it goes on.
        late_ns: how long after its due time an item may still arrive at a component.
        users: numbers of the virtual users of each signal: those that sent something once that is known, before that
            all that there can be.
        tenants: configured tenants by component; empty: not known.
    """

    plan: Plan
    began_ns: int
    ended_ns: int
    late_ns: int
    users: Mapping[Signal, tuple[int, ...]]
    tenants: Mapping[Component, str]

    def may_hold(self, from_ns: int, through_ns: int, now_ns: int) -> bool:
        """Whether data of this range can be the run's, as of ``now_ns``."""
        until_ns = (self.ended_ns or now_ns) + self.late_ns + _NEAR_NS
        return from_ns <= until_ns and through_ns >= self.began_ns - _NEAR_NS

    def is_over(self, now_ns: int) -> bool:
        """Whether the load has ended, also where nobody could note its end."""
        began_ns = self.plan.key.began_ns
        planned_ns = round(self.plan.profile.run.duration * NS) + self.late_ns
        return bool(self.ended_ns) or (began_ns > 0 and now_ns > began_ns + planned_ns)


def wanted_of(info: RunInfo, began_ns: int, sent: Mapping[Signal, tuple[int, ...]] | None = None) -> Wanted:
    """What a stored run says of itself; ``sent`` are the users that sent something, where that is known.

    Raises:
        ConfigError, ValueError: its profile or name cannot be used.
    """
    profile = parse_profile(info.profile, "run.json")
    return Wanted(
        plan=plan_of(info.key, profile),
        began_ns=began_ns,
        ended_ns=info.load_ended_ns,
        late_ns=round((profile.run.max_late + profile.run.retry_for + profile.run.timeout) * NS) + _MARGIN_NS,
        users=dict(sent) if sent else {one: _possible(profile, info, one) for one in Signal},
        tenants={one: _tenant(info.target.get(one.value)) for one in COMPONENTS},
    )


def _possible(profile: Profile, info: RunInfo, signal: Signal) -> tuple[int, ...]:
    """The numbers that users can have: each worker takes every so many-th, and they need not share them equally."""
    return tuple(range(max(profile.users(signal), info.users.get(signal.value, 0)) * max(1, info.workers)))


def _tenant(section: object) -> str:
    return str(section.get("tenant") or "") if isinstance(section, Mapping) else ""
