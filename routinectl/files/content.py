"""What a routine acts with: the files of its folder, their digests, and the commit they are at."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence

from routinectl.core import fingerprint
from routinectl.files.layout import DEFINITION, Layout

_NOT_CONTENT = frozenset({"state.json", "history.jsonl", "memory", "out", "__pycache__", DEFINITION})
_MOST_FILES = 1000
_NAMED_BYTES = 1024 * 1024
_MOST_BYTES = 64 * 1024 * 1024


class Contents:
    """Content fingerprints, with the digest of every file remembered by the state of the file."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._digests: dict[str, tuple[str, bytes]] = {}
        self._git: str | None = None

    def of(self, routine_id: str, definition: str, named: Sequence[str] = ()) -> str:
        """Return the content fingerprint of a routine: its definition, the files of its folder, and those its action names.

        Empty when the folder is too large to be hashed at every start; routinectl's own files and `memory/`, `out/` and
        names that begin with a dot are no content.
        """
        base = str(self.layout.folder(routine_id))
        found: list[tuple[str, int, bytes]] = []
        total = 0
        for path, entry in _files(base):
            total += entry.st_size
            if len(found) >= _MOST_FILES or total > _MOST_BYTES:
                return ""
            with contextlib.suppress(OSError):
                found.append((path[len(base) + 1 :], stat.S_IMODE(entry.st_mode), self._digest(path, entry)))
        for path in named:
            with contextlib.suppress(OSError):
                entry = os.stat(path)
                if stat.S_ISREG(entry.st_mode) and not path.startswith(f"{base}/"):
                    found.append(
                        (path, stat.S_IMODE(entry.st_mode), self._digest(path, entry) if entry.st_size <= _NAMED_BYTES else _state(entry))
                    )
        return fingerprint.of_content(definition, found)

    def _digest(self, path: str, entry: os.stat_result) -> bytes:
        key = f"{entry.st_mtime_ns:x}.{entry.st_size:x}.{entry.st_ino:x}"
        known = self._digests.get(path)
        if known is not None and known[0] == key:
            return known[1]
        import hashlib

        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        self._digests[path] = (key, digest)
        return digest

    def commit(self) -> str:
        """Return the commit the workspace's HEAD names, empty outside git. Reads git's files; runs nothing."""
        if self._git is None:
            folders = (self.layout.root, *self.layout.root.parents)
            self._git = next((str(folder / ".git") for folder in folders if (folder / ".git" / "HEAD").exists()), "")
        return _head(self._git) if self._git else ""


def _state(entry: os.stat_result) -> bytes:
    """Return what stands for the bytes of a large file: an action may name data of any size, and a start cannot wait for its digest."""
    return f"{entry.st_size} {entry.st_mtime_ns}".encode()


def _files(folder: str) -> list[tuple[str, os.stat_result]]:
    found: list[tuple[str, os.stat_result]] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return found
    for entry in entries:
        if entry.name in _NOT_CONTENT or entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            found += _files(entry.path)
        elif entry.is_file():
            with contextlib.suppress(OSError):
                found.append((entry.path, entry.stat()))
        if len(found) > _MOST_FILES:
            return found
    return found


def _head(git: str) -> str:
    try:
        with open(f"{git}/HEAD") as file:
            head = file.read().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if os.path.exists(f"{git}/{name}"):
            with open(f"{git}/{name}") as file:
                return file.read().strip()
        with open(f"{git}/packed-refs") as file:
            return next((line.split(" ")[0] for line in file if line.rstrip("\n").endswith(f" {name}")), "")
    except OSError:
        return ""
