"""Definitions on disk: finding them, reading them safely, and remembering which have not changed.

A definition is a regular file of at most 64 KiB inside the workspace. Anything else in its place (a folder, a FIFO, a
device, a link that leads out or around in a circle, a file of 10 MB, bytes that are not UTF-8) is a fault of that
routine, named with its place, and of no other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from routinectl.core import document, fingerprint, reaction
from routinectl.core.problem import Problem
from routinectl.core.routine import RESERVED_IDS, effective, is_id
from routinectl.core.schedule import zone
from routinectl.core.schedule.read import Reading
from routinectl.core.settings import Settings
from routinectl.core.units import to_epoch
from routinectl.errors import DefinitionError, UnreadableError
from routinectl.files import atomic, regular
from routinectl.files.layout import DEFINITION, Layout

_UTC = "UTC"


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition that is good: the effective document and its fingerprint."""

    id: str
    doc: dict[str, Any]
    fingerprint: str
    sources: tuple[str, ...] = ()  # other files that it was read from


def scan(layout: Layout) -> dict[str, str]:
    """Return every routine's folder with a key of its file's state; an equal key means an unchanged file.

    The key is mtime, size and inode; a folder without a definition is no routine.
    """
    found: dict[str, str] = {}
    base = f"{layout.routines}/"
    try:
        names = os.listdir(base)
    except FileNotFoundError:
        return found
    for name in names:
        key = key_of(f"{base}{name}/{DEFINITION}") if not name.startswith(".") and is_text(name) else ""
        if key:
            found[name] = key
    return found


def is_text(name: str) -> bool:
    """Say whether a name on disk is UTF-8. Another can be written nowhere, and so is no routine's."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def nameless(layout: Layout) -> list[Problem]:
    """Return a fault for each folder with a definition whose name is not UTF-8, as an old archive may bring one."""
    names: list[bytes] = []
    with contextlib.suppress(FileNotFoundError):
        names = [os.fsencode(name) for name in os.listdir(layout.routines) if not is_text(name)]
    shown = [repr(name)[2:-1] for name in sorted(names) if key_of(os.path.join(os.fsencode(layout.routines), name, DEFINITION.encode()))]
    return [
        Problem(
            "the folder's name is not UTF-8, so it is no routine", (), f"mv routines/$'{name}' routines/another-name", f"routines/{name}"
        )
        for name in shown
    ]


def key_of(path: str | bytes | Path) -> str:
    """Return the key of a file's state, empty when there is none."""
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return f"error {error.errno}"
    return f"{found.st_mtime_ns:x}.{found.st_size:x}.{found.st_ino:x}"


def read_bytes(layout: Layout, routine_id: str) -> bytes:
    """Return the bytes of a definition. Raises DefinitionError for anything that is not a small file of the workspace."""
    path = layout.definition(routine_id)
    name = relative(layout, path)
    try:
        fd = regular.opened_below(layout.root, path)
    except regular.NotAFileError as error:
        raise (_leads_out(name) if error.said == regular.LEADS_OUT else fault(error.said, name, f"ls -l {name}")) from None
    except OSError as error:
        raise unread(error, name) from None
    try:
        size = os.fstat(fd).st_size
        return b" " * size if size > document.MAX_BYTES else os.read(fd, document.MAX_BYTES + 1)
    except OSError as error:
        raise unread(error, name) from None
    finally:
        os.close(fd)


def require_inside(layout: Layout, routine_id: str) -> None:
    """Raise DefinitionError where what is written of a routine would lie in another place than the workspace."""
    if layout.leads_out(routine_id):
        raise _leads_out(relative(layout, layout.definition(routine_id)))


def _leads_out(name: str) -> DefinitionError:
    return fault(regular.LEADS_OUT, name, f'cp --remove-destination "$(readlink -f {name})" {name}')


