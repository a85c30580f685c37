"""What a run leaves behind, and how it is ended: its tree while it runs, its orphans afterwards, its surplus output.

An orphan comes to the keeper because the keeper is a subreaper. It belongs to the run whose group (`cgroups`) or session it
is in, else to the run that its environment names, else to the runs that were there when it was first seen: a process that
hides from all of that is ended when none of them goes on. What a run with `leftovers: keep` has left is charged to no other.

That nobody is left can be proven although processes come and go: a child of the keeper stays in the kernel's list of its
children until the keeper itself has waited for it, and whoever ends hands its children to that list in the same moment. So
a chain in which each process forks the next and ends has somebody in the list at any moment, alive or dead: a look that
finds nobody there but those who are known, and none who has just died, is the proof. It is killed by rounds over the list,
faster than it forks: `Orphans.kill`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import TYPE_CHECKING

from routinectl.process import proc
from routinectl.process.kernel import checked, libc

if TYPE_CHECKING:
    from routinectl.process.keeper import Run

_PR_SET_CHILD_SUBREAPER = 36
_PUNCH_AND_KEEP_SIZE = 0x02 | 0x01
_HUNT_SECONDS = 0.05  # how long the keeper does nothing but kill; what is not dead then is killed on at its next look
_DEAD_SECONDS = 0.005  # how long one that was killed may take to die, before it is taken for one that waits for a disk or is traced
_Stranger = tuple[int, frozenset[str]]


def become_subreaper() -> None:
    """Make orphans below this process its children instead of init's. Raises OSError."""
    checked(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


class Orphans:
    """What runs have left to the keeper: whose each process is, what is kept, and how the rest is ended."""

    def __init__(self, runs: dict[str, Run]) -> None:
        self.runs = runs
        self.kept: dict[int, int] = {}  # pid and start time of what `leftovers: keep` has kept, and of what came of it
        self.strangers: dict[int, _Stranger] = {}  # without any sign: start time, and the runs that were there

    def keep(self, pids: set[int]) -> None:
        """Take over what an ended run may leave alive."""
        found = (proc.stat(pid) for pid in pids)
        self.kept.update({item.pid: item.start for item in found if item is not None})

    def kept_pids(self) -> set[int]:
        """Return those that are kept and still live."""
        return {pid for pid, start in self.kept.items() if proc.is_alive(pid, start)}

    def look(self, known: set[int], *, deep: bool = True) -> bool:
        """Give every orphan to its run (`run.family`), with all below it where `deep`; `known` are children that are none.

        Return whether nobody was missed: where one has died meanwhile, what it may have forked is seen by the next look only.
        """
        grouped = {pid: run for run in self.runs.values() if run.group is not None for pid in run.group.pids()}
        for run in self.runs.values():
            run.family = {pid for pid, owner in grouped.items() if owner is run and run.record is not None} - known
        if not known and not proc.has_children():
            self.strangers.clear()
            return True
        orphans = proc.children() - known
        items = proc.descendants(orphans) if deep and orphans else [item for item in map(proc.stat, orphans) if item is not None]
        died = any(_waited_for(pid) for pid in orphans - {item.pid for item in items if item.state != "Z"})
        living = [item for item in items if item.state != "Z"]
        spared = self._kept_among(living) if self.kept else set()
        by_session = {run.pid: run for run in self.runs.values()}
        by_mark = {run.mark: run for run in self.runs.values()}
        unsigned = []
        for item in living:
            if item.pid in spared:
                continue
            owner = grouped.get(item.pid) or by_session.get(item.session) or by_mark.get(proc.run_id_of(item.pid) or "")
            if owner is None:
                unsigned.append(item)
            else:
                owner.family.add(item.pid)
        self._charge(unsigned, whole=not died)
        return not died

    def kill(self, run: Run, known: set[int]) -> None:
        """Kill what an ended run has left: its group at once, else in rounds, until a look finds nobody new."""
        if run.group is not None and run.group.kill():
            return
        killed: set[int] = set()
        now = news = time.monotonic()
        began = now
        while now - began < _HUNT_SECONDS and now - news < _DEAD_SECONDS:
            whole = self.look(known, deep=False)
            if whole and not run.family:
                return
            now = time.monotonic()
            if run.family - killed or not whole:
                news = now
            signal_all(run.family, signal.SIGKILL)
            killed = {pid for pid in killed | run.family if not _waited_for(pid)}

    def signal_tree(self, run: Run, number: signal.Signals) -> None:
        """Signal a living run's whole tree: its group, else its session, everything below its leader, and whatever bears its run id.

        An earlier attempt's processes bear that id too: what is kept of it is spared.
        """
        if run.group is not None and number == signal.SIGKILL and run.group.kill():
            return
        everyone = proc.everybody()
        pids = {item.pid for item in everyone if item.session == run.pid}
        pids |= {item.pid for item in proc.descendants({run.pid})}
        own = os.getpid()
        pids |= {item.pid for item in everyone if item.parent == own and proc.run_id_of(item.pid) == run.mark}
        pids |= {item.pid for item in proc.descendants(pids)}
        pids |= run.group.pids() if run.group is not None else set()
        signal_all(pids - {own} - self.kept_pids(), number)

    def _kept_among(self, items: list[proc.Stat]) -> set[int]:
        """Return which of these, and of what is below them, are kept; a living run's own session is never."""
        own = {run.pid for run in self.runs.values()}
        found = {item.pid: item for item in items if self.kept.get(item.pid) == item.start}
        size = -1
        while size < len(found):
            size = len(found)
            sessions = {item.session for item in found.values()} - own
            found |= {item.pid: item for item in items if item.parent in found or item.session in sessions}
        self.kept = {item.pid: item.start for item in found.values()}
        return set(found)

    def _charge(self, unsigned: list[proc.Stat], *, whole: bool) -> None:
        """Give those without a sign to the runs that were there when they were first seen, or to whom one had that is gone since.

        It is one of these that forked: a chain that hides among runs that come and go is ended with the ones that it came from.
        """
        if not unsigned and not self.strangers:
            return
        before, now = self.strangers, {item.pid: item.start for item in unsigned}
        gone = {pid: stranger for pid, stranger in before.items() if now.get(pid) != stranger[0]}
        inherited = next(iter(gone.values()), (0, frozenset(self.runs)))[1]
        self.strangers = {} if whole else gone
        for pid, start in now.items():
            known = before.get(pid)
            self.strangers[pid] = known if known is not None and known[0] == start else (start, inherited)
            charged = [run for run in (self.runs.get(name) for name in self.strangers[pid][1]) if run is not None]
            alive = [run for run in charged if run.record is None]
            ended = [run for run in self.runs.values() if run.record is not None]
            owner = max(alive or ended, key=lambda run: run.born, default=None)
            if owner is not None:
                owner.family.add(pid)


def _waited_for(pid: int) -> bool:
    """Say whether a child has ended, and wait for it; False also where it cannot be waited for yet, being traced."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def signal_all(pids: set[int], number: signal.Signals) -> None:
    """Signal processes that were just seen; those gone meanwhile do not matter."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def use(run: Run) -> tuple[float, str]:
    """Return the CPU seconds that a run has used, and which limit its whole tree has gone over: `cpu` or `memory`, empty for none.

    What its groups do not count is sampled: whoever has ended between two looks, unwaited for, is in no sample.
    """
    cpu = run.group.cpu() if run.group is not None else None
    counts = run.group is not None and bool(run.group.places.memory)
    memory = 0
    if cpu is None or ("memory" in run.limits and not counts):
        pids = run.group.pids() if run.group is not None else {item.pid for item in proc.descendants({run.pid})}
        sampled, memory = proc.use(pids)
        memory += proc.unmapped(pids) if "memory" in run.limits else 0
        cpu = sampled if cpu is None else cpu
    if cpu > run.limits.get("cpu", cpu):
        return cpu, "cpu"
    over = run.group is not None and run.group.ran_out() if counts else memory > run.limits.get("memory", memory)
    return cpu, "memory" if over else ""


def punch(folder: int, path: str, cap: int) -> None:
    """Free the middle of an output that has grown over its cap: its first and last parts are what people read."""
    try:
        size = os.stat(path, dir_fd=folder).st_size
        if size <= cap:
            return
        out = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return
    head = cap // 2
    libc.fallocate(ctypes.c_int(out), _PUNCH_AND_KEEP_SIZE, ctypes.c_int64(head), ctypes.c_int64(size - cap))
    os.close(out)


def compact(folder: int, path: str, cap: int) -> None:
    """Rewrite an output over its cap as head, a line that says how much was cut, and tail. Raises OSError."""
    size = os.stat(path, dir_fd=folder).st_size
    if size <= cap:
        return
    reading = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        head = os.pread(reading, cap // 2, 0)
        tail = os.pread(reading, cap // 2, size - cap // 2)
    finally:
        os.close(reading)
    cut = size - len(head) - len(tail)
    notice = f"\n[routinectl: {cut} bytes cut here, output is capped at {cap}]\n".encode()
    writing = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        for part in (head, notice, tail):
            os.write(writing, part)
    finally:
        os.close(writing)
    os.rename(path + ".new", path, src_dir_fd=folder, dst_dir_fd=folder)
