"""What every write says afterwards: the schedule in words and the next three fires, with their zone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from routinectl.cli import output
from routinectl.core.routine import Routine
from routinectl.core.schedule.describe import describe
from routinectl.core.units import to_iso
from routinectl.core.upcoming import fires
from routinectl.operations import look
from routinectl.operations.session import Session
from routinectl.operations.write import Written


def understood(routine: Routine, now: datetime, runs: int = 0) -> None:
    """Say when a routine will run, after so many runs."""
    if not routine.schedule and not routine.reactions:
        output.say("  runs by hand only: routinectl run-now " + routine.id)
        return
    output.say(f"  {output.with_zone(describe(routine.schedule, routine.others), routine.zone.name)}")
    if not routine.enabled:
        output.say(f"  disabled: routinectl enable {routine.id}")
        return
    if routine.max_runs is not None and runs >= routine.max_runs:
        output.say(
            f"  completed: max_runs {routine.max_runs}, and there were {runs}; routinectl edit {routine.id} --set max_runs={runs + 1}"
        )
        return
    for fire in fires(routine, now, 3, runs)[0]:
        output.say(f"  next: {output.instant(to_iso(fire.due), routine.zone.name, now)}")


def named(session: Session, text: str) -> str:
    """Return the id of a routine named by id or by a unique prefix, and say so where nothing of it fires.

    Whatever a command answers of a broken routine or a draft, nobody takes it for one that is in force.
    """
    name = session.id_of(text)
    idle, hint = look.idle(session, name)
    if idle:
        output.say(f"Note: {output.safe(idle)}; {hint}")
    return name


def as_data(written: Written, now: datetime) -> dict[str, Any]:
    """Return the same for tools."""
    routine = written.routine
    following = [to_iso(fire.due) for fire in fires(routine, now, 3, written.runs)[0]] if routine.enabled else []
    return {"id": written.id, "created": written.created, "changed": written.changed, "schedule": describe(routine.schedule, routine.others),
            "timezone": routine.zone.name, "next": following}  # fmt: skip


def written(result: Written, now: datetime, *, dry_run: bool = False, as_json: bool = False) -> None:
    """Say what a write came to."""
    if as_json:
        output.data("written", as_data(result, now) | {"dry_run": dry_run})
        return
    if dry_run:
        output.write(result.text.rstrip("\n"))
    verb = "Nothing to change in" if not result.changed else "Added" if result.created else "Changed"
    output.say(f"{'Dry run, nothing written: ' if dry_run else ''}{verb} {result.id}")
    understood(result.routine, now, result.runs)
