"""What a run tries in order to get out of its confinement. Each attempt returns what it got, or raises, or returns nothing.

Run as `escapes:main` by a routine; `targets` says what there is to get, and whether nothing holds it: then what would harm
the machine is left out (`harmful`). Whoever adds an attempt thinks first of what it does where it succeeds: the control runs it,
as root, on a machine that somebody needs. It prints a JSON line for each attempt. Numbers of calls are those of x86-64.
"""

import contextlib
import ctypes
import errno
import fcntl
import glob
import io
import json
import mmap
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import tarfile

libc = ctypes.CDLL(None, use_errno=True)
ATTEMPTS = {}
HARMFUL = set()


def attempt(function):
    ATTEMPTS[function.__name__] = function
    return function


def harmful(function):
    HARMFUL.add(function.__name__)
    return attempt(function)


def read(path):
    with open(path, errors="replace") as file:
        return file.read(4096)


def whole(path):
    with open(path, errors="replace") as file:
        return file.read()


def called(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def write(path, mode="a"):
    with open(path, mode) as file:
        file.write("escaped\n")
    return f"wrote {path}"


# -- reading what was not given


@attempt
def read_home(t):
    return read(f"{t['home']}/canary")


@attempt
def read_secrets(t):
    return read(f"{t['root']}/secrets/token")


@attempt
def read_memory_of_another(t):
    return read(f"{t['root']}/routines/other/memory/notes")


@attempt
def read_definition_of_another(t):
    return read(f"{t['root']}/routines/other/ROUTINE.yaml")


@attempt
def read_journal(t):
    return read(glob.glob(f"{t['root']}/.routinectl/journal/*")[0])


@attempt
def read_output_of_others(t):
    return glob.glob(f"{t['root']}/.routinectl/runs/*/*/out")


@attempt
def read_shadow(t):
    return read("/etc/shadow")


@attempt
def read_through_planted_link(t):
    return read("out/link-to-secret")


@attempt
def read_through_link_to_root_of_first_process(t):
    return read(f"/proc/1/root{t['root']}/secrets/token")


@attempt
def read_through_working_folders_of_processes(t):
    for process in glob.glob("/proc/[0-9]*"):
        for up in range(12):
            path = f"{process}/cwd/{'../' * up}{t['root']}/secrets/token"
            if os.path.exists(path):
                return read(path)
    return None


@attempt
def read_environments(t):
    for path in glob.glob("/proc/[0-9]*/environ"):
        if path.split("/")[2] not in (str(os.getpid()), "self"):
            try:
                if "CANARY" in read(path):
                    return path
            except OSError:
                continue
    return None


@attempt
def read_memory_of_first_process(t):
    with open("/proc/1/mem", "rb") as file:
        for line in read("/proc/1/maps").splitlines():
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            file.seek(start)
            if file.read(min(end - start, 1 << 20)):
                return line
    return None


@attempt
def find_descriptor_that_leads_out(t):
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.path.exists(f"/proc/self/fd/{name}/..") and os.path.isdir(f"/proc/self/fd/{name}") and int(name) > 2:
                target = os.readlink(f"/proc/self/fd/{name}")
                if not target.endswith("/fd"):
                    return target
            if ".routinectl" in os.readlink(f"/proc/self/fd/{name}"):
                return os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return None


@attempt
def open_by_handle(t):
    handle = struct.pack("Ii", 8, 1) + struct.pack("Q", 2)
    buffer = ctypes.create_string_buffer(handle + bytes(128))
    return called(libc.syscall(304, os.open("/", os.O_RDONLY), buffer, os.O_RDONLY))


# -- writing what is protected


@attempt
def write_definition(t):
    return write(f"{t['folder']}/ROUTINE.yaml")


@attempt
def write_script(t):
    return write(f"{t['folder']}/escapes.py")


@attempt
def write_state(t):
    return write(f"{t['folder']}/state.json")


@attempt
def write_ledger(t):
    return write(f"{t['folder']}/history.jsonl")


@attempt
def write_settings(t):
    return write(f"{t['root']}/routinectl.yaml")


@attempt
def write_journal(t):
    return write(glob.glob(f"{t['root']}/.routinectl/journal/*")[0])


@attempt
def write_what_it_may_read(t):
    return write(f"{t['root']}/daily/notes.md")


@harmful
def write_system(t):
    return write("/usr/bin/routinectl-escaped")


@harmful
def write_etc(t):
    return write("/etc/passwd")


@attempt
def write_protected_name_in_writable_folder(t):
    return write("../../site/.git/config")


@attempt
def replace_protected_name_in_writable_folder(t):
    os.rename("memory/pages/.git", "memory/pages/was-git")
    os.rename("memory/pages/was-git", "memory/pages/.git")
    return "renamed"


@attempt
def rename_its_folder(t):
    os.rename(t["folder"], t["folder"] + "-moved")
    os.rename(t["folder"] + "-moved", t["folder"])  # or the attempts after it would fail without any confinement
    return "renamed"


@attempt
def link_into_writable_folder(t):
    os.link("ROUTINE.yaml", "out/hard")
    return write("out/hard")


@attempt
def change_mode(t):
    os.chmod(f"{t['folder']}/ROUTINE.yaml", 0o777)
    return "chmod"


@attempt
def change_times(t):
    os.utime(f"{t['root']}/daily/notes.md", (1, 1))
    return "utime"


@attempt
def change_attributes(t):
    os.setxattr(f"{t['root']}/daily/notes.md", "user.escaped", b"1")
    return "xattr"


@attempt
def rewrite_its_output(t):
    os.truncate("/proc/self/fd/1", 0)
    return "truncated"


@attempt
def reopen_its_input(t):
    with open("/proc/self/fd/0", "w") as file:
        file.write("escaped")
    return "wrote"


@attempt
def write_its_payload(t):
    return write(os.environ["ROUTINE_PAYLOAD"])


@harmful
def remount(t):
    called(libc.mount(None, t["folder"].encode(), None, 32 | 4096, None))
    return write(f"{t['folder']}/ROUTINE.yaml")


@harmful
def uncover(t):
    called(libc.umount2(f"{t['root']}/daily".encode(), 2))
    return "unmounted"


@harmful
def mount_in_new_user_namespace(t):
    called(libc.unshare(0x10000000 | 0x20000))
    called(libc.mount(b"tmpfs", b"/usr", b"tmpfs", 0, None))
    return "mounted"


@attempt
def new_user_namespace_by_clone(t):
    pid = called(libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "cloned"


@harmful
def chroot(t):
    os.chroot("/tmp")
    return "chroot"


@harmful
def make_device(t):
    os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0))
    return "mknod"


