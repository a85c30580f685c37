"""Several time triggers as one schedule: `next_after`, `previous`, `count` and `last_n` over their union.

Triggers that meet in one instant are one slot. Instants are aware datetimes outside and whole seconds inside.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from routinectl.core.calendar import Days
from routinectl.core.schedule.cron import Cron
from routinectl.core.schedule.interval import Interval
from routinectl.core.schedule.moment import Moment
from routinectl.core.schedule.zone import Zone
from routinectl.core.units import from_epoch, to_epoch

Rule = Cron | Interval | Moment
_MOST_DAYS = 3700  # days in a row on which no slot is wanted: a calendar that excludes everything ends the search
_CHUNK = 40 * 86400  # a union is counted in stretches of this many seconds, to bound memory


@dataclass(frozen=True, slots=True)
class TimeTrigger:
    """One rule in one zone. `text` is how a person wrote it, for records; it is part of the schedule's identity."""

    rule: Rule
    zone: Zone
    text: str

    def next_after(self, epoch: int) -> int | None:
        """Return the first fire strictly after an instant, or None."""
        return self.rule.next_after(epoch, self.zone)

    def previous(self, epoch: int) -> int | None:
        """Return the last fire strictly before an instant, or None."""
        return self.rule.previous(epoch, self.zone)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The union of time triggers between two bounds: `start` inclusive, `end` exclusive (seconds since 1970).

    With `days`, only the slots on those days: a calendar halves a schedule.
    """

    triggers: tuple[TimeTrigger, ...] = ()
    start: int | None = None
    end: int | None = None
    days: Days | None = None

    def __bool__(self) -> bool:
        return bool(self.triggers)

    @property
    def once(self) -> bool:
        """Whether every trigger is a single moment."""
        return bool(self.triggers) and all(isinstance(trigger.rule, Moment) for trigger in self.triggers)

    def next_after(self, after: datetime) -> datetime | None:
        """Return the first slot strictly after an instant, or None when there is none."""
        epoch = self._next(to_epoch(after))
        for _ in range(_MOST_DAYS if self.days is not None else 1):
            slot = None if epoch is None else from_epoch(epoch)
            if slot is None or self.days is None or self.days.wants(slot):
                return slot
            epoch = self._next(to_epoch(self.days.bounds(slot)[1]) - 1)
        return None

    def previous(self, before: datetime) -> datetime | None:
        """Return the last slot strictly before an instant, or None."""
        for _ in range(_MOST_DAYS if self.days is not None else 1):
            slot = self._previous(before)
            if slot is None or self.days is None or self.days.wants(slot):
                return slot
            before = self.days.bounds(slot)[0]
        return None

    def _previous(self, before: datetime) -> datetime | None:
        at = to_epoch(before) + (1 if before.microsecond else 0)
        if self.end is not None:
            at = min(at, self.end)
        found = [epoch for trigger in self.triggers if (epoch := trigger.previous(at)) is not None]
        latest = max(found, default=None)
        return None if latest is None or (self.start is not None and latest < self.start) else from_epoch(latest)

    def count(self, after: datetime, through: datetime) -> int:
        """Return how many slots lie in (after, through]; long spans are counted, not walked."""
        low, high = self._clip(to_epoch(after), to_epoch(through))
        if low >= high:
            return 0
        if self.days is None:
            return self._count(low, high)
        return sum(self._count(first, last) for first, last in self._wanted(self.days, low, high))

    def _wanted(self, days: Days, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of (low, high] that lie on wanted days, a day at a time."""
        first = low
        while first < high:
            day = from_epoch(first + 1)
            last = min(to_epoch(days.bounds(day)[1]) - 1, high)
            if days.wants(day):
                yield first, last
            first = last

    def _count(self, low: int, high: int) -> int:
        if len(self.triggers) == 1:
            return self.triggers[0].rule.count(low, high, self.triggers[0].zone)
        return self._count_union(low, high)

    def last_n(self, after: datetime, through: datetime, n: int) -> list[datetime]:
        """Return the last `n` slots in (after, through], oldest first."""
        found: list[datetime] = []
        before = from_epoch(to_epoch(through) + 1)
        while len(found) < n:
            slot = self.previous(before)
            if slot is None or slot <= after:
                break
            found.append(slot)
            before = slot
        return found[::-1]

    def upcoming(self, after: datetime, n: int) -> list[datetime]:
        """Return the first `n` slots after an instant."""
        found: list[datetime] = []
        slot = self.next_after(after)
        while slot is not None and len(found) < n:
            found.append(slot)
            slot = self.next_after(slot)
        return found

    def matching(self, slot: datetime) -> list[str]:
        """Return the texts of the triggers that fire at a slot."""
        epoch = to_epoch(slot)
        return [trigger.text for trigger in self.triggers if trigger.next_after(epoch - 1) == epoch]

    def _next(self, epoch: int) -> int | None:
        if self.start is not None:
            epoch = max(epoch, self.start - 1)
        first: int | None = None
        for trigger in self.triggers:
            found = trigger.next_after(epoch)
            if found is not None and (first is None or found < first):
                first = found
        return None if first is None or (self.end is not None and first >= self.end) else first

    def _clip(self, low: int, high: int) -> tuple[int, int]:
        if self.start is not None:
            low = max(low, self.start - 1)
        if self.end is not None:
            high = min(high, self.end - 1)
        return low, high

    def _count_union(self, low: int, high: int) -> int:
        total = 0
        while low < high:
            through = min(low + _CHUNK, high)
            fires: set[int] = set()
            for trigger in self.triggers:
                fires.update(trigger.rule.instants(low, through, trigger.zone))
            total += len(fires)
            low = through
        return total

    def walk(self, after: datetime, through: datetime) -> Iterator[datetime]:
        """Yield the slots in (after, through], in order (for audits and previews; decisions never walk)."""
        low, high = self._clip(to_epoch(after), to_epoch(through))
        last = None
        for epoch in heapq.merge(*(trigger.rule.instants(low, high, trigger.zone) for trigger in self.triggers)):
            if epoch != last and (self.days is None or self.days.wants(from_epoch(epoch))):
                yield from_epoch(epoch)
            last = epoch
