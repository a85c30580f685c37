"""What the host of a run says about it, beside its exit code; and the file that a run's output is written to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from routinectl.core import legible
from routinectl.core.model_checks import DATES
from routinectl.core.routine import Routine
from routinectl.core.standing import Run
from routinectl.core.verdict import GOOD
from routinectl.engine.host import REPORT
from routinectl.files import run_logs
from routinectl.files.layout import Layout
from routinectl.process import leavings

_FIGURES = ("iterations", "tokens", "cost", "model", "result")
_KEYS = ("outcome", "detail", "message", *_FIGURES)


def report(folder: Path, outcome: str) -> dict[str, Any]:
    """Return what an ended run that asked a model is to be recorded with because its host said so.

    `outcome` is what its exit says: where that is bad, a host that had said before that all is well is not believed.
    """
    found = run_logs.left(folder, REPORT)
    keys = _FIGURES if outcome not in GOOD and found.get("outcome") in GOOD else _KEYS
    return {key: found[key] for key in keys if key in found}


def leavings_of(folder: Path, message: str) -> dict[str, Any]:
    """Return what the end of a confined run is to be recorded with because of what it left. Raises OSError."""
    found = run_logs.left(folder, leavings.FOUND)
    if not found:
        if not (folder / leavings.ASKED).exists():
            return {}
        found = leavings.give_up(str(folder))
    if "denied" in found:
        return {"outcome": "denied", "detail": found["denied"], "message": legible.line(found["message"])}
    if found.get("removed"):
        said = legible.line(f"sockets and FIFOs that it left were removed: {', '.join(found['removed'])}")
        return {"message": f"{message}; {said}" if message else said}
    return {}


def output_path(routine: Routine, run: Run) -> str:
    """Return where the output of a run goes, as the definition says, with the slot's local date filled in."""
    slot = (run.slot or run.due).astimezone(routine.zone.info)
    return DATES.sub(lambda match: slot.strftime(match[1]), routine.action.output)


def write_output(layout: Layout, routine: Routine, run: Run) -> str:
    """Write a good run's output where its definition wants it; return why that could not be done, empty when it was."""
    text = output_path(routine, run)
    path = layout.resolve(routine.id, text)
    folder = layout.run(routine.id, run.key)
    source = folder / "result.md" if (folder / "result.md").exists() else folder / "out"
    try:
        run_logs.deliver(layout.root, source, path, overwrite=routine.action.overwrite)
    except FileExistsError:
        return f"output: {text} is there already; overwrite: true replaces it"
    except OSError as error:
        return f"output: {os.path.relpath(path, layout.root)}: {error.strerror or error}"
    return ""
