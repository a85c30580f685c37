"""The next fires as a calendar (RFC 5545), for whoever looks at one anyway."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from routinectl.core import legible, upcoming
from routinectl.core.schedule.describe import describe
from routinectl.errors import DefinitionError
from routinectl.operations.session import Session
from routinectl.version import VERSION

MOST_DAYS = 90
_MOST = 100  # fires of one routine: what fires every minute says nothing in a calendar


def calendar(session: Session, names: Iterable[str], days: int) -> bytes:
    """Return the fires of these routines in the next so many days as an ICS document, at most 100 of each routine.

    Raises DefinitionError where icalendar (extra `calendar`) is not installed.
    """
    try:
        import icalendar
    except ImportError:
        raise DefinitionError("a calendar needs icalendar, which is not installed", "pip install 'routinectl[calendar]'") from None
    found = icalendar.Calendar()
    found.add("prodid", f"-//routinectl//{VERSION}//EN")
    found.add("version", "2.0")
    found.add("x-wr-calname", f"Routines of {session.layout.root.name}")
    end = session.now + timedelta(days=days)
    for name in names:
        routine, standing = session.routine(name), session.standing(name)
        if routine is None or not upcoming.fires_as_it_stands(routine, standing):
            continue
        for fire in upcoming.fires(routine, max(standing.mark or session.now, session.now), _MOST, standing.run_count)[0]:
            if fire.due > end:
                break
            event = icalendar.Event()
            event.add("uid", f"{name}-{fire.slot:%Y%m%dT%H%M%SZ}@{session.layout.root.name}.routinectl")
            event.add("dtstamp", session.now.replace(microsecond=0))
            event.add("dtstart", fire.due)
            event.add("summary", legible.line(routine.name))
            words = [*(standing.doc or {}).get("description", "").splitlines(), describe(routine.schedule)]
            event.add("description", "\n".join(filter(None, map(legible.line, words))))
            found.add_component(event)
    text: bytes = found.to_ical()
    return text
