"""From events alone: does every slot have exactly one verdict?

The checker shares no code with the fold of standings: it collects what the events say of every slot, and compares that
with what the schedules in force would have made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from routinectl.core.event import Event
from routinectl.core.routine import Routine, build, schedule_key
from routinectl.core.units import from_iso, to_iso

_GRACE_SECONDS = 2.0  # slots younger than this may still be on their way


@dataclass(slots=True)
class _Trail:
    """What was said of one routine: spans in which a schedule was in force, and the verdicts."""

    routine: Routine | None = None
    key: object = None
    since: datetime | None = None
    enabled: bool = True
    spans: list[tuple[Routine, datetime, datetime]] = field(default_factory=list)
    single: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    intervals: list[tuple[datetime, datetime]] = field(default_factory=list)
    held: set[str] = field(default_factory=set)

    def close(self, at: datetime) -> None:
        """End the span of the schedule in force."""
        if self.routine is not None and self.since is not None and self.enabled and at > self.since:
            self.spans.append((self.routine, self.since, at))
        self.since = at


def audit(events: Iterable[Event], until: datetime) -> list[str]:
    """Return a sentence for every slot without a final verdict, or with two, and for gaps in the numbers."""
    trails: dict[str, _Trail] = defaultdict(_Trail)
    found: list[str] = []
    last = 0
    for event in events:
        if last and event.seq != last + 1:
            found.append(f"{event.seq - last - 1} events are missing before number {event.seq}")
        last = event.seq
        if event.subject:
            _follow(trails[event.subject], event)
    for name, trail in sorted(trails.items()):
        trail.close(until)
        found += _gaps(name, trail, until)
    return found


def _follow(trail: _Trail, event: Event) -> None:
    data, kind = event.data, event.type
    at = from_iso(data.get("at") or event.time)
    if kind in ("routine.created", "routine.updated"):
        key = schedule_key(data["definition"])
        if kind == "routine.created" or key != trail.key:
            trail.close(at)
            trail.key = key
            trail.routine = build(event.subject, data["definition"], at)
        trail.enabled = data["definition"].get("enabled", True) if kind == "routine.created" else trail.enabled
        trail.since = trail.since or at
    elif kind in ("routine.enabled", "routine.disabled"):
        trail.close(at)
        trail.enabled = kind == "routine.enabled"
    elif kind == "routine.deleted":
        trail.close(at)
        trail.enabled = False
    elif kind in ("run.claimed", "slot.skipped", "slot.missed"):
        _verdict(trail, event)
    elif kind == "slot.held":
        trail.held.add(data["slot"])


def _verdict(trail: _Trail, event: Event) -> None:
    data = event.data
    if data.get("slot"):
        trail.single[data["slot"]] += 1
        trail.held.discard(data["slot"])
    interval = data.get("collapsed") or (data if "through" in data else None)
    if interval:
        trail.intervals.append((from_iso(interval["after"]), from_iso(interval["through"])))


def _gaps(name: str, trail: _Trail, until: datetime) -> list[str]:
    found = [f"{name}: {slot} has {count} verdicts" for slot, count in trail.single.items() if count > 1]
    for routine, since, through in trail.spans:
        for slot in routine.schedule.walk(since, through):
            stamp = to_iso(slot)
            answers = trail.single.get(stamp, 0) + sum(after < slot <= end for after, end in trail.intervals)
            young = (until - routine.due(slot)).total_seconds() < _GRACE_SECONDS
            if answers == 0 and stamp not in trail.held and not young:
                found.append(f"{name}: {stamp} has no verdict")
            if answers > 1:
                found.append(f"{name}: {stamp} has {answers} verdicts")
    return found
