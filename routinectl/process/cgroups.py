"""Control groups: by what a run's processes are killed, counted and capped, each from whichever hierarchy has it.

Killing and CPU time come from a v2 hierarchy, where both work without any controller (CPU time else from v1's cpuacct);
memory and processes from wherever their controllers are, v1 included (v1's memory holds tmpfs and memfds as v2's does).
Groups are made below the one this process is in, so that what caps it caps its runs too, and below no other. Under systemd
the keeper asks once for a delegated scope of its own, unless its service is delegated and has a sub-group for `serve`
(DelegateSubgroup=, systemd 254). Where there is nothing of all this (an ordinary user, a container with a read-only /sys),
runs are watched by samples: a lower bound.

A folder of v2 that holds processes cannot hand controllers on. So in its own scope the keeper moves into a leaf (`_LEAF`);
the folder of a service is left as it is where systemd puts `serve` itself into it: it could not start it there again.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping
from typing import NamedTuple

FUNCTIONS = ("cpu", "memory", "processes")
_CONTROLLERS = {"cpu": "cpuacct", "memory": "memory", "processes": "pids"}
_LEAF = "routinectl-keeper"
_SYSTEMD, _BUSCTL = "/run/systemd/system", "/usr/bin/busctl"
_SCOPE_SECONDS = 2.0  # how long systemd may take to move the keeper
_DELEGATED = ("trusted.delegate", "user.delegate")  # how systemd marks what it has given away


class Inexact(Exception):
    """What has to be counted exactly can only be sampled here; the text says why."""


class Places(NamedTuple):
    """Folders below which groups can be made, by function; empty where there is none. `v2` kills."""

    v2: str = ""
    cpu: str = ""
    memory: str = ""
    processes: str = ""

    def way(self, function: str) -> str:
        """Say how a function is measured or kept here: `cgroup`, else by samples, or for processes by their limit for a user."""
        if getattr(self, function):
            return "cgroup"
        return "sampled" if function != "processes" else "rlimit"


def find(mounts: str = "/proc/self/mountinfo", groups: str = "/proc/self/cgroup") -> Places:
    """Return what can be used as it is, without changing anything."""
    own = _own(mounts, groups)
    v2 = _base(own.get("", ""))
    if not v2 or not _may(v2) or not os.access(f"{v2}/cgroup.procs", os.W_OK):
        v2 = ""
    handed = _words(f"{v2}/cgroup.subtree_control") if v2 else []
    found = {}
    for function, controller in _CONTROLLERS.items():
        v1 = own.get(controller, "")
        counts = v2 if function == "cpu" or controller in handed else ""
        found[function] = counts or (v1 if v1 and _may(v1) else "")
    return Places(v2, **found)


def look() -> Places:
    """Return what a keeper started from here would be able to use: as `find`, with what `acquire` would come by."""
    found = find()
    own = _own("/proc/self/mountinfo", "/proc/self/cgroup").get("", "")
    base = _base(own)
    if not base:
        return found
    if base != own and _is_delegated(base):
        offers = _words(f"{base}/cgroup.controllers")
    elif _can_ask():
        uid = os.geteuid()
        base = own.partition("/user.slice")[0].partition("/system.slice")[0]
        if uid:
            base += f"/user.slice/user-{uid}.slice/user@{uid}.service"
        offers = _words(f"{base}/cgroup.controllers")
    else:
        return found
    more = {function: found.v2 or base for function, name in _CONTROLLERS.items() if name in offers and not getattr(found, function)}
    return found._replace(**{"v2": found.v2 or base, "cpu": found.cpu or base, **more})


def acquire(name: str) -> Places:
    """Return what this process can use, after asking systemd for a scope of this name and handing controllers on."""
    own = _own("/proc/self/mountinfo", "/proc/self/cgroup").get("", "")
    base = _base(own)
    if base and not (base != own and _is_delegated(base)) and _can_ask():
        _ask_for_scope(name, _slice_of(base))
        base = _base(_own("/proc/self/mountinfo", "/proc/self/cgroup").get("", ""))
    if os.path.basename(base) == name:
        with contextlib.suppress(OSError):
            os.makedirs(f"{base}/{_LEAF}", exist_ok=True)
            for pid in _words(f"{base}/cgroup.procs"):
                _put(f"{base}/{_LEAF}/cgroup.procs", pid)
    for controller in (_CONTROLLERS["memory"], _CONTROLLERS["processes"]):
        if base and controller in _words(f"{base}/cgroup.controllers"):
            with contextlib.suppress(OSError):  # who is no root and has others beside it may not: EBUSY
                _put(f"{base}/cgroup.subtree_control", f"+{controller}")
    return find()


class Doors(NamedTuple):
    """Descriptors by which a run's first process enters its groups; -1 is none.

    It is born in `folder` (v2), where the kernel can do that (clone3, 5.7), else it writes `0` to `procs`; and to each of `tasks`.
    """

    folder: int = -1
    procs: int = -1
    tasks: tuple[int, ...] = ()

    def close(self) -> None:
        """Close them."""
        for fd in (self.folder, self.procs, *self.tasks):
            if fd >= 0:
                os.close(fd)


NO_DOORS = Doors()


class Group:
    """The groups of one run. Its first process enters them by itself, before it does anything else."""

    def __init__(self, places: Places, name: str, limits: Mapping[str, int]) -> None:
        """Make them: for killing and CPU time always, for memory and processes where these are limited. Raises OSError."""
        self.places = places
        wanted = {places.v2, places.cpu, *(getattr(places, what) for what in ("memory", "processes") if what in limits)} - {""}
        self.folders = {place: f"{place}/{name}" for place in sorted(wanted)}
        try:
            for folder in self.folders.values():
                os.mkdir(folder)
            self._cap(limits)
        except OSError:
            self.remove()
            raise

    def _cap(self, limits: Mapping[str, int]) -> None:
        memory, processes = (self.folders.get(getattr(self.places, what), "") for what in ("memory", "processes"))
        if memory and "memory" in limits:
            v2 = self.places.memory == self.places.v2
            # Swap is memory too; where the kernel does not count it, it cannot be capped.
            more = (("memory.swap.max", 0), ("memory.oom.group", 1)) if v2 else (("memory.memsw.limit_in_bytes", limits["memory"]),)
            _put(f"{memory}/{'memory.max' if v2 else 'memory.limit_in_bytes'}", str(limits["memory"]))
            for file, value in more:
                with contextlib.suppress(OSError):
                    _put(f"{memory}/{file}", str(value))
        if processes and "processes" in limits:
            _put(f"{processes}/pids.max", str(limits["processes"]))

    def doors(self) -> Doors:
        """Open the ways into it. Raises OSError."""
        found = NO_DOORS
        try:
            for place, folder in self.folders.items():
                if place != self.places.v2:
                    # v1's `tasks` moves one thread, without waiting until all processors have seen it, as cgroup.procs may: 14 ms.
                    found = found._replace(tasks=(*found.tasks, os.open(f"{folder}/tasks", os.O_WRONLY | os.O_CLOEXEC)))
                    continue
                found = found._replace(folder=os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                found = found._replace(procs=os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            found.close()
            raise
        return found

    def pids(self) -> set[int]:
        """Return the processes in it; who is dead and only waited for is not among them."""
        folder = self.folders.get(self.places.v2) or next(iter(self.folders.values()))
        pids = _words(f"{folder}/cgroup.procs")
        if not pids and _field(f"{folder}/cgroup.events", "populated"):  # it has made groups of its own in there
            pids = [pid for below, _, _ in os.walk(folder) for pid in _words(f"{below}/cgroup.procs")]
        return set(map(int, pids))

    def kill(self) -> bool:
        """Kill all of it at once, however fast it forks; return whether that could be done."""
        try:
            _put(f"{self.folders[self.places.v2]}/cgroup.kill", "1")
        except (OSError, KeyError):  # a kernel before 5.14, or v1 alone
            return False
        return True

    def cpu(self) -> float | None:
        """Return the CPU seconds of all that was ever in it; None where nothing counts them."""
        folder = self.folders.get(self.places.cpu)
        if folder is None:
            return None
        if self.places.cpu == self.places.v2:
            return _field(f"{folder}/cpu.stat", "usage_usec") / 1e6
        return int((_words(f"{folder}/cpuacct.usage") or ["0"])[0]) / 1e9

    def ran_out(self) -> bool:
        """Say whether anything in it was killed because the memory it may have was used up."""
        folder = self.folders.get(self.places.memory)
        file = "memory.events" if self.places.memory == self.places.v2 else "memory.oom_control"
        return folder is not None and _field(f"{folder}/{file}", "oom_kill") > 0

    def remove(self) -> bool:
        """Remove it; return False while somebody is still in there."""
        gone = [_removed(folder) for folder in self.folders.values()]
        return all(gone)


class Groups:
    """The groups of a keeper. They are named after its workspace, whose next keeper finds what this one may leave."""

    def __init__(self, mark: str) -> None:
        self.prefix = f"routinectl-{mark}-"
        self.places: Places | None = None
        self.count = 0
        self.left: set[str] = set()
        for place in set(find()) - {""}:
            with contextlib.suppress(OSError):
                self.left |= {f"{place}/{name}" for name in os.listdir(place) if name.startswith(self.prefix)}
        self.sweep()

    def make(self, limits: Mapping[str, int]) -> Group | None:
        """Make the groups of one run; None where there can be none."""
        if self.places is None:
            self.places = acquire(f"{self.prefix}{os.getpid()}.scope")
        self.sweep()
        if not any(self.places):
            return None
        self.count += 1
        try:
            made = Group(self.places, f"{self.prefix}{os.getpid()}-{self.count}", limits)
        except OSError:
            return None
        return made if made.folders else None  # memory and processes alone can be had, and neither is limited

    def retire(self, group: Group) -> None:
        """Remove the groups of a run that is over; what it keeps alive keeps them too, for now."""
        if not group.remove():
            self.left.update(group.folders.values())

    def sweep(self) -> None:
        """Remove what could not be removed before."""
        self.left = {folder for folder in self.left if not _removed(folder)}


def _own(mounts: str, groups: str) -> dict[str, str]:
    """Return the folder of this process in each hierarchy, by controller; v2's has the empty name."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            lines = [words for words in map(str.split, file) if "-" in words]
        with open(groups, encoding="utf-8", errors="surrogateescape") as file:
            mine = {name: path for line in file for _, names, path in [line.rstrip("\n").split(":", 2)] for name in names.split(",")}
    except (OSError, ValueError):
        return {}
    found = {}
    for words in lines:
        kind, _, options = words[words.index("-") + 1 :][:3]
        names = [""] if kind == "cgroup2" else options.split(",") if kind == "cgroup" else []
        for name in names:
            root, path = words[3].rstrip("/"), mine.get(name, "")
            if path == root or path.startswith(f"{root}/"):
                folder = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[4])
                found[name] = (folder + path.removeprefix(root)).rstrip("/")
    return found


