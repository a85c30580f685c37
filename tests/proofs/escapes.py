"""What a run tries in order to get out of its confinement. Each attempt returns what it got, or raises, or returns nothing.

Run as `escapes:main` by a routine; `targets` says what there is to get, and whether nothing holds it: then what would harm
the machine is left out. It prints a JSON line for each attempt.
"""

import contextlib
import ctypes
import fcntl
import glob
import json
import os
import resource
import signal
import socket
import struct
import subprocess

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
    return write("out/.git/config")


@attempt
def replace_protected_name_in_writable_folder(t):
    os.rename("out/.git", "out/was-git")
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
    os.link(f"/proc/self/fd/{fd}", path, follow_symlinks=True)


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


for way in (through_chmod, through_fchmod, through_fchmodat2, through_creat, through_open, through_openat2, through_a_file_without_name,
            through_mknod, through_mkdir, through_numbers, through_a_copy):  # fmt: skip

    def leave(t, way=way):
        return set_id(f"{t['folder']}/out", way)

    leave.__name__ = f"leave_set_id_{way.__name__}"
    attempt(leave)


@attempt
def call_what_nobody_knows(t):
    known = []
    for number in (*range(453, 480), 500, 600, 1000, 425, 437):
        libc.syscall(number, -1, 0, 0, 0, 0, 0)
        if ctypes.get_errno() != 38:
            known.append(number)
    return known


def main(targets):
    said = []
    order = {"start_another_run": -1, "kill_outsider": 1}  # before the workspace is spoilt, and after the outsider was traced
    for name, function in sorted(ATTEMPTS.items(), key=lambda item: order.get(item[0], 0)):
        if targets["free"] and name in HARMFUL:
            continue
        try:
            got = function(targets)
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
