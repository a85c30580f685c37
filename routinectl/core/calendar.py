"""Days on which a routine's slots are left out or moved.

A calendar is a set of excluded days: named ones (holidays, the events of an ICS file, dates), weekends, or everything
but the days of `only`. A slot on an excluded day is skipped, or moved to the same local time of the next or previous day
that is not excluded; it keeps its nominal instant, which is what it is known by.

The named days are resolved when a definition is read, and travel with its revision: what was decided can be decided
again from the journal alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from routinectl.core.schedule.zone import Zone

_MOST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which days are excluded, in the routine's zone, and what becomes of their slots (skip, next_day, previous_day)."""

    zone: Zone
    exclude: Mapping[date, str] = field(default_factory=dict)
    only: Mapping[date, str] | None = None
    weekends: bool = False
    only_weekends: bool = False
    on_excluded: str = "skip"

    def why(self, day: date) -> str:
        """Return why a day is excluded, in words; empty when it is not."""
        if day in self.exclude:
            return self.exclude[day] or "an excluded date"
        weekend = day.weekday() >= 5
        if self.weekends and weekend:
            return "a weekend"
        if self.only is not None and day not in self.only and not (self.only_weekends and weekend):
            return "not one of the days it is limited to"
        return ""

    def day_of(self, slot: datetime) -> date:
        """Return the local day of a slot."""
        return slot.astimezone(self.zone.info).date()

    def moved(self, slot: datetime) -> datetime | None:
        """Return when an excluded slot is due instead: the same local time on another day; None when it is not moved."""
        if self.on_excluded == "skip":
            return None
        local = slot.astimezone(self.zone.info)
        step = timedelta(days=1 if self.on_excluded == "next_day" else -1)
        day = local.date()
        for _ in range(_MOST_DAYS):
            day += step
            if not self.why(day):
                return datetime.combine(day, local.time(), self.zone.info).astimezone(UTC)
        return None


@dataclass(frozen=True, slots=True)
class Days:
    """The half of a schedule's slots that lies on excluded days (`excluded`), or the other half."""

    calendar: Calendar
    excluded: bool

    def wants(self, slot: datetime) -> bool:
        """Say whether a slot belongs to this half."""
        return bool(self.calendar.why(self.calendar.day_of(slot))) == self.excluded

    def bounds(self, slot: datetime) -> tuple[datetime, datetime]:
        """Return the first instant of a slot's local day, and that of the next one."""
        day = self.calendar.day_of(slot)
        first, after = (datetime.combine(item, datetime.min.time(), self.calendar.zone.info) for item in (day, day + timedelta(days=1)))
        return first.astimezone(UTC), after.astimezone(UTC)


def read(doc: Mapping[str, Any], zone: Zone) -> Calendar:
    """Return the calendar of an effective definition, with the days that were resolved when it was read."""
    resolved = doc.get("resolved", {})
    sources = {key: doc.get(key, ()) for key in ("exclude", "only")}
    return Calendar(
        zone,
        _days(resolved.get("exclude", {})),
        _days(resolved.get("only", {})) if "only" in doc else None,
        any(source.get("weekends") for source in sources["exclude"]),
        any(source.get("weekends") for source in sources["only"]),
        doc.get("on_excluded", "skip"),
    )


def meaning(doc: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a calendar makes a definition another one: its text, and the content of its ICS files."""
    return {key: value for key, value in doc.items() if key != "resolved"}


def _days(named: Mapping[str, str]) -> dict[date, str]:
    return {date.fromisoformat(day): name for day, name in named.items()}
