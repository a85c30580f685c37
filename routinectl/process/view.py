"""What a confined run sees: a root of its own, built from nothing by the run's first process as the run starts.

`binds` of the specification are (source, target, how, layer), the outer ones first. Sources are opened part by part without following
a link, so that a folder which an earlier run could write cannot lead elsewhere. How a source is shown:

`plain`   read-only, whole, unlooked at: the system, programs, sealed copies, single files.
`read`    read-only, without what nobody confined may see (`hidden`). Where something is left out, or could come to be, the folder's
          entries are bound one by one and the folder itself never is: a name that is made a moment later does not exist inside.
          Sockets, FIFOs and devices are left out too: what is behind them answers in a read-only folder as well.
`own`     written as it is, and looked at by whoever made it: a copy.
`direct`  written as it is: a folder that only runs write. Where it holds a repository, which is somebody's, it is `kept`.
`kept`    written into a layer of the run's own, over what is there. A folder is an overlay, a single file a copy.

`layer` is the name of a folder in `written`, for the last two: when the run has ended, `process/leavings.py` looks at what is there.

Everything is mounted without set-user-id and devices. `/proc` is of the run's own processes and read-only (the root user could
set the kernel's parameters there without any capability), and what only root may read there is covered; `/run` and `/tmp` are empty, because a socket in a read-only folder
still answers. `base` is a folder made anew for the workspace where that is under `/tmp`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import stat
import struct
from typing import Any

from routinectl.core import repositories
from routinectl.process.kernel import checked, libc

PLAIN, READ, OWN, DIRECT, KEPT = "plain", "read", "own", "direct", "kept"
READING = (PLAIN, READ)
# In a layer: what was written, to a folder or a file; what that file was before; since when, and (in it) the inode that is written
# over; and, where something was written as it is, that it was, and (in it) where the links led that were there. A view that was never finished has none of the first two either: what
# a person has must not be taken for what only runs write.
UPPER, FILE, COPIED, BEGAN, AS_IT_IS = "upper", "file", "copied", "began", "as_it_is"
SECONDS = 30.0  # that making a view may take
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_SLAVE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 19
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC = 1, 2, 4, 8
_MNT_DETACH = 2
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_MOUNT_SETATTR, _AT_RECURSIVE = 442, 0x8000
_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_SHM_BYTES = 64 << 20  # of /dev/shm at the most
_MOST_MOUNTS = 20_000
_MOST_ENTRIES = 100_000  # of a folder that only runs write
_DEEPEST = 100  # folders in folders that are looked through, each with a descriptor
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALL = "mode=0755,size=4k"
_KEYS = ("keys", "key-users")  # in /proc: what keys the user has, which belong to no namespace
_COUNTED = {  # of these the user has so many on the whole machine, and a run that takes all leaves none to anybody else
    "max_user_namespaces": 0, "max_inotify_instances": 16, "max_inotify_watches": 1 << 16, "max_fanotify_groups": 4, "max_fanotify_marks": 1 << 12,
}  # fmt: skip
Spec = dict[str, Any]
# What of a folder is bound: None is all of it as it is; else each entry's own, where a link is made anew.
Shown = dict[str, "Shown | str | None"]


def build(spec: Spec) -> None:
    """Make the new root under /tmp, beside the old one, and leave the old one for good. Raises OSError."""
    links = {target: _links(source) for source, target, how, _ in spec["binds"] if how == DIRECT}
    _mount("", "/", "", _MS_SLAVE | _MS_REC)
    _mount("tmpfs", "/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755")
    os.mkdir("/tmp/old")
    os.chdir("/tmp")
    _pivot_root("/tmp", "/tmp/old")
    os.chdir("/")
    os.mkdir("/new", 0o755)
    _mount("tmpfs", "/new", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755")
    for path in ("/tmp", "/run", "/var", "/etc", "/dev", "/proc"):
        os.mkdir(f"/new{path}")
    _mount("tmpfs", "/new/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=1777,size={spec['tmp']}")
    os.symlink("/tmp", "/new/var/tmp")
    for path, target in spec["links"]:
        os.symlink(target, f"/new{path}")
    if spec["base"]:
        os.makedirs(f"/new{spec['base']}")
        _mount("tmpfs", f"/new{spec['base']}", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755")
    view = _View(spec, links)
    for bind in spec["binds"]:
        view.show(*bind)
    _devices(min(spec["tmp"], _SHM_BYTES))
    _mount("proc", "/new/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    for name, most in _COUNTED.items():
        if name in os.listdir("/new/proc/sys/user"):  # an older kernel counts less
            with open(f"/new/proc/sys/user/{name}", "wb", buffering=0) as file:
                file.write(b"%d" % most)
    view.close_processes()
    for path in ("/proc", *view.anew, *filter(None, [spec["base"]]), ""):
        flags = _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | (_MS_NOEXEC if path == "/proc" else 0)
        _mount("", f"/new{path}", "", flags)
    os.chdir("/new")
    _pivot_root(".", ".")
    checked(libc.umount2(b".", _MNT_DETACH), "leaving the old root")
    os.chdir("/")


def walk(top: str, path: str, *, make: bool = False) -> int:
    """Open a path part by part from `top` without following any link; `make` makes folders that are missing. Raises OSError."""
    fd = os.open(top, _PATH)
    try:
        for part in filter(None, path.split("/")):
            try:
                below = os.open(part, _PATH, dir_fd=fd)
            except FileNotFoundError:
                if not make:
                    raise
                os.mkdir(part, dir_fd=fd)
                below = os.open(part, _PATH, dir_fd=fd)
            os.close(fd)
            fd = below
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                raise OSError(errno.ELOOP, "a link is on the way, which a confined run may not be led by", path)
    except OSError as error:
        os.close(fd)
        raise OSError(error.errno, error.strerror, path) from None
    return fd


class Hidden:
    """What nobody confined may see: names wherever they are, and places, whose parts may be `*`, any one name."""

    def __init__(self, places: list[str], names: list[str]) -> None:
        self._places = [place.split("/")[1:] for place in places]
        self._names = frozenset(names)

    def has(self, path: str) -> bool:
        """Say whether exactly this path is hidden."""
        parts = path.split("/")[1:]
        return parts[-1].lower() in self._names or any(len(parts) == len(place) and _fits(parts, place) for place in self._places)

    def covers(self, path: str, granted: str) -> bool:
        """Say whether a path is hidden from who was granted one above it: what was granted itself never is."""
        parts = path[len(granted) :].split("/")[1:]
        return any(self.has(granted + "".join(f"/{part}" for part in parts[:count])) for count in range(1, len(parts) + 1))

    def may_be_in(self, folder: str) -> bool:
        """Say whether a hidden place is below a folder, there or not."""
        parts = folder.split("/")[1:]
        return any(len(parts) < len(place) and _fits(parts, place) for place in self._places)


def _fits(parts: list[str], place: list[str]) -> bool:
    return all(wanted in ("*", part) for part, wanted in zip(parts, place, strict=False))


class _View:
    """The mounts of one run."""

    def __init__(self, spec: Spec, links: dict[str, dict[str, str]]) -> None:
        self._links = links
        self._hidden = Hidden(*spec["hidden"])
        self._own = {bind[1] for bind in spec["binds"]}  # these are shown by themselves, whatever is around them
        self._above = _above(self._own)
        self._written: str = spec["written"]
        self._base: str = spec["base"]
        self._makes: str = spec["makes"]
        self._mounts = 0
        self.anew: list[str] = []  # folders made over what was mounted before, still to be made read-only

    def show(self, source: str, target: str, how: str, layer: str) -> None:
        """Show one bind. Raises OSError."""
        make = how in (DIRECT, KEPT) and bool(self._makes) and source.startswith(f"{self._makes}/")
        fd = walk("/old", source, make=make)
        try:
            if how in READING and (shown := self._look(fd, target, hiding=how == READ)) is not None:
                if target != self._base and os.path.lexists(f"/new{target}"):  # what is made here must not be made in what is mounted there
                    _mount("tmpfs", f"/new{target}", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755")
                    self.anew.append(target)
                self._show(fd, target, shown)
            elif how in (DIRECT, KEPT):
                self._write(fd, target, how, layer)
            else:
                self._bind(fd, target, writable=how == OWN)
        finally:
            os.close(fd)

    def _write(self, fd: int, target: str, how: str, layer: str) -> None:
        """Show what may be written, as the first process of the run to show it has decided. Raises OSError."""
        at = walk("/old", f"{self._written}/{layer}", make=True)
        try:
            if not _is_there(at, BEGAN):
                _put(at, BEGAN, str(os.fstat(fd).st_ino))
                if how == DIRECT and _holds_repository(fd) >= 0:
                    _put(at, AS_IT_IS, json.dumps(self._links[target]))
            if _is_there(at, AS_IT_IS):
                self._bind(fd, target, writable=True)
            elif stat.S_ISDIR(os.fstat(fd).st_mode):
                self._overlay(fd, target, at)
            else:
                self._copy(fd, target, at)
        finally:
            os.close(at)

    def close_processes(self) -> None:
        """Cover what of /proc only the root user of the machine may read, who may be whom the run is, and the names of the user's keys."""
        for entry in os.scandir("/new/proc"):
            if not entry.name.isdigit() and entry.is_file(follow_symlinks=False):
                found = entry.stat(follow_symlinks=False)
                if entry.name in _KEYS or (found.st_uid == os.geteuid() and not found.st_mode & 0o004):
                    self._cover(f"/proc/{entry.name}")

    # -- what is left out

    def _look(self, at: int, path: str, depth: int = 0, *, hiding: bool) -> Shown | None:
        """Return what of a folder may be shown; None is all of it. Raises OSError."""
        if not (stat.S_ISDIR(os.fstat(at).st_mode) and (hiding or path in self._above)):
            return None
        _refuse_depth(path, depth)
        shown: Shown = {}
        entries = _entries(at)
        # Where a folder is bound whole, there must be a place in it for each mount of its own.
        whole = self._above.get(path, set()) <= {name for name, _ in entries} and not (hiding and self._hidden.may_be_in(path))
        for name, kind in entries:
            place = f"{path}/{name}"
            if place in self._own:
                shown[name] = None
            elif hiding and (kind == "" or self._hidden.has(place)):
                whole = False
            elif kind == "link":
                shown[name] = ""
            elif kind != "folder":
                shown[name] = None
            elif (below := _opened(at, name)) >= 0:
                try:
                    shown[name] = found = self._look(below, place, depth + 1, hiding=hiding)
                finally:
                    os.close(below)
                whole = whole and found is None
        return None if whole else shown

    def _show(self, at: int, path: str, shown: Shown) -> None:
        """Make a folder, and bind in it what is shown of it. Raises OSError."""
        os.makedirs(f"/new{path}", exist_ok=True)
        for name, what in shown.items():
            place = f"{path}/{name}"
            if what == "":
                with contextlib.suppress(OSError):  # it is gone, or no link any more
                    os.symlink(os.readlink(name, dir_fd=at), f"/new{place}")
            elif place not in self._own and (fd := _opened(at, name)) >= 0:
                try:
                    mode = os.fstat(fd).st_mode
                    if isinstance(what, dict) and stat.S_ISDIR(mode):
                        self._show(fd, place, what)
                    elif stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # else it has become something else meanwhile
                        with contextlib.suppress(FileNotFoundError):  # what is gone since it was opened cannot be bound
                            self._bind(fd, place)
                finally:
                    os.close(fd)

    # -- mounting

    def _bind(self, fd: int, target: str, *, writable: bool = False) -> None:
        self._count(target)
        _place(target, fd)
        _mount(f"/old/proc/self/fd/{fd}", f"/new{target}", "", _MS_BIND | _MS_REC)
        _set_attributes(f"/new{target}", (0 if writable else _ATTR_RDONLY) | _ATTR_NOSUID | _ATTR_NODEV)

    def _count(self, target: str) -> None:
        self._mounts += 1
        if self._mounts > _MOST_MOUNTS:
            raise OSError(errno.E2BIG, f"more than {_MOST_MOUNTS} entries would be bound one by one; name a smaller folder", target)

    def _overlay(self, fd: int, target: str, layer: int) -> None:
        hidden = list(self._hidden_in(fd, target))
        if not _is_there(layer, UPPER):
            os.mkdir(UPPER, 0o700, dir_fd=layer)
            os.chmod(f"/old/proc/self/fd/{layer}/{UPPER}", stat.S_IMODE(os.fstat(fd).st_mode) & 0o777)
            os.mkdir("work", 0o700, dir_fd=layer)
        upper, work = os.open(UPPER, _PATH, dir_fd=layer), os.open("work", _PATH, dir_fd=layer)
        _place(target, fd)
        places = ",".join(f"{name}dir=/old/proc/self/fd/{at}" for name, at in (("lower", fd), ("upper", upper), ("work", work)))
        try:
            _mount("overlay", f"/new{target}", "overlay", _MS_NOSUID | _MS_NODEV, f"{places},userxattr")
        except OSError as error:
            why = f"no overlay can be made here, in which what a run writes is kept until it has ended ({os.strerror(error.errno or 0)})"
            raise OSError(error.errno, why, target) from None
        finally:
            os.close(upper)
            os.close(work)
        for path in hidden:
            self._cover(path)

    def _hidden_in(self, at: int, path: str, depth: int = 0) -> list[str]:
        """Return what is hidden in a folder that is not bound one by one: a repository that is no `.git` of another as well."""
        _refuse_depth(path, depth)
        found = []
        entries = _entries(at)
        if depth and repositories.is_bare({name for name, _ in entries}):
            return [path]
        for name, kind in entries:
            if self._hidden.has(f"{path}/{name}"):
                found.append(f"{path}/{name}")
            elif kind == "folder" and (below := _opened(at, name)) >= 0:
                try:
                    found += self._hidden_in(below, f"{path}/{name}", depth + 1)
                finally:
                    os.close(below)
        return found

    def _cover(self, path: str) -> None:
        """Put something empty over a path that is there. Raises OSError."""
        self._count(path)
        fd = walk("/new", path)
        place = f"/old/proc/self/fd/{fd}"
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                _mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_RDONLY, _SMALL)
            else:
                _mount("/old/dev/null", place, "", _MS_BIND)  # without devices there, it cannot even be opened
                _set_attributes(f"/new{path}", _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV)
        finally:
            os.close(fd)

    def _copy(self, fd: int, target: str, layer: int) -> None:
        if not _is_there(layer, FILE):
            source = os.open(f"/old/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            copy = os.open("copying", os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=layer)
            found = os.fstat(source)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is neither a folder nor a regular file", target)
            while data := os.read(source, 1 << 20):
                while data:
                    data = data[os.write(copy, data) :]
            os.fchmod(copy, stat.S_IMODE(found.st_mode) & 0o777)
            os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
            _put(layer, COPIED, state_of(os.fstat(copy)))
            os.close(source)
            os.close(copy)
            os.rename("copying", FILE, src_dir_fd=layer, dst_dir_fd=layer)  # a part of a copy is never taken for what a run wrote
        copied = os.open(FILE, _PATH, dir_fd=layer)
        self._bind(copied, target, writable=True)
        os.close(copied)


def _links(top: str) -> dict[str, str]:
    """Return the links below a folder, each with where it leads; of one that holds too much, those that were found."""
    found: dict[str, str] = {}
    waiting, count = [top], 0
    while waiting and count <= _MOST_ENTRIES:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                count += 1
                if entry.is_symlink():
                    found[entry.path] = os.path.realpath(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return found


def _holds_repository(at: int, depth: int = 0, count: int = 0) -> int:
    """Return -1 where anything in a folder is, or looks like, a repository, or there is too much to say, else how many entries there are.

    What is too deep holds none that counts: the folder is moved aside at the end.
    """
    entries = _entries(at)
    count += len(entries)
    if count > _MOST_ENTRIES or repositories.signs({name for name, _ in entries}):
        return -1
    for name, kind in entries:
        if kind == "folder" and depth < _DEEPEST and (below := _opened(at, name)) >= 0:
            try:
                count = _holds_repository(below, depth + 1, count)
            finally:
                os.close(below)
            if count < 0:
                break
    return count


def _above(paths: set[str]) -> dict[str, set[str]]:
    """Return every folder above these paths, with the names in it that lead to them."""
    found: dict[str, set[str]] = {}
    for path in paths:
        parts = path.split("/")[1:]
        for depth, name in enumerate(parts):
            found.setdefault("/" + "/".join(parts[:depth]), set()).add(name)
    return found


def _is_there(at: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _put(at: int, name: str, text: str) -> None:
    fd = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=at)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def state_of(found: os.stat_result) -> str:
    """Return what of a file changes with it, as far as its owner does not hide that."""
    return f"{found.st_size} {found.st_mtime_ns} {stat.S_IMODE(found.st_mode):o}"


def _refuse_depth(path: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise OSError(errno.ELOOP, f"over {_DEEPEST} folders in folders, which are not looked through", f"{path[:200]}...")


def _opened(at: int, name: str) -> int:
    """Open an entry that was listed a moment ago; -1 where it is gone: others work in these folders. Raises OSError."""
    try:
        return os.open(name, _PATH, dir_fd=at)
    except FileNotFoundError:
        return -1


def _entries(at: int) -> list[tuple[str, str]]:
    """Return the names in a folder with what each is: folder, file, link, or nothing for all else. One that may not be read has none."""
    try:
        fd = os.open(f"/old/proc/self/fd/{at}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (PermissionError, NotADirectoryError):  # or it is no folder any more
        return []
    try:
        with os.scandir(fd) as entries:
            return [(entry.name, _kind(entry)) for entry in entries]
    finally:
        os.close(fd)


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else ""


def _place(target: str, fd: int) -> None:
    """Make where something is mounted, unless it is there already."""
    place = f"/new{target}"
    if os.path.lexists(place):
        return
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.makedirs(place, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))


def _devices(size: int) -> None:
    """Bind the devices that every program knows, read-only: they can be written to, and no attribute of the host's inode can be set.

    `size` is of /dev/shm, in bytes.
    """
    for name in _DEVICES:
        os.close(os.open(f"/new/dev/{name}", os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(f"/old/dev/{name}", f"/new/dev/{name}", "", _MS_BIND)
        _set_attributes(f"/new/dev/{name}", _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NOEXEC)
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"/new/dev/{name}")
    os.mkdir("/new/dev/shm")
    _mount("tmpfs", "/new/dev/shm", "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=1777,size={size}")


def _set_attributes(place: str, attributes: int) -> None:
    """Set attributes of a mount and of all below it. Raises OSError."""
    packed = struct.pack("QQQQ", attributes, 0, 0, 0)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    result = libc.syscall(_SYS_MOUNT_SETATTR, -100, place.encode(errors="surrogateescape"), _AT_RECURSIVE, buffer, ctypes.c_size_t(32))
    checked(result, f"mounting {place.removeprefix('/new')}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = [word.encode(errors="surrogateescape") if word else None for word in (source, target, kind)]
    what = f"mounting {target.removeprefix('/new')}"
    checked(libc.mount(*words, ctypes.c_ulong(flags), data.encode() if data else None), what)


def _pivot_root(new: str, old: str) -> None:
    number = _SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"pivot_root on {os.uname().machine}")
    checked(libc.syscall(number, new.encode(), old.encode()), "a root of its own")
