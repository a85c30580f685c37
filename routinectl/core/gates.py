"""The gates that a slot or request passes at the instant it would start, in the order of `GATES`.

The first that refuses names the verdict; capacity over all routines comes after them, in `admit`, because it is about
all of them together. A refusal is a skip or a hold, with what `why` needs to explain it: the key of the definition that
made the rule, and the values that met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from routinectl.core.reaction import MOST_LINKS
from routinectl.core.routine import Routine
from routinectl.core.standing import APART, Request, Standing
from routinectl.core.units import format_duration, format_size, from_iso, to_epoch, to_iso
from routinectl.core.wish import Start


@dataclass(frozen=True, slots=True)
class Facts:
    """What a decision needs and the routine's own events do not tell: its content now, and the workspace's limits."""

    content: str = ""
    fires_per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A gate's no: skip with this reason, or hold for it (until an instant, where that is known)."""

    reason: str
    hold: bool = False
    until: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asking:
    """What asks to start: a slot (`request` None) or a request; `beside` are the starts of the same decision."""

    routine: Routine
    standing: Standing
    now: datetime
    facts: Facts
    request: Request | None = None
    beside: tuple[Start, ...] = ()

    @property
    def counted(self) -> list[Start]:
        """The starts of the same decision that caps count, once they are on record."""
        return [start for start in self.beside if start.request is None or start.request.mode not in APART]

    @property
    def force(self) -> bool:
        """Whether a person said that cooldown, quiet hours and dedup do not matter."""
        return self.request is not None and self.request.force


def refusal(asking: Asking) -> Refusal | None:
    """Return the first refusal, or None."""
    for gate in GATES:
        refused = gate(asking)
        if refused is not None:
            return refused
    return None


def _listens(asking: Asking) -> Refusal | None:
    """Refuse what a person's run-now passes: a trigger's request is judged as a slot of its instant would be."""
    if asking.request is None or not asking.request.trigger:
        return None
    routine, standing, at = asking.routine, asking.standing, to_epoch(asking.request.at)
    if not routine.enabled:
        return Refusal("disabled", facts={"rule": "enabled", "value": False})
    if standing.paused is not None:
        return Refusal("paused")
    if standing.invalid is not None:
        return Refusal("invalid")
    start, end = routine.schedule.start, routine.schedule.end
    if (start is not None and at < start) or (end is not None and at >= end):
        return Refusal("out_of_bounds", facts={"rule": "end" if start is None or at >= start else "start"})
    excluded = routine.calendar.why(routine.calendar.day_of(asking.request.at)) if routine.calendar is not None else ""
    if excluded:
        return Refusal("calendar", facts={"rule": "calendar", "value": excluded})
    if asking.request.chain.get("depth", 0) > MOST_LINKS:
        return Refusal("chain", facts={"rule": "triggers", "value": MOST_LINKS, "origin": asking.request.chain.get("origin")})
    return None


def _draft(asking: Asking) -> Refusal | None:
    if asking.standing.draft is not None:
        return Refusal("draft", facts={"by": asking.standing.draft.get("by")})
    return None


def _invalid(asking: Asking) -> Refusal | None:
    if asking.standing.invalid is not None and asking.request is None:
        return Refusal("invalid")
    return None


def _max_runs(asking: Asking) -> Refusal | None:
    most, count = asking.routine.max_runs, asking.standing.run_count + len(asking.counted)
    return Refusal("max_runs", facts={"rule": "max_runs", "value": most, "runs": count}) if most is not None and count >= most else None


def _approval(asking: Asking) -> Refusal | None:
    when = approval_mode(asking.routine, asking.standing)
    if when == "none" or is_approved(asking.standing, asking.facts.content, asking.now):
        return None
    return Refusal("approval", hold=True, facts={"rule": "approval", "value": when})


def _dedup(asking: Asking) -> Refusal | None:
    window, request = asking.routine.dedup_window, asking.request
    if not window or request is None or request.payload is None or asking.force:
        return None
    key = payload_key(request.payload)
    twin = any(start.request is not None and start.request.payload is not None and payload_key(start.request.payload) == key
               for start in asking.counted)  # fmt: skip
    seen = to_iso(asking.now) if twin else asking.standing.dedup.get(key)
    if seen is None or asking.now - from_iso(seen) >= window:
        return None
    return Refusal("dedup", facts={"rule": "dedup_window", "value": format_duration(window), "seen": seen})