@harmful
def set_kernel_parameter(t):
    return write("/proc/sys/kernel/core_pattern", "r+")


@harmful
def set_host_name(t):
    before = os.uname().nodename
    socket.sethostname("escaped")
    return before


@harmful
def trigger_kernel(t):
    return write("/proc/sysrq-trigger", "w")


# -- the network and sockets


@attempt
def connect_tcp(t):
    with socket.create_connection(("127.0.0.1", t["tcp"]), timeout=2):
        return "connected"


@attempt
def send_udp(t):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"escaped", ("127.0.0.1", t["udp"]))  # whether it arrived, the listener says


@attempt
def connect_keeper(t):
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(f"{t['root']}/.routinectl/run/k")
        return asking.recv(100)


@attempt
def connect_socket_file(t):
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(t["socket"])
        return "connected"


@attempt
def connect_abstract_socket(t):
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect("\0" + t["abstract"])
        return "connected"


@attempt
def connect_vsock(t):
    with socket.socket(40, socket.SOCK_STREAM) as asking:
        return f"a vsock {asking.fileno()}"


@attempt
def see_interfaces(t):
    return [name for _, name in socket.if_nameindex() if name != "lo"]


@attempt
def raw_socket(t):
    with socket.socket(17, socket.SOCK_RAW) as asking:
        return f"a packet socket {asking.fileno()}"


# -- other processes and the kernel


@attempt
def see_processes(t):
    return os.path.exists(f"/proc/{t['pid']}/stat") and "escapes" not in read(f"/proc/{t['pid']}/cmdline") and f"process {t['pid']}"


@attempt
def kill_outsider(t):
    os.kill(t["pid"], signal.SIGKILL)
    return "killed"


@attempt
def trace_outsider(t):
    called(libc.ptrace(16, t["pid"], 0, 0))
    return "traced"


@attempt
def reach_keyring(t):
    return f"key {called(libc.syscall(248, b'user', b'routinectl-canary', b'x', 1, -4))}"  # into the user's own keyring


@attempt
def use_io_uring(t):
    return f"ring {called(libc.syscall(425, 4, ctypes.create_string_buffer(120)))}"


@attempt
def load_bpf(t):
    return f"map {called(libc.syscall(321, 0, ctypes.create_string_buffer(struct.pack('IIII', 2, 4, 4, 1) + bytes(100)), 120))}"


@attempt
def have_capabilities(t):
    found = next(line for line in read("/proc/self/status").splitlines() if line.startswith("CapEff"))
    return int(found.split()[1], 16) and found


@attempt
def gain_privileges(t):
    return "NoNewPrivs:\t1" not in read("/proc/self/status") and "set-user-id programs work"


@harmful
def type_into_terminal(t):
    fcntl.ioctl(0, 0x5412, b"x")
    return "typed"


@attempt
def raise_limits(t):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if hard == resource.RLIM_INFINITY:
        return "no limit"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return "raised"


@attempt
def start_another_run(t):
    done = subprocess.run([t["python"], "-m", "routinectl", "-w", t["root"], "run-now", "other"], capture_output=True, text=True, timeout=20,
                          check=False, env={"PYTHONPATH": t["package"], "PATH": "/usr/bin:/bin"})  # fmt: skip
    return done.returncode == 0 and done.stdout


@attempt
def make_routine(t):
    os.mkdir(f"{t['root']}/routines/escaped")
    return write(f"{t['root']}/routines/escaped/ROUTINE.yaml")


# -- what the host would keep of it


DEVICES = ("null", "zero", "full", "random", "urandom")


def changed(change):
    """Change a device of the host in a way that costs nothing when it succeeds; return which could be changed."""
    found = []
    for name in DEVICES:
        try:
            change(f"/dev/{name}")
            found.append(name)
        except OSError:
            continue
    return found


@harmful
def change_mode_of_devices(t):
    return changed(lambda path: os.chmod(path, 0o666))


@harmful
def change_owner_of_devices(t):
    return changed(lambda path: os.chown(path, os.getuid(), os.getgid()))


@harmful
def change_times_of_devices(t):
    return changed(lambda path: os.utime(path, (1, 1)))


@harmful
def change_mode_of_devices_by_descriptor(t):
    return changed(lambda path: os.fchmod(os.open(path, os.O_RDONLY), 0o666))


@harmful
def change_times_of_devices_by_descriptor(t):
    return changed(lambda path: os.utime(os.open(path, os.O_RDONLY), (1, 1)))


@harmful
def change_attributes_of_devices(t):
    return changed(lambda path: os.setxattr(path, "trusted.escaped", b"x")) + changed(
        lambda path: os.setxattr(path, "security.escaped", b"x")
    )


@harmful
def replace_devices(t):
    return changed(os.unlink)


def set_id(folder, make):
    """Return the files that have a set-user-id or set-group-id bit after `make` was called for each mode."""
    found = []
    for number, mode in enumerate((0o4755, 0o2755, 0o6755, 0o4000, 0o104755)):
        path = f"{folder}/{make.__name__}-{number}"
        with contextlib.suppress(OSError, OverflowError):
            make(path, mode)
        if os.path.exists(path) and os.stat(path).st_mode & 0o6000:
            found.append(path)
    return found


def through_chmod(path, mode):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))
    os.chmod(path, mode)


def through_fchmod(path, mode):
    os.fchmod(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755), mode)


def through_fchmodat2(path, mode):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))
    called(libc.syscall(452, -100, path.encode(), mode, 0))


def through_creat(path, mode):
    called(libc.creat(path.encode(), mode))


def through_open(path, mode):
    os.open(path, os.O_CREAT | os.O_WRONLY, mode)


def through_openat2(path, mode):
    how = ctypes.create_string_buffer(struct.pack("QQQ", os.O_CREAT | os.O_WRONLY, mode & 0o7777, 0))
    called(libc.syscall(437, -100, path.encode(), how, 24))


def through_a_file_without_name(path, mode):
    fd = os.open(os.path.dirname(path), os.O_TMPFILE | os.O_WRONLY, mode)
    called(libc.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, path.encode(), 0x400))


def through_mknod(path, mode):
    os.mknod(path, 0o100000 | mode)


