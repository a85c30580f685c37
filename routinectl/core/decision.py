"""What to do about one routine at one instant.

The whole policy of routinectl is here and in the modules it calls. Nothing here looks at a clock, a file or a process:
give it a routine, where that routine stands, and `now`; it answers with wishes, each with its reason. The engine turns
wishes into events, and drops those whose routine has changed since (`Standing.version`).

A slot is judged in this order: is there one (enabled, paused, bounds, the revision in force); is it on time, and what
does the misfire policy say if not (`catch_up`); the gates at the starting instant (`gates`); and the capacity of the
workspace (`admit`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from routinectl.core import catch_up, gates
from routinectl.core.catch_up import Interval
from routinectl.core.routine import Routine
from routinectl.core.standing import RELEASED, Request, Standing
from routinectl.core.units import from_iso


@dataclass(frozen=True, slots=True)
class Start:
    """Begin a run: for a slot (with the earlier ones that it answers too, if any), or for a request."""

    id: str
    due: datetime
    reason: str
    slot: datetime | None = None
    collapsed: Interval | None = None
    request: Request | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class Skip:
    """Answer a slot, an interval of slots or a request with a final no: `missed` or `skipped`, with the reason."""

    id: str
    missed: bool
    reason: str
    slot: datetime | None = None
    interval: Interval | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep a slot, or a request, open for later."""

    id: str
    reason: str
    slot: datetime | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """End a pause whose time is over."""

    id: str
    at: datetime


REVIEWS = ("review", "damaged", "journal_lost")  # holds that wait for a person
Wish = Start | Skip | Hold | Resume


def decide(routine: Routine, standing: Standing, now: datetime) -> list[Wish]:
    """Return what to do now, in the order it must be recorded; empty when there is nothing to do."""
    wishes: list[Wish] = requests(routine, standing, now)
    if not routine.enabled or standing.deleted:
        return wishes
    if standing.paused is not None:
        until = _pause_end(standing)
        if until is not None and until <= now:
            wishes += end_pause(routine, standing, until)
        return wishes
    busy = any(isinstance(wish, Start) for wish in wishes)
    if standing.invalid is None:
        wishes += _holds(routine, standing, now, busy=busy)
        busy = busy or any(isinstance(wish, Start) for wish in wishes)
        wishes += _slots(routine, standing, now, busy=busy)
    return wishes


def next_wake(routine: Routine, standing: Standing, now: datetime) -> datetime | None:
    """Return the next instant at which `decide` could have something to do by time alone, or None."""
    if not routine.enabled or standing.deleted or standing.invalid is not None:
        return None
    if standing.paused is not None:
        return _pause_end(standing)
    after = max(now - routine.offset, standing.mark) if standing.mark else now - routine.offset
    slot = routine.schedule.next_after(after)
    return None if slot is None else routine.due(slot)


def end_pause(routine: Routine, standing: Standing, at: datetime) -> list[Wish]:
    """Return the verdict of the slots a pause swallowed, and the resume. A one-shot is left to run late in its window."""
    wishes: list[Wish] = []
    if not routine.schedule.once:
        wishes += _interval_verdict(routine, standing, at, missed=False, reason="paused")
    return [*wishes, Resume(standing.id, at)]


def end_invalid(routine: Routine, standing: Standing, at: datetime) -> list[Wish]:
    """Return the verdict of the slots that fell while the definition was broken."""
    return _interval_verdict(routine, standing, at, missed=False, reason="invalid")


def close(routine: Routine, standing: Standing, at: datetime, reason: str) -> list[Wish]:
    """Return the verdict of everything still open when a schedule ends: `edited`, `disabled` or `deleted`."""
    wishes: list[Wish] = [Skip(standing.id, True, reason, slot=slot) for slot in sorted(standing.holds)]
    if reason != "disabled" and not routine.enabled:
        return wishes
    return wishes + _interval_verdict(routine, standing, at, missed=True, reason=reason)


def close_disabled(routine: Routine, standing: Standing, at: datetime) -> list[Wish]:
    """Return the verdict of one-shots that passed while their routine was disabled; nothing else had slots then."""
    return _interval_verdict(routine, standing, at, missed=True, reason="disabled")


def _interval_verdict(routine: Routine, standing: Standing, at: datetime, *, missed: bool, reason: str) -> list[Wish]:
    if standing.mark is None or at <= standing.mark:
        return []
    count = routine.schedule.count(standing.mark, at)
    return [Skip(standing.id, missed, reason, interval=Interval(standing.mark, at, count))] if count else []


def _pause_end(standing: Standing) -> datetime | None:
    paused = standing.paused or {}
    return from_iso(paused["until"]) if paused.get("until") else None


