"""Choose among the starts of all routines when there are more than places.

What is due first goes first. A high priority counts as an hour earlier and a low one as an hour later, so nothing is
ever overtaken by what is due more than two hours after it: that is the longest wait behind others. Ties go by id, so
that the choice is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from routinectl.core.routine import Routine
from routinectl.core.wish import Start

HEAD_START = {"high": timedelta(hours=-1), "normal": timedelta(), "low": timedelta(hours=1)}


@dataclass(frozen=True, slots=True)
class Late:
    """A start without a place, and what it waits for: `capacity` or `pool`."""

    start: Start
    reason: str


def place_in_line(routine: Routine, due: datetime) -> tuple[datetime, str]:
    """Return what starts are ordered by: when it is due, moved by its priority; then the id."""
    return due + HEAD_START[routine.priority], routine.id


def admit(starts: Iterable[tuple[Start, Routine]], places: int, pools: Mapping[str, int]) -> tuple[list[Start], list[Late]]:
    """Return the starts that get a place, and those that must wait, each in their order.

    `places` are free over all, `pools` are the free places of each pool; a pool that is not there has none.
    """
    free = dict(pools)
    admitted: list[Start] = []
    late: list[Late] = []
    for start, routine in sorted(starts, key=lambda item: place_in_line(item[1], item[0].due)):
        if routine.pool and free.get(routine.pool, 0) <= 0:
            late.append(Late(start, "pool"))
        elif len(admitted) >= places:
            late.append(Late(start, "capacity"))
        else:
            admitted.append(start)
            if routine.pool:
                free[routine.pool] -= 1
    return admitted, late
