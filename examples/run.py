"""`make run`: serve a copy of examples/workspace until Ctrl-C, and say what to try next.

The first time makes the copy; every other goes on with it, its record included. Files that a person has changed or
removed stay as they are; those that nobody has touched follow the examples of a newer checkout.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from routinectl.cli import output
from routinectl.cli.serving import serve
from routinectl.core.event import Event
from routinectl.errors import BusyError, RoutinectlError
from routinectl.files import atomic, edits
from routinectl.files.layout import Layout
from routinectl.files.lock import hold, is_held
from routinectl.operations.init import init

EXAMPLES = Path(__file__).resolve().parent / "workspace"
COPIED = ".examples.json"  # what the files were when they were copied: one that is the same still is nobody's but ours
NEXT = """
What to try next, in another terminal (Ctrl-C here ends serve; runs that go on are minded):
  cd {folder} && export PATH={bin}:$PATH
  routinectl status                    what runs, what is next
  routinectl run-now nightly --wait    without waiting for the night
  routinectl history slow              why each slot ran or did not
  routinectl pause hello --for 1m      and see what becomes of its slots
  routinectl edit load --every 10s     in force within a moment
"""


class Guide:
    """Says what to try next, once, when the first runs have succeeded."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.succeeded, self.said = folder, 0, False

    def hear(self, events: Sequence[Event]) -> None:
        self.succeeded += sum(event.type == "run.ended" and event.data["outcome"] == "succeeded" for event in events)
        if self.succeeded >= 3 and not self.said:
            self.said = True
            output.say(NEXT.format(folder=self.folder, bin=Path(sys.executable).parent))


def definitions() -> list[str]:
    """Return the files of the examples that somebody wrote: a serve may have run over there."""
    names = sorted(name for name in edits.everything(EXAMPLES) if edits.copied(name))
    return [name for name in names if not any(part.startswith(".") or part in ("out", "__pycache__") for part in name.split("/"))]


def take(folder: Path) -> list[str]:
    """Copy the examples; return the files that stay as a person has them."""
    known = json.loads((folder / COPIED).read_text()) if (folder / COPIED).exists() else {}
    kept = []
    for name in definitions():
        data, place = (EXAMPLES / name).read_bytes(), folder / name
        digest = hashlib.sha256(data).hexdigest()
        here = hashlib.sha256(place.read_bytes()).hexdigest() if place.exists() else ""
        if here == digest:
            known[name] = digest
        elif here == known.get(name, ""):
            place.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(place, data, mode=(EXAMPLES / name).stat().st_mode & 0o777)
            known[name] = digest
        else:
            kept.append(name)
    atomic.write(folder / COPIED, json.dumps(known, indent=1).encode())
    return kept


def main() -> int:
    layout = Layout(Path(sys.argv[1]).resolve())
    try:
        layout.make()
        with hold(layout.lock("examples")):  # two at once: the other one finds everything as it should be
            if is_held(layout.lock("serve")):
                raise BusyError("a serve is running in this workspace already", f"routinectl -w {layout.root} status")
            for name in take(layout.root):
                output.say(f"{layout.root}/{name} stays as you have it; the example is {EXAMPLES / name}")
            init(layout.root, use_git=False)
        serve(layout, listener=Guide(layout.root).hear)
    except RoutinectlError as error:
        output.error(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
