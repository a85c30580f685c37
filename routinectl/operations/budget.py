"""What routines have spent of their budgets of the day, what their running calls have reserved, and where that leads."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any

from routinectl.core import gates
from routinectl.core.routine import Routine
from routinectl.core.schedule import zone
from routinectl.core.standing import Standing
from routinectl.engine import purse
from routinectl.operations.session import Session

Row = dict[str, Any]
_LEAST_SHARE = 0.02  # of a day that must be over before anything is forecast from it


def rows(session: Session, names: list[str]) -> list[Row]:
    """Return a row for each budget of a day: what it is of (runs, tokens, cost_usd), the cap, used, reserved, and the forecast.

    The forecast is what the day would come to if it went on as it has until now, without what the cap would stop; None
    early in the day.
    """
    found: list[Row] = []
    for name in names:
        routine = session.routine(name)
        if routine is not None:
            found += _of(routine, session.standing(name), session.now)
    return found


def shared(session: Session) -> list[Row]:
    """Return a row for each budget that routines share; its day is that of each routine's zone, the forecast that of the workspace's."""
    found = []
    share = _share_of(zone.load(session.settings.timezone).info, session.now)
    for item in session.settings.budgets.values():
        spent = purse.spent_by_all(session.world, item, session.now)
        for what, cap, used in (("tokens", item.day.tokens, spent.tokens), ("cost_usd", item.day.cost, spent.cost or 0.0)):
            if cap is not None:
                found.append({"id": item.name, "day": f"{session.now.astimezone(zone.load(session.settings.timezone).info):%Y-%m-%d}",
                              "timezone": session.settings.timezone, "what": what, "cap": cap, "used": used, "reserved": 0, "tags": list(item.tags),
                              "left": max(cap - used, 0), "forecast": used / share if share >= _LEAST_SHARE else None})  # fmt: skip
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
    return _share_of(routine.zone.info, now)


def _share_of(info: tzinfo, now: datetime) -> float:
    local = now.astimezone(info)
    begin = local.replace(hour=0, minute=0, second=0, microsecond=0)
    end = (begin + timedelta(days=1, hours=2)).replace(hour=0)
    return (now.timestamp() - begin.timestamp()) / (end.timestamp() - begin.timestamp())
