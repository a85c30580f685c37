"""Confining a run: what it sees is built from nothing, what it may do is taken away before its program begins.

One mechanism does it: user, mount, process, network, IPC, host name and cgroup namespaces, a root of its own, Landlock
inside, no capabilities, no more user namespaces, limits and a seccomp filter. Where the kernel does not allow that, a run
is refused (`process/trial.py` says why), never run open. The keeper forks the run's first process here, for it must do what posix_spawn
cannot; whatever fails before the program begins is written to a pipe that the keeper reads when the process has ended.

What a run sees is made in `process/view.py`. Descriptors but 0, 1 and 2 are closed, the lease too: through `/proc/self/fd`
each would be a way out. Standard input is a sealed copy for the same reason.
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
import struct
from typing import Any

from routinectl.process import landlock, seccomp, view
from routinectl.process.cgroups import NO_DOORS, Doors
from routinectl.process.kernel import checked, libc

HOW = "namespaces"  # what is recorded of a run that is confined
BEGUN = b"\1"  # is told when the program has begun
ENDED = b"\0"  # begins what is told of a program that has ended
FAILED = 125  # what the first process ends with when the program never began
_NEW = {"mount": 0x20000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
        "pid": 0x20000000, "net": 0x40000000}  # fmt: skip
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}
_SYS_CLONE3, _INTO_CGROUP = 435, 0x200000000
_SYS_SECCOMP, _SPEC_ALLOW = {"x86_64": 317, "aarch64": 277}, 4
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP, signal.SIGCHLD, signal.SIGQUIT)
_LIMITS = {"cpu": resource.RLIMIT_CPU, "memory": resource.RLIMIT_DATA, "processes": resource.RLIMIT_NPROC,
           "file": resource.RLIMIT_FSIZE, "files": resource.RLIMIT_NOFILE, "core": resource.RLIMIT_CORE}  # fmt: skip
_NO_CORE = 1  # the one size with which the kernel does not start, on the host and as root, what its core_pattern names
_LOW_FDS, _HIGHEST_FD = 20, 1 << 20

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
    """Return what a run reads; for a confined one a sealed copy, for through a descriptor the file itself could be changed, `/dev/null` too."""
    if isinstance(path, int):
        return os.dup(path)  # a pipe leads to nobody's file
    if not confined:
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
    text = text.removeprefix(BEGUN)
    if text.startswith(ENDED):
        return int(text.removeprefix(ENDED)), ""
    return status, text.decode(errors="replace")


def has_begun(fd: int) -> bool:
    """Say, once, whether a confined run's program has begun: that is when it sees what it may."""
    with contextlib.suppress(BlockingIOError):
        return os.read(fd, len(BEGUN)) == BEGUN
    return False


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


def _leave_descriptors() -> None:
    """Allow half of the descriptors: those on their way through sockets are counted for the user, and whoever may have no more sends none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard // 2), hard // 2))


def _prctl(option: int, *arguments: int) -> int:
    return int(libc.prctl(option, *(ctypes.c_ulong(item) for item in arguments), *(ctypes.c_ulong(0) for _ in range(4 - len(arguments)))))


def _filter() -> None:
    """Take no new privileges, and put the filter of system calls in force."""
    checked(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "no new privileges")
    program = seccomp.program()
    if program:
        buffer = ctypes.create_string_buffer(program, len(program))
        head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
        holder = ctypes.create_string_buffer(head, len(head))
        # Speculation is left as it is: turning it off makes every program that is confined slower, and guards none of these rules.
        checked(libc.syscall(_SYS_SECCOMP[os.uname().machine], 1, _SPEC_ALLOW, holder), "seccomp")


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
    return checked(libc.syscall(_SYS_CLONE3, buffer, ctypes.c_size_t(len(arguments))), "a group of its own")


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
    return checked(libc.syscall(number, ctypes.c_ulong(flags), *(ctypes.c_ulong(0) for _ in range(4))), "namespaces")


def _namespaces(entry: Entry, spec: dict[str, Any], env: dict[str, str], uid: int, gid: int, tell: int) -> None:
    """Be the first process of the new namespaces: build what is seen, start the program, reap; when this ends, all end.

    It cannot be looked into: it is a copy of the keeper, whose memory knows of other runs. How the program ended is told
    through the pipe, for the first process of a namespace cannot end by a signal of its own.
    """
    for name, text in (("setgroups", b"deny"), ("uid_map", b"%d %d 1" % (uid, uid)), ("gid_map", b"%d %d 1" % (gid, gid))):
        _put(f"/proc/self/{name}", text)
    checked(_prctl(_PR_SET_DUMPABLE, 0), "dumpable")
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN if number != signal.SIGCHLD else signal.SIG_DFL)
    if spec.get("with_parent"):
        checked(_prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "death signal")
    if not spec["network"]:
        _raise_loopback()
    socket.sethostname("routine")
    view.build(spec)
    os.chdir(entry["cwd"])
    for capability in range(64):
        if _prctl(_PR_CAPBSET_DROP, capability) < 0:
            break
    _drop_capabilities()
    _limit({**entry.get("limits", {}), "core": _NO_CORE})
    _leave_descriptors()
    landlock.keep_to([target for _, target, how, _ in spec["binds"] if how in view.READING],
                     [target for _, target, how, _ in spec["binds"] if how not in view.READING])  # fmt: skip
    _filter()
    leader = os.posix_spawn(entry["argv0"], entry["argv"], env, setsigmask=[], setsigdef=_SIGNALS)
    os.write(tell, BEGUN)
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
    checked(libc.capset(ctypes.create_string_buffer(head, 8), ctypes.create_string_buffer(nothing, 24)), "capabilities")


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        flags = struct.unpack("16xH", fcntl.ioctl(asking, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))[:18])[0]
        fcntl.ioctl(asking, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
