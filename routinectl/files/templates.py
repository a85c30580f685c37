"""Presets: folders with a definition and what it needs. Those of the workspace come before those that are shipped."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from routinectl.files.content import is_content
from routinectl.files.layout import DEFINITION, Layout

_PACKAGE = Path(__file__).resolve().parent.parent
_AGENTS = "agents"  # of a template: saved agents that its routine uses
_APART = frozenset({"workspace"})


def shipped() -> Path:
    """Return where the shipped presets lie: in the wheel beside the package, in a checkout the examples."""
    packed = _PACKAGE / "templates"
    return packed if packed.is_dir() else _PACKAGE.parent / "examples"


def every(layout: Layout | None) -> dict[str, Path]:
    """Return the folder of each template by its name."""
    found: dict[str, Path] = {}
    for base in (shipped(), *((layout.root / "templates",) if layout is not None else ())):
        if base.is_dir():
            found |= {item.name: item for item in base.iterdir() if (item / DEFINITION).is_file() and item.name not in _APART}
    return dict(sorted(found.items()))


def copy_files(template: Path, folder: Path) -> list[str]:
    """Copy everything but the definition into a new routine's folder; returns the names."""
    names = sorted(name for name in os.listdir(template) if is_content(name) and name != _AGENTS)
    folder.mkdir(parents=True)
    for name in names:
        source = template / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy2(source, folder / name)
    return names


def copy_agents(template: Path, layout: Layout) -> list[Path]:
    """Copy the saved agents of a template into the workspace; one that is there already is left as it is. Returns the folders made."""
    made = []
    for source in sorted((template / _AGENTS).iterdir()) if (template / _AGENTS).is_dir() else ():
        target = layout.agents / source.name
        if not target.exists():
            shutil.copytree(source, target)
            made.append(target)
    return made
