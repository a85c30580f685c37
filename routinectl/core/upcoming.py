"""What a routine will fire next, with what its calendar does to it: for previews, lists of next fires and reviews."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from routinectl.core.routine import Routine
from routinectl.core.units import to_iso

_MOST_MOVED = 50


@dataclass(frozen=True, slots=True)
class Excluded:
    """A slot on an excluded day: when it is due instead (None: it is skipped), and why."""

    slot: datetime
    moved: datetime | None
    why: str

    def plain(self) -> dict[str, str | None]:
        """Return it as JSON data."""
        return {"slot": to_iso(self.slot), "to": to_iso(self.moved) if self.moved else None, "why": self.why}


def fires(routine: Routine, after: datetime, count: int) -> tuple[list[datetime], list[Excluded]]:
    """Return the next due instants, and the excluded slots among them, in order; moved slots are due where they are moved to."""
    due = [routine.due(slot) for slot in routine.schedule.upcoming(after, count)]
    excluded = _excluded(routine, after, due[-1] if len(due) == count and due else None)
    moved = [item.moved + routine.offset for item in excluded if item.moved is not None and item.moved > after]
    return sorted({*due, *moved})[:count], excluded


def _excluded(routine: Routine, after: datetime, until: datetime | None) -> list[Excluded]:
    found: list[Excluded] = []
    if routine.excluded is None or routine.calendar is None:
        return found
    for slot in routine.excluded.upcoming(after, _MOST_MOVED):
        if until is not None and slot > until:
            break
        found.append(Excluded(slot, routine.calendar.moved(slot), routine.calendar.why(routine.calendar.day_of(slot))))
    return found