def requests(routine: Routine, standing: Standing, now: datetime) -> list[Wish]:
    """Return what to do about runs that were asked for, and nothing about slots."""
    return list(_requests(routine, standing, now))


def _requests(routine: Routine, standing: Standing, now: datetime) -> Iterator[Wish]:
    running = len(standing.runs)
    for request in standing.requests.values():
        if request.hold in REVIEWS:
            continue
        if now - request.at > routine.window(request.at) and request.hold != RELEASED:
            yield Hold(standing.id, "review", request=request.id)
            continue
        refused = gates.refusal(routine, standing, now, asked=True, force=request.force)
        if refused is None and running >= routine.parallel:
            refused = gates.Refusal("overlap", hold=not routine.forbid)
        if refused is None:
            running += 1
            yield Start(standing.id, request.at, "requested", request=request)
        elif not refused.hold:
            yield Skip(standing.id, False, refused.reason, request=request.id)


def _holds(routine: Routine, standing: Standing, now: datetime, *, busy: bool) -> Iterator[Wish]:
    """Start the oldest hold whose turn has come; reviews wait for a person."""
    if busy:
        return
    for slot in sorted(standing.holds):
        hold = standing.holds[slot]
        if hold.reason in ("capacity", RELEASED):
            refused = gates.refusal(routine, standing, now)
            if refused is None:
                reason = "review" if hold.reason == RELEASED else "capacity"
                yield Start(standing.id, routine.due(slot), reason, slot=slot, held=True)
            elif not refused.hold and refused.reason != "overlap":
                yield Skip(standing.id, False, refused.reason, slot=slot)
            return
        if hold.reason == "catch_up":
            if not standing.runs:
                refused = gates.refusal(routine, standing, now)
                yield (
                    Start(standing.id, routine.due(slot), "catch_up", slot=slot, held=True)
                    if refused is None
                    else Skip(standing.id, False, refused.reason, slot=slot)
                )
            return


def _slots(routine: Routine, standing: Standing, now: datetime, *, busy: bool) -> Iterator[Wish]:
    """Judge every slot that is due and unanswered."""
    mark = standing.mark
    if mark is None or not routine.schedule:
        return
    last = routine.schedule.previous(now - routine.offset + timedelta(microseconds=1))
    if last is None or last <= mark:
        return
    for wish in catch_up.choose(routine, mark, last, now):
        if isinstance(wish, catch_up.Run):
            yield from _start(routine, standing, wish, now, busy=busy)
        elif isinstance(wish, catch_up.Miss):
            yield Skip(standing.id, True, wish.reason, interval=wish.interval)
        else:
            yield Hold(standing.id, wish.reason, wish.slot)


def _start(routine: Routine, standing: Standing, run: catch_up.Run, now: datetime, *, busy: bool) -> Iterator[Wish]:
    refused = gates.refusal(routine, standing, now)
    waiting = any(hold.reason == "capacity" for hold in standing.holds.values())
    if refused is None and (busy or waiting):
        refused = gates.Refusal("overlap") if routine.forbid or waiting else None
    if refused is None:
        for slot, hold in sorted(standing.holds.items()):
            if hold.reason in REVIEWS:
                yield Skip(standing.id, True, "superseded", slot=slot)
        yield Start(standing.id, routine.due(run.slot), run.reason, slot=run.slot, collapsed=run.collapsed)
        return
    if run.collapsed is not None:
        yield Skip(standing.id, True, "collapsed", interval=run.collapsed)
    if refused.hold and not waiting:
        yield Hold(standing.id, refused.reason, run.slot)
    else:
        yield Skip(standing.id, False, "collapsed" if waiting and not routine.forbid else refused.reason, slot=run.slot)


def without_place(start: Start, standing: Standing, routine: Routine) -> list[Wish]:
    """Return what becomes of a start that found no place among the runs of the workspace: it waits, it is never dropped."""
    if start.slot is None or start.held:
        return []
    wishes: list[Wish] = []
    if start.collapsed is not None:
        wishes.append(Skip(start.id, True, "collapsed", interval=start.collapsed))
    if any(hold.reason == "capacity" for hold in standing.holds.values()):
        return [*wishes, Skip(start.id, False, "overlap" if routine.forbid else "collapsed", slot=start.slot)]
    return [*wishes, Hold(start.id, "capacity", start.slot)]


def disabled_here(start: Start) -> Wish:
    """Return the verdict of a start on a machine that fires nothing."""
    if start.request is not None:
        return Skip(start.id, False, "disabled_here", request=start.request.id)
    return Skip(start.id, False, "disabled_here", slot=start.slot)
