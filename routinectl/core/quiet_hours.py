"""Quiet hours: a daily window in which nothing is fired.

The start is in the window, the end is not; a start after the end reaches over midnight. `days` are those on which a
window begins. Times are local to the routine's zone, so a window is an hour shorter or longer when the clock changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from routinectl.core.schedule.moment import parse_time
from routinectl.core.schedule.read import parse_weekday
from routinectl.core.schedule.zone import Zone

NIGHT = {"start": "22:00", "end": "07:00"}


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A window from `start` to `end` (minutes of the day), beginning on `days` (Monday is 0; None: every day)."""

    start: int
    end: int
    days: frozenset[int] | None = None

    def until(self, now: datetime, zone: Zone) -> datetime | None:
        """Return when the window that holds `now` ends, or None when it is not quiet."""
        local = now.astimezone(zone.info).replace(tzinfo=None)
        for day in (local.date(), local.date() - timedelta(days=1)):
            if self.days is not None and day.weekday() not in self.days:
                continue
            ends = day if self.start < self.end else day + timedelta(days=1)
            if _at(day, self.start) <= local < _at(ends, self.end):
                return _instant(_at(ends, self.end), zone, now)
        return None


def read(doc: Mapping[str, Any]) -> QuietHours:
    """Return the window of a definition. Raises ScheduleError for what is no time of day, ValueError for an empty window."""
    start, end = (hour * 60 + minute for hour, minute in (parse_time(doc["start"]), parse_time(doc["end"])))
    if start == end:
        raise ValueError("start and end are the same, so it is not clear whether it is always or never quiet")
    days = frozenset((parse_weekday(day) - 1) % 7 for day in doc["days"]) if "days" in doc else None
    return QuietHours(start, end, days)


def _at(day: date, minute: int) -> datetime:
    return datetime.combine(day, time(minute // 60, minute % 60))


def _instant(local: datetime, zone: Zone, now: datetime) -> datetime:
    """Return the instant of a local time, the second one where the clock repeats it and the first has passed."""
    first = local.replace(tzinfo=zone.info).astimezone(UTC)
    return first if first > now else local.replace(tzinfo=zone.info, fold=1).astimezone(UTC)
