"""Finding a workspace and reading its settings."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
from dataclasses import replace
from pathlib import Path
from typing import Any

from routinectl.core.settings import Settings, read_settings
from routinectl.errors import DefinitionError
from routinectl.files import atomic, regular
from routinectl.files.layout import CONFIG, Layout
from routinectl.version import VERSION

_MOST_BYTES = 1 << 20


def find(explicit: str | None = None) -> Layout:
    """Return the workspace: the one named, else ROUTINECTL_WORKSPACE, else the nearest folder above with routinectl.yaml.

    Raises DefinitionError when there is none.
    """
    named = explicit or os.environ.get("ROUTINECTL_WORKSPACE")
    if named:
        root = Path(named).expanduser().absolute()
        if not (root / CONFIG).exists():
            raise DefinitionError(f"{root} is no workspace: it has no {CONFIG}", f"routinectl init {named}")
        return Layout(root)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / CONFIG).exists():
            return Layout(folder)
    raise DefinitionError(f"there is no workspace here: no {CONFIG} in {here} or above", "routinectl init")


def load(layout: Layout) -> Settings:
    """Return the settings of a workspace. Raises DefinitionError with every fault of routinectl.yaml.

    A good file is remembered as JSON by its state, so that a command does not load a YAML parser for ten lines; the
    cache may always be deleted.
    """
    key = f"{VERSION} {key_of(layout.config)}"
    cache = layout.cache / "settings"
    doc = _remembered(cache, key)
    if doc is not None:
        settings, problems = read_settings(doc)
        if not problems:
            return replace(settings, user=_user_of(layout.config))
    settings, doc = _read(layout)
    if layout.cache.is_dir():
        with contextlib.suppress(OSError):
            atomic.write(cache, json.dumps({"key": key, "doc": doc}).encode(), mode=0o600, durable=False)
    return replace(settings, user=_user_of(layout.config))


def _user_of(path: Path) -> str:
    """Return the name of the user to whom a file belongs; the number of one who has no name here."""
    try:
        uid = path.stat().st_uid
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
    except OSError:
        return ""


def key_of(path: Path) -> str:
    """Return a key of a file's state; an equal key means an unchanged file."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_mtime_ns:x}.{found.st_size:x}.{found.st_ino:x}"


def _remembered(cache: Path, key: str) -> dict[str, Any] | None:
    try:
        plain = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return None
    return plain["doc"] if isinstance(plain, dict) and plain.get("key") == key else None


def _read(layout: Layout) -> tuple[Settings, dict[str, Any]]:
    from routinectl.core import document, schema
    from routinectl.files import schemas

    file = CONFIG
    try:
        raw = regular.read(layout.config, _MOST_BYTES)
    except OSError as error:
        raise DefinitionError(f"{file} cannot be read: {error.strerror}", f"ls -l {layout.config}") from None
    doc = document.read(raw, file)
    doc = {} if doc is None else doc
    problems = [] if schemas.accepts("workspace")(doc) else schema.faults(schemas.load("workspace"), doc)
    settings = Settings()
    if not problems:
        settings, problems = read_settings(doc)
    if problems:
        marks = document.places(raw)
        placed = [document.locate(problem, marks, file) for problem in problems]
        raise DefinitionError(f"{file} has {_count(len(placed))}", placed[0].hint, placed)
    return settings, doc


def _count(number: int) -> str:
    return "a fault" if number == 1 else f"{number} faults"
