"""Locks between processes: flock on a file that is never unlinked.

The kernel drops a lock with the last descriptor, so a dead holder leaves nothing to clean up. Nothing here unlocks:
a lease is shared with the run that inherited its descriptor, and an unlock would take it from both. filelock's
`FileLock` on the same path sees these locks, and these see it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self


class Lock:
    """A held lock. `close` gives this process's part of it up."""

    __slots__ = ("fd", "inode", "path")

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self.fd, self.inode = path, fd, os.fstat(fd).st_ino

    def close(self) -> None:
        """Give up this process's descriptor; the lock is free when every inherited copy is closed too."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def swapped(self) -> bool:
        """Say whether the path is no longer this lock's file, so that somebody else could lock beside us."""
        try:
            return os.stat(self.path).st_ino != self.inode
        except FileNotFoundError:
            return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_file(path: Path | str) -> int:
    """Open a lock file, making it where needed. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def hold(path: Path) -> Lock:
    """Take the lock, and wait for it where it is held: for what takes a moment. Raises OSError."""
    fd = open_file(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except BaseException:
        os.close(fd)
        raise
    return Lock(path, fd)


def try_lock(path: Path) -> Lock | None:
    """Take the lock if it is free; return None, without waiting, if it is not."""
    fd = open_file(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return Lock(path, fd)


def is_held(path: Path) -> bool:
    """Say whether anybody holds the lock, without making the file."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
