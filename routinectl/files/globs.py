"""Files that globs name, and what was offered of them: the memory of file triggers.

A change is the difference to what was last offered, not an event: so nothing is lost over a restart, an overflow of
inotify, or a limit of its watches. What is offered next is written beside the memory first, under the request's id, and
takes its place once that request is on record (`settle`): a crash between the two offers nothing twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from routinectl.files import atomic
from routinectl.files.layout import Layout

State = tuple[int, int, int]  # mtime in ns, size, inode
_WILD = set("*?[")


def absolute(layout: Layout, routine_id: str, pattern: str) -> str:
    """Return a glob as an absolute one: relative to the routine's folder, `workspace:` to the root, `~` to the home folder."""
    return layout.resolve(routine_id, os.path.expanduser(pattern))


def base(pattern: str) -> str:
    """Return the deepest folder that surely holds everything a glob may name."""
    parts = pattern.split("/")
    fixed = next((index for index, part in enumerate(parts) if _WILD & set(part)), len(parts) - 1)
    return "/".join(parts[:fixed]) or "/"


def find(patterns: Sequence[str]) -> dict[str, State]:
    """Return the regular files that absolute globs name (`**` goes into folders), with their states."""
    found: dict[str, State] = {}
    for pattern in patterns:
        for path in glob.iglob(pattern, recursive=True, include_hidden=True):
            with contextlib.suppress(OSError):
                info = os.stat(path)
                if stat.S_ISREG(info.st_mode):
                    found[path] = (info.st_mtime_ns, info.st_size, info.st_ino)
    return found


def is_being_written(path: str) -> bool:
    """Say whether somebody has a file open for writing; False where that cannot be known.

    A read lease is granted only while nobody has: Linux, and files of our own user (fcntl(2), F_SETLEASE).
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


@dataclass(slots=True)
class Offered:
    """What was last offered: under which globs, the state of each file then, and what the newest offer (`request`) changed."""

    patterns: list[str]
    files: dict[str, State]
    request: str = ""
    before: dict[str, State | None] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"patterns": self.patterns, "files": self.files, "request": self.request, "before": self.before}


def read(layout: Layout, routine_id: str, heard: Sequence[str]) -> Offered | None:
    """Return what was last offered, None when nothing ever was. `heard` are the happenings that the routine has on record."""
    pending = _load(_path(layout, routine_id, ".next"))
    if pending is not None and pending.request.rpartition("-")[2] in heard:
        settle(layout, routine_id)
    return _load(_path(layout, routine_id))


def prepare(layout: Layout, routine_id: str, offered: Offered) -> None:
    """Write what is about to be offered, durably."""
    os.makedirs(_path(layout, routine_id).parent, mode=0o700, exist_ok=True)
    atomic.write(_path(layout, routine_id, ".next"), json.dumps(offered.plain()).encode(), mode=0o600)


def settle(layout: Layout, routine_id: str) -> None:
    """Have what was prepared count."""
    path = _path(layout, routine_id)
    os.replace(_path(layout, routine_id, ".next"), path)
    atomic.sync_folder(path.parent)


def _path(layout: Layout, routine_id: str, tail: str = "") -> Path:
    return layout.private / "files" / f"{routine_id}.json{tail}"


def _load(path: Path) -> Offered | None:
    try:
        plain = json.loads(path.read_bytes())
        before = {name: _state(state) if state else None for name, state in plain["before"].items()}
        return Offered(plain["patterns"], {name: _state(state) for name, state in plain["files"].items()}, plain["request"], before)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _state(found: Sequence[int]) -> State:
    return found[0], found[1], found[2]