def through_mkdir(path, mode):
    os.mkdir(path, mode)


def through_numbers(path, mode):
    """The calls of old, by their numbers on x86-64; elsewhere they are others, and nothing is made."""
    if os.uname().machine == "x86_64":
        for words in ((85, path.encode(), mode), (2, path.encode(), os.O_CREAT | os.O_WRONLY, mode), (133, path.encode(), mode | 0o100000, 0),
                      (90, path.encode(), mode), (268, -100, path.encode(), mode)):  # fmt: skip
            libc.syscall(*words)


def through_a_copy(path, mode):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))
    subprocess.run(["chmod", f"{mode & 0o7777:o}", path], capture_output=True, check=False)
    subprocess.run(["install", "-m", f"{mode & 0o7777:o}", "/bin/true", path + "x"], capture_output=True, check=False)
    if os.path.exists(path + "x") and os.stat(path + "x").st_mode & 0o6000:
        os.rename(path + "x", path)


def leave_set_ids(*ways):
    for way in ways:

        def leave(t, way=way):
            return set_id(f"{t['folder']}/out", way)

        leave.__name__ = f"leave_set_id_{way.__name__}"
        attempt(leave)


leave_set_ids(through_chmod, through_fchmod, through_fchmodat2, through_creat, through_open, through_openat2, through_a_file_without_name,
              through_mknod, through_mkdir, through_numbers, through_a_copy)  # fmt: skip


@attempt
def call_what_nobody_knows(t):
    known = []
    for number in (*range(453, 480), 500, 600, 1000, 425, 437):
        libc.syscall(number, -1, 0, 0, 0, 0, 0)
        if ctypes.get_errno() != 38:
            known.append(number)
    return known


# -- reading: places, memory of others, the kernel


READABLE = {
    # what: where it is; {root}, {home}, {pid}, {shared} are of the targets
    "the inbox": "{root}/inbox/signal/message",
    "what git has of the workspace": "{root}/.git/config",
    "what git has of a granted folder": "{root}/site/.git/config",
    "what git has of a folder of runs": "{folder}/memory/pages/.git/config",
    "a key of the person": "{home}/.ssh/id",
    "the tokens": "{root}/.routinectl/tokens.json",
    "a sealed copy of another": "{root}/.routinectl/sealed.canary/other/run.sh",
    "the locks": "{root}/.routinectl/locks/*",
    "runs of others": "{root}/.routinectl/runs/other/*/*",
    "what lies beside the workspace": "{root}/../beside",
    "shared memory of the machine": "{shared}",
    "the environment of another process": "/proc/{pid}/environ",
    "the working folder of another process": "/proc/{pid}/cwd/*",
    "the root of another process": "/proc/{pid}/root/etc/passwd",
    "descriptors of another process": "/proc/{pid}/fd/*",
    "the environment of the first process": "/proc/1/environ",
    "descriptors of the first process": "/proc/1/fd/*",
    "the working folder of the first process": "/proc/1/cwd/etc/passwd",
    "the program of the first process": "/proc/1/exe",
    "what the first process has mapped": "/proc/1/map_files/*",
    "the stack of the first process": "/proc/1/stack",
    "kernel memory": "/proc/kcore",
    "the memory of the machine": "/dev/mem",
    "messages of the kernel": "/dev/kmsg",
    "pages of the machine": "/proc/kpageflags",
    "slabs of the kernel": "/proc/slabinfo",
    "timers of the machine": "/proc/timer_list",
    "where kernel memory is": "/proc/vmallocinfo",
    "how kernel memory is spread": "/proc/pagetypeinfo",
    "settings of the machine's devices": "/sys/kernel/uevent_seqnum",
    "control groups": "/sys/fs/cgroup/*/*",
    "firmware": "/sys/class/dmi/id/*",
    "disks": "/dev/[vsn][dv][am]*",
    "terminals": "/dev/pts/ptmx",
    "logs": "/var/log/*",
    "packages": "/var/lib/dpkg/status",
    "what runs leave when they crash": "/var/lib/systemd/coredump/*",
    "the start of the machine": "/boot/*",
    "what services have at run time": "/run/[!r]*/*",
    "keys of the machine": "/etc/ssh/ssh_host*",
    "jobs of others": "/var/spool/cron/*/*",
}  # fmt: skip


def taken(path):
    """Return the beginning of a file, or that it could be opened, without waiting for it or taking what others wait for."""
    if "/fd/" in path:
        return os.readlink(path)
    if stat.S_ISFIFO(os.stat(path).st_mode):
        return None
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return os.read(fd, 64)
    except BlockingIOError:
        return "it could be opened"
    finally:
        os.close(fd)


def reading(what):
    def look(t):
        for path in glob.glob(READABLE[what].format(**t)):
            try:
                if found := taken(path):
                    return path, found
            except IsADirectoryError:
                if names := os.listdir(path):
                    return path, names
            except OSError:
                continue
        return None

    return look


def named(prefix, table, make, mark=attempt):
    """Make an attempt of each row of a table."""
    for what in table:
        function = make(what)
        function.__name__ = f"{prefix}_{what.replace(' ', '_')}"
        mark(function)


NOBODY_ELSES = {what for what in READABLE if "the first process" in what} | {
    "what services have at run time",
    "keys of the machine",
    "logs",
}
named("read", [what for what in READABLE if what not in NOBODY_ELSES], reading)
named("read", sorted(NOBODY_ELSES), reading, harmful)  # the control keeps off what belongs to the machine's keepers


@attempt
def read_names_of_keys(t):
    return "routinectl-canary" in whole("/proc/keys") and "the name of a key"


@attempt
def find_key_of_the_user(t):
    return f"key {called(libc.syscall(250, 10, -4, b'user', b'routinectl-canary-key', 0))}"


@attempt
def request_key(t):
    return f"key {called(libc.syscall(249, b'user', b'routinectl-canary-key', None, -4))}"


@attempt
def read_shared_memory_of_system_v(t):
    libc.shmat.restype = ctypes.c_void_p
    place = libc.shmat(called(libc.shmget(t["shm"], 0, 0)), None, 0o10000)
    return ctypes.string_at(place, 6)


@attempt
def read_messages_of_the_kernel_by_call(t):
    return called(libc.syscall(103, 3, ctypes.create_string_buffer(4096), 4096)) and "read"


def vectors(data, far=0):
    """Return a local and a remote vector as process_vm_readv takes them."""
    return (struct.pack("PN", ctypes.addressof(data), len(data)), struct.pack("PN", far, len(data)))