def _cooldown(asking: Asking) -> Refusal | None:
    cooldown, last = asking.routine.cooldown, asking.now if asking.counted else asking.standing.last_start
    if not cooldown or last is None or asking.force or asking.now >= last + cooldown:
        return None
    return Refusal("cooldown", facts={"rule": "cooldown", "value": format_duration(cooldown), "last_start": to_iso(last)})


def _quiet_hours(asking: Asking) -> Refusal | None:
    quiet = asking.routine.quiet_hours
    until = quiet.until(asking.now, asking.routine.zone) if quiet is not None and not asking.force else None
    if until is None:
        return None
    hold = asking.request is not None or asking.routine.misfire.policy != "skip"
    return Refusal("quiet_hours", hold=hold, until=until, facts={"rule": "quiet_hours", "until": to_iso(until)})


def _daily_budget(asking: Asking) -> Refusal | None:
    most, caps, work = asking.routine.runs_per_day, asking.routine.spending.day, asking.routine.work_per_day
    value: object
    if most is None and not caps.any and not work:
        return None
    day = local_day(asking.routine, asking.now)
    if most is not None and asking.standing.runs_on(day) + len(asking.counted) >= most:
        return Refusal("daily_budget", facts={"rule": "budget.per_day.runs", "value": most})
    worked = asking.standing.worked_on(day)
    full = next((kind for kind, cap in work.items() if worked.get(kind, 0.0) >= cap), "")
    if full:
        value = format_size(int(work[full])) if full == "output" else format_duration(timedelta(seconds=work[full]))
        return Refusal("daily_budget", facts={"rule": f"budget.per_day.{full}", "value": value})
    over = caps.is_over(asking.standing.spent_on(day))
    value = caps.tokens if over == "tokens" else caps.cost
    return Refusal("daily_budget", facts={"rule": f"budget.per_day.{over}", "value": value}) if over else None


def _fire_rate(asking: Asking) -> Refusal | None:
    most = asking.facts.fires_per_hour
    if most is None or asking.standing.runs_in(hour_of(asking.now)) + len(asking.counted) < most:
        return None
    return Refusal("fire_rate", facts={"rule": "limits.max_fires_per_hour", "value": most})


def _concurrency(asking: Asking) -> Refusal | None:
    going = len(asking.standing.runs) + len(asking.beside)
    if going < asking.routine.parallel:
        return None
    policy = asking.routine.concurrency
    if asking.request is not None and asking.request.mode == "backfill":
        policy = "queue_one"  # made up for one after another, in order
    runs = {"rule": "concurrency.policy", "value": policy, "running": next(iter(asking.standing.runs), "")}
    if policy == "forbid":
        return Refusal("overlap", facts=runs)
    return Refusal({"queue_one": "queue", "replace": "replace"}.get(policy, "capacity"), hold=True, facts=runs)


GATES: tuple[Callable[[Asking], Refusal | None], ...] = (
    _draft,
    _listens,
    _invalid,
    _max_runs,
    _approval,
    _dedup,
    _cooldown,
    _quiet_hours,
    _daily_budget,
    _fire_rate,
    _concurrency,
)


def approval_mode(routine: Routine, standing: Standing) -> str:
    """Return when a person is asked: as the definition says, or before it is enabled if nobody vouched for it."""
    if routine.approval.when == "none" and standing.untrusted:
        return "before_enable"
    return routine.approval.when


def is_bound(routine: Routine, standing: Standing) -> bool:
    """Say whether a routine may act with approved bytes alone."""
    return approval_mode(routine, standing) != "none"


def is_approved(standing: Standing, content: str, now: datetime) -> bool:
    """Say whether a grant is in force for exactly this content."""
    given = standing.approval
    if given is None or given["state"] != "granted" or not content or given["content"] != content:
        return False
    return not given.get("until") or now < from_iso(given["until"])


def payload_key(payload: object) -> str:
    """Return what two equal payloads have in common: SHA-256 of their canonical JSON."""
    import hashlib
    import json

    return hashlib.sha256(json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def local_day(routine: Routine, instant: datetime) -> str:
    """Return the day of an instant in the routine's zone, as ISO 8601: budgets over a day are counted by it."""
    return instant.astimezone(routine.zone.info).date().isoformat()


def hour_of(instant: datetime) -> str:
    """Return the hour of an instant (UTC): the fire rate is counted by it."""
    return f"{instant:%Y-%m-%dT%H}"
