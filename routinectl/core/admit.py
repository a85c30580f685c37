"""Choose among the starts of all routines when there are more than places.

Requests and holds that have waited longest go first, then the order of due instants; ties go by id, so that the
choice is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable

from routinectl.core.decision import Start


def admit(starts: Iterable[Start], places: int) -> tuple[list[Start], list[Start]]:
    """Return the starts that get a place, and those that must wait, each in order of their due instants."""
    ordered = sorted(starts, key=lambda start: (start.due, start.id))
    places = max(places, 0)
    return ordered[:places], ordered[places:]
