"""A simulated machine: a disk that forgets what was not synced, clocks that are set, a keeper and runs that are values.

The product's own code runs on it unchanged: `os` and `fcntl` of the modules that do the effects are exchanged for
`Disk`, `clock` reads `Clock`, and `SimKeeping` stands where the socket to the keeper was. A process of the machine is a
value too (`Actor`): it dies at any call that has an effect, and then has no effect any more.

The disk is the strict reading of POSIX: a file's bytes last once the file was synced, its name once the folder was. A
power cut keeps a prefix of what was written since (torn in the middle of a write), or the whole length with sectors of
zeros in it, and a prefix of the changes of names.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import random
import stat
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from routinectl.process.message import Closed

SECTOR = 512


class Killed(BaseException):
    """The process that made this call is dead; nothing in the product catches it."""


@dataclass(eq=False)
class Actor:
    """A process: how many effects it may still have, and what it holds."""

    name: str
    pid: int
    fuse: int = 0  # it dies at its so many-th effect from now; 0: it does not
    dead: bool = False
    fds: set[int] = field(default_factory=set)


@dataclass(eq=False)
class File:
    """What would be left of a file, and what was done to it since: (offset, bytes) or a new length."""

    durable: bytes = b""
    pending: list[tuple[int, bytes] | int] = field(default_factory=list)
    cursed: list[tuple[int, int]] = field(default_factory=list)  # stretches whose writing failed, and that pass for clean


class Disk:
    """Stands in for `os` (and `fcntl`) in the modules that touch files; everything not named here is the real one."""

    LOCK_EX, LOCK_NB, LOCK_UN, LOCK_SH = fcntl.LOCK_EX, fcntl.LOCK_NB, fcntl.LOCK_UN, fcntl.LOCK_SH

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root, self.chance = f"{root}/", chance
        self.actor = Actor("nobody", 1)
        self.names: dict[str, File] = {}
        self.durable_names: dict[str, File] = {}
        self.renamings: list[dict[str, File | None]] = []  # changes of names that are not durable, in their order
        self.open_files: dict[int, tuple[str, File]] = {}
        self.full = self.failing = False
        self.effects = 0
        self.on_unlock = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def point(self, data: bytes = b"", fd: int = -1) -> None:
        """Count an effect of the process that runs; here it may die, or the disk fail it."""
        actor = self.actor
        if actor.dead:
            raise Killed
        self.effects += 1
        if actor.fuse:
            actor.fuse -= 1
            if actor.fuse == 0:
                if data and self.chance.random() < 0.5:
                    self._write(fd, data[: self.chance.randrange(len(data))])
                actor.dead = True
                raise Killed

    def _grow(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # -- what the product calls

    def getpid(self) -> int:
        return self.actor.pid

    def urandom(self, size: int) -> bytes:
        return self.chance.randbytes(size)

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if self.actor.dead:
            raise Killed
        name = str(path)
        fresh = flags & os.O_CREAT and not os.path.lexists(name)
        if fresh:
            self.point()
            self._grow()
        fd = os.open(name, flags, mode, dir_fd=dir_fd)
        self.actor.fds.add(fd)
        self.open_files.pop(fd, None)  # closed by a module that knows nothing of this disk
        if name.startswith(self.root) and stat.S_ISREG(os.fstat(fd).st_mode):
            if fresh:
                self._name(name, File())
            file = self.names.get(name)
            if file is None:
                file = self.names[name] = self.durable_names[name] = File(Path(name).read_bytes())
            if flags & os.O_TRUNC and not fresh:
                file.pending.append(0)
            self.open_files[fd] = (name, file)
        return fd

    def close(self, fd: int) -> None:
        if self.actor.dead:
            raise Killed
        self.actor.fds.discard(fd)
        self.open_files.pop(fd, None)
        os.close(fd)

    def write(self, fd: int, data: bytes) -> int:
        data = bytes(data)
        self.point(data, fd)
        if self.full and len(data) > 1:
            data = data[: self.chance.randrange(len(data))]  # a part of it still went in
            if not data:
                self._grow()
        return self._write(fd, data)

    def _write(self, fd: int, data: bytes) -> int:
        if fd in self.open_files:
            self._note(self.open_files[fd][1], os.fstat(fd).st_size, data)
        return os.write(fd, data)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        self.point()
        self._note(self.open_files[fd][1], offset, bytes(data))
        return os.pwrite(fd, data, offset)

    def _note(self, file: File, offset: int, data: bytes) -> None:
        end = offset + len(data)
        file.pending.append((offset, data))
        pieces = [((start, min(stop, offset)), (max(start, end), stop)) for start, stop in file.cursed]
        file.cursed = [piece for pair in pieces for piece in pair if piece[0] < piece[1]]

    def ftruncate(self, fd: int, size: int) -> None:
        self.point()
        os.ftruncate(fd, size)
        self.open_files[fd][1].pending.append(size)

    def truncate(self, path: Any, size: int) -> None:
        self.point()
        os.truncate(path, size)
        if str(path) in self.names:
            self.names[str(path)].pending.append(size)

    def fsync(self, fd: int) -> None:
        self.point()
        if fd in self.open_files:
            _, file = self.open_files[fd]
            if self.failing:
                file.cursed += [(step[0], step[0] + len(step[1])) for step in file.pending if not isinstance(step, int)]
                file.pending = []
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            data = bytearray(Path(f"/proc/self/fd/{fd}").read_bytes())
            for start, stop in file.cursed:
                data[start:stop] = bytes(len(data[start:stop]))
            file.durable, file.pending = bytes(data), []
            return
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        folder = f"{os.readlink(f'/proc/self/fd/{fd}')}/"
        lasting: list[dict[str, File | None]] = []
        about: set[str] = set()
        for change in reversed(self.renamings):  # with a change lasts what it builds on: a file that is renamed was made before
            if about & change.keys() or any(f"{name.rpartition('/')[0]}/" == folder for name in change):
                lasting.insert(0, change)
                about |= change.keys()
        for change in lasting:
            self._settle(change)
        self.renamings = [change for change in self.renamings if change not in lasting]

    fdatasync = fsync

    def rename(self, source: Any, target: Any) -> None:
        self.point()
        os.rename(source, target)
        file = self.names.pop(str(source), None) or File(Path(target).read_bytes())
        self.names[str(target)] = file
        self.renamings.append({str(source): None, str(target): file})

    def unlink(self, path: Any) -> None:
        self.point()
        os.unlink(path)
        self.names.pop(str(path), None)
        self.renamings.append({str(path): None})

    def mkdir(self, path: Any, mode: int = 0o777) -> None:
        self.point()
        self._grow()
        os.mkdir(path, mode)

    def flock(self, fd: int, how: int) -> None:
        self.point()
        fcntl.flock(fd, how)
        if how == fcntl.LOCK_UN:
            self.on_unlock()

    def _name(self, name: str, file: File) -> None:
        self.names[name] = file
        self.renamings.append({name: file})

    def _settle(self, change: dict[str, File | None]) -> None:
        for name, file in change.items():
            if file is None:
                self.durable_names.pop(name, None)
            else:
                self.durable_names[name] = file

    # -- what the world does to it

    def bury(self, actor: Actor) -> None:
        """Close what a dead process held, its locks with it."""
        for fd in actor.fds:
            self.open_files.pop(fd, None)
            os.close(fd)
        actor.fds.clear()

    def lose_power(self) -> None:
        """Leave on the disk what a power cut leaves; every process is dead already."""
        kept = self.chance.randrange(len(self.renamings) + 1)
        for change in self.renamings[:kept]:
            self._settle(change)
        for name in set(self.names) | set(self.durable_names):
            if os.path.lexists(name):
                os.unlink(name)
        for name, file in self.durable_names.items():
            file.durable, file.pending, file.cursed = self._left_of(file), [], []
            os.makedirs(os.path.dirname(name), exist_ok=True)
            Path(name).write_bytes(file.durable)
        self.names, self.renamings = dict(self.durable_names), []

    def _left_of(self, file: File) -> bytes:
        if not file.pending:
            return file.durable
        whole = self.chance.random() < 0.3
        steps = file.pending if whole else file.pending[: self.chance.randrange(len(file.pending) + 1)]
        data = bytearray(file.durable)
        for step in steps:
            if isinstance(step, int):
                del data[step:]
                data.extend(bytes(step - len(data)))
            else:
                offset, piece = step
                data[offset : offset + len(piece)] = piece
        if steps and not whole and not isinstance(steps[-1], int) and self.chance.random() < 0.5:
            del data[len(data) - self.chance.randrange(len(steps[-1][1]) + 1) :]
        if whole:
            for sector in range((len(file.durable) // SECTOR + 1) * SECTOR, len(data), SECTOR):
                if self.chance.random() < 0.5:
                    data[sector : sector + SECTOR] = bytes(len(data[sector : sector + SECTOR]))
        return bytes(data)

    def forget(self) -> None:
        """Take everything for durable, and forget how it came to be."""
        self.renamings.clear()
        self.names = {name: file for name, file in self.names.items() if "/runs/" not in name}
        self.durable_names = dict(self.names)
        for file in self.names.values():
            file.durable, file.pending = b"", []

    def durable_journal(self) -> bytes:
        """Return what a power cut would leave of the journal at the least."""
        return b"".join(file.durable for name, file in self.durable_names.items() if "/journal/0" in name)


class Clock:
    """The wall clock, which can be set, and the two that cannot. Stands in for `routinectl.clock`'s functions."""

    def __init__(self, start: datetime) -> None:
        self.true, self.offset = start, 0.0
        self.boot_seconds = self.awake_seconds = 1000.0

    def now(self) -> datetime:
        return (self.true + timedelta(seconds=self.offset)).astimezone(UTC)

    def boot(self) -> float:
        return self.boot_seconds

    def awake(self) -> float:
        return self.awake_seconds

    def pass_time(self, seconds: float, *, asleep: bool = False) -> None:
        seconds = max(round(seconds, 6), 1e-6)  # no clock stands still between two looks
        self.true += timedelta(seconds=seconds)
        self.boot_seconds += seconds
        self.awake_seconds += 0.0 if asleep else seconds


