"""Files that a model is shown: read without following a link, bounded, in a stated order.

A link in a folder that some run may write could lead to a secret, and a model's provider is outside: so none is followed,
not even on the way to a file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from routinectl.core import permissions

FILE_BYTES, ALL_BYTES, MOST_FILES = 64 * 1024, 512 * 1024, 500
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Shown:
    """A file that is shown, and how: as a whole, cut, or left out (then `text` is empty). `why` says it in words."""

    name: str
    text: str
    size: int
    why: str = ""


def gather(root: Path, paths: Iterable[str]) -> list[Shown]:
    """Return what these files and folders (absolute; `root` is the workspace's) hold, in this order, folders by name. Raises OSError for a path that is not there."""
    shown: list[Shown] = []
    left = ALL_BYTES
    for path in paths:
        for file in _files(root, path):
            if len(shown) >= MOST_FILES:
                shown.append(Shown(str(path), "", 0, f"left out: more than {MOST_FILES} files"))
                return shown
            item = _read(root, file, os.path.relpath(file, root) if file.startswith(f"{root}/") else file, left)
            left -= len(item.text.encode())
            shown.append(item)
    return shown


def read_plain(root: Path, path: str, most: int) -> str:
    """Return a text file, up to so many bytes. Raises OSError, also for a link or what is no file; UnicodeDecodeError for no text."""
    with open(_open(root, path), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no file", path)
        return file.read(most).decode()


def _files(root: Path, path: str) -> Iterator[str]:
    """Yield a file itself, or the files below a folder, by name. Raises OSError."""
    fd = _open(root, path)
    try:
        folder = stat.S_ISDIR(os.fstat(fd).st_mode)
    finally:
        os.close(fd)
    if not folder:
        yield path
        return
    for top, folders, files in os.walk(path.rstrip("/")):
        below = os.path.relpath(top, root)
        folders[:] = sorted(
            name for name in folders if not (name.startswith(".") or permissions.is_private(os.path.normpath(f"{below}/{name}")))
        )
        yield from (f"{top}/{name}" for name in sorted(files) if not name.startswith("."))


def _open(root: Path, path: str) -> int:
    """Open a path part by part without following a link, but for those above the workspace. Raises OSError."""
    top = str(root)
    inside = path == top or path.startswith(f"{top}/")
    parts = [part for part in (path[len(top) :] if inside else path).split("/") if part]
    fd = os.open(os.path.realpath(top) if inside else "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for number, part in enumerate(parts, 1):
            below = os.open(part, _FLAGS | (os.O_DIRECTORY if number < len(parts) else 0), dir_fd=fd)
            os.close(fd)
            fd = below
    except OSError as error:
        os.close(fd)
        raise OSError(error.errno, error.strerror, path) from None
    return fd


def _read(root: Path, path: str, name: str, left: int) -> Shown:
    try:
        fd = _open(root, path)
    except OSError as error:
        return Shown(name, "", 0, f"left out: {error.strerror}")
    with open(fd, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            return Shown(name, "", 0, "left out: it is no file")
        data = file.read(min(FILE_BYTES, left))
    try:
        text = data.decode() if len(data) == found.st_size else data.decode(errors="ignore")
    except UnicodeDecodeError:
        return Shown(name, "", found.st_size, "left out: it is no text")
    if len(data) == found.st_size:
        return Shown(name, text, found.st_size)
    if not data:
        return Shown(name, "", found.st_size, f"left out: more than {ALL_BYTES // 1024} KiB in all")
    return Shown(name, text, found.st_size, f"cut: the first {len(data)} of {found.st_size} bytes")