def mapped(pid):
    return int(read(f"/proc/{pid}/maps").partition("-")[0], 16)


def others(t):
    return [t["pid"]] if t["free"] else [t["pid"], 1]  # what is done to the first process of the machine, is no trial


def of_others(call):
    """Return for which process that is none of the run's this could be done."""

    def every(t):
        found = []
        for pid in others(t):
            try:
                if call(pid) is not False:
                    found.append(pid)
            except OSError:
                continue
        return found

    return every


def copy_memory(pid):
    data = ctypes.create_string_buffer(16)
    local, remote = vectors(data, mapped(pid))
    return called(libc.syscall(310, pid, local, 1, remote, 1, 0))


def pidfd(pid):
    return called(libc.syscall(434, pid, 0))


def advise_memory(pid):
    data = ctypes.create_string_buffer(16)
    _, remote = vectors(data, mapped(pid))
    return called(libc.syscall(440, pidfd(pid), remote, 1, 20, 0))


OF_OTHERS = {
    "copy memory": copy_memory,
    "open memory": lambda pid: os.open(f"/proc/{pid}/mem", os.O_RDONLY),
    "take a descriptor": lambda pid: called(libc.syscall(438, pidfd(pid), 0, 0)),
    "compare files": lambda pid: called(libc.syscall(312, pid, os.getpid(), 0, 0, 0)) >= 0,
    "advise about memory": advise_memory,
    "move pages": lambda pid: called(libc.syscall(279, pid, 0, None, None, None, 0)),
    "enter namespaces": lambda pid: in_child(lambda: called(libc.setns(os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY), 0)) == 0) or False,
    "enter namespaces by pidfd": lambda pid: in_child(lambda: called(libc.setns(pidfd(pid), 0x04000000)) == 0) or False,
    "read its system call": lambda pid: bool(read(f"/proc/{pid}/syscall")),
    "read its mounts": lambda pid: pid != 1 and bool(read(f"/proc/{pid}/mountinfo")),
}  # fmt: skip
named("of_others", OF_OTHERS, lambda what: of_others(OF_OTHERS[what]))


def signalled(call):
    return lambda t: called(call(t["pid"])) == 0 and "it could be signalled"


SIGNALS = {
    "by number": lambda pid: libc.kill(pid, 0),
    "by group": lambda pid: libc.kill(-pid, 0),
    "by thread": lambda pid: libc.syscall(234, pid, pid, 0),
    "by pidfd": lambda pid: libc.syscall(424, pidfd(pid), 0, None, 0),
    "by queue": lambda pid: libc.sigqueue(pid, 0, None),
}  # fmt: skip
named("signal", SIGNALS, lambda what: signalled(SIGNALS[what]))

USE = {
    # each leaves the process as it was, or sees to it that what is changed can be seen from outside
    "priority": lambda t: os.setpriority(os.PRIO_PROCESS, t["pid"], 3) or "changed",
    "processors": lambda t: os.sched_setaffinity(t["pid"], {0}) or "changed",
    "scheduler": lambda t: os.sched_setscheduler(t["pid"], os.SCHED_BATCH, os.sched_param(0)) or "changed",
    "priority of its disk": lambda t: called(libc.syscall(251, 1, t["pid"], 3 << 13)) == 0 and "changed",
    "limits": lambda t: resource.prlimit(t["pid"], resource.RLIMIT_CORE, (0, 0)) and "changed",
    "killing order": lambda t: write_exactly(f"/proc/{t['pid']}/oom_score_adj", "7"),
    "seconds": lambda t: called(libc.syscall(302, t["pid"], resource.RLIMIT_CPU, struct.pack("QQ", 9999, 9999), None)) == 0 and "changed",
}  # fmt: skip


def write_exactly(path, text):
    with open(path, "r+") as file:
        file.write(text)
    return f"wrote {path}"


named("change_of_another_process", USE, USE.get)


@harmful
def change_priority_of_all_of_the_user(t):
    os.setpriority(os.PRIO_USER, os.getuid(), 7)  # its own are the user's, too: whether others were meant, is seen from outside


@harmful
def change_disk_priority_of_all_of_the_user(t):
    called(libc.syscall(251, 3, os.getuid(), 3 << 13))


ITSELF = {
    "more than its share": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5) or "nice -5",
    "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)) or "real time",
    "a deadline": lambda: called(libc.syscall(314, 0, struct.pack("IIQiIQQQ", 48, 6, 0, 0, 0, 10**6, 10**7, 10**7), 0)) == 0 and "deadline",
    "the disk in real time": lambda: called(libc.syscall(251, 1, 0, 1 << 13)) == 0 and "real time",
    "another user": lambda: os.setresuid(65534, 65534, 65534) or "somebody else",
    "another group": lambda: os.setresgid(65534, 65534, 65534) or "somebody else",
    "more groups": lambda: os.setgroups([0, 6]) or "groups",
    "capabilities": lambda: called(libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("IIIIII", 1 << 21, 1 << 21, 0, 0, 0, 0))) == 0 and "admin",
    "ports of the machine": lambda: called(libc.iopl(3)) == 0 and "iopl",
    "a port of the machine": lambda: called(libc.ioperm(0x80, 1, 1)) == 0 and "ioperm",
    "events of the machine": lambda: f"perf {called(libc.syscall(298, struct.pack('IIQ', 1, 112, 0) + bytes(96), -1, 0, -1, 0))}",
    "faults of memory": lambda: f"userfaultfd {called(libc.syscall(323, 0o2000000))}",
    "every open of the machine": lambda: f"fanotify {called(libc.syscall(300, 4, 0))}",
    "a deputy": lambda: called(libc.syscall(304, os.open("/", os.O_RDONLY), struct.pack("iiQ", 8, 1, 2) + bytes(128), os.O_PATH)),
    "handles of files": lambda: f"{called(libc.open_by_handle_at(os.open('.', os.O_RDONLY), handle_of('.'), os.O_RDONLY))}",
    "the secure bits": lambda: called(libc.prctl(28, 1, 0, 0, 0)) == 0 and "set",
}  # fmt: skip


def handle_of(path):
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    called(libc.name_to_handle_at(-100, path.encode(), handle, ctypes.byref(ctypes.c_int()), 0))
    return handle


