"""serve: the loop that fires.

One turn: read the clocks once -> what the keeper says -> what others appended -> changed definitions -> decide for the
routines that are due, changed or waiting -> claim, in batches, each with one write and one sync -> hand over -> ledgers
-> sleep until the next wake. One thread decides; others only poke the pipe. Only due routines cost anything.

A little before its instant a routine is looked at once, so that everything its run needs is ready and nothing is read
or parsed at the instant itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from routinectl import clock
from routinectl.core.event import Event
from routinectl.core.record import BY_ITSELF
from routinectl.core.standing import Run
from routinectl.core.units import from_iso, to_iso
from routinectl.engine import recover as recovery
from routinectl.engine.damage import answer_damage
from routinectl.engine.doubt import Doubt
from routinectl.engine.engine import Engine
from routinectl.engine.intake import Intake
from routinectl.engine.launch import CannotStart
from routinectl.engine.maintain import Maintainer
from routinectl.engine.project import Projector
from routinectl.engine.retain import drop_segments
from routinectl.engine.revise import PATIENCE, Seen, cache_words
from routinectl.errors import BusyError, DefinitionError, RoutinectlError, in_words
from routinectl.files import atomic, config, definitions, journal, signs, watch
from routinectl.files.lock import Lock, try_lock
from routinectl.process import supervisor
from routinectl.version import VERSION

_EARLY = 3.0  # seconds before its due instant in which a routine is made ready
_WARM = 0.002  # seconds before its due instant in which serve and keeper wake up: a cold start of either costs a millisecond
_LONGEST_SLEEP = 20.0  # so that a clock that was set, or a night's sleep, is noticed
_CHECKPOINT_EVENTS = 10_000
_CHECKPOINT_SECONDS = 300.0
_JUMP_SECONDS = 2.0  # less is a clock that is being disciplined
_SUSPECT_STEP = timedelta(hours=24)
_BACKWARDS = timedelta(seconds=5)
_RETRY_SECONDS = 5.0
_RETAIN_SECONDS = 3600.0
_SIGNS_SECONDS = 15.0
_LOOK_AGAIN = 1.0
_LAST_LOOK = 1.0  # seconds in which a serve that ends hears of what it has just handed over
_AFTER_BURST = 0.7  # seconds from the first change to writing ledgers: starts come first


@dataclass(slots=True)
class Options:
    """How a serve behaves: for how long (`once`, `until_idle`), whom it tells, and what else wants doing when nothing is urgent."""

    once: bool = False
    until_idle: bool = False
    scan_interval: float = 60.0
    on_ready: Callable[[Serve], None] = field(default=lambda serve: None)
    on_talk: Callable[[str], None] = field(default=lambda text: None)
    on_rest: Callable[[], None] = field(default=lambda: None)


class Serve:
    """A running serve. Make it with `open`, which takes the lock; then `run`."""

    def __init__(self, engine: Engine, lock: Lock, options: Options) -> None:
        self.engine, self.lock, self.options = engine, lock, options
        self.world = engine.world
        self.signals = supervisor.Signals()
        self.pipe = watch.WakePipe(engine.layout)
        self.watch: watch.Watch | None = None
        self.projector: Projector | None = None
        self.watched: dict[int, tuple[str, Run]] = {}
        self.clocks = clock.read()
        self.doubt: Doubt | None = None
        self.project_at = self.recover_at = self.alerted = 0.0
        self.next_scan = self.next_checkpoint = self.next_retain = self.next_signs = 0.0
        self.intake = Intake(engine, options.scan_interval, options.on_talk)
        self.look_again: dict[str, float] = {}
        self.keeper = 0  # which one was asked about the open runs
        self.trouble = self.untidy = ""
        self.told: set[str] = set()
        self.retry_at = self.house_at = 0.0
        self.stopping = False
        self.cache = definitions.Cache(engine.layout)
        self.maintainer = Maintainer(engine.layout)
        self.config_key = config.key_of(engine.layout.config)
        self.ready = False

    @classmethod
    def open(cls, engine: Engine, options: Options, *, standby: bool = False) -> Serve:
        """Take the lock `serve` and return a serve. Raises BusyError when another one lives (and `standby` is off)."""
        engine.layout.make()
        lock = try_lock(engine.layout.lock("serve"))
        while lock is None:
            if not standby:
                raise BusyError("a serve is running in this workspace already", "routinectl status, or routinectl serve --standby")
            clock.pause(0.25)
            lock = try_lock(engine.layout.lock("serve"))
        return cls(engine, lock, options)

    # -- life

    def run(self) -> None:
        """Serve until told to stop (or for one tick, or until there is nothing left to do)."""
        try:
            with supervisor.many_descriptors() as descriptors:
                self.engine.descriptors = descriptors
                self.begin()
                while not self.stopping:
                    self.turn()
                    if self.finished():
                        break
                    self.sleep()
        finally:
            self.end()

    def begin(self) -> None:
        """Fold, recover, scan, and say that we are there."""
        self.world.load()
        self.engine.signs = signs.read(self.engine.layout)
        self.projector = Projector.open(self.world)
        if self.projector is not None:
            self.engine.listeners.insert(0, self.projector.collect)
        self.engine.listeners.append(self.intake.changes.hear)
        now = clock.now()
        last = self.world.journal.last_time
        if last and from_iso(last) - now > _BACKWARDS:
            self._suspect(clock.Reading(from_iso(last), clock.boot(), clock.awake()), forwards=False, near=0.0)
        self.engine.append([Event("serve.started", "", {"at": to_iso(now), "pid": os.getpid(), "version": VERSION})], now)
        answer_damage(self.engine, now)
        self._recover(now)
        self.engine.revisions.recall(self.cache.read(cache_words(self.engine.settings)), self.world)
        self._scan(now, patience=0.0)
        if not self.options.once:
            self._begin_to_watch()
        self.next_checkpoint = clock.awake() + _CHECKPOINT_SECONDS
        self.next_retain = clock.awake() + 30
        self.next_scan = clock.awake() + min(5.0, self.options.scan_interval)
        for name in self.world.dirty - self.world.wakes.keys():
            self.world.plan(name, now)
        self.ready = True
        supervisor.notify(READY="1", STATUS=self._status())
        self.options.on_ready(self)

    def _begin_to_watch(self) -> None:
        """Watch the definitions; where the kernel has no watches left, changes are found by looking."""
        try:
            self.watch = watch.Watch(self.engine.layout, self.pipe)
        except OSError as error:
            self.options.on_talk(
                f"files cannot be watched: {error.strerror}; changes are noticed within {self.options.scan_interval:.0f} s\n"
                "Hint: sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=524288"
            )

    def end(self) -> None:
        """Stop firing, leave runs going, write down how far we are."""
        supervisor.notify(STOPPING="1")
        self.maintainer.close()
        self.intake.close()
        if self.watch is not None:
            self.watch.close()
        try:
            if self.ready and not self.trouble:
                now = clock.now()
                self._hear_the_last(now)
                self.engine.append([Event("serve.stopped", "", {"at": to_iso(now), "pid": os.getpid()})], now)
                self.checkpoint()
            if self.projector is not None:
                self.projector.close(clock.now())
        except (OSError, RoutinectlError) as error:
            self.options.on_talk(f"could not finish cleanly: {error}")
        self.engine.keeping.close()
        self.world.journal.close()
        self.signals.close()
        self.pipe.close()
        self.lock.close()

    def _hear_the_last(self, now: datetime) -> None:
        """Record what the keeper has told by now: the ends of short runs come within a moment of their start."""
        keeping, until = self.engine.keeping, clock.awake() + _LAST_LOOK
        while keeping.wire is not None and (keeping.outstanding > 0 or keeping.has_something()) and clock.awake() < until:
            if not keeping.has_something():
                clock.wait([keeping.wire.fileno()], until - clock.awake())
            self.engine.listen(now)

    def finished(self) -> bool:
        """Say whether a serve that is not to stay has done its work."""
        if self.options.once:
            return True
        idle = not self.world.running and not self.world.waiting and not (self.projector and self.projector.behind)
        return self.options.until_idle and idle and self.world.next_wake() is None

    # -- one turn

    def turn(self) -> None:
        """Do everything that is due now. When the journal cannot be written, nothing starts; we stay, and try again.

        What fails for one routine is that routine's and does not come here.
        """
        reading = clock.read()
        try:
            self._check_swapped()
            self._notice_jump(reading)
            if clock.awake() >= self.retry_at:
                self._work(reading.wall)
                self._recovered()
        except OSError as error:
            disk = isinstance(error, journal.Unwritable) or atomic.is_of_the_disk(error)
            what = "the workspace cannot be written" if disk else "this machine has no more to give"
            self._fail(f"{what}: {in_words(error)}; nothing starts until it can")
        self.engine.signs.turns.observe(clock.awake() - reading.awake)

    def _work(self, now: datetime) -> None:
        self._hear_keeper(now)
        self.engine.hear()
        self._look_at_definitions(now)
        if self._decides():
            self.intake.take(now, self.watch, self.pipe.poke)
            self._settle(now)
            self._make_ready(now)
        self._keep_house()

    def _settle(self, now: datetime) -> None:
        """Decide for everything that is due, that changed or that waits."""
        self.world.journal.reserve()
        due = self.world.take_due(now.timestamp())
        if due or self.world.dirty:
            self.engine.settle(due, now)
        while self.world.dirty or (self.engine.next_waiting() and self._settle_waiting(now)):
            self.engine.settle([], clock.now())

    def _settle_waiting(self, now: datetime) -> bool:
        """Give free places to those who wait; say whether that changed anything, so that nobody is asked for ever."""
        before = self.world.journal.seq
        self.engine.settle(self.engine.next_waiting(), now)
        return self.world.journal.seq != before

    def _hear_keeper(self, now: datetime) -> None:
        keeping = self.engine.keeping
        while keeping.has_something():
            if not self.engine.listen(now):
                break
        lost = not self.watched if keeping.wire is None else keeping.hello["pid"] != self.keeper
        if (lost and self.world.running) or (self.recover_at and clock.awake() >= self.recover_at):
            self._recover(now)
        if not self.world.running:
            keeping.leave_foreign()

    def _recover(self, now: datetime) -> None:
        """Find out what became of the open runs; when that fails half way, it is done again."""
        self.recover_at = clock.awake()
        found = recovery.recover(self.engine, now)
        self.recover_at = 0.0
        # Runs may wait for the keeper that was asked. Should another one be there later, it knows nothing of them.
        self.keeper = self.engine.keeping.hello["pid"] if self.engine.keeping.wire is not None else 0
        self._watch_runs(found)

    def _make_ready(self, now: datetime) -> None:
        """Prepare what is due soon, and have a keeper there for it."""
        soon = self.world.upcoming(now.timestamp() + _EARLY)
        if not soon:
            return
        if self.engine.keeping.wire is None and self.engine.fires:
            self._recover(now)
            self.engine.keeping.ensure()
            self.keeper = self.keeper or self.engine.keeping.hello["pid"]  # nobody waits for an earlier one
        made = ""
        for name in soon:
            routine, wake = self.world.routine(name), self.world.wakes.get(name)
            if routine is None or wake is None:
                continue
            if clock.now().timestamp() >= wake - 2 * _WARM:
                if wake != self.alerted:
                    self.alerted = wake
                    self.engine.keeping.alert()
                break
            entry = self.world.entry(name)
            if entry.prepared is None:
                try:
                    made = name if self.engine.make_ready(name, wake) else made
                except CannotStart:
                    continue  # its claim meets it again, and records it
                except OSError as error:
                    if atomic.concerns_all(error):
                        raise
        if made:
            # What the file system has put off is written now: else the sync of the claim has to wait for it.
            atomic.sync_folder(self.engine.layout.runs / made)

    # -- definitions

    def _look_at_definitions(self, now: datetime) -> None:
        names = self.watch.take() if self.watch is not None else set()
        awake = clock.awake()
        names |= {name for name, at in self.look_again.items() if at <= awake}
        if names:
            self._apply(self.engine.revisions.look_at(self.world, names, now), now)
        if awake >= self.next_scan:
            self._scan(now)

    def _scan(self, now: datetime, *, patience: float = PATIENCE) -> None:
        started = clock.awake()
        key = config.key_of(self.engine.layout.config)
        if key != self.config_key:
            self._reread_settings(key)
        self._apply(self.engine.revisions.look(self.world, now, patience=patience), now)
        for problem in definitions.nameless(self.engine.layout):
            self._tell_once(f"{problem.file}: {problem.message}\nHint: {problem.hint}")
        cost = clock.awake() - started
        # A rescan may cost a hundredth of a CPU second a minute, however many routines there are.
        self.next_scan = clock.awake() + max(self.options.scan_interval, cost * 6000 if cost > 0.05 else 0)

    def _tell_once(self, text: str) -> None:
        if text not in self.told:
            self.told.add(text)
            self.options.on_talk(text)

    def _apply(self, seen: list[Seen], now: datetime) -> None:
        events = self.engine.revise(seen, now)
        again = clock.awake() + PATIENCE
        self.look_again = {name: self.look_again.get(name, again) for name in self.engine.revisions.doubtful}
        for name in list(self.look_again):
            if self.look_again[name] <= clock.awake():
                self.look_again[name] = again
        for event in events:
            self.world.plan(event.subject, now)
        if events:
            self.cache.write(cache_words(self.engine.settings), self.engine.revisions.keys)

    def _reread_settings(self, key: str) -> None:
        try:
            settings = config.load(self.engine.layout)
        except DefinitionError as error:
            self.options.on_talk(f"routinectl.yaml is broken, the settings before stay in force: {error}")
            self.config_key = key
            return
        self.config_key = key
        if settings != self.engine.settings:
            self.engine.use_settings(settings)
            self.options.on_talk("routinectl.yaml was read again")

    # -- the clock

    def _notice_jump(self, reading: clock.Reading) -> None:
        """Record that the clock was set or the machine slept; on a failing disk it is noticed again, until it is on record."""
        jump = clock.compare(self.clocks, reading)
        if abs(jump.step) >= _JUMP_SECONDS or jump.asleep >= _JUMP_SECONDS:
            if self.doubt is None and abs(jump.step) > _SUSPECT_STEP.total_seconds():
                self._suspect(self.clocks, forwards=jump.step > 0, near=_SUSPECT_STEP.total_seconds())
            for name in self.world.ids() if jump.step <= -_JUMP_SECONDS else ():
                self.world.plan(name, reading.wall)
            data = {"at": to_iso(reading.wall), "step": round(jump.step, 3), "asleep": round(jump.asleep, 3)}
            self.engine.append([Event("clock.jumped", "", data)], reading.wall)
        self.clocks = reading

    def _suspect(self, before: clock.Reading, *, forwards: bool, near: float) -> None:
        self.doubt = Doubt(before, forwards, near, self.world.journal.seq)
        self.options.on_talk(
            f"clock suspect: it was {to_iso(before.wall)} and is {to_iso(clock.now())}; nothing is decided until it returns\n"
            "Hint: routinectl doctor --accept-clock"
        )
        supervisor.notify(STATUS="clock suspect: nothing is decided")

    def _decides(self) -> bool:
        """Say whether the clock may be believed; that it is believed again is put on record."""
        if self.doubt is None:
            return True
        event = self.world.workspace.get("clock.accepted")
        accepted = event is not None and event.seq > self.doubt.seq
        if not (accepted or self.doubt.is_over(self.clocks) or clock.synchronised()):
            return False
        if not accepted:
            data = {"at": to_iso(self.clocks.wall), "doubted": to_iso(self.doubt.before.wall), "by": BY_ITSELF}
            self.engine.append([Event("clock.accepted", "", data)], self.clocks.wall)
        self.doubt = None
        self.options.on_talk("the clock is believed again")
        supervisor.notify(STATUS=self._status())
        return True

    # -- trouble

    def _check_swapped(self) -> None:
        for path in (self.engine.layout.journal, self.engine.layout.locks):
            if not path.is_dir():
                raise journal.Swapped(f"{path} is gone; nothing is fired any more", "git clean -e .routinectl, and start serve again")
        if self.lock.swapped():
            raise journal.Swapped(f"the lock file {self.lock.path} was replaced; another serve may run beside this one",
                                  "routinectl serve")  # fmt: skip

    def _fail(self, text: str) -> None:
        if text != self.trouble:
            self.options.on_talk(text)
            supervisor.notify(STATUS=text)
        self.trouble = text
        self.retry_at = clock.awake() + _RETRY_SECONDS
        self.world.journal.reopen()

    def _recovered(self) -> None:
        if self.trouble:
            self.trouble = ""
            self.recover_at = clock.awake()  # what was claimed and not handed over is started now, or judged
            self.options.on_talk("the workspace can be written again")
            supervisor.notify(STATUS=self._status())

    # -- the rest

    def _keep_house(self) -> None:
        """Do what is not urgent, each thing by itself: one that cannot be written is tried again later, and keeps nothing else from being done."""
        if clock.awake() < self.house_at:
            return
        first = self.world.next_wake()
        idle = first[0] - clock.now().timestamp() if first is not None else _LONGEST_SLEEP
        if 0 <= idle <= _WARM:
            return  # what is due in a moment comes first
        text = ""
        for chore in (self.options.on_rest, self._write_ledgers, self._save, self._retain, lambda: self._maintain(idle), self.world.cool):
            try:
                chore()
            except OSError as error:
                text = text or f"ledgers, states or checkpoints fall behind: {in_words(error)}"
                if isinstance(error, journal.Unwritable):
                    self.world.journal.reopen()
        if text:
            self.house_at = clock.awake() + _RETRY_SECONDS
            if text != self.untidy:
                self.options.on_talk(text)
        self.untidy = text

    def _write_ledgers(self) -> None:
        awake = clock.awake()
        if self.projector is not None and self.projector.behind and awake >= self._project_at():
            self.projector.flush(clock.now())
            self.project_at = awake if self.projector.behind else 0.0

    def _save(self) -> None:
        awake = clock.awake()
        if self.world.since_checkpoint >= _CHECKPOINT_EVENTS or (awake >= self.next_checkpoint and self.world.since_checkpoint > 100):
            self.checkpoint()
        if awake >= self.next_checkpoint:
            self.next_checkpoint = awake + _CHECKPOINT_SECONDS
        if awake >= self.next_signs:
            signs.write(self.engine.layout, self.engine.signs)
            self.next_signs = awake + _SIGNS_SECONDS

    def _retain(self) -> None:
        if clock.awake() >= self.next_retain:
            drop_segments(self.world, self.engine.settings.retention)
            self.next_retain = clock.awake() + _RETAIN_SECONDS

    def _maintain(self, idle: float) -> None:
        self.maintainer.consider(self.engine.settings.maintenance, idle)
        done = self.maintainer.finish(clock.now())
        if done is not None:
            self.engine.append([done], clock.now())

    def _project_at(self) -> float:
        """Return when ledgers and states are written next: after the burst, and then without a break."""
        if self.project_at == 0.0:
            self.project_at = clock.awake() + _AFTER_BURST
        return self.project_at

    def checkpoint(self) -> None:
        """Write a checkpoint, how we fare, and the cache of definitions."""
        self.world.save()
        signs.write(self.engine.layout, self.engine.signs)
        self.next_checkpoint = clock.awake() + _CHECKPOINT_SECONDS
        self.cache.write(cache_words(self.engine.settings), self.engine.revisions.keys)

    def _watch_runs(self, runs: list[tuple[str, Run]]) -> None:
        for name, run in runs:
            fd = supervisor.pidfd(run.pid) if run.pid else -1
            if fd >= 0:
                self.watched[fd] = (name, run)
            else:
                self.recover_at = clock.awake() + _LOOK_AGAIN  # its lease is held, by whom is not known: look again

    def _unwatch(self, fd: int) -> None:
        name, run = self.watched.pop(fd)
        os.close(fd)
        now = clock.now()
        left = recovery.left_by(self.engine, name, run)
        self.engine.record(lambda: [recovery.interrupted(self.engine, name, run, now, left)] if run.key in self.world.running else [], now)

    def sleep(self) -> None:
        """Wait for the next wake, or for somebody to say something."""
        wire = self.engine.keeping.wire if clock.awake() >= self.retry_at else None
        fds = [self.pipe.fileno(), self.signals.fileno(), *self.watched, *([wire.fileno()] if wire is not None else [])]
        if self.maintainer.helper is not None:
            fds.append(self.maintainer.helper.fileno())
        for fd in clock.wait(fds, self._patience()):
            if fd == self.pipe.fd:
                self.pipe.drain()
            elif fd in self.watched:
                self._unwatch(fd)
        self._obey(self.signals.take())

    def _patience(self) -> float:
        """Return for how many seconds nothing will be due."""
        awake = clock.awake()
        waits = [_LONGEST_SLEEP]
        watchdog = supervisor.watchdog_seconds()
        if watchdog:
            supervisor.notify(WATCHDOG="1")
            waits.append(watchdog)
        if self.retry_at > awake:
            return min(*waits, self.retry_at - awake)  # nothing is done before that
        waits += [self.next_scan - awake, self.intake.next_at - awake, *(at - awake for at in self.look_again.values())]
        if self.projector is not None and self.projector.behind:
            waits.append(max(self._project_at(), self.house_at) - awake)
        if self.recover_at:
            waits.append(self.recover_at - awake)
        return max(min(*waits, self._until_due()), 0.0)

    def _until_due(self) -> float:
        """Return the seconds until a routine wants to be looked at: at its instant, or before it to be made ready."""
        wake = self.world.next_wake() if self.doubt is None else None
        if wake is None:
            return _LONGEST_SLEEP
        left = wake[0] - clock.now().timestamp()
        ready = self.world.thawed.get(wake[1])
        if (ready is None or ready.prepared is None) and left > _EARLY * 0.8:
            left -= _EARLY * 0.8
        return left - _WARM  # the last moment is not slept through, but turned: what is awake is quick

    def _obey(self, numbers: set[int]) -> None:
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            self.stopping = True
        if signal.SIGHUP in numbers:
            supervisor.notify(RELOADING="1")
            self.config_key = ""
            self.next_scan = 0.0
            supervisor.notify(READY="1")

    def _status(self) -> str:
        return f"{len(self.world.ids())} routines, {len(self.world.running)} runs"
