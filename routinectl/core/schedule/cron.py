"""Cron expressions: five fields, read strictly, fired by the rule of Vixie cron and cronie.

The rule (cronie `man/cron.8`, `src/cron.c`, `src/entry.c`; the cases are in `tests/corpus/`):

* A *wildcard job* has a minute or hour field that starts with `*`. It fires at each elapsed minute whose local time
  matches: in both passes of a repeated hour, never for a skipped one.
* Every other job is a *fixed-time job*. Skipped by a forward change of less than 3 h it fires once, at the first
  instant after the gap; repeated by a backward change of less than 3 h it fires the first time only.
* A larger change is a correction: nothing is made up, the new time counts at once.
* Day of month and weekday: OR when neither field starts with `*` or `?`, else AND (so `*/2` counts as a star).

Local times are counted in minutes (`wall`), day ordinal times 1440 plus minute of the day; instants in seconds since
1970. croniter is not used to compute: it breaks this rule in the classes that `tests/corpus/README.md` lists.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from routinectl.core.problem import did_you_mean
from routinectl.core.schedule.zone import Stretch, Zone
from routinectl.errors import ScheduleError

SHORTCUTS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
SEARCH_YEARS = 60  # 29 February on one weekday comes every 28 years, every 40 across a year such as 2100

_MINUTES_A_DAY = 1440
_EPOCH_WALL = date(1970, 1, 1).toordinal() * _MINUTES_A_DAY
_LAST_WALL = date(9000, 1, 1).toordinal() * _MINUTES_A_DAY


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    first_name: int = 0


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, MONTHS, 1),
    _Field("day of week (weekday)", 0, 7, WEEKDAYS, 0),
)
_MINUTE, _HOUR, _DOM, _MONTH, _DOW = range(5)
_DAY_FIELDS = (_FIELDS[_DOM].name, _FIELDS[_DOW].name)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression, read; sets are bit masks. Make one with `parse`."""

    text: str
    minutes: int
    hours: int
    doms: int
    months: int
    dows: int
    last_dom: bool
    nths: frozenset[tuple[int, int]]
    last_dows: int
    either_day: bool
    wildcard: bool

    def next_after(self, epoch: int, zone: Zone) -> int | None:
        """Return the first fire strictly after an instant, or None when none comes within SEARCH_YEARS."""
        limit = epoch + SEARCH_YEARS * 366 * 86400
        for stretch in zone.forward(epoch + 1):
            if stretch.start > limit:
                return None
            if stretch.start > epoch and self._makes_up(stretch):
                return stretch.start
            low, high = self._walls(stretch)
            low = max(low, _wall_after(epoch, stretch.offset))
            wall = self._wall_at_or_after(low, high)
            if wall is not None:
                return _instant(wall, stretch.offset)
        return None

    def previous(self, epoch: int, zone: Zone) -> int | None:
        """Return the last fire strictly before an instant, or None when there was none since 1970."""
        for stretch in zone.backward(epoch - 1):
            low, high = self._walls(stretch)
            high = min(high, _wall_ceil(epoch, stretch.offset))
            wall = self._wall_before(high, low)
            if wall is not None:
                return _instant(wall, stretch.offset)
            if self._makes_up(stretch):
                return stretch.start
        return None

    def count(self, after: int, through: int, zone: Zone) -> int:
        """Return how many fires lie in (after, through], without walking them."""
        total = 0
        for stretch, low, high, made_up in self._pieces(after, through, zone):
            total += self._count_walls(low, high) + made_up
            if stretch.end > through:
                break
        return total

    def instants(self, after: int, through: int, zone: Zone) -> Iterator[int]:
        """Yield the fires in (after, through], in order."""
        for stretch, low, high, made_up in self._pieces(after, through, zone):
            if made_up:
                yield stretch.start
            wall = self._wall_at_or_after(low, high)
            while wall is not None:
                yield _instant(wall, stretch.offset)
                wall = self._wall_at_or_after(wall + 1, high)
            if stretch.end > through:
                break

    def times_of_day(self) -> list[int]:
        """Return the minutes of the day at which it fires on a matching day."""
        return [hour * 60 + minute for hour in bits(self.hours) for minute in bits(self.minutes)]

    def days_of(self, year: int, month: int) -> int:
        """Return the matching days of a month as a mask (bit 1 is the first)."""
        return _days_of(self, year, month) if self.months >> month & 1 else 0

    def _pieces(self, after: int, through: int, zone: Zone) -> Iterator[tuple[Stretch, int, int, bool]]:
        if after >= through:
            return
        for stretch in zone.forward(after + 1):
            if stretch.start > through:
                return
            low, high = self._walls(stretch)
            low = max(low, _wall_after(after, stretch.offset))
            high = min(high, _wall_after(through, stretch.offset))
            on_time = self._wall_at_or_after(_wall_ceil(stretch.start, stretch.offset), high)
            fires_then = on_time is not None and _instant(on_time, stretch.offset) == stretch.start
            yield stretch, low, high, stretch.start > after and not fires_then and self._makes_up(stretch)

    def _walls(self, stretch: Stretch) -> tuple[int, int]:
        """Return the local minutes [low, high) that count in a stretch."""
        low = _wall_ceil(stretch.start, stretch.offset)
        if stretch.seen_until is not None and not self.wildcard:
            low = max(low, _wall_ceil(stretch.seen_until, 0))
        return low, _wall_ceil(stretch.end, stretch.offset)

    def _makes_up(self, stretch: Stretch) -> bool:
        """Say whether local times skipped at the start of a stretch are made up for there."""
        if stretch.gap_from is None or self.wildcard:
            return False
        skipped = self._wall_at_or_after(_wall_ceil(stretch.gap_from, 0), _wall_ceil(stretch.start, stretch.offset))
        return skipped is not None

    def _wall_at_or_after(self, wall: int, limit: int) -> int | None:
        """Return the first matching local minute in [wall, limit)."""
        if wall >= limit:
            return None
        day, minute = divmod(wall, _MINUTES_A_DAY)
        then = self._time_at_or_after(minute) if self._on(day) else None
        if then is None:
            day_found = self._day_at_or_after(day + 1, (limit - 1) // _MINUTES_A_DAY)
            if day_found is None:
                return None
            day, then = day_found, self._time_at_or_after(0)
        found = day * _MINUTES_A_DAY + (then or 0)
        return found if found < limit else None

    def _wall_before(self, wall: int, limit: int) -> int | None:
        """Return the last matching local minute in [limit, wall)."""
        if wall <= limit:
            return None
        day, minute = divmod(wall - 1, _MINUTES_A_DAY)
        then = self._time_at_or_before(minute) if self._on(day) else None
        if then is None:
            day_found = self._day_at_or_before(day - 1, limit // _MINUTES_A_DAY)
            if day_found is None:
                return None
            day, then = day_found, self._time_at_or_before(_MINUTES_A_DAY - 1)
        found = day * _MINUTES_A_DAY + (then or 0)
        return found if found >= limit else None

    def _count_walls(self, low: int, high: int) -> int:
        """Return how many matching local minutes lie in [low, high)."""
        if low >= high:
            return 0
        times = self.times_of_day()
        first, minute = divmod(low, _MINUTES_A_DAY)
        last, last_minute = divmod(high, _MINUTES_A_DAY)
        total = 0
        if self._on(first):
            total -= sum(time < minute for time in times)
        if last_minute and self._on(last):
            total += sum(time < last_minute for time in times)
        return total + self._count_days(first, last) * len(times)

    def _count_days(self, first: int, last: int) -> int:
        """Return how many matching days lie in [first, last) (ordinals)."""
        total, day = 0, first
        while day < last:
            start = date.fromordinal(day)
            length = monthrange(start.year, start.month)[1]
            through = min(length, start.day + last - day - 1)
            mask = self.days_of(start.year, start.month) >> start.day << start.day
            total += (mask & ((1 << (through + 1)) - 1)).bit_count()
            day += length - start.day + 1
        return total

    def _on(self, day: int) -> bool:
        when = date.fromordinal(day)
        return bool(self.days_of(when.year, when.month) >> when.day & 1)

    def _time_at_or_after(self, minute: int) -> int | None:
        hour, minute = divmod(minute, 60)
        if self.hours >> hour & 1:
            rest = self.minutes >> minute
            if rest:
                return hour * 60 + minute + _lowest(rest)
        later = self.hours >> (hour + 1)
        return (hour + 1 + _lowest(later)) * 60 + _lowest(self.minutes) if later else None

    def _time_at_or_before(self, minute: int) -> int | None:
        hour, minute = divmod(minute, 60)
        if self.hours >> hour & 1:
            rest = self.minutes & ((2 << minute) - 1)
            if rest:
                return hour * 60 + rest.bit_length() - 1
        earlier = self.hours & ((1 << hour) - 1)
        return (earlier.bit_length() - 1) * 60 + self.minutes.bit_length() - 1 if earlier else None

    def _day_at_or_after(self, day: int, through: int) -> int | None:
        while day <= through:
            when = date.fromordinal(day)
            rest = self.days_of(when.year, when.month) >> when.day
            if rest:
                found = day + _lowest(rest)
                return found if found <= through else None
            day += monthrange(when.year, when.month)[1] - when.day + 1
        return None

    def _day_at_or_before(self, day: int, down_to: int) -> int | None:
        while day >= down_to:
            when = date.fromordinal(day)
            rest = self.days_of(when.year, when.month) & ((2 << when.day) - 1)
            if rest:
                found = day - when.day + rest.bit_length() - 1
                return found if found >= down_to else None
            day -= when.day
        return None


def bits(mask: int) -> list[int]:
    """Return the numbers whose bits are set, in order."""
    return [position for position in range(mask.bit_length()) if mask >> position & 1]


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _wall_ceil(epoch: int, offset: int) -> int:
    """Return the first local minute that begins at or after an instant."""
    return -(-(epoch + offset) // 60) + _EPOCH_WALL


def _wall_after(epoch: int, offset: int) -> int:
    """Return the first local minute that begins strictly after an instant."""
    return (epoch + offset) // 60 + 1 + _EPOCH_WALL


def _instant(wall: int, offset: int) -> int:
    return (wall - _EPOCH_WALL) * 60 - offset


@lru_cache(maxsize=4096)
def _days_of(cron: Cron, year: int, month: int) -> int:
    """Return the matching days of a month whose month matches, as a mask (bit 1 is the first)."""
    first_weekday, length = monthrange(year, month)
    first_weekday = (first_weekday + 1) % 7  # calendar counts from Monday, cron from Sunday
    all_days = ((1 << length) - 1) << 1
    by_date = cron.doms & all_days
    if cron.last_dom:
        by_date |= 1 << length
    by_weekday = 0
    for day in range(1, length + 1):
        weekday = (first_weekday + day - 1) % 7
        last = day + 7 > length and cron.last_dows >> weekday & 1
        if cron.dows >> weekday & 1 or last or (weekday, (day + 6) // 7) in cron.nths:
            by_weekday |= 1 << day
    return by_date | by_weekday if cron.either_day else by_date & by_weekday


@lru_cache(maxsize=4096)
def parse(text: str) -> Cron:
    """Read a cron expression or an @shortcut.

    Raises ScheduleError that names the field, what was found and what is allowed. Does not check that it ever fires:
    `check_fires` does.
    """
    cleaned = text.strip(" \t")
    if cleaned.startswith("@"):
        cleaned = _shortcut(cleaned)
    fields = cleaned.split()
    if len(fields) != 5:
        raise _field_count(text, fields)
    minute = _FieldReader(_FIELDS[_MINUTE], fields[_MINUTE]).read()
    hour = _FieldReader(_FIELDS[_HOUR], fields[_HOUR]).read()
    dom = _FieldReader(_FIELDS[_DOM], fields[_DOM]).read()
    month = _FieldReader(_FIELDS[_MONTH], fields[_MONTH]).read()
    dow = _FieldReader(_FIELDS[_DOW], fields[_DOW]).read()
    stars = ("*", "?")
    return Cron(
        text=" ".join(fields),
        minutes=minute.values,
        hours=hour.values,
        doms=dom.values,
        months=month.values,
        dows=dow.values,
        last_dom=dom.last_day,
        nths=frozenset(dow.nths),
        last_dows=dow.last_dows,
        either_day=not fields[_DOM].startswith(stars) and not fields[_DOW].startswith(stars),
        wildcard=fields[_MINUTE].startswith("*") or fields[_HOUR].startswith("*"),
    )


def check_fires(cron: Cron, zone: Zone, after: int) -> None:
    """Raise ScheduleError when an expression has no fire within SEARCH_YEARS."""
    if cron.next_after(after, zone) is None:
        raise ScheduleError(
            f"cron '{cron.text}' never fires: no such date ever comes",
            "check the day of month against the month; `L` is the last day of any month",
        )


def shortest_gap(cron: Cron) -> int:
    """Return the shortest time between two fires, in seconds, as far as times of day decide it."""
    times = cron.times_of_day()
    around = [*times[1:], times[0] + _MINUTES_A_DAY]
    return min(later - earlier for earlier, later in zip(times, around, strict=True)) * 60


def _shortcut(text: str) -> str:
    meaning = SHORTCUTS.get(text.lower())
    if meaning is None:
        if text.lower() == "@reboot":
            raise ScheduleError(
                "the shortcut '@reboot' is not a time, so it is not supported",
                "run it from a systemd unit, or by hand: `routinectl run-now ID`",
            )
        raise ScheduleError(
            f"unknown shortcut '{text}'",
            did_you_mean(text.lower(), SHORTCUTS) or f"the shortcuts are {', '.join(SHORTCUTS)}",
        )
    return meaning


def _field_count(text: str, fields: list[str]) -> ScheduleError:
    five = "minute, hour, day of month, month, day of week"
    if not fields:
        return ScheduleError(f"an empty cron expression; five fields are wanted: {five}", "0 9 * * MON-FRI")
    count = f"{len(fields)} field{'s' if len(fields) > 1 else ''}"
    hint = "0 9 * * MON-FRI"
    if len(fields) == 6 and re.fullmatch(r"[a-z_][a-z0-9_-]*", fields[5]) and fields[5] not in WEEKDAYS:
        hint = f"{' '.join(fields[:5])}   (a user name belongs to /etc/crontab only)"
    elif len(fields) in (6, 7):
        hint = f"{' '.join(fields[1:6])}   (without the seconds{' and the year' if len(fields) == 7 else ''})"
    return ScheduleError(f"'{text.strip()}' is not a cron expression: {count}, where five are wanted: {five}", hint)


class _FieldReader:
    """Reads one field into sets of values, refusing what cron does not define."""

    def __init__(self, field: _Field, text: str) -> None:
        self.field = field
        self.text = text
        self.values = 0
        self.last_day = False
        self.last_dows = 0
        self.nths: set[tuple[int, int]] = set()

    def read(self) -> _FieldReader:
        if not re.fullmatch(r"[0-9A-Za-z*?,/#()~-]+", self.text, re.ASCII):
            raise self.fault(f"'{self.text}' holds a character that no cron field may hold")
        if re.match(r"[HR~]", self.text, re.ASCII) or "~" in self.text or "(" in self.text:
            raise ScheduleError(
                f"{self.field.name} field: '{self.text}' is not supported: hashed and random values move or hide",
                "write a fixed value and `jitter: 2m`, which spreads load and stays the same",
            )
        items = self.text.split(",")
        for item in items:
            if not item:
                raise self.fault(f"an empty item in the list '{self.text}'")
            if item == "?" and len(items) > 1:
                raise self.fault(f"a question mark '?' stands alone, not in the list '{self.text}'")
            self.read_item(item)
        return self

    def read_item(self, item: str) -> None:
        body, slash, step = item.partition("/")
        if "#" in item:
            self.read_nth(item)
        elif "L" in item.upper() and self.field.name in _DAY_FIELDS:
            self.read_last(item)
        elif "W" in item.upper() and self.field.name == "day of month":
            raise self.fault(f"'{item}': the nearest weekday (W) is not supported")
        else:
            self.read_range(body, self.read_step(step, item) if slash else 1, stepped=bool(slash))

    def read_step(self, step: str, item: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", step, re.ASCII):
            raise self.fault(f"the step in '{item}' is not a number")
        size = self.field.high - self.field.low + (0 if self.field.high == 7 else 1)
        if int(step) == 0:
            raise self.fault(f"the step in '{item}' is zero")
        if int(step) >= size:
            raise self.fault(f"the step in '{item}' is wider than the field, so it would mean something else")
        return int(step)

    def read_range(self, body: str, step: int, *, stepped: bool) -> None:
        field = self.field
        if body in ("*", "?"):
            if body == "?" and (field.name not in _DAY_FIELDS or stepped):
                raise self.fault("a question mark '?' belongs to the two day fields, without a step")
            low, high = field.low, min(field.high, 6) if field.high == 7 else field.high
        elif "-" in body:
            low, high = self.read_ends(body)
        elif stepped:
            low, high = self.read_value(body), 6 if field.high == 7 else field.high
            low = low % 7 if field.high == 7 else low
        else:
            low = high = self.read_value(body)
        for value in range(low, high + 1, step):
            self.add(value)

    def read_ends(self, body: str) -> tuple[int, int]:
        ends = body.split("-")
        if ends[0] == "":
            raise self.fault(f"'{body}' is a negative number or a range without a start")
        if len(ends) != 2 or not ends[1] or "*" in ends:
            raise self.fault(f"'{body}' is not a range; write low-high")
        low, high = self.read_value(ends[0]), self.read_value(ends[1])
        weekday = self.field.high == 7
        named = any(self.is_name(end) for end in ends)
        if weekday and low == 7 and high != 7:
            low = 0
        if low <= high:
            return (0, 0) if weekday and low == high == 7 else (low, high)
        if weekday and (named or high == 0):
            return low, high + 7
        if named:
            return low, high + 12
        raise self.fault(f"the range '{body}' runs backwards", f"{ends[0]}-{self.field.high},{self.field.low}-{ends[1]}")

    def read_value(self, text: str) -> int:
        field = self.field
        if self.is_name(text):
            return field.names.index(text.lower()) + field.first_name
        if re.fullmatch(r"[0-9]{1,20}", text, re.ASCII):
            value = int(text)
            if field.low <= value <= field.high:
                return value
            raise self.fault(f"'{text}' is outside {field.low}-{field.high}")
        if not text:
            raise self.fault(f"a step needs something before it: '{self.text}'", f"*{self.text}")
        known = ", ".join(field.names).upper()
        raise self.fault(
            f"'{text}' is not a value: numbers {field.low}-{field.high}{' or ' + known if known else ''}",
            did_you_mean(text.lower(), field.names).upper().replace("DID YOU MEAN", "did you mean"),
        )

    def read_nth(self, item: str) -> None:
        match = re.fullmatch(r"([0-7]|[A-Za-z]{3})#([1-5])", item, re.ASCII)
        if self.field.high != 7 or match is None:
            raise self.fault(f"'{item}': the nth weekday of a month is written in the day of week field as FRI#2")
        self.nths.add((self.read_value(match[1]) % 7, int(match[2])))

    def read_last(self, item: str) -> None:
        if self.field.name == _FIELDS[_DOM].name:
            if item.upper() != "L":
                raise self.fault(f"'{item}' is not supported: the last day of the month is a plain L")
            self.last_day = True
            return
        match = re.fullmatch(r"L([0-7]|[A-Z]{3})|([0-7]|[A-Z]{3})L", item.upper(), re.ASCII)
        if self.field.high != 7 or match is None:
            raise self.fault(f"'{item}': a last weekday of the month is written in the day of week field as 5L")
        self.last_dows |= 1 << self.read_value(match[1] or match[2]) % 7

    def add(self, value: int) -> None:
        if self.field.high == 7:
            value %= 7
        elif self.field.name == "month":
            value = (value - 1) % 12 + 1
        self.values |= 1 << value

    def is_name(self, text: str) -> bool:
        return text.lower() in self.field.names

    def fault(self, message: str, hint: str = "") -> ScheduleError:
        field = self.field
        names = f" or {field.names[0]}-{field.names[-1]}" if field.names else ""
        usual = f"the {field.name} is *, or {field.low}-{field.high}{names}: lists 1,3 and ranges 1-5 and steps */2 of them"
        return ScheduleError(f"{field.name} field: {message}", hint or usual)
