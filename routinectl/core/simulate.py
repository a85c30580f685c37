"""Playing a definition forward with `decide` alone: what would happen, before it does.

Each routine is played by itself, from a fresh beginning: the waking, deciding and recording are those of serve, the
world around is assumed (how long runs take, that they succeed, when serve is down). Places are not shared out here;
`peak` says how many would be needed at once. Nobody answers a request for approval.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from routinectl.core import decision
from routinectl.core.event import Event
from routinectl.core.gates import Facts
from routinectl.core.record import claim, event_of
from routinectl.core.routine import Routine, build
from routinectl.core.standing import Standing
from routinectl.core.units import to_iso
from routinectl.core.wish import Hold, Skip, Start, Stop, Wish

_ROUNDS = 50  # decisions at one instant before it is called stuck
_FACTS = Facts(content="simulated")
_SAMPLE = 60


@dataclass(frozen=True, slots=True)
class Outage:
    """Nothing is decided from `start` until `end`: serve is down, the machine asleep, or the clock leaps over it."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Assumed:
    """The world around: from when until when, how long runs take (seconds by routine), and the outages, in order."""

    start: datetime
    end: datetime
    runtime: Mapping[str, float] = field(default_factory=dict)
    outages: tuple[Outage, ...] = ()
    default_runtime: float = 60.0

    def runtime_of(self, name: str) -> timedelta:
        """Return how long a run of a routine takes."""
        return timedelta(seconds=self.runtime.get(name, self.default_runtime))

    def awake(self, at: datetime) -> datetime:
        """Return the instant, or the end of the outage that holds it."""
        for outage in self.outages:
            if outage.start <= at < outage.end:
                at = outage.end
        return at

    def next_outage(self, after: datetime) -> datetime:
        """Return when the next outage begins, at most the end."""
        return min([outage.start for outage in self.outages if outage.start >= after], default=self.end)


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that would happen at an instant: ran, skipped, missed or held, of `count` slots, with the reason."""

    at: datetime
    verdict: str
    reason: str
    count: int = 1
    slot: datetime | None = None


def play(name: str, doc: Mapping[str, Any], assumed: Assumed) -> list[Mark]:
    """Return what would happen to a routine, in order."""
    player = _Player(build(name, doc, assumed.start), assumed)
    event = Event(
        "routine.created", name, {"at": to_iso(assumed.start), "definition": dict(doc), "fingerprint": ""}, time=to_iso(assumed.start)
    )
    player.standing.fold(event)
    player.play()
    return player.marks


class _Player:
    """One routine in an assumed world."""

    def __init__(self, routine: Routine, assumed: Assumed) -> None:
        self.routine, self.assumed = routine, assumed
        self.standing = Standing(routine.id)
        self.marks: list[Mark] = []
        self.ends: list[tuple[datetime, str]] = []
        self.took = assumed.runtime_of(routine.id)
        self.plain = _is_plain(routine, assumed.start, self.took)

    def play(self) -> None:
        now = self.assumed.start
        while True:
            if self.plain and not (self.standing.holds or self.standing.runs):
                now = self._stroll(now)
            at = self._next(now)
            if at is None or at > self.assumed.end:
                return
            now = max(at, now)
            self._end_runs(now)
            self._settle(now)

    def _stroll(self, now: datetime) -> datetime:
        """Take the slots up to the next outage in one go: nothing stands in the way of a plain routine."""
        until = min(self.assumed.next_outage(now), self.assumed.end) - self.routine.offset - timedelta(seconds=1)
        mark = self.standing.mark
        if mark is None or until <= mark or not self.routine.enabled:
            return now
        for slot in self.routine.schedule.walk(mark, until):
            self.marks.append(Mark(self.routine.due(slot), "ran", "on_time", 1, slot))
        self.standing.answer(until, excluded=False)
        return max(now, until)

    def _next(self, now: datetime) -> datetime | None:
        wake = decision.next_wake(self.routine, self.standing, now)
        found = [at for at in (wake, self.ends[0][0] if self.ends else None) if at is not None]
        return self.assumed.awake(min(found)) if found else None

    def _end_runs(self, now: datetime) -> None:
        while self.ends and self.ends[0][0] <= now:
            at, run = heapq.heappop(self.ends)
            self._fold(Event("run.ended", self.routine.id, {"at": to_iso(at), "run": run, "outcome": "succeeded"}), now)

    def _settle(self, now: datetime) -> None:
        for _ in range(_ROUNDS):
            wishes = decision.decide(self.routine, self.standing, now, _FACTS)
            if not wishes:
                return
            for wish in wishes:
                self._carry_out(wish, now)
        raise AssertionError(f"{self.routine.id} does not come to rest at {now}")

    def _carry_out(self, wish: Wish, now: datetime) -> None:
        if isinstance(wish, Start):
            event = claim(wish, self.routine, self.standing, 0, {}, now)
            heapq.heappush(self.ends, (now + self.took, event.data["run"]))
            if wish.collapsed is not None:
                self.marks.append(Mark(wish.collapsed.through, "missed", "collapsed", wish.collapsed.count, wish.collapsed.through))
            self.marks.append(Mark(now, "ran", wish.reason, 1, wish.slot))
        else:
            event = event_of(wish, now)
            self._note(wish, now)
            if isinstance(wish, Stop):
                self.ends = [(min(at, now + timedelta(seconds=1)), run) if run == wish.run else (at, run) for at, run in self.ends]
                heapq.heapify(self.ends)
        self._fold(event, now)

    def _note(self, wish: Wish, now: datetime) -> None:
        if isinstance(wish, Skip):
            verdict = "missed" if wish.missed else "skipped"
            count = wish.interval.count if wish.interval else 1
            self.marks.append(Mark(wish.interval.through if wish.interval else wish.slot or now, verdict, wish.reason, count, wish.slot))
        elif isinstance(wish, Hold):
            self.marks.append(Mark(now, "held", wish.reason, 1, wish.slot))

    def _fold(self, event: Event, now: datetime) -> None:
        event.time = to_iso(now)
        self.standing.fold(event)


def _is_plain(routine: Routine, since: datetime, took: timedelta) -> bool:
    """Say whether every slot of a routine starts on time as long as serve is up: no gate has anything to refuse."""
    gated = (routine.quiet_hours, routine.max_runs, routine.calendar, routine.runs_per_day, routine.cooldown, routine.sla)
    if any(gated) or routine.approval.when != "none" or routine.misfire.policy == "catch_up":
        return False
    slots = routine.schedule.upcoming(since, _SAMPLE)
    return all(later - earlier > took for earlier, later in itertools.pairwise(slots))


def counts(marks: Iterable[Mark]) -> dict[str, int]:
    """Return how many slots ran, were skipped, were missed, and wait at the end; a hold that ended is not counted twice."""
    found = {"ran": 0, "skipped": 0, "missed": 0, "held": 0}
    waiting: set[datetime | None] = set()
    for mark in marks:
        if mark.verdict == "held":
            waiting.add(mark.slot)
        else:
            found[mark.verdict] += mark.count
            waiting.discard(mark.slot)
    return found | {"held": len(waiting)}


def peak(starts: Mapping[str, Sequence[Mark]], assumed: Assumed) -> tuple[int, datetime | None]:
    """Return how many runs go on at once at most, and when that is first so."""
    changes = sorted(_changes(starts, assumed))
    going, most, when = 0, 0, None
    for at, change in changes:
        going += change
        if going > most:
            most, when = going, at
    return most, when


def _changes(starts: Mapping[str, Sequence[Mark]], assumed: Assumed) -> Iterator[tuple[datetime, int]]:
    for name, marks in starts.items():
        took = assumed.runtime_of(name)
        for mark in marks:
            if mark.verdict == "ran":
                yield mark.at, 1
                yield mark.at + took, -1


def collisions(starts: Mapping[str, Sequence[Mark]]) -> list[tuple[datetime, list[str]]]:
    """Return the instants at which several routines start, the fullest first, with their names."""
    together: dict[datetime, list[str]] = {}
    for name, marks in starts.items():
        for mark in marks:
            if mark.verdict == "ran":
                together.setdefault(mark.at, []).append(name)
    found = [(at, names) for at, names in together.items() if len(names) > 1]
    return sorted(found, key=lambda item: (-len(item[1]), item[0]))
