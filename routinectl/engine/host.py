"""The run's own process where more is to be done than to start a program: it stays outside the confinement, the work inside.

It is given the run's folder, and `host.json` in there says what to do: to have a program edit a copy of the workspace, or to
ask a model. What it is to be remembered by it leaves as `report.json`, and every turn with a model in `turns.jsonl`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SPEC, REPORT, TURNS = "host.json", "report.json", "turns.jsonl"
KEY = "ROUTINE_MODEL_KEY"  # how the key of a model reaches this process, and none below it
_PACKAGE = Path(__file__).resolve().parents[2]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from routinectl.engine.host import main; main(sys.argv[2])"


def program(folder: Path) -> list[str]:
    """Return the command that is a run's host; the folder holds what it is to do."""
    return [sys.executable, "-I", "-c", _START, str(_PACKAGE), str(folder)]


class Stopped:
    """Whether the run was told to end."""

    def __init__(self) -> None:
        self._now = False
        signal.signal(signal.SIGTERM, self._hear)
        signal.signal(signal.SIGINT, self._hear)

    def __call__(self) -> bool:
        """Say whether it was."""
        return self._now

    def _hear(self, number: int, frame: object) -> None:
        self._now = True


def main(folder: str) -> None:
    """Do what the folder's `host.json` says, and end as that has ended."""
    from routinectl.agents.confined import end_like
    from routinectl.files.edits import TooLarge

    place = Path(folder)
    spec = json.loads((place / SPEC).read_bytes())
    try:
        status = _DO[spec["kind"]](place, spec)
    except (OSError, TooLarge, UnicodeDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        status = 1 << 8
    end_like(status)


def _edits(folder: Path, spec: dict[str, Any]) -> int:
    from routinectl.agents import edits

    return edits.run(folder, spec, Stopped())


def _prompt(folder: Path, spec: dict[str, Any]) -> int:
    """Ask a model. Told to stop, it ends at once: there is nothing that an answer could still be good for."""
    from routinectl.agents import prompt
    from routinectl.agents.prompt import OverBudgetError
    from routinectl.core import budget
    from routinectl.core.settings import Price
    from routinectl.engine.purse import Purse
    from routinectl.files.layout import Layout
    from routinectl.models.ask import ModelError

    key = os.environ.pop(KEY, "")
    price = Price(*spec["model"]["price"]) if spec["model"]["price"] else None
    purse = Purse(Layout(Path(spec["workspace"])), spec["id"], spec["run"], spec["day"], budget.read(spec["budget"]), price)
    around = prompt.Surroundings(folder, purse, lambda: False, _recorder(folder, [key]), time.monotonic() + spec["seconds"])
    try:
        report = prompt.run(spec, key, around)
    except OverBudgetError as error:
        report = {"outcome": "over_budget", "detail": str(error).partition(":")[0], "message": str(error)}
    except ModelError as error:
        report = {"outcome": "failed", "detail": "model", "message": str(error)}
    report |= {"tokens": purse.spent.tokens, "cost": purse.spent.cost}
    (folder / REPORT).write_text(json.dumps(report))
    if report["outcome"] in ("succeeded", "quiet"):
        return 0
    sys.stderr.write(f"{report['message']}\n")
    return 1 << 8


def _recorder(folder: Path, secrets: list[str]) -> Callable[[Mapping[str, Any]], None]:
    """Return what appends a turn to the run's record, without the key."""
    from routinectl import clock
    from routinectl.core.units import to_iso
    from routinectl.process.mask import Masker

    def record(turn: Mapping[str, Any]) -> None:
        masker = Masker([secret for secret in secrets if secret])
        line = json.dumps({"at": to_iso(clock.now()), **turn}, ensure_ascii=False).encode(errors="replace")
        with open(folder / TURNS, "ab") as file:
            file.write(masker.feed(line) + masker.finish() + b"\n")

    return record


_DO: Mapping[str, Callable[[Path, dict[str, Any]], int]] = {"edits": _edits, "prompt": _prompt}
