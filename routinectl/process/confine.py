"""Confining a run: what it sees is built from nothing, what it may do is taken away before its program begins.

One mechanism does it: user, mount, process, network, IPC, host name and cgroup namespaces, a root of its own, Landlock
inside, no capabilities, no more user namespaces, limits and a seccomp filter. Where the kernel does not allow that, a run
is refused (`process/trial.py` says why), never run open. The keeper forks the run's first process here, for it must do what posix_spawn
cannot; whatever fails before the program begins is written to a pipe that the keeper reads when the process has ended.

What a run sees, and why it cannot be more: `binds` are walked part by part without following a link, so that a folder
which an earlier run could write cannot lead elsewhere (`base` is the workspace's own place where that is under `/tmp`); everything is mounted without set-user-id and devices; `/proc` is
of its own processes and read-only (the root user could set the kernel's parameters there without any capability); `/run`
and `/tmp` are empty, because a socket in a read-only folder still answers. Descriptors but 0, 1 and 2 are closed, the
lease too: through `/proc/self/fd` each would be a way out. Standard input is a sealed copy for the same reason.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import signal
import socket
import stat
import struct
from typing import Any

from routinectl.process import landlock, seccomp
from routinectl.process.cgroups import NO_DOORS, Doors

HOW = "namespaces"  # what is recorded of a run that is confined
ENDED = b"\0"  # begins what is told of a program that has ended
FAILED = 125  # what the first process ends with when the program never began
_NEW = {"mount": 0x20000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
        "pid": 0x20000000, "net": 0x40000000}  # fmt: skip
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_SLAVE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 19
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC = 1, 2, 4, 8
_MNT_DETACH = 2
_SYS_PIVOT_ROOT, _SYS_CLONE = {"x86_64": 155, "aarch64": 41}, {"x86_64": 56, "aarch64": 220}
_SYS_CLONE3, _INTO_CGROUP = 435, 0x200000000
_SYS_SECCOMP, _SPEC_ALLOW = {"x86_64": 317, "aarch64": 277}, 4
_SYS_MOUNT_SETATTR, _AT_RECURSIVE, _AT_EMPTY_PATH = 442, 0x8000, 0x1000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP, signal.SIGCHLD, signal.SIGQUIT)
_LIMITS = {"cpu": resource.RLIMIT_CPU, "memory": resource.RLIMIT_DATA, "processes": resource.RLIMIT_NPROC,
           "file": resource.RLIMIT_FSIZE, "files": resource.RLIMIT_NOFILE}  # fmt: skip
_SHM_BYTES = 64 << 20  # of /dev/shm at the most
_LOW_FDS, _HIGHEST_FD = 20, 1 << 20
_libc = ctypes.PyDLL(None, use_errno=True)  # no switching of threads around a call: one of them forks

Entry = dict[str, Any]


def start(entry: Entry, env: dict[str, str], out: int, lease: int, doors: Doors = NO_DOORS) -> tuple[int, int]:
    """Fork a run's first process; return its pid and a descriptor that tells of it what its exit status cannot (`told`).

    Call it single-threaded only; -1 is no lease; `doors` lead into its groups. The working folder, the umask and the limit of descriptors are the caller's.
    Raises OSError.
    """
    spec = entry.get("confine")
    stdin = _input(entry["stdin"], confined=spec is not None)
    try:
        return _start(entry, env, (stdin, out, entry.get("errors", out), lease if spec is None else -1), doors)
    finally:
        os.close(stdin)


def _input(path: str | int, *, confined: bool) -> int:
    """Return what a run reads; for a confined one a sealed copy, for through a descriptor the file itself could be written."""
    if isinstance(path, int):
        return os.dup(path)  # a pipe leads to nobody's file
    if path == os.devnull or not confined:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with open(path, "rb") as file:
        fd = _sealed(file.read())
    os.set_inheritable(fd, False)
    return fd


def _start(entry: Entry, env: dict[str, str], descriptors: tuple[int, int, int, int], doors: Doors) -> tuple[int, int]:
    spec = entry.get("confine")
    uid, gid = os.geteuid(), os.getegid()
    seccomp.program(), landlock.version()  # looked up here, once, not in every copy
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        pid, entered = _fork(spec, doors.folder)
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if pid:
        os.close(writing)
        os.set_blocking(reading, False)  # whatever goes wrong in there, the keeper does not wait for it
        return pid, reading
    trouble = writing
    try:
        for door in (*doors.tasks, *([] if entered or doors.procs < 0 else [doors.procs])):
            os.write(door, b"0")  # before anything else: nothing that it starts is outside
        signal.set_wakeup_fd(-1)
        os.setsid()
        trouble = _take_descriptors(*descriptors, writing)
        if spec is None:
            _limit(entry.get("limits", {}))
            _execute(entry, env)
        else:
            _namespaces(entry, spec, env, uid, gid, trouble)
    except BaseException as error:  # noqa: BLE001  # whatever it was: nothing may run on in this copy of the keeper
        with contextlib.suppress(OSError):
            os.write(trouble, _say(error).encode(errors="replace")[:2000])
    finally:
        os._exit(FAILED)


def told(fd: int, status: int) -> tuple[int, str]:
    """Return the exit status of the program itself, and why it never began; `status` is how the first process ended. Closes the descriptor."""
    text = b""
    with contextlib.suppress(BlockingIOError):
        text = os.read(fd, 4096)
    os.close(fd)
    if text.startswith(ENDED):
        return int(text.removeprefix(ENDED)), ""
    return status, text.decode(errors="replace")


def _say(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _take_descriptors(stdin: int, out: int, errors: int, lease: int, trouble: int) -> int:
    """Have 0, 1 and 2, the lease as 3 where there is one, and nothing else but the way to tell, which is returned."""
    trouble, stdin, out, errors = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOW_FDS) for fd in (trouble, stdin, out, errors))
    lease = fcntl.fcntl(lease, fcntl.F_DUPFD_CLOEXEC, _LOW_FDS) if lease >= 0 else -1
    for number, fd in enumerate((stdin, out, errors)):
        os.dup2(fd, number)
    close_all_but(trouble, lease)
    if lease >= 0:
        os.dup2(lease, 3)
    return trouble


def close_all_but(*kept: int) -> None:
    """Close every descriptor from 3 on but these."""
    first = 3
    for fd in sorted(kept):
        if fd >= first:
            os.closerange(first, fd)
            first = fd + 1
    os.closerange(first, _HIGHEST_FD)


def _execute(entry: Entry, env: dict[str, str]) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execve(entry["argv0"], entry["argv"], env)  # noqa: S606  # no shell is what is wanted


def _limit(limits: dict[str, int]) -> None:
    """Set limits for good: the hard ones with the soft ones."""
    for name, value in limits.items():
        which = _LIMITS[name]
        _, hard = resource.getrlimit(which)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # One second after the soft limit of CPU time comes the hard one: SIGXCPU first, then SIGKILL.
        resource.setrlimit(which, (most, most + 1 if name == "cpu" and hard == resource.RLIM_INFINITY else most))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(option: int, *arguments: int) -> int:
    return int(_libc.prctl(option, *(ctypes.c_ulong(item) for item in arguments), *(ctypes.c_ulong(0) for _ in range(4 - len(arguments)))))


def _filter() -> None:
    """Take no new privileges, and put the filter of system calls in force."""
    _checked(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "no new privileges")
    program = seccomp.program()
    if program:
        buffer = ctypes.create_string_buffer(program, len(program))
        head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
        holder = ctypes.create_string_buffer(head, len(head))
        # Speculation is left as it is: turning it off makes every program that is confined slower, and guards none of these rules.
        _checked(_libc.syscall(_SYS_SECCOMP[os.uname().machine], 1, _SPEC_ALLOW, holder), "seccomp")


def _sealed(data: bytes) -> int:
    """Return a descriptor of these bytes that nobody can change, at their beginning, which a program inherits."""
    fd = os.memfd_create("routinectl", os.MFD_ALLOW_SEALING)
    while data:
        data = data[os.write(fd, data) :]
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return fd


def _fork(spec: dict[str, Any] | None, group: int) -> tuple[int, bool]:
    """Fork, into namespaces where they are asked for; return as `fork` does, and whether the child was born in the group (-1: none).

    Entering one later may mean to wait until all processors have seen it, 10 ms and more; being born there does not.
    """
    if group >= 0:
        with contextlib.suppress(OSError):  # an older kernel, a filter that knows no clone3; what else is wrong is said by the other way
            return _born_in(group, _flags(spec) if spec is not None else 0), True
    return _clone(spec) if spec is not None else os.fork(), False


def _born_in(group: int, flags: int) -> int:
    arguments = struct.pack("11Q", flags | _INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, group)
    buffer = ctypes.create_string_buffer(arguments, len(arguments))
    return _checked(_libc.syscall(_SYS_CLONE3, buffer, ctypes.c_size_t(len(arguments))), "a group of its own")


# -- namespaces, from here


def _flags(spec: dict[str, Any]) -> int:
    wanted = ("user", "mount", "pid", "ipc", "uts", "cgroup", *(() if spec["network"] else ("net",)))
    return sum(_NEW[name] for name in wanted)


def _clone(spec: dict[str, Any]) -> int:
    """Fork into namespaces of its own, as `fork` returns. One fork does all: each copy of an interpreter costs more than they do."""
    try:
        return _cloned(_flags(spec) | signal.SIGCHLD)
    except OSError as error:
        if error.errno == errno.EPERM:
            why = "this process may make no user namespaces: its service (RestrictNamespaces), its container or a chroot forbids it"
            raise OSError(error.errno, why) from None
        if error.errno in (errno.ENOSPC, errno.EINVAL):
            raise OSError(error.errno, "the kernel lets nobody here make user namespaces (sysctl user.max_user_namespaces)") from None
        raise


def _cloned(flags: int) -> int:
    number = _SYS_CLONE.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"namespaces are not made from here on {os.uname().machine}")
    # s390 and a few others have the first two arguments the other way round; they are not in that table.
    return _checked(_libc.syscall(number, ctypes.c_ulong(flags), *(ctypes.c_ulong(0) for _ in range(4))), "namespaces")


def _namespaces(entry: Entry, spec: dict[str, Any], env: dict[str, str], uid: int, gid: int, tell: int) -> None:
    """Be the first process of the new namespaces: build what is seen, start the program, reap; when this ends, all end.

    It cannot be looked into: it is a copy of the keeper, whose memory knows of other runs. How the program ended is told
    through the pipe, for the first process of a namespace cannot end by a signal of its own.
    """
    for name, text in (("setgroups", b"deny"), ("uid_map", b"%d %d 1" % (uid, uid)), ("gid_map", b"%d %d 1" % (gid, gid))):
        _put(f"/proc/self/{name}", text)
    _checked(_prctl(_PR_SET_DUMPABLE, 0), "dumpable")
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN if number != signal.SIGCHLD else signal.SIG_DFL)
    if spec.get("with_parent"):
        _checked(_prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "death signal")
    if not spec["network"]:
        _raise_loopback()
    socket.sethostname("routine")
    _build_root(spec)
    os.chdir(entry["cwd"])
    for capability in range(64):
        if _prctl(_PR_CAPBSET_DROP, capability) < 0:
            break
    _drop_capabilities()
    _limit(entry.get("limits", {}))
    landlock.keep_to([target for _, target, writable in spec["binds"] if not writable],
                     [target for _, target, writable in spec["binds"] if writable])  # fmt: skip
    _filter()
    leader = os.posix_spawn(entry["argv0"], entry["argv"], env, setsigmask=[], setsigdef=_SIGNALS)
    for fd in range(3):
        os.close(fd)
    while True:
        pid, status = os.wait()
        if pid == leader:
            break
    os.write(tell, ENDED + str(status).encode())
    os._exit(0)


def _put(path: str, text: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text)
    finally:
        os.close(fd)


def _drop_capabilities() -> None:
    head, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _checked(_libc.capset(ctypes.create_string_buffer(head, 8), ctypes.create_string_buffer(nothing, 24)), "capabilities")


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        flags = struct.unpack("16xH", fcntl.ioctl(asking, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))[:18])[0]
        fcntl.ioctl(asking, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _build_root(spec: dict[str, Any]) -> None:
    """Make the new root under /tmp, beside the old one, and leave the old one for good."""
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
    for source, target, writable in spec["binds"]:
        _bind(source, target, writable=writable)
    for path in spec["empty"]:
        _mount("tmpfs", f"/new{path}", "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_RDONLY, "mode=0755,size=4k")
    _devices(min(spec["tmp"], _SHM_BYTES))
    _mount("proc", "/new/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _put("/new/proc/sys/user/max_user_namespaces", b"0")
    for path in ("/new/proc", "/new", *([f"/new{spec['base']}"] if spec["base"] else [])):
        _mount("", path, "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | (_MS_NOEXEC if path == "/new/proc" else 0))
    os.chdir("/new")
    _pivot_root(".", ".")
    _checked(_libc.umount2(b".", _MNT_DETACH), "leaving the old root")
    os.chdir("/")


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


def _bind(source: str, target: str, *, writable: bool) -> None:
    fd = _walk("/old", source)
    place = f"/new{target}"
    if not os.path.lexists(place):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.makedirs(place, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    _mount(f"/old/proc/self/fd/{fd}", place, "", _MS_BIND | _MS_REC)
    os.close(fd)
    _set_attributes(place, (0 if writable else _ATTR_RDONLY) | _ATTR_NOSUID | _ATTR_NODEV)


def _set_attributes(place: str, attributes: int) -> None:
    """Set attributes of a mount and of all below it. Raises OSError."""
    packed = struct.pack("QQQQ", attributes, 0, 0, 0)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    result = _libc.syscall(_SYS_MOUNT_SETATTR, -100, place.encode(errors="surrogateescape"), _AT_RECURSIVE, buffer, ctypes.c_size_t(32))
    _checked(result, f"mounting {place.removeprefix('/new')}")


def _walk(top: str, path: str) -> int:
    """Open a path part by part from `top` without following any link. Raises OSError."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(top, flags)
    try:
        for part in filter(None, path.split("/")):
            below = os.open(part, flags, dir_fd=fd)
            os.close(fd)
            fd = below
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                raise OSError(errno.ELOOP, "a link is on the way, which a confined run may not be led by", path)
    except OSError as error:
        os.close(fd)
        raise OSError(error.errno, error.strerror, path) from None
    return fd


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = [word.encode(errors="surrogateescape") if word else None for word in (source, target, kind)]
    what = f"mounting {target.removeprefix('/new')}"
    _checked(_libc.mount(*words, ctypes.c_ulong(flags), data.encode() if data else None), what)


def _pivot_root(new: str, old: str) -> None:
    number = _SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"pivot_root on {os.uname().machine}")
    _checked(_libc.syscall(number, new.encode(), old.encode()), "a root of its own")
