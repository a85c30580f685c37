"""One moment: a trigger that fires once. Also the reading of ISO 8601 moments and times of day."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from routinectl.core.schedule.zone import Zone
from routinectl.errors import ScheduleError

_TIME = re.compile(r"([0-9]{1,2})(?::([0-9]{2}))?(?::([0-9]{2}))?[ ]?(am|pm|a|p)?", re.IGNORECASE | re.ASCII)
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:?[0-9]{2})?)?",
                  re.ASCII | re.IGNORECASE)  # fmt: skip
_MONTH_LENGTHS = "check the day against the month and the year"


@dataclass(frozen=True, slots=True)
class Moment:
    """A single fire at `epoch` (whole seconds since 1970)."""

    epoch: int

    def next_after(self, epoch: int, zone: Zone) -> int | None:
        """Return the moment if it is strictly after an instant, else None."""
        return self.epoch if epoch < self.epoch else None

    def previous(self, epoch: int, zone: Zone) -> int | None:
        """Return the moment if it is strictly before an instant, else None."""
        return self.epoch if self.epoch < epoch else None

    def count(self, after: int, through: int, zone: Zone) -> int:
        """Return 1 if the moment lies in (after, through], else 0."""
        return int(after < self.epoch <= through)

    def instants(self, after: int, through: int, zone: Zone) -> Iterator[int]:
        """Yield the moment if it lies in (after, through]."""
        if after < self.epoch <= through:
            yield self.epoch


def parse_time(text: str, *, allow_words: bool = True) -> tuple[int, int]:
    """Return (hour, minute) of a time of day: `9:00`, `18:30`, `9am`, `12:30 pm`, `noon`, `midnight`, bare `9`.

    Raises ScheduleError for anything else, seconds included.
    """
    cleaned = text.strip().lower()
    if allow_words and cleaned in ("noon", "midday"):
        return 12, 0
    if allow_words and cleaned == "midnight":
        return 0, 0
    match = _TIME.fullmatch(cleaned)
    if match is None:
        raise ScheduleError(f"'{text}' is not a time of day", "09:00")
    if match[3] is not None:
        raise ScheduleError(f"the time '{text}' has seconds; times of day are hour and minute", cleaned[: match.end(2)])
    hour, minute, half = int(match[1]), int(match[2] or 0), (match[4] or "")[:1]
    if minute > 59:
        raise ScheduleError(f"the minute {minute} in the time '{text}' is outside 0-59", "09:00")
    if half:
        if not 1 <= hour <= 12:
            raise ScheduleError(f"the hour {hour} in the time '{text}' is outside 1-12, which am and pm need", "09:00")
        hour = hour % 12 + (12 if half == "p" else 0)
    elif hour > 23:
        raise ScheduleError(f"the hour {hour} in the time '{text}' is outside 0-23", "09:00")
    return hour, minute


def looks_like_moment(text: str) -> bool:
    """Say whether a text begins like an ISO date, so that it should be read (and refused) as a moment."""
    return bool(re.match(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}", text.strip(), re.ASCII))


def parse_moment(text: str, zone: Zone) -> int:
    """Return seconds since 1970 of an ISO 8601 moment; without an offset it is local time of `zone`.

    Raises ScheduleError when it is not ISO 8601, no such date exists, or the local time is skipped or repeated by a
    clock change (the hint then names both readings).
    """
    cleaned = text.strip()
    if not _ISO.fullmatch(cleaned):
        raise ScheduleError(f"'{text}' is not an ISO 8601 date and time", "2026-12-24T18:00")
    try:
        moment = datetime.fromisoformat(cleaned.upper().replace(" ", "T"))
    except ValueError as error:
        raise ScheduleError(f"the date and time '{text}' does not exist: {error}", _MONTH_LENGTHS) from None
    if len(cleaned) == 10:
        raise ScheduleError(f"'{text}' is a date without a time", f"{cleaned}T09:00")
    if moment.tzinfo is None:
        return local_moment(moment, zone, text)
    try:
        moment.astimezone(UTC), moment.astimezone(zone.info)
    except OverflowError:
        raise ScheduleError(f"'{text}' is outside the years 1 to 9999, in UTC or in {zone.name}", "2026-12-24T18:00") from None
    return int(moment.timestamp())


def parse_bound(text: str, zone: Zone) -> int:
    """Return seconds since 1970 of a `start` or `end` bound: a date means its local midnight."""
    cleaned = text.strip()
    if len(cleaned) != 10:
        return parse_moment(text, zone)
    try:
        day = date.fromisoformat(cleaned)
    except ValueError:
        raise ScheduleError(f"the date '{text}' does not exist or is not ISO 8601", "2026-01-01") from None
    return earliest(datetime(day.year, day.month, day.day), zone)  # noqa: DTZ001  # a wall time, on purpose


def local_moment(wall: datetime, zone: Zone, text: str) -> int:
    """Return the instant of a local time; raise ScheduleError with advice when it is skipped or repeated."""
    readings = sorted(set(instants_of(wall, zone)))
    if len(readings) == 1:
        return readings[0]
    if readings:
        both = " or ".join(_with_offset(epoch, zone) for epoch in readings)
        raise ScheduleError(f"the local time '{text}' happens twice in {zone.name}: the clock goes back", both)
    before, after = _around_gap(wall, zone)
    raise ScheduleError(
        f"the local time '{text}' does not exist in {zone.name}: the clock goes forward",
        f"{_with_offset(before, zone)} or {_with_offset(after, zone)}",
    )


def instants_of(wall: datetime, zone: Zone) -> list[int]:
    """Return the instants at which the zone's clock shows a local time: none, one or two."""
    naive = int(wall.replace(tzinfo=UTC).timestamp())
    guesses = {naive - zone.offset_at(naive - 86400), naive - zone.offset_at(naive + 86400)}
    return sorted(epoch for epoch in guesses if epoch + zone.offset_at(epoch) == naive)


def earliest(wall: datetime, zone: Zone) -> int:
    """Return the first instant at which a local time is reached: the first pass, or the end of the gap that skips it."""
    readings = instants_of(wall, zone)
    return readings[0] if readings else _around_gap(wall, zone)[1]


def _around_gap(wall: datetime, zone: Zone) -> tuple[int, int]:
    """Return the last minute before and the first instant after the gap that holds a skipped local time."""
    naive = int(wall.replace(tzinfo=UTC).timestamp())
    for stretch in zone.forward(naive - 2 * 86400):
        if stretch.start + stretch.offset > naive:
            return stretch.start - 60, stretch.start
    raise AssertionError("a skipped local time lies in a gap")  # pragma: no cover


def _with_offset(epoch: int, zone: Zone) -> str:
    return datetime.fromtimestamp(epoch, zone.info).isoformat(timespec="minutes")


def add_days(epoch: int, days: int, zone: Zone) -> int:
    """Return the instant so many calendar days later at the same local time (the end of a gap if that skips it)."""
    wall = datetime.fromtimestamp(epoch, zone.info).replace(tzinfo=None) + timedelta(days=days)
    return earliest(wall, zone)
