"""From wishes to events: the one place where a decision becomes a line of the journal."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from routinectl.core.catch_up import Interval
from routinectl.core.decision import Hold, Resume, Skip, Start, Wish
from routinectl.core.event import Event
from routinectl.core.routine import Routine
from routinectl.core.standing import Standing
from routinectl.core.units import to_iso


def event_of(wish: Wish, now: datetime) -> Event:
    """Return the event of a wish that needs nothing but to be recorded."""
    if isinstance(wish, Resume):
        return Event("routine.resumed", wish.id, {"at": to_iso(wish.at), "by": "routinectl"})
    if isinstance(wish, Hold):
        subject = {"slot": to_iso(wish.slot)} if wish.slot else {"request": wish.request}
        return Event("slot.held", wish.id, {"at": to_iso(now), **subject, "reason": wish.reason})
    assert isinstance(wish, Skip), "a start is recorded by claim"
    data: dict[str, Any] = {"at": to_iso(now), "reason": wish.reason}
    if wish.slot is not None:
        data["slot"] = to_iso(wish.slot)
    elif wish.request is not None:
        data["request"] = wish.request
    elif wish.interval is not None:
        data |= interval_data(wish.interval)
    return Event("slot.missed" if wish.missed else "slot.skipped", wish.id, data)


def interval_data(interval: Interval) -> dict[str, Any]:
    """Return an interval of slots as event data."""
    return {"after": to_iso(interval.after), "through": to_iso(interval.through), "count": interval.count}


def run_id(start: Start) -> str:
    """Return the id of the run of a start: made from its slot, so that claiming a slot twice would be seen.

    A request brings an id of its own, made when it was asked.
    """
    if start.request is not None:
        return start.request.id
    import hashlib

    assert start.slot is not None
    return f"{start.slot:%Y%m%dT%H%M%SZ}-{hashlib.sha256(start.id.encode()).hexdigest()[:4]}"


def claim(start: Start, routine: Routine, standing: Standing, lease: int, facts: dict[str, Any], now: datetime) -> Event:
    """Return the claim of a start; `facts` are the content fingerprint and the commit, as far as they are known."""
    data: dict[str, Any] = {
        "at": to_iso(now), "run": run_id(start), "due": to_iso(start.due), "reason": start.reason, "attempt": 1,
        "lease": lease, "revision": standing.revision, "timeout": routine.timeout.total_seconds(),
        "kill_grace": routine.kill_grace.total_seconds(), **facts,
    }  # fmt: skip
    if start.slot is not None:
        data["slot"] = to_iso(start.slot)
        data["trigger"] = " + ".join(routine.schedule.matching(start.slot))
    if start.request is not None:
        data["request"] = start.request.id
        data["trigger"] = "manual"
        if start.request.by:
            data["by"] = start.request.by
    if start.collapsed is not None:
        data["collapsed"] = interval_data(start.collapsed)
    return Event("run.claimed", start.id, data)
