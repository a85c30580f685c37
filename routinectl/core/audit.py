"""From events alone: does every slot have exactly one verdict, every claim an end, every run its authority?

The checker shares the mathematics of schedules with the engine, and none of its path: not the fold of standings, not a
decision. It collects what the events say of every slot and run, and compares that with what the schedules in force
would have made. `seed` is where a journal begins whose older segments were dropped: the definitions in force then, and
up to where their slots were answered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from routinectl.core.event import Event
from routinectl.core.routine import Routine, build, schedule_key
from routinectl.core.schedule.next_time import Schedule
from routinectl.core.standing import APART
from routinectl.core.units import from_iso, to_iso

_GRACE_SECONDS = 2.0  # slots younger than this may still be on their way
_REVISED = ("routine.created", "routine.updated")
_NEVER = datetime.min.replace(tzinfo=UTC)
_SHUTS = ("routine.paused", "routine.invalid")
_SWITCHED = ("routine.enabled", "routine.disabled", "routine.deleted", "routine.drafted", "routine.activated")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be: of a routine (empty: of the journal), at a slot or event's instant."""

    id: str
    at: str
    message: str

    def __str__(self) -> str:
        return f"{self.id or 'journal'}: {self.at} {self.message}"


@dataclass(frozen=True, slots=True)
class Seed:
    """What is known of a routine at the beginning of the events: its definition, and up to where it was answered."""

    doc: Mapping[str, Any]
    revised_at: datetime
    mark: datetime
    enabled: bool
    held: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    grant: Mapping[str, Any] | None = None
    counted: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at and found. `open` are (routine, run) of claims without an end: they may still go on."""

    slots: int
    runs: int
    findings: tuple[Finding, ...]
    open: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Trail:
    """What was said of one routine: spans in which a schedule was in force, the verdicts, the runs, the grants."""

    routine: Routine | None = None
    key: object = None
    revised_at: datetime | None = None
    since: datetime | None = None
    enabled: bool = True
    draft: bool = False
    alive: bool = True
    mode: str = "none"
    grant: Mapping[str, Any] | None = None
    spans: list[tuple[Routine, datetime, datetime]] = field(default_factory=list)
    single: dict[datetime, int] = field(default_factory=lambda: defaultdict(int))
    intervals: dict[bool, list[tuple[datetime, datetime]]] = field(default_factory=lambda: {False: [], True: []})
    held: set[datetime] = field(default_factory=set)
    apart: set[datetime] = field(default_factory=set)  # slots on days that the calendar excludes
    shut: set[str] = field(default_factory=set)  # why its newest slots wait for their verdict: paused, invalid
    open: dict[str, int] = field(default_factory=dict)
    seen: set[tuple[str, int]] = field(default_factory=set)
    counted: int = 0  # runs towards `max_runs`
    used_up_at: datetime | None = None  # since when there are no slots because of it

    def newest(self, *, excluded: bool) -> datetime:
        """Return the newest slot that is answered or held, of the excluded days or of the others."""
        singles = [slot for slot in (*self.single, *self.held) if (slot in self.apart) == excluded]
        return max(singles + [through for _, through in self.intervals[excluded]], default=_NEVER)

    def close(self, at: datetime) -> None:
        """End the span of the schedule in force, or where it had ended because `max_runs` was used up."""
        end, at = at, min(at, self.used_up_at or at)
        if self.routine is not None and self.since is not None and self.enabled and self.alive and not self.draft and at > self.since:
            self.spans.append((self.routine, self.since, at))
        # A clock set back frees no slot again: what comes before the newest answer is answered.
        ahead = self.routine is not None and self.routine.calendar is not None and self.routine.calendar.on_excluded == "previous_day"
        self.since = max(end, self.since or end, self.newest(excluded=False), _NEVER if ahead else self.newest(excluded=True))


def audit(events: Iterable[Event], until: datetime, seed: Mapping[str, Seed] | None = None, *, decided: bool = True) -> Report:
    """Return what is wrong with a history up to an instant, in the order of routines and slots.

    A slot without an answer is wrong when a later one of its routine has one. Slots after the newest answer are wrong
    only where a serve has `decided` until that instant, and the routine is neither paused nor invalid: else whoever
    decides next answers them.
    """
    trails: dict[str, _Trail] = defaultdict(_Trail)
    for name, known in (seed or {}).items():
        trails[name] = _sown(name, known)
    found: list[Finding] = []
    last = 0
    for event in events:
        if last and event.seq != last + 1:
            found.append(Finding("", event.time, f"{event.seq - last - 1} events are missing before number {event.seq}"))
        last = event.seq
        if event.subject:
            found += _follow(trails[event.subject], event)
    slots = 0
    for name, trail in sorted(trails.items()):
        trail.close(until)
        slots += sum(trail.single.values())
        found += _gaps(name, trail, until, decided and not trail.shut)
    going = [(name, run) for name, trail in sorted(trails.items()) for run in trail.open]
    return Report(slots, sum(len(trail.seen) for trail in trails.values()), tuple(found), tuple(going))


def _sown(name: str, seed: Seed) -> _Trail:
    trail = _Trail(build(name, seed.doc, seed.revised_at), schedule_key(seed.doc), seed.revised_at, seed.mark, seed.enabled)
    trail.mode, trail.grant, trail.counted = _mode(seed.doc), seed.grant, seed.counted
    _use_up(trail, seed.mark)
    trail.held.update(map(from_iso, seed.held))
    trail.open.update(dict.fromkeys(seed.runs, 1))
    return trail


def _mode(doc: Mapping[str, Any]) -> str:
    approval = doc.get("approval", "none")
    return str(approval if isinstance(approval, str) else approval.get("when", "none"))


def _follow(trail: _Trail, event: Event) -> Iterable[Finding]:
    data, kind = event.data, event.type
    at = from_iso(data.get("at") or event.time)
    if kind in _REVISED:
        _revise(trail, event, at)
    elif kind in _SWITCHED:
        trail.close(at)
        trail.enabled = {"routine.enabled": True, "routine.disabled": False}.get(kind, trail.enabled)
        trail.alive = trail.alive and kind != "routine.deleted"
        trail.draft = {"routine.drafted": True, "routine.activated": False}.get(kind, trail.draft)
    elif kind == "approval.granted":
        trail.grant = data
        trail.draft = False
    elif kind == "approval.denied":
        trail.grant = None
    elif kind == "slot.held" and "slot" in data:
        trail.held.add(from_iso(data["slot"]))
        trail.apart.update([from_iso(data["slot"])] if data.get("excluded") else ())
    elif kind in _SHUTS:
        trail.shut.add(kind)
    elif kind == "routine.resumed":
        trail.shut.discard("routine.paused")
    elif kind in ("slot.skipped", "slot.missed"):
        _verdict(trail, data)
    elif kind == "run.claimed":
        yield from _claim(trail, event, at)
    elif kind in ("run.retrying", "run.ended"):
        trail.open.pop(data["run"], None)  # between two attempts nothing runs, and no lease is held


def _revise(trail: _Trail, event: Event, at: datetime) -> None:
    doc = event.data["definition"]
    key = schedule_key(doc)
    if event.type == "routine.created" or key != trail.key:
        trail.close(at)
        trail.key, trail.revised_at = key, at
    trail.routine = build(event.subject, doc, trail.revised_at or at)  # its jitter may differ
    trail.shut.discard("routine.invalid")
    if event.type == "routine.created":
        trail.enabled, trail.alive = doc.get("enabled", True), True
    if event.type == "routine.created":
        trail.counted = 0
    _use_up(trail, at)
    trail.mode = "before_enable" if _mode(doc) == "none" and event.data.get("untrusted") else _mode(doc)
    trail.since = trail.since or at


def _use_up(trail: _Trail, at: datetime) -> None:
    """Note since when as many runs were claimed as `max_runs` allows; an edit that allows more begins a span of its own."""
    most = trail.routine.max_runs if trail.routine is not None else None
    if most is not None and trail.counted >= most:
        trail.used_up_at = trail.used_up_at or at
    elif trail.used_up_at is not None:
        trail.close(at)
        trail.used_up_at = None


def _claim(trail: _Trail, event: Event, at: datetime) -> Iterable[Finding]:
    data = event.data
    attempt = data.get("attempt", 1)
    if (data["run"], attempt) in trail.seen:
        yield Finding(event.subject, data["at"], f"the run {data['run']} was claimed twice")
    trail.seen.add((data["run"], attempt))
    trail.open[data["run"]] = attempt
    if attempt == 1:
        _verdict(trail, data)
        trail.counted += data.get("mode") not in APART
        _use_up(trail, at)
        yield from _authority(trail, event, at)


def _authority(trail: _Trail, event: Event, at: datetime) -> Iterable[Finding]:
    """A run of a routine that needs an approval must have one, for its very content; one for every run is used up."""
    if trail.draft:
        yield Finding(event.subject, event.data["at"], f"the run {event.data['run']} was started although the routine was a draft")
    if trail.mode == "none":
        return
    grant = trail.grant
    good = (
        grant is not None and grant["content"] == event.data.get("content") and not (grant.get("until") and at >= from_iso(grant["until"]))
    )
    if not good:
        yield Finding(event.subject, event.data["at"], f"the run {event.data['run']} was started without an approval of its content")
    if trail.mode == "every_run":
        trail.grant = None


def _verdict(trail: _Trail, data: Mapping[str, Any]) -> None:
    if data.get("slot"):
        slot = from_iso(data["slot"])
        trail.single[slot] += 1
        trail.held.discard(slot)
        trail.apart.update([slot] if data.get("excluded") else ())
    interval = data.get("collapsed") or (data if "through" in data else None)
    if interval:
        half = trail.intervals[bool(data.get("excluded"))]
        half.append((from_iso(interval["after"]), from_iso(interval["through"])))


def _gaps(name: str, trail: _Trail, until: datetime, decided: bool) -> Iterable[Finding]:
    yield from (Finding(name, to_iso(slot), f"has {count} verdicts") for slot, count in trail.single.items() if count > 1)
    newest = {excluded: trail.newest(excluded=excluded) for excluded in (False, True)}
    for routine, since, through in trail.spans:
        for excluded, schedule in ((False, routine.schedule), (True, routine.excluded)):
            if schedule is None:
                continue
            due = until - timedelta(seconds=_GRACE_SECONDS) - routine.offset if decided else since
            for slot, answers in _answers(trail, schedule, excluded, since, through):
                if answers == 0 and slot not in trail.held and (slot <= due or slot < newest[excluded]):
                    yield Finding(name, to_iso(slot), "has no verdict")
                elif answers > 1 and trail.single.get(slot, 0) < 2:
                    yield Finding(name, to_iso(slot), f"has {answers} verdicts")


def _answers(trail: _Trail, schedule: Schedule, excluded: bool, since: datetime, through: datetime) -> Iterator[tuple[datetime, int]]:
    """Yield every slot of a span with the number of its final verdicts."""
    intervals = trail.intervals[excluded]
    for slot in schedule.walk(since, through):
        yield slot, trail.single.get(slot, 0) + sum(after < slot <= end for after, end in intervals)
