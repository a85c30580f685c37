"""Which of the due slots run, and what becomes of the others: the misfire policies.

Lateness is judged once, here, when slots are first looked at. After a boot, a wake-up or a jump forwards there is at
most one start per routine, unless the policy is catch_up, whose slots start one after another. Nothing here walks a
long downtime: `previous`, `count` and `last_n` find what is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from routinectl.core.routine import Routine


@dataclass(frozen=True, slots=True)
class Interval:
    """The slots in (after, through], `count` of them."""

    after: datetime
    through: datetime
    count: int


@dataclass(frozen=True, slots=True)
class Run:
    """This slot runs now; `collapsed` are earlier ones that it answers too."""

    slot: datetime
    reason: str
    collapsed: Interval | None = None


@dataclass(frozen=True, slots=True)
class Miss:
    """These slots are missed."""

    interval: Interval
    reason: str


@dataclass(frozen=True, slots=True)
class Keep:
    """This slot stays open: for its turn in the catch-up, or for review."""

    slot: datetime
    reason: str


def choose(routine: Routine, mark: datetime, last: datetime, now: datetime) -> list[Run | Miss | Keep]:
    """Return the answers to the slots in (mark, last], oldest first; `last` is the newest slot that is due."""
    before_last = routine.schedule.previous(last)
    single = before_last is None or before_last <= mark
    on_time = now - routine.due(last) <= routine.misfire.grace
    if single and on_time:
        return [Run(last, "on_time")]
    policy = routine.misfire.policy
    if policy == "catch_up":
        return _catch_up(routine, mark, last, now)
    if policy == "skip" and not on_time:
        return [Miss(_interval(routine, mark, last), "late")]
    earlier = None if single or before_last is None else _interval(routine, mark, before_last)
    if policy == "skip":
        return _skip_but_newest(earlier, last)
    if now - routine.due(last) > routine.window(last):
        return [*([Miss(earlier, "collapsed")] if earlier else []), Keep(last, "review")]
    return [Run(last, "on_time" if on_time else "late", earlier)]


def _interval(routine: Routine, after: datetime, through: datetime) -> Interval:
    return Interval(after, through, routine.schedule.count(after, through))


def _skip_but_newest(earlier: Interval | None, last: datetime) -> list[Run | Miss | Keep]:
    return [*([Miss(earlier, "late")] if earlier else []), Run(last, "on_time")]


def _catch_up(routine: Routine, mark: datetime, last: datetime, now: datetime) -> list[Run | Miss | Keep]:
    kept = routine.schedule.last_n(mark, last, routine.misfire.max)
    answers: list[Run | Miss | Keep] = []
    left_out = routine.schedule.previous(kept[0])
    if left_out is not None and left_out > mark:
        answers.append(Miss(_interval(routine, mark, left_out), "catch_up_limit"))
    for slot in kept:
        too_old = now - routine.due(slot) > routine.window(slot)
        answers.append(Keep(slot, "review" if too_old else "catch_up"))
    return answers
