"""A copy of the workspace for a run that proposes edits: what is copied, and which changes nobody may propose.

The copy is of the files as they lie in the workspace when the run begins, committed or not: these are the bytes whose
content was approved, and a person's own unfinished work is neither lost nor proposed. Nothing private is in it.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from routinectl.core import permissions, repositories
from routinectl.files.layout import CONFIG

_PRIVATE = frozenset(place for place in permissions.PRIVATE if "/" not in place)  # a run's memory is mounted over the copy
_ITS_OUTPUT = frozenset({"state.json", "history.jsonl"})
_MOST_FILES, _MOST_BYTES = 50_000, 2 << 30


class TooLarge(Exception):
    """The workspace is too large to be copied for a run; the text says how large it may be."""


def copied(path: str) -> bool:
    """Say whether a file of the workspace, by its path from the root, belongs into the copy."""
    parts = path.split("/")
    return not (permissions.is_private(path) or (parts[0] == "routines" and len(parts) > 2 and parts[2] in _ITS_OUTPUT))


def everything(root: Path) -> Iterator[str]:
    """Yield every file below a folder that is under no version control, by its path from it."""
    for path, folders, files in os.walk(root):
        above = os.path.relpath(path, root)
        places = [name if above == "." else f"{above}/{name}" for name in folders]
        links = [name for name in folders if os.path.islink(f"{path}/{name}")]
        folders[:] = [name for name, place in zip(folders, places, strict=True) if copied(place) and name not in links]
        yield from (name if above == "." else f"{above}/{name}" for name in [*files, *links])


def copy(root: Path, names: Iterable[str], target: Path) -> None:
    """Copy these files of the workspace into a new folder; links stay links. Raises OSError, TooLarge."""
    count = size = 0
    target.mkdir(parents=True, mode=0o700)
    for name in names:
        if not copied(name):
            continue
        source, place = root / name, target / name
        with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
            found = os.lstat(source)
            count, size = count + 1, size + found.st_size
            if count > _MOST_FILES or size > _MOST_BYTES:
                raise TooLarge(f"the workspace has over {_MOST_FILES} files or {_MOST_BYTES >> 30} GiB; more is not copied for a run")
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place, follow_symlinks=False)


def duplicate(tree: Path, target: Path) -> None:
    """Copy a copy. Raises OSError."""
    shutil.copytree(tree, target, symlinks=True)


def refused(base: Path, edited: Path) -> list[str]:
    """Return what of a run's changes nobody may propose, each with its reason: git's own files, links that lead out, what is no file."""
    found = []
    for path, folders, files in os.walk(edited):
        for name in [*folders, *files]:
            place = f"{path}/{name}"
            why = _fault(place, str(edited))
            name_here = os.path.relpath(place, edited)
            if why and not _same(base / name_here, Path(place)):
                found.append(f"{name_here}: {why}")
        folders[:] = [name for name in folders if name.lower() != ".git"]
    return sorted(found)


def _fault(place: str, top: str) -> str:
    name = os.path.basename(place).lower()
    if os.path.relpath(place, top) == CONFIG:
        return "is the workspace's settings"
    if name.startswith(".git") or name in repositories.NAMES or os.path.relpath(place, top).split("/")[0] in _PRIVATE:
        return "is git's own or private"
    mode = os.lstat(place).st_mode
    if stat.S_ISLNK(mode):
        target = os.readlink(place)
        leads = os.path.normpath(os.path.join(os.path.dirname(place), target))
        if target.startswith("/") or not leads.startswith(top + "/"):
            return "a link that leads out"
        return "" if copied(os.path.relpath(leads, top)) else "a link to what is private"
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "no file"


def _same(before: Path, after: Path) -> bool:
    """Say whether something is as it was before the run."""
    try:
        was, is_now = os.lstat(before), os.lstat(after)
    except OSError:
        return False
    if stat.S_IFMT(was.st_mode) != stat.S_IFMT(is_now.st_mode):
        return False
    if stat.S_ISLNK(was.st_mode):
        return os.readlink(before) == os.readlink(after)
    return stat.S_ISREG(was.st_mode) and filecmp.cmp(before, after, shallow=False)
