"""The spool of messages: `inbox/<channel>/`, one file a message, removed once what it asks for is on record.

Whoever writes there renames a finished file into it, or gives it a name that begins with a dot until it is finished;
a file that was touched a moment ago is left until it is quiet. `.json` files are the JSON of a message (with its text
among the keys), others are its text. What cannot be taken is moved to `.refused` beside it, and kept.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routinectl.core import foreign
from routinectl.core import message as messages
from routinectl.core.reaction import CHANNEL
from routinectl.files import atomic, regular
from routinectl.files.layout import Layout

_MOST_BYTES = 1 << 20
_QUIET = 0.1  # seconds without a change after which a file is taken to be finished
_REFUSED = ".refused"


@dataclass(frozen=True, slots=True)
class Spooled:
    """A file of the spool: its key is the same as long as nobody writes to it."""

    path: str
    channel: str
    key: str
    size: int
    changed: float

    def is_quiet(self, now: float) -> bool:
        """Say whether nobody has written to it for a moment (or its time is in the future, where clocks differ)."""
        return not 0 <= now - self.changed < _QUIET


def scan(layout: Layout) -> list[Spooled]:
    """Return the files of the spool, the oldest first."""
    found = [item for channel in _names(str(layout.inbox)) for item in _files(f"{layout.inbox}/{channel}", channel)]
    return sorted(found, key=lambda item: (item.changed, item.path))


def _names(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if CHANNEL.fullmatch(name)]
    except OSError:
        return []  # there is none, or it is closed to us: nothing else waits for it


def _files(folder: str, channel: str) -> Iterator[Spooled]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            with contextlib.suppress(OSError):
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(info.st_mode):
                    key = f"{channel}/{entry.name}.{info.st_ino:x}.{info.st_mtime_ns:x}"
                    yield Spooled(entry.path, channel, key, info.st_size, info.st_mtime)


def read(item: Spooled) -> tuple[str, dict[str, Any]]:
    """Return the text and the JSON of a spooled message. Raises ValueError when it cannot be one."""
    text = regular.read(item.path, _MOST_BYTES, links=False).decode(errors="replace").rstrip("\n")
    if not item.path.endswith(".json"):
        return text, {}
    data = foreign.parse(text)
    if not isinstance(data, dict):
        raise ValueError("a .json message is an object")  # noqa: TRY004 - what is wrong is the file, not our call
    return messages.text_in(data), data


def remove(items: list[Spooled]) -> None:
    """Remove messages that are on record, durably: they must not come back after a power cut."""
    folders = set()
    for item in items:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(item.path)
            folders.add(os.path.dirname(item.path))
    for folder in folders:
        atomic.sync_folder(Path(folder))


def refuse(item: Spooled) -> str:
    """Move what cannot be a message aside, and return where it is now."""
    folder = f"{os.path.dirname(item.path)}/{_REFUSED}"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    target = f"{folder}/{os.path.basename(item.path)}"
    os.replace(item.path, target)
    return target
