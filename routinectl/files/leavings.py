"""What a confined run has left in the folders that it may write, before anybody else opens them.

A forged repository is the trap: git runs what the configuration of a repository says, as soon as somebody types `git
status` inside it. What was there before the run is spared, and could not be written by it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from routinectl.files import regular

MOST_ENTRIES = 20_000  # that are looked through: the loop of serve waits for it
_SPARED = "spared.json"
_BARE = {"HEAD", "objects", "refs"}


class TooManyError(Exception):
    """There are more files than are looked through; the text says where."""


def repositories(folders: Iterable[str]) -> Iterator[str]:
    """Yield what makes a folder a git repository: `.git` (folder, file or link), and the HEAD of a bare one. Raises TooManyError."""
    seen = 0
    for top in folders:
        for path, below, files in os.walk(top):
            seen += len(below) + len(files)
            if seen > MOST_ENTRIES:
                raise TooManyError(f"{top} holds over {MOST_ENTRIES} files, which are not looked through; a run may write a smaller folder")
            names = {*below, *files}
            yield from (f"{path}/{name}" for name in names if name.lower() == ".git")
            if names >= _BARE and not path.endswith("/.git"):
                yield f"{path}/HEAD"
            below[:] = [name for name in below if name.lower() != ".git"]


def spare(folder: Path, found: Iterable[str]) -> None:
    """Remember in a run's folder which repositories were there before it."""
    found = sorted(found)
    if found:
        (folder / _SPARED).write_text(json.dumps(found))


def refuse(folder: Path, writable: Iterable[str], run: str) -> list[str]:
    """Rename the repositories that a run has made, so that git does not take them for any; return where they were. Raises TooManyError."""
    spared: set[str] = set()
    with contextlib.suppress(OSError, ValueError):
        spared = set(json.loads(regular.read(folder / _SPARED, 1 << 24)))
    refused = []
    for path in [path for path in repositories(writable) if path not in spared]:
        with contextlib.suppress(OSError):
            os.rename(path, f"{path}.refused-{run}")
        refused.append(path)
    return refused
