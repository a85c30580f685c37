"""What routines have spent of their budgets of the day, what their running calls have reserved, and where that leads."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any

from routinectl.core import budget, gates
from routinectl.core.outbox import outbox_from
from routinectl.core.routine import Routine
from routinectl.core.schedule import zone
from routinectl.core.standing import Standing
from routinectl.engine import purse
from routinectl.files import outbox
from routinectl.operations.session import Session

Row = dict[str, Any]
_LEAST_SHARE = 0.02  # of a day that must be over before anything is forecast from it


def rows(session: Session, names: list[str]) -> list[Row]:
    """Return a row for each budget of a day: what it is of, the cap, used, reserved, and the forecast.

    Of runs, tokens, cost_usd and notices, cpu and wall in seconds, output in bytes; `words` has the amounts as people read
    them. The forecast is what the day would come to if it went on as it has until now, without what the cap would stop; None
    early in the day.
    """
    found: list[Row] = []
    box = outbox_from(outbox.read(session.layout).get("outbox", {}))
    for name in names:
        routine = session.routine(name)
        if routine is not None:
            found += _of(routine, session.standing(name), session.now)
            if routine.notices_per_day is not None:
                day = gates.local_day(routine, session.now)
                found.append(_row(name, day, routine.zone, session.now, ("notices", routine.notices_per_day, box.posted_on(name, day), 0)))
    return found


def shared(session: Session) -> list[Row]:
    """Return a row for each budget that routines share; its day is that of each routine's zone, the forecast that of the workspace's."""
    found = []
    place = zone.load(session.settings.timezone)
    day = f"{session.now.astimezone(place.info):%Y-%m-%d}"
    for item in session.settings.budgets.values():
        spent = purse.spent_by_all(session.world, item, session.now)
        for what, cap, used in (("tokens", item.day.tokens, spent.tokens), ("cost_usd", item.day.cost, spent.cost or 0.0)):
            if cap is not None:
                found.append(_row(item.name, day, place, session.now, (what, cap, used, 0)) | {"tags": list(item.tags)})
    return found


def _of(routine: Routine, standing: Standing, now: datetime) -> list[Row]:
    day, caps = gates.local_day(routine, now), routine.spending.day
    spent = standing.spent.get(day, {"tokens": 0, "cost": 0.0, "reserved": {}})
    held = list(spent["reserved"].values())
    kinds = (("runs", routine.runs_per_day, standing.runs_on(day), 0), ("tokens", caps.tokens, spent["tokens"], sum(item[0] for item in held)),
             ("cost_usd", caps.cost, spent["cost"], sum(item[1] for item in held)),
             *((kind, cap, *_worked(standing, day, kind)) for kind, cap in routine.work_per_day.items()))  # fmt: skip
    return [_row(routine.id, day, routine.zone, now, (what, cap, used, held)) for what, cap, used, held in kinds if cap is not None]


def _row(owner: str, day: str, place: zone.Zone, now: datetime, amounts: tuple[str, float, float, float]) -> Row:
    what, cap, used, reserved = amounts
    share = _share_of(place.info, now)
    forecast = used / share if share >= _LEAST_SHARE else None
    numbers = {"cap": cap, "used": used, "reserved": reserved, "left": max(cap - used - reserved, 0), "forecast": forecast}
    words = {key: budget.words(what, value) if value is not None else "-" for key, value in numbers.items()}
    return {"id": owner, "day": day, "timezone": place.name, "what": what, **numbers, "words": words}


def _worked(standing: Standing, day: str, kind: str) -> tuple[float, float]:
    """Return what runs of a day have used of a kind of `budget.WORK`, and what those that go on have reserved."""
    found = standing.worked.get(day, {"used": {}, "reserved": {}})
    return found["used"].get(kind, 0.0), sum(item.get(kind, 0.0) for item in found["reserved"].values())


def _share_of(info: tzinfo, now: datetime) -> float:
    """Return how much of a local day is over, 0 to 1; a day with a change of clocks is longer or shorter."""
    local = now.astimezone(info)
    begin = local.replace(hour=0, minute=0, second=0, microsecond=0)
    end = (begin + timedelta(days=1, hours=2)).replace(hour=0)
    return (now.timestamp() - begin.timestamp()) / (end.timestamp() - begin.timestamp())
