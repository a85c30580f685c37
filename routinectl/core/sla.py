"""Lateness as a fact: what a routine promises about itself, and since when it breaks the promise.

A breach is one event. It shows as OVERDUE until the next success, which is recorded as recovery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from routinectl.core.units import parse_duration

if TYPE_CHECKING:
    from routinectl.core.routine import Routine
    from routinectl.core.standing import Standing


@dataclass(frozen=True, slots=True)
class Sla:
    """At most so long between successes, from due to start, and for a run; None where nothing is promised."""

    success_within: timedelta | None = None
    start_within: timedelta | None = None
    run_within: timedelta | None = None

    def __bool__(self) -> bool:
        return any((self.success_within, self.start_within, self.run_within))


NONE = Sla()


def read(doc: Mapping[str, Any]) -> Sla:
    """Return what a definition promises."""
    return Sla(**{key: parse_duration(text) for key, text in doc.items()})


def deadlines(routine: Routine, standing: Standing) -> Iterator[tuple[str, datetime]]:
    """Yield (promise, instant at which it is broken), of every promise that time alone will break."""
    promised = routine.sla
    since = max(filter(None, (standing.last_good_at, standing.watched_since)), default=None)
    if promised.success_within and since and not standing.used_up:
        yield "success_within", since + promised.success_within
    if promised.start_within:
        waiting = [routine.due(slot) for slot in standing.holds] + [request.at for request in standing.requests.values()]
        if waiting:
            yield "start_within", min(waiting) + promised.start_within
    if promised.run_within:
        going = [run.started_at or run.claimed_at for run in standing.runs.values()]
        if going:
            yield "run_within", min(going) + promised.run_within
