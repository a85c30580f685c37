"""routinectl logs"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.errors import NotFoundError
from routinectl.files import run_logs
from routinectl.operations import runs
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl logs backup
routinectl logs backup -f
routinectl logs backup 20261121T020000Z-1a2b77c0e4d1
routinectl logs backup --list
"""


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="A routine, by id or unique prefix.")],
    run: Annotated[str | None, typer.Argument(help="A run; else the last.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the runs that still have logs.")] = False,
) -> None:
    """Show what a run printed: standard output and standard error, as they came."""
    with Session(context.layout()) as session:
        name = session.id_of(routine)
        kept = [item for item in run_logs.kept(session.layout, name) if run_logs.has_started(session.layout, name, item)]
        if show_list:
            for item in kept:
                output.write(item)
            return
        chosen = _choose(session, name, run, kept)
        path = session.layout.run(name, chosen) / "out"
        offset = 0
        while True:
            going = chosen in session.world.running or any(run.key == chosen for run in session.standing(name).runs.values())
            while data := run_logs.follow(path, offset):
                offset += len(data)
                sys.stdout.buffer.write(data.replace(b"\0", b""))
            sys.stdout.buffer.flush()
            if not (follow and going):
                return
            runs.attend(session, timedelta(milliseconds=100))


def _choose(session: Session, name: str, run: str | None, kept: list[str]) -> str:
    if run is not None:
        found = [item for item in kept if item == run] or [item for item in kept if item.startswith(run)]
        if len(found) != 1:
            raise NotFoundError(f"there is no log of a run '{run}' of {name}", f"routinectl logs {name} --list")
        return found[0]
    last = session.standing(name).last_run
    attempts = [item for item in kept if item == last or item.startswith(f"{last}.")]
    last = max(attempts, key=lambda item: int(item.partition(".")[2] or 1), default=last)
    if last in kept:
        return last
    if not kept:
        raise NotFoundError(f"{name} has no logs: it has not run yet, or they were removed", f"routinectl history {name}")
    return kept[-1]
