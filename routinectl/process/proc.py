"""What /proc says about processes: who is a process's parent and session, when it started, what it was given.

Linux only. Where /proc cannot be read (the process is gone, or another user's), the answer is None.
"""

from __future__ import annotations

import os
from typing import NamedTuple


class Stat(NamedTuple):
    """The parts of /proc/PID/stat that identify a process and its family. `start` counts clock ticks since boot."""

    pid: int
    state: str
    parent: int
    session: int
    start: int


def stat(pid: int) -> Stat | None:
    """Return what /proc says about a process."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(fd, 1024)
    except OSError:
        return None
    finally:
        os.close(fd)
    parts = text[text.rfind(b")") + 2 :].split()  # the name before it may hold blanks and brackets
    return Stat(pid, parts[0].decode(), int(parts[1]), int(parts[3]), int(parts[19]))


def bounds(pid: int) -> tuple[str, ...]:
    """Return what a process was put into and hands on to all that it starts: what a service's hardening is made of.

    By what it says, not by its namespaces: those of a service are new each time it is started. Empty where there is no /proc.
    """
    try:
        with open(f"/proc/{pid}/status") as file:
            said = [line for line in file if line.startswith(("CapBnd:", "NoNewPrivs:", "Seccomp_filters:"))]
        with open(f"/proc/{pid}/mountinfo", errors="surrogateescape") as file:
            # What of its file system, where, and how. The folder of a service that ended is another one than that of the same, started anew.
            mounts = sorted(" ".join(line.replace("//deleted ", " ", 1).split()[3:6]) for line in file)
        with open(f"/proc/{pid}/uid_map") as file:
            return (*said, *mounts, file.read())
    except OSError:
        return ()


def use(pids: set[int]) -> tuple[float, int]:
    """Return the CPU seconds of these processes and of the children they have waited for, and the bytes of memory they hold now."""
    cpu, memory = 0, 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                text = file.read(1024)
        except OSError:
            continue
        parts = text[text.rfind(b")") + 2 :].split()
        cpu += sum(map(int, parts[11:15]))
        memory += int(parts[21])
    return cpu / os.sysconf("SC_CLK_TCK"), memory * os.sysconf("SC_PAGE_SIZE")


def unmapped(pids: set[int]) -> int:
    """Return the bytes of memory that these processes hold in memfds and in a /tmp and /dev/shm of their own, and have not mapped.

    As far as can be seen: a memfd that only waits in a socket is not.
    """
    files: dict[tuple[int, int], int] = {}
    mounts: dict[int, int] = {}
    mapped = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", "rb") as file:
                mapped += sum(int(line.split()[1]) << 10 for line in file if line.startswith(b"RssShmem:"))
            for entry in os.scandir(f"/proc/{pid}/fd"):
                if os.readlink(entry.path).startswith("/memfd:"):
                    found = os.stat(entry.path)
                    files[found.st_dev, found.st_ino] = found.st_blocks * 512
            for path in ("/tmp", "/dev/shm"):  # noqa: S108 - looked at, not used
                device = os.stat(f"/proc/{pid}/root{path}").st_dev
                if device != os.stat(path).st_dev and device != os.stat(f"/proc/{pid}/root").st_dev:
                    space = os.statvfs(f"/proc/{pid}/root{path}")
                    mounts[device] = (space.f_blocks - space.f_bfree) * space.f_frsize
        except OSError:
            continue
    return max(sum(files.values()) + sum(mounts.values()) - mapped, 0)


def everybody() -> list[Stat]:
    """Return all processes that can be seen."""
    found = (stat(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [item for item in found if item is not None]


def has_children() -> bool:
    """Say whether this process has any child at all, without reaping it."""
    try:
        os.waitid(os.P_ALL, 0, os.WNOHANG | os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def children() -> set[int]:
    """Return the pids of this process's children, adopted orphans included.

    Where the kernel keeps no list of children (CONFIG_PROC_CHILDREN), everybody is asked for his parent: 10 us each.
    """
    try:
        pids: set[int] = set()
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children", "rb") as file:
                pids.update(map(int, file.read().split()))
        return pids
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        own = os.getpid()
        return {item.pid for item in everybody() if item.parent == own}


def descendants(roots: set[int]) -> list[Stat]:
    """Return the processes below `roots`, the roots included."""
    family: dict[int, list[Stat]] = {}
    everyone = everybody()
    for item in everyone:
        family.setdefault(item.parent, []).append(item)
    found = {item.pid: item for item in everyone if item.pid in roots}
    waiting = list(found)
    while waiting:
        for child in family.get(waiting.pop(), ()):
            if child.pid not in found:
                found[child.pid] = child
                waiting.append(child.pid)
    return list(found.values())


def run_id_of(pid: int) -> str | None:
    """Return the ROUTINE_RUN_ID a process was started with."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
    except OSError:
        return None
    for item in environ.split(b"\0"):
        if item.startswith(b"ROUTINE_RUN_ID="):
            return item[15:].decode(errors="replace")
    return None


def bears(run_id: str) -> bool:
    """Say whether any process was started with this ROUTINE_RUN_ID."""
    return any(run_id_of(item.pid) == run_id for item in everybody() if item.state not in "ZX")


def is_below(program: str) -> bool:
    """Say whether a process whose command line names `program` is among this one's ancestors."""
    parent = os.getppid()
    while parent > 1:
        try:
            with open(f"/proc/{parent}/cmdline", "rb") as file:
                if program.encode() in file.read():
                    return True
        except OSError:
            return False
        found = stat(parent)
        parent = found.parent if found is not None else 0
    return False


def boot_id() -> str:
    """Return the id of this boot of the machine, or an empty text where the kernel has none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().decode().strip()
    except OSError:
        return ""


def is_alive(pid: int, start: int) -> bool:
    """Say whether exactly this process still lives (a zombie does not)."""
    found = stat(pid)
    return found is not None and found.start == start and found.state not in "ZX"