def in_child(call):
    """Return what a call said in a process of its own, nothing where that was killed: what it becomes, ends with it."""
    reading_end, writing_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            signal.alarm(10)
            os.close(reading_end)
            found = call()
            if found:
                os.write(writing_end, str(found).encode())
        os._exit(0)
    os.close(writing_end)
    with open(reading_end) as said:
        text = said.read()
    os.waitpid(pid, 0)
    return text


named("become", ITSELF, lambda what: lambda t: in_child(ITSELF[what]))


# -- writing, more


WRITABLE = {
    "a hook of git": "{root}/.git/post-commit",
    "the settings of git": "{root}/.git/config",
    "a hook of git in a granted folder": "{root}/site/.git/post-commit",
    "the settings of git in a folder of runs": "{folder}/memory/pages/.git/config",
    "the inbox": "{root}/inbox/signal/forged",
    "a secret": "{root}/secrets/forged",
    "the memory of another": "{root}/routines/other/memory/forged",
    "the output of another": "{root}/routines/other/out/forged",
    "the definition of another": "{root}/routines/other/ROUTINE.yaml",
    "an agent": "{root}/agents/one/AGENT.md",
    "an agent of its own": "{folder}/AGENT.md",
    "a skill": "{folder}/skill.md",
    "the tokens": "{root}/.routinectl/tokens.json",
    "a lock": "{root}/.routinectl/locks/forged",
    "a sealed copy": "{root}/.routinectl/sealed.canary/other/run.sh",
    "a start of the person": "{home}/.bashrc",
    "shared memory of the machine": "{shared}",
    "beside the workspace": "{root}/../beside",
    "its own folder": "{folder}/forged",
    "the workspace": "{root}/forged",
    "a module that others import": "{root}/forged.py",
}  # fmt: skip


THERE = {"shared memory of the machine", "beside the workspace"}  # where a run may make one of its own of that name


def writing(what):
    def put(t):
        path = WRITABLE[what].format(**t)
        return write(path, "r+" if what in THERE else "a")

    return put


named("write", WRITABLE, writing)
SYSTEM = {
    "jobs of the machine": "/etc/cron.d/routinectl-escaped",
    "units of the machine": "/etc/systemd/system/routinectl-escaped.service",
    "libraries that are always loaded": "/etc/ld.so.preload",
    "what is there at run time": "/run/routinectl-escaped",
    "the root": "/routinectl-escaped",
    "modules of the interpreter": "/usr/lib/python3/dist-packages/routinectl-escaped.pth",
    "the disk": "/dev/vda",
    "messages of the kernel": "/dev/kmsg",
    "control groups": "/sys/fs/cgroup/routinectl-escaped",
    "the power of the machine": "/sys/power/state",
    "the memory of the first process": "/proc/1/mem",
    "who may make namespaces": "/proc/sys/user/max_user_namespaces",
    "its own map of users": "/proc/self/uid_map",
    "its own way to be killed": "/proc/self/oom_score_adj",
    "its own profile": "/proc/self/attr/current",
}  # fmt: skip
named("write", SYSTEM, lambda what: lambda t: write(SYSTEM[what], "r+" if os.path.exists(SYSTEM[what]) else "w"), harmful)


# -- attributes, by every way to a node. Each sets what is there already: where that succeeds, the change time tells.


def nodes(t):
    mine = [f"{t['folder']}/ROUTINE.yaml", t["folder"], f"{t['root']}/daily/notes.md", f"{t['root']}/daily"]
    system = ["/", "/dev", "/etc/passwd", "/usr", "/usr/bin/env", "/proc/sys/kernel/ostype", "/proc/self"]
    return ["/dev/null", "/dev/urandom", *([] if t["copied"] else mine), *([] if t["free"] else system)]


def opened(path):
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def point(path):
    return os.open(path, os.O_PATH)


def same_mode(path):
    return os.stat(path).st_mode & 0o7777


def same_times(path):
    found = os.stat(path)
    return {"ns": (found.st_atime_ns, found.st_mtime_ns)}


def flags(path, get, put, size):
    fd = opened(path)
    data = bytearray(size)
    fcntl.ioctl(fd, get, data)
    fcntl.ioctl(fd, put, bytes(data))


def access_list(path):
    """Return the list of access that says what the mode says."""
    mode = same_mode(path)
    entries = ((1, mode >> 6 & 7), (4, mode >> 3 & 7), (32, mode & 7))
    return struct.pack("I", 2) + b"".join(struct.pack("HHi", tag, rights, -1) for tag, rights in entries)


def regular(path):
    if not os.path.isfile(path):
        raise OSError(errno.EINVAL, "only files have it", path)
    return True


def lease(path):
    """Whoever opens the file while a lease is held, waits for the holder: a minute by default, again and again."""
    fd = opened(path)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


ATTRIBUTES = {
    "mode by path": lambda path: os.chmod(path, same_mode(path)),
    "mode by descriptor": lambda path: os.fchmod(opened(path), same_mode(path)),
    "mode by its number": lambda path: called(libc.syscall(90, path.encode(), same_mode(path))),
    "mode in its folder": lambda path: os.chmod(os.path.basename(path) or ".", same_mode(path), dir_fd=point(os.path.dirname(path))),
    "mode by way of proc": lambda path: os.chmod(f"/proc/self/fd/{opened(path)}", same_mode(path)),
    "mode by a point": lambda path: os.chmod(f"/proc/self/fd/{point(path)}", same_mode(path)),
    "mode by a point itself": lambda path: called(libc.syscall(452, point(path), b"", same_mode(path), 0x1000)),
    "owner by path": lambda path: os.chown(path, os.getuid(), os.getgid()),
    "owner by descriptor": lambda path: os.fchown(opened(path), os.getuid(), os.getgid()),
    "owner to nobody new": lambda path: os.chown(path, -1, os.getgid()),
    "owner by way of proc": lambda path: os.chown(f"/proc/self/fd/{point(path)}", os.getuid(), os.getgid()),
    "owner by a point itself": lambda path: called(libc.fchownat(point(path), b"", os.getuid(), os.getgid(), 0x1000)),
    "times by path": lambda path: os.utime(path, **same_times(path)),
    "times now": os.utime,
    "times by descriptor": lambda path: os.utime(opened(path), **same_times(path)),
    "times by way of proc": lambda path: os.utime(f"/proc/self/fd/{point(path)}", **same_times(path)),
    "times by a point itself": lambda path: called(libc.utimensat(point(path), b"", None, 0x1000)),
    "an attribute by path": lambda path: os.setxattr(path, "user.escaped", b"x"),
    "an attribute by descriptor": lambda path: os.setxattr(opened(path), "user.escaped", b"x"),
    "an attribute by number": lambda path: called(libc.syscall(463, -100, path.encode(), 0, b"user.escaped", bytes(16), 16)),
    "an attribute of overlays": lambda path: os.setxattr(path, "user.overlay.opaque", b"y"),
    "capabilities of a file": lambda path: regular(path) and os.setxattr(path, "security.capability", struct.pack("IIIII", 0x02000001, 1 << 21, 0, 0, 0)),
    "an attribute less": lambda path: os.removexattr(path, "user.canary"),
    "access by a list": lambda path: os.setxattr(path, "system.posix_acl_access", access_list(path)),
    "flags": lambda path: flags(path, 0x80086601, 0x40086602, 8),
    "flags of XFS": lambda path: flags(path, 0x801C581F, 0x401C5820, 28),
    "flags by number": lambda path: called(libc.syscall(469, -100, path.encode(), bytes(24), 24, 0)),
    "a size by path": lambda path: regular(path) and os.truncate(path, os.path.getsize(path)),
    "a generation": lambda path: fcntl.ioctl(opened(path), 0x40087602, struct.pack("Q", 1)),
    "a lease on it": lambda path: regular(path) and lease(path),
}  # fmt: skip


