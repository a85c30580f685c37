"""routinectl approve"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context, output
from routinectl.core.units import parse_duration
from routinectl.errors import UsageError
from routinectl.operations import approvals
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl approve backup
routinectl approve backup --for 30d --note "read with Ana"
"""


def command(
    routine: Annotated[str, typer.Argument(metavar="ID", help="The routine, by id or unique prefix.")],
    lasting: Annotated[str | None, typer.Option("--for", help="The approval ends after this, such as 30d.")] = None,
    note: Annotated[str, typer.Option(help="Why; kept with the approval.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Approve what a routine would run, exactly as it is now; a draft becomes active.

    The approval binds the definition and every file of the routine's folder by their bytes: any change asks again. A
    command that runs inside a routine is refused. A routine with permissions `full` has the power of its user, and could
    forge an approval: approvals bind confined runs, and people.
    """
    with Session(context.layout()) as session:
        name = session.id_of(routine)
        try:
            duration = parse_duration(lasting) if lasting else None
        except ValueError as error:
            raise UsageError(str(error), "--for 30d") from None
        grant = approvals.approve(session, name, lasting=duration, note=note, by=context.me())
        if as_json:
            output.data("approval", grant)
            return
        zone = (session.standing(name).doc or {}).get("timezone", "UTC")
        until = f" until {output.instant(grant['until'], zone, session.now)}" if "until" in grant else ""
        output.say(f"Approved {name}{until}; content {grant['content'][:12]}")
        if not session.serve_lives:
            output.say("  no serve is running here: routinectl serve")
