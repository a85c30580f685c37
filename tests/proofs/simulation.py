"""A whole history of a workspace from one seed: several processes, faults at every step, the promises checked after each.

In the manner of FoundationDB's simulation: what decides, claims and records is the product's own code (`Serve`, `Engine`,
`Session`, the operations); what it stands on is `machine`. A schedule is a list of steps drawn from the seed. After each
step P1 (no second start), P3 (what was told is on the disk, no start without a durable claim) and P4 (it can be read)
hold; at its end the machine is left in peace, and then P2: one verdict for each slot, an end for each run.

    python tests/proofs/simulation.py SEED [COUNT]      replays seeds, and prints the story of the first that fails
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import checker
from machine import Actor, Killed, Machine, SimKeeping

from routinectl import clock
from routinectl.core.audit import audit
from routinectl.core.event import Event
from routinectl.core.settings import Settings
from routinectl.engine import engine as engine_module
from routinectl.engine import loop, recover, world
from routinectl.errors import RoutinectlError
from routinectl.files import atomic, config, definitions, journal, lease, lock, projections, run_logs, watch
from routinectl.files.layout import Layout
from routinectl.operations import approvals, doctor, lifecycle, review, runs, session
from routinectl.process import supervisor

STARTS = ("2026-03-02T08:59:57", "2026-03-29T00:59:55", "2026-10-25T00:59:58", "2026-02-28T23:59:50", "2026-06-01T12:00:00")
SETTINGS = Settings(timezone="Europe/Berlin", min_interval=1.0, max_concurrent_runs=3, pools={"w": 1})
STEPS = 60
_ACTION = {"command": ["true"]}
TRIGGERS: tuple[list[dict[str, Any]], ...] = (
    [{"every": "10s"}], [{"every": "10s"}], [{"every": "15s"}], [{"every": "1m"}], [{"cron": "* * * * *"}], [{"cron": "0 * * * *"}], [{"daily": "02:30"}],
    [{"cron": "*/2 * * * *"}, {"every": "45s"}], [], [{"at": "2026-03-29T01:00:30Z"}], [{"at": "2026-03-02T09:00:20Z"}],
    [{"after": {"routine": "a"}}], [{"every": "1m"}, {"after": {"routine": "b", "outcome": ["succeeded", "failed", "interrupted"]}}],
)  # fmt: skip
POLICIES: tuple[dict[str, Any], ...] = (
    {}, {}, {"misfire": {"policy": "skip"}}, {"misfire": {"policy": "catch_up", "max": 2}}, {"misfire": {"window": "5m"}},
    {"concurrency": {"policy": "queue_one"}}, {"concurrency": {"policy": "replace"}}, {"concurrency": {"policy": "allow", "max": 2}},
    {"retry": {"attempts": 3, "delay": "20s"}}, {"retry": {"attempts": 2, "delay": "1s"}, "concurrency": {"policy": "queue_one"}},
    {"approval": "every_run"}, {"approval": {"when": "before_first_run", "expires": "3m"}}, {"pool": "w"}, {"cooldown": "15s"},
    {"quiet_hours": {"start": "10:00", "end": "10:01"}}, {"max_runs": 3}, {"pause_after_failures": 2}, {"jitter": "7s"},
    {"calendar": {"exclude": [{"weekends": True}], "on_excluded": "next_day"}}, {"idempotent": True}, {"budget": {"per_day": {"runs": 4}}},
)  # fmt: skip


class Story:
    """One seed's history: the machine, the processes on it, and what they were told."""

    def __init__(self, seed: int, root: Path) -> None:
        self.seed, self.chance = seed, random.Random(seed)
        self.layout = Layout(root)
        start = datetime.fromisoformat(self.chance.choice(STARTS)).replace(tzinfo=UTC)
        self.machine = Machine(self.layout, self.chance, start)
        self.disk, self.clock = self.machine.disk, self.machine.clock
        self.names = ["a", "b", "c"]
        self.serves: list[Serving] = []
        self.told: dict[str, str] = {}  # events that somebody was told of: they may never be lost
        self.wakes = True  # whether commands poke
        self.lines: list[str] = []
        self.depth = 0
        self.lost_power = False
        self.disk.on_unlock = self.interleave

    def say(self, text: str) -> None:
        self.lines.append(f"{self.clock.now():%d %H:%M:%S.%f} {text}")

    # -- the stage

    def set_up(self) -> None:
        for folder in (self.layout.routines, self.layout.private):
            folder.mkdir(parents=True)
        self.layout.make()
        self.layout.config.write_text("timezone: Europe/Berlin\n")
        for name in self.names:
            (self.layout.runs / name).mkdir()
            self.write(name, durable=True)

    def write(self, name: str, *, durable: bool = False) -> None:
        """Write a definition as an editor does, valid or not."""
        doc = {"triggers": self.chance.choice(TRIGGERS), "action": _ACTION, "timeout": "10m", **self.chance.choice(POLICIES)}
        if not doc["triggers"]:
            doc = {key: value for key, value in doc.items() if key not in ("misfire", "calendar", "jitter")}
        broken = not durable and self.chance.random() < 0.15
        path = self.layout.definition(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("{" if broken else json.dumps(doc))
        self.say(f"write {name} {'broken' if broken else json.dumps({key: doc[key] for key in doc if key not in ('action', 'timeout')})}")
        self.touch(name)

    def touch(self, name: str) -> None:
        """Let the watches see that a definition was touched."""
        for serving in self.serves:
            serving.names.add(name)
            serving.poked = True

    # -- steps

    def step(self) -> None:
        """Do one thing, and look whether the promises hold."""
        steps = ((self.pass_time, 30), (self.turn, 24), (self.keeper_step, 12), (self.command, 12), (self.start_serve, 9),
                 (self.kill_something, 6), (self.edit, 3), (self.set_clock, 2), (self.trouble, 2), (self.lose_power, 1))  # fmt: skip
        chosen: Callable[[], None] = self.chance.choices([item[0] for item in steps], [item[1] for item in steps])[0]
        chosen()
        self.machine.end_due_runs()

    def pass_time(self) -> None:
        wakes = [serving.patience() for serving in self.serves]
        ends = [run.ends - self.clock.boot() for run in self.machine.runs.values()]
        nearest = min([*wakes, *ends, 30.0])
        kind = self.chance.randrange(8)
        seconds = (nearest, nearest, nearest + 0.001, nearest - 0.001, self.chance.random() * 3, nearest, self.chance.random() * 60,
                   self.chance.choice((600, 7200, 30 * 3600)))[kind]  # fmt: skip
        asleep = kind == 7 and self.chance.random() < 0.7
        self.say(f"{'sleep' if asleep else 'wait'} {seconds:.3f} s")
        self.clock.pass_time(seconds, asleep=asleep)
        for serving in list(self.serves):
            if serving.patience() <= 0:
                self.run_as(serving.actor, serving.turn)

    def turn(self) -> None:
        if self.serves:
            serving = self.chance.choice(self.serves)
            self.run_as(serving.actor, serving.turn)

    def keeper_step(self) -> None:
        keeper = self.machine.keeper
        while keeper is not None and keeper.inbox and not keeper.actor.dead:
            self.run_as(keeper.actor, keeper.step)
            if self.chance.random() < 0.3:
                break

    def start_serve(self) -> None:
        if len(self.serves) < 2:
            serving = Serving(self)
            self.serves.append(serving)
            self.say(f"{serving.actor.name} starts")
            self.run_as(serving.actor, serving.begin)

    def kill_something(self) -> None:
        """Kill a process now, or light its fuse: it will die at one of its next effects."""
        keeper = self.machine.keeper
        actors = [serving.actor for serving in self.serves] + ([keeper.actor] if keeper is not None else [])
        if not actors:
            return
        actor = self.chance.choice(actors)
        if self.chance.random() < 0.7:
            actor.fuse = self.chance.randrange(1, 30)
        else:
            self.say(f"kill {actor.name}")
            actor.dead = True
            self.bury()

    def edit(self) -> None:
        name = self.chance.choice(self.names)
        if self.chance.random() < 0.15 and self.layout.definition(name).exists():
            self.layout.definition(name).unlink()
            self.say(f"delete {name}")
            self.touch(name)
        else:
            self.write(name)

    def set_clock(self) -> None:
        step = self.chance.choice((-7200, -90, -10, -0.5, 0.5, 10, 90, 7200, 3 * 86400, -3 * 86400))
        self.clock.offset = 0.0 if self.chance.random() < 0.4 else self.clock.offset + step
        self.say(f"the clock is set: {self.clock.offset:+} s from the truth")

    def trouble(self) -> None:
        kind = self.chance.choice(("full", "failing", "well", "well"))
        self.disk.full, self.disk.failing = kind == "full", kind == "failing"
        self.say(f"the disk is {kind}")

    def lose_power(self) -> None:
        self.say("power is lost")
        for serving in self.serves:
            serving.actor.dead = True
        self.bury()
        self.machine.lose_power()
        self.layout.make()
        self.lost_power = True
        self.look()

    def command(self) -> None:
        """Run a command, which may die at any of its effects, too."""
        actor = self.machine.new_actor("command")
        actor.fuse = self.chance.randrange(1, 40) if self.chance.random() < 0.2 else 0
        name = self.chance.choice(self.names)
        kind = self.chance.choice(
            ("run-now", "run-now", "pause", "resume", "resume", "cancel", "review", "approve", "approve", "deny", "list")
        )
        self.say(f"{kind} {name}")
        self.run_as(actor, lambda: self._command(kind, name))
        self.disk.bury(actor)

    def _command(self, kind: str, name: str) -> None:
        with session.Session(self.layout) as opened:
            opened.engine.listeners.append(self.hear)
            if name not in opened.world:
                return
            with contextlib.suppress(RoutinectlError):
                self._operate(kind, opened, name)
            if not opened.serve_lives:
                for _ in range(self.chance.randrange(3)):
                    runs.attend(opened, timedelta())
        for serving in self.serves:
            serving.poked = True

    def _operate(self, kind: str, opened: session.Session, name: str) -> None:
        match kind:
            case "run-now":
                runs.request(opened, name, by="me", force=self.chance.random() < 0.3)
            case "pause":
                until = opened.now + timedelta(seconds=self.chance.choice((5, 40, 300)))
                lifecycle.pause(opened, name, until=until if self.chance.random() < 0.5 else None, reason="", by="me")
            case "resume":
                lifecycle.resume(opened, name, by="me")
            case "cancel":
                runs.cancel(opened, name, None, by="me")
            case "review":
                review.answer(opened, name, None, run=self.chance.random() < 0.7, by="me")
            case "approve":
                approvals.approve(opened, name, lasting=None, note="", by="me")
            case "deny":
                approvals.deny(opened, name, note="", by="me")

    # -- running a process, and what becomes of it

    def run_as(self, actor: Actor, do: Callable[[], object]) -> None:
        with self.machine.acting(actor):
            try:
                do()
            except Killed:
                self.say(f"{actor.name} is killed")
            except (OSError, RoutinectlError) as error:
                self.say(f"{actor.name} ends: {error}")
                actor.dead = True
        self.bury()

    def bury(self) -> None:
        if self.machine.keeper is not None and self.machine.keeper.actor.dead:
            self.machine.kill_keeper()
        for serving in [serving for serving in self.serves if serving.actor.dead]:
            self.serves.remove(serving)
            self.disk.bury(serving.actor)
            if serving.link is not None:
                serving.link.close()

    def interleave(self) -> None:
        """After an unlock of the journal, and before whoever did that goes on, another process may have its turn."""
        if self.depth or self.chance.random() > 0.1:
            return
        self.depth += 1
        running = self.disk.actor
        others = [serving for serving in self.serves if serving.actor is not running and serving.ready]
        with contextlib.suppress(IndexError):
            match self.chance.randrange(3):
                case 0:
                    other = self.chance.choice(others)
                    self.run_as(other.actor, other.turn)
                case 1:
                    self.command()
                case _:
                    self.keeper_step()
        self.depth -= 1

    def hear(self, events: Any) -> None:
        """Remember what somebody was told: durable events only, by the protocol."""
        for event in events:
            self.told[event.id] = event.type

    def look(self) -> None:
        """P3 and P4: the workspace can be read, and nothing is gone that somebody was told of."""
        watching = self.machine.new_actor("reader")
        with self.machine.acting(watching):
            folded = world.World(self.layout)
            folded.load()
            known = {event.id for event in journal.read_all(self.layout)}
            folded.journal.close()
        self.disk.bury(watching)
        lost = {name: kind for name, kind in self.told.items() if name not in known}
        assert not lost, f"P3: events are lost that somebody was told of: {lost}"

    # -- the end

    def calm_down(self) -> None:
        """Leave everything in peace: no faults, the true time, one serve; wait until nothing goes on; and audit."""
        self.say(f"peace, with {[serving.actor.name for serving in self.serves]}")
        self.disk.full = self.disk.failing = False
        self.clock.offset = 0.0
        self.disk.on_unlock = lambda: None
        self.machine.durations = (0.05,)
        keeper = self.machine.keeper
        if keeper is not None:
            keeper.actor.fuse = 0
        for serving in self.serves:
            serving.actor.fuse = 0
        for run in self.machine.runs.values():
            run.ends = min(run.ends, self.clock.boot() + 1)
        quiet_since = self.clock.awake()
        for turn in range(2000):
            if turn > 60 and self.clock.awake() - quiet_since > 90 and not self._is_under_way():
                break
            if not self.serves:
                self.start_serve()
            if any(serving.serve is not None and serving.serve.doubt is not None for serving in self.serves):
                self._accept_clock()
            self.machine.end_due_runs()
            for serving in list(self.serves):
                if serving.patience() <= 0:
                    self.run_as(serving.actor, serving.turn)
            self.keeper_step()
            ends = [run.ends - self.clock.boot() for run in self.machine.runs.values()]
            self.clock.pass_time(min([serving.patience() for serving in self.serves] + ends + [20.0]) if self.serves else 1.0)
        assert self.clock.awake() - quiet_since > 90, "serve turns without a break"
        self.look()
        self.check()

    def _is_under_way(self) -> bool:
        """Say whether a start is between its claim and the keeper: peace does not end in the middle of one."""
        claimed = {run for serving in self.serves if serving.serve is not None for run in serving.serve.world.running}
        return bool(claimed - set(self.machine.runs))

    def _accept_clock(self) -> None:
        """Do as a person who sees that the clock is right: `doctor --accept-clock`."""
        actor = self.machine.new_actor("doctor")
        with self.machine.acting(actor), session.Session(self.layout) as opened:
            doctor.accept_clock(opened, "me")
        self.disk.bury(actor)

    def check(self) -> None:
        """P2: one verdict for each slot, an end for each run, no run without authority."""
        events = journal.read_all(self.layout)
        report = audit(events, self.clock.now())
        going = {run.partition(".")[0] for run in self.machine.runs}
        waiting = {event.data["run"] for event in events if event.type == "run.retrying"}
        left = [item for item in report.open if item[1] not in going | waiting]
        findings = [item for item in report.findings if not self._excused(item.message, events)]
        names = {item.id for item in findings[:3]} | {item[0] for item in left}
        self.lines += [_line(event) for event in events if event.subject in names or not event.subject]
        assert not findings, "P2: " + "; ".join(map(str, findings[:5]))
        assert not left, f"P2: runs without an end: {left}"
        if not self.lost_power:
            unheard = checker.unheard(events)
            assert not unheard, f"P2: {unheard}"

    def _excused(self, message: str, events: list[Event]) -> bool:
        """A damaged line costs itself: the gap in the numbers that it leaves is told, and recorded as damage."""
        damaged = any(event.type == "journal.damaged" for event in events)
        return "events are missing" in message and self.lost_power and damaged


def _line(event: Event) -> str:
    told = {
        key: value
        for key, value in event.data.items()
        if key not in ("timeout", "kill_grace", "fingerprint", "content", "revision", "boot")
    }
    return f"  {event.seq} {event.time} {event.type} {event.subject} {json.dumps(told)[:300]}"


class Serving:
    """A serve on the machine: the real one, that wakes when it asked to be woken."""

    count = 0

    def __init__(self, story: Story) -> None:
        self.story = story
        self.actor = story.machine.new_actor("serve")
        self.actor.name = f"serve {self.actor.pid}"
        self.serve: loop.Serve | None = None
        self.names: set[str] = set()
        self.poked = self.ready = False
        self.wake = 0.0

    @property
    def link(self) -> Any:
        return self.serve.engine.keeping if self.serve is not None else None

    def begin(self) -> None:
        engine = engine_module.Engine(self.story.layout, SETTINGS)
        engine.listeners.append(self.story.hear)
        self.serve = loop.Serve.open(engine, loop.Options(on_talk=lambda text: self.story.say(f"{self.actor.name} says: {text}")))
        self.serve.begin()
        self.ready = True
        self.serve.watch = self  # type: ignore[assignment]
        self.turn()

    def take(self) -> set[str]:
        """Stand in for the watch on the definitions; now and then it loses a hint."""
        names, self.names = self.names, set()
        return names if self.story.chance.random() < 0.8 else set()

    def follow(self, folder: str, *, recursive: bool) -> None:
        """There is no spool on the machine."""

    def touched(self) -> set[str]:
        return set()

    def turn(self) -> None:
        if not self.ready or self.serve is None:
            return
        self.poked = False
        for fd, (_, run) in list(self.serve.watched.items()):
            if not self.story.machine.is_alive(run.pid):
                self.serve._unwatch(fd)
        self.serve.turn()
        self.story.clock.pass_time(0.0004)  # what it costs; in the last moment before a due instant it does nothing but turn
        self.wake = self.story.clock.awake() + self.serve._patience()

    def patience(self) -> float:
        """Return for how long it would sleep now."""
        if not self.ready or self.serve is None:
            return 20.0
        ended = any(not self.story.machine.is_alive(run.pid) for _, run in self.serve.watched.values())
        listens = self.story.clock.awake() >= self.serve.retry_at and self.serve.engine.keeping.wire is not None
        if self.poked or ended or (listens and self.serve.engine.keeping.readable):
            return 0.0
        return max(self.wake - self.story.clock.awake(), 0.0)


class _Nothing:
    """Stands in for what a simulated serve has no use for: signals, the wake pipe, upkeep."""

    helper = None
    fd = -1

    def __init__(self, *_: object) -> None:
        return

    def consider(self, *_: object) -> None:
        return

    def poke(self) -> None:
        return

    def finish(self, *_: object) -> None:
        return None

    def close(self) -> None:
        return


_READ: dict[tuple[bytes, str], Any] = {}


def _remembering(load: Callable[..., Any]) -> Callable[..., Any]:
    """Return `definitions.load` that parses the same text once."""

    def loads(layout: Layout, name: str, settings: Settings, now: datetime, *, past: bool = True) -> Any:
        raw = layout.definition(name).read_bytes()
        if (raw, name) not in _READ or b"calendar" in raw:
            try:
                _READ[raw, name] = load(layout, name, settings, now, past=past)
            except RoutinectlError as error:
                _READ[raw, name] = error
        found = _READ[raw, name]
        if isinstance(found, RoutinectlError):
            raise found
        return found

    return loads


@contextlib.contextmanager
def stage(story: Story) -> Iterator[None]:
    """Put the machine below the product for as long as a story lasts."""
    disk, clocks = story.disk, story.clock
    SimKeeping.machine = story.machine
    chance = story.chance
    changes: list[tuple[Any, str, Any]] = [
        *((module, "os", disk) for module in (journal, atomic, lock, lease, run_logs, projections, runs)),
        (journal, "fcntl", disk), (lock, "fcntl", disk),
        (journal, "SEGMENT_BYTES", chance.choice((2048, 8192, 1 << 20))), (loop, "_CHECKPOINT_EVENTS", chance.choice((5, 50, 1000))),
        (loop, "_CHECKPOINT_SECONDS", 60.0), (session, "_CHECKPOINT_EVENTS", chance.choice((3, 20, 500))),
        (atomic, "reserve", lambda fd, offset, size: disk._grow()),
        (clock, "now", clocks.now), (clock, "boot", clocks.boot), (clock, "awake", clocks.awake), (clock, "synchronised", lambda: False),
        (clock, "read", lambda: clock.Reading(clocks.now(), clocks.boot(), clocks.awake())), (clock, "pause", lambda seconds: None),
        (clock, "wait", lambda fds, seconds: [fd for fd in fds if isinstance(fd, SimKeeping) and fd.readable]),
        (engine_module, "Keeping", SimKeeping), (engine_module.proc, "boot_id", lambda: story.machine.boot_id),
        (recover.proc, "is_alive", lambda pid, start: story.machine.is_alive(pid)),
        (supervisor, "Signals", _Nothing), (supervisor, "pidfd", lambda pid: os.open("/dev/null", os.O_RDONLY)),
        (watch, "WakePipe", _Nothing), (watch, "Watch", _Nothing), (watch, "poke", lambda layout: True), (loop, "Maintainer", _Nothing),
        (config, "load", lambda layout: SETTINGS), (approvals, "require_person", lambda session, what: None),
        (definitions, "load", _remembering(definitions.load)),
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        for target, name, value in changes:
            stack.enter_context(mock.patch.object(target, name, value))
        yield


def play(seed: int, *, steps: int = STEPS) -> Story:
    """Play one seed to its end. Raises AssertionError, with the story told, when a promise is broken."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="simulated-", dir=memory if memory.is_dir() else None))
    story = Story(seed, root)
    try:
        with stage(story):
            story.set_up()
            if story.chance.random() < 0.7:
                story.start_serve()
            for _ in range(steps):
                story.step()
            story.calm_down()
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error!r}\n" + "\n".join(story.lines[-200:])) from error
    finally:
        for serving in story.serves:
            story.disk.bury(serving.actor)
        if story.machine.keeper is not None:
            story.disk.bury(story.machine.keeper.actor)
        for run in story.machine.runs.values():
            os.close(run.lease)
        shutil.rmtree(root, ignore_errors=True)
    return story


if __name__ == "__main__":
    first, count = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    starts = effects = 0
    for number in range(first, first + count):
        played = play(number)
        starts, effects = starts + len(played.machine.starts), effects + played.disk.effects
    print(f"{count} schedules from seed {first}: {starts} runs started, {effects} effects, no promise broken")
