"""What routines have spent of their budgets of the day, what their running calls have reserved, and where that leads."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from routinectl.core import gates
from routinectl.core.routine import Routine
from routinectl.core.standing import Standing
from routinectl.operations.session import Session

Row = dict[str, Any]
_LEAST_SHARE = 0.02  # of a day that must be over before anything is forecast from it


def rows(session: Session, names: list[str]) -> list[Row]:
    """Return a row for each budget of a day: what it is of (runs, tokens, cost_usd), the cap, used, reserved, and the forecast.

    The forecast is what the day would come to if it went on as it has until now, without what the cap would stop; None
    early in the day.
    """
    found = []
    for name in names:
        routine = session.routine(name)
        if routine is not None:
            found += _of(routine, session.standing(name), session.now)
    return found


def _of(routine: Routine, standing: Standing, now: datetime) -> list[Row]:
    day, caps = gates.local_day(routine, now), routine.spending.day
    share = _share_of_day(routine, now)
    spent = standing.spent.get(day, {"tokens": 0, "cost": 0.0, "reserved": {}})
    held = list(spent["reserved"].values())
    kinds = (("runs", routine.runs_per_day, standing.runs_on(day), 0), ("tokens", caps.tokens, spent["tokens"], sum(item[0] for item in held)),
             ("cost_usd", caps.cost, spent["cost"], sum(item[1] for item in held)))  # fmt: skip
    return [
        {"id": routine.id, "day": day, "timezone": routine.zone.name, "what": what, "cap": cap, "used": used, "reserved": reserved,
         "left": max(cap - used - reserved, 0), "forecast": used / share if share >= _LEAST_SHARE else None}
        for what, cap, used, reserved in kinds if cap is not None
    ]  # fmt: skip


def _share_of_day(routine: Routine, now: datetime) -> float:
    """Return how much of the routine's local day is over, 0 to 1; a day with a change of clocks is longer or shorter."""
    local = now.astimezone(routine.zone.info)
    begin = local.replace(hour=0, minute=0, second=0, microsecond=0)
    end = (begin + timedelta(days=1, hours=2)).replace(hour=0)
    return (now.timestamp() - begin.timestamp()) / (end.timestamp() - begin.timestamp())
