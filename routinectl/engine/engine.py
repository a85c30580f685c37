"""One process's hands on a workspace: decide, claim, hand over, record. `serve` and the commands use the same ones.

The protocol, in the order a start goes through it:

    decide -> take a lease -> append run.claimed -> durable -> the keeper creates `out` and spawns -> run.started
    -> the keeper's exit record -> run.ended -> projections

Deciding happens inside the journal's critical section, on standings folded to the very end: a decision that stands when
it is made is the decision that is written. The lock is held for a batch of at most `BATCH` routines, never for a sync.
"""

from __future__ import annotations

import functools
import heapq
import math
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from routinectl import clock
from routinectl.core import budget, decision, gates, record, retry
from routinectl.core.admit import admit, place_in_line
from routinectl.core.event import Event
from routinectl.core.expect import NOTHING
from routinectl.core.meter import Signs
from routinectl.core.record import facts_of
from routinectl.core.routine import Routine, build
from routinectl.core.settings import Settings
from routinectl.core.standing import Run, Standing, run_of
from routinectl.core.units import from_epoch, from_iso, to_iso
from routinectl.core.verdict import GOOD
from routinectl.core.wish import Abandon, Skip, Start, Wish
from routinectl.engine import dispatch, launch, proposing, reporting
from routinectl.engine.judge import judge
from routinectl.engine.keeping import BATCH, Keeping, Message
from routinectl.engine.revise import Revisions, Seen
from routinectl.engine.world import World
from routinectl.errors import DefinitionError, in_words
from routinectl.files import atomic, definitions, lease, run_logs
from routinectl.files.content import Contents
from routinectl.files.layout import Layout
from routinectl.files.lock import Lock
from routinectl.files.sealed import ChangedError, seal
from routinectl.process import proc, repository
from routinectl.process.mask import Masker
from routinectl.process.message import Closed, encode

_FIRST_BATCH = 8  # small, so that the keeper begins to spawn while the rest is being claimed
Listener = Callable[[Sequence[Event]], None]


@dataclass(slots=True)
class Claimed:
    """A start that is on record and may now be handed over; `key` names the attempt."""

    start: Start
    routine: Routine
    key: str
    lock: Lock
    prepared: launch.Prepared
    reserved: Mapping[str, float] = field(default_factory=dict)


