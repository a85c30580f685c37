"""Opening files that somebody else may have put there: what a definition names, and what a run may leave behind.

A FIFO waits for a writer, a device may have no end, and a link may lead to either. So such a file is opened here and
nowhere else: without waiting, only where it is a regular file, and read up to a bound. `tests/test_floors.py` keeps it so.
A file system that hangs (a dead NFS mount) still holds whoever opens something on it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

LEADS_OUT = "it is a link that leads out of the workspace"


class NotAFileError(OSError):
    """What is there is a folder, a FIFO, a device or a socket, or lies elsewhere; `said` says which in words."""

    def __init__(self, said: str, path: str | Path) -> None:
        super().__init__(errno.EINVAL, said, str(path))
        self.said = said


def opened(path: str | Path, flags: int = os.O_RDONLY, *, links: bool = True) -> int:
    """Return a descriptor of a regular file, opened without waiting; with `links` off, never of what a link leads to.

    Raises OSError, whose `strerror` says what is wrong in words.
    """
    try:
        fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW), 0o644)
    except OSError as error:
        if error.errno == errno.ENXIO:  # what the system says of a socket
            raise NotAFileError("it is a device or socket, not a file", path) from None
        raise
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    raise NotAFileError(f"it is {_kind(mode)}, not a file", path)


def opened_below(folder: str | Path, path: str | Path) -> int:
    """Return a descriptor as `opened` does, of a file that lies in a folder without a link that leads out. Raises OSError."""
    fd = opened(path)
    if is_below(place_of(fd, path), folder):
        return fd
    os.close(fd)
    raise NotAFileError(LEADS_OUT, path)


def read(path: str | Path, most: int, *, links: bool = True) -> bytes:
    """Return a regular file whole. Raises OSError, also for one of more than `most` bytes."""
    fd = opened(path, links=links)
    try:
        return all_of(fd, path, most)
    finally:
        os.close(fd)


def all_of(fd: int, path: str | Path, most: int) -> bytes:
    """Return what is left of an opened file. Raises OSError where that is more than `most` bytes: a size that was looked at may grow."""
    parts: list[bytes] = []
    left = most + 1
    while left and (part := os.read(fd, left)):
        parts.append(part)
        left -= len(part)
    if not left:
        raise OSError(errno.EFBIG, f"it is larger than {_size(most)}", str(path))
    return b"".join(parts)


def part(path: str | Path, offset: int, size: int) -> bytes:
    """Return at most `size` bytes of a regular file from an offset on; a negative one counts from its end. Raises OSError."""
    fd = opened(path)
    try:
        if offset < 0:
            offset = max(os.fstat(fd).st_size + offset, 0)
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


def place_of(fd: int, path: str | Path) -> str:
    """Return where an opened file lies, without links: of the very file that was opened, where /proc can tell."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return os.path.realpath(path)


def is_below(place: str, folder: str | Path) -> bool:
    """Say whether a place without links lies in a folder, which may have some above it."""
    return place.startswith(os.path.realpath(folder).rstrip("/") + "/")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a FIFO" if stat.S_ISFIFO(mode) else "a device or socket"


def _size(count: int) -> str:
    return f"{count // 1024**2} MiB" if count >= 1024**2 else f"{count // 1024} KiB"
