"""routinectl disable"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.operations import lifecycle
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl disable backup
"""


def command(
    routine: Annotated[list[str], typer.Argument(metavar="ID...", help="Routines, by id or unique prefix.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change.")] = False,
) -> None:
    """Keep a routine from firing: writes `enabled: false` into its definition.

    This is a change of the file, for everybody who uses it; `pause` and `resume` touch no file.
    """
    with Session(context.layout()) as session:
        for routine_id in [said.named(session, text) for text in routine]:
            if dry_run:
                output.say(f"Dry run: {routine_id} would be disabled")
                continue
            changed = lifecycle.set_enabled(session, routine_id, False)
            output.say(f"Disabled {routine_id}" if changed else f"{routine_id} is disabled already")
            known = session.routine(routine_id)
            if known is not None:
                said.understood(known, session.now, session.standing(routine_id).run_count)
