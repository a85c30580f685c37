"""What a run tries on every node that it can name: mode, owner, times, attributes, flags, names. Run as `nodes:main` by a confined routine.

Of the system's folders a sample is taken, and what is tried there sets what is there already: where that succeeds, the change time
tells, and nobody is harmed. It prints which nodes were tried, and what could be done to those that are not the run's own.
"""

import errno
import json
import os
import stat

from escapes import ATTRIBUTES, whole

SAMPLE = 3000
SAME = [name for name in ATTRIBUTES if name.startswith(("mode", "owner", "times by path", "times by descriptor", "times by way", "flags"))]


def passed(call):
    """Say whether a call got as far as the node: where it names an attribute that is not there, the kernel says so only then."""
    try:
        call()
    except OSError as error:
        return error.errno == errno.ENODATA
    return True


OF_A_LINK = {
    "owner of the link": lambda path: os.lchown(path, os.getuid(), os.getgid()),
    "times of the link": lambda path: os.utime(path, ns=(os.lstat(path).st_atime_ns, os.lstat(path).st_mtime_ns), follow_symlinks=False),
    "attribute of the link": lambda path: os.setxattr(path, "trusted.none", b"", os.XATTR_REPLACE, follow_symlinks=False),
}  # fmt: skip
ANYWHERE = {
    **{name: ATTRIBUTES[name] for name in SAME},
    "an attribute in place of another": lambda path: os.setxattr(path, "user.none", b"", os.XATTR_REPLACE),
    "an attribute of the machine": lambda path: os.setxattr(path, "trusted.none", b"", os.XATTR_REPLACE),
    "an attribute less": lambda path: os.removexattr(path, "user.none"),
    "access by no list": lambda path: os.removexattr(path, "system.posix_acl_access") if os.path.isfile(path) else os.rmdir("/none"),
    **OF_A_LINK,
    "a lease": ATTRIBUTES["a lease on it"],
}  # fmt: skip
OF_THE_WORKSPACE = {
    **ATTRIBUTES,
    "no bytes": lambda path: os.truncate(path, 0),
    "another byte": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)),
    "another name": lambda path: os.rename(path, f"{path}-moved"),
    "a name of its own": lambda path: os.rename(path, f"out/moved{abs(hash(path))}"),
    "a second name": lambda path: os.link(path, f"{path}-linked"),
    "a second name of its own": lambda path: os.link(path, f"out/linked{abs(hash(path))}"),
    "a link in its place": lambda path: os.symlink("/", f"{path}/link" if os.path.isdir(path) else f"{path}-link"),
    "a folder in it": lambda path: os.mkdir(f"{path}/folder"),
    "a node in it": lambda path: os.mknod(f"{path}/node", 0o10600),
    "no file": os.unlink,
    "no folder": os.rmdir,
}  # fmt: skip


def walked(top, most=10**6):
    """Return every path below a folder that is there, the folder too, and at most so many of them, evenly taken."""
    found = [top]
    for above, folders, names in os.walk(top):
        found += [os.path.join(above, name) for name in [*folders, *names]]
    return found[:: max(len(found) // most, 1)]


def all_nodes(targets):
    """Return the nodes by where they are: of the system, of processes, devices, and all the rest, which is the workspace and what is around it."""
    tops = [f"/{name}" for name in os.listdir("/") if name not in ("proc", "tmp", "dev")]
    system = [path for top in tops for path in walked(top, SAMPLE // len(tops) if top != "/usr" else SAMPLE)]
    processes = [f"/proc/{name}" for name in os.listdir("/proc")] + walked("/proc/sys", 400)
    for process in ("self", "1", "self/task", "self/ns", "self/fd", "self/fdinfo", "self/attr", "1/fd", "1/ns"):
        try:
            processes += [f"/proc/{process}/{name}" for name in os.listdir(f"/proc/{process}")]
        except OSError:
            continue  # of the first process nothing can be listed
    rest = [path for path in walked("/tmp", SAMPLE) if not path.startswith(targets["root"])]
    return {
        "system": ["/", *system],
        "processes": processes,
        "devices": walked("/dev"),
        "around": rest,
        "workspace": walked(targets["root"]),
    }


def is_its_own(path, targets):
    """Say whether a run may do with a node as it likes: what it writes, its temporary files, its processes, its input and output."""
    owned = [*targets["own"], "/dev/shm", "/run/routinectl"]
    if any(path == top or path.startswith(f"{top}/") for top in owned):
        return True
    try:
        if os.path.islink(path) and not path.startswith(targets["root"]):
            leads = os.path.join(os.path.dirname(path), os.readlink(path))
            is_pipe = stat.S_ISFIFO(os.stat(path).st_mode)
            return is_pipe or "/runs/" in leads or not os.path.exists(leads) or (leads != path and is_its_own(leads, targets))
        is_temporary = path.startswith("/tmp") and not path.startswith(targets["root"])
        return is_temporary and os.stat(path).st_dev == os.stat("/tmp").st_dev
    except OSError:
        return False


def main(targets):
    if "Seccomp:\t2" not in whole("/proc/self/status"):
        raise SystemExit("this is for confined runs alone")
    first = os.open("/", os.O_RDONLY)
    got, tried = [], {}
    for kind, paths in all_nodes(targets).items():
        tried[kind] = paths
        for path in paths:
            calls = OF_THE_WORKSPACE if kind == "workspace" else ANYWHERE
            if is_its_own(path, targets):
                calls = OF_A_LINK if os.path.islink(path) and path.startswith(("/dev/", "/var/", "/bin", "/lib")) else {}
            for name, call in calls.items():
                try:
                    if passed(lambda: call(path)):  # noqa: B023  # it is called at once
                        got.append(f"{name}: {path}")
                except (OSError, ValueError):
                    continue
                finally:
                    os.closerange(first + 1, first + 64)
    print("\n" + json.dumps({"tried": tried, "got": got}), flush=True)
