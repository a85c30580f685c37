"""File triggers: which files have changed and settled, found by a thread of its own, and offered by the loop.

The thread only looks: a folder that hangs, or holds a million files, delays no fire. The loop alone records and moves
the memory of what was offered (`files/globs.py`). What a gate refuses for now is offered again, later and more rarely.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from routinectl import clock
from routinectl.core.event import Event
from routinectl.core.gates import Refusal
from routinectl.core.reaction import FileChange
from routinectl.core.units import from_epoch, to_iso
from routinectl.engine.dispatch import request_id, requested
from routinectl.engine.engine import Engine
from routinectl.files import globs
from routinectl.files.globs import Offered, State
from routinectl.files.watch import Watch

_FIRST_AGAIN, _MOST_AGAIN = 60.0, 3600.0  # seconds after which what was refused is offered again
_PATIENCE = 10  # times `settle` after which what is quiet is offered though other files still change
_SHARE = 100.0  # a look may take the hundredth part of the time until the next one
_NOT_AGAIN = ("max_runs", "chain", "out_of_bounds")  # refusals that no time mends


@dataclass(slots=True)
class Job:
    """What the thread watches for one routine: absolute globs, what was offered, and what has changed since when."""

    trigger: FileChange
    patterns: list[str]
    offered: Offered
    pending: dict[str, tuple[State | None, float]] = field(default_factory=dict)
    since: float = 0.0
    not_before: float = 0.0
    again: float = _FIRST_AGAIN

    def settled(self, found: dict[str, State], awake: float) -> dict[str, State | None] | None:
        """Take a look's result in; return the changes that have settled (None: deleted), or None while some have not."""
        known = self.offered.files
        now = {path: found.get(path) for path in found.keys() | known.keys() if found.get(path) != known.get(path)}
        self.pending = {
            path: (state, self.pending[path][1] if path in self.pending and self.pending[path][0] == state else awake)
            for path, state in now.items()
        }
        if not self.pending:
            self.since = 0.0
            return None
        self.since = self.since or awake
        settle = self.trigger.settle
        quiet = {path: state for path, (state, at) in self.pending.items() if awake - at >= settle and not globs.is_being_written(path)}
        patient = awake - self.since < settle * _PATIENCE
        return None if not quiet or (patient and len(quiet) < len(self.pending)) else quiet


