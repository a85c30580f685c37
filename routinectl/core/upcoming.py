"""What a routine will fire next, with what its calendar does to it: for previews, lists of next fires and reviews."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from routinectl.core.routine import Routine
from routinectl.core.standing import Standing
from routinectl.core.units import to_iso

_MOST_MOVED = 50


@dataclass(frozen=True, slots=True)
class Fire:
    """A coming fire: when it is due, and the nominal instant of its slot."""

    due: datetime
    slot: datetime


@dataclass(frozen=True, slots=True)
class Excluded:
    """A slot on an excluded day: when it is due instead (None: it is skipped), and why."""

    slot: datetime
    moved: datetime | None
    why: str

    def plain(self) -> dict[str, str | None]:
        """Return it as JSON data."""
        return {"slot": to_iso(self.slot), "to": to_iso(self.moved) if self.moved else None, "why": self.why}


def fires_as_it_stands(routine: Routine, standing: Standing) -> bool:
    """Say whether nobody has to do anything before a routine fires: it is enabled, good, no draft, and not paused."""
    blocked = standing.deleted or standing.paused is not None or standing.invalid is not None or standing.draft is not None
    return routine.enabled and not blocked


def fires(routine: Routine, after: datetime, count: int, runs: int = 0) -> tuple[list[Fire], list[Excluded]]:
    """Return the next fires, and the excluded slots among them, in order; moved slots are due where they are moved to.

    Of slots that are due together one fires: that of the schedule, else the newest. `runs` are those that there were:
    there are no more fires than `max_runs` leaves.
    """
    if routine.max_runs is not None:
        count = min(count, max(routine.max_runs - runs, 0))
    slots = routine.schedule.upcoming(after, count)
    days = excluded(routine, after, routine.due(slots[-1]) if len(slots) == count and slots else None)
    found = {item.moved + routine.offset: item.slot for item in days if item.moved is not None and item.moved > after}
    found |= {routine.due(slot): slot for slot in slots}
    return [Fire(due, found[due]) for due in sorted(found)[:count]], days


def excluded(routine: Routine, after: datetime, until: datetime | None) -> list[Excluded]:
    """Return the slots after an instant (and up to another) that lie on excluded days, at most `_MOST_MOVED`."""
    found: list[Excluded] = []
    if routine.excluded is None or routine.calendar is None:
        return found
    for slot in routine.excluded.upcoming(after, _MOST_MOVED):
        if until is not None and slot > until:
            break
        found.append(Excluded(slot, routine.calendar.moved(slot), routine.calendar.why(routine.calendar.day_of(slot))))
    return found