@dataclass(eq=False)
class SimRun:
    """A run as the machine knows it. `lease` is its own copy of the descriptor."""

    key: str
    routine: str
    pid: int
    lease: int
    born: float
    ends: float  # on the boot clock
    code: int
    stopped: str = ""


class SimKeeper:
    """The keeper of one workspace as a value: a queue of messages, runs, a log on the simulated disk."""

    def __init__(self, machine: Machine, log: str) -> None:
        self.machine, self.actor = machine, machine.new_actor("keeper")
        self.log = machine.disk.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.lock = machine.take_keeper_lock(self.actor)
        self.inbox: deque[tuple[SimKeeping, str, Any, list[int]]] = deque()
        self.runs: dict[str, SimRun] = {}
        self.unacknowledged: dict[str, dict[str, Any]] = {}
        self.lines: list[bytes] = []
        self.wires: list[SimKeeping] = []

    def hello(self) -> dict[str, Any]:
        alive = [self.started(run) for run in self.runs.values()]
        return {"hello": 1, "pid": self.actor.pid, "alive": alive, "ending": [], "ended": list(self.unacknowledged.values())}

    def started(self, run: SimRun) -> dict[str, Any]:
        return {"run": run.key, "id": run.routine, "pid": run.pid, "start": run.pid, "at": run.born}

    def step(self) -> None:
        """Take one message."""
        wire, kind, body, fds = self.inbox.popleft()
        if kind == "spawn":
            wire.post({"spawned": [self.spawn(json.loads(entry), fd) for entry, fd in zip(body, fds, strict=True)]})
        elif kind == "cancel":
            for key in body:
                if key in self.runs:
                    self.runs[key].ends, self.runs[key].stopped = self.machine.clock.boot(), "cancelled"
        else:
            for key in body:
                self.unacknowledged.pop(key, None)
            if not self.unacknowledged and not self.runs:
                self.machine.disk.ftruncate(self.log, 0)

    def spawn(self, entry: dict[str, Any], lease: int) -> dict[str, Any]:
        disk = self.machine.disk
        path = f"{self.machine.layout.runs}/{entry['id']}/{entry['run']}/out"
        try:
            disk.close(disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            disk.close(lease)
            return {"run": entry["run"], "error": "exists" if error.errno == errno.EEXIST else "no output"}
        run = self.machine.begin(entry, lease)
        self.runs[run.key] = run
        self.say({"started": self.started(run)})
        return self.started(run)

    def end(self, run: SimRun) -> None:
        """Reap a run: its end is durable before anybody hears of it."""
        del self.runs[run.key]
        status = run.code << 8 if not run.stopped else 15
        record = {"run": run.key, "id": run.routine, "at": self.machine.clock.now().timestamp(), "born": run.born, "status": status,
                  "stopped": run.stopped, "cpu": 0.0, "rss": 0}  # fmt: skip
        self.unacknowledged[run.key] = record
        self.say({"ended": record})
        with contextlib.suppress(OSError):  # on a failing disk it is told over the wire all the same
            self.machine.disk.fdatasync(self.log)
        for wire in self.wires:
            wire.post({"ended": [record]})

    def say(self, record: dict[str, Any]) -> None:
        """Write to the log; on a full disk the lines wait, as the keeper's do."""
        self.lines.append(json.dumps(record).encode() + b"\n")
        with contextlib.suppress(OSError):
            while self.lines:
                taken = self.machine.disk.write(self.log, self.lines[0])
                self.lines[0] = self.lines[0][taken:]
                if not self.lines[0]:
                    del self.lines[0]


class SimKeeping:
    """Stands in for `engine.keeping.Keeping`: the same methods, and messages that wait in queues."""

    machine: Machine  # set by the machine that is running

    def __init__(self, layout: Any) -> None:
        self.layout = layout
        self.keeper: SimKeeper | None = None
        self.hello: dict[str, Any] = {}
        self.news: deque[dict[str, Any]] = deque()
        self.outstanding = 0

    log = property(lambda self: f"{self.layout.live}/keeper.jsonl")

    @property
    def wire(self) -> SimKeeping | None:
        return self if self.keeper is not None else None

    def fileno(self) -> SimKeeping:
        return self

    @property
    def readable(self) -> bool:
        return bool(self.news) or (self.keeper is not None and self.keeper.actor.dead)

    def post(self, message: dict[str, Any]) -> None:
        if self.keeper is not None:
            self.news.append(message)

    def leave_foreign(self) -> None:
        """Nothing binds anybody on this machine."""

    def find(self) -> bool:
        keeper = self.machine.keeper
        if self.keeper is None and keeper is not None and not keeper.actor.dead:
            self.keeper, self.hello = keeper, keeper.hello()
            keeper.wires.append(self)
        return self.keeper is not None

    find_or_outlive = find

    def ensure(self) -> None:
        if not self.find():
            with self.machine.acting(self.machine.disk.actor):
                self.machine.start_keeper(self.log)
            self.find()

    def has_something(self) -> bool:
        return self.keeper is not None and self.readable

    def has_news(self) -> bool:
        return os.path.exists(self.log) and os.stat(self.log).st_size > 0

    def records(self) -> list[dict[str, Any]]:
        found = []
        for line in Path(self.log).read_bytes().splitlines() if os.path.exists(self.log) else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def forget_log(self) -> None:
        if os.path.exists(self.log) and self.machine.keeper is None:
            self.machine.disk.truncate(self.log, 0)

    def is_dead(self) -> bool:
        return self.keeper is None and self.machine.keeper is None

    def spawn(self, entries: list[bytes], fds: list[int], env: dict[str, str]) -> None:
        del env
        self._send("spawn", entries, fds)
        self.outstanding += len(fds)

    def alert(self) -> None:
        return

    def cancel(self, keys: list[str]) -> None:
        if keys and self.keeper is not None:
            self._send("cancel", keys, [])

    def acknowledge(self, keys: list[str]) -> None:
        if keys and self.keeper is not None:
            self._send("ack", keys, [])

    def _send(self, kind: str, body: Any, fds: list[int]) -> None:
        self.machine.disk.point()
        keeper = self.keeper
        if keeper is None or keeper.actor.dead:
            self.close()
            if kind == "spawn":
                raise Closed
            return
        copies = [os.dup(fd) for fd in fds]
        keeper.actor.fds.update(copies)
        keeper.inbox.append((self, kind, body, copies))

    def receive(self) -> list[dict[str, Any]]:
        messages = list(self.news)
        self.news.clear()
        if self.keeper is not None and self.keeper.actor.dead:
            self.close()
        self.outstanding -= sum(len(message.get("spawned", ())) for message in messages)
        return messages

    def put_back(self, messages: Any) -> None:
        self.news.extendleft(reversed(list(messages)))

    def close(self) -> None:
        if self.keeper is not None:
            if self in self.keeper.wires:
                self.keeper.wires.remove(self)
            self.keeper, self.outstanding = None, 0


class Machine:
    """One simulated machine with one workspace on it."""

    def __init__(self, layout: Any, chance: random.Random, start: datetime) -> None:
        self.layout, self.chance = layout, chance
        self.disk = Disk(layout.root, chance)
        self.clock = Clock(start)
        self.keeper: SimKeeper | None = None
        self.runs: dict[str, SimRun] = {}  # alive, with or without a keeper
        self.starts: list[tuple[str, str, str]] = []  # routine, run and attempt, slot
        self.boots = self.pids = 0
        self.durations = (0.05, 1.0, 5.0, 45.0, 300.0)

    @property
    def boot_id(self) -> str:
        return f"boot-{self.boots}"

    def new_actor(self, name: str) -> Actor:
        self.pids += 1
        return Actor(name, 1000 + self.pids)

    def acting(self, actor: Actor) -> _Acting:
        return _Acting(self.disk, actor)

    def take_keeper_lock(self, actor: Actor) -> int:
        fd = os.open(self.layout.lock("keeper"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        actor.fds.add(fd)
        return fd

    def start_keeper(self, log: str) -> None:
        assert self.keeper is None, "two keepers"
        keeper = SimKeeper(self, log)
        self.disk.actor.fds.discard(keeper.log)
        keeper.actor.fds.add(keeper.log)
        self.keeper = keeper

    def begin(self, entry: dict[str, Any], lease: int) -> SimRun:
        """Start a run, and keep the promise P1 in mind: never twice, and never without a durable claim."""
        key, name = entry["run"], entry["id"]
        slot = (
            entry["env"]["ROUTINE_SLOT"] if entry["env"]["ROUTINE_TRIGGER"] == "schedule" else ""
        )  # else it is the instant of the request
        run_id, _, attempt = key.partition(".")
        assert (name, key) not in {start[:2] for start in self.starts}, f"P1: {name} {key} is started a second time"
        if slot and not attempt:
            doubled = [start for start in self.starts if start[0] == name and start[2] == slot and "." not in start[1]]
            assert not doubled, f"P1: the slot {slot} of {name} runs a second time, as {key} after {doubled}"
        claim = f'"run":"{run_id}","attempt":{attempt}' if attempt else f'"run":"{run_id}"'
        assert claim.encode() in self.disk.durable_journal(), f"P3: {name} {key} is started and its claim is not durable"
        self.starts.append((name, key, slot))
        self.pids += 1
        lasts = self.chance.choice(self.durations)
        run = SimRun(key, name, 1000 + self.pids, os.dup(lease), self.clock.now().timestamp(), self.clock.boot() + lasts,
                     self.chance.choice((0, 0, 0, 1)))  # fmt: skip
        self.disk.close(lease)
        self.runs[key] = run
        return run

    def end_due_runs(self) -> None:
        """End the runs whose time has come."""
        for run in [run for run in self.runs.values() if run.ends <= self.clock.boot()]:
            os.close(run.lease)
            del self.runs[run.key]
            keeper = self.keeper
            if keeper is not None and run.key in keeper.runs:
                with self.acting(keeper.actor):
                    try:
                        keeper.end(run)
                    except Killed:
                        self.kill_keeper()

    def is_alive(self, pid: int) -> bool:
        return any(run.pid == pid for run in self.runs.values())

    def kill_keeper(self) -> None:
        """Kill the keeper; its runs go on, and what was on its way to it is lost."""
        keeper = self.keeper
        if keeper is not None:
            keeper.actor.dead, self.keeper = True, None
            self.disk.bury(keeper.actor)

    def lose_power(self) -> None:
        """End everything at once, and start again with what the disk kept."""
        self.kill_keeper()
        for run in self.runs.values():
            os.close(run.lease)
        self.runs.clear()
        self.boots += 1
        self.disk.lose_power()
        self.disk.full = self.disk.failing = False
        self.clock.boot_seconds = self.clock.awake_seconds = 5.0


class _Acting:
    """While it lasts, calls are those of one process."""

    def __init__(self, disk: Disk, actor: Actor) -> None:
        self.disk, self.actor = disk, actor

    def __enter__(self) -> Actor:
        self.before, self.disk.actor = self.disk.actor, self.actor
        return self.actor

    def __exit__(self, *exception: object) -> None:
        self.disk.actor = self.before
