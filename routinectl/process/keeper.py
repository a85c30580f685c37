"""The keeper: the parent of all runs of a workspace, and the only process that must outlive everything else.

Runs must outlive `serve`, their true exit code must be known, their deadlines kept and their orphans reaped. So serve
(or a command without one) hands whole batches of runs to this small process, which spawns them, each in a session of its
own, keeps their deadlines on the boot clock, reaps them, ends what they leave behind, and writes every start and end to
its log: ends durably, one fdatasync for all that ended together. The log is the exit record of its runs until serve has
made the ends durable in the journal and says so (`ack`); then it is emptied.

It is started with few imports (`python -I -S`), holds the lock `keeper`, adopts orphans (subreaper), takes no orders
but over its socket, and ends when it has no runs and nobody is connected. Requests: `spawn` (a batch; leases as
descriptors), `cancel`, `ack`, `soon` (a batch is about to come: nothing to do but to be awake). It answers `hello`, `spawned`, and sends `ended` when runs end.

A start costs one spawn and one open: the folder, the environment and the program were prepared by whoever asked. The
batch opens all outputs first and spawns them all then, because the descriptor limit that a run inherits is lowered in
between. preexec_fn is never used: it forks the whole interpreter.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

from routinectl.process import cgroups, confine, leavings, leftovers, mask, proc, view
from routinectl.process.message import Closed
from routinectl.process.wire import PROTOCOL, Wire

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_IDLE_SECONDS = 2.0  # how long it stays without runs and without anybody connected
_LEASE_FD = 3  # where a run finds its lease
_CAP_SECONDS = 1.0
_LOOK_SECONDS = (0.02, 1.0)  # how often a run with limits is looked at: the nearer it is to its CPU time, where that is counted
_KILL_SECONDS = 0.1  # until what was killed is killed again, with what was born meanwhile
_CPU_GRACE = 1.0  # seconds of CPU time beyond its limit after which a run is killed, as the kernel does it with one process
_TELL_SECONDS = 0.5  # how long news may wait while batches to spawn keep coming
_DEFAULT_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP, signal.SIGCHLD, signal.SIGQUIT]


class Run:
    """One run: its leader process and what it holds until its leftovers are gone."""

    __slots__ = ("born", "cap", "deadline", "exact", "family", "fate", "grace", "group", "id", "judge", "judging", "keep", "kill_at", "lease", "leaves",
                 "limits", "look_at", "looking", "mark", "masker", "measured", "out", "over", "pid", "record", "routine", "seen_by", "start",
                 "stopped")  # fmt: skip

    def __init__(self, entry: dict[str, Any], lease: int, out: int) -> None:
        self.id: str = entry["run"]
        self.mark = self.id.partition(".")[0]  # ROUTINE_RUN_ID of its processes: attempts of one run share it
        self.routine: str = entry["id"]
        self.lease, self.out = lease, out
        self.deadline: float = entry["deadline"]
        self.grace: float = entry["grace"]
        self.cap: int = entry["cap"]
        self.keep: bool = entry["keep"]
        self.pid = self.start = self.masker = 0
        self.born = 0.0
        self.fate = -1  # a pipe that tells of its first process what an exit status cannot (`confine.told`)
        self.seen_by = 0.0  # until when a confined run must see what it may; 0.0 once it does
        self.leaves: bool = entry.get("leaves", False)  # whether something is still to be looked at when it has ended
        self.looking = 0.0  # until when that may take, while it does
        self.limits: dict[str, int] = entry.get("watch", entry.get("limits", {}))  # of the whole tree
        self.exact: bool = entry.get("exact", False)  # whether its CPU time must be counted, not sampled
        self.group: cgroups.Group | None = None
        self.measured: dict[str, str] = {}  # of its limits, and its CPU time: how each is measured or kept
        self.look_at = 0.0  # when its limits are looked at next
        self.over = ""  # which limit its whole tree went over
        self.stopped = ""  # why the keeper stops it: timed_out or cancelled
        self.kill_at = 0.0  # when TERM is followed by KILL
        self.record: dict[str, Any] | None = None  # the end of its leader
        self.family: set[int] = set()  # orphans it left
        self.judge: dict[str, Any] | None = entry if "judge" in entry else None  # what judges it when it has ended well
        self.judging = 0.0  # until when it may, while it does

    @property
    def is_ending(self) -> bool:
        """Whether its leader has ended, and nothing but what it left behind keeps it."""
        return self.record is not None and not self.judging and not self.looking


class Keeper:
    """All runs of one workspace, the socket, the log."""

    def __init__(self, listener: socket.socket, log: int, runs_folder: int) -> None:
        self.listener, self.log, self.runs_folder = listener, log, runs_folder
        self.runs: dict[str, Run] = {}
        self.pids: dict[int, Run] = {}
        self.maskers: dict[int, Run] = {}
        self.lookers: dict[int, Run] = {}
        self.watched: dict[str, Run] = {}  # those with limits of CPU time or memory
        self.orphans = leftovers.Orphans(self.runs)
        info = os.fstat(runs_folder)
        self.groups = cgroups.Groups(f"{info.st_dev:x}.{info.st_ino:x}")
        self.unacknowledged: dict[str, dict[str, Any]] = {}
        self.wires: dict[int, Wire] = {}
        self.poll = select.poll()
        self.soft, self.hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.idle_since = boot()
        self.told_at = 0.0
        self.next_cap_check = 0.0
        self.next_family_check = 0.0
        self.lines: list[bytes] = []
        self.ended: list[dict[str, Any]] = []
        self.spawned: list[tuple[Wire, list[Run | dict[str, Any]]]] = []

    def serve(self, wakeup: int) -> None:
        """Answer and reap until there is nothing to keep and nobody to keep it for."""
        self.poll.register(self.listener, select.POLLIN)
        self.poll.register(wakeup, select.POLLIN)
        while not self.finished():
            ready = self.poll.poll(self.patience())
            for fd, what in ready:
                if what & select.POLLOUT and fd in self.wires:
                    self.flush(self.wires[fd])
                if what == select.POLLOUT:
                    continue
                if fd == wakeup:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wakeup, 4096)
                elif fd == self.listener.fileno():
                    self.accept()
                elif fd in self.wires:
                    self.read(self.wires[fd])
            self.reap()
            if self.calm():
                self.tell_started()
                self.report()
            self.keep_time(boot())
        self.groups.sweep()

    def calm(self) -> bool:
        """Say whether there is time to write and to tell: a batch that waits to be spawned goes first, but not for long."""
        if not (self.spawned or self.ended):
            return False
        now = boot()
        urgent = any(fd in self.wires and what & select.POLLIN for fd, what in self.poll.poll(0))
        if urgent and now - self.told_at < _TELL_SECONDS:
            return False
        self.told_at = now
        return True

    def finished(self) -> bool:
        """Say whether it has been of no use for a while."""
        if self.runs or self.wires:
            self.idle_since = boot()
            return False
        return boot() - self.idle_since >= _IDLE_SECONDS

    def patience(self) -> float | None:
        """Return how many milliseconds it may sleep, or None for ever."""
        now = boot()
        wakes = [run.kill_at or run.deadline for run in self.runs.values() if run.record is None]
        wakes += [run.kill_at for run in self.runs.values() if run.record is not None and run.kill_at]
        if self.runs:
            wakes.append(self.next_cap_check)
        wakes += [run.look_at for run in self.watched.values()]
        if any(run.is_ending for run in self.runs.values()):
            wakes.append(self.next_family_check)
        wakes += [at for run in self.runs.values() for at in (run.judging, run.looking, run.seen_by) if at > 0]
        if not self.wires and not self.runs:
            wakes.append(self.idle_since + _IDLE_SECONDS)
        return max(min(wakes) - now, 0) * 1000 + 1 if wakes else None

    # -- the other end

    def accept(self) -> None:
        """Take a connection and tell it what is known: the runs that go on and the ends not yet acknowledged."""
        connection, _ = self.listener.accept()
        wire = Wire(connection)
        self.wires[wire.fileno()] = wire
        self.poll.register(wire, select.POLLIN)
        alive = [self.started(run) for run in self.runs.values() if run.record is None]
        ending = [run.id for run in self.runs.values() if run.record is not None]
        self.answer(wire, {"hello": PROTOCOL, "pid": os.getpid(), "alive": alive, "ending": ending,
                           "ended": list(self.unacknowledged.values())})  # fmt: skip

    def read(self, wire: Wire) -> None:
        """Do what a message asks."""
        try:
            messages = wire.receive()
        except (Closed, ValueError):
            self.drop(wire)
            return
        for message in messages:
            if "spawn" in message:
                fds = [wire.fds.popleft() for _ in range(message["fds"])]
                self.spawned.append((wire, self.spawn(message["spawn"], fds, message["env"])))
                if any(entry["keep"] for entry in message["spawn"]):
                    self.tell_started()  # without a lease of their own, nothing else says that they live
            elif "cancel" in message:
                for run_id in message["cancel"]:
                    if run_id in self.runs:
                        self.stop(self.runs[run_id], "cancelled")
            elif "ack" in message:
                self.acknowledge(message["ack"])

    def answer(self, wire: Wire, message: dict[str, Any]) -> None:
        """Send, without ever waiting for a slow reader; whoever has gone away reads the log instead."""
        if self.wires.get(wire.fileno()) is not wire:
            return
        try:
            self.poll.modify(wire, select.POLLIN | (select.POLLOUT if wire.post(message) else 0))
        except (Closed, OSError):
            self.drop(wire)

    def flush(self, wire: Wire) -> None:
        """Go on sending to a reader that was slow."""
        try:
            self.poll.modify(wire, select.POLLIN | (select.POLLOUT if wire.flush() else 0))
        except (Closed, OSError):
            self.drop(wire)

    def drop(self, wire: Wire) -> None:
        """Forget a connection."""
        if self.wires.pop(wire.fileno(), None) is not None:
            self.poll.unregister(wire)
        wire.close()
        self.idle_since = boot()  # it may have slept through a long connection: idleness begins now

    def acknowledge(self, run_ids: list[str]) -> None:
        """Forget ends that are durable in the journal; empty the log when none is left and no run needs its lines."""
        for run_id in run_ids:
            self.unacknowledged.pop(run_id, None)
        if not self.unacknowledged and not self.runs:
            os.ftruncate(self.log, 0)

    # -- starting

    def tell_started(self) -> None:
        """Write starts to the log and tell whoever asked for them; who the processes are is looked up only now."""
        waiting, self.spawned = self.spawned, []
        for wire, results in waiting:
            answers = []
            for result in results:
                if isinstance(result, Run):
                    found = proc.stat(result.pid)
                    result.start = found.start if found else 0
                    answers.append(self.started(result))
                    self.lines.append(_line({"started": answers[-1]}))
                else:
                    answers.append(result)
            self.write_log()
            self.answer(wire, {"spawned": answers})

    def spawn(self, entries: list[dict[str, Any]], fds: list[int], env: dict[str, str]) -> list[Run | dict[str, Any]]:
        """Start a batch; return for each entry its run, or why there is none. `env` is what all of them have in common."""
        prepared: list[tuple[dict[str, Any], Run | None, str]] = []
        for index, entry in enumerate(entries):
            prepared.append(self.open_output(entry, fds[index]))
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(entries[0].get("nofile", self.soft), raised[1]), raised[1]))
        try:
            return [self.start(entry, run, fault, env) for entry, run, fault in prepared]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, raised)

    def open_output(self, entry: dict[str, Any], lease: int) -> tuple[dict[str, Any], Run | None, str]:
        """Make the run's output file. It must not exist: where it does, this run was started before."""
        try:
            path = f"{entry['id']}/{entry['run']}/out"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            return entry, Run(entry, lease, os.open(path, flags, 0o600, dir_fd=self.runs_folder)), ""
        except OSError as error:
            os.close(lease)
            return entry, None, "exists" if error.errno == errno.EEXIST else f"its output cannot be made: {error.strerror}"

    def start(self, entry: dict[str, Any], run: Run | None, fault: str, env: dict[str, str]) -> Run | dict[str, Any]:
        """Spawn one run's leader."""
        if run is None:
            return {"run": entry["run"], "error": fault}
        out = run.out
        lease = -1 if run.keep else run.lease  # what is kept would hold it as long as it lives
        if run.judge is not None:
            entry["env"] = {**env, **entry["env"]}
        doors = cgroups.NO_DOORS
        try:
            if "confine" in entry or not run.limits.keys().isdisjoint(cgroups.FUNCTIONS):
                doors = self.make_group(entry, run)
            if "mask" in entry or "confine" in entry:  # through a descriptor of its own output a run could rewrite that
                out, run.masker = mask.start(run.out, entry.get("mask", []), lease)
                self.maskers[run.masker] = run
            os.chdir(entry["cwd"])
            os.umask(entry["umask"])
            if run.group is not None or "confine" in entry or entry.get("limits"):
                run.pid, run.fate = confine.start(entry, {**env, **entry["env"]}, out, lease, doors)
                run.seen_by = boot() + view.SECONDS if "confine" in entry else 0.0
            else:
                actions = [(os.POSIX_SPAWN_OPEN, 0, entry["stdin"], os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, out, 1),
                           (os.POSIX_SPAWN_DUP2, out, 2), *([(os.POSIX_SPAWN_DUP2, lease, _LEASE_FD)] if lease >= 0 else [])]  # fmt: skip
                run.pid = os.posix_spawn(entry["argv0"], entry["argv"], {**env, **entry["env"]}, file_actions=actions, setsid=True,
                                         setsigmask=[], setsigdef=_DEFAULT_SIGNALS)  # fmt: skip
        except (OSError, ValueError, cgroups.Inexact) as error:
            return self.not_started(entry, run, out, error)
        finally:
            doors.close()
        if out != run.out:
            os.close(out)
        os.close(run.out)
        run.born = time.time()
        run.deadline = boot() + entry["timeout"] if not run.deadline else run.deadline
        self.runs[run.id] = self.pids[run.pid] = run
        if run.limits.keys() & {"cpu", "memory"}:
            self.watched[run.id] = run
            self.plan_look(run, 0.0)
        return run

    def make_group(self, entry: dict[str, Any], run: Run) -> cgroups.Doors:
        """Make the groups of a run that is confined or has limits; return the ways into them. Raises Inexact, OSError."""
        run.group = self.groups.make(run.limits)
        places = run.group.places if run.group is not None else cgroups.Places()
        asked = {"cpu", *run.limits} if "confine" in entry else run.limits
        run.measured = {function: places.way(function) for function in cgroups.FUNCTIONS if function in asked}
        if run.exact and not places.cpu:
            raise cgroups.Inexact(
                "budget.per_day.cpu cannot be kept here: without a cgroup, CPU time is sampled, which is a lower bound;"
                " budget: {per_day: {approximate: true}} takes it, and routinectl doctor says what is missing"
            )
        return run.group.doors() if run.group is not None else cgroups.NO_DOORS

    def not_started(self, entry: dict[str, Any], run: Run, out: int, error: Exception) -> dict[str, Any]:
        """Give everything of a run back that could not be spawned; its output file stays, so it is never tried twice."""
        if out != run.out:
            os.close(out)
        os.close(run.out)
        os.close(run.lease)
        if run.group is not None:
            self.groups.retire(run.group)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        at = entry["cwd"] if not os.path.isdir(entry["cwd"]) else entry["argv0"]
        record = {"run": run.id, "id": run.routine, "at": time.time(), "born": time.time(), "status": None,
                  "error": reason if isinstance(error, cgroups.Inexact) else f"{at}: {reason}", "stopped": "", "cpu": 0.0, "rss": 0}  # fmt: skip
        self.unacknowledged[run.id] = record
        self.lines.append(_line({"ended": record}))
        return {"run": run.id, "error": record["error"]}

    def started(self, run: Run) -> dict[str, Any]:
        """Return what is known of a run that goes on."""
        return {"run": run.id, "id": run.routine, "pid": run.pid, "start": run.start, "at": run.born}

    # -- ending

    def reap(self) -> None:
        """Collect every child that has ended. Done between two batches too: every lease still open slows the next spawn."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            run = self.pids.pop(pid, None)
            fault = ""
            if run is not None and run.fate >= 0:
                status, fault = confine.told(run.fate, status)
                if run.seen_by < 0:
                    fault = f"what it may see could not be made ready in {view.SECONDS:.0f} s"
                run.fate, run.seen_by = -1, 0.0
            if run is not None and run.record is not None:
                run.record["judge"], run.judging = status, 0.0
            elif run is not None:
                run.record = {"run": run.id, "id": run.routine, "at": time.time(), "born": run.born, "status": None if fault else status,
                              "stopped": run.stopped, "cpu": round(usage.ru_utime + usage.ru_stime, 4),
                              "rss": usage.ru_maxrss * 1024}  # fmt: skip
                if fault:
                    run.record["error"], run.judge, run.leaves = fault, None, False
                elif not run.stopped and "cpu" in run.limits and status & 0x7F == signal.SIGXCPU:
                    run.over = "cpu"
                if run.id in self.watched and not fault:
                    run.over = run.over or leftovers.use(run)[1]  # it may have gone over since the last look
                if run.over:
                    run.record["over"] = run.over
                if run.judge is not None and not run.stopped and not run.over:
                    self.ask_judge(run, run.record)
            elif pid in self.maskers:
                self.maskers.pop(pid).masker = 0
            elif pid in self.lookers:
                self.lookers.pop(pid).looking = 0.0
        if boot() >= self.next_family_check and any(run.is_ending for run in self.runs.values()):
            self.end_families()

    def ask_judge(self, run: Run, record: dict[str, Any]) -> None:
        """Start the command that judges a run which ended with a good code; the run holds its lease until it is judged."""
        assert run.judge is not None
        entry, run.judge = run.judge, None
        status = record["status"]
        if status & 0x7F or status >> 8 not in entry["judge"]["after"]:
            return
        try:
            # Where secrets would have to be masked, what the judge says is not kept.
            path = os.devnull if entry.get("mask") else f"{run.routine}/{run.id}/judge"
            out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=self.runs_folder)
        except OSError:
            return
        doors = cgroups.NO_DOORS
        try:
            os.chdir(entry["cwd"])
            judge = entry["judge"]
            doors = run.group.doors() if run.group is not None else doors
            if run.group is not None or "confine" in entry:  # it judges what a confined run has made, so it is not let out either
                confined = {**entry, "argv0": judge["argv0"], "argv": judge["argv"], "stdin": os.devnull}
                pid, run.fate = confine.start(confined, entry["env"], out, run.lease, doors)
            else:
                actions = [
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, out, 1),
                    (os.POSIX_SPAWN_DUP2, out, 2),
                ]
                pid = os.posix_spawn(judge["argv0"], judge["argv"], entry["env"], file_actions=actions, setsid=True, setsigmask=[],
                                     setsigdef=_DEFAULT_SIGNALS)  # fmt: skip
        except (OSError, ValueError):
            return
        finally:
            os.close(out)
            doors.close()
        run.pid, run.judging = pid, boot() + entry["judge"]["timeout"]
        self.pids[pid] = run

    def end_families(self) -> None:
        """Find what ended runs left behind, stop it, and let the runs go of which nothing is left."""
        began = boot()
        whole = self.orphans.look(self.known())
        # Looking for orphans may mean to look at every process of the machine: a tenth of the time is enough for that.
        self.next_family_check = boot() + max((boot() - began) * 10, 0.005)
        for run in [run for run in self.runs.values() if run.is_ending]:
            if run.family and not run.keep:
                if not run.kill_at:
                    run.kill_at = boot() + run.grace
                    leftovers.signal_all(run.family, signal.SIGTERM)
            elif run.leaves and whole:
                self.look_at_leavings(run)
            elif (whole and run.masker == 0) or run.keep:
                self.let_go(run)

    def known(self) -> set[int]:
        """Return the children that are no orphans."""
        return set(self.pids) | set(self.maskers) | set(self.lookers)

    def look_at_leavings(self, run: Run) -> None:
        """Have what a confined run wrote looked at, now that nothing of it goes on; it holds its lease until then."""
        run.leaves = False
        with contextlib.suppress(OSError):  # what was not looked at is seen by what is missing
            pid = leavings.start(self.runs_folder, run.routine, run.id)
            self.lookers[pid], run.looking = run, boot() + leavings.SECONDS

    def let_go(self, run: Run) -> None:
        """Give a run's lease back: it is over. Its end is told by `report`."""
        assert run.record is not None
        if run.keep:
            self.orphans.keep(run.family)
        if run.group is not None:
            run.record["cpu"] = round(run.group.cpu() or run.record["cpu"], 4)
            self.groups.retire(run.group)
        if run.measured:
            run.record["measured"] = run.measured
        del self.runs[run.id]
        self.watched.pop(run.id, None)
        os.close(run.lease)
        if self.spawned and not run.start:
            self.tell_started()  # a start is told before its end
        self.ended.append(run.record)
        self.unacknowledged[run.id] = run.record
        with contextlib.suppress(OSError):
            leftovers.compact(self.runs_folder, f"{run.routine}/{run.id}/out", run.cap)

    def report(self) -> None:
        """Write the ends durably, then tell whoever listens."""
        records, self.ended = self.ended, []
        if not records:
            return
        self.lines += [_line({"ended": record}) for record in records]
        self.write_log()
        with contextlib.suppress(OSError):
            os.fdatasync(self.log)
        for wire in list(self.wires.values()):
            self.answer(wire, {"ended": records})

    def stop(self, run: Run, why: str) -> None:
        """Ask a run's whole tree to end; `keep_time` kills it after its grace."""
        if run.stopped or run.record is not None:
            return
        run.stopped = why
        run.kill_at = boot() + run.grace
        self.orphans.signal_tree(run, signal.SIGTERM)

    def keep_time(self, now: float) -> None:
        """Stop what is past its deadline, kill what is past its grace, and keep outputs below their caps."""
        for run in list(self.runs.values()):
            if run.record is None and not run.stopped and now >= run.deadline:
                self.stop(run, "timed_out")
            elif run.looking and now >= run.looking:
                leftovers.signal_all({pid for pid, its in self.lookers.items() if its is run}, signal.SIGKILL)
                run.looking = now + 0.2
            elif run.seen_by > 0 and now >= run.seen_by:
                run.seen_by = 0.0 if confine.has_begun(run.fate) else -1.0
                if run.seen_by:
                    leftovers.signal_all({run.pid}, signal.SIGKILL)
            elif run.judging and now >= run.judging:
                self.orphans.signal_tree(run, signal.SIGKILL)
                run.judging = now + _KILL_SECONDS
            elif run.kill_at and now >= run.kill_at and not run.judging:
                if run.record is None:
                    self.orphans.signal_tree(run, signal.SIGKILL)
                else:
                    self.orphans.kill(run, self.known())
                    self.next_family_check = 0.0
                run.kill_at = boot() + _KILL_SECONDS
        for run in [run for run in self.watched.values() if now >= run.look_at]:
            self.look_at_limits(run, now)
        if now >= self.next_cap_check and self.runs:
            self.next_cap_check = now + _CAP_SECONDS
            for run in self.runs.values():
                leftovers.punch(self.runs_folder, f"{run.routine}/{run.id}/out", run.cap)

    def look_at_limits(self, run: Run, now: float) -> None:
        """Stop a run whose whole tree is over a limit; what it has left is not waited for then, and CPU time well beyond it ends at once."""
        cpu, over = leftovers.use(run)
        self.plan_look(run, cpu)
        if not over:
            return
        if run.record is None and not run.stopped:
            run.over = over
            self.stop(run, "over_budget")
        if run.record is not None or cpu >= run.limits.get("cpu", cpu) + _CPU_GRACE:
            run.kill_at = min(run.kill_at or now, now)

    def plan_look(self, run: Run, cpu: float) -> None:
        """Plan the next look at a run's limits: before it can have used up its CPU time, where looking costs a read only."""
        soonest, latest = _LOOK_SECONDS
        left = (run.limits.get("cpu", math.inf) + (_CPU_GRACE if run.stopped else 0.0) - cpu) / (os.cpu_count() or 1)
        counted = run.group is not None and bool(run.group.places.cpu)
        run.look_at = boot() + (min(max(left, soonest), latest) if counted else latest)

    def write_log(self) -> None:
        """Write the waiting lines of the log in one write. On a full disk they wait: the keeper must outlive it."""
        data, self.lines = b"".join(self.lines), []
        try:
            while data:
                data = data[os.write(self.log, data) :]
        except OSError:
            self.lines = [data]


def boot() -> float:
    """Return seconds since the machine started, time asleep included."""
    return time.clock_gettime(_BOOT)


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def main(arguments: list[str]) -> None:
    """Run a keeper: descriptors of the socket, the log, the folder of runs and the lock come from whoever started it."""
    # Descriptor 3 is where runs find their lease: keep it taken, so that no output is ever opened there.
    inherited = [int(fd) for fd in arguments]
    listener_fd, log, runs_folder, _lock = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 32) for fd in inherited)
    for fd in inherited:
        os.close(fd)  # these would go on to every run
    taken = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    if taken != _LEASE_FD:
        os.dup2(taken, _LEASE_FD, inheritable=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    if os.fork():
        os._exit(0)  # whoever asked for a keeper is not its parent, and may end before it
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    leftovers.become_subreaper()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    keeper = Keeper(socket.socket(fileno=listener_fd), log, runs_folder)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    keeper.soft = soft
    keeper.serve(reading)


if __name__ == "__main__":
    main(sys.argv[1:])
