"""What a run leaves behind, and how it is ended: its tree while it runs, its orphans afterwards, its surplus output.

An orphan comes to the keeper because the keeper is a subreaper. It belongs to the run whose session it is in, else to
the run that its environment names, else to the last run that was alive at its birth: a process that hides from all
three is stopped when that run has ended. What a run with `leftovers: keep` has left is charged to no other (`Kept`).
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import TYPE_CHECKING

from routinectl.process import proc

if TYPE_CHECKING:
    from routinectl.process.keeper import Run

_PR_SET_CHILD_SUBREAPER = 36
_PUNCH_AND_KEEP_SIZE = 0x02 | 0x01
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make orphans below this process its children instead of init's. Raises OSError."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class Kept:
    """What runs with `leftovers: keep` have left, and what came of it since, as far as it was seen: by pid and start time."""

    def __init__(self) -> None:
        self.alive: dict[int, int] = {}

    def take(self, pids: set[int]) -> None:
        """Take over what an ended run has left."""
        found = (proc.stat(pid) for pid in pids)
        self.alive.update({item.pid: item.start for item in found if item is not None})

    def look(self, items: list[proc.Stat], runs: dict[str, Run]) -> set[int]:
        """Return which of these orphans, and of what is below them, are kept; a living run's own session is never."""
        own = {run.pid for run in runs.values()}
        found = {item.pid: item for item in items if self.alive.get(item.pid) == item.start}
        size = -1
        while size < len(found):
            size = len(found)
            sessions = {item.session for item in found.values()} - own
            found |= {item.pid: item for item in items if item.parent in found or item.session in sessions}
        self.alive = {item.pid: item.start for item in found.values()}
        return set(found)

    def pids(self) -> set[int]:
        """Return those that still live."""
        return {pid for pid, start in self.alive.items() if proc.is_alive(pid, start)}


def assign(runs: dict[str, Run], known: set[int], kept: Kept) -> None:
    """Give every orphan to its run (`run.family`); runs whose leader lives keep theirs too, but are left alone."""
    for run in runs.values():
        run.family.clear()
    if not known and not proc.has_children():
        return
    orphans = proc.children() - known
    if not orphans:
        return
    by_session = {run.pid: run for run in runs.values()}
    by_mark = {run.mark: run for run in runs.values()}
    items = proc.descendants(orphans)
    spared = kept.look(items, runs)
    for item in items:
        if item.state == "Z" or item.pid in spared:
            continue
        owner = by_session.get(item.session) or by_mark.get(proc.run_id_of(item.pid) or "") or _last_alive(runs)
        if owner is not None:
            owner.family.add(item.pid)


def _last_alive(runs: dict[str, Run]) -> Run | None:
    """Return the run that an orphan without a sign is charged to: the one that will end last of those alive now."""
    return max(runs.values(), key=lambda run: (run.record is None, run.born), default=None)


def signal_all(pids: set[int], number: signal.Signals) -> None:
    """Signal processes that were just seen; those gone meanwhile do not matter."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def signal_tree(leader: int, run_id: str, number: signal.Signals, kept: Kept) -> None:
    """Signal a run's whole tree: its session, everything below its leader, and whatever bears its run id.

    An earlier attempt's processes bear that id too: what is kept of it is spared.
    """
    everyone = proc.everybody()
    pids = {item.pid for item in everyone if item.session == leader}
    pids |= {item.pid for item in proc.descendants({leader})}
    own = os.getpid()
    pids |= {item.pid for item in everyone if item.parent == own and proc.run_id_of(item.pid) == run_id}
    pids |= {item.pid for item in proc.descendants(pids)}
    signal_all(pids - {own} - kept.pids(), number)


def over(leader: int, limits: dict[str, int]) -> str:
    """Say which limit the tree of a run has gone over: `cpu` (seconds) or `memory` (bytes); empty for none."""
    if not limits.keys() & {"cpu", "memory"}:
        return ""
    cpu, memory = proc.use({item.pid for item in proc.descendants({leader})})
    if cpu > limits.get("cpu", cpu):
        return "cpu"
    return "memory" if memory > limits.get("memory", memory) else ""


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
    _libc.fallocate(ctypes.c_int(out), _PUNCH_AND_KEEP_SIZE, ctypes.c_int64(head), ctypes.c_int64(size - cap))
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
