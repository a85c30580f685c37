"""What to do about one routine at one instant.

The whole policy of routinectl is here and in the modules it calls. Nothing here looks at a clock, a file or a process:
give it a routine, where that routine stands, and `now`; it answers with wishes, each with its reason. The engine turns
wishes into events, and drops those whose routine has changed since (`Standing.version`).

A slot is judged in this order: is there one (enabled, paused, bounds, calendar, the revision in force); is it on time,
and what does the misfire policy say if not (`catch_up`); the gates at the starting instant (`gates`); and the places of
the workspace and its pools (`admit`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from datetime import datetime, timedelta
from typing import Any

from routinectl.core import catch_up, gates, retry, sla
from routinectl.core.catch_up import Interval
from routinectl.core.gates import Asking, Facts, Refusal
from routinectl.core.routine import Routine
from routinectl.core.standing import RELEASED, Request, Standing
from routinectl.core.standing import Hold as Held
from routinectl.core.units import from_iso
from routinectl.core.wish import Abandon, Ask, Breach, Expire, Hold, Pause, Recover, Resume, Skip, Start, Stop, Wish

NO_FACTS = Facts()


REVIEWS = ("review", "damaged", "journal_lost")  # holds that wait for a person


def to_review(standing: Standing) -> int:
    """Return how many slots and requests of a routine a person must look at."""
    return sum(hold.reason in REVIEWS for hold in standing.holds.values()) + sum(
        item.hold in REVIEWS for item in standing.requests.values()
    )


_NEWEST_STAYS = ("approval", "replace")  # of the slots that wait for these, only the newest is of use


def decide(routine: Routine, standing: Standing, now: datetime, facts: Facts = NO_FACTS) -> list[Wish]:
    """Return what to do now, in the order it must be recorded; empty when there is nothing to do."""
    wishes: list[Wish] = requests(routine, standing, now, facts)
    if not routine.enabled or standing.deleted:
        return wishes
    if standing.paused is not None:
        until = _pause_end(standing)
        if until is not None and until <= now:
            wishes += end_pause(routine, standing, until)
        return wishes
    if standing.draft is not None:
        return wishes
    wishes += _promises(routine, standing, now)
    if standing.used_up:
        return wishes if standing.invalid is not None else [*wishes, *_use_up(routine, _after(standing, wishes), now)]
    if routine.pause_after_failures and standing.failures - standing.forgiven >= routine.pause_after_failures:
        return [*wishes, Pause(standing.id, f"{standing.failures - standing.forgiven} failures in a row")]
    if standing.invalid is None:
        wishes += _ask_early(routine, standing, now, facts)
        wishes += _excluded(routine, _after(standing, wishes), now)
        wishes += _holds(routine, _after(standing, wishes), now, facts, beside=_starts(wishes))
        wishes += _slots(routine, _after(standing, wishes), now, facts, beside=_starts(wishes))
    return wishes


def _use_up(routine: Routine, standing: Standing, now: datetime) -> list[Wish]:
    """Answer what is open when `max_runs` is used up; from then on there are no slots."""
    held: list[Wish] = [Skip(standing.id, False, "max_runs", slot=slot) for slot in sorted(standing.holds)]
    return [*held, *_interval_verdict(routine, standing, now, missed=False, reason="max_runs")]


def _after(standing: Standing, wishes: list[Wish]) -> Standing:
    """Return the standing without the held slots that these wishes answer: what follows must not answer them again."""
    answered = {wish.slot for wish in wishes if isinstance(wish, (Skip, Start)) and wish.slot in standing.holds}
    if not answered:
        return standing
    rest = copy(standing)
    rest.holds = {slot: hold for slot, hold in standing.holds.items() if slot not in answered}
    return rest


def _starts(wishes: list[Wish]) -> tuple[Start, ...]:
    """Return what makes runs more: a retry is among the runs already."""
    return tuple(wish for wish in wishes if isinstance(wish, Start) and wish.retry is None)


def next_wake(routine: Routine, standing: Standing, now: datetime) -> datetime | None:
    """Return the next instant at which `decide` could have something to do by time alone, or None."""
    # What waits and is past its instant waits for something else now: a place, or the end of a run.
    found = [run.retry_at for run in standing.runs.values() if run.retry_at and run.retry_at > now]
    found += [request.until for request in standing.requests.values() if request.until and request.until > now]
    if routine.enabled and not standing.deleted:
        if standing.paused is not None:
            found += filter(None, [_pause_end(standing)])
        elif standing.invalid is None and standing.draft is None:
            found += filter(None, [next_due(routine, standing), _expiry(standing), _next_excluded(routine, standing)])
            found += [hold.until for hold in standing.holds.values() if hold.until and hold.until > now]
            if standing.holds and routine.quiet_hours is not None:
                found += filter(None, [routine.quiet_hours.until(now, routine.zone)])
            found += [at for promise, at in sla.deadlines(routine, standing) if promise not in standing.overdue]
    return min(found, default=None)


def next_due(routine: Routine, standing: Standing) -> datetime | None:
    """Return when the oldest unanswered slot is (or was) due, or None."""
    slot = routine.schedule.next_after(standing.mark) if standing.mark is not None and not standing.used_up else None
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
    if standing.draft is not None or (reason != "disabled" and not routine.enabled):
        return wishes
    return wishes + _interval_verdict(routine, standing, at, missed=True, reason=reason)


def close_disabled(routine: Routine, standing: Standing, at: datetime) -> list[Wish]:
    """Return the verdict of one-shots that passed while their routine was disabled; nothing else had slots then."""
    return _interval_verdict(routine, standing, at, missed=True, reason="disabled")


def _interval_verdict(routine: Routine, standing: Standing, at: datetime, *, missed: bool, reason: str) -> list[Wish]:
    """Return the verdict of the unanswered slots up to an instant, or up to when `max_runs` was used up."""
    if standing.used_up:
        at = min(at, standing.used_up_at or at)
    wishes: list[Wish] = []
    for schedule, mark in ((routine.schedule, standing.mark), (routine.excluded, standing.excluded_mark)):
        if schedule is None or mark is None or at <= mark:
            continue
        count = schedule.count(mark, at)
        if count:
            excluded = schedule is routine.excluded
            wishes.append(Skip(standing.id, missed, reason, interval=Interval(mark, at, count), excluded=excluded))
    return wishes


def _pause_end(standing: Standing) -> datetime | None:
    paused = standing.paused or {}
    return from_iso(paused["until"]) if paused.get("until") else None


# -- retries and requests: what goes on whether or not there are slots


def requests(routine: Routine, standing: Standing, now: datetime, facts: Facts = NO_FACTS) -> list[Wish]:
    """Return what to do about retries and about runs that were asked for, and nothing about slots."""
    wishes: list[Wish] = list(_retries(routine, standing, now))
    wishes += _answer_approval(standing, now)
    answered = {wish.request for wish in wishes if isinstance(wish, Skip)}
    waiting = [request for request in standing.requests.values() if request.id not in answered]
    return [*wishes, *_requests(routine, standing, waiting, now, facts)]


def _retries(routine: Routine, standing: Standing, now: datetime) -> Iterator[Wish]:
    for run in standing.runs.values():
        if run.retry_at is None:
            continue
        why = "cancelled" if run.cancel else retry.abandoned(routine, standing, run)
        if why:
            yield Abandon(standing.id, run, why)
        elif run.retry_at <= now:
            yield Start(standing.id, run.retry_at, "retry", slot=run.slot, retry=run)


def _requests(routine: Routine, standing: Standing, waiting: list[Request], now: datetime, facts: Facts) -> Iterator[Wish]:
    beside: tuple[Start, ...] = ()
    quiet = [request for request in waiting if request.hold == "quiet_hours"]
    for request in waiting:
        if request.hold in REVIEWS or (request in quiet and request is not quiet[-1]):
            continue
        if now - request.at > routine.window(request.at) and request.hold not in (RELEASED, "quiet_hours", "approval"):
            yield Hold(standing.id, "review", request=request.id)
            continue
        refused = gates.refusal(Asking(routine, standing, now, facts, request, beside))
        if refused is None:
            started = _start_request(standing, request, quiet if request in quiet else [])
            beside += _starts(started)
            yield from started
        elif not refused.hold:
            yield Skip(standing.id, False, refused.reason, request=request.id, facts=refused.facts)
        else:
            yield from _hold_request(routine, standing, request, refused, now, facts)


def _start_request(standing: Standing, request: Request, together: list[Request]) -> list[Wish]:
    """Return the start of a request; those that waited with it for the end of the quiet hours are answered by the same run."""
    payloads = tuple(item.payload for item in together if item.payload is not None) if len(together) > 1 else ()
    collapsed = [Skip(standing.id, False, "collapsed", request=item.id, facts={"answered_by": request.id}) for item in together[:-1]]
    start = Start(standing.id, request.at, "triggered" if request.trigger else "requested", request=request, payloads=payloads)
    return [*collapsed, start]


def _hold_request(routine: Routine, standing: Standing, request: Request, refused: Refusal, now: datetime, facts: Facts) -> Iterator[Wish]:
    if refused.reason == "approval":
        yield from _ask(routine, standing, now, facts, request=request.id)
    if refused.reason == "replace":
        yield from _stops(standing)
    if (request.hold, request.until) != (refused.reason, refused.until):
        yield Hold(standing.id, refused.reason, request=request.id, until=refused.until, facts=refused.facts)


# -- approvals


def _expiry(standing: Standing) -> datetime | None:
    asked = standing.approval
    return from_iso(asked["expires"]) if asked is not None and asked["state"] == "requested" else None


def _answer_approval(standing: Standing, now: datetime) -> Iterator[Wish]:
    """Answer what waited for an approval that was denied, or that nobody gave in time."""
    asked = standing.approval
    if asked is None:
        return
    expires = _expiry(standing)
    reason = "denied" if asked["state"] == "denied" else ""
    if expires is not None and expires <= now:
        reason = "approval_expired"
        yield Expire(standing.id)
    if reason:
        for slot, hold in sorted(standing.holds.items()):
            if hold.reason == "approval":
                yield Skip(standing.id, False, reason, slot=slot)
        for request in standing.requests.values():
            if request.hold == "approval":
                yield Skip(standing.id, False, reason, request=request.id)


def _ask_early(routine: Routine, standing: Standing, now: datetime, facts: Facts) -> Iterator[Wish]:
    """Ask at once where a person is wanted before the routine is enabled; denied, the next slot asks again."""
    if gates.approval_mode(routine, standing) != "before_enable" or gates.is_approved(standing, facts.content, now):
        return
    if standing.approval is None or standing.approval["content"] != facts.content:
        yield from _ask(routine, standing, now, facts)


def _ask(
    routine: Routine, standing: Standing, now: datetime, facts: Facts, slot: datetime | None = None, request: str | None = None
) -> Iterator[Wish]:
    asked = standing.approval
    if asked is not None and asked["state"] == "requested" and asked["content"] == facts.content and not _is_over(asked, now):
        return
    mode = gates.approval_mode(routine, standing)
    yield Ask(standing.id, facts.content, mode, now + routine.approval.expires, slot, request)


def _is_over(asked: Mapping[str, Any], now: datetime) -> bool:
    return from_iso(asked["expires"]) <= now


# -- the calendar


def _excluded(routine: Routine, standing: Standing, now: datetime) -> Iterator[Wish]:
    """Answer the slots on days that the calendar excludes: skip them, or hold the newest until its moved instant."""
    days, calendar, mark = routine.excluded, routine.calendar, standing.excluded_mark
    if days is None or calendar is None or mark is None:
        return
    last = _last_excluded(routine, mark, now)
    if last is None:
        return
    moved = calendar.moved(last)
    facts = {"rule": "calendar", "value": calendar.why(calendar.day_of(last))}
    before = days.previous(last)
    if moved is None:
        count = days.count(mark, last)
        one = count == 1
        yield Skip(standing.id, False, "calendar", slot=last if one else None, interval=None if one else Interval(mark, last, count),
                   facts=facts, excluded=True)  # fmt: skip
        return
    if before is not None and before > mark:
        yield Skip(standing.id, True, "collapsed", interval=Interval(mark, before, days.count(mark, before)), excluded=True)
    for slot, hold in sorted(standing.holds.items()):
        if hold.reason == "calendar" and hold.until == moved:
            yield Skip(standing.id, True, "superseded", slot=slot)
    too_old = now - moved > routine.window(last)
    until = None if too_old else moved + routine.offset
    yield Hold(standing.id, "review" if too_old else "calendar", last, until=until, facts=facts, excluded=True)


def _last_excluded(routine: Routine, mark: datetime, now: datetime) -> datetime | None:
    """Return the newest excluded slot that must be answered by now: at its instant, or earlier if it is moved forwards."""
    assert routine.excluded is not None
    last = routine.excluded.previous(now + timedelta(microseconds=1))
    found = last if last is not None and last > mark else None
    if routine.calendar is None or routine.calendar.on_excluded != "previous_day":
        return found
    slot = routine.excluded.next_after(max(mark, now))
    while slot is not None and (moved := routine.calendar.moved(slot)) is not None and moved <= now:
        found, slot = slot, routine.excluded.next_after(slot)
    return found


def _next_excluded(routine: Routine, standing: Standing) -> datetime | None:
    """Return when the next excluded slot must be answered."""
    if routine.excluded is None or routine.calendar is None or standing.excluded_mark is None or standing.used_up:
        return None
    slot = routine.excluded.next_after(standing.excluded_mark)
    if slot is None:
        return None
    moved = routine.calendar.moved(slot)
    return min(slot, moved) if moved is not None else slot


# -- what is held


def _holds(routine: Routine, standing: Standing, now: datetime, facts: Facts, *, beside: tuple[Start, ...]) -> Iterator[Wish]:
    """Start the oldest hold whose turn has come; reviews wait for a person, and others for their instant."""
    if beside:
        return
    over = standing.approval is not None and standing.approval["state"] == "denied"
    for slot, hold in sorted(standing.holds.items()):
        if hold.reason in REVIEWS or (hold.reason == "approval" and (over or _expired(standing, now))):
            continue
        if hold.until is not None and now < hold.until:
            if hold.reason == "calendar":
                continue
            return
        if _catches_up(routine, hold) and standing.runs:
            return
        if hold.reason in ("quiet_hours", "calendar") and not _catches_up(routine, hold) and _slot_follows(routine, standing, now):
            yield Skip(standing.id, True, "collapsed", slot=slot)
            continue
        yield from _release(routine, standing, hold, now, facts)
        return


def _catches_up(routine: Routine, hold: Held) -> bool:
    """Say whether a held slot is one of several that run one after another, whatever else the schedule brings."""
    return hold.reason == "catch_up" or (hold.reason == "quiet_hours" and routine.misfire.policy == "catch_up")


def _expired(standing: Standing, now: datetime) -> bool:
    expires = _expiry(standing)
    return expires is not None and expires <= now


def _slot_follows(routine: Routine, standing: Standing, now: datetime) -> bool:
    """Say whether an unanswered slot of the schedule is due by the end of the grace, so that one run does for both."""
    slot = routine.schedule.next_after(standing.mark or now)
    return slot is not None and routine.due(slot) <= now + routine.misfire.grace


def _release(routine: Routine, standing: Standing, hold: Held, now: datetime, facts: Facts) -> Iterator[Wish]:
    """Judge a held slot again at the instant at which it would start."""
    name, slot = standing.id, hold.slot
    refused = gates.refusal(Asking(routine, standing, now, facts))
    if refused is None and hold.reason == "approval":
        yield from _approved(routine, standing, slot, now)
    elif refused is None:
        yield Start(name, routine.due(slot), "review" if hold.reason == RELEASED else hold.reason, slot=slot, held=True)
    elif refused.hold:
        if refused.reason == "approval":
            yield from _ask(routine, standing, now, facts, slot=slot)
        if (refused.reason, refused.until) != (hold.reason, hold.until) and hold.reason not in (RELEASED, "catch_up"):
            yield Hold(name, refused.reason, slot, until=refused.until, facts=refused.facts)
    elif refused.reason != "overlap" or hold.reason == "catch_up":
        yield Skip(name, False, refused.reason, slot=slot, facts=refused.facts)


def _approved(routine: Routine, standing: Standing, slot: datetime, now: datetime) -> Iterator[Wish]:
    """Start what a person has approved, if the misfire policy still wants it."""
    late = now - routine.due(slot)
    if late > routine.window(slot):
        yield Hold(standing.id, "review", slot)
    elif late > routine.misfire.grace and routine.misfire.policy == "skip":
        yield Skip(standing.id, True, "late", slot=slot)
    else:
        yield Start(standing.id, routine.due(slot), "approval", slot=slot, held=True)


# -- what is due


def _slots(routine: Routine, standing: Standing, now: datetime, facts: Facts, *, beside: tuple[Start, ...]) -> Iterator[Wish]:
    """Judge every slot that is due and unanswered."""
    mark = standing.mark
    if mark is None or not routine.schedule:
        return
    last = routine.schedule.previous(now - routine.offset + timedelta(microseconds=1))
    if last is None or last <= mark:
        return
    for wish in catch_up.choose(routine, mark, last, now):
        if isinstance(wish, catch_up.Run):
            yield from _start(routine, standing, wish, Asking(routine, standing, now, facts, None, beside))
        elif isinstance(wish, catch_up.Miss):
            yield Skip(standing.id, True, wish.reason, interval=wish.interval)
        else:
            yield Hold(standing.id, wish.reason, wish.slot)


def _start(routine: Routine, standing: Standing, run: catch_up.Run, asking: Asking) -> Iterator[Wish]:
    refused = gates.refusal(asking)
    waiting = [slot for slot, hold in sorted(standing.holds.items()) if hold.reason not in (*REVIEWS, RELEASED, "catch_up", "calendar")]
    if refused is None and any(not _catches_up(routine, standing.holds[slot]) for slot in waiting):
        refused = Refusal("overlap" if routine.concurrency == "forbid" else "collapsed")
    if refused is None:
        for slot, hold in sorted(standing.holds.items()):
            if hold.reason in REVIEWS:
                yield Skip(standing.id, True, "superseded", slot=slot)
        yield Start(standing.id, routine.due(run.slot), run.reason, slot=run.slot, collapsed=run.collapsed)
        return
    if run.collapsed is not None:
        yield Skip(standing.id, True, "collapsed", interval=run.collapsed)
    if not refused.hold:
        yield Skip(standing.id, False, refused.reason, slot=run.slot, facts=refused.facts)
    else:
        yield from _hold(routine, standing, run.slot, refused, waiting, asking)


def _hold(
    routine: Routine, standing: Standing, slot: datetime, refused: Refusal, waiting: list[datetime], asking: Asking
) -> Iterator[Wish]:
    """Keep a slot for later, beside those that wait already: at most one waits, but for a catch-up after quiet hours.

    Of those that wait for the end of the quiet hours the newest stays, of those that wait for a place or a run the oldest.
    """
    hold = Hold(standing.id, refused.reason, slot, until=refused.until, facts=refused.facts)
    if refused.reason == "approval":
        yield from _ask(routine, standing, asking.now, asking.facts, slot=slot)
    if refused.reason == "replace":
        yield from _stops(standing)
    if refused.reason in _NEWEST_STAYS:
        for older in waiting:
            yield Skip(standing.id, True, "superseded", slot=older)
        yield hold
    elif refused.reason == "quiet_hours":
        catches_up = routine.misfire.policy == "catch_up"
        most = routine.misfire.max if catches_up else 1
        for older in waiting[: max(len(waiting) + 1 - most, 0)]:
            yield Skip(standing.id, True, "catch_up_limit" if catches_up else "collapsed", slot=older)
        yield hold
    elif waiting:
        yield Skip(standing.id, False, "overlap" if routine.concurrency == "forbid" else "collapsed", slot=slot)
    else:
        yield hold


def _stops(standing: Standing) -> Iterator[Wish]:
    for run in standing.runs.values():
        if not run.cancel:
            yield Stop(standing.id, run.id)


# -- promises


def _promises(routine: Routine, standing: Standing, now: datetime) -> Iterator[Wish]:
    """Record a broken promise once, and its recovery once a run has succeeded."""
    if standing.overdue and standing.last_good_at and all(standing.last_good_at > from_iso(since) for since in standing.overdue.values()):
        yield Recover(standing.id, tuple(standing.overdue))
        return
    for promise, at in sla.deadlines(routine, standing):
        if at <= now and promise not in standing.overdue:
            yield Breach(standing.id, promise, at)


# -- places


def without_place(start: Start, reason: str, standing: Standing, routine: Routine) -> list[Wish]:
    """Return what becomes of a start that found no place among the runs of the workspace or its pool: it waits."""
    if start.retry is not None:
        return []
    if start.request is not None:
        return [] if start.request.hold == reason else [Hold(start.id, reason, request=start.request.id)]
    assert start.slot is not None
    if start.held:
        return [] if standing.holds[start.slot].reason == reason else [Hold(start.id, reason, start.slot)]
    wishes: list[Wish] = []
    if start.collapsed is not None:
        wishes.append(Skip(start.id, True, "collapsed", interval=start.collapsed))
    if any(hold.reason in ("capacity", "pool") for hold in standing.holds.values()):
        return [*wishes, Skip(start.id, False, "overlap" if routine.concurrency == "forbid" else "collapsed", slot=start.slot)]
    return [*wishes, Hold(start.id, reason, start.slot)]


def disabled_here(start: Start) -> Wish | None:
    """Return the verdict of a start on a machine that fires nothing; a retry waits for another machine or day."""
    if start.retry is not None:
        return None
    if start.request is not None:
        return Skip(start.id, False, "disabled_here", request=start.request.id)
    return Skip(start.id, False, "disabled_here", slot=start.slot)
