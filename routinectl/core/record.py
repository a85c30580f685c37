"""From wishes to events: the one place where a decision becomes a line of the journal."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from routinectl.core.catch_up import Interval
from routinectl.core.event import Event
from routinectl.core.gates import local_day, payload_key
from routinectl.core.routine import Routine
from routinectl.core.standing import Run, Standing
from routinectl.core.units import to_iso
from routinectl.core.wish import Abandon, Ask, Breach, Expire, Hold, Pause, Recover, Resume, Skip, Start, Stop, Wish

BY_ITSELF = "routinectl"
_DIGITS = 12  # of a hash in a run's id: two of ten thousand names are alike once in five million workspaces


def event_of(wish: Wish, now: datetime) -> Event:
    """Return the event of a wish that needs nothing but to be recorded."""
    at = to_iso(now)
    match wish:
        case Skip():
            data = {"at": at, "reason": wish.reason, **_subject(wish.slot, wish.request), **wish.facts, **_half(wish.excluded)}
            if wish.interval is not None:
                data |= interval_data(wish.interval)
            return Event("slot.missed" if wish.missed else "slot.skipped", wish.id, data)
        case Hold():
            until = {"until": to_iso(wish.until)} if wish.until else {}
            data = {"at": at, "reason": wish.reason, **_subject(wish.slot, wish.request), **wish.facts, **until, **_half(wish.excluded)}
            return Event("slot.held", wish.id, data)
        case Resume():
            return Event("routine.resumed", wish.id, {"at": to_iso(wish.at), "by": BY_ITSELF})
        case Pause():
            return Event("routine.paused", wish.id, {"at": at, "by": BY_ITSELF, "reason": wish.reason})
        case Stop():
            return Event("run.cancel_requested", wish.id, {"at": at, "run": wish.run, "by": "replace"})
        case Ask():
            data = {"at": at, "content": wish.content, "mode": wish.mode, "expires": to_iso(wish.expires)}
            return Event("approval.requested", wish.id, data | _subject(wish.slot, wish.request))
        case Expire():
            return Event("approval.expired", wish.id, {"at": at})
        case Breach():
            return Event("sla.breached", wish.id, {"at": at, "promise": wish.promise, "since": to_iso(wish.since)})
        case Recover():
            return Event("sla.recovered", wish.id, {"at": at, "promises": list(wish.promises)})
        case Abandon():
            return Event("run.ended", wish.id, _abandoned(wish.run, wish.why) | {"at": at})
        case Start():
            raise AssertionError("a start is recorded by claim")


def _half(excluded: bool) -> dict[str, Any]:
    return {"excluded": True} if excluded else {}


def _subject(slot: datetime | None, request: str | None) -> dict[str, Any]:
    if slot is not None:
        return {"slot": to_iso(slot)}
    return {"request": request} if request is not None else {}


def _abandoned(run: Run, why: str) -> dict[str, Any]:
    """Return the end of a run whose next attempt will not be: it failed, or was cancelled while it waited."""
    last = {key: value for key, value in (run.last_end or {}).items() if value is not None}
    data = facts_of(run, run.id) | last | {"attempt": run.attempt - 1}
    if why == "cancelled":
        return data | {"outcome": "cancelled", "by": run.cancel}
    return data | {"message": f"retry abandoned: {why}; {last.get('message') or last.get('outcome', '')}"}


def facts_of(run: Run | None, run_id: str) -> dict[str, Any]:
    """Return what an end repeats of its claim, so that a history line needs no second look."""
    data: dict[str, Any] = {"run": run_id}
    if run is not None:
        data |= {"slot": to_iso(run.slot) if run.slot else None, "due": to_iso(run.due), "reason": run.reason,
                 "trigger": run.trigger, "attempt": run.attempt, "claimed_at": to_iso(run.claimed_at), **run.facts}  # fmt: skip
        if run.started_at:
            data["started_at"] = to_iso(run.started_at)
    return data


def interval_data(interval: Interval) -> dict[str, Any]:
    """Return an interval of slots as event data."""
    return {"after": to_iso(interval.after), "through": to_iso(interval.through), "count": interval.count}


def run_id(start: Start) -> str:
    """Return the id of the run of a start: made from its slot, so that claiming a slot twice would be seen.

    A request brings an id of its own, made when it was asked.
    """
    if start.retry is not None:
        return start.retry.id
    if start.request is not None:
        return start.request.id
    assert start.slot is not None
    return named(start.slot, start.id)


def named(instant: datetime, key: str, kind: str = "") -> str:
    """Return the id of the run that `key` asks for at an instant: the same two give the same id.

    Runs of all routines are told apart by their ids alone, so the digits must be enough for thousands in one second.
    """
    import hashlib

    return f"{instant:%Y%m%dT%H%M%SZ}-{kind}{hashlib.sha256(key.encode(errors='surrogateescape')).hexdigest()[:_DIGITS]}"


def claim(start: Start, routine: Routine, standing: Standing, lease: int, facts: dict[str, Any], now: datetime) -> Event:
    """Return the claim of a start; `facts` are the content fingerprint and the commit, as far as they are known."""
    if "reserved" in facts or routine.runs_per_day is not None:
        facts = {**facts, "day": local_day(routine, now)}
    if start.retry is not None:
        again = {"at": to_iso(now), "run": start.retry.id, "attempt": start.retry.attempt, "lease": lease, "due": to_iso(start.due),
                 "reason": start.reason, "revision": standing.revision}  # fmt: skip
        return Event("run.claimed", start.id, again | facts)
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
        data["trigger"] = start.request.trigger or "manual"
        if start.request.chain:
            data["chain"] = dict(start.request.chain)
        if start.request.by:
            data["by"] = start.request.by
        if start.request.mode != "normal":
            data["mode"] = start.request.mode
        if start.request.tree:
            data["tree"] = start.request.tree
        if start.request.slot is not None:
            data |= {"detail": f"made up for the slot {to_iso(start.request.slot)}", "for_slot": to_iso(start.request.slot)}
        if routine.dedup_window and start.request.payload is not None:
            data["dedup"] = [payload_key(start.request.payload), routine.dedup_window.total_seconds()]
    if start.collapsed is not None:
        data["collapsed"] = interval_data(start.collapsed)
    return Event("run.claimed", start.id, data)
