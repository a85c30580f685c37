"""routinectl enable"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.operations import lifecycle
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl enable backup
"""


def command(
    routine: Annotated[list[str], typer.Argument(metavar="ID...", help="Routines, by id or unique prefix.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change.")] = False,
) -> None:
    """Let a routine fire: takes `enabled: false` out of its definition.

    This is a change of the file, for everybody who uses it; `pause` and `resume` touch no file.
    """
    with Session(context.layout()) as session:
        for routine_id in [said.named(session, text) for text in routine]:
            if dry_run:
                output.say(f"Dry run: {routine_id} would be enabled")
                continue
            changed = lifecycle.set_enabled(session, routine_id, True)
            output.say(f"Enabled {routine_id}" if changed else f"{routine_id} is enabled already")
            known = session.routine(routine_id)
            if known is not None:
                said.understood(known, session.now, session.standing(routine_id).run_count)