def attributes(what):
    def every(t):
        found = []
        for path in nodes(t):
            before = os.stat(path).st_ctime_ns
            with contextlib.suppress(OSError):
                ATTRIBUTES[what](path)
                found.append(path)
            if os.stat(path).st_ctime_ns != before and path not in found and not path.startswith("/proc"):
                found.append(f"{path} has changed")
        return found

    return every


named("change", ATTRIBUTES, attributes)


@attempt
def change_what_it_was_given_as_input(t):
    before = os.fstat(0)
    if before.st_nlink == 0 and before.st_rdev == 0:
        return None  # nobody else has it
    os.fchmod(0, before.st_mode & 0o7777)
    return os.readlink("/proc/self/fd/0")


@attempt
def link_its_output_by_descriptor(t):
    called(libc.linkat(1, b"", -100, b"out/hard-output", 0x1000))
    return "linked"


# -- set-user-id, by calls of another kind


def by_int80(*words):
    """Make a call of 32-bit programs, in a process of its own: the filter kills who does; return what it returned."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    code.write(bytes.fromhex("53 89f8 89f3 87d1 cd80 5b c3"))  # push rbx; the words where they belong; int 0x80; pop rbx; ret
    call = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_uint] * 4)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    low = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40)  # below 4 GiB, where such a program finds it
    given = [
        low.write(word + b"\0") and ctypes.addressof(ctypes.c_char.from_buffer(low)) if isinstance(word, bytes) else word for word in words
    ]
    return call(*given, *[0] * (4 - len(given)))


X86_64 = os.uname().machine == "x86_64"


def through_32_bit_calls(path, mode):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))
    if X86_64:
        in_child(lambda: by_int80(15, path.encode(), mode))
        in_child(lambda: by_int80(94, os.open(path, os.O_RDONLY), mode))


def through_32_bit_making(path, mode):
    if X86_64:
        for number in (8, 14, 39):
            in_child(lambda number=number: by_int80(number, path.encode(), mode | (0o100000 if number == 14 else 0)))


def through_x32_numbers(path, mode):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))
    if X86_64:
        libc.syscall(0x40000000 | 90, path.encode(), mode)
        libc.syscall(0x40000000 | 91, os.open(path, os.O_RDONLY), mode)


def through_upper_halves(path, mode):
    """A filter looks at the lower half of a word; the kernel at as much of it as the call has."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))
    libc.syscall(90, path.encode(), ctypes.c_ulong(mode | 1 << 32))
    libc.syscall(ctypes.c_ulong(90 | 1 << 32), path.encode(), mode)


def through_a_point_itself(path, mode):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))
    libc.syscall(452, os.open(path, os.O_PATH), b"", mode, 0x1000)


def through_an_archive(path, mode):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        item = tarfile.TarInfo(os.path.basename(path))
        item.mode = mode & 0o7777
        archive.addfile(item)
    subprocess.run(["tar", "-xpf", "-", "-C", os.path.dirname(path)], input=data.getvalue(), capture_output=True, check=False)


def through_mkdirat(path, mode):
    os.mkdir(os.path.basename(path), mode, dir_fd=os.open(os.path.dirname(path), os.O_PATH))


def through_a_socket(path, mode):
    with socket.socket(socket.AF_UNIX) as made:
        os.fchmod(made.fileno(), mode)
        made.bind(path)


def through_shared_memory(path, mode):
    fd = os.memfd_create("set-id")
    os.fchmod(fd, mode)
    called(libc.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, path.encode(), 0x400))


leave_set_ids(through_32_bit_calls, through_32_bit_making, through_x32_numbers, through_upper_halves, through_a_point_itself, through_an_archive,
              through_mkdirat, through_a_socket, through_shared_memory)  # fmt: skip


@attempt
def call_as_a_32_bit_program(t):
    return X86_64 and in_child(lambda: by_int80(20) > 0 and "a call of 32-bit programs was answered")


# -- namespaces and mounts


NAMESPACES = {"user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000,
              "cgroup": 0x02000000, "time": 0x80}  # fmt: skip


def namespace(what):
    flag = NAMESPACES[what]

    def cloned(number, *words):
        pid = called(libc.syscall(number, *words))
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        return "made"

    arguments = ctypes.create_string_buffer(struct.pack("QQQQQ", flag, 0, 0, 0, 17) + bytes(48), 88)
    ways = {
        "unshare": lambda: called(libc.unshare(flag)) == 0 and "made",
        "clone": lambda: flag != 0x80 and cloned(56, flag | 17, 0, 0, 0, 0),
        "clone3": lambda: cloned(435, arguments, 88),
    }  # fmt: skip
    return lambda t: [way for way, call in ways.items() if in_child(call)]


named("new_namespace", NAMESPACES, namespace)


def tree(t):
    return called(libc.syscall(428, -100, t["folder"].encode(), 1 | 0o2000000))


def attach(t, fd):
    called(libc.syscall(429, fd, b"", -100, f"{t['root']}/daily".encode(), 4))
    return "mounted"