def _open_fault(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a link that leads around in a circle"
    if error.errno == errno.ENOENT:
        return "it does not exist (or is a link that leads nowhere)"
    return f"it cannot be read: {error.strerror}"


def load(layout: Layout, routine_id: str, settings: Settings, now: datetime, *, past: bool = True) -> Definition:
    """Return a good definition. Raises DefinitionError with all its faults, each with its place."""
    name = relative(layout, layout.definition(routine_id))
    if not is_id(routine_id):
        reserved = "is reserved" if routine_id in RESERVED_IDS else "is not an id: lower-case letters, digits and -, at most 63"
        raise fault(f"the folder's name '{routine_id}' {reserved}", name, f"mv routines/{routine_id} routines/another-name")
    return parse(layout, read_bytes(layout, routine_id), name, routine_id, settings, now, past=past)


def parse(layout: Layout, raw: bytes, file: str, routine_id: str, settings: Settings, now: datetime, *, past: bool) -> Definition:
    """Return the definition of a text; `past` says whether its single moments may be over. Raises DefinitionError."""
    doc = document.read(raw, file)
    problems = problems_of(doc, routine_id, settings, now, past=past)
    merged = effective(routine_id, doc, settings) if not problems else {}
    sources: list[str] = []
    if "calendar" in merged:
        from routinectl.files import calendars

        merged["calendar"], problems, sources = calendars.resolve(layout, routine_id, merged["calendar"], now)
    if "use" in merged.get("action", {}).get("agent", {}):
        from routinectl.files import agents

        merged, faulty, others = agents.resolve(layout, merged, settings)
        problems, sources = [*problems, *faulty], [*sources, *others]
    if any("after" in trigger for trigger in merged.get("triggers", ())):
        circle, others = _circle(layout, routine_id, merged, settings)
        problems, sources = [*problems, *circle], [*sources, *others]
    if problems:
        marks = document.places(raw)
        placed = sorted((document.locate(problem, marks, file) for problem in problems), key=lambda item: (item.line, item.column))
        count = "a fault" if len(placed) == 1 else f"{len(placed)} faults"
        raise DefinitionError(f"{file} has {count}", placed[0].hint, placed, tuple(sources))
    return Definition(routine_id, merged, fingerprint.of_definition(merged), tuple(sources))


def _circle(layout: Layout, routine_id: str, doc: dict[str, Any], settings: Settings) -> tuple[list[Problem], list[str]]:
    """Return the fault of a routine that would follow itself, and the files that were read to see it."""
    from routinectl.files import schemas

    read: list[str] = []

    def doc_of(name: str) -> dict[str, Any] | None:
        read.append(str(layout.definition(name)))
        try:
            found = document.read(read_bytes(layout, name))
            if not schemas.accepts("routine")(found) or found.get("owner", settings.owner) != doc.get("owner", settings.owner):
                return None  # what another owner's routine follows is not to be told, and neither of them follows the other
            return dict(found)
        except DefinitionError:
            return None

    chain = reaction.loop(routine_id, doc, doc_of)
    if not chain:
        return [], read
    index = next(index for index, trigger in enumerate(doc["triggers"]) if trigger.get("after", {}).get("routine") == chain[-2])
    message = f"it would follow itself: {' -> '.join(chain)}"
    return [Problem(message, ("triggers", index, "after", "routine"), "remove one of these `after` triggers")], read


def problems_of(doc: Any, routine_id: str, settings: Settings, now: datetime, *, past: bool) -> list[Problem]:
    """Return every fault of a document, without places."""
    from routinectl.core import checks, schema
    from routinectl.files import schemas

    if not schemas.accepts("routine")(doc):
        problems = schema.faults(schemas.load("routine"), doc)
        return problems or [Problem("it does not satisfy the schema", (), "routinectl schema")]
    reading = Reading(zone.load(_UTC), to_epoch(now), settings.min_interval, past)
    return checks.check(effective(routine_id, doc, settings), reading, settings)


def unread(error: OSError, file: str) -> UnreadableError:
    """Return the error of a file that the system did not let us read, this time."""
    message, hint = _open_fault(error), f"ls -l {file}"
    return UnreadableError(f"{file}: {message}", hint, [Problem(message, (), hint, file)])


def fault(message: str, file: str, hint: str) -> DefinitionError:
    """Return the error of a fault that is about a whole file."""
    return DefinitionError(f"{file}: {message}", hint, [Problem(message, (), hint, file)])


def relative(layout: Layout, path: Path) -> str:
    """Return a path as people see it from the workspace's root."""
    return str(path.relative_to(layout.root))


class Cache:
    """Which definitions have been read, by the state of their files; it may be deleted at any time.

    It is good only for the words it was written with: the settings that are merged into definitions, and this version.
    """

    def __init__(self, layout: Layout) -> None:
        self.path = layout.cache / "definitions"

    def read(self, words: str) -> dict[str, str]:
        """Return the remembered keys, empty when there are none for these words."""
        try:
            lines = self.path.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            return {}
        if not lines or lines[0] != words:
            return {}
        pairs = (line.partition("\t") for line in lines[1:])
        return {name: key for name, _, key in pairs}

    def write(self, words: str, keys: dict[str, str]) -> None:
        """Remember keys; not durable, because losing it costs nothing but time."""
        text = "\n".join([words, *(f"{name}\t{key}" for name, key in keys.items())]) + "\n"
        atomic.write(self.path, text.encode(), mode=0o600, durable=False)
