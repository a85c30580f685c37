"""What a process, and so every run below it, can do here: keep programs in, gain rights, write where its user may.

A service inherits the hardening of its unit and hands it to its runs, and a shell on the same machine sees none of it.
So `serve` looks at itself and leaves the answer, and `doctor`, from a shell, compares.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from typing import Any

from routinectl.process import cgroups, proc, trial

_FOLDERS = ("/etc", "/opt", "/srv", "/tmp", "/usr/local", "/var/backups", "/var/lib", "/var/log", "/var/tmp")  # noqa: S108 - looked at, not used
_SHARED = ("/tmp", "/var/tmp")  # noqa: S108 - a service may have one of its own there


def look() -> dict[str, Any]:
    """Return what this process can do, as plain data; the trial of confinement takes a moment."""
    found = trial.best()
    own, places = proc.stat(os.getpid()), cgroups.look()
    folders = [os.path.expanduser("~"), *_FOLDERS]
    return {
        "pid": os.getpid(), "start": own.start if own else 0, "uid": os.geteuid(),
        "confinement": found.level, "why_not": found.why_not,
        "limits": {function: places.way(function) for function in cgroups.FUNCTIONS},
        "gains_rights": not _flag("NoNewPrivs"), "compiles": _compiles(),
        "writes": [path for path in folders if os.access(path, os.W_OK)],
        "shared": {path: [info.st_dev, info.st_ino] for path in _SHARED if os.path.isdir(path) for info in [os.stat(path)]},
    }  # fmt: skip


def less(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return, in words, what a process cannot do though this one can; who is somebody else's is asked for confinement alone."""
    lacks = []
    if here["confinement"] and not there["confinement"]:
        lacks.append(f"keep a program in ({there['why_not']})")
    if here["uid"] != there["uid"]:
        return lacks
    closed = [path for path in here["writes"] if path not in there["writes"]]
    if closed:
        lacks.append(f"write to {', '.join(closed)}")
    if here["gains_rights"] and not there["gains_rights"]:
        lacks.append("use sudo, su or any set-user-id program")
    if here["compiles"] and not there["compiles"]:
        lacks.append("run what compiles as it runs (node, java)")
    other = [path for path, inode in here["shared"].items() if there["shared"].get(path, inode) != inode]
    if other:
        lacks.append(f"see the {' and '.join(other)} of others")
    return lacks


def _flag(name: str) -> bool:
    try:
        with open("/proc/self/status") as file:
            return any(line.split() == [f"{name}:", "1"] for line in file)
    except OSError:
        return False


def _compiles() -> bool:
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError:
        return False
    return True
