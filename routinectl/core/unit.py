"""Lines of systemd's units: every one of an exported unit is made here, so that no text can become a line or a section."""

from __future__ import annotations

from collections.abc import Iterator

from routinectl.core import legible
from routinectl.core.schedule.cron import Cron, bits
from routinectl.core.schedule.interval import Interval
from routinectl.errors import CannotSayError

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_ALL = {"minutes": (1 << 60) - 1, "hours": (1 << 24) - 1, "doms": (1 << 32) - 2, "months": (1 << 13) - 2, "dows": (1 << 7) - 1}
_DAY_SECONDS = 86400
_MOST_LINES = 60  # of one interval


def comment(text: str) -> str:
    """Return a comment of one line, whatever the text holds."""
    return "# " + _closed(text)


def words(name: str, text: str) -> str:
    """Return a line for people, such as a description."""
    return f"{name}={_closed(text).replace('%', '%%')}"


def _closed(text: str) -> str:
    return legible.line(text).strip().rstrip("\\")  # a backslash at its end would join the next line


def path(name: str, value: str) -> str:
    """Return a line that names a folder. Raises CannotSayError where systemd would read another one."""
    if any(legible.is_control(letter) for letter in value) or value != value.strip() or value.endswith("\\"):
        raise CannotSayError(f"the folder {value!r} cannot be named in a unit", "another folder, or a link to it")
    return f"{name}={value.replace('%', '%%')}"


def shell(name: str, line: str) -> str:
    """Return a line that has a shell run something; newlines stay what they are. Raises CannotSayError for what no program can be given."""
    if "\0" in line or any("\ud800" <= letter <= "\udfff" for letter in line):
        raise CannotSayError("it holds a character that no program can be given", "put it into a script: command: [./run.sh]")
    plain = line.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$").replace("\n", "\\n")
    return f'{name}=/bin/sh -c "{"".join(_escaped(letter) for letter in plain)}"'


def _escaped(letter: str) -> str:
    if not legible.is_control(letter):
        return letter
    return "".join(f"\\x{byte:02x}" for byte in letter.encode())


def calendar(rule: Cron, zone: str) -> list[str]:
    """Return the lines that fire as a cron expression does. Raises CannotSayError for days that systemd cannot name."""
    times = f"{_list(rule.hours, 'hours')}:{_list(rule.minutes, 'minutes')}:00"
    months = _list(rule.months, "months")
    found = [f"OnCalendar={days}*-{months}{date} {times} {zone}" for days, date in _dates(rule)]
    return list(dict.fromkeys(found))


def _list(mask: int, kind: str) -> str:
    return "*" if mask == _ALL[kind] else ",".join(f"{value:02d}" for value in bits(mask))


def _dates(rule: Cron) -> Iterator[tuple[str, str]]:
    """Yield (weekdays, day of the month) whose union are the days of a rule."""
    by_date = [f"-{_list(rule.doms, 'doms')}"] if rule.doms else []
    by_date += ["~01"] if rule.last_dom else []
    plain = "" if rule.dows == _ALL["dows"] else ",".join(_DAYS[day] for day in bits(rule.dows)) + " "
    by_weekday = [(plain, range(1, 32))] if rule.dows else []
    by_weekday += [(f"{_DAYS[day]} ", range(7 * nth - 6, min(7 * nth, 31) + 1)) for day, nth in sorted(rule.nths)]
    last = [f"{_DAYS[day]} " for day in bits(rule.last_dows)]
    if rule.either_day:
        yield from (("", date) for date in by_date)
        yield from ((days, "-*" if len(nth) == 31 else f"-{nth[0]:02d}..{nth[-1]:02d}") for days, nth in by_weekday)
        yield from ((days, "~07/1") for days in last)
        return
    for date in by_date:
        for days, nth in by_weekday:
            yield from _both(rule, days, date, nth)
        for days in last:
            if date not in ("-*", "~01"):
                raise CannotSayError(f"systemd cannot say '{rule.text}': the last weekday of a month, on some days of it", "two routines")
            yield days, "~01" if date == "~01" else "~07/1"


def _both(rule: Cron, days: str, date: str, nth: range) -> Iterator[tuple[str, str]]:
    """Yield what is on a date and on the nth weekday as well."""
    if len(nth) == 31:
        yield days, date
    elif date == "~01":
        raise CannotSayError(f"systemd cannot say '{rule.text}': the last day of a month, where it is its nth weekday", "two routines")
    elif common := [day for day in bits(rule.doms) if day in nth]:
        yield days, "-" + ",".join(f"{day:02d}" for day in common)


def interval(rule: Interval) -> list[str]:
    """Return the lines that fire at the instants of an interval. Raises CannotSayError where its instants differ from day to day."""
    if _DAY_SECONDS % rule.step:
        raise CannotSayError("its instants differ from day to day, and systemd would count from when the timer was started", "every: 6h")
    hours: dict[tuple[int, int], list[int]] = {}
    for second in sorted((rule.anchor + number * rule.step) % _DAY_SECONDS for number in range(_DAY_SECONDS // rule.step)):
        hours.setdefault((second // 60 % 60, second % 60), []).append(second // 3600)
    minutes: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for (minute, second), found in hours.items():
        minutes.setdefault((tuple(found), second), []).append(minute)
    seconds: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for (at_hours, second), at_minutes in minutes.items():
        seconds.setdefault((at_hours, tuple(at_minutes)), []).append(second)
    lines = [
        f"OnCalendar=*-*-* {_some(hour, 24)}:{_some(minute, 60)}:{_some(second, 60)} UTC" for (hour, minute), second in seconds.items()
    ]
    if len(lines) > _MOST_LINES:
        raise CannotSayError(f"it would take {len(lines)} lines", "every: 1m")
    return lines


def _some(values: list[int] | tuple[int, ...], most: int) -> str:
    return "*" if len(values) == most else ",".join(f"{value:02d}" for value in sorted(values))