def _base(own: str) -> str:
    """Return where groups of v2 are made: the folder that was delegated, whose leaf this process may be in, else its own."""
    above = os.path.dirname(own)
    if not os.path.isdir(own):
        return ""  # another file system covers it
    return above if os.path.basename(own) == _LEAF or (_is_delegated(above) and not _is_delegated(own)) else own


def _slice_of(folder: str) -> str:
    """Return the name of the slice that a folder is in, empty where it is in none."""
    return next((part for part in reversed(folder.split("/")) if part.endswith(".slice")), "")


def _is_delegated(folder: str) -> bool:
    for name in _DELEGATED:
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return os.access(folder, os.W_OK)
    return False


def _may(folder: str) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _can_ask() -> bool:
    bus = "/run/dbus/system_bus_socket" if os.geteuid() == 0 else f"/run/user/{os.geteuid()}/bus"
    return os.path.isdir(_SYSTEMD) and os.path.exists(bus) and os.access(_BUSCTL, os.X_OK)


def _ask_for_scope(name: str, above: str) -> None:
    """Ask systemd to move this process into a scope that is its own; nothing happens where it refuses. Call it single-threaded only.

    It stays in the slice that it is in, whose limits are for it, where that is the system manager's.
    """
    uid, pid = os.geteuid(), os.getpid()
    slices = ["Slice", "s", above] if uid == 0 and above else []
    words = [_BUSCTL, *(["--user"] if uid else []), "--quiet", f"--timeout={_SCOPE_SECONDS:.0f}", "call", "org.freedesktop.systemd1",
             "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail",
             str(5 if slices else 4), *slices, "Delegate", "b", "true", "PIDs", "au", "1", str(pid), "CollectMode", "s", "inactive-or-failed",
             "Description", "s", "the runs of a routinectl workspace", "0"]  # fmt: skip
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
    env = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": f"/run/user/{uid}"}
    with contextlib.suppress(OSError):
        _, status = os.waitpid(os.posix_spawn(_BUSCTL, words, env, file_actions=null, setsigmask=[]), 0)
        ends = time.monotonic() + _SCOPE_SECONDS
        while not status and time.monotonic() < ends:  # it is answered before it is done
            with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
                if name in file.read():
                    return
            time.sleep(0.005)


def _words(path: str) -> list[str]:
    """Return the words of a file, none where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read().decode(errors="replace").split()
    except OSError:
        return []


def _field(path: str, name: str) -> int:
    words = _words(path)
    return int(words[words.index(name) + 1]) if name in words else 0


def _put(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _removed(folder: str) -> bool:
    """Remove a group, and those that a run has made in it; say whether it is gone."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        below = [_removed(path) for path in _below(folder)]
        return bool(below) and all(below) and _removed(folder)
    return True


def _below(folder: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
