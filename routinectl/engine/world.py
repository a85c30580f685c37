"""The state of a workspace in one process: every standing, the routines in force, and when each next wants attention.

A routine that nobody has looked at for a while is kept frozen, as the line a checkpoint would hold, and thawed when an
event or its wake comes: ten thousand idle routines cost their text, and no CPU.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from routinectl import clock
from routinectl.core import decision, meter, reaction
from routinectl.core.admit import place_in_line
from routinectl.core.event import AS_JSON, Event, from_dict
from routinectl.core.meter import Meter
from routinectl.core.reaction import After
from routinectl.core.routine import Routine, build
from routinectl.core.standing import RELEASED, Standing, from_plain, to_plain
from routinectl.errors import DefinitionError
from routinectl.files import checkpoint
from routinectl.files.journal import Damage, Journal
from routinectl.files.layout import Layout, is_name

_FOR_A_PLACE = ("capacity", "pool", RELEASED)
_REVISIONS = ("routine.created", "routine.updated", "routine.enabled", "routine.disabled", "routine.deleted", "routine.invalid")
_THAWED = 256  # how many idle routines stay thawed
_LOOK_AHEAD = 2.0  # seconds before its wake in which a routine is not frozen


def _key(event: Event) -> str:
    """Return the name of the attempt that an event is about (see `Run.key`)."""
    attempt = event.data.get("attempt", 1)
    run: str = event.data["run"]
    return run if attempt == 1 else f"{run}.{attempt}"


def _thawed(frozen: bytes) -> Standing:
    return from_plain(json.loads(frozen.split(b"\t", 3)[3]))


def _built(standing: Standing) -> Routine | None:
    if standing.doc is None:
        return None
    assert standing.revised_at is not None
    try:
        return build(standing.id, standing.doc, standing.revised_at)
    except DefinitionError:
        return None


@dataclass(slots=True)
class Entry:
    """A thawed routine. `prepared` is what the engine made ready for its next start."""

    standing: Standing
    routine: Routine | None = None
    prepared: Any = None


class World:
    """All routines, folded from the journal. `dirty` are those that must be decided anew, `changed` those to project."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.journal = Journal(layout)
        self.thawed: dict[str, Entry] = {}
        self.frozen: dict[str, bytes] = {}
        self.wakes: dict[str, float] = {}
        self.heap: list[tuple[float, str]] = []
        self.running: dict[str, str] = {}  # run id -> routine id
        self.waiting: dict[str, datetime] = {}  # routines with a slot or request that waits for a place, and since when
        self.dirty: set[str] = set()
        self.changed: set[str] = set()
        self.reactive: set[str] = set()  # routines with triggers that are no time
        self.reactions = 0  # counts the changes of those triggers
        self._followers: tuple[int, dict[str, list[tuple[str, After]]]] = (-1, {})
        self.workspace: dict[str, Event] = {}  # the newest event of each kind that is about no routine
        self.meter = Meter()
        self.since_checkpoint = 0
        self.recorded_damage: set[tuple[int, int]] = set()

    # -- reading

    def load(self) -> None:
        """Fold the journal, from the checkpoint where there is a good one."""
        for path in (self.layout.checkpoint, self.layout.base):
            saved = checkpoint.read(path)
            if saved is not None and self.journal.seek(saved.position, saved.seq, saved.time):
                self.workspace = {plain["type"]: from_dict(plain) for plain in saved.workspace}
                self._unpack(saved.records)
                self.meter = meter.from_plain(saved.meter)
                break
        self.catch_up()

    def catch_up(self) -> list[Event]:
        """Fold what others have appended since; returns those events."""
        events = self.journal.read_new()
        self.fold(events)
        return events

    def fold(self, events: Iterable[Event]) -> None:
        """Take events in, in their order."""
        for event in events:
            self.since_checkpoint += 1
            self.meter.fold(event)
            if event.subject and not is_name(event.subject):
                continue  # nothing of ours writes that
            if not event.subject:
                self.workspace[event.type] = event
                if event.type == "journal.damaged":
                    self.recorded_damage.add((event.data["segment"], event.data["offset"]))
                continue
            entry = self.entry(event.subject, make=True)
            entry.standing.fold(event)
            kind = event.type
            if kind == "run.claimed":
                self.running[_key(event)] = event.subject
            elif kind in ("run.ended", "run.retrying"):
                self.running.pop(_key(event), None)
            elif kind in _REVISIONS:
                entry.routine = entry.prepared = None
                self._note_reactive(entry.standing)
            self._note_waiting(entry.standing)
            self.dirty.add(event.subject)
            self.changed.add(event.subject)

    def _note_waiting(self, standing: Standing) -> None:
        since = [hold.slot for hold in standing.holds.values() if hold.reason in _FOR_A_PLACE]
        since += [request.at for request in standing.requests.values() if request.hold in ("", *_FOR_A_PLACE)]
        routine = self.routine(standing.id) if since else None
        if routine is not None:
            self.waiting[standing.id] = place_in_line(routine, min(since))[0]
        elif self.waiting:
            self.waiting.pop(standing.id, None)

    def _note_reactive(self, standing: Standing) -> None:
        reacts = not standing.deleted and bool(reaction.read(standing.doc or {}))
        if reacts or standing.id in self.reactive:
            self.reactions += 1
        (self.reactive.add if reacts else self.reactive.discard)(standing.id)

    # -- asking

    def spenders(self) -> list[str]:
        """Return the routines of which it is known that they have spent something on models; few are thawed for that."""
        found = [name for name, entry in self.thawed.items() if entry.standing.spent]
        return found + [name for name, plain in self.frozen.items() if b'"spent"' in plain and name not in self.thawed]

    def followers(self, routine_id: str) -> list[tuple[str, After]]:
        """Return the routines that follow the end of this one, each with its trigger: those of the same owner, as of now.

        What a follower is told (a run, its outcome and output) is for its owner's eyes, whoever wrote which definition when.
        """
        made_for, found = self._followers
        if made_for != self.reactions:
            found = {}
            for name in sorted(self.reactive):
                for item in reaction.read(self.standing(name).doc or {}):
                    if isinstance(item, After):
                        found.setdefault(item.routine, []).append((name, item))
            self._followers = (self.reactions, found)
        return [(name, item) for name, item in found.get(routine_id, ()) if self._owner(name) == self._owner(routine_id)]

    def _owner(self, routine_id: str) -> str | None:
        return (self.standing(routine_id).doc or {}).get("owner")

    def ids(self) -> list[str]:
        """Return the ids of all routines that ever were, in order."""
        return sorted(self.thawed.keys() | self.frozen.keys())

    def __contains__(self, routine_id: str) -> bool:
        return routine_id in self.thawed or routine_id in self.frozen

    def entry(self, routine_id: str, *, make: bool = False) -> Entry:
        """Return a routine, thawed. Raises KeyError for one that never was, unless it is to be made."""
        found = self.thawed.get(routine_id)
        if found is not None:
            return found
        frozen = self.frozen.pop(routine_id, None)
        if frozen is not None:
            standing = _thawed(frozen)
        elif make:
            standing = Standing(routine_id)
        else:
            raise KeyError(routine_id)
        found = self.thawed[routine_id] = Entry(standing)
        return found

    def standing(self, routine_id: str) -> Standing:
        """Return where a routine stands. Raises KeyError for one that never was."""
        return self.entry(routine_id).standing

    def routine(self, routine_id: str) -> Routine | None:
        """Return the routine in force, or None when it has never been good (or its zone has vanished)."""
        entry = self.entry(routine_id)
        if entry.routine is None:
            entry.routine = _built(entry.standing)
        return entry.routine

    def glimpse(self, routine_id: str) -> tuple[Standing, Routine | None]:
        """Return a routine to look at and let go of: one that is frozen stays so. Raises KeyError for one that never was."""
        if routine_id not in self.thawed and routine_id in self.frozen:
            standing = _thawed(self.frozen[routine_id])
            return standing, _built(standing)
        return self.standing(routine_id), self.routine(routine_id)

    def unrecorded_damage(self) -> list[Damage]:
        """Return the damage in the journal that no event tells of yet."""
        return [item for item in self.journal.damage if (item.segment, item.offset) not in self.recorded_damage]

    # -- wakes

    def plan(self, routine_id: str, now: datetime) -> None:
        """Compute when a routine next wants attention by time alone, and put it into the heap."""
        routine = self.routine(routine_id)
        wake = decision.next_wake(routine, self.standing(routine_id), now) if routine else None
        if wake is None:
            self.wakes.pop(routine_id, None)
            return
        epoch = wake.timestamp()
        if self.wakes.get(routine_id) != epoch:
            self.wakes[routine_id] = epoch
            heapq.heappush(self.heap, (epoch, routine_id))

    def next_wake(self) -> tuple[float, str] | None:
        """Return the earliest wake (seconds since 1970) and its routine."""
        while self.heap and self.wakes.get(self.heap[0][1]) != self.heap[0][0]:
            heapq.heappop(self.heap)
        return self.heap[0] if self.heap else None

    def take_due(self, epoch: float) -> list[str]:
        """Take the routines whose wake has come out of the heap."""
        due: list[str] = []
        while (first := self.next_wake()) is not None and first[0] <= epoch:
            heapq.heappop(self.heap)
            del self.wakes[first[1]]
            due.append(first[1])
        return due

    def upcoming(self, epoch: float) -> list[str]:
        """Return the routines whose wake comes before an instant, without taking them."""
        if self.next_wake() is None or self.heap[0][0] > epoch:
            return []
        return [name for wake, name in heapq.nsmallest(len(self.heap), self.heap) if wake <= epoch and self.wakes.get(name) == wake]

    # -- freezing

    def cool(self) -> None:
        """Freeze idle routines beyond the number that stays thawed, so that memory does not grow with what has fired."""
        surplus = len(self.thawed) - _THAWED
        if surplus <= 0:
            return
        soon = clock.now().timestamp() + _LOOK_AHEAD
        for routine_id in list(self.thawed):
            if surplus <= 0:
                return
            if routine_id in self.dirty or routine_id in self.changed or self.wakes.get(routine_id, soon + 1) <= soon:
                continue
            if self.thawed[routine_id].standing.runs:
                continue
            self.frozen[routine_id] = self._freeze(routine_id)
            del self.thawed[routine_id]
            surplus -= 1

    def _freeze(self, routine_id: str) -> bytes:
        standing = self.thawed[routine_id].standing
        wake = self.wakes.get(routine_id)
        flags = (b"o" if standing.is_open else b"-") + (b"r" if routine_id in self.reactive else b"")
        plain = json.dumps(to_plain(standing), separators=(",", ":"), ensure_ascii=False).encode("utf-8", AS_JSON)
        return b"%b\t%b\t%b\t%b" % (routine_id.encode(), b"%f" % wake if wake is not None else b"-", flags, plain)

    def _unpack(self, records: list[bytes]) -> None:
        for record in records:
            name, wake, flags, _ = record.split(b"\t", 3)
            routine_id = name.decode()
            self.frozen[routine_id] = record
            if wake != b"-":
                self.wakes[routine_id] = float(wake)
                self.heap.append((float(wake), routine_id))
            if b"r" in flags:
                self.reactive.add(routine_id)
            if b"o" in flags:
                standing = self.entry(routine_id).standing
                self._note_waiting(standing)
                for run in standing.runs.values():
                    if run.retry_at is None:
                        self.running[run.key] = routine_id
                self.dirty.add(routine_id)
        heapq.heapify(self.heap)

    def save(self, *, base: bool = False) -> None:
        """Write a checkpoint of everything folded so far (`base`: the second one too). The journal is synced before it."""
        self.journal.sync()
        records = [self._freeze(name) if name in self.thawed else self.frozen[name] for name in self.ids()]
        journal = self.journal
        workspace = [event.as_dict() for event in self.workspace.values()]
        saved = checkpoint.Checkpoint(journal.position, journal.seq, journal.last_time, workspace, records, self.meter.to_plain())
        for path in (self.layout.checkpoint, self.layout.base) if base else (self.layout.checkpoint,):
            checkpoint.write(path, saved)
        self.since_checkpoint = 0
