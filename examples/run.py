"""`make run`: serve a copy of examples/workspace until Ctrl-C, and say what to try next."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from routinectl.cli import output
from routinectl.cli.serving import serve
from routinectl.core.event import Event
from routinectl.errors import RoutinectlError
from routinectl.files.layout import Layout
from routinectl.operations.init import init

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


def main() -> int:
    folder = Path(sys.argv[1]).resolve()
    shutil.copytree(Path(__file__).parent / "workspace", folder, dirs_exist_ok=True)
    try:
        init(folder, use_git=False)
        serve(Layout(folder), listener=Guide(folder).hear)
    except RoutinectlError as error:
        output.error(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
