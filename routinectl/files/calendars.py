"""The days that a definition's calendar names: holidays of a country, the events of an ICS file, dates.

They are resolved for the years around now when the definition is read. `holidays` and `icalendar` come with the extra
`calendar`, and are imported only here.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from routinectl.core import permissions
from routinectl.core.problem import Path, Problem
from routinectl.files import regular
from routinectl.files.layout import Layout

_YEARS_BACK, _YEARS_AHEAD = 1, 10
_MOST_BYTES = 4 * 1024 * 1024
_MOST_DAYS = 50_000  # an event that comes every second would have no end
_INSTALL = "pip install 'routinectl[calendar]'"


class _Fault(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def resolve(layout: Layout, routine_id: str, doc: Mapping[str, Any], now: datetime) -> tuple[dict[str, Any], list[Problem], list[str]]:
    """Return a calendar with its days resolved, the faults found on the way, and the files it was read from."""
    resolved: dict[str, dict[str, str]] = {}
    problems: list[Problem] = []
    files: list[str] = []
    digests: dict[str, str] = {}
    for key in ("exclude", "only"):
        days: dict[str, str] = {}
        for index, source in enumerate(doc.get(key, ())):
            path: Path = ("calendar", key, index)
            try:
                days |= dict(sorted(_source(layout, routine_id, source, now, files, digests)))
            except _Fault as fault:
                problems.append(Problem(f"calendar: {fault}", path, fault.hint))
        if days:
            resolved[key] = days
    found = dict(doc) | ({"resolved": resolved} if resolved else {}) | ({"files": digests} if digests else {})
    return found, problems, files


def _source(
    layout: Layout, routine_id: str, source: Mapping[str, Any], now: datetime, files: list[str], digests: dict[str, str]
) -> Iterator[tuple[str, str]]:
    if "dates" in source:
        yield from ((_iso(text), "an excluded date") for text in source["dates"])
    if "holidays" in source:
        yield from _holidays(source["holidays"], now)
    if "ics" in source:
        path = _find(layout, routine_id, source["ics"])
        files.append(path)
        yield from _ics(layout, path, source["ics"], now, digests)


def _iso(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise _Fault(f"'{text}' is no date", "dates: [2026-12-24]") from None


def _holidays(name: str, now: datetime) -> Iterator[tuple[str, str]]:
    try:
        import holidays
    except ImportError:
        raise _Fault("holidays need the extra 'calendar', which is not installed", _INSTALL) from None
    country, _, part = name.partition("-")
    years = range(now.year - _YEARS_BACK, now.year + _YEARS_AHEAD)
    try:
        found = holidays.country_holidays(country, subdiv=part or None, years=years)
    except NotImplementedError as error:
        raise _Fault(f"no holidays are known for '{name}': {str(error)[:120]}", "holidays: DE-BE, holidays: US") from None
    yield from ((day.isoformat(), f"{title} ({name})") for day, title in found.items())


def _find(layout: Layout, routine_id: str, text: str) -> str:
    """Return the file of a path: in the routine's folder, else in the workspace, which shares its calendars."""
    own = layout.resolve(routine_id, text)
    return (
        own if text.startswith("/") or os.path.exists(own) else layout.resolve(routine_id, f"workspace:{text.removeprefix('workspace:')}")
    )


def _ics(layout: Layout, path: str, name: str, now: datetime, digests: dict[str, str]) -> Iterator[tuple[str, str]]:
    import hashlib

    try:
        import icalendar
    except ImportError:
        raise _Fault("an ICS file needs the extra 'calendar', which is not installed", _INSTALL) from None
    data = _bytes(layout, path, name)
    digests[name] = hashlib.sha256(data).hexdigest()
    try:
        calendar = icalendar.Calendar.from_ical(data)
        events = list(calendar.walk("VEVENT"))
        days = ((day.isoformat(), f"{event.get('SUMMARY', 'an event')} ({name})") for event in events for day in _days_of(event, now))
        found = list(itertools.islice(days, _MOST_DAYS + 1))
    except (ValueError, KeyError, AttributeError, TypeError, IndexError, RecursionError, OverflowError):
        # What the parser says quotes the file, and a definition may name one that whoever asks may not read.
        raise _Fault(f"{name} is no calendar that can be read", "a file that begins with BEGIN:VCALENDAR and has VEVENTs") from None
    if len(found) > _MOST_DAYS:
        raise _Fault(
            f"{name} names over {_MOST_DAYS} days, each time that an event comes counted", "a calendar of its own for what matters here"
        )
    yield from found


def _bytes(layout: Layout, path: str, name: str) -> bytes:
    """Return what a calendar's file holds: one of the workspace, and nothing that is private there."""
    _refuse_foreign(layout, path, name)  # before anything tells whether it is there
    try:
        fd = regular.opened(path)
    except OSError as error:
        raise _Fault(f"{name} cannot be read: {error.strerror}", f"ls -l {path}") from None
    try:
        _refuse_foreign(layout, regular.place_of(fd, path), name)
        return regular.all_of(fd, path, _MOST_BYTES)
    except OSError as error:
        raise _Fault(f"{name} cannot be read: {error.strerror}", "a calendar of its own for what matters here") from None
    finally:
        os.close(fd)


def _refuse_foreign(layout: Layout, place: str, name: str) -> None:
    """Raise _Fault for a place that is not the workspace's, or is private there: whoever may check a definition would learn what it holds."""
    below = os.path.relpath(place, layout.root)
    if below.startswith("../"):
        below = os.path.relpath(place, os.path.realpath(layout.root))
    if below.startswith("../") or permissions.is_private(below):
        raise _Fault(
            f"{name} lies outside of the workspace, or is private there",
            f"cp {name} calendars/, and ics: calendars/{os.path.basename(name)}",
        )


def _days_of(event: Any, now: datetime) -> Iterable[date]:
    """Return the days an event covers, each time it comes; a timed event covers the days it touches."""
    begins = event.decoded("DTSTART")
    if "DTEND" in event:
        length = event.decoded("DTEND") - begins
    elif "DURATION" in event:
        length = event.decoded("DURATION")
    else:
        length = timedelta(0) if isinstance(begins, datetime) else timedelta(days=1)
    for start in _starts(event, begins, now):
        last = start + length - (timedelta(microseconds=1) if isinstance(start, datetime) and length else timedelta(0))
        first_day = start.date() if isinstance(start, datetime) else start
        last_day = last.date() if isinstance(last, datetime) else last - timedelta(days=1)
        for number in range(max((last_day - first_day).days, 0) + 1):
            yield first_day + timedelta(days=number)


def _starts(event: Any, begins: Any, now: datetime) -> Iterator[Any]:
    if "RRULE" not in event:
        yield begins
        return
    from dateutil.rrule import rrulestr

    is_day = not isinstance(begins, datetime)
    # An event repeats in local time, as its calendar says it: days are taken without a zone throughout.
    naive = datetime.combine(begins, time()) if is_day else begins.replace(tzinfo=None)
    if event["RRULE"].get("FREQ", [""])[0] in ("SECONDLY", "MINUTELY", "HOURLY"):
        raise _Fault("an event that comes more than once a day names no days", "RRULE:FREQ=DAILY")
    rule = rrulestr(event["RRULE"].to_ical().decode().replace("Z", ""), dtstart=naive)
    first, last = (datetime.combine(date(year, 1, 1), time()) for year in (now.year - _YEARS_BACK, now.year + _YEARS_AHEAD))
    for found in itertools.islice(rule, _MOST_DAYS):
        if found > last:
            return
        if found >= first:
            yield found.date() if is_day else found
