"""What a routine acts with: the files of its folder, and their digests."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from routinectl.core import fingerprint
from routinectl.files import regular
from routinectl.files.layout import DEFINITION, Layout

_NOT_CONTENT = frozenset({"state.json", "history.jsonl", "memory", "out", "__pycache__", DEFINITION})
_MOST_FILES = 1000
_NAMED_BYTES = 1024 * 1024
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """A file that a routine acts with: what it is called in the fingerprint, and where it lies.

    `by_state` is for a large file that an action names: its size and time stand for its bytes.
    """

    name: str
    path: str
    by_state: bool = False


class Contents:
    """Content fingerprints, with the digest of every file remembered by the state of the file."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._digests: dict[str, tuple[str, bytes]] = {}

    def of(self, routine_id: str, definition: str, named: Sequence[str] = ()) -> str:
        """Return the content fingerprint of a routine: its definition and its `parts`; empty where those are too large."""
        parts = self.parts(routine_id, named)
        return "" if parts is None else self.fingerprint(definition, parts)

    def parts(self, routine_id: str, named: Sequence[str] = ()) -> list[Part] | None:
        """Return the files of a routine's folder, and those its action names; None when they are too large to be hashed at every start.

        routinectl's own files and `memory/`, `out/` and names that begin with a dot are none of them.
        """
        base, root = str(self.layout.folder(routine_id)), str(self.layout.root)
        found = files_in(base)
        if found is None:
            return None
        for path in named:
            with contextlib.suppress(OSError):
                entry = os.stat(path)
                if stat.S_ISREG(entry.st_mode) and not path.startswith(f"{base}/"):
                    name = f"workspace:{path[len(root) + 1 :]}" if path.startswith(f"{root}/") else path
                    found.append(Part(name, path, entry.st_size > _NAMED_BYTES))
        return found

    def fingerprint(self, definition: str, parts: Sequence[Part]) -> str:
        """Return the content fingerprint of a definition (its own fingerprint) that acts with these files."""
        found: list[tuple[str, int, bytes]] = []
        for part in parts:
            with contextlib.suppress(OSError):
                entry = os.lstat(part.path)
                if stat.S_ISLNK(entry.st_mode) and os.path.isdir(part.path):
                    found.append((part.name, 0, os.fsencode(os.readlink(part.path))))
                    continue
                entry = os.stat(part.path)
                found.append((part.name, _mode(entry), _state(entry) if part.by_state else self._digest(part.path, entry)))
        return fingerprint.of_content(definition, found)

    def _digest(self, path: str, entry: os.stat_result) -> bytes:
        # The time of the last change of the inode is part of it: unlike that of the bytes it cannot be set by whoever writes them.
        key = f"{entry.st_ctime_ns:x}.{entry.st_mtime_ns:x}.{entry.st_size:x}.{entry.st_ino:x}"
        known = self._digests.get(path)
        if known is not None and known[0] == key:
            return known[1]
        import hashlib

        digest = hashlib.sha256(regular.read(path, _MOST_BYTES)).digest()
        self._digests[path] = (key, digest)
        return digest


def _mode(entry: os.stat_result) -> int:
    """Return what git keeps of a mode: the rest is a matter of the umask, and so of who made the checkout."""
    return 0o755 if entry.st_mode & stat.S_IXUSR else 0o644


def _state(entry: os.stat_result) -> bytes:
    """Return what stands for the bytes of a large file: an action may name data of any size, and a start cannot wait for its digest."""
    return f"{entry.st_size} {entry.st_mtime_ns}".encode()


def files_in(folder: str) -> list[Part] | None:
    """Return what a routine acts with in its folder; None when it is too large."""
    found: list[Part] = []
    total = 0
    for path, size in _files(folder):
        total += size
        if len(found) >= _MOST_FILES or total > _MOST_BYTES:
            return None
        found.append(Part(path[len(folder) + 1 :], path))
    return found


def is_content(name: str) -> bool:
    """Say whether a name in a routine's folder is part of what the routine acts with."""
    return name not in _NOT_CONTENT and not name.startswith(".")


def _files(folder: str) -> list[tuple[str, int]]:
    """Return the files below a folder with their sizes; a link to a folder is one, for where it leads matters."""
    found: list[tuple[str, int]] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return found
    for entry in entries:
        if not is_content(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            found += _files(entry.path)
        elif entry.is_file() or entry.is_dir():
            with contextlib.suppress(OSError):
                found.append((entry.path, entry.stat().st_size))
        if len(found) > _MOST_FILES:
            return found
    return found
