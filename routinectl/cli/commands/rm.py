"""routinectl rm"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import ask, context, output
from routinectl.errors import UsageError
from routinectl.operations import lifecycle
from routinectl.operations.session import Session, require_idle

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl rm old-report
routinectl rm old-report --yes --keep-history
routinectl rm stuck --cancel --yes
"""


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="A routine, by id or unique prefix.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop its run first.")] = False,
    keep_history: Annotated[bool, typer.Option("--keep-history", help="Move the folder to removed/ instead.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
) -> None:
    """Remove a routine's folder. Its events stay in the journal.

    A routine that is running is not removed (exit code 75) unless --cancel stops it first.
    """
    with Session(context.layout()) as session:
        routine_id = session.id_of(routine)
        folder = session.layout.folder(routine_id).relative_to(session.layout.root)
        if dry_run:
            output.say(f"Dry run: would remove {folder}")
            return
        if not cancel:
            require_idle(session.standing(routine_id))
        if not yes:
            if not context.is_terminal():
                raise UsageError(f"removing {routine_id} wants a yes", f"routinectl rm {routine_id} --yes")
            if not ask.confirm(f"Remove {folder} and everything in it?"):
                output.say("Nothing was removed")
                return
        kept = lifecycle.remove(session, routine_id, cancel=cancel, keep_history=keep_history, by=context.me())
        output.say(f"Removed {routine_id}" + (f"; its folder is {kept}" if kept else ""))
