"""The gates a slot or request passes at the instant it would start, in this order; the first that refuses names the verdict.

1. invalid      the definition in force must be good
2. max_runs     the routine's runs are used up
3. cooldown     the last real start is too recent (a forced request passes)
4. concurrency  a run of the routine is going: forbid skips, allow waits for a free lease
Capacity over all routines is judged after these, by `admit`, because it is about all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from routinectl.core.routine import Routine
from routinectl.core.standing import Standing


@dataclass(frozen=True, slots=True)
class Refusal:
    """A gate's no: skip with this reason, or hold for it."""

    reason: str
    hold: bool = False


def refusal(routine: Routine, standing: Standing, now: datetime, *, asked: bool = False, force: bool = False) -> Refusal | None:
    """Return the first refusal of a start at `now`, or None. `asked` by a person: the broken file does not matter."""
    if standing.invalid is not None and not asked:
        return Refusal("invalid")
    if routine.max_runs is not None and standing.run_count >= routine.max_runs:
        return Refusal("max_runs")
    if routine.cooldown and standing.last_start and now < standing.last_start + routine.cooldown and not force:
        return Refusal("cooldown")
    if len(standing.runs) >= routine.parallel:
        return Refusal("overlap") if routine.forbid else Refusal("capacity", hold=True)
    return None