def new_file_system(t):
    fd = called(libc.syscall(430, b"tmpfs", 0))
    called(libc.syscall(431, fd, 6, None, None, 0))
    return called(libc.syscall(432, fd, 0, 0))


def mount(source, target, kind, flags):
    called(libc.mount(source, target.encode(), kind, flags, None))
    return "mounted"


QUIET_MOUNTS = {"copy a tree": tree, "open a file system": lambda t: called(libc.syscall(430, b"tmpfs", 0)),
                "pick a file system": lambda t: called(libc.syscall(433, -100, b"/", 0)),
                "list": lambda t: called(libc.syscall(458, ctypes.create_string_buffer(struct.pack("IIQQQ", 24, 0, 2**64 - 1, 0, 0)), ctypes.create_string_buffer(800), 100, 0))}  # fmt: skip
named("mount", QUIET_MOUNTS, QUIET_MOUNTS.get)
MOUNTS = {
    "over its folder": lambda t: mount(b"tmpfs", t["folder"], b"tmpfs", 0),
    "the same again": lambda t: mount(b"/", f"{t['root']}/daily", None, 4096),
    "an overlay": lambda t: mount(b"overlay", f"{t['root']}/daily", b"overlay", 0),
    "processes": lambda t: mount(b"proc", f"{t['root']}/daily", b"proc", 0),
    "the system": lambda t: mount(b"sysfs", f"{t['root']}/daily", b"sysfs", 0),
    "control groups": lambda t: mount(b"cgroup2", f"{t['root']}/daily", b"cgroup2", 0),
    "shared with others": lambda t: mount(None, "/", None, 1 << 20),
    "in a new way": lambda t: attach(t, new_file_system(t)),
    "a copy of a tree": lambda t: attach(t, tree(t)),
    "with other attributes": lambda t: called(libc.syscall(442, -100, t["folder"].encode(), 0, struct.pack("QQQQ", 0, 1, 0, 0), 32)) == 0 and "writable",
    "with another root": lambda t: called(libc.syscall(155, b".", b".")) == 0 and "pivoted",
    "away what covers": lambda t: called(libc.umount2(f"{t['root']}/site/.git".encode(), 2)) == 0 and "uncovered",
    "away the processes": lambda t: called(libc.umount2(b"/proc", 2)) == 0 and "unmounted",
    "by 32-bit calls": lambda t: X86_64 and in_child(lambda: by_int80(21, b"/", 0, 0) != -14 and "the call was answered"),
}  # fmt: skip
named("mount", MOUNTS, MOUNTS.get, harmful)


# -- sockets, more


FAMILIES = {"raw": (2, 3, 255), "raw of IPv6": (10, 3, 255), "packet": (17, 2, 0), "key": (15, 3, 2), "tipc": (30, 2, 0), "bluetooth": (31, 3, 1),
            "alg": (38, 5, 0), "vsock datagram": (40, 2, 0), "xdp": (44, 3, 0), "can": (29, 3, 1), "qipcrtr": (42, 2, 0)}  # fmt: skip


def family(what):
    def make(t):
        with socket.socket(*FAMILIES[what]) as made:
            return f"a socket {made.fileno()}"

    return make


named("socket", FAMILIES, family)


@attempt
def pairs_of_other_families(t):
    """A family is asked for a pair: it may have none, but where it is asked at all, its module was loaded for that."""
    answers = {}
    for number in (17, 40, 44):
        libc.syscall(53, number, 1, 0, bytes(8))
        answers[number] = ctypes.get_errno()
    return [number for number, answer in answers.items() if answer != errno.EAFNOSUPPORT]


def datagram(t):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"escaped", t["datagrams"])
    return "sent"


def stream(path):
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(path)
        return f"connected to {path}"


def any_of(paths):
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            found.append(stream(path))
    return found


