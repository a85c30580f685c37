"""routinectl cancel"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.core.units import parse_duration
from routinectl.errors import NotFoundError, UsageError
from routinectl.operations import runs
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl cancel backup
routinectl cancel backup 20261121T020000Z-1a2b77c0e4d1 --wait
"""


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="A routine, by id or unique prefix.")],
    run: Annotated[str | None, typer.Argument(help="One run; else all of the routine.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until they have ended.")] = False,
    limit: Annotated[str, typer.Option("--for", help="With --wait: at most so long.")] = "5m",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be stopped.")] = False,
) -> None:
    """Stop a run: TERM to its whole tree, then KILL after its kill_grace. It is recorded as cancelled."""
    with Session(context.layout()) as session:
        name = session.id_of(routine)
        going = list(session.standing(name).runs)
        if not going:
            raise NotFoundError(f"{name} is not running", "routinectl status --running")
        if dry_run:
            output.say(f"Dry run: would stop {', '.join(going)}")
            return
        stopped = runs.cancel(session, name, run, by=context.me())
        output.say(f"Stopping {', '.join(stopped)}")
        try:
            maximum = parse_duration(limit)
        except ValueError as error:
            raise UsageError(str(error), "--for 1m") from None
        for item in stopped if wait else ():
            asked = runs.wait(session, name, item, limit=maximum)
            output.say(f"{item} {(asked.line or {}).get('outcome', 'ended')}")