class Changes:
    """The file triggers of a serve. `talk` hears of memories that cannot be written; nothing else waits for them."""

    def __init__(self, engine: Engine, scan_interval: float, talk: Callable[[str], None]) -> None:
        self.engine, self.scan_interval, self.talk = engine, scan_interval, talk
        self._trouble = ""
        self._jobs: dict[str, Job] = {}
        self._ready: dict[str, dict[str, State | None]] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._over = False
        self._made_for = -1
        self._thread: threading.Thread | None = None
        self._poke: Callable[[], None] = lambda: None

    # -- the loop's side

    def update(self, watch: Watch | None, poke: Callable[[], None]) -> None:
        """Take changed definitions in; start the thread, which wakes the loop by `poke`, when there is something to watch."""
        world = self.engine.world
        if self._made_for != world.reactions:
            self._made_for = world.reactions
            self._renew()
        if not self._jobs:
            return
        if watch is not None:
            for pattern in (pattern for job in self._jobs.values() for pattern in job.patterns):
                folder = globs.base(pattern)
                watch.follow(folder, recursive=pattern.count("/") > folder.count("/") + 1)
        if self._thread is None:
            self._poke = poke
            self._thread = threading.Thread(target=self._look_on, daemon=True)
            self._thread.start()

    def touch(self) -> None:
        """Look at once: something was touched."""
        self._wake.set()

    def _renew(self) -> None:
        world, layout = self.engine.world, self.engine.layout
        jobs: dict[str, Job] = {}
        for name in sorted(world.reactive):
            routine, standing = world.routine(name), world.standing(name)
            trigger = next((item for item in routine.reactions if isinstance(item, FileChange)), None) if routine is not None else None
            if routine is None or trigger is None or not routine.enabled or standing.draft is not None:
                continue
            patterns = [globs.absolute(layout, name, pattern) for pattern in trigger.paths]
            before = self._jobs.get(name)
            if before is not None and (before.trigger, before.patterns) == (trigger, patterns):
                jobs[name] = before
                continue
            offered = globs.read(layout, name, standing.heard)
            if offered is None or offered.patterns != patterns:
                # What is there when a trigger is new, or names other files than before, is no change.
                known = offered.files if offered is not None else {}
                offered = Offered(patterns, {path: known.get(path, state) for path, state in globs.find(patterns).items()})
                self._keep(name, offered)
            jobs[name] = Job(trigger, patterns, offered)
        with self._lock:
            self._jobs = jobs
            self._ready = {name: changes for name, changes in self._ready.items() if name in jobs}
        self._wake.set()

    def offer(self, now: datetime) -> None:
        """Ask for the runs that settled changes are for, durably."""
        with self._lock:
            ready, self._ready = self._ready, {}
        for name, changes in ready.items():
            job = self._jobs.get(name)
            if job is not None:
                fresh = {path: state for path, state in changes.items() if job.offered.files.get(path) != state}
                self._offer(name, job, fresh, now)

    def _offer(self, name: str, job: Job, changes: dict[str, State | None], now: datetime) -> None:
        if not changes:
            return
        listed = [_listed(path, job.offered.files.get(path), state) for path, state in sorted(changes.items())]
        wanted = [item for item in listed if item["change"] in job.trigger.kinds]
        files = {path: state for path, state in {**job.offered.files, **changes}.items() if state is not None}
        key = f"{name} {sorted((path, state) for path, state in changes.items())}"
        offered = Offered(job.patterns, files, request_id(now, key), {path: job.offered.files.get(path) for path in changes})
        if not self._keep(name, offered, settled=False):
            self._later(job)
            return
        if wanted and not self._ask(name, job, offered.request, wanted, now):
            return
        self._settle(name)
        job.offered, job.again = offered, _FIRST_AGAIN

    def _keep(self, name: str, offered: Offered, *, settled: bool = True) -> bool:
        """Write what is (or is about to be) offered; say whether that could be done."""
        try:
            globs.prepare(self.engine.layout, name, offered)
        except OSError as error:
            self._tell(f"the memory of file triggers cannot be written: {error}")
            return False
        return self._settle(name) if settled else True

    def _settle(self, name: str) -> bool:
        try:
            globs.settle(self.engine.layout, name)
        except OSError as error:
            self._tell(f"the memory of file triggers cannot be written: {error}")  # the next serve finds it prepared
            return False
        self._trouble = ""
        return True

    def _tell(self, text: str) -> None:
        if text != self._trouble:
            self.talk(text)
        self._trouble = text

    def _ask(self, name: str, job: Job, request: str, wanted: list[dict[str, Any]], now: datetime) -> bool:
        """Ask for a run; return False when a gate refuses it for now, and the changes are to be offered again."""
        refusals: list[Refusal] = []

        def make() -> list[Event]:
            events, refused = requested(
                self.engine, name, {"request": request, "trigger": job.trigger.label, "payload": {"files": wanted}}, now
            )
            refusals[:] = [refused] if refused is not None else []
            return events

        self.engine.record(make, now)
        if not refusals or refusals[0].reason in _NOT_AGAIN:
            return True
        self._later(job)
        return False

    def _later(self, job: Job) -> None:
        job.not_before = clock.awake() + job.again
        job.again = min(job.again * 2, _MOST_AGAIN)

    def hear(self, events: Sequence[Event]) -> None:
        """Take in what becomes of offers: one that was refused after all is made again; a run's end may make room for it."""
        for event in events:
            job = self._jobs.get(event.subject)
            if job is None:
                continue
            if event.type == "slot.skipped" and event.data.get("request") == job.offered.request and event.data["reason"] not in _NOT_AGAIN:
                files = {**job.offered.files, **{path: state for path, state in job.offered.before.items() if state is not None}}
                for path in (path for path, state in job.offered.before.items() if state is None):
                    files.pop(path, None)
                job.offered = Offered(job.patterns, files)
                self._keep(event.subject, job.offered)
                self._later(job)
            elif event.type in ("run.ended", "routine.resumed"):
                job.not_before = 0.0
                self._wake.set()

    def close(self) -> None:
        """Stop looking."""
        self._over = True
        self._wake.set()

    # -- the thread's side

    def _look_on(self) -> None:
        while not self._over:
            started = clock.awake()
            wait = self._look()
            cost = clock.awake() - started
            self._wake.wait(max(wait, cost * _SHARE if wait >= self.scan_interval else cost))
            self._wake.clear()

    def _look(self) -> float:
        """Look at all files once; return after how many seconds to look again."""
        with self._lock:
            jobs = dict(self._jobs)
        wait = self.scan_interval
        for name, job in jobs.items():
            awake = clock.awake()
            if job.not_before > awake:
                wait = min(wait, job.not_before - awake)
                continue
            changes = job.settled(globs.find(job.patterns), clock.awake())
            if changes:
                with self._lock:
                    if self._jobs.get(name) is job:
                        self._ready[name] = changes
                self._poke()
            if job.pending:
                wait = min(wait, max(job.trigger.settle / 4, 0.05))
        return wait


def _listed(path: str, before: State | None, after: State | None) -> dict[str, Any]:
    change = "created" if before is None else "deleted" if after is None else "changed"
    found: dict[str, Any] = {"path": path, "change": change}
    return found | ({"size": after[1], "modified_at": to_iso(from_epoch(after[0] / 1e9))} if after is not None else {})
