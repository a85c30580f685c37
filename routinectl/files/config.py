"""Finding a workspace and reading its settings."""

from __future__ import annotations

import os
from pathlib import Path

from routinectl.core import document, schema
from routinectl.core.settings import Settings, read_settings
from routinectl.errors import DefinitionError
from routinectl.files import schemas
from routinectl.files.layout import CONFIG, Layout


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
    """Return the settings of a workspace. Raises DefinitionError with every fault of routinectl.yaml."""
    file = CONFIG
    try:
        raw = layout.config.read_bytes()
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
    return settings


def _count(number: int) -> str:
    return "a fault" if number == 1 else f"{number} faults"
