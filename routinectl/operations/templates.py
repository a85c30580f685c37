"""Templates: what there is, and making a routine of one. It is installed disabled, for review."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from routinectl.core import document
from routinectl.core.problem import did_you_mean
from routinectl.errors import NotFoundError, UsageError
from routinectl.files import editing, templates
from routinectl.files.layout import DEFINITION, Layout
from routinectl.operations import write
from routinectl.operations.look import written
from routinectl.operations.session import Session

Row = dict[str, Any]


def rows(layout: Layout | None) -> list[Row]:
    """Return each template: name, what it does, its schedule, and what may be set."""
    return [{"template": name, **_about(folder)} for name, folder in templates.every(layout).items()]


def _about(folder: Path) -> Row:
    doc = document.read((folder / DEFINITION).read_bytes(), DEFINITION)
    return {"description": doc.get("description", ""), "schedule": written(doc), "set": dict(doc.get("action", {}).get("env", {})),
            "files": sorted(item.name for item in folder.iterdir())}  # fmt: skip


def find(layout: Layout | None, name: str) -> Path:
    """Return the folder of a template. Raises NotFoundError."""
    known = templates.every(layout)
    if name not in known:
        raise NotFoundError(f"there is no template '{name}'", did_you_mean(name, known) or "routinectl templates list")
    return known[name]


def text(layout: Layout | None, name: str) -> str:
    """Return a template's definition, and its files after it. Raises NotFoundError."""
    folder = find(layout, name)
    others = [path for path in sorted(folder.iterdir()) if path.name != DEFINITION and path.is_file()]
    shown = [f"--- {path.name}\n{path.read_text(errors='replace')}" for path in others]
    return "\n".join([(folder / DEFINITION).read_text(), *shown])


def install(
    session: Session, name: str, routine_id: str, settings: Mapping[str, str], given: Mapping[str, Any], *, dry_run: bool
) -> write.Written:
    """Make a routine of a template: its files, and its definition with these settings and keys, disabled.

    A setting is a key of the template's action.env, else a key of the definition. Raises UsageError when the id is taken,
    DefinitionError when the result has faults; then nothing was written.
    """
    template = find(session.layout, name)
    folder = session.layout.folder(routine_id)
    if os.path.lexists(folder):
        raise UsageError(f"routines/{routine_id} exists already", f"routinectl add --template {name} --id another-id")
    raw = (template / DEFINITION).read_bytes()
    doc = document.read(raw, DEFINITION)
    settled, _ = write.settle_triggers(session, doc)
    changes: dict[tuple[str | int, ...], Any] = {(key,): value for key, value in given.items()}
    if settled.get("triggers") != doc.get("triggers") and "triggers" not in given:
        changes["triggers",] = settled["triggers"]
    changes["enabled",] = False
    environment = doc.get("action", {}).get("env", {})
    for key, value in settings.items():
        path = ("action", "env", key) if key in environment else write.parse_key(key)
        changes[path] = value if key in environment else write.parse_value(value)
    data = editing.change(raw, changes)
    made = templates.copy_agents(template, session.layout)  # before the check, which looks at them
    kept = False
    try:
        written = write.store(session, routine_id, data, created=True, dry_run=True)
        if not dry_run:
            templates.copy_files(template, folder)
            written = write.store(session, routine_id, data, created=True)
            kept = True
    finally:
        for place in [] if kept else [folder, *made]:
            shutil.rmtree(place, ignore_errors=True)
    return written