class Engine:
    """The world of a workspace with the means to act on it. `listeners` hear every event once it is durable."""

    def __init__(self, layout: Layout, settings: Settings, *, fires: bool = True) -> None:
        self.layout, self.settings, self.fires = layout, settings, fires
        self.world = World(layout)
        self.revisions = Revisions(settings)
        self.keeping = Keeping(layout)
        self.contents = Contents(layout)
        self.slots = True  # whether slots are decided, or only what was asked for by hand
        self.boot = proc.boot_id()
        self.listeners: list[Listener] = []
        self.signs = Signs()
        self.limit = settings.max_concurrent_runs
        self.descriptors = 1024  # the limit that runs are given

    # -- recording

    def record(self, make: Callable[[], Sequence[Event]], now: datetime) -> list[Event]:
        """Fold to the end, append what `make` says then, make it durable; returns what was appended."""
        journal = self.world.journal
        with journal.transaction() as others:
            self.world.fold(others)
            events = list(make())
            # Before the ends themselves: a write that is torn between the two is made again, and nothing asked for twice.
            events = [*dispatch.following(self, events, now), *events]
            journal.append(events, now)
            self.world.fold(events)
        if others or events:
            began = clock.awake()
            journal.sync()
            self.signs.syncs.observe(clock.awake() - began)
            self.tell([*others, *events])
        return events

    def append(self, events: Sequence[Event], now: datetime) -> None:
        """Record events that need no second look."""
        if events:
            self.record(lambda: events, now)

    def revise(self, seen: Sequence[Seen], now: datetime) -> list[Event]:
        """Record what follows from files that were seen to change; returns those events."""
        if not seen:
            return []
        try:
            return self.record(lambda: [event for look in seen for event in look()], now)
        except OSError:
            self.revisions.keys.clear()  # nothing of it is on record: everything is read again when the disk is well
            raise

    def hear(self) -> list[Event]:
        """Fold what others have appended, make sure that it is durable, and pass it on."""
        events = self.world.catch_up()
        if events:
            self.world.journal.sync()
            self.tell(events)
        return events

    def tell(self, events: Sequence[Event]) -> None:
        """Pass durable events on: to the keeper, if a run is to be cancelled, and to whoever listens."""
        for event in events:
            if event.type == "run.cancel_requested":
                run = self.world.standing(event.subject).runs.get(event.data["run"])
                self.keeping.cancel([run.key] if run is not None else [])
        for listener in self.listeners:
            listener(events)

    # -- deciding and starting

    def settle(self, due: Iterable[str], now: datetime) -> None:
        """Decide for the routines that are due, that changed, and that wait for places; start what may start."""
        waiting = dict.fromkeys([*due, *self.world.dirty])
        self.world.dirty.clear()
        names = list(waiting)
        size = _FIRST_BATCH
        while names:
            batch, names = names[:size], names[size:]
            size = min(size * 2, BATCH)
            try:
                self.hand_over(self.fire(batch, now), now)
            except OSError:
                self.world.dirty.update(batch, names)  # nothing was decided for them: ask again when the disk is well
                raise
            for name in batch:
                self.world.plan(name, now)

    def fire(self, names: Sequence[str], now: datetime) -> list[Claimed]:
        """Record what `decide` says about these routines; return the starts among it, claimed and durable."""
        claimed: list[Claimed] = []
        again: set[str] = set()
        retries: dict[str, datetime] = {}  # that are due and found no place

        def make() -> list[Event]:
            events: list[Event] = []
            starts: list[tuple[Start, Routine]] = []
            for name in names:
                for wish in self.decide(name, now):
                    if isinstance(wish, Start):
                        starts.append((wish, self._routine(name)))
                        continue
                    if not isinstance(wish, Skip):
                        again.add(name)
                    events.append(record.event_of(wish, now))
            admitted, late = admit(starts, self.limit - len(self.world.running), self.free_pools())
            for item in late:
                start = item.start
                if start.retry is not None:
                    retries[start.id] = place_in_line(self._routine(start.id), start.due)[0]
                wishes = decision.without_place(start, item.reason, self.world.standing(start.id), self._routine(start.id))
                events += [record.event_of(wish, now) for wish in wishes]
            for start in admitted:
                events += self._claimed(start, claimed, now)
            return events

        known = set(self.world.dirty)
        try:
            recorded = self.record(make, now)
        except BaseException:
            for item in claimed:
                item.lock.close()
            raise
        self.world.waiting.update(retries)
        # Our own events change only what we just decided; a hold may have its turn at once, so it is looked at again,
        # and so is a routine that follows one which ended in this very decision.
        again.update(event.subject for event in recorded if event.type == "run.requested")
        self.world.dirty.difference_update(set(names) - again - known)
        return claimed

    def decide(self, name: str, now: datetime) -> list[Wish]:
        """Return the wishes for one routine, as things stand."""
        if name not in self.world:
            return []
        routine = self.world.routine(name)
        if routine is None:
            return []
        judge = decision.decide if self.slots else decision.requests
        standing = self.world.standing(name)
        wishes = judge(routine, standing, now, self.facts(routine, standing))
        if self.fires:
            return wishes
        answers = [decision.disabled_here(wish) if isinstance(wish, Start) else wish for wish in wishes]
        return [wish for wish in answers if wish is not None]

    def facts(self, routine: Routine, standing: Standing) -> gates.Facts:
        """Return what a decision needs beside the routine's own events; content is hashed only where an approval binds it."""
        bound = gates.is_bound(routine, standing)
        return gates.Facts(self.content_of(routine, standing) if bound else "", self.settings.max_fires_per_hour)

    def content_of(self, routine: Routine, standing: Standing) -> str:
        """Return the content fingerprint of a routine as its files are now; empty when they are too large to be bound."""
        return self.contents.of(routine.id, standing.fingerprint, launch.named_files(self.layout, routine))

    def free_pools(self) -> dict[str, int]:
        """Return the free places of every pool."""
        free = dict(self.settings.pools)
        for name in self.world.running.values() if free else ():
            routine = self.world.routine(name)
            if routine is not None and routine.pool in free:
                free[routine.pool] -= 1
        return free

    def _claimed(self, start: Start, claimed: list[Claimed], now: datetime) -> list[Event]:
        """Return the claim of a start; where what it needs cannot be opened, it alone does not start."""
        try:
            return self.claim(start, claimed, now)
        except OSError as error:
            if atomic.concerns_all(error):
                raise
            return self._refused(start, "cannot_start", in_words(error), now)

    def claim(self, start: Start, claimed: list[Claimed], now: datetime) -> list[Event]:
        """Return the claim of a start, and remember what to hand over; without a free lease, what follows from that. Raises OSError."""
        routine, standing = self._routine(start.id), self.world.standing(start.id)
        used = {run.lease for run in standing.runs.values() if run.retry_at is None} | {
            int(item.lock.path.name.rsplit(".", 2)[1]) for item in claimed if item.start.id == start.id
        }
        taken = lease.take(self.layout, start.id, routine.parallel, used)
        if taken is None:
            return self._refused(start, "overlap", "what it left behind still holds its lease", now)
        try:
            return self._with_lease(start, claimed, taken, now)
        except BaseException:
            taken[1].close()
            raise

    def _with_lease(self, start: Start, claimed: list[Claimed], taken: tuple[int, Lock], now: datetime) -> list[Event]:
        routine, standing = self._routine(start.id), self.world.standing(start.id)
        if start.request is not None and start.request.tree:
            routine, prepared = self.prepare_as_it_was(start.id, start.request.tree, now)
        else:
            prepared = self.prepare(start.id)
        facts = {**prepared.facts, "boot": self.boot}
        if gates.is_bound(routine, standing):
            prepared, facts["content"] = self._bound(start, routine, standing, prepared, now)
        payload = launch.given(start)
        if payload is not None:
            facts["payload"] = payload
        reserved: dict[str, float] = {}
        if routine.work_per_day:
            reserved = self._reservation(routine, standing, claimed, now)
            facts["reserved"] = reserved
            facts["timeout"] = reserved.get("wall", routine.timeout.total_seconds())
            prepared = launch.within(prepared, reserved)
        event = record.claim(start, routine, standing, taken[0], facts, now)
        key = start.retry.key if start.retry else event.data["run"]
        claimed.append(Claimed(start, routine, key, taken[1], prepared, reserved))
        return [event]

    @staticmethod
    def _reservation(routine: Routine, standing: Standing, claimed: Sequence[Claimed], now: datetime) -> dict[str, float]:
        """Return what a run may use of its day beside all that went before it, those of the same decision included."""
        used = standing.worked_on(gates.local_day(routine, now))
        for item in claimed:
            for kind, amount in item.reserved.items() if item.start.id == routine.id else ():
                used[kind] = used.get(kind, 0.0) + amount
        return budget.reservation(routine.work_per_day, routine.work, used)

    def _bound(
        self, start: Start, routine: Routine, standing: Standing, prepared: launch.Prepared, now: datetime
    ) -> tuple[launch.Prepared, str]:
        """Return what a run needs that acts with approved bytes alone, and their fingerprint.

        What was prepared before its instant is older than the bytes that were judged; a later attempt acts with those of
        the first; and the files of another commit are as they are, approved or not.
        """
        if start.request is not None and start.request.tree:
            content = str(prepared.facts.get("content", ""))
            approved = gates.is_approved(standing, content, now) or bool(prepared.fault)
            return (prepared if approved else replace(prepared, fault="the files of that commit were never approved"), content)
        claimed = start.retry.facts.get("content") if start.retry is not None else None
        return replace(prepared, ready=None), str(claimed or self.facts(routine, standing).content)

    @staticmethod
    def _refused(start: Start, reason: str, why: str, now: datetime) -> list[Event]:
        """Return the verdict of a start that turned out to be impossible when it was claimed; `why` is for people."""
        if start.retry is not None:
            return [record.event_of(Abandon(start.id, start.retry, why), now)]
        facts = {"detail": why}
        if start.request is not None:
            return [record.event_of(Skip(start.id, False, reason, request=start.request.id, facts=facts), now)]
        events = []
        if start.collapsed is not None:
            events.append(record.event_of(Skip(start.id, True, "collapsed", interval=start.collapsed), now))
        events.append(record.event_of(Skip(start.id, False, reason, slot=start.slot, facts=facts), now))
        return events

    @functools.cached_property
    def _repository(self) -> repository.Repository | None:
        """The git repository that the workspace is in."""
        return repository.find(self.layout.root)

    def prepare(self, name: str) -> launch.Prepared:
        """Return what a routine's next run needs, ready since before its instant where there was time for it."""
        entry = self.world.entry(name)
        prepared = entry.prepared
        if prepared is None or prepared.revision != entry.standing.revision:
            facts = {"fingerprint": entry.standing.fingerprint, "content": self.content_of(self._routine(name), entry.standing)}
            commit = repository.commit(self._repository) if self._repository else ""
            if commit:
                facts["commit"] = commit
            prepared = launch.prepare(self.layout, self.settings, self._routine(name), entry.standing.revision, facts)
            entry.prepared = prepared
        assert isinstance(prepared, launch.Prepared)
        return prepared

    def prepare_as_it_was(self, name: str, tree: str, now: datetime) -> tuple[Routine, launch.Prepared]:
        """Return a routine as another commit has it, and what its run needs: the files of `tree` in the workspace's place."""
        layout = Layout(Path(tree))
        try:
            definition = definitions.load(layout, name, self.settings, now)
        except DefinitionError as error:
            routine = self._routine(name)
            return routine, launch.Prepared("", "", [], {}, str(self.layout.root), 0o022, {}, fault=str(error))
        routine = build(name, definition.doc, now)
        facts = {
            "fingerprint": definition.fingerprint,
            "content": Contents(layout).of(name, definition.fingerprint, launch.named_files(layout, routine)),
        }
        return routine, launch.prepare(layout, self.settings, routine, "", facts)

    def make_ready(self, name: str, wake: float) -> bool:
        """Make everything of the run that will be due at `wake` (seconds since 1970), before its instant; say whether its folder was made.

        Raises OSError and launch.CannotStart, which concern this routine alone: its claim meets them again, and says so.
        """
        prepared, routine = self.prepare(name), self._routine(name)
        lease.make(self.layout, name)
        if prepared.fault or routine.work_per_day or gates.is_bound(routine, self.world.standing(name)):
            return False  # approved bytes are sealed, and a share of the day is reserved, when it is claimed, not before
        slot = from_epoch(round(wake)) - routine.offset
        if not routine.schedule.count(slot - timedelta(seconds=1), slot):
            return False  # it is woken for something else: the end of quiet hours, a promise
        start = Start(name, routine.due(slot), "on_time", slot=slot)
        entry = self.entry(start, routine, prepared, record.run_id(start), start.due)
        self.world.entry(name).prepared = replace(prepared, ready=(slot, entry))
        return True

    def entry(self, start: Start, routine: Routine, prepared: launch.Prepared, key: str, now: datetime) -> bytes:
        """Return what the keeper is given for one attempt, as JSON. Raises launch.CannotStart, OSError."""
        standing = self.world.standing(start.id)
        run = standing.runs.get(run_of(key))
        if run is not None and "tree" not in run.facts and run.facts.get("content") and gates.is_bound(routine, standing):
            prepared = self._sealed(routine, standing, prepared, str(run.facts["content"]))
        if routine.work_per_day and not prepared.day:  # it was claimed by a process that is gone
            prepared = launch.within(prepared, standing.reserved_by(run_of(key)))
        entry = launch.entry_of(self.layout, routine, prepared, start, key, now)
        entry["nofile"] = self.descriptors
        return encode(entry)

    def _sealed(self, routine: Routine, standing: Standing, prepared: launch.Prepared, content: str) -> launch.Prepared:
        """Return what a run needs to act with the bytes it was claimed with, whatever becomes of the files. Raises launch.CannotStart, OSError."""
        linked = prepared.confine is None and not routine.hosted
        try:
            copy = seal(self.contents, routine.id, standing.fingerprint, launch.named_files(self.layout, routine), content, linked=linked)
        except ChangedError:
            raise launch.CannotStart("what it acts with was changed after it was claimed; nothing of it ran") from None
        return launch.with_sealed(self.layout, routine, prepared, copy)

    def use_settings(self, settings: Settings) -> None:
        """Put changed settings in force; every definition is read again, because defaults are merged into it."""
        self.settings, self.limit = settings, settings.max_concurrent_runs
        self.revisions.settings = settings
        self.revisions.keys.clear()

    def forget_prepared(self, name: str) -> None:
        """Have the next run prepared anew: scripts, secrets and commits may change between two runs."""
        if name in self.world.thawed:
            self.world.thawed[name].prepared = None

    def hand_over(self, claimed: Sequence[Claimed], now: datetime) -> None:
        """Give claimed runs to the keeper. Those that cannot start are recorded as ended.

        Raises OSError when the machine has no more to give; what was claimed and not handed over is started by recovery then.
        """
        entries: list[bytes] = []
        short: OSError | None = None
        locks: list[Lock] = []
        faults: list[Event] = []
        for item in claimed:
            self.forget_prepared(item.start.id)
            if item.prepared.fault:
                item.lock.close()
                faults.append(self._not_started(item.start.id, item.key, item.prepared.fault, now))
                continue
            try:
                ready = item.prepared.ready
                is_ready = ready is not None and ready[0] == item.start.slot and item.start.retry is None
                entries.append(ready[1] if ready and is_ready else self.entry(item.start, item.routine, item.prepared, item.key, now))
                locks.append(item.lock)
            except (OSError, launch.CannotStart) as error:
                item.lock.close()
                if isinstance(error, OSError) and atomic.concerns_all(error):
                    short = error
                    continue
                why = f"its folder cannot be made: {error.strerror}" if isinstance(error, OSError) else str(error)
                faults.append(self._not_started(item.start.id, item.key, why, now))
        if entries:
            self.send(entries, locks)
        if faults:
            self.append(faults, now)
        if short is not None:
            raise short

    def send(self, entries: list[bytes], locks: list[Lock]) -> None:
        """Hand a batch to the keeper; when it dies in this moment, recovery starts what it had not begun."""
        try:
            for first in range(0, len(entries), BATCH):
                if self.keeping.wire is None:
                    self.keeping.ensure()
                self.keeping.spawn(
                    entries[first : first + BATCH], [item.fd for item in locks[first : first + BATCH]], launch.base_environment()
                )
        except Closed:
            return
        finally:
            for item in locks:
                item.close()

    def _not_started(self, name: str, key: str, message: str, now: datetime) -> Event:
        run = self.world.standing(name).runs.get(run_of(key))
        return Event("run.ended", name, {**facts_of(run, run_of(key)), "at": to_iso(now), "outcome": "not_started",
                                         "exit_code": None, "message": message})  # fmt: skip

    # -- hearing from the keeper

    def listen(self, now: datetime) -> bool:
        """Take in what the keeper says; return False when it is gone."""
        messages = self.keeping.receive()
        self.take(messages, now)
        return self.keeping.wire is not None

    def take(self, messages: Sequence[Message], now: datetime) -> None:
        """Record starts and ends that the keeper told of, and say which ends it may forget."""
        started: list[Message] = []
        ended: list[Message] = []
        for message in messages:
            started += message.get("spawned", ()) or message.get("alive", ())
            ended += message.get("ended", ())
        try:
            self.record(lambda: [*self._started(started, now), *self._ended(ended, now)], now)
        except OSError:
            self.keeping.put_back(messages)
            raise
        done = [item["run"] for item in ended] + [item["run"] for item in started if "error" in item]
        self.keeping.acknowledge(done)

    def _started(self, items: Iterable[Message], now: datetime) -> Iterable[Event]:
        for item in items:
            name = self.world.running.get(item["run"])
            if name is None:
                continue
            run = self.world.standing(name).runs[run_of(item["run"])]
            if "error" in item:
                if item["error"] != "exists":
                    yield self._not_started(name, run.key, item["error"], now)
            elif run.started_at is None:
                data = {"run": run.id, "at": to_iso(from_epoch(item["at"])), "pid": item["pid"], "start_time": item["start"],
                        "boot": self.boot}  # fmt: skip
                yield Event("run.started", name, data)

    def _ended(self, items: Iterable[Message], now: datetime) -> Iterable[Event]:
        for item in items:
            name = self.world.running.get(item["run"])
            if name is not None:
                yield from self._end(name, self.world.standing(name).runs[run_of(item["run"])], item)

    def _end(self, name: str, run: Run, item: Message) -> list[Event]:
        """Return the end of a run with what follows from it. Where what it left cannot be looked at, that is a failure of its own."""
        routine = self.world.routine(name)
        try:
            end = self.end_of(name, run, item)
            hosted = routine is not None and routine.hosted
            return [*(proposing.events(self.layout, self.world.standing(name), name, run, end) if hosted else ()), end]
        except OSError as error:
            if atomic.concerns_all(error):
                raise
            data = facts_of(run, run.id) | {"at": to_iso(from_epoch(item["at"])), "started_at": to_iso(from_epoch(item["born"]))}
            data |= _outcome(item["status"], item["stopped"], run, quiet=False) if item.get("status") is not None else {"exit_code": None}
            return [self.ending(name, run, data | {"outcome": "failed", "message": f"what it left cannot be looked at: {in_words(error)}"})]

    def end_of(self, name: str, run: Run, item: Message) -> Event:
        """Return the end of a run, from the keeper's record of it."""
        data = facts_of(run, run.id) | {"at": to_iso(from_epoch(item["at"])), "started_at": to_iso(from_epoch(item["born"]))}
        data |= {"cpu_seconds": item.get("cpu"), "max_rss": item.get("rss")}
        if "measured" in item:
            data["measured"] = item["measured"]
        if item.get("status") is None:
            data |= {"outcome": "not_started", "exit_code": None, "message": item.get("error", "")}
            return Event("run.ended", name, data)
        message, quiet = run_logs.summary(self.layout.run(name, run.key))
        data |= _outcome(item["status"], item["stopped"], run, quiet=quiet)
        data["message"] = self._masked(name, message)
        routine = self.world.routine(name)
        reserved = self.world.standing(name).reserved_by(run.id)
        if item.get("over"):
            own = routine is None or routine.work.get(item["over"], math.inf) <= reserved.get(item["over"], math.inf)
            data |= {"outcome": "over_budget", "detail": f"budget.{'' if own else 'per_day.'}{item['over']}"}
        elif routine is not None and item["stopped"] == "timed_out" and reserved.get("wall", math.inf) < routine.work["wall"]:
            data |= {"outcome": "over_budget", "detail": "budget.per_day.wall"}
        if "output" in reserved:
            data["output_bytes"] = run_logs.output_size(self.layout.run(name, run.key))
        judged = routine if not item["stopped"] and not item.get("over") else None  # a run that was stopped is not asked further
        said = reporting.report(self.layout.run(name, run.key), data["outcome"]) if judged is not None and judged.hosted else {}
        data |= said
        # What has failed by its host's own word is not asked further; what the host calls good is judged as any other run.
        if judged is not None and data["exit_code"] is not None and said.get("outcome", "quiet") in GOOD:
            fault = judge(self.layout, judged, run, data["exit_code"], item)
            if not fault and data["outcome"] == "failed":
                data["outcome"] = "quiet" if quiet else "succeeded"  # a code that the definition calls good
            elif fault and (data["outcome"] != "failed" or judged.expect is not NOTHING):
                quoted = f"; it said: {data['message']}" if data["message"] else ""
                data |= {"outcome": "failed", "detail": "expectation", "message": self._masked(name, f"expectation: {fault}") + quoted}
        if run.facts.get("confinement"):
            data |= reporting.leavings_of(self.layout.run(name, run.key), data["message"])
        if routine is not None and routine.hosted:
            refused = proposing.refused(self.layout.run(name, run.key))
            if refused:
                data |= {
                    "outcome": "denied",
                    "detail": "proposal",
                    "message": f"these changes may not be proposed: {'; '.join(refused[:5])}",
                }
        if routine is not None and routine.action.output and data["outcome"] in GOOD:
            fault = reporting.write_output(self.layout, routine, run)
            data |= {"outcome": "failed", "detail": "output", "message": fault} if fault else {}
        return self.ending(name, run, data)

    def ending(self, name: str, run: Run, data: dict[str, Any]) -> Event:
        """Return the event of an attempt's end: final, or followed by the next attempt."""
        routine = self.world.routine(name)
        ended = from_iso(data["at"])
        again = retry.next_attempt(routine, run, data["outcome"], ended) if routine is not None else None
        if again is None:
            return Event("run.ended", name, data)
        return Event("run.retrying", name, {**data, "next_attempt": run.attempt + 1, "retry_at": to_iso(again)})

    def _masked(self, name: str, message: str) -> str:
        """Return a summary line without secrets: a run may write its result file itself."""
        routine = self.world.routine(name)
        if not message or routine is None or not routine.action.secrets:
            return message
        masker = Masker(self.prepare(name).masks)
        return (masker.feed(message.encode()) + masker.finish()).decode(errors="replace")

    # -- places

    def next_waiting(self) -> list[str]:
        """Return the routines whose turn it is when places are free, the longest waiting first."""
        free = self.limit - len(self.world.running)
        if free <= 0 or not self.world.waiting:
            return []
        waiting = set(self.world.waiting)
        pools = self.free_pools()
        if pools:
            waiting = {name for name in waiting if pools.get(self._routine(name).pool, 1) > 0}
        return heapq.nsmallest(free, waiting, key=lambda name: (self.world.waiting[name], name))

    def _routine(self, name: str) -> Routine:
        routine = self.world.routine(name)
        assert routine is not None
        return routine


def _outcome(status: int, stopped: str, run: Run, *, quiet: bool) -> dict[str, Any]:
    number = status & 0x7F
    code = status >> 8 if number == 0 else None
    name = signal.Signals(number).name if number in set(signal.Signals) else str(number) if number else None
    if stopped:
        outcome = stopped
    elif code == 0:
        outcome = "quiet" if quiet else "succeeded"
    else:
        outcome = "failed"
    found: dict[str, Any] = {"outcome": outcome, "exit_code": code}
    if name:
        found["signal"] = name
    if outcome == "cancelled" and run.cancel:
        found["by"] = run.cancel
    return found
