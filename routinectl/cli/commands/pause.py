"""routinectl pause"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output, said
from routinectl.core.units import parse_duration, to_iso
from routinectl.errors import UsageError
from routinectl.operations import lifecycle, lineage
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl pause backup
routinectl pause backup --for 2h --reason "disk is being replaced"
routinectl pause --descendants-of planner
"""


def command(
    routine: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Routines, by id or unique prefix.")] = None,
    descendants_of: Annotated[
        str | None, typer.Option(metavar="RUN|ID", help="All routines that a run, or a routine's runs, have made.")
    ] = None,
    duration: Annotated[str | None, typer.Option("--for", help="Resume by itself after this, such as 2h.")] = None,
    reason: Annotated[str, typer.Option(help="Why; shown by status and why.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen.")] = False,
) -> None:
    """Stop firing a routine until it is resumed. Touches no file; runs that go on are left alone.

    The slots of the pause are recorded as skipped, with the reason.
    """
    with Session(context.layout()) as session:
        try:
            until = session.now + parse_duration(duration) if duration else None
        except ValueError as error:
            raise UsageError(str(error), "--for 2h") from None
        names = [said.named(session, text) for text in routine or ()]
        names += lineage.descendants(session, descendants_of) if descendants_of else []
        if not names:
            raise UsageError("which routine?", "routinectl list")
        for routine_id in dict.fromkeys(names):
            zone = (session.standing(routine_id).doc or {}).get("timezone", "UTC")
            text = f" until {output.instant(to_iso(until), zone)}" if until else f"; resume with: routinectl resume {routine_id}"
            if not dry_run:
                lifecycle.pause(session, routine_id, until=until, reason=reason, by=context.me())
            output.say(f"{'Dry run: would pause' if dry_run else 'Paused'} {routine_id}{text}")
