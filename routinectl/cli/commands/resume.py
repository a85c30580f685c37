"""routinectl resume"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.operations import lifecycle
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl resume backup
"""


def command(
    routine: Annotated[list[str], typer.Argument(metavar="ID...", help="Routines, by id or unique prefix.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen.")] = False,
) -> None:
    """Let a paused routine fire again. Slots that fell into the pause are recorded as skipped and do not run."""
    with Session(context.layout()) as session:
        for routine_id in [said.named(session, text) for text in routine]:
            if dry_run:
                output.say(f"Dry run: would resume {routine_id}")
                continue
            changed = lifecycle.resume(session, routine_id, by=context.me())
            output.say(f"Resumed {routine_id}" if changed else f"{routine_id} was not paused")
            known = session.routine(routine_id)
            if known is not None:
                said.understood(known, session.now, session.standing(routine_id).run_count)
