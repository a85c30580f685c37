"""A run at `propose_edits`: its program works on a copy of the workspace, and what it has changed is left as a proposal.

The copy is made and compared outside the confinement, by the run's host. It leaves `proposal.patch` in the run's folder,
and `proposal.json` about it; the engine makes an event of that when the run has ended.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from routinectl.agents.confined import run_confined
from routinectl.files import edits, sealed
from routinectl.process import git, view

_MOST_PATCH = 10 << 20
_TREE, _BASE, _EDITED = "tree", "base", "edited"


def run(folder: Path, spec: dict[str, Any], stopped: Callable[[], bool]) -> int:
    """Run the program of `spec` so; return its exit status. Raises OSError, edits.TooLarge when it could not begin."""
    try:
        status = run_confined(prepare(folder, spec), dict(os.environ))
        return leave(folder) if status == 0 and not stopped() else status
    finally:
        clear(folder)


def clear(folder: Path) -> None:
    """Remove the copy. What a killed run leaves of it goes with its folder."""
    shutil.rmtree(folder / _TREE, ignore_errors=True)


def prepare(folder: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """Copy the workspace, and return the entry of `spec` with the copy in its place. Raises OSError, edits.TooLarge."""
    root, tree = Path(spec["root"]), folder / _TREE
    names = git.listed(root)
    edits.copy(root, edits.everything(root) if names is None else names, tree / _BASE)
    changed = sealed.difference(Path(spec["sealed"]), tree / _BASE, spec["id"]) if "sealed" in spec else ""
    if changed:
        raise OSError(f"{changed} was changed after the run was claimed; nothing of it ran")
    edits.duplicate(tree / _BASE, tree / _EDITED)
    return _inside(spec, tree / _EDITED)


def _inside(spec: dict[str, Any], edited: Path) -> dict[str, Any]:
    """Return the program's entry with the copy in the workspace's place, and on it what the copy has not."""
    entry: dict[str, Any] = spec["entry"]
    root = spec["root"]
    binds = [[str(edited), root, view.OWN, ""]]
    for source, target, how, layer in entry["confine"]["binds"]:
        within = target.startswith(root + "/")
        place = edited / target.removeprefix(root + "/")
        if within and how in view.READING and os.path.lexists(place):
            continue  # the copy has it, and there it may be changed
        if within and (os.path.isdir(source) or (layer and not os.path.lexists(source))):  # the latter is made as its view is
            place.mkdir(parents=True, exist_ok=True)
        binds.append([source, target, how, layer])
    if not os.path.isdir(edited / os.path.relpath(entry["cwd"], root)) and entry["cwd"].startswith(root + "/"):
        raise OSError(f"the workdir {entry['cwd']} holds no file that git knows, so the copy has none")
    return {**entry, "confine": {**entry["confine"], "binds": binds, "base": "", "with_parent": True}}


def leave(folder: Path) -> int:
    """Leave what was changed as a proposal in the run's folder; return the exit status of the run."""
    tree = folder / _TREE
    refused = edits.refused(tree / _BASE, tree / _EDITED)
    if refused:
        (folder / "proposal.json").write_text(json.dumps({"refused": refused[:20]}))
        sys.stderr.write(f"these changes may not be proposed: {'; '.join(refused[:5])}\n")
        return 1 << 8
    patch, files = git.difference(_BASE, _EDITED, tree)
    if len(patch) > _MOST_PATCH:
        sys.stderr.write(f"its changes are {len(patch) >> 20} MiB; a proposal may have {_MOST_PATCH >> 20}\n")
        return 1 << 8
    if patch:
        (folder / "proposal.patch").write_bytes(patch)
        found = [{"path": name, "added": added, "removed": removed} for name, added, removed in files]
        (folder / "proposal.json").write_text(json.dumps({"files": found}))
    return 0