def port(t, address, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as asking:
        asking.settimeout(2)
        asking.connect((address, t["tcp6" if address == "::1" else "tcp"]))
        return "connected"


CONNECTIONS = {
    "to a socket in a granted folder": lambda t: any_of(["../../daily/s", f"/proc/self/fd/{os.open('../../daily', os.O_PATH)}/s"]),
    "to a socket in a folder that it writes": lambda t: any_of(["../../site/s"]),
    "to other sockets of the workspace": lambda t: any_of(glob.glob(f"{t['root']}/.routinectl/run/*")),
    "by datagram": datagram,
    "by IPv6": lambda t: port(t, "::1"),
    "by all addresses": lambda t: port(t, "0.0.0.0"),
    "by an address in another": lambda t: port(t, "::ffff:127.0.0.1"),
    "by fast open": lambda t: socket.socket().sendto(b"escaped", 0x20000000, ("127.0.0.1", t["tcp"])) and "sent",
    "seen in the list of ports": lambda t: f":{t['tcp']:04X}" in whole("/proc/net/tcp") and "seen",
    "seen in the list of sockets": lambda t: t["abstract"] in whole("/proc/net/unix") and "seen",
}  # fmt: skip
named("connect", CONNECTIONS, CONNECTIONS.get)


@harmful
def connect_to_services_of_the_machine(t):
    return any_of([*glob.glob("/run/**/*sock*", recursive=True), "/dev/log", "/var/run/docker.sock"])


# -- the machine


MACHINE = {
    "the time": lambda t: called(libc.syscall(164, struct.pack("qq", 10**9, 0), None)) == 0 and "set",
    "the time by clock": lambda t: called(libc.syscall(227, 0, struct.pack("qq", 10**9, 0))) == 0 and "set",
    "the time slowly": lambda t: called(libc.syscall(159, struct.pack("Iq", 2, 1) + bytes(200))) >= 0 and "set",
    "another kernel": lambda t: called(libc.syscall(246, 0, 0, None, 0)) == 0 and "loaded",
    "another kernel by file": lambda t: called(libc.syscall(320, -1, -1, 0, b"", 8)) == 0 and "loaded",
    "a module": lambda t: called(libc.syscall(175, b"", 0, b"")) == 0 and "loaded",
    "a module by file": lambda t: called(libc.syscall(313, os.open("/dev/null", os.O_RDONLY), b"", 0)) == 0 and "loaded",
    "one module less": lambda t: called(libc.syscall(176, b"dummy", 0)) == 0 and "removed",
    "swap": lambda t: called(libc.syscall(167, f"{t['folder']}/out/s".encode(), 0)) == 0 and "swapon",
    "no swap": lambda t: called(libc.syscall(168, b"/dev/vda")) == 0 and "swapoff",
    "an account of all processes": lambda t: called(libc.syscall(163, f"{t['folder']}/out/s".encode())) == 0 and "acct",
    "the end": lambda t: called(libc.syscall(169, 0xFEE1DEAD, 672274793, 0, None)) == 0 and "Ctrl-Alt-Del",
    "the terminal": lambda t: called(libc.syscall(153)) == 0 and "hung up",
    "its domain": lambda t: called(libc.syscall(171, b"escaped", 7)) == 0 and "set",
    "quotas": lambda t: called(libc.syscall(179, 0x80000200, b"/dev/vda", 0, None)) == 0 and "on",
    "all disks still": lambda t: fcntl.ioctl(os.open(t["folder"], os.O_RDONLY), 0xC0045877, 0) == 0 and "frozen",
}  # fmt: skip
named("machine", MACHINE, MACHINE.get, harmful)


@attempt
def leave_a_core(t):
    """Whatever takes cores on the host (a program, where the pattern says so) runs there with the power of the machine."""

    def crash():
        os.chdir(f"{t['folder']}/out")
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        ctypes.string_at(0)

    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(Exception):
            crash()
        os.kill(os.getpid(), signal.SIGSEGV)
    return os.WCOREDUMP(os.waitpid(pid, 0)[1]) and "a core"


@attempt
def use_up_watches(t):
    """The counter is the user's, on the whole machine: whoever else of the user wants one, goes without."""
    return in_child(lambda: all(libc.inotify_init1(0) >= 0 for _ in range(t["watches"] * 3 // 4)) and "three quarters of what the user has")


# -- what it may write: layers, covers, places of mounts


def exchange(one, other, flags):
    called(libc.syscall(316, -100, one.encode(), -100, other.encode(), flags))
    return "renamed"


SITE = "../../site"


def below_a_cover():
    for one, other in (("deep", "deeper"), ("deep", "../out/deep")):
        with contextlib.suppress(OSError):
            os.rename(f"{SITE}/{one}", f"{SITE}/{other}")
            return taken(f"{SITE}/{other}/.git/config")
    return None


def moved(one, other):
    os.rename(one, other)
    os.rename(other, one)  # the attempts after it need it
    return "renamed"


LAYERS = {
    "look below a cover": lambda t: taken(f"/proc/self/fd/{os.open(SITE, os.O_PATH)}/deep/.git/config"),
    "look below a cover through its parent": lambda t: taken(f"{SITE}/deep/../deep/.git/config"),
    "rename a cover": lambda t: moved(f"{SITE}/.git", f"{SITE}/was-git"),
    "exchange a cover": lambda t: (os.makedirs(f"{SITE}/mine", exist_ok=True), exchange(f"{SITE}/mine", f"{SITE}/.git", 2))[-1],
    "rename over a cover": lambda t: (os.makedirs(f"{SITE}/mine", exist_ok=True), os.rename(f"{SITE}/mine", f"{SITE}/deep/.git"), "renamed")[-1],
    "remove a cover": lambda t: os.rmdir(f"{SITE}/.git") or "removed",
    "rename what holds a cover": lambda t: below_a_cover(),
    "link over from a layer": lambda t: os.link(f"{SITE}/page", "out/page") or "linked",
    "link over to a layer": lambda t: (open("out/own", "w").close(), os.link("out/own", f"{SITE}/own"), "linked")[-1],
    "rename the place of a mount": lambda t: moved("out", "out-was"),
    "replace the place of a mount": lambda t: (os.makedirs("out/mine", exist_ok=True), exchange("out/mine", "memory", 2), "exchanged")[-1],
    "remove the place of a mount": lambda t: (os.rename("memory", "memory-was"), "removed")[-1],
    "rename the granted folder": lambda t: moved(SITE, f"{SITE}-was"),
    "leave a whiteout in a layer": lambda t: os.mknod(f"{SITE}/page2", 0o20000, 0) or "made",
    "leave a whiteout by renaming": lambda t: (open(f"{SITE}/r", "w").close(), exchange(f"{SITE}/r", f"{SITE}/r2", 4))[-1] and os.path.exists(f"{SITE}/r") and "left",
    "mark for whoever is trusted": lambda t: os.setxattr(SITE, "trusted.overlay.opaque", b"y") or "marked",
    "find the folder of its layers": lambda t: [line for line in read("/proc/self/mountinfo").splitlines() if "upperdir=/" in line
                                               and os.path.exists(line.partition("upperdir=")[2].partition(",")[0])],
    "write below a layer": lambda t: write(glob.glob(f"{t['root']}/.routinectl/runs/try/*/written/*/*/upper")[0] + "/x"),
}  # fmt: skip
named("layer", LAYERS, LAYERS.get)
MARKS = {"opaque": b"y", "redirect": b"/../../secrets", "metacopy": b"", "whiteout": b"", "origin": b"x", "impure": b"y"}


def mark(what):
    """Mark a folder and a file of its own as overlays mark theirs: neither may be carried over."""

    def put(t):
        os.makedirs(f"{SITE}/marked", exist_ok=True)
        write(f"{SITE}/marked/file")
        for path in (f"{SITE}/marked", f"{SITE}/marked/file"):
            os.setxattr(path, f"user.overlay.{what}", MARKS[what])

    return put  # whoever looks at the folder when the run has ended, sees what came of it


named("mark", MARKS, mark)


def waited(*_):
    raise TimeoutError("it waits")


def main(targets):
    said = []
    signal.signal(signal.SIGALRM, waited)
    order = {"start_another_run": -1, "kill_outsider": 1}  # before the workspace is spoilt, and after the outsider was traced
    for name, function in sorted(ATTEMPTS.items(), key=lambda item: order.get(item[0], 0)):
        if targets["free"] and name in HARMFUL:
            continue
        try:
            signal.alarm(20)
            got = function(targets)
            signal.alarm(0)
        except Exception as error:  # noqa: BLE001  # whatever keeps it in, is well
            said.append({"attempt": name, "got": None, "why": f"{type(error).__name__}: {error}"})
        else:
            said.append({"attempt": name, "got": str(got) if got else None})
    print("\n".join(json.dumps(item) for item in said), flush=True)  # at the end: one attempt empties the output
    if os.fork() == 0:  # and one that would stay
        os.setsid()
        if os.fork() == 0:
            signal.pause()
        os._exit(0)
